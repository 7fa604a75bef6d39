"""The body of a request, written so that files of many megabytes in it do not hold the event loop."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any, Final

# Characters that are written in about a millisecond.
_AT_ONCE: Final = 1 << 18
# What a piece costs beside its characters, in characters.
_PER_PIECE: Final = 256

_write: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


async def json_of(value: Any) -> bytes:
    """`value` as JSON in UTF-8, with pauses. Raises `TypeError`, `ValueError` or `RecursionError` for what is none."""
    # Not in a thread: the encoder does not let others run before it has done all.
    written: list[bytes] = []
    left = _AT_ONCE
    for piece in _pieces(value):
        written.append(piece.encode())
        left -= len(piece) + _PER_PIECE
        if left <= 0:
            await asyncio.sleep(0)
            left = _AT_ONCE
    return b"".join(written)


def _pieces(value: Any) -> Iterator[str]:
    if isinstance(value, str) and len(value) > _AT_ONCE:
        yield '"'
        for start in range(0, len(value), _AT_ONCE):
            yield _write(value[start : start + _AT_ONCE])[1:-1]
        yield '"'
    elif isinstance(value, dict) and value:
        before = "{"
        for key, inner in value.items():
            yield before + _write({key: None})[1 : -len("null}")]
            yield from _pieces(inner)
            before = ","
        yield "}"
    elif isinstance(value, (list, tuple)) and value:
        before = "["
        for inner in value:
            yield before
            yield from _pieces(inner)
            before = ","
        yield "]"
    else:
        yield _write(value)
