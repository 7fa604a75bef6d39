"""Which tasks a task waits for, as far as asyncio shows it. For suspicions, not for every day."""

import asyncio
import types
from collections.abc import Sequence
from typing import Any

from miniagents.promising.waiting import coroutines_of


def tasks_awaited_by(task: "asyncio.Task[Any]") -> "Sequence[asyncio.Task[Any]]":
    """The tasks that a task waits for, directly, by `gather`, `wait` or `wait_for` without a time limit; else none.

    None as well if it waits for a plain future beside them: `wait` may end with that one, and `gather` by its error.
    """
    future = getattr(task, "_fut_waiter", None)
    if future is None:  # it has only not run yet
        return ()
    children: Any = (future,) if isinstance(future, asyncio.Task) else getattr(future, "_children", ())
    ends_with = asyncio.FIRST_EXCEPTION  # so does `gather`, if it is not to give them back, which cannot be seen
    if not children:
        variables = _variables_in_asyncio(task, future)
        if not variables or variables.get("timeout") is not None:
            return ()
        children = variables.get("fs") or (variables.get("fut"),)
        ends_with = variables.get("return_when", ends_with)
    futures = [child for child in children if isinstance(child, asyncio.Future)]
    pending = [child for child in futures if not child.done()]
    tasks = [child for child in pending if isinstance(child, asyncio.Task)]
    if len(tasks) < len(pending) or any(_ends_the_wait(one, ends_with) for one in futures if one.done()):
        return ()  # it may still end, or is about to
    # Each once, and in an order that is the same in each run: `wait` has a set of them.
    return sorted(set(tasks), key=asyncio.Task.get_name)


def _ends_the_wait(done: "asyncio.Future[Any]", ends_with: str) -> bool:
    if ends_with == asyncio.FIRST_EXCEPTION:  # to ask for it by its method would count as having seen it
        return done.cancelled() or getattr(done, "_exception", None) is not None
    return ends_with == asyncio.FIRST_COMPLETED


def _variables_in_asyncio(task: "asyncio.Task[Any]", future: "asyncio.Future[Any]") -> dict[str, Any]:
    """The local variables of the innermost function that a task waits in, if that is in `asyncio.tasks`."""
    innermost: Any = task.get_coro()
    while isinstance(awaited := getattr(innermost, "cr_await", None), types.CoroutineType):
        innermost = awaited
    frame = getattr(innermost, "cr_frame", None)
    if type(awaited) is not type(future.__await__()):  # something that Python does not look through as fast
        frame = next((one for one in reversed(coroutines_of(task)) if isinstance(one, types.FrameType)), None)
    return frame.f_locals if frame is not None and frame.f_globals.get("__name__") == "asyncio.tasks" else {}
