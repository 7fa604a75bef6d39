"""Tasks that do not end although they were cancelled."""

import asyncio
from collections.abc import Iterable
from typing import Any

from miniagents.promising.errors import StuckTasksError
from miniagents.promising.waiting import describe_waiting_task


def give_up(tasks: Iterable["asyncio.Task[Any]"], waited: float) -> StuckTasksError:
    """Let go of tasks that have not ended in time, so that the event loop need not wait for them; the error for it."""
    lines = []
    for task in tasks:
        lines.append(f"  {task.get_name()} at {describe_waiting_task(task).place}")
        # Whoever closes the loop (`asyncio.run`) waits for every task that is registered, for ever if need be.
        asyncio._unregister_task(task)
        setattr(task, "_log_destroy_pending", False)  # noqa: B010 (unknown to type checkers) it is named in the error
    return StuckTasksError(
        f"{len(lines)} of the cancelled tasks have not ended within {waited:g} s, because their code goes on after a "
        "`CancelledError`:\n" + "\n".join(sorted(lines))
    )
