"""Logs: append-only lists with an end, which any number of readers follow with a cursor of their own.

One producer appends. A reader keeps an index, takes what is there without any waiting, and otherwise waits on a future
that nobody else shares; so a reader that is cancelled, or breaks off, is invisible to the producer and to the others.

Invariants
----------
1. `items` only grows, and after `end()` it never changes, but for the form that it is kept in: every reader sees equal
   items in the same order.
2. Every waiter is woken by the next `append()` or `end()`, whichever comes first. Whoever makes a log sees to it that
   it is ended on every path (see `promise.py`).
3. An error is an item as well (`Failure`): it has a place in the order and every reader meets it there.

Not promised: fairness between readers that never wait.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Final, Generic, NoReturn, Protocol, TypeVar

from miniagents.promising.errors import DeadlockError, PromiseCancelledError
from miniagents.promising.tree import Cancellation, current_branch

T = TypeVar("T")

_TRACE_NOTE: Final = "Raised in: "
# A trace of ten thousand callers would bury the error that it explains.
_TRACE_SHOWN: Final = 20


class Failure:
    """An exception as an item of a log, raised where a reader reaches it, any number of times.

    Each raise starts from the traceback that the exception had when it was caught, so it does not grow with the number
    of readers, and `__context__` of the one who reads is not left behind on an exception that others share.
    """

    __slots__ = ("__weakref__", "_context", "_traceback", "dropped", "exception", "observed", "origin")

    def __init__(self, exception: BaseException, origin: str = "") -> None:
        self.dropped: Callable[[Failure], object] | None = None
        """Called when nothing holds this any more, so that nobody can read the error; in any thread, at any point."""
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

    def __del__(self) -> None:
        if self.dropped is not None:
            self.dropped(self)


def as_failure(error: BaseException, who: str) -> Failure:
    """`error` in a form that can be raised in any reader.

    A cancelled producer is not a cancelled reader, so its readers get an error of its own class. `GeneratorExit`
    belongs to the frame it was raised in. `StopAsyncIteration`, raised inside an iterator, would look like its end.
    """
    if isinstance(error, (asyncio.CancelledError, GeneratorExit)):
        return Failure(cancelled_error(who, error))
    if isinstance(error, (StopIteration, StopAsyncIteration)):
        wrapped = RuntimeError(f"{who} raised {type(error).__name__}.")
        wrapped.__cause__ = error
        return Failure(wrapped, who)
    return Failure(error, who)


def cancelled_error(who: str, error: BaseException | None = None) -> PromiseCancelledError:
    """What the readers of `who` get, who was ended by `error`."""
    why = error.args[0] if error is not None and error.args else ""
    if isinstance(why, Cancellation):
        return why.error(who, why.reason)
    return PromiseCancelledError(who, why if isinstance(why, str) else "")


def producer_failed(who: str, error: BaseException) -> None:
    """End, for their readers, the streams that the producer `who`, whom `error` has ended, will not close."""
    if isinstance(error, GeneratorExit):
        return  # it was collected, wherever that happened: what runs here may be somebody else
    branch = current_branch.get()
    assert branch is not None  # each producer has one
    branch.abandon_open(DeadlockError(f"{who} has failed, and left open what it had opened: nobody will close this."))


class FailureKeeper(Protocol):
    """Whoever reports the errors that nobody read: a context."""

    def keep_failure(self, failure: Failure) -> Failure:
        """Keep an error until somebody reads it. Gives the failure to be used for it."""
        ...


def capture(error: BaseException, who: str, keeper: FailureKeeper | None) -> Failure:
    """The failure that readers get for `error`, which ended the producer `who`.

    It is kept by `keeper` until somebody reads it.
    """
    failure = as_failure(error, who)
    if type(failure.exception) is PromiseCancelledError:
        return failure  # that it was stopped is no news to those who stopped it
    with contextlib.suppress(Exception):  # an odd exception class must not get its own error lost
        _note_trace(failure.exception)
    return failure if keeper is None else keeper.keep_failure(failure)


def _note_trace(error: BaseException) -> None:
    """Note on an error who raised it, and who had called them. Only where it arose: those behind add nothing."""
    branch = current_branch.get()
    if branch is None or any(note.startswith(_TRACE_NOTE) for note in getattr(error, "__notes__", ())):
        return
    named = (one.name for one in branch.lineage() if one.name)
    if names := list(itertools.islice(named, _TRACE_SHOWN + 1)):
        error.add_note(_TRACE_NOTE + " <- ".join([*names[:_TRACE_SHOWN], *["..."] * (len(names) > _TRACE_SHOWN)]))


class Log(Generic[T]):
    """An append-only list with an end marker, and a way to wait for its growth."""

    __slots__ = ("__weakref__", "_pack", "_waiters", "ended", "failure", "items", "watched_in")

    def __init__(self) -> None:
        self.items: list[T | Failure] = []
        self.ended = False
        self._pack: Callable[[list[Any]], Any] | None = None
        self.failure: Failure | None = None
        """The first failure among the items."""
        # Each with what it waits for. A dict, because it keeps the order of arrival and a cancelled waiter can leave in
        # constant time.
        self._waiters: dict[asyncio.Future[None], object] | None = None
        self.watched_in: dict[Log[Any], None] | None = None
        """The logs, this one among them, among whose waiters somebody looks for deadlocks."""

    def append(self, item: T) -> None:
        """Add an item. Costs a list slot, and one wake-up per batch for each reader that waits."""
        assert not self.ended
        self.items.append(item)
        if self._waiters:
            self._wake()

    def fail(self, failure: Failure) -> None:
        """Add an error as an item."""
        assert not self.ended
        self.items.append(failure)
        self.failure = self.failure or failure
        if self._waiters:
            self._wake()

    def end(self) -> None:
        """Mark the log as complete. A second call changes nothing."""
        if not self.ended:
            self.ended = True
            self._pack_items()
            watched_in, self.watched_in = self.watched_in, None
            if watched_in is not None:
                watched_in.pop(self, None)
        if self._waiters:
            self._wake()

    def pack_at_end(self, pack: Callable[[list[Any]], Any]) -> None:
        """Keep the items, when all are there and none is an error, as what `pack` makes of them.

        That is a sequence of the same items which takes less room. Readers that hold the list go on with it.
        """
        self._pack = pack
        if self.ended:
            self._pack_items()

    def _pack_items(self) -> None:
        if self._pack is not None and self.failure is None and len(self.items) > 1 and type(self.items) is list:
            self.items = self._pack(self.items)

    def waiter(
        self, seen: int, loop: asyncio.AbstractEventLoop | None = None, awaited: object = None
    ) -> "asyncio.Future[None]":
        """A new future of the running loop, if known `loop`: done when there are more than `seen` items, or at the end.

        `awaited` is what is waited for, to those who look for deadlocks. Who waits no more must `forget` the future.
        """
        future: asyncio.Future[None] = asyncio.Future(loop=loop or asyncio.get_running_loop())
        if self._waiters is None:
            self._waiters = {future: awaited}
        else:
            self._waiters[future] = awaited
        # Looked at after the waiter is in place: a thread may have appended in between, and would not have known of us.
        if len(self.items) > seen or self.ended:
            self.forget(future)
            _set_done(future)
        return future

    def waiters(self) -> "list[tuple[asyncio.Future[None], Any]]":
        """Those who wait at this moment, each with what it waits for."""
        return list((self._waiters or {}).items())

    def forget(self, waiter: "asyncio.Future[None]") -> None:
        """`waiter` waits no more."""
        if self._waiters is not None:
            self._waiters.pop(waiter, None)

    async def until(self, grown: "asyncio.Future[None]") -> None:
        """Wait for a waiter of this log. Cancelling it disturbs nobody."""
        try:
            await grown
        except BaseException:
            self.forget(grown)
            raise

    def call_when_grown(self, seen: int, callback: Callable[[object], object]) -> None:
        """Call `callback` in the running loop, once, when there are more than `seen` items or the log has ended."""
        self.waiter(seen).add_done_callback(callback)

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, None
        here = asyncio._get_running_loop()
        for future in list(waiters or ()):
            if future.get_loop() is not here:
                wake(future)
            elif not future.done():  # as `wake` does, without a call for each reader of each piece
                future.set_result(None)


def wake(future: "asyncio.Future[None]") -> None:
    """Make `future` done, from any thread."""
    loop = future.get_loop()
    if loop is asyncio._get_running_loop():
        _set_done(future)
    elif not loop.is_closed():
        # `set_result` alone would not wake a loop that sleeps.
        loop.call_soon_threadsafe(_set_done, future)


def _set_done(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def ended_log(pieces: Iterable[Any]) -> Log[Any]:
    """A log that is complete from the start; exceptions among the pieces become failures."""
    log: Log[Any] = Log()
    for piece in pieces:
        if isinstance(piece, BaseException):
            log.fail(as_failure(piece, "What was given"))
        else:
            log.append(piece)
    log.ended = True
    return log
