"""Messages: immutable data, promises of messages, sequences of messages."""

from miniagents.messages.context import MessageContext, PersistMessageHandler
from miniagents.messages.elements import ItemsError
from miniagents.messages.frozen import Frozen
from miniagents.messages.message import EndOfDialog, ErrorMessage, Message, MessagePromise, TokenStreamer
from miniagents.messages.sequence import MessageAppender, MessageSequence, MessageSequencePromise, MessageType

__all__ = [
    "EndOfDialog",
    "ErrorMessage",
    "Frozen",
    "ItemsError",
    "Message",
    "MessageAppender",
    "MessageContext",
    "MessagePromise",
    "MessageSequence",
    "MessageSequencePromise",
    "MessageType",
    "PersistMessageHandler",
    "TokenStreamer",
]
