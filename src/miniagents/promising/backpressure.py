"""Backpressure: a producer that waits when it is far enough ahead of its readers.

What was said stays readable, so this bounds how far a producer runs *ahead*, not how much it has said. The measure is
the foremost reader, the one that has taken most pieces. One that is behind, or has left, holds nobody back: a reader
cannot change what another one sees.

Invariant: whoever waits for a whole context to finish (`aflush_tasks()`, the end of its block) holds nobody back
meanwhile, for the readers may be gone.
"""

import asyncio
import contextlib
from collections.abc import Iterator

from miniagents.promising.log import wake


class Backpressure:
    """How far one producer may run ahead, and how far its foremost reader has come."""

    __slots__ = ("_foremost", "_held", "max_ahead")

    def __init__(self, max_ahead: int) -> None:
        if isinstance(max_ahead, bool) or not isinstance(max_ahead, int):
            raise TypeError(f"`max_ahead` is a number of pieces, not {max_ahead!r}.")
        if max_ahead < 1:
            raise ValueError(f"`max_ahead` is at least 1, not {max_ahead}: with less nothing would ever be said.")
        self.max_ahead = max_ahead
        self._foremost = 0
        self._held: asyncio.Future[None] | None = None

    def taken(self, seen: int) -> None:
        """A reader has taken so many pieces."""
        if seen > self._foremost:
            self._foremost = seen
            if self._held is not None:
                wake(self._held)

    async def wait_for_readers(self, made: int, held_back: "HeldBack") -> None:
        """Return when fewer than `max_ahead` of `made` pieces are ahead, or nobody is held back."""
        while made - self._foremost >= self.max_ahead and not held_back.is_lifted:
            self._held = held_back.add()
            try:
                # Looked at again, as in `Log.wait`: a reader in another thread would not have known of us.
                if made - self._foremost >= self.max_ahead:
                    await self._held
            finally:
                held_back.discard(self._held)
                self._held = None


class HeldBack:
    """The producers of one context that wait for their readers."""

    __slots__ = ("_futures", "_lifted")

    def __init__(self) -> None:
        self._futures: dict[
            asyncio.Future[None], None
        ] = {}  # in the order of their coming, so that runs can be repeated
        self._lifted = 0

    @property
    def is_lifted(self) -> bool:
        """Whether nobody is held back now."""
        return self._lifted > 0

    @contextlib.contextmanager
    def lifted(self) -> Iterator[None]:
        """Hold nobody back in this block."""
        self._lifted += 1
        for future in list(self._futures):
            wake(future)
        try:
            yield
        finally:
            self._lifted -= 1

    def add(self) -> "asyncio.Future[None]":
        """Somebody waits, for the future that is given."""
        future = asyncio.get_running_loop().create_future()
        self._futures[future] = None
        return future

    def discard(self, future: "asyncio.Future[None]") -> None:
        """They wait no more."""
        self._futures.pop(future, None)


def refuse_to_hold(backpressure: Backpressure | None) -> None:
    """Raise `TypeError` where somebody wants to hold back who appends by plain calls."""
    if backpressure is not None:
        raise TypeError("`max_ahead` is for streamers: whoever appends by plain calls cannot be made to wait.")
