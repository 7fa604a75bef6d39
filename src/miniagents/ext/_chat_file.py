"""Appending an entry to a chat file: by threads, as it arrives, undisturbed by other writers, and to the disk."""

import asyncio
import os
import stat
import sys
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

from miniagents.ext._chat_markdown import EntryWriter

if sys.platform != "win32":
    import fcntl

_OWNER_ONLY: Final = 0o600
# Seconds between two looks whether another program has completed its entry.
_LOCK_INTERVAL: Final = 0.05


class OpenEntry:
    """Lets threads write an entry, so that the event loop never waits for the disk.

    One thread at a time, with all tokens that have come since the one before it started: so they are written as early
    as the disk allows, and a fast stream does not cost a thread for every token.
    """

    def __init__(self, path: Path, writer: EntryWriter, first: str) -> None:
        """`first` is the beginning of the text. It is on the disk whenever the heading is."""
        self.in_place = False
        """Whether the whole entry is in the file that has the path now. Known after the block."""
        self._file = _EntryFile(path, writer)
        self._pending = [first]
        self._writing: asyncio.Future[None] | None = None
        self._error: BaseException | None = None
        self._is_open = False

    async def __aenter__(self) -> Self:
        try:
            # Looking again and again, because a thread that waits for the lock could not be called back.
            while not await self._begin():  # noqa: ASYNC110 (another program sets no event)
                await asyncio.sleep(_LOCK_INTERVAL)
        except BaseException:
            self._file.close()
            raise
        self._is_open = True
        self._write_pending()
        return self

    async def _begin(self) -> bool:
        beginning = asyncio.get_running_loop().run_in_executor(None, self._file.begin)
        if await _wait_for(beginning):
            if beginning.exception() is None and beginning.result():
                await self._complete()
            raise asyncio.CancelledError
        return beginning.result()

    def add(self, token: str) -> None:
        """Have `token` written. What goes wrong is raised when the block ends."""
        self._pending.append(token)
        self._write_pending()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_open = False
        cancelled = self._writing is not None and await _wait_for(self._writing)
        finishing, cancelled_meanwhile = await self._complete()
        if cancelled or cancelled_meanwhile:
            raise asyncio.CancelledError
        # What is on its way already, perhaps a cancellation, must not be replaced by an error of the disk.
        if exc is None:
            self.in_place = finishing.result()

    async def _complete(self) -> "tuple[asyncio.Future[bool], bool]":
        """Have the rest written and the file closed: what has become of it, and whether a cancellation came."""
        finishing = asyncio.get_running_loop().run_in_executor(None, self._finish)
        cancelled = await _wait_for(finishing)
        finishing.exception()  # looked at in any case, or asyncio would report it
        return finishing, cancelled

    def _write_pending(self) -> None:
        if self._pending and self._writing is None and self._error is None and self._is_open:
            text, self._pending = "".join(self._pending), []
            self._writing = asyncio.get_running_loop().run_in_executor(None, self._file.write, text)
            self._writing.add_done_callback(self._written)

    def _written(self, writing: "asyncio.Future[None]") -> None:
        self._writing = None
        self._error = writing.exception()
        self._write_pending()

    def _finish(self) -> bool:
        try:
            if self._error is not None:
                raise self._error
            return self._file.finish("".join(self._pending))
        finally:
            self._file.close()


class _EntryFile:
    """The file while one entry is appended to it. Its methods block, and are called by one thread at a time."""

    def __init__(self, path: Path, writer: EntryWriter) -> None:
        self._path = path
        self._writer = writer
        self._file: IO[bytes] | None = None
        self._is_new = False

    def begin(self) -> bool:
        """Open the file, lock it for all others, write the heading. False if another program is writing: try later."""
        self._file = file = open(self._path, "a+b", buffering=0, opener=_open_private)  # noqa: SIM115
        if not _lock(file):
            self.close()
            return False
        size = os.fstat(file.fileno()).st_size
        self._is_new = not size
        file.seek(max(size - 1, 0))
        self._append(self._writer.begin(file.read(1) if size else b""))
        return True

    def write(self, text: str) -> None:
        """Append a piece of the text."""
        self._append(self._writer.feed(text))

    def finish(self, text: str) -> bool:
        """Append the last piece and bring all to the disk. Whether the file still has its path."""
        self._append(self._writer.feed(text) + self._writer.finish())
        file = self._opened()
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            os.fsync(file)
            if self._is_new:
                _sync_folder(self._path.parent)
        return self._in_place()

    def close(self) -> None:
        """Close the file, which unlocks it. A second call changes nothing."""
        if self._file is not None:
            self._file.close()

    def _opened(self) -> IO[bytes]:
        assert self._file is not None, "begin() comes first"
        return self._file

    def _append(self, data: bytes) -> None:
        file = self._opened()
        while data:
            data = data[file.write(data) :]  # an unbuffered file may take only a part

    def _in_place(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._opened().fileno()), self._path.stat())
        except FileNotFoundError:
            return False


async def _wait_for(future: "asyncio.Future[Any]") -> bool:
    """Wait until `future` is done, come what may: no thread works on behind our back. Whether a cancellation came."""
    cancelled = False
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError:
            cancelled = True
    return cancelled


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, _OWNER_ONLY)


def _lock(file: IO[bytes]) -> bool:
    """Reserve the file until it is closed. False if another program has it."""
    if sys.platform != "win32":
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return True  # a file system that knows no locks: the history is of more use than the lock
    return True


def _sync_folder(folder: Path) -> None:
    """Bring the name of a new file to the disk. Windows has no way to ask for that."""
    if sys.platform != "win32":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
