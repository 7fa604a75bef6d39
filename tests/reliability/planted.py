"""Known-bad variants of the engine, each with a mistake that is easy to make, and where the sweeps must find it.

A sweep that finds nothing proves something only if it would find what is there.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from miniagents.messages import MessageAppender
from miniagents.promising import promise
from miniagents.promising.backpressure import Backpressure, HeldBack
from miniagents.promising.context import PromisingContext
from miniagents.promising.log import Failure, Log
from miniagents.promising.promise import Promise
from miniagents.promising.sequence import SequenceAppender
from miniagents.promising.stream import PieceReader
from miniagents.promising.tree import Branch


@dataclass(frozen=True)
class Planted:
    """A mistake: what it is, how to make it, and the (sweep, scenario, settings) that must notice it."""

    name: str
    make: Callable[[], AbstractContextManager[object]]
    sweep: str
    scenario: str
    settings: str = "plain"


PLANTED: list[Planted] = []


def planted(sweep: str, scenario: str, settings: str = "plain") -> Callable[[Callable[[], Any]], None]:
    """Add a mistake. Its docstring says what it is."""

    def add(make: Callable[[], Any]) -> None:
        PLANTED.append(Planted(make.__name__, make, sweep, scenario, settings))

    return add


@planted("schedule", "detached_agent")
def tasks_that_nobody_waits_for() -> object:
    """Producers do not enter the registry of their context, which ends before they do."""

    def spawn_producer(self: Any, work: Any, loop: Any, name: Any, branch: Any) -> Any:
        work.send(None)
        return self._make_task_in(loop, work, name, branch)

    return patch.object(PromisingContext, "spawn_producer", spawn_producer)


@planted("cancel", "stream")
def one_future_for_all_readers() -> object:
    """Readers share the future that they wait on, so one that is cancelled cancels it for all."""

    waiter = Log.waiter

    def shared(self: Log[Any], *what: Any) -> Any:
        return next(iter(self._waiters or ()), None) or waiter(self, *what)

    return patch.multiple(Log, waiter=shared, forget=lambda self, waiter: None)


@planted("cancel", "lazy_promise")
def resolver_in_the_task_of_the_reader() -> object:
    """The first reader runs the resolver itself, so its cancellation is everybody's."""
    settle = Promise._settle

    async def bad(self: Any, wait: Any) -> Any:
        if self._producer is not None and self._context is not None:
            producer, self._producer = self._producer, None
            with contextlib.suppress(Exception):
                await producer(self)
        return await settle(self, wait)

    return patch.object(Promise, "_settle", bad)


@planted("schedule", "failing_stream", "twice")
def traceback_that_grows() -> object:
    """Each reader adds its frames to the traceback of the one exception."""

    def throw(self: Failure) -> Any:
        self.observed = True
        raise self.exception

    return patch.object(Failure, "throw", throw)


@planted("kill", "stream")
def no_end_when_killed_at_once() -> object:
    """Producers are not entered before they are tasks: their `finally` does not run if they are cancelled at once."""

    def spawn_producer(self: Any, work: Any, loop: Any, name: Any, branch: Any) -> Any:
        task = self._make_task_in(loop, work, name, branch)
        self._tasks.add(task)
        return task

    return patch.object(PromisingContext, "spawn_producer", spawn_producer)


@planted("cancel", "stream")
def cancellation_swallowed() -> object:
    """A wait takes a cancellation for a wake-up."""
    wait = PieceReader.__anext__

    async def bad(self: PieceReader[Any]) -> Any:
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                return await wait(self)

    return patch.object(PieceReader, "__anext__", bad)


@planted("schedule", "stream")
def lost_wake_up() -> object:
    """Only the first of those who wait is woken."""

    def wake(self: Log[Any]) -> None:
        for future in list(self._waiters or ()):
            if self._waiters is not None:
                del self._waiters[future]
            if not future.done():
                future.set_result(None)
                return

    return patch.object(Log, "_wake", wake)


@planted("schedule", "polling")
def piece_skipped_after_a_timeout() -> object:
    """A reader counts a piece as read before it has waited for it."""

    async def next_one(self: Any) -> Any:
        index = self._index
        self._index += 1
        while index >= len(self._items):
            if self._log.ended:
                raise StopAsyncIteration
            await promise.wait_as_reader(self._promise, index)
        return self._items[index]

    return patch.object(PieceReader, "__anext__", next_one)


@planted("schedule", "unread_failure", "observed")
def looking_on_counts_as_reading() -> object:
    """An error that only a handler was told of is not reported any more."""
    tell = Promise._tell

    def bad(self: Any, outcome: Any) -> None:
        if isinstance(outcome, Failure):
            outcome.observed = True
        tell(self, outcome)

    return patch.object(Promise, "_tell", bad)


@planted("schedule", "out_of_order")
def end_before_all_has_arrived() -> object:
    """A reply out of order ends when its appender is closed, whatever is still on its way."""
    return patch.object(SequenceAppender, "_end", lambda self: self.log.end())


@planted("schedule", "handlers")
def handlers_that_call_themselves() -> object:
    """Promises that a handler makes call handlers."""

    async def call(handler: Callable[[], Awaitable[None]], level: int) -> None:
        await handler()

    return patch("miniagents.promising.context.call_handler", call)


@planted("schedule", "detached_agent")
def context_that_does_not_wait() -> object:
    """A context that is left cancels what nobody waits for."""

    async def flush(self: Any) -> None:
        await asyncio.sleep(0)

    return patch.object(PromisingContext, "aflush_tasks", flush)


@planted("kill", "agent")
def cancelled_error_for_readers() -> object:
    """Readers of a killed producer get its `CancelledError`, as if they were cancelled themselves."""
    return patch("miniagents.promising.log.as_failure", lambda error, who: Failure(error))


@planted("schedule", "stream", "late")
def late_readers_miss_the_beginning() -> object:
    """A reader starts at what is there when it comes."""
    init = PieceReader.__init__

    def bad(self: Any, promise: Any) -> None:
        init(self, promise)
        self._index = len(self._items)

    return patch.object(PieceReader, "__init__", bad)


@planted("schedule", "cancelled_call")
def cancel_that_forgets_the_children() -> object:
    """Cancelling a call leaves what it has called running."""
    return patch.object(Branch, "children", lambda self: [])


@planted("leave", "detached_agent")
def context_that_leaves_its_tasks() -> object:
    """A context that is left by an error goes at once, and leaves its tasks behind."""

    async def cancel_tasks(self: Any) -> None:
        await asyncio.sleep(0)

    return patch.object(PromisingContext, "_cancel_tasks", cancel_tasks)


@planted("schedule", "appender_left_open")
def nobody_closes_appenders() -> object:
    """Nobody closes what is open when the context ends."""
    return patch.object(PromisingContext, "_abandon_open", lambda self: None)


@planted("schedule", "deadline")
def deadline_that_is_not_kept() -> object:
    """A deadline stops the agent and not those that it has called."""
    return patch.object(Promise, "_cancel_producer", lambda self, why: [])


@planted("raise", "stream")
def error_that_is_lost() -> object:
    """An error of a producer ends its stream as if all had been said."""

    def record(self: Any, error: BaseException) -> None:
        pass

    return patch.object(Promise, "_record_error", record)


@planted("raise", "detached_agent")
def unread_error_not_reported() -> object:
    """An error that nobody reads is dropped."""
    return patch.object(PromisingContext, "keep_failure", lambda self, failure: failure)


@planted("raise", "agent")
def interrupt_let_through() -> object:
    """An agent that raises leaves its reply without an end, since only an `Exception` is caught."""

    def fail(self: Any, error: BaseException, who: str = "") -> None:
        if not isinstance(error, Exception):
            raise error
        self.log.fail(Failure(error))

    return patch.object(MessageAppender, "fail", fail)


@planted("schedule", "handlers")
def handlers_told_twice() -> object:
    """A promise tells its handlers each time that somebody finds out."""

    def tell(self: Any, outcome: Any) -> None:
        if self._untold and self._context is not None and self._context.active:
            self._tell_handlers(self._context, outcome.exception if isinstance(outcome, Failure) else outcome)

    return patch.object(Promise, "_tell", tell)


@planted("schedule", "bounded_streams")
def producer_that_does_not_wait() -> object:
    """A producer runs ahead of its readers as far as it likes."""

    async def wait_for_readers(self: Any, made: int, held_back: Any) -> None:
        pass

    return patch.object(Backpressure, "wait_for_readers", wait_for_readers)


@planted("schedule", "stream", "bounded")
def readers_that_do_not_release() -> object:
    """A producer that is held back is not told that its reader goes on."""

    def taken(self: Any, seen: int) -> None:
        self._foremost = max(self._foremost, seen)

    return patch.object(Backpressure, "taken", taken)


@planted("schedule", "bounded_streams")
def held_back_for_ever() -> object:
    """A producer that nobody reads is held back also when its context ends."""
    return patch.object(HeldBack, "is_lifted", False)
