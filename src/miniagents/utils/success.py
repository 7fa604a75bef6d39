"""Whether a call has succeeded: the one question that all combinators ask.

What was shown cannot be taken back, so a call that streams can be replaced only until its first token. Hence the two
meanings: a call has succeeded when its first token is there, and from then on it is passed on with whatever comes; or,
with `whole`, when all of it is there and nothing has gone wrong.

The replies are looked at with readers that raise nothing. An error that is passed on still counts as unread, and one
that is handled is not kept alive by the frames in which it was met.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

from miniagents.agents import InteractionContext
from miniagents.messages import ErrorMessage, MessagePromise, MessageSequence, MessageSequencePromise
from miniagents.promising import MiniAgentsError
from miniagents.promising.errors import OrderlyEnd
from miniagents.promising.log import Failure
from miniagents.promising.sentinels import END

ErrorClasses: TypeAlias = type[Exception] | tuple[type[Exception], ...]
"""As in an `except` clause."""

Wrong: TypeAlias = Failure | ErrorMessage
"""What has gone wrong. An error that has arrived as a message is one as well."""


class AllFailedError(MiniAgentsError, ExceptionGroup[Exception]):
    """All agents that were asked have failed. `exceptions` has the error of each, in the order in which they came.

    One that has arrived as a message (`errors_as_messages`) is there as a `MiniAgentsError` with its text.
    """

    def derive(self, excs: Sequence[Any], /) -> ExceptionGroup[Any]:
        """As `split` and `except*` want it."""
        return AllFailedError(self.message, excs)

    @staticmethod
    def of(failed: "list[tuple[str, Wrong]]") -> "AllFailedError":
        """The error for these agents, by alias, and what was wrong with each."""
        told = "; ".join(f"{alias}: {describe(wrong)}" for alias, wrong in failed)
        return AllFailedError(
            f"All that were asked have failed ({told})", [_as_exception(wrong) for _, wrong in failed]
        )


async def what_is_wrong(replies: MessageSequencePromise, whole: bool) -> Wrong | None:
    """Wait until `replies` have succeeded, which gives `None`, or failed. Starts them, as every reader does."""
    items = replies.read_items()
    while (item := await items.next_item()) is not END:
        if isinstance(item, Failure):
            return item
        pieces = item.read_pieces()
        while (piece := await pieces.next_piece()) is not END:
            if isinstance(piece, Failure):
                return piece
            if piece and not whole:
                return await _error_from_the_start(item, piece)
    return await _error_in(replies)


async def _error_from_the_start(promise: MessagePromise, first_token: str) -> Wrong | None:
    """The error that this message is, unless something else was said in it before.

    A message that breaks off becomes an `ErrorMessage` too, perhaps before anybody has looked at its first token.
    """
    if not issubclass(promise.message_class, ErrorMessage):
        return None
    wrong = await _error_in(promise)
    return wrong if isinstance(wrong, ErrorMessage) and str(wrong) == first_token else None


async def _error_in(messages: MessageSequencePromise | MessagePromise) -> Wrong | None:
    for outcome in await MessageSequence.turn_into_sequence_promise(messages).outcomes():
        if isinstance(outcome, (Failure, ErrorMessage)):
            return outcome
    return None


def is_handled(wrong: Wrong | None, on: ErrorClasses) -> bool:
    """Whether something is wrong, and in a way that another try is meant for. From then on the error counts as read."""
    if isinstance(wrong, ErrorMessage):
        return wrong.error_type in _names(on if isinstance(on, tuple) else (on,))
    if wrong is None or not isinstance(wrong.exception, on) or isinstance(wrong.exception, OrderlyEnd):
        return False
    wrong.observed = True
    return True


def deliver(ctx: InteractionContext, replies: MessageSequencePromise, wrong: Wrong | None, whole: bool) -> None:
    """Reply with what a call has said and what was wrong with it; with `whole`, with no half of an answer."""
    if wrong is None or not whole:
        ctx.reply(replies)
    else:
        deliver_error(ctx, wrong)


def deliver_error(ctx: InteractionContext, wrong: Wrong) -> None:
    """Reply with what was wrong. It is up to those who read the reply whether it counts as read."""
    ctx.reply(wrong.exception if isinstance(wrong, Failure) else wrong)


def describe(wrong: Wrong | None) -> str:
    """What was wrong, in a line for people."""
    if isinstance(wrong, Failure):
        return str(ErrorMessage.of(wrong.exception))
    return str(wrong)


def retry_after(wrong: Wrong | None) -> float:
    """The seconds for which whoever has failed wants to be left alone; 0 if it has not said so."""
    seconds = getattr(wrong.exception, "retry_after", None) if isinstance(wrong, Failure) else None
    if isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and seconds > 0:
        return float(seconds)
    return 0.0


def check_error_classes(on: Any, name: str) -> None:
    """Raise `TypeError` if `on` is not what an `except Exception` might name."""
    classes = on if isinstance(on, tuple) else (on,)
    for one in classes:
        if not isinstance(one, type) or not issubclass(one, Exception):
            raise TypeError(f"`{name}(on=...)` is a class of `Exception`s or a tuple of such classes, not {one!r}.")
        if issubclass(one, OrderlyEnd):
            raise TypeError(f"`{name}(on={one.__name__})`: that is the end of something in good order, and no failure.")
    if not classes:
        raise ValueError(f"`{name}(on=())` would never do anything: name a class of exceptions.")


def _as_exception(wrong: Wrong) -> Exception:
    exception = wrong.exception if isinstance(wrong, Failure) else None
    return exception if isinstance(exception, Exception) else MiniAgentsError(describe(wrong))


def _names(classes: tuple[type[Exception], ...]) -> set[str]:
    """The names of these classes and of all below them: a message knows the class of its error by name only."""
    names: set[str] = set()
    rest: list[type] = list(classes)
    while rest:
        one = rest.pop()
        names.add(one.__name__)
        rest.extend(one.__subclasses__())
    return names
