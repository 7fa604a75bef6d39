"""Running a program from outside any event loop, so that one Ctrl+C ends it wherever it is.

`asyncio.Runner` answers the first SIGINT by cancelling the main task. That is of no use while the loop is held by code
that blocks, such as `input()`: the cancellation cannot be delivered before it returns. So a watcher looks, for a
moment, whether the loop still turns, and if it does not it sends a second SIGINT, which the runner raises as
`KeyboardInterrupt` right where the code is.
"""

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from types import FrameType
from typing import Any, Final, TypeVar

T = TypeVar("T")

# Seconds. Longer than a loop that is alive needs to answer, and short for a person who waits.
_PATIENCE: Final = 0.25


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run `main()` in a new event loop until it is done, close the loop, and give the result.

    Raises `RuntimeError` if a loop is running in this thread already. Ctrl+C cancels `main()`, also while the loop is
    held by a blocking call, and raises `KeyboardInterrupt` when everything has ended.
    """
    with asyncio.Runner() as runner:
        return runner.run(_interruptible(main))


async def _interruptible(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    with _blocking_calls_interrupted():
        return await main()


@contextlib.contextmanager
def _blocking_calls_interrupted() -> Iterator[None]:
    installed = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(installed):
        yield
        return
    loop = asyncio.get_running_loop()

    def interrupt(number: int, frame: FrameType | None) -> None:
        # The thread first: the handler of the runner raises when it is called for the second time.
        threading.Thread(target=_interrupt_if_held, args=(loop,), daemon=True).start()
        installed(number, frame)

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, installed)


def _interrupt_if_held(loop: asyncio.AbstractEventLoop) -> None:
    turned = threading.Event()
    try:
        loop.call_soon_threadsafe(turned.set)
    except RuntimeError:  # the loop is closed: the program has ended
        return
    if not turned.wait(_PATIENCE):
        main_thread = threading.main_thread().ident
        if hasattr(signal, "pthread_kill") and main_thread is not None:
            signal.pthread_kill(main_thread, signal.SIGINT)
        else:
            signal.raise_signal(signal.SIGINT)
