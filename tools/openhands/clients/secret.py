"""A secret that the agent server keeps, saved or read again."""

from driver import config, run, tell, workspace

name, value = "DEPLOY_WORD", config["secret"]

with workspace(keep_alive=config["save"]) as space:
    if config["save"]:
        answer = space.client.put("/api/settings/secrets", json={"name": name, "value": value})
        answer.raise_for_status()
    found = space.get_secrets([name])[name].get_value()
    tell(
        same=found == value,
        kept=run(space, "ls /workspace/.openhands/secrets.json"),
        sealed=value not in run(space, "cat /workspace/.openhands/secrets.json"),
    )
