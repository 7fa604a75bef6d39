"""Deadlocks: waits that can never end, told to those who wait instead of lasting for ever.

Waits form a graph: a task waits for a promise, whose producer is a task, which may wait for a promise. A second after a
wait began, and again each second as long as others begin, the graph is looked at. (Not when a wait closes a cycle: two
agents that talk in turns close one with each word, and somebody may be about to help.) Two shapes in it are deadlocks:

* a **cycle**: the walk along waits and producers comes back to where it was, also by way of plain tasks, of which there
  may be several behind a `gather` or a `wait`;
* an **unfed input**: an agent waits for more messages of an open call, and whoever opened the call waits, directly or
  not, for that agent.

Either is only a suspicion as long as somebody might help. So before there is an alarm it is made sure that

* everything that was started by those in the shape waits for it too, and nothing out of order is still arriving;
* no `asyncio.timeout`, `wait_for` or deadline of a call will end one of these waits;
* nobody else holds what can be written with (the `InteractionContext` of an agent in a cycle, the open call): no other
  coroutine, no callback, no queue, no thread. The garbage collector knows who refers to what. Nor may anybody but tasks
  have context variables by which it is found, or those of somebody in the shape: a timer may be there to cancel them.
  (Not counted are handlers, and connections, whose callbacks are those of protocols: whoever calls a handler, or opens
  a connection and keeps it, would never be told.)

A suspicion that was not confirmed is not looked into again for a while, which grows. What cannot be made sure of is not
reported: this finds what is certain, not all there is. The virtual-time loop of `miniagents.testing` finds the rest.
"""

import asyncio
import contextlib
import contextvars
import weakref
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, Protocol

from miniagents.promising.awaited import tasks_awaited_by
from miniagents.promising.errors import DeadlockError
from miniagents.promising.holders import held_by_others, variables_of, with_timeouts
from miniagents.promising.log import Log
from miniagents.promising.tree import Branch, current_branch
from miniagents.promising.waiting import describe_waiting_task, place_of_caller, task_that_awaits

# Seconds.
_LOOK_AFTER: Final = 1.0
_LONGEST_REPRIEVE: Final = 60.0
# Looking into a suspicion asks the garbage collector, which takes its time; the rest waits for the next look.
_SUSPICIONS_PER_LOOK: Final = 10
_TASKS_SHOWN: Final = 10


class Feed:
    """Who must feed a sequence that has no producer of its own: whoever opened the call whose input it is."""

    __slots__ = ("call", "opened_at", "opener")

    def __init__(self, opened_at: str) -> None:
        self.opened_at = opened_at
        opener = asyncio.current_task() if asyncio._get_running_loop() is not None else None
        self.opener = None if opener is None else weakref.ref(opener)
        self.call: weakref.ref[object] | None = None


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

    @property
    def write_end(self) -> object:
        """What its producer writes with, if others could get hold of that."""
        ...

    def describe(self) -> str:
        """What it is, for people."""
        ...


class _Wait(NamedTuple):
    promise: Awaited
    future: "asyncio.Future[None]"

    @property
    def is_over(self) -> bool:
        """Whether the task has only not run yet since what it waited for is there."""
        return self.future.done()


class Waits:
    """The readers of an event loop that wait at this moment, and for what."""

    __slots__ = ("_logs", "_older", "_reprieved", "_timer")

    def __init__(self) -> None:
        # Those that somebody has waited for since the last look, and that have not ended. (There is a wait for each
        # token, which enters itself nowhere but in the log.)
        self._logs: dict[Log[Any], None] = {}
        # Those that had waiters at the last look. Weak, because the next one may be far away.
        self._older = weakref.WeakKeyDictionary[Log[Any], None]()
        self._timer: asyncio.TimerHandle | None = None
        # Suspicions that were not confirmed, by the future of one of their waits: until when, and for how long.
        self._reprieved: dict[asyncio.Future[None], tuple[float, float]] = {}

    def waiter(self, promise: Awaited, seen: int, loop: asyncio.AbstractEventLoop | None) -> "asyncio.Future[None]":
        """As `Log.waiter`, for a reader of `promise`, who gets a `DeadlockError` if that can never be."""
        log = promise._log
        future = log.waiter(seen, loop, promise)
        if log.watched_in is not self._logs or self._timer is None:
            self._watch(log)
        return future

    def _watch(self, log: Log[Any]) -> None:
        self._logs[log] = None
        log.watched_in = self._logs
        if self._timer is None:
            # In no context: that of whoever waits here first may have what is looked for.
            no_variables = contextvars.Context()
            self._timer = asyncio.get_running_loop().call_later(_LOOK_AFTER, self._look, context=no_variables)

    def close(self) -> None:
        """Stop looking."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._logs.clear()

    def _waiting(self) -> "dict[asyncio.Task[Any], _Wait]":
        """Who waits for what. Logs that nobody waits for any more are forgotten."""
        waiting: dict[asyncio.Task[Any], _Wait] = {}
        for log in dict.fromkeys((*self._older, *self._logs)):
            log.watched_in = None
            self._logs.pop(log, None)  # not all at once: a thread may enter one, or end it, at this moment
            if waiters := log.waiters():
                self._older[log] = None
            else:
                self._older.pop(log, None)
            for future, promise in waiters:
                # Not those who only look on.
                if promise is not None and (task := task_that_awaits(future)) is not None:
                    waiting[task] = _Wait(promise, future)
        return waiting

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        graph = _Graph(self._waiting())
        now = loop.time()
        later: dict[asyncio.Future[None], tuple[float, float]] = {}
        looked_into = 0
        for shape in graph.suspicions():
            victim = graph.waiting[shape[0]].future
            until, reprieve = self._reprieved.get(victim, (now, _LOOK_AFTER / 2))
            if until > now or looked_into >= _SUSPICIONS_PER_LOOK:
                later[victim] = (until, reprieve)
                continue
            looked_into += 1
            knot = graph.knot_of(shape)
            if knot is None:
                reprieve = min(2 * reprieve, _LONGEST_REPRIEVE)
                later[victim] = (now + reprieve, reprieve)
            else:
                with contextlib.suppress(asyncio.InvalidStateError):  # what was collected meanwhile may have woken it
                    victim.set_exception(DeadlockError(graph.describe(shape, knot)))
        self._reprieved = later
        soonest = min((until for until, _ in later.values()), default=None)
        self._timer = None if soonest is None else loop.call_at(max(soonest, now + _LOOK_AFTER / 2), self._look)


def refuse_to_wait_for_oneself(promise: Awaited) -> None:
    """Raise `DeadlockError` if the running task is the producer of `promise`, and alone can make it."""
    if promise._branch is None or promise._branch is not current_branch.get():
        return
    task = asyncio.current_task()
    if task is not None and promise._task is task and promise.write_end is None:  # certain without any search
        what = f"{task.get_name()} waits for {promise.describe()} at {place_of_caller()}"
        raise DeadlockError(f"{what}, and thus for itself: nobody else can make it.")


class _Graph:
    """Who waits for whom at one moment."""

    def __init__(self, waiting: "dict[asyncio.Task[Any], _Wait]") -> None:
        self.waiting = waiting
        self._plain: dict[int, list[asyncio.Task[Any]]] | None = None

    # ------------------------------------------------------------------ suspicions

    def suspicions(self) -> "Iterator[list[asyncio.Task[Any]]]":
        """The cycles, and the tasks that wait for an input whose opener waits. No task is walked from twice.

        The first in each of them waits for a promise.
        """
        walked: set[asyncio.Task[Any]] = set()
        for start in list(self.waiting):
            if start in walked:
                continue
            path: dict[asyncio.Task[Any], None] = {}
            # Where several tasks are awaited: how long the path is there, and which of them were not walked to yet.
            forks: list[tuple[int, list[asyncio.Task[Any]]]] = []
            task = start
            while True:
                awaited: Sequence[asyncio.Task[Any]] = ()
                if task in path:
                    yield from self._cycle([*path], task)
                elif task not in walked:
                    walked.add(task)
                    awaited = self._awaited_by(task)
                    if not awaited and self._is_unfed(task):
                        yield [task]
                if awaited:
                    path[task] = None
                    task, *others = awaited
                    if others:
                        forks.append((len(path), others))
                elif forks:
                    length, others = forks[-1]
                    task = others.pop()
                    while len(path) > length:
                        path.popitem()
                    if not others:
                        forks.pop()
                else:
                    break

    def _cycle(self, path: "list[asyncio.Task[Any]]", task: "asyncio.Task[Any]") -> "Iterator[list[asyncio.Task[Any]]]":
        """The end of `path`, from `task` on, which begins with one that waits for a promise; none if there is none."""
        cycle = path[path.index(task) :]
        first = next((place for place, one in enumerate(cycle) if one in self.waiting), None)
        if first is not None:
            yield cycle[first:] + cycle[:first]

    def _awaited_by(self, task: "asyncio.Task[Any]") -> "Sequence[asyncio.Task[Any]]":
        """The producer whom a task waits for, or the tasks."""
        wait = self.waiting.get(task)
        if wait is None:
            return tasks_awaited_by(task)
        producer = wait.promise._task
        return () if producer is None or wait.is_over or wait.promise.is_arriving else (producer,)

    def _is_unfed(self, task: "asyncio.Task[Any]") -> bool:
        wait = self.waiting.get(task)
        if wait is None or wait.is_over or wait.promise.is_arriving or wait.promise._task is not None:
            return False
        feed = wait.promise.feed
        opener = None if feed is None or feed.opener is None else feed.opener()
        return opener is not None and (opener in self.waiting or bool(tasks_awaited_by(opener)))

    # ------------------------------------------------------------------ certainty

    def knot_of(self, shape: "list[asyncio.Task[Any]]") -> "set[asyncio.Task[Any]] | None":
        """All who wait for a shape, if it is certain that nobody can help; else `None`."""
        promises = [self.waiting[task].promise for task in shape if task in self.waiting]
        knot = set(shape)
        feed = promises[0].feed if promises[0]._task is None else None
        must_wait = list(self._started_by(promises))
        for task in shape:
            must_wait.extend(self._awaited_by(task))
        if feed is not None and feed.opener is not None and (opener := feed.opener()) is not None:
            must_wait.append(opener)
            must_wait.extend(self._on_branch(variables_of(opener).get(current_branch)))
        if not self._lead_to(must_wait, knot):
            return None
        if any(map(_has_deadline, knot)):
            return None
        # Whoever waits for one of these may well hold what it writes with: it will not come to use it, unless its own
        # waiting has a limit.
        others = [
            task
            for task in self.waiting
            if task not in knot and not _has_deadline(task) and self._lead_to([task], set(knot))
        ]
        limited = with_timeouts([*knot, *others])
        if not limited.isdisjoint(knot):
            return None
        insiders = {task for task in (*knot, *others) if task not in limited}
        ends: list[object] = [promise.write_end for promise in promises]
        if feed is not None and feed.call is not None:
            ends = [feed.call()]
        ends = [end for end in ends if end is not None]
        # By its branch is found what somebody has set going that is no task, such as a timer that will cancel them.
        branches = (variables_of(task).get(current_branch) for task in knot)
        marks = [branch for branch in branches if branch is not None]
        # Twice: while it is looked for, a thread may hand what it has to the loop, which stands still meanwhile.
        return None if any(held_by_others(ends, insiders, marks) for _ in range(2)) else knot

    def _lead_to(self, tasks: "list[asyncio.Task[Any]]", knot: "set[asyncio.Task[Any]]") -> bool:
        """Whether all of `tasks` wait, in the end, for one in `knot`; they are added to it then."""
        stack = list(tasks)
        walked: set[asyncio.Task[Any]] = set()
        while stack:
            task = stack.pop()
            if task in knot or task in walked:
                continue
            walked.add(task)
            awaited = self._awaited_by(task)
            if not awaited:
                return False
            stack.extend(awaited)
        knot |= walked
        return True

    def _started_by(self, promises: list[Awaited]) -> "Iterator[asyncio.Task[Any]]":
        for promise in promises:
            yield from self._on_branch(promise._branch)

    def _on_branch(self, branch: Branch | None) -> "Iterator[asyncio.Task[Any]]":
        """The tasks on a branch, and on those that have grown on it: of producers, and plain ones."""
        branches = [] if branch is None else [branch]
        while branches:
            one = branches.pop()
            yield from self._plain_tasks().get(id(one), ())
            branches.extend(inner for child in one.children() if (inner := getattr(child, "_branch", None)) is not None)

    def _plain_tasks(self) -> "dict[int, list[asyncio.Task[Any]]]":
        if self._plain is None:
            self._plain = {}
            for task in asyncio.all_tasks():
                branch = variables_of(task).get(current_branch)
                if branch is not None:
                    self._plain.setdefault(id(branch), []).append(task)
        return self._plain

    # ------------------------------------------------------------------ words

    def describe(self, shape: "list[asyncio.Task[Any]]", knot: "set[asyncio.Task[Any]]") -> str:
        """A shape and those who wait for it, for people."""
        feed = self.waiting[shape[0]].promise.feed
        if feed is None:
            return "Each of these waits for the next, and the last for the first:\n" + self._describe_waits(shape)
        rest = sorted((task for task in knot - set(shape) if task in self.waiting), key=lambda task: task.get_name())
        return (
            f"An agent waits for more messages of a call that was opened at {feed.opened_at} and never finished, while "
            f"those who could finish it wait for the agent:\n{self._describe_waits([*shape, *rest])}\n"
            "Finish the call (`call.finish()`, or `call.reply_sequence()`) before its replies are awaited."
        )

    def _describe_waits(self, tasks: "list[asyncio.Task[Any]]") -> str:
        if len(tasks) > 2 * _TASKS_SHOWN:
            first, last = tasks[:_TASKS_SHOWN], tasks[-_TASKS_SHOWN:]
            return f"{self._describe_waits(first)}\n  ...\n{self._describe_waits(last)}"
        return "\n".join(
            f"  {task.get_name()} waits for {self._describe_awaited(task)} at {describe_waiting_task(task).place}"
            for task in tasks
        )

    def _describe_awaited(self, task: "asyncio.Task[Any]") -> str:
        if (wait := self.waiting.get(task)) is not None:
            return wait.promise.describe()
        names = [awaited.get_name() for awaited in tasks_awaited_by(task)]
        return ", ".join([*names[:_TASKS_SHOWN], *["..."] * (len(names) > _TASKS_SHOWN)])


def _has_deadline(task: "asyncio.Task[Any]") -> bool:
    """Whether a timer will cancel a task, or one that it belongs to."""
    branch = variables_of(task).get(current_branch)
    return branch is not None and any(one.has_deadline for one in branch.lineage())
