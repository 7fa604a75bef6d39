"""Bodies of answers, and what must come of them if only so many of their bytes arrive.

The rules stand here on their own, as they are promised: nothing of the library's reading is used for them.
"""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from miniagents.ext.llm.errors import (
    LLMConnectionError,
    LLMEmptyCompletionError,
    LLMError,
    LLMProtocolError,
    LLMStatusError,
    LLMTimeoutError,
    LLMTruncatedError,
)

Ending = Literal["split", "end", "break", "stall"]
"""What happens at a byte of the body: nothing (it comes in two pieces), a good end, a broken connection, or silence."""

ENDINGS: tuple[Ending, ...] = ("split", "end", "break", "stall")


@dataclass(frozen=True)
class Outcome:
    """What a reader gets of an answer."""

    said: str = ""
    error: type[BaseException] | None = None
    status: int | None = None
    error_type: str | None = None
    reason: str | None = None
    tokens: int | None = None
    """The output tokens of the usage."""
    calls: tuple[tuple[str, str], ...] = ()
    """The names and arguments of the calls of tools."""


_BROKEN = {
    "break": Outcome(error=LLMConnectionError),
    "stall": Outcome(error=LLMTimeoutError),
}


@dataclass(frozen=True)
class Part:
    """A stretch of a stream, and what it tells."""

    raw: bytes
    told: int = 0
    """After so many of its bytes it has told this, if the body then ends in good order."""
    sealed: int = 0
    """Likewise if more may come: what stands on a line is known when the line has ended."""
    text: str = ""
    reason: str | None = None
    tokens: int | None = None
    call: tuple[str, str] | None = None
    """The name of a tool, if a call of it begins here, and a piece of its arguments."""
    ends: bool = False
    """Whether this is the end marker."""
    error: type[LLMError] | None = None
    error_type: str | None = None


def spoken(text: str, *, is_whole: bool) -> str:
    """`text` as it can be read: halves of characters are put together or replaced; what may still come is not there."""
    paired = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    if not is_whole:
        paired = re.sub("[\ud800-\udbff]$", "", paired)
    return re.sub("[\ud800-\udfff]", "\ufffd", paired)


@dataclass(frozen=True)
class Stream:
    """The events of an answer."""

    parts: Sequence[Part]

    @property
    def raw(self) -> bytes:
        """All bytes."""
        return b"".join(part.raw for part in self.parts)

    def outcome(self, arrived: int, ending: Ending) -> Outcome:
        """An end marker or a reason makes it complete. Behind a reason no harm counts, behind the marker nothing."""
        so_far, text, position = Outcome(), "", 0
        for part in self.parts:
            is_at_end = ending in ("split", "end")
            if arrived < position + (part.told if is_at_end else part.sealed):
                break
            position += len(part.raw)
            if part.error is LLMProtocolError and so_far.reason is not None:
                break
            if part.error is not None:
                status = 200 if part.error is LLMStatusError else None
                return Outcome(spoken(text, is_whole=False), part.error, status, part.error_type)
            text += part.text
            so_far = _after(so_far, part)
            if part.ends:
                return _complete(so_far, text)
        if so_far.reason is not None:
            return _complete(so_far, text)
        return replace(_BROKEN.get(ending, Outcome(error=LLMTruncatedError)), said=spoken(text, is_whole=False))


def _after(so_far: Outcome, part: Part) -> Outcome:
    calls = so_far.calls
    if part.call is not None:
        name, arguments = part.call
        calls = (*calls, part.call) if name else (*calls[:-1], (calls[-1][0], calls[-1][1] + arguments))
    return replace(
        so_far,
        reason=so_far.reason if part.reason is None else part.reason,
        tokens=so_far.tokens if part.tokens is None else part.tokens,
        calls=calls,
    )


def _complete(so_far: Outcome, text: str) -> Outcome:
    if not text and not so_far.calls:
        return Outcome(error=LLMEmptyCompletionError)
    return replace(so_far, said=spoken(text, is_whole=True))


@dataclass(frozen=True)
class Whole:
    """An answer that is read as a whole, also if it came in the place of a stream."""

    raw: bytes
    result: Outcome
    torn: Outcome = field(default_factory=lambda: Outcome(error=LLMProtocolError))
    """What must come of it if it ends too early, but in good order."""
    needed: int | None = None
    """How many bytes are enough; `None` for all."""
    refused: int | None = None
    """After how many bytes it is refused, whatever comes behind them; `None` for never."""

    def outcome(self, arrived: int, ending: Ending) -> Outcome:
        """Only its end tells that it is all there."""
        if self.refused is not None and arrived >= self.refused:
            return self.result
        if ending in _BROKEN:
            return _BROKEN[ending]
        return self.result if arrived >= (len(self.raw) if self.needed is None else self.needed) else self.torn


Body = Stream | Whole


@dataclass(frozen=True)
class Scenario:
    """What a server sends."""

    name: str
    body: Body
    content_type: str = "text/event-stream"
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    stream: bool = True
    """What was asked for."""
    is_packed: bool = False

    @property
    def wire(self) -> bytes:
        """The bytes that are sent."""
        return _packed(self.body.raw) if self.is_packed else self.body.raw

    def expected(self, arrived: int, ending: Ending) -> Outcome:
        """What a reader must get if at byte `arrived` there is this ending."""
        if ending == "split":
            arrived = len(self.wire)
        if self.is_packed:
            arrived = len(zlib.decompressobj(_GZIP).decompress(self.wire[:arrived]))
        return self.body.outcome(arrived, ending)


_GZIP = 16 + zlib.MAX_WBITS


def _packed(raw: bytes) -> bytes:
    """As gzip, in small blocks, so that the text comes bit by bit."""
    packer = zlib.compressobj(wbits=_GZIP)
    blocks = [packer.compress(raw[at : at + 20]) + packer.flush(zlib.Z_SYNC_FLUSH) for at in range(0, len(raw), 20)]
    return b"".join([*blocks, packer.flush()])
