"""Waiting for tasks to end, and giving up those that do not."""

import asyncio
from collections.abc import Callable, Collection, Iterable
from typing import Any

from miniagents.promising.errors import StuckTasksError
from miniagents.promising.waiting import describe_waiting_task


async def wait_until_ended(tasks: Callable[[], Collection["asyncio.Task[Any]"]], grace_period: float | None) -> None:
    """Wait until `tasks()` are none, also if this waiting is cancelled meanwhile; then the cancellation goes on.

    Those that have not ended after `grace_period` seconds are given up: `StuckTasksError`.
    """
    loop = asyncio.get_running_loop()
    give_up_at = None if grace_period is None else loop.time() + grace_period
    cancelled: asyncio.CancelledError | None = None
    while waited_for := [task for task in tasks() if not task.done()]:
        timeout = None if give_up_at is None else give_up_at - loop.time()
        if timeout is not None and timeout <= 0:
            raise _give_up(waited_for, grace_period or 0)
        try:
            await asyncio.wait(waited_for, timeout=timeout)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


def _give_up(tasks: Iterable["asyncio.Task[Any]"], waited: float) -> StuckTasksError:
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
