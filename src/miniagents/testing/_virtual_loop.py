"""The event loop behind `run_virtual`: one ready queue drawn from a seed, one clock that jumps, no input or output."""

import asyncio
import heapq
import itertools
import math
import random
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, NoReturn, TypeVarTuple, Unpack

from miniagents.promising.holders import task_of_step
from miniagents.promising.waiting import WaitingTask, describe_waiting_task
from miniagents.testing._waiting import (
    NothingCanMoveError,
    NotSimulatedError,
    StepLimitError,
    VirtualTimeoutError,
)

Ts = TypeVarTuple("Ts")

StepHook = Callable[[int, "asyncio.Task[Any]"], object]
"""Called before each step of a task with the number of the step (from 0) and the task."""

ONE_DAY = 86_400.0
MAX_STEPS = 1_000_000

_CANCELLED_TIMERS_KEPT = 100


def _not_simulated(name: str) -> Any:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise NotSimulatedError(f"`{name}`")

    return refuse


class VirtualTimeLoop(asyncio.BaseEventLoop):
    """An event loop with virtual time and seeded task order; `miniagents.testing.virtual_time` tells what holds in it.

    Most tests want `run_virtual`, which makes one, runs a program in it and cleans up. The loop itself serves as a
    `loop_factory` for `asyncio.Runner`, and inside the program, where `asyncio.get_running_loop()` gives it, for
    `tasks`, `steps` and `seed`.

    Args:
        seed: Decides the order of the tasks; an equal seed gives an equal run.
        on_step: Called as `on_step(number, task)` before each step of each task. It may cancel tasks (a task that is
            cancelled before its own step sees it in that step); what it raises ends the run.
        timeout: Virtual seconds after which `VirtualTimeoutError` is raised.
        max_steps: How many steps and callbacks may run before `StepLimitError` is raised.
    """

    _stopping: bool

    def __init__(
        self,
        seed: int = 0,
        *,
        on_step: StepHook | None = None,
        timeout: float = ONE_DAY,
        max_steps: int = MAX_STEPS,
    ) -> None:
        super().__init__()
        self.seed = seed
        self.steps = 0
        """How many steps the tasks have taken so far."""
        self.on_step = on_step
        self._random = random.Random(seed)
        self._now = 0.0
        self._timeout = self._deadline = timeout
        self._max_steps = self._turns_left = max_steps
        self._ready_callbacks: deque[asyncio.Handle] = deque()
        # Invariant: a task is in here at most once, because asyncio schedules its next step only from within its last
        # one or from the one future that it awaits. So the steps of one task cannot change places.
        self._ready_steps: list[tuple[asyncio.Task[Any], asyncio.Handle]] = []
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._timer_numbers = itertools.count()
        self._cancelled_timers = 0
        # Weak like asyncio's own register, so that a task which nobody holds on to can vanish here as it would there.
        # Unlike `asyncio.all_tasks` it has an order: a set of tasks is ordered by memory addresses.
        self._created_tasks: weakref.WeakKeyDictionary[asyncio.Task[Any], None] = weakref.WeakKeyDictionary()
        self._task_numbers = itertools.count(1)
        self._own_thread = threading.get_ident()

    @property
    def tasks(self) -> tuple["asyncio.Task[Any]", ...]:
        """The tasks that are not done, in the order in which they were created."""
        known = [task for task in self._created_tasks if not task.done()]
        # A task that was made without `create_task`, and eagerly, has not come by here yet.
        unknown = asyncio.all_tasks(self).difference(known)
        return (*known, *sorted(unknown, key=asyncio.Task.get_name))

    def renew_limits(self) -> None:
        """Grants `timeout` and `max_steps` once more, counted from now."""
        self._deadline = self._now + self._timeout
        self._turns_left = self._max_steps

    def time(self) -> float:
        """The virtual time in seconds; it starts at 0."""
        return self._now

    def call_soon(self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Any = None) -> asyncio.Handle:
        """Like `asyncio.loop.call_soon`."""
        self._refuse_if_closed()
        handle = asyncio.Handle(callback, args, self, context)
        task = task_of_step(callback)
        if task is None:
            self._ready_callbacks.append(handle)
        else:
            self._ready_steps.append((task, handle))
            # The first step of a task comes by here when it is created, also if it was made without `create_task`.
            self._created_tasks[task] = None
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Any = None
    ) -> asyncio.Handle:
        """Like `call_soon`; `NotSimulatedError` in another thread than the one that made the loop."""
        if threading.get_ident() != self._own_thread:
            raise NotSimulatedError("`call_soon_threadsafe` from another thread")
        return self.call_soon(callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Any = None
    ) -> asyncio.TimerHandle:
        """Like `asyncio.loop.call_at`; timers of the same time run in the order in which they were set."""
        self._refuse_if_closed()
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._timer_numbers), timer))
        return timer

    @property
    def _scheduled(self) -> list[asyncio.TimerHandle]:
        """The timers, where the loops of asyncio have theirs: who looks for deadlocks looks here."""
        return [timer for _, _, timer in self._timers]

    @_scheduled.setter
    def _scheduled(self, _: object) -> None:
        """The base class makes a list of its own, which is not needed."""

    def create_task(self, coro: Any, *, name: object = None, **kwargs: Any) -> "asyncio.Task[Any]":
        """Like `asyncio.loop.create_task`; default names count from `Task-1` in each loop, so that runs compare."""
        name = f"Task-{next(self._task_numbers)}" if name is None else name
        task = super().create_task(coro, name=name, **kwargs)
        self._created_tasks[task] = None
        return task

    def close(self) -> None:
        """Like `asyncio.loop.close`; drops what is still scheduled."""
        super().close()
        self._ready_callbacks.clear()
        self._ready_steps.clear()
        self._timers.clear()

    add_reader = add_writer = _not_simulated("add_reader/add_writer")
    add_signal_handler = _not_simulated("add_signal_handler")
    connect_read_pipe = connect_write_pipe = _not_simulated("connect_read_pipe/connect_write_pipe")
    create_connection = create_unix_connection = _not_simulated("create_connection")
    create_datagram_endpoint = _not_simulated("create_datagram_endpoint")
    create_server = create_unix_server = _not_simulated("create_server")
    getaddrinfo = getnameinfo = _not_simulated("getaddrinfo/getnameinfo")
    run_in_executor = _not_simulated("run_in_executor/to_thread")
    sock_accept = sock_connect = _not_simulated("sock_accept/sock_connect")
    sock_recv = sock_recv_into = sock_recvfrom = sock_recvfrom_into = _not_simulated("sock_recv")
    sock_sendall = sock_sendto = sock_sendfile = _not_simulated("sock_sendall")
    subprocess_exec = subprocess_shell = _not_simulated("subprocess_exec/subprocess_shell")

    def _run_once(self) -> None:
        # Asyncio has no public place for a scheduler of one's own. The base class calls this method
        # again and again until `_stopping` is set. (`_scheduled` and `_timer_handle_cancelled` go with it.)
        # One handle at a time: what a step makes ready competes at once with what was ready before it.
        if self._turns_left <= 0:
            raise StepLimitError(self._max_steps, self._describe_waiting(), self._now)
        if not (self._ready_callbacks or self._ready_steps or self._stopping):
            self._jump_to_next_timer()
        self._take_due_timers()
        callbacks = len(self._ready_callbacks)
        choice = int(self._random.random() * (callbacks + len(self._ready_steps)))
        if choice < callbacks:
            handle = self._ready_callbacks.popleft()
        elif self._ready_steps:
            handle = self._take_step(choice - callbacks)
        else:
            return
        if not handle.cancelled():
            self._turns_left -= 1
            handle._run()
        del handle  # since Python 3.12 the traceback of an error that the step has kept may lead here

    def _take_step(self, index: int) -> asyncio.Handle:
        steps = self._ready_steps
        if self.on_step is not None:
            # Before the step is taken from the list: if the hook raises, the clean-up still finds it there.
            self.on_step(self.steps, steps[index][0])
        self.steps += 1
        steps[index], steps[-1] = steps[-1], steps[index]
        return steps.pop()[1]

    def _jump_to_next_timer(self) -> None:
        while self._timers and self._timers[0][2].cancelled():
            heapq.heappop(self._timers)
        # A timer at infinity, as in `asyncio.sleep(math.inf)`, never fires.
        when = self._timers[0][0] if self._timers else math.inf
        if when == math.inf:
            raise NothingCanMoveError(self._describe_waiting(), self._now)
        if when > self._deadline:
            self._now = max(self._now, self._deadline)
            raise VirtualTimeoutError(self._timeout, self._describe_waiting(), self._now)
        self._now = max(self._now, when)

    def _take_due_timers(self) -> None:
        timers = self._timers
        while timers and timers[0][0] <= self._now:
            timer = heapq.heappop(timers)[2]
            if not timer.cancelled():
                self._ready_callbacks.append(timer)

    def _timer_handle_cancelled(self, _: asyncio.TimerHandle) -> None:
        # Timers are cancelled far more often than they fire (time-outs), so the dead ones must not pile up.
        self._cancelled_timers += 1
        if self._cancelled_timers > max(_CANCELLED_TIMERS_KEPT, len(self._timers) // 2):
            self._timers = [entry for entry in self._timers if not entry[2].cancelled()]
            heapq.heapify(self._timers)
            self._cancelled_timers = 0

    def _refuse_if_closed(self) -> None:
        if self.is_closed():
            raise RuntimeError("Event loop is closed")

    def _describe_waiting(self) -> tuple[WaitingTask, ...]:
        return tuple(describe_waiting_task(task) for task in self.tasks)
