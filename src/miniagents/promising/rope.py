"""Ropes: streams whose items may be other streams, read as one flat stream.

Forwarding a sequence appends one reference to it. Nothing is copied and no task exists to move items, so a token costs
the same after one agent and after a thousand. A reader walks the rope with a stack of its own: it enters a sequence
where it meets it, and drops a frame that has nothing left before it enters its last item, so that a chain of sequences
that each end in the next needs no stack at all.

Invariants
----------
1. A log of a sequence holds items, failures and links (other sequences), in the order in which they will be read.
2. A reader that met an error is through. `settle_items()` and `next_item()` go on behind it.

Not promised: that a rope which contains itself is noticed while items are found on every round of it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any, Final, Generic, Self, TypeVar

from miniagents.promising.appender import StreamAppender
from miniagents.promising.deadlock import Feed
from miniagents.promising.errors import DeadlockError, PromiseCancelledError
from miniagents.promising.log import Failure, Log, ended_log
from miniagents.promising.promise import Producer, Wait, wait_as_reader
from miniagents.promising.sentinels import END, UNSET, Sentinel
from miniagents.promising.stream import PIECES_PER_TURN, StreamedPromise

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
WHOLE_co = TypeVar("WHOLE_co", covariant=True)


class SequencePromise(StreamedPromise[T_co, WHOLE_co]):
    """A flat stream over items and other sequences. Awaiting it gives the tuple of all items.

    Made by `FlatSequence` and by what stands on it. Iterating and awaiting are as in `StreamedPromise`.
    `async with sequence:` binds the work to the block: when it is left, in whatever way, the producer and everything
    below it is cancelled, and has ended before the next line runs.
    """

    __slots__ = ("_appender", "_feed", "_name")

    def __init__(
        self,
        source: StreamAppender[Any] | Log[Any],
        producer: Producer | None = None,
        *,
        name: str = "",
        start_asap: bool | None = None,
        feed: Feed | None = None,
    ) -> None:
        self._feed = feed
        self._backpressure = None
        self._result = UNSET
        self._whole = None
        self._name = name
        self._appender = source if isinstance(source, StreamAppender) else None
        self._setup(source.log if isinstance(source, StreamAppender) else source, producer, start_asap)

    def __aiter__(self) -> AsyncIterator[T_co]:
        return self.read_items()

    def read_items(self) -> "RopeReader[T_co]":
        """A reader of its own, from the first item on, whose `next_item()` goes on behind errors."""
        return RopeReader(self)

    async def settle_items(self, wait: Wait = wait_as_reader) -> "list[T_co | Failure]":
        """All that the logs keep, in order, the errors among it as `Failure`, behind which the walk goes on."""
        reader: RopeReader[T_co] = RopeReader(self, wait)
        items: list[T_co | Failure] = []
        while (item := await reader.next_kept()) is not END:
            items.append(item)
        return items

    def given(self, place: int) -> Any:
        """What readers get for the item at a place of the log. To be overridden where it is kept in another form."""
        return self._log.items[place]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cancel("the block that it was bound to has ended")
        await self._ended()

    def _end_unsaid(self, error: PromiseCancelledError) -> None:
        assert self._appender is not None  # what a producer writes with
        self._appender.abandon(error)

    async def _settle(self, wait: Wait) -> WHOLE_co | Failure:
        if isinstance(self._result, Sentinel):
            outcome = await self._settle_whole(wait)
            if isinstance(self._result, Sentinel):
                self._result = outcome
        return self._result

    async def _settle_whole(self, wait: Wait) -> WHOLE_co | Failure:
        reader: RopeReader[T_co] = RopeReader(self, wait)
        items: list[T_co] = []
        while (item := reader.poll()) is not END:
            if item is PENDING or item is BUSY:
                await reader.wait(item)
                continue
            outcome = self._peek_item(item, reader)
            if outcome is UNSET:
                outcome = await self._settle_item(item, wait)
            if isinstance(outcome, Failure):
                return outcome
            items.append(outcome)
        return self._assemble(items)

    def _peek_item(self, item: Any, reader: "RopeReader[Any]") -> Any:
        """What an item contributes to the whole, or a `Failure`; `UNSET` if that has to be waited for.

        It is what `reader` has polled last.
        """
        return reader.given(item)

    async def _settle_item(self, item: Any, wait: Wait) -> Any:
        """The same, waited for. To be overridden where items are promises."""
        raise NotImplementedError

    def _peek(self) -> WHOLE_co | Failure | Sentinel:
        # Whether a rope is complete is known only to who has walked it.
        return self._result

    @property
    def feed(self) -> Feed | None:
        """Who must feed this sequence, if it is the input of an open call."""
        return self._feed

    @property
    def write_end(self) -> object:
        """The appender."""
        return self._appender

    @property
    def is_arriving(self) -> bool:
        """Whether something that was added out of order is still on its way."""
        return self._appender is not None and self._appender.is_arriving

    def describe(self) -> str:
        """What this is, for people."""
        return f"the replies of {self._name}" if self._name else super().describe()

    def _describe(self) -> str:
        return self._name or type(self).__name__

    def _trace_name(self) -> str:
        return self._name


class _Mark:
    """What a rope reader finds where there is no item."""


PENDING: Final = _Mark()
BUSY: Final = _Mark()


class RopeReader(Generic[T]):
    """One reader's place in a rope."""

    __slots__ = ("_hops", "_index", "_landmark", "_log", "_sequence", "_stack", "_taken", "_wait")

    def __init__(self, sequence: SequencePromise[T, Any], wait: Wait = wait_as_reader) -> None:
        self._sequence: SequencePromise[Any, Any] = sequence
        self._log: Log[Any] = sequence._log
        self._index = 0
        self._stack: list[tuple[SequencePromise[Any, Any], int]] = []
        self._hops = 0
        self._taken = 0
        self._landmark: SequencePromise[Any, Any] | None = None
        self._wait = wait

    def __aiter__(self) -> "RopeReader[T]":
        return self

    async def __anext__(self) -> T:
        while (item := self.poll()) is PENDING or item is BUSY:
            await self.wait(item)
        if item is END:
            raise StopAsyncIteration
        if not isinstance(item, Failure):
            return self._sequence.given(self._index - 1)  # type: ignore[no-any-return]  # one of its items
        self._stack.clear()
        self._log = ended_log(())  # through, whatever came after the error
        self._index = 0
        del self  # the traceback keeps this frame, which must not lead from the error back to itself
        try:
            item.throw()
        finally:
            del item

    async def next_item(self) -> Any:
        """The next item, a `Failure`, or `END`; waits until one of them is there."""
        return self.given(await self.next_kept())

    async def next_kept(self) -> Any:
        """The same, but an item as it stands in the log."""
        while (item := self.poll()) is PENDING or item is BUSY:
            await self.wait(item)
        return item

    def given(self, kept: Any) -> Any:
        """What readers get for what was polled last."""
        return kept if kept is END or isinstance(kept, Failure) else self._sequence.given(self._index - 1)

    def wait(self, mark: Any) -> Awaitable[None]:
        """To be awaited before polling again, where the pending or the busy mark was found."""
        return asyncio.sleep(0) if mark is BUSY else self._wait(self._sequence, self._index)

    def poll(self) -> Any:
        """What `next_kept` gives, or the pending or the busy mark; never waits."""
        if self._taken >= PIECES_PER_TURN:  # a reader that never has to wait would hold the loop
            self._taken = 0
            return BUSY
        while True:
            log = self._log
            if self._index < len(log.items):
                item = log.items[self._index]
                self._index += 1
                if not isinstance(item, SequencePromise):
                    self._hops = 0
                    self._taken += 1
                    return item
                self._enter(item, is_last=log.ended and self._index == len(log.items))
                if not self._hops % PIECES_PER_TURN:
                    return BUSY
            elif not log.ended:
                return PENDING
            elif self._stack:
                self._sequence, self._index = self._stack.pop()
                self._log = self._sequence._log
            else:
                return END

    @property
    def seen(self) -> int:
        """How many items of that log were read."""
        return self._index

    def wait_point(self) -> Log[Any]:
        """The log whose growth a pending reader waits for, its producer being started."""
        self._sequence._begin_reading()
        return self._log

    def _enter(self, sequence: SequencePromise[Any, Any], is_last: bool) -> None:
        if not is_last:
            self._stack.append((self._sequence, self._index))
        # A rope that contains nothing but itself would be walked for ever. Brent's method: remember a sequence, at
        # distances that double, and see whether it comes again before any item did.
        if sequence is self._landmark and self._hops:
            raise DeadlockError(f"{sequence!r} contains itself, so it has no first item and no end.")
        self._hops += 1
        if self._hops & (self._hops - 1) == 0:
            self._landmark = sequence
        self._sequence = sequence
        self._log = sequence._log
        self._index = 0
