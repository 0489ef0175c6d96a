"""A conversation that is left in the middle: its sandbox is paused at the end."""

from driver import config, tell, workspace
from talk import agent, ids, talk

from openhands.sdk import Conversation

with workspace(pause_on_close=True) as space:
    conversation = Conversation(
        agent=agent,
        workspace=space,
        visualizer=None,
        delete_on_close=False,
        secrets={"DEPLOY_WORD": config["secret"]},
    )
    tell(first=talk(conversation, f"Squares below {config['n']}"))
    tell(conversation_id=str(conversation.id), events=ids(conversation))
    conversation.close()
