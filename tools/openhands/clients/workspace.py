"""A workspace from its start to its resume. It is left running, for attach.py."""

import hashlib
import os
import time

from driver import config, run, tell, workspace

content = os.urandom(3 << 20)  # larger than any buffer on the way
with open("/tmp/up.bin", "wb") as f:
    f.write(content)

with workspace(keep_alive=True, target_type=config["target_type"]) as space:
    tell(
        runtime_id=run(space, "echo $RUNTIME_ID"),
        user=run(space, "id -u"),
        argv=run(space, "tr '\\0' ' ' < /proc/1/cmdline"),
        title=space.get_server_info()["title"],
        version=space.get_server_info()["version"],
    )
    up = space.file_upload("/tmp/up.bin", "/workspace/project/up.bin")
    there = run(space, "sha256sum < /workspace/project/up.bin").split()[0]
    down = space.file_download("/workspace/project/up.bin", "/tmp/down.bin")
    with open("/tmp/down.bin", "rb") as f:
        back = f.read()
    tell(
        uploaded=up.success,
        downloaded=down.success,
        same=there == hashlib.sha256(content).hexdigest() and back == content,
    )
    failed = space.execute_command("echo out; echo err >&2; exit 3")
    tell(exit_code=failed.exit_code, stdout=failed.stdout.strip(), stderr=failed.stderr.strip())

    space.pause()
    until = time.monotonic() + 5  # the router learns of it within 250 ms, and the pod ends meanwhile
    while space.alive and time.monotonic() < until:
        time.sleep(0.05)
    tell(alive_while_paused=space.alive)
    space.resume()
    tell(
        alive_after_resume=space.alive,
        kept=run(space, "sha256sum < /workspace/project/up.bin").split()[0] == there,
    )
