"""Sequences: streams whose items may be other streams, read as one flat stream. A rope, in other words.

Forwarding a sequence appends one reference to it. Nothing is copied and no task exists to move items, so a token costs
the same after one agent and after a thousand. A reader walks the rope with a stack of its own: it enters a sequence
where it meets it, and drops a frame that has nothing left before it enters its last item, so that a chain of sequences
that each end in the next needs no stack at all.

Out of order, an item enters the log at the moment when it is there. The order of arrival is thus recorded once, in the
log, and is the same for every reader. Nobody polls: an `_Arrival` is called back by what it waits for.

Invariants
----------
1. A log of a sequence holds items, failures and links (other sequences), in the order in which they will be read.
2. The log ends when its appender is closed *and* all that was promised out of order has arrived.
3. A reader that met an error is through. `settle_items()` goes on behind it.

Not promised: that a rope which contains itself is noticed while items are found on every round of it.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import Any, Final, Generic, TypeVar, cast

from miniagents.promising.appender import AppenderState, StreamAppender
from miniagents.promising.errors import DeadlockError, PromiseCancelledError
from miniagents.promising.log import Failure, Log
from miniagents.promising.promise import Producer, Promise, StreamedPromise, closing, ended_log
from miniagents.promising.sentinels import END, UNSET, Sentinel

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
WHOLE_co = TypeVar("WHOLE_co", covariant=True)

# How many items are moved in one stretch before other tasks get a turn. About a millisecond.
_ITEMS_PER_TURN = 1000


class SequencePromise(StreamedPromise[T_co, WHOLE_co]):
    """A flat stream over items and other sequences. Awaiting it gives the tuple of all items.

    Made by `FlatSequence` and by what stands on it. Iterating and awaiting are as in `StreamedPromise`.
    """

    __slots__ = ("_appender", "_name")

    def __init__(
        self,
        source: "SequenceAppender[T_co] | Log[Any]",
        producer: Producer | None = None,
        *,
        name: str = "",
        start_asap: bool | None = None,
    ) -> None:
        self._result = UNSET
        self._whole = None
        self._name = name
        self._appender = source if isinstance(source, SequenceAppender) else None
        self._setup(source.log if isinstance(source, SequenceAppender) else source, producer, start_asap)

    def __aiter__(self) -> AsyncIterator[T_co]:
        return RopeReader(self)

    def read_items(self) -> "RopeReader[T_co]":
        """A reader of its own, from the first item on, whose `next_item()` goes on behind errors."""
        return RopeReader(self)

    async def settle_items(self) -> "list[T_co | Failure]":
        """All items in their order, the errors among them as `Failure`, behind which the walk goes on."""
        reader = self.read_items()
        items: list[T_co | Failure] = []
        while (item := await reader.next_item()) is not END:
            items.append(item)
            if len(items) % _ITEMS_PER_TURN == 0:
                await asyncio.sleep(0)
        return items

    def _producer_done(self, _: object) -> None:
        if self._appender is None:
            super()._producer_done(_)
        elif self._appender.state is not AppenderState.CLOSED:
            # The producer never ran. (One that did has closed its appender, though things may still be arriving.)
            self._appender.abandon(PromiseCancelledError(self._describe()))

    async def _settle(self) -> WHOLE_co | Failure:
        if isinstance(self._result, Sentinel):
            outcome = await self._settle_whole()
            if isinstance(self._result, Sentinel):
                self._result = outcome
        return self._result

    async def _settle_whole(self) -> WHOLE_co | Failure:
        reader = self.read_items()
        items: list[T_co] = []
        while (item := await reader.next_item()) is not END:
            outcome = await self._settle_item(item)
            if isinstance(outcome, Failure):
                return outcome
            items.append(outcome)
            if len(items) % _ITEMS_PER_TURN == 0:
                await asyncio.sleep(0)
        return self._assemble(items)

    async def _settle_item(self, item: Any) -> Any:
        """What an item contributes to the whole, or a `Failure`."""
        return item

    def _peek(self) -> WHOLE_co | Failure | Sentinel:
        # Whether a rope is complete is known only to who has walked it.
        return self._result

    def _describe(self) -> str:
        return self._name or type(self).__name__


class _Mark:
    """What a rope reader finds where there is no item."""


_PENDING: Final = _Mark()


class RopeReader(Generic[T]):
    """One reader's place in a rope."""

    __slots__ = ("_descents", "_index", "_landmark", "_sequence", "_stack")

    def __init__(self, sequence: SequencePromise[T, Any]) -> None:
        self._sequence: SequencePromise[Any, Any] = sequence
        self._index = 0
        self._stack: list[tuple[SequencePromise[Any, Any], int]] = []
        self._descents = 0
        self._landmark: SequencePromise[Any, Any] | None = None

    def __aiter__(self) -> "RopeReader[T]":
        return self

    async def __anext__(self) -> T:
        item = await self.next_item()
        if item is END:
            raise StopAsyncIteration
        if isinstance(item, Failure):
            self._stack.clear()
            self._sequence = SequencePromise(ended_log(()))  # through, whatever came after the error
            self._index = 0
            item.throw()
        return item  # type: ignore[no-any-return]  # neither a failure nor a mark, so it is an item

    async def next_item(self) -> Any:
        """The next item, a `Failure`, or the end mark; waits until one of them is there."""
        while (item := self.poll()) is _PENDING:
            self._sequence._begin_reading()
            await self._sequence._log.wait(self._index)
        return item

    def poll(self) -> Any:
        """The next item, a `Failure`, the end mark, or the pending mark; never waits."""
        while True:
            log = self._sequence._log
            if self._index < len(log.items):
                item = log.items[self._index]
                self._index += 1
                if not isinstance(item, SequencePromise):
                    self._descents = 0
                    return item
                self._enter(item, is_last=log.ended and self._index == len(log.items))
            elif not log.ended:
                return _PENDING
            elif self._stack:
                self._sequence, self._index = self._stack.pop()
            else:
                return END

    def wait_point(self) -> Log[Any]:
        """The log whose growth a pending reader waits for, its producer being started."""
        self._sequence._begin_reading()
        return self._sequence._log

    def _enter(self, sequence: SequencePromise[Any, Any], is_last: bool) -> None:
        if not is_last:
            self._stack.append((self._sequence, self._index))
        # A rope that contains nothing but itself would be walked for ever. Brent's method: remember a sequence, at
        # distances that double, and see whether it comes again before any item did.
        if sequence is self._landmark and self._descents:
            raise DeadlockError(f"{sequence!r} contains itself, so it has no first item and no end.")
        self._descents += 1
        if self._descents & (self._descents - 1) == 0:
            self._landmark = sequence
        self._sequence = sequence
        self._index = 0


class SequenceAppender(StreamAppender[T]):
    """An appender whose pieces may be sequences, and may be added out of order."""

    __slots__ = ("_arriving",)

    def __init__(self, *, capture_errors: bool | None = None) -> None:
        super().__init__(capture_errors=capture_errors)
        self._arriving = 0

    def append_out_of_order(self, item: Any) -> None:
        """Add an item (a promise), or the items of a sequence one by one, as soon as each is there.

        A promise is there when its first piece or its outcome is. Within one sequence the order stays.
        """
        self._check_open()
        self._arriving += 1
        _Arrival(self, item).advance()

    def arrived(self) -> None:
        """One of the sources that were added out of order is complete."""
        self._arriving -= 1
        if self._state is AppenderState.CLOSED:
            self._end()

    def abandon(self, reason: BaseException) -> None:
        """End the stream with an error, whatever is still on its way."""
        super().abandon(reason)
        self.log.end()

    def _end(self) -> None:
        if not self._arriving:
            self.log.end()


class _Arrival:
    """Carries the items of one source into the log of an appender, each at the moment when it is there."""

    __slots__ = ("_appender", "_item", "_reader")

    def __init__(self, appender: SequenceAppender[Any], item: Any) -> None:
        self._appender = appender
        source = item if isinstance(item, SequencePromise) else SequencePromise(ended_log([item]))
        self._reader: RopeReader[Any] = RopeReader(source)
        self._item: Any = _PENDING

    def advance(self, _: object = None) -> None:
        """Carry over what is there, then be called again when there is more."""
        try:
            awaited = self._carry()
        except BaseException as error:  # reading may be impossible here: no context, the wrong loop
            self._appender.fail(error)
            self._appender.arrived()
            return
        if awaited is not None:
            awaited.waiter().add_done_callback(self.advance)

    def _carry(self) -> Log[Any] | None:
        """Carry over what is there. Returns the log to wait for, or `None` when this source is done."""
        for _ in range(_ITEMS_PER_TURN):
            if self._item is _PENDING:
                self._item = self._reader.poll()
                if self._item is _PENDING:
                    return self._reader.wait_point()
                if self._item is END:
                    self._appender.arrived()
                    return None
            if isinstance(self._item, Promise) and not (self._item._log.items or self._item._log.ended):
                self._item._begin_reading()
                return self._item._log
            if self._appender.log.ended:  # abandoned meanwhile
                return None
            self._appender.log.append(self._item)
            self._item = _PENDING
        asyncio.get_running_loop().call_soon(self.advance)
        return None


# What a conversion answers when the value is not an item but a collection of items, or nothing at all.
EXPAND: Final = _Mark()
SKIP: Final = _Mark()


def flatten(value: object, convert: Callable[[Any], Any], where: str) -> list[Any]:
    """Turn nested collections into the flat list of their items, without recursion.

    `convert` gives the item for a value, or `EXPAND` for a collection to look into, or `SKIP`. A `TypeError` that it
    raises gets the place in front, such as `messages[2][0]`. A collection that contains itself is a `ValueError`.
    """
    items: list[Any] = []
    stack: list[tuple[object, Iterator[Any]]] = []
    places: list[int] = []
    open_ids: set[int] = set()
    while True:
        try:
            item = convert(value)
        except TypeError as error:
            raise TypeError(f"{_place(where, places)} {error}") from None
        if item is EXPAND:
            if id(value) in open_ids:
                raise ValueError(f"{_place(where, places)} contains itself.")
            open_ids.add(id(value))
            stack.append((value, iter(cast("Iterable[Any]", value))))
            places.append(-1)
        elif item is not SKIP:
            items.append(item)
        while stack:
            try:
                value = next(stack[-1][1])
            except StopIteration:
                open_ids.discard(id(stack.pop()[0]))
                places.pop()
            else:
                places[-1] += 1
                break
        else:
            return items


def _place(where: str, places: list[int]) -> str:
    shown = places if len(places) <= 8 else places[-8:]
    return where + ("…" if len(shown) < len(places) else "") + "".join(f"[{index}]" for index in shown)


class FlatSequence(Generic[T]):
    """Makes one flat stream, `sequence_promise`, of a stream of nested ones.

    - `incoming_streamer`: `(promise) -> async iterator` whose pieces may be items, collections of items (nested in any
      way), async iterables of them, or sequences of other `FlatSequence`s. Or a `StreamAppender`.
    - `flattener`: `(piece) -> iterable or async iterable` of items, to be used instead of the rules above. A subclass
      may override `_convert` instead.

    >>> import asyncio
    >>> from miniagents.promising import PromisingContext
    >>> async def nested(promise):
    ...     yield [1, [2, [3]]]
    ...     yield 4
    >>> async def main():
    ...     async with PromisingContext():
    ...         print(await FlatSequence(nested).sequence_promise)
    >>> asyncio.run(main())
    (1, 2, 3, 4)
    """

    def __init__(
        self,
        incoming_streamer: Callable[[Any], AsyncIterable[Any]],
        flattener: Callable[[Any], Iterable[T] | AsyncIterable[T]] | None = None,
        *,
        start_asap: bool | None = None,
    ) -> None:
        self._flattener = flattener
        appender: SequenceAppender[T] = self._make_appender()
        self._sequence_promise: SequencePromise[T, Any] = self._make_promise(
            appender, lambda promise: self._pump(incoming_streamer, promise, appender), start_asap
        )

    @property
    def sequence_promise(self) -> SequencePromise[T, Any]:
        """The flat stream."""
        return self._sequence_promise

    def _make_appender(self) -> SequenceAppender[T]:
        return SequenceAppender()

    def _make_promise(
        self, appender: SequenceAppender[T], producer: Producer | None, start_asap: bool | None
    ) -> SequencePromise[T, Any]:
        return SequencePromise(appender, producer, start_asap=start_asap)

    async def _pump(
        self,
        streamer: Callable[[Any], AsyncIterable[Any]],
        promise: SequencePromise[T, Any],
        appender: SequenceAppender[T],
    ) -> None:
        """Take what a foreign source gives and append its items. The only task of a sequence, and only for such a one."""
        appender.open()
        try:
            async with closing(streamer(promise)) as pieces:
                async for piece in pieces:
                    await self._append_flat(piece, appender)
        except BaseException as error:
            appender.fail(error, type(self).__name__)
            if not isinstance(error, (Exception, KeyboardInterrupt, SystemExit)):
                raise
        finally:
            appender.close()

    async def _append_flat(self, piece: Any, appender: SequenceAppender[T]) -> None:
        if self._flattener is None or isinstance(piece, BaseException):
            for item in flatten(piece, self._convert, "the piece"):
                appender.append(item)
        elif isinstance(flat := self._flattener(piece), AsyncIterable):
            async with closing(flat) as items:
                async for item in items:
                    appender.append(item)
        else:
            for item in flat:
                appender.append(item)

    def _convert(self, value: Any) -> Any:
        """What `flatten` asks about each value."""
        if isinstance(value, (SequencePromise, str, bytes, bytearray, dict)):
            return value
        if isinstance(value, AsyncIterable) and not isinstance(value, Promise):
            return type(self)(lambda _: value).sequence_promise
        return EXPAND if isinstance(value, Iterable) else value
