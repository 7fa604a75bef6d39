"""Promises: values that will be there, and values that are still growing. Both are faces of a log.

The path of one piece: the producer's task pulls it out of the streamer and appends it to the log; the readers that wait
are woken and take it from there with their own cursors. No reader ever runs the producer: the first one may *start*
its task (when `start_asap=False`), and then waits like everybody else.

A `StreamedPromise` whose whole value follows from its pieces has no second task: whoever asks first when the log has
ended makes the value, and it is kept.
"""

import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterable
from typing import Any, Generic, Literal, TypeAlias, TypeVar, cast

from miniagents.promising.appender import StreamAppender
from miniagents.promising.context import PromisingContext, current_context
from miniagents.promising.errors import NoActiveContextError, PromiseCancelledError
from miniagents.promising.log import Failure, Log, capture
from miniagents.promising.sentinels import END, UNSET, Sentinel

T_co = TypeVar("T_co", covariant=True)
PIECE = TypeVar("PIECE")
PIECE_co = TypeVar("PIECE_co", covariant=True)

# Called with the promise and not bound to it: a promise that nobody ever starts must not keep itself alive.
Producer: TypeAlias = Callable[[Any], Coroutine[Any, Any, None]]


class Promise(Generic[T_co]):
    """A value that will be there. Await it any number of times, by any number of readers, early or late.

    - `resolver`: `async (promise) -> value`, called once, in a task of the context in which the promise was made (or,
      when it was made outside any context, in which it is first read). A subclass may override `_resolver` instead.
    - `prefill_result`: the value, if it is known already. An exception given here is raised when the promise is read.
    - `start_asap`: start the resolver at the next task switch (`True`) or when somebody reads (`False`); by default as
      the context says.

    Awaiting raises what the resolver raised, the same exception for every reader. Cancelling a reader changes nothing
    for the others. A resolver that is cancelled gives its readers a `PromiseCancelledError`. Without any context the
    first reader gets a `NoActiveContextError`.

    >>> import asyncio
    >>> async def answer(promise):
    ...     return 42
    >>> async def main():
    ...     async with PromisingContext():
    ...         promise = Promise(answer)
    ...         print(await promise, await promise)
    >>> asyncio.run(main())
    42 42
    """

    __slots__ = ("__weakref__", "_context", "_log", "_observed", "_producer")

    def __init__(
        self,
        resolver: "Callable[[Promise[Any]], Awaitable[T_co]] | None" = None,
        *,
        prefill_result: T_co | BaseException | Sentinel = UNSET,
        start_asap: bool | None = None,
    ) -> None:
        if prefill_result is not UNSET:
            self._setup(ended_log([prefill_result]), None, start_asap)
            return
        if resolver is None:
            if type(self)._resolver is Promise._resolver:
                raise TypeError("A promise needs a `resolver`, a `prefill_result`, or a subclass with a `_resolver`.")
            self._setup(Log(), lambda this: this._run_resolver(type(this)._resolver), start_asap)
        else:
            self._setup(Log(), lambda this: this._run_resolver(resolver), start_asap)

    async def _resolver(self) -> T_co:
        """To be overridden by a subclass that is made without a `resolver`."""
        raise NotImplementedError

    def _setup(
        self, log: Log[Any], producer: Producer | None, start_asap: bool | None, context: PromisingContext | None = None
    ) -> None:
        # The object is complete before anything is started: an eager task may run to its end inside `_start`.
        self._log = log
        self._producer = producer
        self._context: PromisingContext | None = None
        self._observed = True
        context = context or current_context()
        if context is None:
            return
        self._bind(context)
        if producer is not None and (context.start_everything_asap_by_default if start_asap is None else start_asap):
            self._start(context)

    def _bind(self, context: PromisingContext) -> None:
        self._context = context
        if context.has_observers:
            self._observed = False
            if self._producer is None:
                self._start_observing(context)

    def _start(self, context: PromisingContext) -> None:
        producer, self._producer = self._producer, None
        if producer is None:
            return
        try:
            context.spawn(producer(self), name=self._describe(), on_done=self._producer_done)
        except BaseException:
            self._producer = producer
            raise
        if not self._observed:
            self._start_observing(context)

    def _producer_done(self, _: object) -> None:
        if not self._log.ended:
            # Cancelled before its first step: nothing in the coroutine has run that could have ended the log.
            self._log.append(Failure(PromiseCancelledError(self._describe())))
            self._log.end()

    def _begin_reading(self) -> None:
        """Called by a reader that has to wait: binds and starts what is not started yet."""
        context = self._context
        if self._producer is not None:
            if context is None:
                context = current_context()
                if context is None:
                    raise NoActiveContextError(f"Reading {self._describe()}")
                self._bind(context)
            self._start(context)
        elif context is not None:
            context.check_loop(self._describe())

    async def _run_resolver(self, resolver: Callable[[Any], Awaitable[Any]]) -> None:
        log = self._log
        try:
            log.append(await resolver(self))
        except BaseException as error:
            log.append(capture(error, self._describe(), current_context()))
            if not isinstance(error, (Exception, KeyboardInterrupt, SystemExit)):
                raise
        finally:
            log.end()

    # ------------------------------------------------------------------ reading

    def __await__(self) -> Generator[Any, Any, T_co]:
        return self._aresolve().__await__()

    async def aresolve(self) -> T_co:
        """The same as awaiting the promise."""
        return await self._aresolve()

    async def _aresolve(self) -> T_co:
        outcome = await self._settle()
        if isinstance(outcome, Failure):
            outcome.throw()
        return outcome

    async def _settle(self) -> T_co | Failure:
        """Wait for the outcome and give it, an error as a `Failure` that does not count as read yet."""
        await self._wait_until_ended()
        outcome = self._peek()
        assert not isinstance(outcome, Sentinel)  # the log has ended
        return outcome

    async def _wait_until_ended(self) -> None:
        log = self._log
        while not log.ended:
            self._begin_reading()
            await log.wait(len(log.items))

    def _peek(self) -> T_co | Failure | Sentinel:
        """The outcome if it is there, else `UNSET`."""
        if not self._log.ended:
            return UNSET
        return self._log.items[0]

    @property
    def resolved(self) -> bool:
        """Whether the outcome, a value or an error, is there, so that awaiting does not wait."""
        return self._peek() is not UNSET

    # ------------------------------------------------------------------ telling the handlers

    def _start_observing(self, context: PromisingContext) -> None:
        self._observed = True
        outcome = self._peek()
        if outcome is UNSET:
            context.spawn(self._observe(context), name="observer")
        else:
            self._tell_handlers(context, outcome)

    async def _observe(self, context: PromisingContext) -> None:
        self._tell_handlers(context, await self._settle())

    def _tell_handlers(self, context: PromisingContext, outcome: object) -> None:
        context.promise_resolved(self, outcome.exception if isinstance(outcome, Failure) else outcome)

    # ------------------------------------------------------------------ speaking about it

    def _describe(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        outcome = self._peek()
        state = "failed" if isinstance(outcome, Failure) else "pending" if outcome is UNSET else "resolved"
        return f"<{self._describe()} {state}>"


class StreamedPromise(Promise[T_co], Generic[PIECE_co, T_co]):
    """A value that is growing: pieces that are read while they are made, and the whole when all of them are there.

    - `streamer`: `(promise) -> async iterator` of pieces, called once, or a `StreamAppender`. A subclass may override
      `_streamer` instead. An exception that it raises, or gives as a piece, is raised at its place for every reader,
      and then the stream ends.
    - `resolver`: `async (promise) -> whole`; without one the whole is the tuple of all pieces.
    - `prefill_pieces`, `prefill_result`: what is known already. A whole without pieces is streamed as one piece.

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

    __slots__ = ("_result", "_whole")

    _piece_type: type[Any] = object
    """What the pieces must be. A piece of another type is a `TypeError` at its place."""

    def __init__(
        self,
        streamer: "Callable[[StreamedPromise[Any, Any]], AsyncIterable[Any]] | StreamAppender[Any] | None" = None,
        resolver: "Callable[[StreamedPromise[Any, Any]], Awaitable[T_co]] | None" = None,
        *,
        prefill_pieces: Iterable[PIECE_co | BaseException] | Sentinel = UNSET,
        prefill_result: T_co | BaseException | Sentinel = UNSET,
        start_asap: bool | None = None,
    ) -> None:
        self._result: T_co | Failure | Sentinel = UNSET
        self._whole: Promise[T_co] | None = None
        log: Log[Any] = Log()
        producer: Producer | None = None
        if not isinstance(prefill_pieces, Sentinel):
            log = ended_log(prefill_pieces)
        elif prefill_result is not UNSET and streamer is None:
            log = ended_log([prefill_result])
        elif isinstance(streamer, StreamAppender):
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
            self._result = _as_outcome(prefill_result)
        self._setup(log, producer, start_asap)
        if self._result is UNSET:
            if resolver is not None:
                self._whole = _Whole(lambda _: resolver(self), start_asap=start_asap)
            elif type(self)._resolver is not StreamedPromise._resolver:
                self._whole = _Whole(lambda _: self._resolver(), start_asap=start_asap)

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
        log = self._log
        piece_type = self._piece_type
        try:
            async with closing(streamer(self)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, BaseException):
                        self._record_error(piece)
                    elif isinstance(piece, piece_type):
                        log.append(piece)
                    else:
                        wanted = piece_type.__name__
                        raise TypeError(f"A piece of a {type(self).__name__} is {piece!r}, which is no {wanted}.")
        except BaseException as error:
            self._record_error(error)
            if not isinstance(error, (Exception, KeyboardInterrupt, SystemExit)):
                raise
        finally:
            log.end()

    def _record_error(self, error: BaseException) -> None:
        self._log.append(capture(error, self._describe(), current_context()))

    def __aiter__(self) -> AsyncIterator[PIECE_co]:
        return self.read_pieces()

    def read_pieces(self) -> "PieceReader[PIECE_co]":
        """A reader of its own, from the first piece on. `async for` over the promise makes one too."""
        return PieceReader(self)

    async def _settle(self) -> T_co | Failure:
        if self._whole is not None:
            return await self._whole._settle()
        if self._result is UNSET:
            await self._wait_until_ended()
        outcome = self._peek()
        assert not isinstance(outcome, Sentinel)  # the log has ended
        return outcome

    def _peek(self) -> T_co | Failure | Sentinel:
        if self._whole is not None:
            return self._whole._peek()
        if self._result is UNSET and self._log.ended:
            self._result = self._make_result()
        return self._result

    def _make_result(self) -> T_co | Failure:
        items = self._log.items
        for item in items:
            if isinstance(item, Failure):
                return item
        try:
            return self._assemble(items)
        except Exception as error:
            return capture(error, self._describe(), self._context)


class _Whole(Promise[T_co]):
    """The whole of a `StreamedPromise` that has a resolver. The handlers hear of the outer promise only."""

    __slots__ = ()

    def _bind(self, context: PromisingContext) -> None:
        self._context = context


class PieceReader(Generic[PIECE]):
    """One reader's place in a stream. A class and not a generator: breaking off leaves nothing behind to be closed."""

    __slots__ = ("_log", "_promise", "_seen")

    def __init__(self, promise: StreamedPromise[PIECE, Any]) -> None:
        self._promise = promise
        self._log: Log[PIECE] = promise._log
        self._seen = 0

    def __aiter__(self) -> "PieceReader[PIECE]":
        return self

    async def __anext__(self) -> PIECE:
        seen = self._seen
        if seen < len(self._log.items):  # no coroutine for what is there
            self._seen = seen + 1
            piece = self._log.items[seen]
        else:
            found = await self.next_piece()
            if found is END:
                raise StopAsyncIteration
            piece = found
        if isinstance(piece, Failure):
            self._log = ended_log(())  # this reader is through, whatever came after the error
            self._seen = 0
            piece.throw()
        return piece

    async def next_piece(self) -> PIECE | Failure | Literal[Sentinel.END]:
        """The next piece, an error as a `Failure` that does not count as read by this, or `END`. Waits for it."""
        log = self._log
        seen = self._seen
        while seen >= len(log.items):
            if log.ended:
                return END
            self._promise._begin_reading()
            await log.wait(seen)
        self._seen = seen + 1
        return log.items[seen]


@contextlib.asynccontextmanager
async def closing(pieces: AsyncIterable[PIECE]) -> AsyncIterator[AsyncIterable[PIECE]]:
    """Close a foreign stream, if it can be closed, in the task that read it and not whenever it is collected."""
    try:
        yield pieces
    finally:
        if (aclose := getattr(pieces, "aclose", None)) is not None:
            await aclose()


def ended_log(pieces: Iterable[Any]) -> Log[Any]:
    """A log that is complete from the start; exceptions among the pieces become failures."""
    log: Log[Any] = Log()
    log.items.extend(_as_outcome(piece) for piece in pieces)
    log.ended = True
    return log


def _as_outcome(value: Any) -> Any:
    return Failure(value) if isinstance(value, BaseException) else value
