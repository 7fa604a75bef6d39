"""Chat histories: what was said in a dialog, kept for its next turns."""

import abc

from miniagents.agents import InteractionContext, MiniAgent, miniagent
from miniagents.messages import Message, MessagePromise
from miniagents.promising.log import Failure
from miniagents.promising.sentinels import END


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
        """Remembers each message when it is complete, and of one that fails what was said before."""
        return self._logging_agent

    async def aload_chat_history(self) -> tuple[Message, ...]:
        """All messages that were remembered, in the order in which they were sent."""
        return tuple(self._messages)

    async def _log(self, ctx: InteractionContext) -> None:
        ctx.reply(ctx.message_promises)
        items = ctx.message_promises.read_items()
        while (item := await items.next_item()) is not END:
            if not isinstance(item, Failure) and (message := await _what_was_said(item)) is not None:
                self._messages.append(message)


async def _what_was_said(promise: MessagePromise) -> Message | None:
    """The message; if it fails, what was said of it before. The error is left to those whom the message was sent to."""
    tokens: list[str] = []
    reader = promise.read_pieces()
    while (token := await reader.next_piece()) is not END:
        if isinstance(token, Failure):
            said = "".join(tokens)
            return Message(said, **promise.preliminary_metadata) if said else None
        tokens.append(token)
    return await promise
