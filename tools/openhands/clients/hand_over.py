"""A conversation whose agent works on after its client has gone."""

from driver import config, tell, workspace
from talk import agent

from openhands.sdk import Conversation

with workspace(keep_alive=True) as space:
    conversation = Conversation(
        agent=agent,
        workspace=space,
        visualizer=None,
        delete_on_close=False,
        secrets={"DEPLOY_WORD": config["secret"]},
    )
    conversation.send_message(f"Squares below {config['n']}")
    conversation.run(blocking=False)
    tell(conversation_id=str(conversation.id))
    conversation.close()
