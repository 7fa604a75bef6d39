"""Where suspended tasks wait, in words for people."""

import asyncio
import gc
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_INNER_CODE: Final = (str(Path(asyncio.__file__).parent), str(Path(__file__).parents[1]))
_MAX_FRAMES_SHOWN: Final = 10


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


def place_of_caller() -> str:
    """`file:line` of the innermost function outside asyncio and this library that is running here."""
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_back is not None and frame.f_code.co_filename.startswith(_INNER_CODE):
        frame = frame.f_back
    return "" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"


def coroutines_of(task: "asyncio.Task[Any]") -> list[Any]:
    """What a suspended task consists of: its coroutine, what that awaits, and so on, and their frames."""
    chain = list(_chain_of_waits(task.get_coro()))
    return [*chain, *(frame for one in chain if (frame := _frame_of(one)) is not None)]


def task_that_awaits(future: "asyncio.Future[Any]") -> "asyncio.Task[Any] | None":
    """The task that is woken by a future."""
    # What wakes a task is a method of it, in C and in Python.
    wakers = (getattr(callback, "__self__", None) for callback, _ in future._callbacks or ())
    return next((waker for waker in wakers if isinstance(waker, asyncio.Task)), None)


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
