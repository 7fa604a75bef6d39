"""Server-sent events, out of a body that is cut anywhere."""

import codecs
from collections.abc import Iterator
from typing import Final

from miniagents.ext.llm import _sizes

_LINE_ENDS: Final = (b"\n", b"\r")


class EventData:
    """What stands behind `data:` in the events of one body, several lines of one event joined; without empty ones.

    `LLMProtocolError` for an event that is too long.
    """

    def __init__(self) -> None:
        # In pieces: joined anew for each chunk, a line of many megabytes would take time by the square of its length.
        self._unfinished: list[bytes] = []
        self._length_of_line = 0
        self._ended_in_cr = False
        self._mark = codecs.BOM_UTF8  # some servers begin with it; left there, it would hide the first event
        self._data: list[bytes] = []
        self._length = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The data of the events that end in the next piece of the body."""
        for line in self._lines(chunk):
            if not line and self._data:
                if joined := self._joined():
                    yield joined
            else:
                self._take(line)

    def rest(self) -> bytes:
        """The data of the last event if it was not ended, so that a part of it may be missing. The body is over."""
        self._take(b"".join(self._unfinished))
        return self._joined()

    def _take(self, line: bytes) -> None:
        line, self._mark = line.removeprefix(self._mark), b""
        if line.startswith(b"data:"):
            self._data.append(line[5:].strip(b" "))
            self._length += len(line)
            _sizes.check_length(self._length, _sizes.MAX_PIECE, "An event of the answer")

    def _joined(self) -> bytes:
        joined = b"\n".join(self._data).strip(b" \n")
        self._data.clear()
        self._length = 0
        return joined

    def _lines(self, chunk: bytes) -> list[bytes]:
        """The lines that end in `chunk`, without their ends: LF, CR or CRLF.

        No other character ends a line, such as U+2028, which JSON may contain and the line iterators of HTTP clients
        take for an end: those are characters of texts, and these are bytes.
        """
        if not chunk:
            return []
        if self._ended_in_cr:
            chunk = chunk.removeprefix(b"\n")  # the other half of a CRLF that was cut in two
        self._ended_in_cr = chunk.endswith(b"\r")
        lines = chunk.splitlines()
        if not lines or chunk.endswith(_LINE_ENDS):
            lines.append(b"")  # the beginning of the next one
        self._unfinished.append(lines[0])
        self._length_of_line += len(lines[0])
        _sizes.check_length(self._length_of_line, _sizes.MAX_PIECE, "A line of the answer")
        if len(lines) > 1:
            lines[0] = b"".join(self._unfinished)
            self._unfinished = lines[-1:]
            self._length_of_line = len(lines[-1])
        return lines[:-1]
