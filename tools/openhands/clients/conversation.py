"""A conversation whose agent makes a file, runs it and reads the result; then a pause, a
resume, and the same conversation goes on."""

from driver import config, run, tell, workspace
from talk import agent, ids, talk

from openhands.sdk import Conversation

n = config["n"]
tokens = []

with workspace() as space:
    conversation = Conversation(
        agent=agent,
        workspace=space,
        visualizer=None,
        token_callbacks=[tokens.append] if config["stream"] else None,
    )
    tell(first=talk(conversation, f"Squares below {n}"))
    tell(file=run(space, "cat /workspace/project/result.txt"))
    before = ids(conversation)

    space.pause()
    space.resume()

    tell(second=talk(conversation, f"Once more below {n}"))
    tell(kept=ids(conversation)[: len(before)] == before, tokens=len(tokens))
    conversation.close()
