"""Tasks that do not end although they were cancelled."""

import asyncio
from collections.abc import Iterable
from typing import Any

from miniagents.promising.errors import StuckTasksError


def give_up(tasks: Iterable["asyncio.Task[Any]"], waited: float) -> StuckTasksError:
    """Let go of tasks that have not ended in time, so that the event loop need not wait for them; the error for it."""
    lines = []
    for task in tasks:
        lines.append(f"  {task.get_name()} at {_where(task)}")
        # Whoever closes the loop (`asyncio.run`) waits for every task that is registered, for ever if need be.
        asyncio._unregister_task(task)
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # that it is still there is what the error says
    return StuckTasksError(
        f"{len(lines)} of the cancelled tasks have not ended within {waited:g} s, because their code goes on after a "
        "`CancelledError`:\n" + "\n".join(sorted(lines))
    )


def _where(task: "asyncio.Task[Any]") -> str:
    """The innermost line in which a task waits."""
    place = "an unknown place"
    awaited: Any = task.get_coro()
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        frame = frame or getattr(awaited, "ag_frame", None)
        if frame is None:
            break
        place = f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}"
        awaited = (
            getattr(awaited, "cr_await", None)
            or getattr(awaited, "gi_yieldfrom", None)
            or getattr(awaited, "ag_await", None)
        )
    return place
