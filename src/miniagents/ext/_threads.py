"""Threads that nobody has to wait for: no exit of the program, and no shutdown of an event loop."""

import concurrent.futures
import threading
from collections.abc import Callable
from typing import TypeVar

__all__ = ["in_daemon_thread"]

T = TypeVar("T")


def in_daemon_thread(work: Callable[[], T], name: str) -> concurrent.futures.Future[T]:
    """What `work()` gives, from a daemon thread called `name`. Never waits; `asyncio.wrap_future` makes it awaitable.

    Not `asyncio.to_thread`, whose threads are joined when the event loop ends, so that Ctrl+C would wait for them. The
    future cannot be cancelled: whoever gives up waiting for it leaves it to the others.
    """
    result: concurrent.futures.Future[T] = concurrent.futures.Future()
    result.set_running_or_notify_cancel()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return result
