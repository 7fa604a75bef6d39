"""Says for whom the end of a block waits, if that takes long."""

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Collection, Iterator
from typing import Any, Final

from miniagents.promising.waiting import describe_waiting_task

logger = logging.getLogger(__name__)

_PATIENCE: Final = 10.0
_NAMED_AT_MOST: Final = 20


@contextlib.contextmanager
def lingering_told(tasks: Collection["asyncio.Task[Any]"]) -> Iterator[None]:
    """While the block runs for longer than a few seconds, log once which of the `tasks`, as they are then, are left.

    At the level `INFO`, because work may take its time: this is for those who wonder why a program does not end.
    """
    timer = asyncio.get_running_loop().call_later(_PATIENCE, _tell, tasks)
    try:
        yield
    finally:
        timer.cancel()


def _tell(tasks: Collection["asyncio.Task[Any]"]) -> None:
    named = [
        f"  {task.get_name()} at {describe_waiting_task(task).place}"
        for task in itertools.islice(tasks, _NAMED_AT_MOST)
    ]
    if len(tasks) > len(named):
        named.append(f"  and {len(tasks) - len(named)} more")
    logger.info("The block has ended %g s ago and waits for:\n%s", _PATIENCE, "\n".join(named))
