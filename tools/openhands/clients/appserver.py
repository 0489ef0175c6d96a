"""The app server's sandbox service, from the app server's own configuration and injectors:
a sandbox from its start to its deletion, with a second one beside it for a while."""

import asyncio

from driver import config, tell

from openhands.app_server.config import get_app_lifespan_service, get_global_config, get_sandbox_service
from openhands.app_server.sandbox.sandbox_models import AGENT_SERVER
from openhands.app_server.services.injector import InjectorState
from openhands.app_server.user.specifiy_user_context import ADMIN, USER_CONTEXT_ATTR
from openhands.sdk.workspace.remote.async_remote_workspace import AsyncRemoteWorkspace


async def ask(call):
    """One request to the app server: a service of its own, committed at its end."""
    state = InjectorState()
    setattr(state, USER_CONTEXT_ATTR, ADMIN)
    async with get_sandbox_service(state) as service:
        return await call(service)


async def running(id):
    """Wait as the app server does, but for long: the first start on a node pulls the image."""
    return await ask(lambda s: s.wait_for_sandbox_running(id, timeout=400, httpx_client=s.httpx_client))


def url(sandbox):
    return next(u.url for u in sandbox.exposed_urls if u.name == AGENT_SERVER)


async def run(sandbox, command):
    """Run a command as the app server does: with the key that the sandbox was told."""
    space = AsyncRemoteWorkspace(host=url(sandbox), api_key=sandbox.session_api_key, working_dir="/workspace")
    result = await space.execute_command(command)
    await space.client.aclose()
    if result.exit_code != 0:
        raise RuntimeError(f"{command}: exit code {result.exit_code}: {result.stdout} {result.stderr}")
    return result.stdout.strip()


async def get(sandbox, path, key=None):
    headers = {"X-Session-API-Key": key} if key else {}
    answer = await ask(lambda s: s.httpx_client.get(url(sandbox) + path, headers=headers))
    return answer.status_code


async def refused(sandbox, path):
    """What is answered once the sandbox does not serve any more: the router learns of a pause within
    250 ms, and its pod ends meanwhile."""
    status = await get(sandbox, path)
    for _ in range(100):
        if status != 200:
            break
        await asyncio.sleep(0.05)
        status = await get(sandbox, path)
    return status


async def life(id):
    started = await ask(lambda s: s.get_sandbox(id))
    first = await running(id)
    key = first.session_api_key
    tell(
        spec=started.sandbox_spec_id,
        same_key=started.session_api_key == key,
        urls=[u.name for u in first.exposed_urls],
        alive=await get(first, "/alive"),
        without_key=await get(first, "/api/conversations/count"),
        with_key=await get(first, "/api/conversations/count", key),
        argv=await run(first, "tr '\\0' ' ' < /proc/1/cmdline"),
        user=await run(first, "id -u"),
        written=await run(first, "echo kept > /workspace/file; cat /workspace/file"),
        found=[s.id for s in (await ask(lambda s: s.search_sandboxes())).items] == [id],
        batch=[s and s.status.value for s in await ask(lambda s: s.batch_get_sandboxes(["none", id]))],
        by_key=(await ask(lambda s: s.get_sandbox_by_session_api_key(key))).id == id,
    )

    paused = await ask(lambda s: s.pause_sandbox(id))
    tell(
        paused=paused,
        status_paused=(await ask(lambda s: s.get_sandbox(id))).status.value,
        alive_paused=await refused(first, "/alive"),
        by_key_paused=await ask(lambda s: s.get_sandbox_by_session_api_key(key)),
    )

    resumed = await ask(lambda s: s.resume_sandbox(id))
    second = await running(id)
    tell(
        resumed=resumed,
        same_url=url(second) == url(first),
        rotated=second.session_api_key != key,
        old_key=await get(second, "/api/conversations/count", key),
        by_new_key=(await ask(lambda s: s.get_sandbox_by_session_api_key(second.session_api_key))).id == id,
        kept=await run(second, "cat /workspace/file"),
    )


async def evict(id):
    """Another start, and one too many: the older sandbox is paused for it."""
    other = (await ask(lambda s: s.start_sandbox())).id
    try:
        await running(other)
        tell(
            evicted=await ask(lambda s: s.pause_old_sandboxes(1)) == [id],
            after=[s.status.value for s in await ask(lambda s: s.batch_get_sandboxes([id, other]))],
        )
    finally:
        tell(other_deleted=await ask(lambda s: s.delete_sandbox(other)))


async def main():
    async with get_app_lifespan_service():
        id = (await ask(lambda s: s.start_sandbox())).id
        tell(id=id, service=type(get_global_config().sandbox).__name__)
        try:
            await life(id)
            if config["evict"]:
                await evict(id)
        finally:
            tell(deleted=await ask(lambda s: s.delete_sandbox(id)))
        tell(
            gone=await ask(lambda s: s.get_sandbox(id)),
            deleted_again=await ask(lambda s: s.delete_sandbox(id)),
        )


asyncio.run(main())
