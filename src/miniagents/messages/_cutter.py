"""What cuts a text, that comes in chunks, into elements."""

from collections.abc import Iterable
from typing import Generic, TypeVar

T_co = TypeVar("T_co", covariant=True)


class Cutter(Generic[T_co]):
    """Is fed one text after the other, each in chunks, and gives what is complete.

    What `feed` and `end_text` give has to be taken before the next call. Any chunking of a text must give the same.
    """

    def feed(self, chunk: str) -> Iterable[T_co]:
        """The next chunk of the present text."""
        raise NotImplementedError

    def end_text(self) -> Iterable[T_co]:
        """The present text has ended; the next chunk begins another one."""
        raise NotImplementedError

    def end(self) -> None:
        """All texts have ended. Raises an error if they lack something."""
