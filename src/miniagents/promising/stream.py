"""Streamed promises: values that are still growing, and their readers.

The path of one piece: the producer's task pulls it out of the streamer and appends it to the log; the readers that wait
are woken and take it from there, each with a place of its own.

A `StreamedPromise` whose whole value follows from its pieces has no second task: whoever asks first when the log has
ended makes the value, and it is kept.
"""

import asyncio
import contextlib
import itertools
import threading
import weakref
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from typing import Any, Final, Generic, Literal, TypeVar, cast

from miniagents.promising.appender import StreamAppender, wrong_piece
from miniagents.promising.backpressure import Backpressure, refuse_to_hold
from miniagents.promising.context import PromisingContext
from miniagents.promising.log import Failure, Log, as_failure, capture, ended_log, producer_failed
from miniagents.promising.promise import Producer, Promise, Wait, growth, wait_as_reader
from miniagents.promising.sentinels import END, UNSET, Sentinel
from miniagents.promising.tasks import FIRST_STEP
from miniagents.promising.tree import Cancellable, Cancellation, raise_if_cancelled

T_co = TypeVar("T_co", covariant=True)
PIECE = TypeVar("PIECE")
PIECE_co = TypeVar("PIECE_co", covariant=True)

# How many pieces are moved in one stretch before other tasks get a turn. About a millisecond.
PIECES_PER_TURN: Final = 1000


class StreamedPromise(Promise[T_co], Generic[PIECE_co, T_co]):
    """A value that is growing: pieces that are read while they are made, and the whole when all of them are there.

    - `streamer`: `(promise) -> async iterator` of pieces, called once, or a `StreamAppender`. A subclass may override
      `_streamer` instead. An exception that it raises, or gives as a piece, is raised at its place for every reader,
      and then the stream ends.
    - `resolver`: `async (promise) -> whole`; without one the whole is the tuple of all pieces.
    - `prefill_pieces`, `prefill_result`: what is known already. A whole without pieces is streamed as one piece.
    - `max_ahead`: how many pieces the streamer may be ahead of the reader that has taken most; then it is not asked for
      more until that one goes on. By default as the context says; `math.inf` for no bound. Awaiting the whole takes all
      pieces, and so does whoever waits for the context to finish: then nobody is held back. What was said is kept in
      any case, for readers to come.

    `async for piece in promise` starts from the first piece each time, for any number of readers. Everything else is
    as in `Promise`.

    >>> import asyncio
    >>> async def count(promise):
    ...     for number in range(3):
    ...         yield number
    >>> async def main():
    ...     async with PromisingContext():
    ...         promise = StreamedPromise(count)
    ...         print([number async for number in promise], await promise)
    >>> asyncio.run(main())
    [0, 1, 2] (0, 1, 2)
    """

    __slots__ = ("_backpressure", "_result", "_whole")

    _piece_type: type[Any] = object
    """What the pieces must be. A piece of another type is a `TypeError` at its place."""

    def __init__(
        self,
        streamer: "Callable[[StreamedPromise[Any, Any]], AsyncIterable[Any]] | StreamAppender[Any] | None" = None,
        resolver: "Callable[[StreamedPromise[Any, Any]], Awaitable[T_co]] | None" = None,
        prefill_pieces: Iterable[PIECE_co | BaseException] | Sentinel = UNSET,
        prefill_result: T_co | BaseException | Sentinel = UNSET,
        start_asap: bool | None = None,
        max_ahead: float | None = None,
    ) -> None:
        self._backpressure: Backpressure | None = None if max_ahead is None else Backpressure(max_ahead)
        self._result: T_co | Failure | Sentinel = UNSET
        self._whole: Promise[T_co] | None = None
        log: Log[Any] = Log()
        producer: Producer | None = None
        if not isinstance(prefill_pieces, Sentinel):
            log = ended_log(prefill_pieces)
        elif prefill_result is not UNSET and streamer is None:
            log = ended_log([prefill_result])
        elif isinstance(streamer, StreamAppender):
            refuse_to_hold(max_ahead)
            streamer.bind()
            log = streamer.log
        elif streamer is not None:
            producer = lambda this: this._run_streamer(streamer)  # noqa: E731 (as below)
        elif type(self)._streamer is not StreamedPromise._streamer:
            producer = lambda this: this._run_streamer(type(this)._streamer)  # noqa: E731 (no name would say more)
        else:
            raise TypeError(
                "A streamed promise needs a `streamer`, `prefill_pieces`, or a subclass with a `_streamer`."
            )
        if not isinstance(prefill_result, Sentinel):
            self._result = (
                as_failure(prefill_result, "What was given")
                if isinstance(prefill_result, BaseException)
                else prefill_result
            )
        if self._result is UNSET:
            if resolver is not None:
                self._whole = _Whole(self, resolver, start_asap)
            elif type(self)._resolver is not StreamedPromise._resolver:
                self._whole = _Whole(self, type(self)._resolver, start_asap)
        self._setup(log, producer, start_asap)

    def _streamer(self) -> AsyncIterator[PIECE_co]:
        """To be overridden by a subclass that is made without a `streamer`."""
        raise NotImplementedError

    async def _resolver(self) -> T_co:
        """May be overridden by a subclass whose whole is not made by `_assemble`."""
        raise NotImplementedError

    def _assemble(self, pieces: list[Any]) -> T_co:
        """The whole, made of all pieces, none of which is an error. Called once, without waiting."""
        return cast("T_co", tuple(pieces))  # that is what T is when nobody said how to make it

    async def _run_streamer(self, streamer: Callable[[Any], AsyncIterable[Any]]) -> None:
        log, context = self._log, self._context
        assert context is not None  # it was started in one
        if self._backpressure is None and context.max_ahead_by_default is not None:
            self._backpressure = Backpressure(context.max_ahead_by_default)
        backpressure = self._backpressure
        try:
            await FIRST_STEP
            async with closing(streamer(self)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, BaseException):
                        self._record_error(piece)
                        break
                    if not isinstance(piece, self._piece_type):
                        raise wrong_piece(piece, self._piece_type)
                    log.append(piece)
                    if not len(log.items) % PIECES_PER_TURN:
                        await asyncio.sleep(0)
                    if backpressure is not None:
                        await backpressure.wait_for_readers(len(log.items), context.held_back)
            raise_if_cancelled()
        except BaseException as error:
            self._record_error(error)
            producer_failed(self._describe(), error)
            if isinstance(error, (asyncio.CancelledError, GeneratorExit)):
                raise
        finally:
            log.end()
            self.producer_ended()
            del log, self, streamer  # as in `_run_resolver`; a streamer may have what it reads

    def __aiter__(self) -> AsyncIterator[PIECE_co]:
        return self.read_pieces()

    def read_pieces(self) -> "PieceReader[PIECE_co]":
        """A reader of its own, from the first piece on. `async for` over the promise makes one too."""
        # Of one that was not started yet it is the context that will say whether it is bounded.
        may_be_bounded = self._backpressure is not None or self._producer is not None
        return _PacingReader(self) if may_be_bounded and not self._log.ended else PieceReader(self)

    def _taken(self, seen: int) -> None:
        if self._backpressure is not None:
            self._backpressure.taken(seen)

    def _cancel_producer(self, why: Cancellation) -> list[Cancellable]:
        if self._whole is not None:
            self._whole._cancel_producer(why)
        return super()._cancel_producer(why)

    async def _settle(self, wait: "Wait") -> T_co | Failure:
        if self._whole is not None:
            if self._backpressure is not None and wait is wait_as_reader:
                self._backpressure.take_all()  # the resolver may wait for the stream without reading it
            return await self._whole._settle(wait)
        if self._result is UNSET:
            await self._wait_until_decided(wait)
        outcome = self._peek()
        assert not isinstance(outcome, Sentinel)  # it is decided
        return outcome

    def _peek(self) -> T_co | Failure | Sentinel:
        if self._whole is not None:
            return self._whole._peek()
        if self._result is UNSET:
            if self._log.failure is not None:
                self._result = self._log.failure
            elif self._log.ended:
                self._result = self._make_result()
        return self._result

    def _make_result(self) -> T_co | Failure:
        try:
            return self._assemble(self._log.items)
        except Exception as error:
            return capture(error, self._describe(), self._context)


class _Whole(Promise[T_co]):
    """The whole of a `StreamedPromise` that has a resolver. The handlers hear of the outer promise only."""

    __slots__ = ()

    def __init__(
        self, owner: StreamedPromise[Any, T_co], resolver: Callable[[Any], Awaitable[T_co]], start_asap: bool | None
    ) -> None:
        # Weak, because the owner has this promise. Whoever starts it does so by way of the owner, which then is alive.
        owner_ref = weakref.ref(owner)

        def produce(this: Promise[Any]) -> Coroutine[Any, Any, None]:
            owner = owner_ref()
            return this._run_resolver(lambda _: resolver(owner))

        self._setup(Log(), produce, start_asap)

    def _be_observed(self, context: PromisingContext) -> None:
        """Nobody is told of it."""


class PieceReader(Generic[PIECE]):
    """One reader's place in a stream. A class and not a generator: breaking off leaves nothing behind to be closed."""

    __slots__ = ("_index", "_items", "_log", "_passed", "_promise", "_waits_in")

    def __init__(self, promise: StreamedPromise[PIECE, Any]) -> None:
        self._promise = promise
        self._log: Log[PIECE] = promise._log
        # The list of the log; of a log that was packed, so many of its items at a time.
        self._items: list[PIECE | Failure] = self._log.items if type(self._log.items) is list else []
        self._index = 0
        self._passed = 0
        # The thread whose loop it has waited in before, which thus is the right one. To ask which loop runs is a system
        # call before Python 3.12.
        self._waits_in = 0

    def __aiter__(self) -> "PieceReader[PIECE]":
        return self

    async def __anext__(self) -> PIECE:
        while self._index >= len(self._items):
            if self._log.ended:
                if not self._unpack():
                    raise StopAsyncIteration
                await asyncio.sleep(0)  # a reader that never has to wait would hold the loop
                continue
            grown = self._growth()
            try:  # as `Log.until` does, without a coroutine for each piece
                await grown
            except BaseException:
                self._log.forget(grown)
                raise
        piece = self._items[self._index]
        self._index += 1
        if not isinstance(piece, Failure):
            return piece
        self._log = ended_log(())  # this reader is through, whatever came after the error
        self._items = self._log.items
        self._index = 0
        del self  # as in `_run_resolver`
        try:
            piece.throw()
        finally:
            del piece

    async def next_piece(self) -> PIECE | Failure | Literal[Sentinel.END]:
        """The next piece, an error as a `Failure` that does not count as read by this, or `END`. Waits for it."""
        while self._index >= len(self._items):
            if not self._log.ended:
                await self._log.until(self._growth())
            elif self._unpack():
                await asyncio.sleep(0)
            else:
                return END
        self._index += 1
        return self._items[self._index - 1]

    def take_ready(self) -> list[PIECE]:
        """The next pieces that are there already, at most `PIECES_PER_TURN` of them, none behind an error. Never waits.

        Whoever goes on and on with this has to give other tasks a turn.
        """
        ready = self._items[self._index : self._index + PIECES_PER_TURN]
        if self._log.failure is not None:
            ready = list(itertools.takewhile(lambda piece: not isinstance(piece, Failure), ready))
        self._index += len(ready)
        return cast("list[PIECE]", ready)

    def _growth(self) -> "asyncio.Future[None]":
        """A waiter of the log, for the next piece."""
        context = self._promise._context
        if context is not None and self._waits_in == threading.get_ident():
            return context.waits.waiter(self._promise, self._passed + self._index, context._loop)
        grown = growth(self._promise, self._passed + self._index)
        self._waits_in = threading.get_ident()
        return grown

    @property
    def seen(self) -> int:
        """How many pieces this reader has taken."""
        return self._passed + self._index

    def _unpack(self) -> bool:
        """Go on among the items of a packed log. False if there are no more."""
        seen = self.seen
        items = self._log.items[seen : seen + PIECES_PER_TURN]
        if items:
            self._items, self._passed, self._index = items, seen, 0
        return bool(items)


class _PacingReader(PieceReader[PIECE]):
    """A reader whose producer waits when it is too far ahead."""

    __slots__ = ()

    async def __anext__(self) -> PIECE:
        try:
            piece = await super().__anext__()
        except BaseException:
            del self  # as in `_run_resolver`
            raise
        self._promise._taken(self.seen)
        return piece

    async def next_piece(self) -> PIECE | Failure | Literal[Sentinel.END]:
        """The next piece, as in every reader."""
        piece = await super().next_piece()
        self._promise._taken(self.seen)
        return piece

    def take_ready(self) -> list[PIECE]:
        """The pieces that are there, as in every reader."""
        pieces = super().take_ready()
        self._promise._taken(self.seen)
        return pieces


@contextlib.asynccontextmanager
async def closing(pieces: AsyncIterable[PIECE]) -> AsyncIterator[AsyncIterable[PIECE]]:
    """Close a foreign stream, if it can be closed, in the task that read it and not whenever it is collected."""
    try:
        yield pieces
    finally:
        if (aclose := getattr(pieces, "aclose", None)) is not None:
            await aclose()
