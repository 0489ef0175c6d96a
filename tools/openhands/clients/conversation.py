"""A conversation whose agent makes a file, runs it and reads the result; then a pause, a
resume, and the same conversation goes on."""

from driver import config, run, tell, workspace
from pydantic import SecretStr

from openhands.sdk import LLM, Agent, Conversation, Tool
from openhands.sdk.conversation import get_agent_final_response
from openhands.tools.file_editor import FileEditorTool
from openhands.tools.terminal import TerminalTool

n = config["n"]
tokens = []
llm = LLM(
    model=config["llm_model"],
    base_url=config["llm_url"],
    api_key=SecretStr(config["llm_key"]),
    stream=config["stream"],
    usage_id="agent",
)
agent = Agent(llm=llm, tools=[Tool(name=TerminalTool.name), Tool(name=FileEditorTool.name)])


def talk(conversation, text):
    conversation.send_message(text)
    conversation.run(timeout=300)
    return {
        "status": conversation.state.execution_status.value,
        "answer": get_agent_final_response(conversation.state.events),
        "events": len(conversation.state.events),
    }


with workspace() as space:
    conversation = Conversation(
        agent=agent,
        workspace=space,
        visualizer=None,
        token_callbacks=[tokens.append] if config["stream"] else None,
    )
    tell(first=talk(conversation, f"Squares below {n}"))
    tell(file=run(space, "cat /workspace/project/result.txt"))
    before = [e.id for e in conversation.state.events]

    space.pause()
    space.resume()

    tell(second=talk(conversation, f"Once more below {n}"))
    after = [e.id for e in conversation.state.events]
    tell(kept=after[: len(before)] == before, tokens=len(tokens))
    conversation.close()
