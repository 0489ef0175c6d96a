"""RemoteRuntime from its connect to its close, which pauses. Its configuration is the
environment."""

import asyncio
import zipfile

import httpx
from driver import config, tell

from openhands.core.config import load_openhands_config
from openhands.events import EventStream
from openhands.events.action import CmdRunAction, FileReadAction, FileWriteAction
from openhands.llm.llm_registry import LLMRegistry
from openhands.runtime.impl.remote.remote_runtime import RemoteRuntime
from openhands.storage import get_file_store

settings = load_openhands_config()


def runtime(**more):
    session = config["session_id"]
    events = EventStream(session, get_file_store(settings.file_store, settings.file_store_path))
    return RemoteRuntime(settings, events, LLMRegistry(settings), session, plugins=[], **more)


def run(space, command):
    seen = space.run_action(CmdRunAction(command))
    return [seen.exit_code, seen.content]


def pause(space):
    """What an idle sandbox comes to while its client is away."""
    answer = httpx.post(
        config["api_url"] + "/pause",
        headers={"X-API-Key": config["api_key"]},
        json={"runtime_id": space.runtime_id},
    )
    answer.raise_for_status()


def files(space, path):
    with zipfile.ZipFile(space.copy_from(path)) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


async def first():
    statuses = []
    space = runtime(status_callback=lambda level, status, text: statuses.append(status.value))
    await space.connect()
    tell(
        runtime_id=space.runtime_id,
        work_ports=sorted(space.web_hosts.values()),
        statuses=statuses,
        user=run(space, "whoami"),
        failing=run(space, "(exit 3)"),
        environment=run(space, "echo $GREETING"),
        pod=run(space, "echo $RUNTIME_ID"),
    )
    space.run_action(FileWriteAction("/workspace/file", "kept"))
    with open("/tmp/up", "w") as f:
        f.write("uploaded")
    space.copy_to("/tmp/up", "/workspace")
    tell(
        read=space.run_action(FileReadAction("/workspace/file")).content,
        listed=space.list_files(),
        downloaded=files(space, "/workspace"),
    )

    # No action: the client holds a lock then, which its own setup after the resume waits for.
    pause(space)
    tell(after_503=space.list_files(), kept=run(space, "cat /workspace/file"))

    attached = runtime(attach_to_existing=True)
    await attached.connect()
    tell(attached=attached.runtime_id == space.runtime_id, attached_runs=run(attached, "cat /workspace/up"))
    attached.close()

    space.close()


async def back():
    space = runtime()
    await space.connect()
    tell(runtime_id=space.runtime_id, kept=run(space, "cat /workspace/file"))
    space.close()


asyncio.run(back() if config["back"] else first())
