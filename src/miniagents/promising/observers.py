"""Those who look on: handlers, and the tasks that find out for them what has become of a promise.

An observer changes nothing by observing. It starts no producer, its reading does not count as reading, and no context
waits for it longer than it can still find out something.
"""

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from miniagents.promising.log import Log

HandlerT = TypeVar("HandlerT", bound=Callable[..., Awaitable[None]])

logger = logging.getLogger(__name__)

# Set in the tasks of handlers: promises made there call no handlers, or a handler that awaits anything would call
# itself for ever.
inside_handler: contextvars.ContextVar[bool] = contextvars.ContextVar("miniagents_inside_handler", default=False)


class Observers:
    """The tasks of one context that look on, each with what it waits for at the moment."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Task[Any], asyncio.Future[None] | None] = {}

    def add(self, task: "asyncio.Task[None]") -> None:
        """`task` looks on from now on."""
        self._waiting[task] = None
        task.add_done_callback(self._waiting.pop)

    @property
    def tasks(self) -> "tuple[asyncio.Task[Any], ...]":
        """Those that have not ended."""
        return tuple(self._waiting)

    async def find_out(self) -> None:
        """Let them take steps until each waits for something that is not there."""
        # Turns are what is waited for here, and not an event.
        while any(future is None or future.done() for future in self._waiting.values()):  # noqa: ASYNC110
            await asyncio.sleep(0)

    async def wait(self, log: Log[Any], seen: int) -> None:
        """Wait, in the task of an observer, until `log` has more than `seen` items or has ended."""
        task = asyncio.current_task()
        assert task is not None  # `add` was told of it
        self._waiting[task] = future = log.waiter(seen)
        await future
        self._waiting[task] = None


def as_handlers(handlers: HandlerT | Iterable[HandlerT]) -> list[HandlerT]:
    """One handler or several, as a list; a `TypeError` for anything that cannot be called."""
    listed = [handlers] if callable(handlers) else list(handlers)
    for handler in listed:
        if not callable(handler):
            raise TypeError(f"A handler must be an async callable, not {type(handler).__name__}.")
    return listed


async def call_handler(call: Callable[[], Awaitable[None]], level: int) -> None:
    """Call a handler. What it raises is logged at `level`."""
    inside_handler.set(True)
    try:
        await call()
    except Exception:
        logger.log(level, "A handler failed", exc_info=True)
