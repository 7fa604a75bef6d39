"""Running a program from outside any event loop, so that one Ctrl+C ends it wherever it is.

`asyncio.Runner` answers the first SIGINT by cancelling the main task. That is of no use while the loop is held by code
that blocks, such as `input()`: the cancellation cannot be delivered before it returns. So a watcher looks, for a
moment, whether the loop still turns, and if it does not it sends a second SIGINT, which the runner raises as
`KeyboardInterrupt` right where the code is.
"""

import asyncio
import contextlib
import contextvars
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from types import FrameType
from typing import Any, Final, TypeVar

T = TypeVar("T")

# Seconds. Longer than a loop that is alive needs to answer, and short for a person who waits.
_PATIENCE: Final = 0.25


class _Program:
    """What one `run` knows about Ctrl+C."""

    __slots__ = ("interrupted", "main_task")

    def __init__(self, main_task: "asyncio.Task[Any] | None") -> None:
        self.main_task = main_task
        self.interrupted = False


_program: contextvars.ContextVar[_Program | None] = contextvars.ContextVar("miniagents_program", default=None)


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run `main()` in a new event loop until it is done, close the loop, and give the result.

    Raises `RuntimeError` if a loop is running in this thread already. Ctrl+C cancels `main()`, also while the loop is
    held by a blocking call, and raises `KeyboardInterrupt` when everything has ended.
    """
    with asyncio.Runner() as runner:
        return runner.run(_interruptible(main))


def interrupted() -> bool:
    """Whether the task that calls this is the main one of a program under `run`, and Ctrl+C is why it was cancelled."""
    program = _program.get()
    return program is not None and program.interrupted and program.main_task is asyncio.current_task()


async def _interruptible(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    program = _Program(asyncio.current_task())
    token = _program.set(program)
    try:
        with _blocking_calls_interrupted(program):
            return await main()
    finally:
        _program.reset(token)


@contextlib.contextmanager
def _blocking_calls_interrupted(program: _Program) -> Iterator[None]:
    installed = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(installed):
        yield
        return
    loop = asyncio.get_running_loop()

    def interrupt(number: int, frame: FrameType | None) -> None:
        program.interrupted = True
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
