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
import socket
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

    def interrupt(number: int, frame: FrameType | None) -> None:
        program.interrupted = True
        installed(number, frame)

    signal.signal(signal.SIGINT, interrupt)
    try:
        with _Watcher(asyncio.get_running_loop()):
            yield
    finally:
        signal.signal(signal.SIGINT, installed)


class _Watcher:
    """Looks, after each SIGINT, whether the loop turns, and if it does not sends another.

    It hears of signals through the wakeup descriptor, which Python writes to the moment a signal arrives. The handler
    would be too late: of a signal that arrives just before a blocking call begins, it is told when the call is over.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._read_end, self._write_end = socket.socketpair()
        self._write_end.setblocking(False)
        self._ended = threading.Event()
        self._replaced = -1

    def __enter__(self) -> None:
        self._replaced = signal.set_wakeup_fd(self._write_end.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._watch, name="miniagents-interrupts", daemon=True).start()

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._replaced)
        self._ended.set()
        self._write_end.close()  # ends the thread, which closes the other one

    def _watch(self) -> None:
        with self._read_end:
            while numbers := self._read_end.recv(64):
                if signal.SIGINT in numbers:
                    self._interrupt_if_held()

    def _interrupt_if_held(self) -> None:
        turned = threading.Event()
        try:
            self._loop.call_soon_threadsafe(turned.set)
        except RuntimeError:  # the loop is closed: the program has ended
            return
        if turned.wait(_PATIENCE) or self._ended.is_set():
            return
        main_thread = threading.main_thread().ident
        if hasattr(signal, "pthread_kill") and main_thread is not None:
            signal.pthread_kill(main_thread, signal.SIGINT)  # and here we are told of it, and look again
        else:
            signal.raise_signal(signal.SIGINT)
