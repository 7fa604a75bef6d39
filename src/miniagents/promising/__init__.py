"""The engine: values that will be there and values that are still growing. Standard library only.

Logs and cursors (`log`), contexts that own tasks (`context`), promises (`promise`), appenders (`appender`), sequences
of sequences (`sequence`).
"""

from miniagents.promising.appender import StreamAppender
from miniagents.promising.context import PromisingContext
from miniagents.promising.errors import (
    AppenderClosedError,
    AppenderError,
    AppenderNotOpenError,
    ContextClosedError,
    ContextReentryError,
    DeadlockError,
    MiniAgentsError,
    NoActiveContextError,
    PromiseCancelledError,
    UnresolvedPromiseError,
    WrongLoopError,
)
from miniagents.promising.promise import Promise, StreamedPromise
from miniagents.promising.sentinels import AWAIT, CLEAR
from miniagents.promising.sequence import FlatSequence, SequencePromise

__all__ = [
    "AWAIT",
    "CLEAR",
    "AppenderClosedError",
    "AppenderError",
    "AppenderNotOpenError",
    "ContextClosedError",
    "ContextReentryError",
    "DeadlockError",
    "FlatSequence",
    "MiniAgentsError",
    "NoActiveContextError",
    "Promise",
    "PromiseCancelledError",
    "PromisingContext",
    "SequencePromise",
    "StreamAppender",
    "StreamedPromise",
    "UnresolvedPromiseError",
    "WrongLoopError",
]
