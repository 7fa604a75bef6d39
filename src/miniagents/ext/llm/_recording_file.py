"""The file of a recording: lines of JSON, each whole, however many programs write and whenever one of them ends.

The first line tells what the file is; each other one is a request with its answer. A line is written under a lock and
brought to the disk before anybody is told that it is there. What is behind the last line end was cut off by the end of
a program, or by a full disk: readers leave it out, and the next writer removes it.
"""

import json
import logging
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from miniagents.ext.llm._recorded import Recorded
from miniagents.ext.llm.errors import LLMRecordingError

if sys.platform != "win32":
    import fcntl

logger = logging.getLogger(__name__)

_NAME: Final = "miniagents_recording"
VERSION: Final = 1
"""Of the file. A reader takes no other."""
_OWNER_ONLY: Final = 0o600
_BLOCK: Final = 65536


class RecordingFile:
    """A recording on the disk. Its methods block."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        # Absolute from the start: a program may change its working directory.
        self.path = Path(path).absolute()

    def beside(self) -> "RecordingFile":
        """The file in which a recording is made that is to replace this one."""
        path = self.path.resolve()  # what a link leads to is replaced, not the link
        return RecordingFile(path.with_name(f"{path.name}.new"))

    def check_replaceable(self) -> None:
        """Raises `LLMRecordingError` if the file is something else than a recording, of whatever version."""
        self._read(any_version=True)

    def remove(self) -> None:
        """Remove a recording that an earlier program has left. Raises `LLMRecordingError` if it is none."""
        if self.path.exists():
            self.check_replaceable()
            with self._as_usable():
                self.path.unlink()

    def remove_if_empty(self) -> None:
        """Remove the file if no answer is in it. Does nothing if that cannot be done."""
        with suppress(OSError, LLMRecordingError):
            if not self.has_answers():
                self.path.unlink()

    def move_to(self, path: Path) -> None:
        """Replace what is at `path`; what is still to come goes there too."""
        with self._as_usable():
            self.path.replace(path)
        self.path = path

    def has_answers(self) -> bool:
        """Whether there is anything to be replayed."""
        return self.path.exists() and len(self._read()) > 0

    def begin(self) -> None:
        """Make the file, for its owner only, if there is none. Raises `LLMRecordingError` if it cannot be written."""
        with self._as_usable():
            if self.path.exists():
                self._read()
            with self._locked():
                pass

    def append(self, recorded: Recorded) -> None:
        """Add an answer. When this returns it is on the disk. Raises what the operating system or `json` does."""
        line = _line(recorded.to_json())
        with self._locked() as descriptor:
            _write(descriptor, line)

    def answers(self) -> list[Recorded]:
        """All answers, in the order in which they came. Raises `LLMRecordingError` for what is no recording."""
        found: list[Recorded] = []
        for number, line in enumerate(self._read(), start=2):
            try:
                found.append(Recorded.from_json(json.loads(line)))
            except (ValueError, RecursionError) as error:
                raise LLMRecordingError(
                    f"Line {number} of the recording {self.path} cannot be read: {error}. Remove the line, or record "
                    "again."
                ) from error
        return found

    def _read(self, *, any_version: bool = False) -> list[bytes]:
        """All lines but the first, which is checked."""
        try:
            with open(self.path, "rb", opener=_open_file) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise LLMRecordingError(f"The recording {self.path} is no file.")
                *lines, torn = file.read().split(b"\n")
        except FileNotFoundError:
            raise LLMRecordingError(f"There is no recording {self.path}: make one with `record`.") from None
        except OSError as error:
            raise self._unusable(error) from error
        if torn:
            logger.warning("The last line of the recording %s is not complete, and is left out.", self.path)
        if lines:
            self._check_version(lines[0], any_version=any_version)
        elif torn and not _line(_HEADER).startswith(torn):
            raise self._foreign()
        return lines[1:]

    def _check_version(self, line: bytes, *, any_version: bool) -> None:
        try:
            version = json.loads(line)[_NAME]
        except (ValueError, LookupError, TypeError, RecursionError):
            raise self._foreign() from None
        if version != VERSION and not any_version:
            raise LLMRecordingError(
                f"The recording {self.path} is of version {str(version)[:20]}, and this MiniAgents knows version "
                f"{VERSION}: record it again (delete the file first), or use the MiniAgents that has made it."
            )

    def _foreign(self) -> LLMRecordingError:
        return LLMRecordingError(f"The file {self.path} is no recording of MiniAgents: name another one.")

    @contextmanager
    def _as_usable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> LLMRecordingError:
        return LLMRecordingError(f"The recording {self.path} cannot be used: {error.strerror or error}.")

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """The file, for this writer alone, at its end, behind a whole line."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), _OWNER_ONLY)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise LLMRecordingError(f"The recording {self.path} is no file.")
            _lock(descriptor)
            if not _line(_HEADER).startswith(_beginning(descriptor)):
                raise self._foreign()  # of which nothing may be cut off
            end = _end_of_lines(descriptor)
            os.ftruncate(descriptor, end)
            if not end:
                _write(descriptor, _line(_HEADER))
            yield descriptor
        finally:
            os.close(descriptor)


_HEADER: Final = {_NAME: VERSION}


def _line(content: Any) -> bytes:
    # With escapes, so that half of a character that a server has sent comes back as it was.
    return json.dumps(content, separators=(",", ":")).encode() + b"\n"


def _open_file(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe would wait for a writer


def _lock(descriptor: int) -> None:
    """Reserve the file until it is closed."""
    if sys.platform != "win32":
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:
            return  # a file system that knows no locks: the recording is of more use than the lock


def _write(descriptor: int, line: bytes) -> None:
    """Add a line, to the disk; a part of it does not stay."""
    size = os.fstat(descriptor).st_size
    try:
        left = line
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, size)
        raise


def _beginning(descriptor: int) -> bytes:
    """As much as the first line of a recording has."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    return os.read(descriptor, len(_line(_HEADER)))


def _end_of_lines(descriptor: int) -> int:
    """Where the last whole line ends."""
    end = os.fstat(descriptor).st_size
    while end:
        start = max(0, end - _BLOCK)
        os.lseek(descriptor, start, os.SEEK_SET)
        found = os.read(descriptor, end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0
