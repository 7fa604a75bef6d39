"""The engine: values that will be there and values that are still growing. Standard library only.

Logs (`log`), contexts that own tasks (`context`), promises (`promise`), streams and their readers (`stream`), appenders
(`appender`), sequences of sequences (`rope` for reading, `sequence` for writing).
"""

from miniagents.promising.appender import StreamAppender
from miniagents.promising.context import PromisingContext
from miniagents.promising.errors import (
    AppenderClosedError,
    AppenderError,
    AppenderNotOpenError,
    ContextClosedError,
    ContextReentryError,
    DeadlineExceededError,
    DeadlockError,
    MiniAgentsError,
    NoActiveContextError,
    PromiseCancelledError,
    StuckTasksError,
    UnresolvedPromiseError,
    WrongLoopError,
)
from miniagents.promising.promise import Promise
from miniagents.promising.rope import SequencePromise
from miniagents.promising.sentinels import AWAIT, CLEAR
from miniagents.promising.sequence import FlatSequence
from miniagents.promising.stream import StreamedPromise

__all__ = [
    "AWAIT",
    "CLEAR",
    "AppenderClosedError",
    "AppenderError",
    "AppenderNotOpenError",
    "ContextClosedError",
    "ContextReentryError",
    "DeadlineExceededError",
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
    "StuckTasksError",
    "UnresolvedPromiseError",
    "WrongLoopError",
]
