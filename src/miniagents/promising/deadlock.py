"""Deadlocks: waits that can never end, told to those who wait instead of lasting for ever.

Waits form a graph: a task waits for a promise, whose producer is a task, which may wait for a promise. Two shapes are
found in it.

* A **cycle**: the walk from a promise, along producers that wait, comes back to the one who is about to wait. Looked
  for at the moment of the wait, which costs a look at one dict where there is none. A cycle longer than `_MAX_HOPS` is
  not found.
* An **unfed input**: an agent waits for more messages of a call that is open, and everyone who could send one, that is
  whoever opened the call and what that has started, waits for that agent. Looked for a second after a wait began.

There is no alarm while anybody might still help: a task that belongs to one of those in the cycle and is free, or one
of them whose wait is under `asyncio.timeout`. Nor where that cannot be known, because the event loop does not show its
timers. So this finds what is certain, not all there is; the virtual-time loop of `miniagents.testing` finds the rest.
"""

import asyncio
import contextvars
import gc
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple, Protocol

from miniagents.promising.errors import DeadlockError
from miniagents.promising.log import Log
from miniagents.promising.tree import Branch, current_branch
from miniagents.promising.waiting import describe_waiting_task

_MAX_HOPS: Final = 64
_LOOK_AFTER: Final = 1.0
"""Seconds."""


class Feed(NamedTuple):
    """Who must feed a sequence that has no producer of its own: the input of an open call."""

    branch: Branch | None
    """The branch of whoever opened the call; `None` if that was no producer."""
    opened_at: str


class Awaited(Protocol):
    """What is known of a promise that somebody waits for."""

    _log: Log[Any]
    _task: "asyncio.Task[None] | None"
    _branch: Branch | None

    @property
    def feed(self) -> Feed | None:
        """Who must feed it, if that is known and it has no producer."""
        ...

    @property
    def is_arriving(self) -> bool:
        """Whether something may grow it beside its producer."""
        ...

    def describe(self) -> str:
        """What it is, for people."""
        ...


class _Wait(NamedTuple):
    promise: Awaited
    future: "asyncio.Future[None]"


class Waits:
    """The readers of an event loop that wait at this moment, and for what."""

    __slots__ = ("_timer", "_waiting")

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Task[Any], _Wait] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self, promise: Awaited, seen: int) -> None:
        """Wait until `promise` has more than `seen` pieces or has ended; `DeadlockError` if that can never be."""
        log = promise._log
        task = asyncio.current_task()
        if task is None:
            await log.wait(seen)
            return
        future = log.waiter()
        self._waiting[task] = _Wait(promise, future)
        try:
            if len(log.items) <= seen and not log.ended:  # a thread may have appended in between
                self._refuse_cycle(task)
                self._look_later()
                await future
        finally:
            del self._waiting[task]
            log.forget(future)

    def close(self) -> None:
        """Stop looking."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # ------------------------------------------------------------------ cycles

    def _refuse_cycle(self, task: "asyncio.Task[Any]") -> None:
        cycle = [task]
        while len(cycle) <= _MAX_HOPS:
            producer = self._waiting[cycle[-1]].promise._task
            if producer is task:
                if not self._can_be_helped(cycle):
                    raise DeadlockError(self._describe_cycle(cycle))
                return
            if producer is None or producer not in self._waiting:
                return
            cycle.append(producer)

    def _can_be_helped(self, cycle: "list[asyncio.Task[Any]]") -> bool:
        promises = [self._waiting[task].promise for task in cycle]
        if any(promise.is_arriving for promise in promises) or _may_time_out(cycle):
            return True
        branches = {id(promise._branch) for promise in promises}
        belonging = (
            task for task in asyncio.all_tasks() if any(id(branch) in branches for branch in _branches_of(task))
        )
        return any(not self._leads_to(task, set(cycle), set()) for task in belonging)

    def _describe_cycle(self, cycle: "list[asyncio.Task[Any]]") -> str:
        return "Each of these waits for the next, and the last for the first:\n" + "\n".join(
            self._describe_wait(task) for task in cycle
        )

    # ------------------------------------------------------------------ unfed inputs

    def _look_later(self) -> None:
        # One look for each stretch in which somebody began to wait: what did not change needs no second one.
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LOOK_AFTER, self._look)

    def _look(self) -> None:
        self._timer = None
        for task, wait in list(self._waiting.items()):
            feed = wait.promise.feed
            if feed is None or wait.future.done():
                continue
            feeders = [one for one in asyncio.all_tasks() if one is not task and _belongs_to(one, feed.branch)]
            if feeders and not _may_time_out(feeders) and all(self._leads_to(one, {task}, set()) for one in feeders):
                wait.future.set_exception(DeadlockError(self._describe_unfed(task, feed, feeders)))
                return  # this may set others free; they are looked at when they wait again

    def _describe_unfed(self, task: "asyncio.Task[Any]", feed: Feed, feeders: "list[asyncio.Task[Any]]") -> str:
        waiting = [one for one in feeders if one in self._waiting]
        return (
            f"{self._describe_wait(task)}\nfor more messages of a call that was opened at {feed.opened_at} and never "
            "finished, while those who could finish it wait for this:\n"
            + "\n".join(self._describe_wait(one) for one in waiting)
            + "\nFinish the call (`call.finish()`, or `call.reply_sequence()`) before its replies are awaited."
        )

    # ------------------------------------------------------------------ the graph

    def _leads_to(self, task: "asyncio.Task[Any]", goals: "set[asyncio.Task[Any]]", seen: set[int]) -> bool:
        """Whether all that `task` waits for leads, along waits, to one of `goals` or round in a circle."""
        stack = [task]
        while stack:
            one = stack.pop()
            if one in goals or id(one) in seen:
                continue
            seen.add(id(one))
            wait = self._waiting.get(one)
            if wait is not None:
                producer = wait.promise._task
                if producer is None or wait.promise.is_arriving or wait.future.done():
                    return False
                stack.append(producer)
                continue
            awaited = list(_tasks_awaited_by(one))
            if not awaited:
                return False
            stack.extend(awaited)
        return True

    def _describe_wait(self, task: "asyncio.Task[Any]") -> str:
        awaited = self._waiting[task].promise.describe()
        return f"  {task.get_name()} waits for {awaited} at {describe_waiting_task(task).place}"


def _branches_of(task: "asyncio.Task[Any]") -> Iterator[Branch]:
    """The branch of the call tree that a task is on, and those that this has grown on."""
    branch: Branch | None = _variables_of(task).get(current_branch)
    while branch is not None:
        yield branch
        branch = branch.parent


def _belongs_to(task: "asyncio.Task[Any]", branch: Branch | None) -> bool:
    return branch is None or any(one is branch for one in _branches_of(task))


def _variables_of(task: "asyncio.Task[Any]") -> contextvars.Context:
    get_context = getattr(task, "get_context", None)  # since 3.12
    if get_context is not None:
        variables: contextvars.Context = get_context()
        return variables
    found = (one for one in gc.get_referents(task) if isinstance(one, contextvars.Context))
    return next(found, contextvars.Context())


def _tasks_awaited_by(task: "asyncio.Task[Any]") -> "Iterator[asyncio.Task[Any]]":
    """The tasks that a task waits for, directly, by `gather`, `wait` or `wait_for`; none if that is unknown."""
    future = getattr(task, "_fut_waiter", None)
    if isinstance(future, asyncio.Task):
        yield future
        return
    children: Iterable[Any] = getattr(future, "_children", ())
    if not children:
        children = _waited_for_in(task.get_coro())
    tasks = [child for child in children if isinstance(child, asyncio.Task)]
    yield from tasks


def _waited_for_in(awaited: Any) -> Iterable[Any]:
    """What stands in the frame of `asyncio.wait` or `asyncio.wait_for`, if that is where a coroutine is suspended."""
    innermost = None
    while (frame := getattr(awaited, "cr_frame", None)) is not None:
        innermost = frame
        awaited = awaited.cr_await
    if innermost is None or innermost.f_globals.get("__name__") != "asyncio.tasks":
        return ()
    if innermost.f_code.co_name == "_wait":
        return tuple(innermost.f_locals["fs"])
    return (innermost.f_locals["fut"],) if innermost.f_code.co_name == "wait_for" else ()


def _may_time_out(tasks: "Iterable[asyncio.Task[Any]]") -> bool:
    """Whether one of `tasks` waits under `asyncio.timeout`, or the loop does not show its timers."""
    timers = getattr(asyncio.get_running_loop(), "_scheduled", None)
    if timers is None:
        return True
    concerned = set(tasks)
    for timer in timers:
        owner = None if timer.cancelled() else getattr(timer._callback, "__self__", None)
        if isinstance(owner, asyncio.Timeout) and getattr(owner, "_task", None) in concerned:
            return True
    return False
