"""What the drivers share.

A driver reads its configuration from standard input, as one JSON object, and tells what it
found as JSON objects on standard output, one a line. What the clients log goes to
standard error. A driver uses what the packages publish, unmodified, and nothing else.
"""

import json
import os
import sys

config = json.load(sys.stdin)

# Some clients log to standard output. It becomes standard error, before they are imported.
facts_out = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def tell(**facts):
    print(json.dumps(facts), file=facts_out, flush=True)


def workspace(**more):
    """An APIRemoteWorkspace as the documentation makes one: all that is not here is its default."""
    from openhands.workspace import APIRemoteWorkspace

    more.update(config.get("workspace", {}))
    return APIRemoteWorkspace(
        runtime_api_url=config["api_url"],
        runtime_api_key=config["api_key"],
        server_image=config["image"],
        session_id=config["session_id"],
        working_dir="/workspace/project",
        **more,
    )


def run(space, command):
    """Run a command in the sandbox; one that fails ends the driver."""
    result = space.execute_command(command, timeout=60)
    if result.exit_code != 0:
        raise RuntimeError(f"{command}: exit code {result.exit_code}: {result.stdout} {result.stderr}")
    return result.stdout.strip()
