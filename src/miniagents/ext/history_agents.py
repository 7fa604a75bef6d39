"""Chat histories: what was said in a dialog, kept for its next turns."""

import abc

from miniagents.agents import InteractionContext, MiniAgent, miniagent
from miniagents.messages import Message


class ChatHistory(abc.ABC):
    """What was said so far. Extend it with two things: an agent that writes down, and a way to load."""

    @property
    @abc.abstractmethod
    def logging_agent(self) -> "MiniAgent[...]":
        """An agent that writes down the messages it is sent and replies with the same messages, token by token."""

    @abc.abstractmethod
    async def aload_chat_history(self) -> tuple[Message, ...]:
        """All that was written down, in order."""


class InMemoryChatHistory(ChatHistory):
    """A history that lasts as long as the object. It belongs to one dialog: two of them share nothing."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._logging_agent = miniagent(alias="IN_MEMORY_HISTORY")(self._log)

    @property
    def logging_agent(self) -> "MiniAgent[...]":
        """Remembers each message when it is complete. A message that fails is not remembered."""
        return self._logging_agent

    async def aload_chat_history(self) -> tuple[Message, ...]:
        """All messages that were remembered, in the order in which they were sent."""
        return tuple(self._messages)

    async def _log(self, ctx: InteractionContext) -> None:
        ctx.reply(ctx.message_promises)
        async for promise in ctx.message_promises:
            self._messages.append(await promise)
