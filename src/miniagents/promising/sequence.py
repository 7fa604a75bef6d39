"""Writing ropes: appenders that take sequences, in order and out of order, and flat sequences of foreign streams.

Out of order, an item enters the log at the moment when it is there. The order of arrival is thus recorded once, in the
log, and is the same for every reader. Nobody polls: an `_Arrival` is called back by what it waits for.

Invariant: the log ends when its appender is closed *and* all that was promised out of order has arrived.
"""

import asyncio
from collections.abc import AsyncIterable, Callable, Iterable
from typing import Any, Generic, TypeVar

from miniagents.promising.appender import AppenderState, StreamAppender
from miniagents.promising.context import current_context
from miniagents.promising.errors import DeadlockError
from miniagents.promising.flatten import EXPAND, flatten
from miniagents.promising.log import Failure, producer_failed
from miniagents.promising.promise import Producer, Promise
from miniagents.promising.rope import BUSY, PENDING, RopeReader, SequencePromise
from miniagents.promising.sentinels import END
from miniagents.promising.stream import PIECES_PER_TURN, closing
from miniagents.promising.tasks import FIRST_STEP
from miniagents.promising.tree import raise_if_cancelled

T = TypeVar("T")


class SequenceAppender(StreamAppender[T]):
    """An appender whose pieces may be sequences, to be read in their place, and may be added out of order."""

    __slots__ = ("_arriving",)

    def __init__(self, capture_errors: bool | None = None) -> None:
        super().__init__(capture_errors=capture_errors)
        self._arriving = 0

    @property
    def is_arriving(self) -> bool:
        """Whether something that was added out of order is still on its way."""
        return self._arriving > 0

    def _add(self, piece: Any) -> None:
        self._check_no_circle(piece)
        super()._add(piece)

    def _check_no_circle(self, item: Any) -> None:
        if isinstance(item, SequencePromise) and item._log is self.log:
            raise DeadlockError(f"{item.describe()} cannot be part of itself.")

    def append_out_of_order(self, item: Any) -> None:
        """Add an item (a promise), or the items of a sequence one by one, as soon as each is there.

        A promise is there when its first piece or its outcome is. Within one sequence the order stays.
        """
        self._check_open()
        self._check_no_circle(item)
        self._arriving += 1
        arrival, context = _Arrival(self, item), current_context()
        if context is None:
            arrival.advance()
        else:  # from a thread too: what is not there yet can only be waited for in the loop
            context.call_in_loop(arrival.advance)

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

    def __init__(self, appender: SequenceAppender[Any], source: Any) -> None:
        self._appender = appender
        self._reader: RopeReader[Any] | None = None
        self._item: Any = PENDING
        if isinstance(source, SequencePromise):
            self._reader = source.read_items()
        else:
            self._item = source

    def advance(self, _: object = None) -> None:
        """Carry over what is there, then be called again when there is more."""
        log = self._appender.log
        try:
            for _turn in range(PIECES_PER_TURN):
                if log.ended:  # abandoned meanwhile
                    return
                if self._item is PENDING and not self._take():
                    return
                if not self._is_there(self._item):
                    return
                if isinstance(self._item, Failure):
                    log.fail(self._item)
                else:
                    log.append(self._item)
                self._item = PENDING
        except BaseException as error:  # reading may be impossible here: no context, the wrong loop
            self._appender.fail(error)
            self._appender.arrived()
            return
        asyncio.get_running_loop().call_soon(self.advance)

    def _take(self) -> bool:
        """Take the next item from the source. False if it is not there, or will never be."""
        reader = self._reader
        if reader is None or (item := reader.poll()) is END:
            self._appender.arrived()
        elif item is BUSY:
            asyncio.get_running_loop().call_soon(self.advance)
        elif item is PENDING:
            reader.wait_point().call_when_grown(reader.seen, self.advance)
        else:
            self._item = reader.given(item)
            return True
        return False

    def _is_there(self, item: Any) -> bool:
        """Whether something of an item can be read; a promise starts to be there with its first piece."""
        if not isinstance(item, Promise) or item._log.items or item._log.ended:
            return True
        item._begin_reading()
        item._log.call_when_grown(0, self.advance)
        return False


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
        """Take what a foreign source gives and append its items. Only such a sequence has a task."""
        appender.begin()
        pieces: Any = None
        piece: Any = None
        try:
            await FIRST_STEP
            async with closing(streamer(promise)) as pieces:
                async for piece in pieces:
                    await self._append_flat(piece, appender)
                    if not len(appender.log.items) % PIECES_PER_TURN:
                        await asyncio.sleep(0)
            raise_if_cancelled()
        except BaseException as error:
            appender.fail(error, type(self).__name__)
            producer_failed(type(self).__name__, error)
            if isinstance(error, (asyncio.CancelledError, GeneratorExit)):
                raise
        finally:
            appender.close()
            promise.producer_ended()
            del self, streamer, promise, appender, pieces, piece  # as in `_run_resolver`

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
