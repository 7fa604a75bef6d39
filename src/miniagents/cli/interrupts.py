"""Ctrl+C ends a command within a second, once, whatever the command is doing."""

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any, Final

from miniagents import MiniAgents

if sys.platform != "win32":
    import termios

_INTERRUPTED: Final = 130
# Seconds for what tidies up: agents that are cancelled, clients and files that are closed.
_PATIENCE: Final = 0.7


def run_agents(main: Callable[[], Awaitable[None]]) -> None:
    """Run `main()` in a `MiniAgents` context. Ctrl+C cancels it and raises `KeyboardInterrupt` when all has ended.

    Further presses change nothing: while a program tidies up, an exception out of nowhere would only spoil that. What
    takes longer than a moment is not waited for, such as a thread that imports an SDK: then the process ends.
    """
    interrupt = _Interrupt()
    # An own handler, which `asyncio.Runner` respects; its own would raise at the second press.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, interrupt)

    async def cancellable() -> None:
        interrupt.task = asyncio.current_task()
        await main()

    try:
        MiniAgents().run(cancellable())
    except asyncio.CancelledError:
        if interrupt.happened:
            raise KeyboardInterrupt from None
        raise


class _Interrupt:
    """The handler of SIGINT: the first press cancels the task and sets a deadline, the others are left alone."""

    def __init__(self) -> None:
        self.happened = False
        self.task: asyncio.Task[None] | None = None
        self._terminal = _terminal_settings()

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        if self.happened:
            return
        self.happened = True
        if self.task is None:  # nothing has begun
            os._exit(_INTERRUPTED)
        deadline = threading.Timer(_PATIENCE, self._end)
        deadline.daemon = True
        deadline.start()
        logging.disable()  # what is broken off from here on is no news
        self.task.cancel()
        self.task.get_loop().call_soon_threadsafe(lambda: None)  # or it may still wait for something else

    def _end(self) -> None:
        # The prompt may have changed how the keyboard works, and the lanes have hidden the cursor.
        if sys.platform != "win32" and self._terminal is not None:
            termios.tcsetattr(0, termios.TCSANOW, self._terminal)
        if os.isatty(1):
            os.write(1, b"\x1b[?25h\n")
        os._exit(_INTERRUPTED)


def _terminal_settings() -> Any:
    if sys.platform == "win32" or not os.isatty(0):
        return None
    return termios.tcgetattr(0)
