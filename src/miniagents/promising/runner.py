"""Running a program from outside any event loop, so that one Ctrl+C ends it wherever it is.

`asyncio.Runner` answers the first SIGINT by cancelling the main task. That is of no use while the loop is held by code
that blocks, such as `input()`: the cancellation cannot be delivered before it returns. So a watcher looks, for a
moment, whether the loop still turns, and if it is one callback that holds it, sends a second SIGINT, which the runner
raises as `KeyboardInterrupt` right where the code is.

Invariant: a `KeyboardInterrupt` is not raised where asyncio or the engine is at work. There it could leave a task that
nobody will ever wake. Ten thousand agents keep them busy for seconds, so that is where most of them would be. (What
blocks in a call of theirs, such as a file that the engine iterates, is not at work, and is interrupted.)
"""

import asyncio
import contextlib
import contextvars
import functools
import os
import signal
import socket
import sys
import threading
import weakref
from asyncio import base_events
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Final, NamedTuple, TypeVar

T = TypeVar("T")

# Seconds. Longer than a loop that is alive needs to answer, and short for a person who waits.
_PATIENCE: Final = 0.25
_ENGINE: Final = (str(Path(asyncio.__file__).parent), str(Path(__file__).parent))
_WEAK_SETS: Final = (weakref.__file__, weakref.WeakSet.__init__.__code__.co_filename)  # asyncio and the engine use them


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
        # A third Ctrl+C may end this from outside, in another context, when there is nothing to reset.
        with contextlib.suppress(ValueError):
            _program.reset(token)


@contextlib.contextmanager
def _blocking_calls_interrupted(program: _Program) -> Iterator[None]:
    installed: Any = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not _is_of_runner(installed):
        yield  # somebody has a handler of their own, which then decides alone
        return
    with _Watcher(asyncio.get_running_loop()) as watcher:

        def interrupt(number: int, frame: FrameType | None) -> None:
            watcher.tell()  # the loop may have taken the wakeup descriptor for signals of its own
            if program.interrupted and watcher.puts_off(frame):
                return
            program.interrupted = True
            installed(number, frame)

        signal.signal(signal.SIGINT, interrupt)
        try:
            yield
        finally:
            if signal.getsignal(signal.SIGINT) is interrupt:
                # What the runner had found there. Itself it may be through by now, and not put that back.
                signal.signal(signal.SIGINT, signal.default_int_handler)


def _is_of_runner(handler: Any) -> bool:
    own = getattr(getattr(handler, "func", None), "__func__", None)
    return own is not None and own is getattr(asyncio.Runner, "_on_sigint", None)


def _is_in_engine(frame: FrameType | None) -> bool:
    """Whether it is asyncio or the engine that runs there. A loop that waits for something to happen is in neither."""
    while frame is not None and frame.f_code.co_filename in _WEAK_SETS:
        frame = frame.f_back
    if frame is None or not frame.f_code.co_filename.startswith(_ENGINE):
        return False
    # Where loops wait that have no frame of their own, as that of uvloop, and that of Windows.
    return frame.f_code.co_filename != asyncio.runners.__file__ and frame.f_code.co_name != "_poll"


class _Place(NamedTuple):
    """Where the main thread is."""

    callback: FrameType | None
    """The outermost frame of what its loop has called. As long as that lasts, it is the same."""
    innermost: FrameType | None
    instruction: int


def _place() -> _Place:
    innermost = frame = sys._current_frames().get(threading.main_thread().ident or 0)
    callback: FrameType | None = None
    while frame is not None and frame.f_code is not asyncio.Runner.run.__code__:
        if frame.f_code.co_filename != base_events.__file__:
            callback = frame
        frame = frame.f_back
    return _Place(callback, innermost, -1 if innermost is None else innermost.f_lasti)


def _send_interrupt() -> None:
    main_thread = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and main_thread is not None:
        signal.pthread_kill(main_thread, signal.SIGINT)
    else:  # pragma: no cover (Windows)
        signal.raise_signal(signal.SIGINT)


class _Watcher:
    """Looks, after each SIGINT, whether the loop turns, and if one callback holds it sends another.

    It hears of signals through the wakeup descriptor, which Python writes to the moment a signal arrives. The handler
    would be too late: of a signal that arrives just before a blocking call begins, it is told when the call is over.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._process = os.getpid()
        self._read_end, self._write_end = socket.socketpair()
        self._write_end.setblocking(False)
        self._ended = threading.Event()
        self._takes_descriptor = False
        # The call in which the main thread is stuck.
        self._stuck_at: tuple[FrameType | None, int] | None = None
        # Whether the next SIGINT is one of ours, and whether one of the user's was put off.
        self._sent = False
        self._put_off = False

    def __enter__(self) -> "_Watcher":
        _keep_children_apart()
        taken = signal.set_wakeup_fd(self._write_end.fileno(), warn_on_full_buffer=False)
        self._takes_descriptor = taken == -1
        if not self._takes_descriptor:
            signal.set_wakeup_fd(taken, warn_on_full_buffer=False)  # a loop (uvloop) that needs it for its own signals
        threading.Thread(target=self._watch, name="miniagents-interrupts", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._takes_descriptor:
            taken = signal.set_wakeup_fd(-1)
            if taken not in (-1, self._write_end.fileno()):
                signal.set_wakeup_fd(taken)  # the loop has taken it meanwhile
        self._ended.set()
        if os.getpid() == self._process:  # pragma: no branch (a forked child is not measured)
            self._write_end.shutdown(socket.SHUT_RDWR)  # ends the thread also while a forked child holds the socket
        self._write_end.close()

    def tell(self) -> None:
        """A SIGINT has come."""
        with contextlib.suppress(OSError):
            self._write_end.send(bytes([signal.SIGINT]))

    def puts_off(self, frame: FrameType | None) -> bool:
        """Whether nothing is to be raised for a SIGINT that has come there: it would hit the engine at work.

        What is stuck in a call that is not Python's, such as that of a file which the engine iterates, is not at work.
        """
        own, self._sent = self._sent, False
        if not _is_in_engine(frame) or (frame is not None and (frame, frame.f_lasti) == self._stuck_at):
            return False
        self._put_off = self._put_off or not own
        return True

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
        place = _place()
        while not turned.wait(_PATIENCE) and not self._ended.is_set():
            before, place = place, _place()
            if place.callback is not None and place.callback is before.callback:
                self._stuck_at = place[1:] if place == before else None
                self._sent = True
                _send_interrupt()  # of which we are told, and look again
                return
        self._stuck_at = None
        if self._put_off and not self._ended.wait(_PATIENCE / 10):
            self._put_off = False
            _send_interrupt()  # for the user, until it is taken


@functools.cache  # once for the life of the process
def _keep_children_apart() -> None:
    """See to it that a signal to a forked child is not told to its parent, whose descriptor it inherits."""
    if hasattr(os, "register_at_fork"):  # pragma: no branch (Windows)
        os.register_at_fork(after_in_child=_forget_descriptor)


def _forget_descriptor() -> None:  # pragma: no cover (a forked child is not measured)
    with contextlib.suppress(ValueError):  # not the main thread, which alone has it
        signal.set_wakeup_fd(-1)
