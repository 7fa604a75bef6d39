"""Calls that stay open: an agent that is sent messages while its replies are read."""

from typing import Protocol

from miniagents.messages import MessageAppender, MessageSequencePromise, MessageType
from miniagents.promising.tree import Finishable


class Opener(Protocol):
    """Who opens calls, and finishes those that are still open when it ends: an agent or a context."""

    def watch_unfinished(self, item: Finishable) -> None:
        """Remember an open call."""

    def forget_unfinished(self, item: Finishable) -> None:
        """The call was finished."""


class AgentCall:
    """A call of an agent that more messages can be sent to. Made by `MiniAgent.initiate_inquiry`.

    It must be finished, or the agent waits for more: `finish()` does it, and so does `reply_sequence()` by default.
    What is left open is finished when the agent that opened it ends, or else when the context does.
    """

    __slots__ = ("__weakref__", "_appender", "_opener", "_replies")

    def __init__(self, appender: MessageAppender, replies: MessageSequencePromise, opener: Opener | None) -> None:
        self._appender = appender
        self._replies = replies
        self._opener = opener
        if opener is not None:
            # Also when the agent has ended: it may have forwarded its input, which others still read.
            opener.watch_unfinished(self)

    def send_message(self, messages: MessageType) -> "AgentCall":
        """Send messages, at once and in order. Returns the call. Never waits.

        Raises `AppenderClosedError` if the call was finished, and `TypeError` for what is no message.
        """
        self._appender.append(messages)
        return self

    def reply_sequence(self, finish_call: bool = True) -> MessageSequencePromise:
        """The replies of the agent. With `finish_call=False` more can be sent while they are read."""
        if finish_call:
            self.finish()
        return self._replies

    def cancel(self, reason: str = "") -> None:
        """Stop the agent and everything that it has started, and finish the call; see `Promise.cancel`. Never waits."""
        self._replies.cancel(reason)
        self.finish()

    def finish(self) -> None:
        """Tell the agent that nothing more will be sent. A second call changes nothing."""
        self._appender.close()
        if self._opener is not None:
            self._opener.forget_unfinished(self)
            self._opener = None
