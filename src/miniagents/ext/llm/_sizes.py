"""How long an answer may be: no server can fill the memory of a program that has asked it something."""

from collections.abc import AsyncIterable, AsyncIterator
from typing import Any, Final

from miniagents.ext.llm._sdk import classes_named
from miniagents.ext.llm.errors import LLMProtocolError

MAX_PIECE: Final = 64 * 2**20
"""Bytes, unpacked, of what is parsed at once: an event of a stream, an answer that is not streamed, an error.

The pictures and sounds of models are within it. To parse as much takes a tenth of a second, but if it is made of the
smallest objects four seconds, in which the event loop stands still, and thirty times the memory.
"""
MAX_TEXT: Final = 64 * 2**20
"""Characters of the text of an answer: a hundred times what a model says at once."""
MAX_STREAM: Final = 2**30
"""Bytes, unpacked, of a whole stream, comments and all: most of them are dropped as soon as they are read, but not the
arguments of tools. The longest answer of a model, with the most probable words beside each of its own, has half of it.
"""


def check_length(length: int, limit: float, what: str, unit: str = "bytes") -> None:
    """Raise `LLMProtocolError` if `what` is too long."""
    if length > limit:
        raise LLMProtocolError(f"{what} is longer than {limit:,} {unit}, so it is read no further.")


async def within(limit: float, body: AsyncIterable[bytes], what: str) -> AsyncIterator[bytes]:
    """`body`, and an `LLMProtocolError` in the place of what is beyond `limit`."""
    length = 0
    async for piece in body:
        length += len(piece)
        check_length(length, limit, what)
        yield piece


def body_of_stream(response: Any, provider: str) -> AsyncIterator[bytes]:
    """The body of a response of the HTTP client that is read as a stream."""
    for limited in classes_named("miniagents.ext.llm._http", "LimitedBody"):
        if isinstance(response.stream, limited):
            response.stream.limit = MAX_STREAM  # it could not know
            return aiter(response.stream)
    return within(MAX_STREAM, response.aiter_bytes(), f"The answer of {provider}")


async def body_of_whole(response: Any, provider: str) -> bytes:
    """The body of a response of the HTTP client, all at once."""
    return b"".join([piece async for piece in within(MAX_PIECE, response.aiter_bytes(), f"The answer of {provider}")])
