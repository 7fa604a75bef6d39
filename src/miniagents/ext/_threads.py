"""Threads that nobody has to wait for: no exit of the program, and no shutdown of an event loop."""

import asyncio
import concurrent.futures
import functools
import threading
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["beside_the_loop", "in_daemon_thread"]

T = TypeVar("T")


def in_daemon_thread(work: Callable[[], T], name: str) -> concurrent.futures.Future[T]:
    """What `work()` gives, from a daemon thread called `name`. Never waits; `asyncio.wrap_future` makes it awaitable.

    Not `asyncio.to_thread`, whose threads are joined when the event loop ends, so that Ctrl+C would wait for them. The
    future cannot be cancelled: whoever gives up waiting for it leaves it to the others.
    """
    result: concurrent.futures.Future[T] = concurrent.futures.Future()
    result.set_running_or_notify_cancel()
    threading.Thread(target=_do, args=(work, result), name=name, daemon=True).start()
    return result


def _do(work: Callable[[], T], result: concurrent.futures.Future[T]) -> None:
    try:
        result.set_result(work())
    except BaseException as error:
        result.set_exception(error)
    finally:
        del work, result  # the traceback of an error, also of one that is a part of the result, leads to this frame


async def beside_the_loop(work: Callable[[], T], name: str) -> T:
    """What `work()` gives, from a daemon thread; in an event loop without threads, as in virtual time, from here."""
    try:
        result = asyncio.get_running_loop().run_in_executor(_DaemonThreads(name), work)
    except NotImplementedError:
        return work()
    return await result


class _DaemonThreads(concurrent.futures.Executor):
    """A thread of its own for each piece of work."""

    def __init__(self, name: str) -> None:
        self._name = name

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[T]:
        return in_daemon_thread(functools.partial(fn, *args, **kwargs), self._name)
