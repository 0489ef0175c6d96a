"""A second process that knows the session id only, and stops the sandbox at its end."""

from driver import config, run, tell, workspace

with workspace() as space:
    tell(runtime_id=run(space, "echo $RUNTIME_ID"), size=run(space, "stat -c %s /workspace/project/up.bin"))
