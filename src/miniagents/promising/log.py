"""Logs: append-only lists with an end, which any number of readers follow with a cursor of their own.

One producer appends. A reader keeps an index, takes what is there without any waiting, and otherwise waits on a future
that nobody else shares; so a reader that is cancelled, or breaks off, is invisible to the producer and to the others.

Invariants
----------
1. `items` only grows, and after `end()` it never changes: every reader sees the same items in the same order.
2. Every waiter is woken by the next `append()` or `end()`, whichever comes first. Whoever makes a log sees to it that
   it is ended on every path; here that is the done-callback of the producer's task (see `context.py`).
3. An error is an item as well (`Failure`): it has a place in the order and every reader meets it there.

Not promised: fairness between readers that never wait, and any bound on how far the producer runs ahead.
"""

import asyncio
from types import TracebackType
from typing import Generic, NoReturn, Protocol, TypeVar

from miniagents.promising.errors import PromiseCancelledError

T = TypeVar("T")


class Failure:
    """An exception as an item of a log, raised where a reader reaches it, any number of times.

    Each raise starts from the traceback that the exception had when it was caught, so it does not grow with the number
    of readers, and `__context__` of the one who reads is not left behind on an exception that others share.
    """

    __slots__ = ("_context", "_traceback", "exception", "observed", "origin")

    def __init__(self, exception: BaseException, origin: str = "") -> None:
        self.exception = exception
        self.observed = False
        self.origin = origin
        """Who failed, for the report that is made if nobody ever reads the error."""
        self._traceback: TracebackType | None = exception.__traceback__
        self._context = exception.__context__

    def throw(self) -> NoReturn:
        """Raise the exception and remember that somebody saw it."""
        self.observed = True
        exception = self.exception
        try:
            raise exception.with_traceback(self._traceback)
        finally:
            exception.__context__ = self._context
            # Without this the frame of this call, which is part of the new traceback, would keep the exception alive
            # in a reference cycle.
            del exception, self


class FailureKeeper(Protocol):
    """Whoever reports the errors that nobody read: a context."""

    def record_failure(self, failure: Failure) -> None:
        """Keep `failure` until somebody reads it."""


def capture(error: BaseException, who: str, keeper: FailureKeeper | None) -> Failure:
    """The failure that readers get for `error`, which ended the producer `who`.

    A cancelled producer is not a cancelled reader, so its readers get an error of its own class; and `GeneratorExit`
    belongs to the frame it was raised in and is never stored.
    """
    if isinstance(error, (asyncio.CancelledError, GeneratorExit)):
        return Failure(PromiseCancelledError(who))
    failure = Failure(error, who)
    if keeper is not None:
        keeper.record_failure(failure)
    return failure


class Log(Generic[T]):
    """An append-only list with an end marker, and a way to wait for its growth."""

    __slots__ = ("_waiters", "ended", "items")

    def __init__(self) -> None:
        self.items: list[T | Failure] = []
        self.ended = False
        # A dict, because it keeps the order of arrival and lets a cancelled waiter leave in constant time.
        self._waiters: dict[asyncio.Future[None], None] | None = None

    def append(self, item: T | Failure) -> None:
        """Add an item. Costs a list slot, and one wake-up per batch for each reader that waits."""
        self.items.append(item)
        if self._waiters:
            self._wake()

    def end(self) -> None:
        """Mark the log as complete. A second call changes nothing."""
        self.ended = True
        if self._waiters:
            self._wake()

    def waiter(self) -> "asyncio.Future[None]":
        """A new future of the running loop that is done at the next growth or at the end."""
        future = asyncio.get_running_loop().create_future()
        if self._waiters is None:
            self._waiters = {future: None}
        else:
            self._waiters[future] = None
        return future

    async def wait(self, seen: int) -> None:
        """Return when there are more than `seen` items, or the log has ended. Cancelling it disturbs nobody."""
        future = self.waiter()
        try:
            # Looked at again after the waiter is in place: a thread may have appended in between, and would not have
            # known of us.
            if len(self.items) <= seen and not self.ended:
                await future
        finally:
            if self._waiters is not None:
                self._waiters.pop(future, None)

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, None
        here = asyncio._get_running_loop()
        for future in waiters or ():
            loop = future.get_loop()
            if loop is here:
                if not future.done():
                    future.set_result(None)
            elif not loop.is_closed():
                # Appended from a thread: `set_result` alone would not wake a loop that sleeps.
                loop.call_soon_threadsafe(_wake_future, future)


def _wake_future(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
