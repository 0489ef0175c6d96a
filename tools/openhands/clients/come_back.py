"""Another process, which knows the session and the conversation by their ids, goes on."""

from uuid import UUID

from driver import config, tell, workspace
from talk import agent, ids, talk

from openhands.sdk import Conversation

with workspace(keep_alive=config.get("keep_alive", False)) as space:
    conversation = Conversation(
        agent=agent,
        workspace=space,
        visualizer=None,
        conversation_id=UUID(config["conversation_id"]),
    )
    tell(events=ids(conversation))
    tell(second=talk(conversation, f"Once more below {config['n']}"))
    tell(word=talk(conversation, f"Digest of the word {config['n']}"))
    conversation.close()
