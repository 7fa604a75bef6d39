"""Lines of standard input where it is no terminal, without holding the event loop.

Python's own buffered reader is not used: a thread that waits in it holds its lock, which the interpreter needs when it
exits. A thread of ours waits for the file descriptor instead, and it is a daemon, so that no exit waits for it.

Invariant: nothing behind the end of the line is taken, and nothing more once the asking task was cancelled. What is
left is there for whoever reads next: another dialog, `input()`, a child process. The price is a system call per byte,
as for the `read` of a shell.
"""

import asyncio
import errno
import os
import select
from collections.abc import Callable
from typing import Final, TextIO, TypeVar

from miniagents.ext._threads import in_daemon_thread

__all__ = ["read_line"]

Line = TypeVar("Line", str, bytes)

# Standard input is closed (EBADF), or it is a terminal that was hung up (EIO).
_GONE: Final = (errno.EBADF, errno.EIO)


async def read_line(stream: TextIO | None) -> str | None:
    """The next line of `stream`, without its line end, or `None` at the end of the input.

    A missing or closed stream is at its end; bytes that are no text become U+FFFD. Cancelling it leaves the input to
    the next reader, but for the part of a line that had come already. Lines that `stream` itself has read ahead,
    because somebody called `input()` before, are not seen.
    """
    if stream is None or getattr(stream, "closed", False):
        return None
    try:
        descriptor = stream.fileno()
    except (OSError, AttributeError):  # an object that only looks like a file, such as `io.StringIO`
        line = await _in_thread(lambda _: stream.readline())
        return line.removesuffix("\n") if line else None
    raw = await _in_thread(lambda cancelled: _read_raw_line(descriptor, cancelled))
    if not raw:
        return None
    text = raw.decode(getattr(stream, "encoding", None) or "utf-8", errors="replace")
    return text.removesuffix("\n").removesuffix("\r")


async def _in_thread(read: Callable[[int], Line]) -> Line:
    """What `read(cancelled)` gives, in a daemon thread. The pipe `cancelled` hangs up when nobody waits any more."""
    cancelled, keep_open = os.pipe()

    def work() -> Line:
        try:
            return read(cancelled)
        finally:
            os.close(cancelled)

    try:
        return await asyncio.wrap_future(in_daemon_thread(work, "line reader"))
    finally:
        os.close(keep_open)


def _read_raw_line(descriptor: int, cancelled: int) -> bytes:
    """The bytes up to and with the next line feed; fewer at the end of the input, or when `cancelled` hangs up."""
    is_readable = _readiness(descriptor, cancelled)
    line = bytearray()
    while not line.endswith(b"\n") and is_readable():
        try:
            byte = os.read(descriptor, 1)
        except BlockingIOError:  # the descriptor is non-blocking, and somebody else was quicker
            continue
        except OSError as error:
            if error.errno not in _GONE:
                raise
            break
        if not byte:
            break
        line += byte
    return bytes(line)


def _readiness(descriptor: int, cancelled: int) -> Callable[[], bool]:
    """A function that waits until there is something to read, or the end; false if `cancelled` hangs up first."""
    if not hasattr(select, "poll"):  # Windows, where only reading a pipe tells whether there is something in it
        return lambda: True
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    poll.register(cancelled, 0)  # a hang-up is reported unasked
    return lambda: all(ready != cancelled for ready, _ in poll.poll())
