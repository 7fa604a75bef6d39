"""Appenders: the write end of a stream, in the hands of whoever has something to say."""

import asyncio
import enum
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from miniagents.promising.context import PromisingContext, current_context
from miniagents.promising.errors import AppenderClosedError, AppenderNotOpenError, DeadlockError
from miniagents.promising.log import Failure, Log, capture
from miniagents.promising.tree import current_branch
from miniagents.promising.waiting import place_of_caller

PIECE = TypeVar("PIECE")


def wrong_piece(piece: object, piece_type: type[Any]) -> TypeError:
    """The error for a piece of the wrong type."""
    return TypeError(f"A piece of this stream is {piece!r}, which is no {piece_type.__name__}.")


class AppenderState(enum.Enum):
    """Where an appender is in its one-way life."""

    NOT_OPEN = "not open"
    OPEN = "open"
    CLOSED = "closed"


class StreamAppender(Generic[PIECE]):
    """Adds pieces to a stream by plain calls. Give it to a `StreamedPromise` as its streamer.

    Use it as a context manager, or call `open()` and `close()`. It can be made outside any context. An exception given
    as a piece is raised for the readers at its place. `capture_errors`: what happens to an exception in the block of
    `with appender:`. If true it becomes a piece and does not leave the block; if false (the default, unless the context
    says otherwise) it leaves the block, and the stream ends. A cancellation always leaves the block, and the readers
    get a `PromiseCancelledError`.

    Before opening every `append` raises `AppenderNotOpenError`, after closing `AppenderClosedError`. An appender that
    is still open when the context ends in which it was opened is closed then, with an error for its readers. One that
    was dropped, so that nobody can close it, is closed at once, with a `DeadlockError`.

    >>> import asyncio
    >>> from miniagents.promising import StreamedPromise
    >>> async def main():
    ...     appender = StreamAppender()
    ...     with appender:
    ...         appender.append(1).append(2)
    ...     print(await StreamedPromise(appender))
    >>> asyncio.run(main())
    (1, 2)
    """

    __slots__ = ("__weakref__", "_bound_at", "_capture_errors", "_context", "_piece_type", "_state", "log")

    def __init__(self, capture_errors: bool | None = None) -> None:
        self.log: Log[PIECE] = Log()
        self._piece_type: type[Any] = object
        self._capture_errors = capture_errors
        self._state = AppenderState.NOT_OPEN
        self._context: PromisingContext | None = None
        self._bound_at = ""

    @property
    def state(self) -> AppenderState:
        """Not open yet, open, or closed."""
        return self._state

    @property
    def is_arriving(self) -> bool:
        """Whether something that was added is still on its way into the stream."""
        return False

    @property
    def is_open(self) -> bool:
        """Whether pieces can be added."""
        return self._state is AppenderState.OPEN

    def open(self) -> Self:
        """Allow appending. Raises `AppenderClosedError` if it was closed before; a second call changes nothing.

        Opened by a producer, such as an agent, that fails without having closed it, it ends with a `DeadlockError` for
        its readers, unless something that the producer has started lives on. (A `with` block closes it itself.)
        """
        self._open()
        if (branch := current_branch.get()) is not None:
            branch.watch_open(self)
        return self

    def _open(self) -> None:
        if self._state is AppenderState.CLOSED:
            raise AppenderClosedError
        self._state = AppenderState.OPEN
        self.bind()

    def bind(self) -> None:
        """Have the current context close this when it ends. Called by `open()`, and for a promise of this stream."""
        if self._context is None and self._state is not AppenderState.CLOSED:
            self._context = current_context()
            if self._context is not None:
                self._context.open_ends[self] = None
                self._bound_at = place_of_caller()

    def begin(self) -> Self:
        """Like `open()`, for an owner that closes it on every path, so that no context has to watch it."""
        self._state = AppenderState.OPEN
        return self

    def append(self, piece: PIECE | BaseException) -> Self:
        """Add a piece; readers that wait are woken. Returns the appender. Never waits."""
        self._check_open()
        self._add(piece)
        return self

    def _add(self, piece: Any) -> None:
        """The same for an appender that is known to be open."""
        if isinstance(piece, BaseException):
            self.fail(piece)
        elif isinstance(piece, self._piece_type):
            self.log.append(piece)
        else:
            raise wrong_piece(piece, self._piece_type)

    def restrict(self, piece_type: type[Any]) -> None:
        """Refuse, from now on, pieces of another type by a `TypeError`, and so what is there already."""
        self._piece_type = piece_type
        for piece in self.log.items:
            if not isinstance(piece, (piece_type, Failure)):
                raise wrong_piece(piece, piece_type)

    def close(self) -> None:
        """End the stream. A second call changes nothing; an appender that was never opened is closed as well."""
        if self._state is not AppenderState.CLOSED:
            self._state = AppenderState.CLOSED
            if self._context is not None:
                self._context.open_ends.pop(self, None)
                self._context = None
            self._end()

    def fail(self, error: BaseException, who: str = "") -> None:
        """Give the readers `error` at this place, as the end of what `who` had to say."""
        self.log.fail(capture(error, who or "The producer of this stream", current_context()))

    def abandon(self, reason: BaseException) -> None:
        """End the stream with an error, because nobody can close it any more."""
        if not self.log.ended:  # a thread may have closed it just now
            self.log.fail(Failure(reason))
        self.close()

    def __del__(self) -> None:
        # Bound and not closed: somebody may read the stream, and nobody can write it any more.
        if self._context is not None and self._context.active:
            what = f"The appender that was opened, or given to a stream, at {self._bound_at}"
            self.abandon(DeadlockError(f"{what} was dropped and never closed: use `with appender:`."))

    def _end(self) -> None:
        self.log.end()

    def _check_open(self) -> None:
        if self._state is not AppenderState.OPEN:
            raise AppenderNotOpenError if self._state is AppenderState.NOT_OPEN else AppenderClosedError

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        swallow = False
        if exc is not None and self._state is AppenderState.OPEN:
            if isinstance(exc, (asyncio.CancelledError, GeneratorExit)):
                self.fail(exc)
            elif self._captures():
                self.fail(exc)
                swallow = True
        self.close()
        return swallow

    def _captures(self) -> bool:
        if self._capture_errors is not None:
            return self._capture_errors
        return self._context is not None and self._context.appenders_capture_errors_by_default

    async def __call__(self, _promise: Any = None) -> AsyncIterator[PIECE]:
        """The pieces from the first on: an appender is itself a streamer."""
        log = self.log
        seen = 0
        while True:
            while seen < len(log.items):
                piece = log.items[seen]
                seen += 1
                if isinstance(piece, Failure):
                    piece.throw()
                yield piece
            if log.ended:
                return
            await log.until(log.waiter(seen))
