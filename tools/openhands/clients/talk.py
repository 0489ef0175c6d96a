"""An agent with a terminal and a file editor, and how the drivers talk to it."""

import time

from driver import config
from pydantic import SecretStr

from openhands.sdk import LLM, Agent, Tool
from openhands.sdk.conversation import get_agent_final_response
from openhands.sdk.event import ConversationStateUpdateEvent
from openhands.tools.file_editor import FileEditorTool
from openhands.tools.terminal import TerminalTool

agent = Agent(
    llm=LLM(
        model=config["llm_model"],
        base_url=config["llm_url"],
        api_key=SecretStr(config["llm_key"]),
        stream=config.get("stream", False),
        usage_id="agent",
    ),
    tools=[Tool(name=TerminalTool.name), Tool(name=FileEditorTool.name)],
)


def outcome(conversation):
    return {
        "status": conversation.state.execution_status.value,
        "answer": get_agent_final_response(conversation.state.events),
    }


def finish(conversation):
    """Run until the agent server says that the run has ended.

    run() may return at once after a resume: a socket that comes back while the run begins
    starts with the state from just before, and the client takes that for the run's end.
    """
    limit = 300
    conversation.run(timeout=limit)
    deadline = time.monotonic() + limit
    conversation.state.refresh_from_server()
    while not conversation.state.execution_status.is_terminal():
        if time.monotonic() > deadline:
            raise RuntimeError(f"the run has not ended in {limit} s: {conversation.state.execution_status.value}")
        time.sleep(0.5)
        conversation.state.refresh_from_server()
    conversation.state.events.reconcile()


def talk(conversation, text):
    conversation.send_message(text)
    finish(conversation)
    return outcome(conversation)


def ids(conversation):
    """The events that the agent server keeps: its updates of the state are for whoever listens."""
    return [e.id for e in conversation.state.events if not isinstance(e, ConversationStateUpdateEvent)]
