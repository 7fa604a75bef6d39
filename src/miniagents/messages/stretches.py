"""The texts of messages in stretches, for those who cut them: what is there already is read at once."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final, Self

from miniagents.promising.stream import PieceReader, StreamedPromise

# How many characters are given at once, and before other tasks get a turn: there may be a part in every third of them.
_LONGEST: Final = 2_000
# A stretch counts as so many characters more.
_COST: Final = 10


class Stretches:
    """Reads one text after the other: `next_text()` goes to the next one, `async for` gives the stretches of this one.

    A stretch is all that is there when the next token is, but bounded, and never empty. Others get a turn in between.
    """

    __slots__ = ("_place", "_since_turn", "_stretch", "_texts", "_tokens")

    def __init__(self, texts: AsyncIterator[StreamedPromise[str, Any]]) -> None:
        self._texts = texts
        self._tokens: PieceReader[str] | None = None
        # What was read, and where in it the next stretch begins.
        self._stretch = ""
        self._place = 0
        self._since_turn = 0

    async def next_text(self) -> bool:
        """Go to the next text, after waiting for it. False if there is none."""
        try:
            text = await anext(self._texts, None)
            self._tokens = None if text is None else text.read_pieces()
            self._stretch, self._place = "", 0
            return text is not None
        finally:
            del self  # as in `Promise._run_resolver`

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        try:
            if self._since_turn > _LONGEST:
                self._since_turn = 0
                await asyncio.sleep(0)
            if self._place >= len(self._stretch):
                assert self._tokens is not None  # there is a text
                self._stretch, self._place = "", 0
                while not self._stretch:
                    token = await anext(self._tokens)
                    self._stretch = "".join((token, *self._tokens.take_ready()))
            stretch = self._stretch[self._place : self._place + _LONGEST]
            self._place += len(stretch)
            self._since_turn += len(stretch) + _COST
            return stretch
        finally:
            del self
