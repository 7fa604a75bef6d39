"""Backpressure: a producer that waits when it is far enough ahead of its readers.

What was said stays readable, so this bounds how far a producer runs *ahead*, not how much it has said. The measure is
the foremost reader, the one that has taken most pieces. One that is behind, or has left, holds nobody back: a reader
cannot change what another one sees.

Invariants
----------
1. Whoever waits for a whole context to finish (`aflush_tasks()`, the end of its block, however it is left) holds nobody
   back in it or in a context inside it meanwhile, for the readers may be gone.
2. A producer that was asked to end is not held back on its way.
"""

import asyncio
import contextlib
import math
import sys
from collections.abc import Iterator

from miniagents.promising.log import wake


class Backpressure:
    """How far one producer may run ahead, and how far its foremost reader has come."""

    __slots__ = ("_foremost", "_held", "max_ahead")

    def __init__(self, max_ahead: float) -> None:
        if max_ahead != math.inf and (isinstance(max_ahead, bool) or not isinstance(max_ahead, int)):
            raise TypeError(f"`max_ahead` is a number of pieces, or `math.inf` for no bound, not {max_ahead!r}.")
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

    def take_all(self) -> None:
        """Somebody wants all that will ever be there."""
        self.taken(sys.maxsize)

    def is_far_ahead(self, made: int) -> bool:
        """Whether a producer that has made so many pieces must wait for its readers."""
        return made - self._foremost >= self.max_ahead

    async def wait_for_readers(self, made: int, held_back: "HeldBack") -> None:
        """Return when fewer than `max_ahead` of `made` pieces are ahead, or the producer is not to be held back."""
        task = asyncio.current_task()
        while self.is_far_ahead(made) and not held_back.is_lifted and not (task and task.cancelling()):
            with held_back.waiting() as self._held:
                # Looked at again, as in `Log.waiter`: a reader in another thread would not have known of us.
                if self.is_far_ahead(made):
                    await self._held
            self._held = None


class HeldBack:
    """The producers of one context, and of the contexts inside it, that wait for their readers."""

    __slots__ = ("_futures", "_lifted", "around")

    def __init__(self) -> None:
        self.around: HeldBack | None = None
        """Those of the context around this one, while there is one."""
        # In the order of their coming, so that runs can be repeated.
        self._futures: dict[asyncio.Future[None], None] = {}
        self._lifted = 0

    def _chain(self) -> "Iterator[HeldBack]":
        one: HeldBack | None = self
        while one is not None:
            yield one
            one = one.around

    @property
    def is_lifted(self) -> bool:
        """Whether nobody is held back now."""
        return any(one._lifted for one in self._chain())

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

    @contextlib.contextmanager
    def waiting(self) -> "Iterator[asyncio.Future[None]]":
        """A future to wait for, until a reader has come or nobody is held back any more."""
        future = asyncio.get_running_loop().create_future()
        chain = list(self._chain())
        for one in chain:
            one._futures[future] = None
        try:
            yield future
        finally:
            for one in chain:
                one._futures.pop(future, None)


def refuse_to_hold(max_ahead: float | None) -> None:
    """Raise `TypeError` for a bound where there is no streamer."""
    if max_ahead is not None:
        raise TypeError("`max_ahead` is for streamers: whoever appends by plain calls cannot be made to wait.")
