"""The text of a finished message, and where its tokens end: what is kept of a stream of tokens."""

from array import array
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import overload


class PackedText(Sequence[str]):
    """Tokens, kept as one text and four bytes for each. Equal ones are read again, each a plain `str`.

    >>> packed = PackedText(["Hel", "lo"])
    >>> packed.text, list(packed)
    ('Hello', ['Hel', 'lo'])
    """

    __slots__ = ("_bounds", "text")

    def __init__(self, tokens: Sequence[str]) -> None:
        self.text = "".join(tokens)
        self._bounds = array("I" if len(self.text) < 1 << 32 else "Q", accumulate(map(len, tokens), initial=0))

    def __len__(self) -> int:
        return len(self._bounds) - 1

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> list[str]: ...

    def __getitem__(self, place: int | slice) -> str | list[str]:
        places = range(len(self))[place]
        if isinstance(places, int):
            return self.text[self._bounds[places] : self._bounds[places + 1]]
        if places.step != 1:
            return [self[index] for index in places]
        bounds = self._bounds[places.start : places.stop + 1]
        return [self.text[start:end] for start, end in pairwise(bounds)]
