"""An agent with a terminal and a file editor, and how the drivers talk to it."""

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


def talk(conversation, text):
    conversation.send_message(text)
    conversation.run(timeout=300)
    return outcome(conversation)


def ids(conversation):
    """The events that the agent server keeps: its updates of the state are for whoever listens."""
    return [e.id for e in conversation.state.events if not isinstance(e, ConversationStateUpdateEvent)]
