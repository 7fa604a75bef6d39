"""Promises: values that will be there. A face of a log, in which the value is the one item.

No reader ever runs the producer: the first one may *start* its task (when `start_asap=False`), and then waits like
everybody else. So a reader that is cancelled changes nothing for the others.

Invariant: the log of a promise is ended on every path. The coroutine of the producer does it in its `finally`. It is
entered before it becomes a task (`FIRST_STEP`), so this holds for a task that is cancelled before its first step, too.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Generic, TypeAlias, TypeVar

from miniagents.promising.context import PromisingContext, current_context
from miniagents.promising.deadlock import Feed, refuse_to_wait_for_oneself
from miniagents.promising.ending import wait_until_ended
from miniagents.promising.errors import (
    DeadlineExceededError,
    DeadlockError,
    NoActiveContextError,
    PromiseCancelledError,
    WrongLoopError,
)
from miniagents.promising.log import Failure, Log, cancelled_error, capture, ended_log, producer_failed
from miniagents.promising.sentinels import UNSET, Sentinel
from miniagents.promising.tasks import FIRST_STEP
from miniagents.promising.tree import (
    Account,
    Branch,
    Cancellable,
    Cancellation,
    OwnedTask,
    current_branch,
    raise_if_cancelled,
)

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

# How to wait for a promise to have more than so many pieces: as a reader, who starts its producer, or as an observer.
Wait: TypeAlias = Callable[["Promise[Any]", int], Awaitable[None]]

# Called with the promise and not bound to it: a promise that nobody ever starts must not keep itself alive. It awaits
# `FIRST_STEP` before anything else, and calls `producer_ended` on every path, behind all that it awaits.
Producer: TypeAlias = Callable[[Any], Coroutine[Any, Any, None]]


class Promise(Generic[T_co]):
    """A value that will be there. Await it any number of times, by any number of readers, early or late.

    - `resolver`: `async (promise) -> value`, called once, in a task of the context in which the promise was made (or,
      when it was made outside any context, in which it is first read). A subclass may override `_resolver` instead.
    - `prefill_result`: the value, if it is known already. An exception given here is raised when the promise is read.
    - `start_asap`: start the resolver at the next task switch (`True`) or when somebody reads (`False`); by default as
      the context says.

    Awaiting raises what the resolver raised, the same exception for every reader. Cancelling a reader changes nothing
    for the others. A resolver that is cancelled gives its readers a `PromiseCancelledError`. Without any context the
    first reader gets a `NoActiveContextError`.

    >>> import asyncio
    >>> async def answer(promise):
    ...     return 42
    >>> async def main():
    ...     async with PromisingContext():
    ...         promise = Promise(answer)
    ...         print(await promise, await promise)
    >>> asyncio.run(main())
    42 42
    """

    __slots__ = ("__weakref__", "_branch", "_context", "_grown_on", "_log", "_producer", "_task", "_untold")

    def __init__(
        self,
        resolver: "Callable[[Promise[Any]], Awaitable[T_co]] | None" = None,
        prefill_result: T_co | BaseException | Sentinel = UNSET,
        start_asap: bool | None = None,
    ) -> None:
        if prefill_result is not UNSET:
            self._setup(ended_log([prefill_result]), None, start_asap)
            return
        if resolver is None:
            if type(self)._resolver is Promise._resolver:
                raise TypeError("A promise needs a `resolver`, a `prefill_result`, or a subclass with a `_resolver`.")
            self._setup(Log(), lambda this: this._run_resolver(type(this)._resolver), start_asap)
        else:
            self._setup(Log(), lambda this: this._run_resolver(resolver), start_asap)

    async def _resolver(self) -> T_co:
        """To be overridden by a subclass that is made without a `resolver`."""
        raise NotImplementedError

    def _setup(
        self, log: Log[Any], producer: Producer | None, start_asap: bool | None, in_context: bool = True
    ) -> None:
        self._log = log
        self._producer = producer
        self._untold = False
        self._task: asyncio.Task[None] | None = None
        self._branch: Branch | None = None
        self._grown_on = None if producer is None else current_branch.get()
        self._context = context = current_context() if in_context else None
        if context is None:
            return
        if context.has_observers:
            self._be_observed(context)
        if producer is not None and (context.start_everything_asap_by_default if start_asap is None else start_asap):
            self._start(context)

    def _bind(self, context: PromisingContext) -> None:
        """Make `context` that of a promise that was made outside any."""
        self._context = context
        if context.has_observers:
            self._be_observed(context)

    def _be_observed(self, context: PromisingContext) -> None:
        self._untold = True
        if self._producer is None:  # it may be made in a thread, whose tasks are in the loop all the same
            context.call_in_loop(self._start_observing, context)

    def _start(self, context: PromisingContext) -> None:
        producer, grown_on = self._producer, self._grown_on
        assert producer is not None  # whoever calls this has looked
        if grown_on is not None and grown_on.cancellation is not None:
            self._producer = None
            self._end_unsaid(cancelled_error(self._describe(), asyncio.CancelledError(grown_on.cancellation)))
            return
        name = self._describe()
        loop = context.running_loop(name)
        self._producer = self._grown_on = None
        self._branch = branch = Branch(grown_on, self, self._trace_name())
        try:
            self._task = context.spawn_producer(producer(self), loop, name, branch)
        except BaseException:  # there may be no room for one more call on the stack
            if not self._log.ended:  # it was not entered
                self._producer, self._grown_on, self._branch = producer, grown_on, None
            branch.end()
            raise
        if self._untold:
            self._start_observing(context)

    def keep_account(self, account: Account) -> None:
        """Have `account` know what is spent by the producer, which is being started, and all below it."""
        assert self._branch is not None  # it comes when the producer is started
        self._branch.account = account

    def producer_ended(self) -> None:
        """Called by the producer at its end, behind the last thing that it awaits."""
        task, self._task = self._task, None
        context, branch = self._context, self._branch
        assert context is not None  # this and the branch came when it was started
        assert branch is not None
        branch.end()
        if task is not None:
            context.forget_task(task)

    def _end_unsaid(self, error: PromiseCancelledError) -> None:
        """End the log with `error`, because its producer never ran."""
        self._log.fail(Failure(error))
        self._log.end()

    # ------------------------------------------------------------------ stopping

    def cancel(self, msg: Any = "") -> None:
        """Stop the producer and everything that it has started, and what that has started, and so on. Never waits.

        What was said until then stays readable; then comes a `PromiseCancelledError` with the name of the producer and
        the reason `msg`. Nothing happens to producers that have ended, except that what they have started is stopped.
        What was not started yet never will be. What somebody appends has no producer and goes on. May be called from
        another thread than that of the event loop.
        """
        context = self._context
        if context is not None and context.runs_elsewhere:
            context.call_in_loop(self.cancel, msg)
            return
        why = msg if isinstance(msg, Cancellation) else Cancellation(str(msg))
        doomed: list[Cancellable] = [self]
        while doomed:
            one = doomed.pop()
            if isinstance(one, Promise):
                doomed.extend(one._cancel_producer(why))
            else:
                one.cancel(why)

    def _cancel_producer(self, why: Cancellation) -> list[Cancellable]:
        """Stop this producer alone; give what grows on its branch."""
        if self._producer is not None:
            self._producer = None
            self._end_unsaid(cancelled_error(self._describe(), asyncio.CancelledError(why)))
        elif self._task is not None and self._context is not None:
            self._context.cancel_task(self._task, why)
        if self._branch is None:
            return []
        self._branch.cancellation = why
        return self._branch.children()

    def limit(self, seconds: float) -> None:
        """Cancel the producer, which is being started, and all below it when this time is over."""
        assert self._branch is not None  # it comes when the producer is started
        why = Cancellation(f"the {seconds:g} s that {self._describe()} had are over", DeadlineExceededError)
        self._branch.limit(asyncio.get_running_loop().call_later(seconds, self.cancel, why))

    async def _ended(self) -> None:
        """Wait until the producer and everything that it has started have ended, but not beyond the grace period."""
        if self._context is not None:
            await wait_until_ended(self._live_tasks, self._context.grace_period)

    def _live_tasks(self) -> "list[asyncio.Task[Any]]":
        """The tasks of the producer and of everything that it has started."""
        tasks: list[asyncio.Task[Any]] = []
        rest: list[Cancellable] = [self]
        while rest:
            one = rest.pop()
            if isinstance(one, Promise):
                tasks.extend([one._task] if one._task is not None else [])
                rest.extend(one._branch.children() if one._branch is not None else [])
            else:
                assert isinstance(one, OwnedTask)  # nothing else grows on a branch
                tasks.append(one.task)
        return tasks

    def _begin_reading(self) -> None:
        """Called by a reader that has to wait: binds and starts what is not started yet."""
        context = self._context
        if self._producer is not None:
            if context is None:
                context = current_context()
                if context is None:
                    raise NoActiveContextError(f"Reading {self._describe()}")
                self._bind(context)
            self._start(context)
        elif context is not None and context.runs_elsewhere:
            raise WrongLoopError(self._describe())

    def _taken(self, seen: int) -> None:
        """Called by a reader that has to wait, with the number of pieces that it has taken."""

    async def _run_resolver(self, resolver: Callable[[Any], Awaitable[Any]]) -> None:
        log = self._log
        try:
            await FIRST_STEP
            value = await resolver(self)
            raise_if_cancelled()
            log.append(value)
            del value
        except BaseException as error:
            self._record_error(error)
            producer_failed(self._describe(), error)
            if isinstance(error, (asyncio.CancelledError, GeneratorExit)):
                raise
        finally:
            log.end()
            self.producer_ended()
            # The traceback of an error keeps this frame, which must not lead from the error back to itself.
            del log, self

    def _record_error(self, error: BaseException) -> None:
        self._log.fail(capture(error, self._describe(), current_context()))

    # ------------------------------------------------------------------ reading

    def __await__(self) -> Generator[Any, Any, T_co]:
        # While more pieces are to come, whoever awaits the whole asks for all of them.
        outcome = self._peek() if self._log.ended and not self._untold else UNSET
        if isinstance(outcome, (Failure, Sentinel)):
            return self._aresolve().__await__()
        return _known(outcome)

    async def aresolve(self) -> T_co:
        """The same as awaiting the promise."""
        return await self._aresolve()

    async def _aresolve(self) -> T_co:
        outcome = await self._settle(wait_as_reader)
        if self._untold:
            self._tell(outcome)
        if not isinstance(outcome, Failure):
            return outcome
        del self  # the traceback keeps this frame, which must not lead from the error back to itself
        try:
            outcome.throw()
        finally:
            del outcome

    async def _settle(self, wait: "Wait") -> T_co | Failure:
        """Wait for the outcome and give it, an error as a `Failure` that does not count as read yet."""
        await self._wait_until_decided(wait)
        outcome = self._peek()
        assert not isinstance(outcome, Sentinel)  # it is decided
        return outcome

    async def _wait_until_decided(self, wait: "Wait") -> None:
        log = self._log
        while not log.ended and log.failure is None:
            await wait(self, len(log.items))

    def _peek(self) -> T_co | Failure | Sentinel:
        """The outcome if it is there, else `UNSET`."""
        if not self._log.ended:
            return UNSET
        return self._log.items[0]

    @property
    def resolved(self) -> bool:
        """Whether the outcome, a value or an error, is there, so that awaiting does not wait."""
        return self._peek() is not UNSET

    # ------------------------------------------------------------------ telling the handlers

    def _start_observing(self, context: PromisingContext) -> None:
        outcome = self._peek()
        if outcome is UNSET:
            context.observe(self._observe(context))
        else:
            self._tell(outcome)

    async def _observe(self, context: PromisingContext) -> None:
        try:
            outcome: object = await self._settle(context.observing)
        except DeadlockError as error:  # a rope that contains itself; its readers are told as well
            outcome = Failure(error)
        self._tell(outcome)

    def _tell(self, outcome: object) -> None:
        """Tell the handlers of the outcome, once, whoever finds out first."""
        context = self._context
        if self._untold and context is not None and context.active:
            self._untold = False
            told = outcome.exception if isinstance(outcome, Failure) else outcome
            context.call_in_loop(self._tell_handlers, context, told)

    def _tell_handlers(self, context: PromisingContext, outcome: object) -> None:
        context.promise_resolved(self, outcome)

    # ------------------------------------------------------------------ speaking about it

    @property
    def feed(self) -> Feed | None:
        """Who must feed this promise, if that is known and it has no producer."""
        return None

    @property
    def write_end(self) -> object:
        """What the producer of this promise writes with, if others could get hold of that."""
        return None

    @property
    def is_arriving(self) -> bool:
        """Whether something may grow this promise beside its producer."""
        return False

    def describe(self) -> str:
        """What this is, for people."""
        return f"the {self._describe()}"

    def _trace_name(self) -> str:
        return ""

    def _describe(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        outcome = self._peek()
        state = "failed" if isinstance(outcome, Failure) else "pending" if outcome is UNSET else "resolved"
        return f"<{self._describe()} {state}>"


def _known(outcome: T) -> Generator[Any, Any, T]:
    """What awaiting comes to when the outcome is there: less than the coroutines that would wait for it."""
    return outcome
    yield  # type: ignore[unreachable]  # it makes this a generator


def wait_as_reader(promise: Promise[Any], seen: int) -> Awaitable[None]:
    """To be awaited: that a promise has grown beyond `seen` pieces or has ended. Its producer is started at once."""
    promise._taken(seen)
    return wait_for_growth(promise, seen)


def wait_for_growth(promise: Promise[Any], seen: int) -> Awaitable[None]:
    """The same for a reader that tells itself how far it has come."""
    return promise._log.until(growth(promise, seen))


def growth(promise: Promise[Any], seen: int) -> "asyncio.Future[None]":
    """The same as a waiter of the log of the promise, which must be forgotten if it is not awaited to its end."""
    context, loop = promise._context, asyncio._get_running_loop()
    if promise._producer is not None or context is None or context._loop is not loop:
        promise._begin_reading()
        context = promise._context or current_context()
        if context is None:  # what somebody appends who needs none
            return promise._log.waiter(seen, loop)
    refuse_to_wait_for_oneself(promise)
    return context.waits.waiter(promise, seen, loop)
