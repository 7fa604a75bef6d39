"""Where suspended tasks wait, and the errors that say so.

```
MiniAgentsError
├── SimulationStuckError (RuntimeError)      a run in virtual time could not go on; names the tasks that were waiting
│   ├── NothingCanMoveError                  everything waits for something that nobody is left to do
│   ├── StepLimitError                       it moves, but does not end: a busy loop
│   └── VirtualTimeoutError (TimeoutError)   it would go on, but not within the virtual seconds that it was given
└── NotSimulatedError (NotImplementedError)  a thread, socket, process or signal, which virtual time does not have
```
"""

import asyncio
import gc
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from miniagents.promising.errors import MiniAgentsError

_INNER_CODE = (str(Path(asyncio.__file__).parent), str(Path(__file__).parents[1]))
_MAX_TASKS_SHOWN = 20
_MAX_FRAMES_SHOWN = 10


@dataclass(frozen=True, slots=True)
class WaitingTask:
    """One task that waits, and where.

    `stack` lists the functions that the task is in, outermost first, each as `file:line in function`.
    """

    name: str
    coroutine: str
    stack: tuple[str, ...]
    place: str
    """`file:line` of the innermost function outside asyncio and this library."""

    waits_for_task: str | None = None
    """The name of the task that this one awaits directly, if it is a task that it awaits."""

    def __str__(self) -> str:
        target = f" for task {self.waits_for_task!r}" if self.waits_for_task is not None else ""
        left_out = len(self.stack) - _MAX_FRAMES_SHOWN
        lines = [f"{self.name!r} ({self.coroutine}) waits{target} at {self.place}"]
        if left_out > 0:
            lines.append(f"    ... {left_out} outer frames")
        lines += [f"    {entry}" for entry in self.stack[-_MAX_FRAMES_SHOWN:]]
        return "\n".join(lines)


def describe_waiting_task(task: "asyncio.Task[object]") -> WaitingTask:
    """Tells where `task`, which must not be running at this moment, is suspended."""
    coroutine = task.get_coro()
    stack: list[str] = []
    place = "a point that Python does not show"
    innermost: object = coroutine
    for awaited in _chain_of_waits(coroutine):
        innermost = awaited
        frame = _frame_of(awaited)
        if frame is not None:
            code = frame.f_code
            # A coroutine that has not taken its first step has no line yet.
            here = f"{code.co_filename}:{frame.f_lineno or code.co_firstlineno}"
            stack.append(f"{here} in {code.co_qualname}")
            if not code.co_filename.startswith(_INNER_CODE) or len(stack) == 1:
                place = here
    return WaitingTask(
        name=task.get_name(),
        coroutine=getattr(coroutine, "__qualname__", type(coroutine).__name__),
        stack=tuple(stack),
        place=place,
        waits_for_task=next(
            (target.get_name() for target in gc.get_referents(innermost) if isinstance(target, asyncio.Task)), None
        ),
    )


def _frame_of(awaited: object) -> types.FrameType | None:
    if isinstance(awaited, types.CoroutineType):
        return awaited.cr_frame
    if isinstance(awaited, types.GeneratorType):
        return awaited.gi_frame
    if isinstance(awaited, types.AsyncGeneratorType):
        return awaited.ag_frame
    return None


def _chain_of_waits(awaited: object) -> Iterator[object]:
    """Yields what is suspended, from `awaited` down to what it waits for in the end."""
    while awaited is not None:
        yield awaited
        if isinstance(awaited, types.CoroutineType):
            awaited = awaited.cr_await
        elif isinstance(awaited, types.GeneratorType):
            awaited = awaited.gi_yieldfrom
        elif isinstance(awaited, types.AsyncGeneratorType):
            awaited = awaited.ag_await
        else:
            # The steps of an async generator and `coroutine.__await__()` are opaque objects: what they drive can
            # only be found as something that they refer to.
            awaited = next((target for target in gc.get_referents(awaited) if _frame_of(target) is not None), None)


class SimulationStuckError(MiniAgentsError, RuntimeError):
    """A program in virtual time could not go on. `waiting` names its tasks, `at` is the virtual time in seconds."""

    def __init__(self, what: str, waiting: Sequence[WaitingTask], at: float) -> None:
        self.waiting = tuple(waiting)
        self.at = at
        lines = [f"{what} Waiting at {at:g} virtual seconds: {len(self.waiting)} task(s)."]
        lines += [str(task) for task in self.waiting[:_MAX_TASKS_SHOWN]]
        if len(self.waiting) > _MAX_TASKS_SHOWN:
            lines.append(f"... and {len(self.waiting) - _MAX_TASKS_SHOWN} more")
        super().__init__("\n".join(lines))


class NothingCanMoveError(SimulationStuckError):
    """Nothing can ever move again: no task is ready and no timer is set, so every wait would last for ever."""

    def __init__(self, waiting: Sequence[WaitingTask], at: float) -> None:
        super().__init__("Nothing can ever move again: no task is ready and no timer is set.", waiting, at)


class StepLimitError(SimulationStuckError):
    """The program took more steps than it was allowed to: most likely a loop that never lets time pass."""

    def __init__(self, max_steps: int, waiting: Sequence[WaitingTask], at: float) -> None:
        super().__init__(
            f"The program did not end within {max_steps} steps and callbacks: look for a loop that never waits, "
            "or raise `max_steps`.",
            waiting,
            at,
        )


class VirtualTimeoutError(SimulationStuckError, TimeoutError):
    """The program had not ended when its virtual time was up."""

    def __init__(self, timeout: float, waiting: Sequence[WaitingTask], at: float) -> None:
        super().__init__(
            f"The program did not end within {timeout:g} virtual seconds: if it is meant to take longer, "
            "raise `timeout`.",
            waiting,
            at,
        )


class NotSimulatedError(MiniAgentsError, NotImplementedError):
    """The program asked a virtual-time loop for a thread, a socket, a process or a signal."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} needs threads, sockets, processes or signals, and a virtual-time loop has none: it could not tell "
            "when nothing can move any more. Give the code under test a stand-in, or test it on a real event loop."
        )
