"""A sandbox that is paused while its agent waits for the language model."""

import time

from driver import config, tell, workspace
from talk import agent, finish, ids, outcome

from openhands.sdk import Conversation
from openhands.sdk.event import ObservationEvent


def observations(conversation):
    return sum(isinstance(event, ObservationEvent) for event in conversation.state.events)


with workspace() as space:
    conversation = Conversation(agent=agent, workspace=space, visualizer=None)
    conversation.send_message(f"Squares below {config['n']}")
    conversation.run(blocking=False)
    deadline = time.monotonic() + 120
    while observations(conversation) < 1:
        if time.monotonic() > deadline:
            raise RuntimeError("the agent has made no step in two minutes")
        time.sleep(0.2)
    tell(while_running=outcome(conversation)["status"])
    before = ids(conversation)

    space.pause()
    space.resume()

    finish(conversation)
    tell(first=outcome(conversation), kept=ids(conversation)[: len(before)] == before)
    conversation.close()
