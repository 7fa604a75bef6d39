"""The texts of messages in stretches, for those who cut them: what is there already is read at once."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final, Self

from miniagents.promising.stream import PieceReader, StreamedPromise

# How many characters are given at once, and before other tasks get a turn: to cut so many takes some milliseconds.
_LONGEST: Final = 10_000
# A stretch counts as so many characters more.
_COST: Final = 10


class Stretches:
    """Reads one text after the other. Gives stretches of text, none of them empty, and `None` where a text ends.

    A stretch is all that is there when the next token is, but bounded. Others get a turn between stretches.
    """

    __slots__ = ("_place", "_since_turn", "_stretch", "_texts", "_tokens")

    def __init__(self, texts: AsyncIterator[StreamedPromise[str, Any]]) -> None:
        self._texts = texts
        self._tokens: PieceReader[str] | None = None
        # What was read, and where in it the next stretch begins.
        self._stretch = ""
        self._place = 0
        self._since_turn = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str | None:
        try:
            if self._since_turn > _LONGEST:
                self._since_turn = 0
                await asyncio.sleep(0)
            if self._place >= len(self._stretch) and not await self._read_on():
                return None
            stretch = self._stretch[self._place : self._place + _LONGEST]
            self._place += len(stretch)
            self._since_turn += len(stretch) + _COST
            return stretch
        finally:
            del self  # as in `Promise._run_resolver`

    async def _read_on(self) -> bool:
        """Read what is there, after waiting for something. False if the text has ended."""
        try:
            self._stretch, self._place = "", 0
            if self._tokens is None:
                self._tokens = (await anext(self._texts)).read_pieces()
            while not self._stretch:
                token = await anext(self._tokens, None)
                if token is None:
                    self._tokens = None
                    return False
                self._stretch = "".join((token, *self._tokens.take_ready()))
            return True
        finally:
            del self
