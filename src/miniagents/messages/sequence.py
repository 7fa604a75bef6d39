"""Sequences of messages, and what may be given where messages are wanted."""

import asyncio
import inspect
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from typing import Any, Final, Self, TypeAlias, Union, cast

from pydantic import BaseModel

from miniagents.messages.elements import Elements, Texts
from miniagents.messages.message import (
    ErrorMessage,
    Message,
    MessagePromise,
    errors_arrive_as_messages,
)
from miniagents.messages.usage import Usage, spent
from miniagents.promising.context import current_context
from miniagents.promising.errors import UnresolvedPromiseError
from miniagents.promising.flatten import EXPAND, SKIP, flatten
from miniagents.promising.log import Failure, Log, capture
from miniagents.promising.promise import Producer, Promise, Wait, wait_as_reader
from miniagents.promising.rope import SequencePromise
from miniagents.promising.sentinels import Sentinel
from miniagents.promising.sequence import FlatSequence, SequenceAppender
from miniagents.promising.stream import PIECES_PER_TURN

# By their classes alone. Less than a millisecond.
_LOOKED_AT_AT_ONCE: Final = 20_000

MessageType: TypeAlias = Union[  # built by `Union`, which takes the forward references of a recursive alias
    str,
    Mapping[str, Any],
    BaseModel,
    BaseException,
    MessagePromise,
    "MessageSequencePromise",
    Iterable["MessageType"],
    AsyncIterable["MessageType"],
    None,
]
"""What can be sent: texts, dicts, pydantic models, `Message`s, promises of messages and of sequences of messages,
exceptions (raised where they are read), `None` (nothing), and iterables and async iterables of these, nested anyhow."""


class MessageSequencePromise(SequencePromise[MessagePromise, tuple[Message, ...]], Elements):
    """A sequence of messages that is still growing.

    `async for promise in sequence` gives `MessagePromise`s as they come; `await sequence` gives the tuple of all
    `Message`s. Both any number of times, by any number of readers, early or late. `items`, `lines` and `sentences` read
    what the texts of the answers among them make up. An error is raised where a reader reaches it. Dropping a reader,
    or cancelling it, changes nothing for the producer and the other readers.
    """

    __slots__ = ()

    def given(self, place: int) -> Any:
        """The promise of a message. That of one that was sent without is made for all readers, of any time.

        So it belongs to no context. (Threads that come to it at the same moment may get two, of one message.)
        """
        items: list[Any] = self._log.items
        if not isinstance(item := items[place], MessagePromise):
            item = items[place] = MessagePromise(item, in_context=False)
        return item

    async def _settle_whole(self, wait: Wait) -> tuple[Message, ...] | Failure:
        items: list[Any] = self._log.items
        if self._log.ended and items and not isinstance(items[0], (Promise, Failure)):
            messages = tuple(items)  # who iterates meanwhile puts promises into the list
            if await _are_messages(messages):
                return messages
        return await super()._settle_whole(wait)

    def _peek_item(self, item: Any, reader: object = None) -> Message | Failure | Sentinel:  # noqa: ARG002 (see there)
        outcome: Message | Failure | Sentinel = item._peek() if isinstance(item, MessagePromise) else item
        return outcome

    async def _settle_item(self, item: Any, wait: Wait) -> Message | Failure:
        if isinstance(item, Failure):
            return item
        message: Message | Failure = await item._settle(wait)
        return message

    def usage(self) -> Usage:
        """What this call has spent so far, with everything below it in the call tree. Never waits.

        It is still there when all has ended, or was cancelled. What is no call, or has not started, has spent nothing.
        """
        return Usage() if self._branch is None else spent(self._branch.account)

    def __str__(self) -> str:
        """The texts of all messages, with blank lines between, once they were awaited; for an f-string."""
        outcome = self._peek()
        if isinstance(outcome, Failure):
            outcome.throw()
        if isinstance(outcome, Sentinel):
            # All of them may be there: that is known only to who has walked through them.
            raise UnresolvedPromiseError(f"The text of {self.describe()}", "is not known before it was awaited")
        return "\n\n".join(map(str, outcome))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"A sequence of messages has no attribute {name!r}. `await` it first, which gives a tuple of messages, or "
            "read it with `async for`.",
            name=name,  # with it Python does not add a suggestion of its own, such as `_texts`
        )

    async def _texts(self) -> Texts:
        try:
            async for promise in self:
                if promise.message_class.is_answer:
                    yield promise
        finally:
            del self  # as in `Promise._run_resolver`

    async def outcomes(self, wait: Wait = wait_as_reader) -> list[Message | Failure]:
        """What each message has become, in order, whatever failed. The failures do not count as read."""
        outcomes: list[Message | Failure] = []
        for item in await self.settle_items(wait):
            outcome = self._peek_item(item)
            outcomes.append(await self._settle_item(item, wait) if isinstance(outcome, Sentinel) else outcome)
            if not len(outcomes) % PIECES_PER_TURN:
                await asyncio.sleep(0)
        return outcomes

    async def settled(self) -> tuple[Message | BaseException, ...]:
        """All that was said and all that went wrong, in order, whatever failed. Waits for the end; raises nothing."""
        settled: list[Message | BaseException] = []
        for outcome in await self.outcomes():
            if isinstance(outcome, Failure):
                outcome.observed = True
                settled.append(outcome.exception)
            else:
                settled.append(outcome)
        return tuple(settled)


class MessageAppender(SequenceAppender[MessagePromise]):
    """The write end of a sequence of messages: takes everything that `MessageType` names."""

    __slots__ = ()

    def append(self, piece: MessageType) -> Self:
        """Add messages at the end, in their order. A `TypeError` if something is no message; then nothing is added."""
        self._check_open()
        for item in to_items(piece):
            self._add(item)
        return self

    def append_out_of_order(self, item: MessageType) -> None:
        """Like `append`, but each message, and each sequence's next one, is added when it is there."""
        self._check_open()
        for one in to_items(item):
            super().append_out_of_order(one)

    def fail(self, error: BaseException, who: str = "") -> None:
        """Add an error, as a message if that is how errors arrive in this context."""
        _add(self.log, _to_error_item(error, who or "A sequence of messages"))


class MessageSequence(FlatSequence[MessagePromise]):
    """Makes a sequence of messages, `sequence_promise`, written by `message_appender` or by an `incoming_streamer`.

    - `incoming_streamer`: `(promise) -> async iterator` of anything that `MessageType` names, run in a task of its own.
      With it there is nothing to append by hand.
    - `appender_capture_errors`: as `StreamAppender(capture_errors=...)`.

    >>> import asyncio
    >>> from miniagents.promising import PromisingContext
    >>> async def main():
    ...     async with PromisingContext():
    ...         sequence = MessageSequence()
    ...         with sequence.message_appender as appender:
    ...             appender.append("one").append(["two", {"text": "three"}])
    ...         print(*await sequence.sequence_promise)
    >>> asyncio.run(main())
    one two three
    """

    def __init__(
        self,
        appender_capture_errors: bool | None = None,
        start_asap: bool | None = None,
        incoming_streamer: Callable[[Any], AsyncIterable[MessageType]] | None = None,
    ) -> None:
        self.message_appender = MessageAppender(capture_errors=appender_capture_errors)
        if incoming_streamer is None:
            self._sequence_promise = MessageSequencePromise(self.message_appender)
        else:
            super().__init__(incoming_streamer, start_asap=start_asap)

    @property
    def sequence_promise(self) -> MessageSequencePromise:
        """The flat sequence of messages."""
        return cast(MessageSequencePromise, self._sequence_promise)  # `_make_promise` makes nothing else

    def _make_appender(self) -> MessageAppender:
        return self.message_appender

    def _make_promise(
        self, appender: SequenceAppender[MessagePromise], producer: Producer | None, start_asap: bool | None
    ) -> MessageSequencePromise:
        return MessageSequencePromise(appender, producer, start_asap=start_asap)

    def _convert(self, value: Any) -> Any:
        return value

    async def _append_flat(self, piece: Any, appender: SequenceAppender[MessagePromise]) -> None:
        appender.append(self._convert(piece))  # which flattens it, and makes messages

    @staticmethod
    def turn_into_sequence_promise(messages: MessageType) -> MessageSequencePromise:
        """A sequence of `messages`. One that is a sequence already is given back as it is."""
        if isinstance(messages, MessageSequencePromise):
            return messages
        log: Log[MessagePromise] = Log()
        for item in to_items(messages):
            if isinstance(item, BaseException):
                _add(log, _to_error_item(item, "A message"))
            else:
                log.items.append(item)
        log.ended = True
        return MessageSequencePromise(log)


def to_items(messages: MessageType) -> list[Any]:
    """The items of a sequence for `messages`: messages, promises of messages, sequences, exceptions."""
    if type(messages) is str:  # by far the most frequent
        return [MessagePromise(Message(messages))]
    if messages is None:
        return []
    if isinstance(messages, (MessagePromise, MessageSequencePromise)):
        return [messages]
    items = flatten(messages, _to_item, "messages")
    context = current_context()
    if context is None or not context.has_observers:
        return items
    # The handlers hear of a promise when it is made, so it is made now.
    return [item if isinstance(item, (Promise, BaseException)) else MessagePromise(item) for item in items]


def _to_item(value: Any) -> Any:
    if type(value) is str:  # these two may come by thousands
        return Message(value)
    if type(value) is Message:
        return value
    if isinstance(value, (MessagePromise, MessageSequencePromise, BaseException)):
        return value
    if isinstance(value, str):
        return Message(str.__str__(value))  # the text of a member of an enum, not its name
    if isinstance(value, Message):
        return value
    if value is None:
        return SKIP
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"is a dict with the key {key!r}; the fields of a message are named by strings.")
        if "content" in value and "role" in value and "text" not in value:
            raise TypeError("is a dict with `role` and `content`; the text of a message goes into `text`.")
        return Message(**value)
    if isinstance(value, BaseModel):
        return Message(**dict(value))
    if isinstance(value, (bytes, bytearray, memoryview)) or inspect.isawaitable(value) or isinstance(value, type):
        raise TypeError(_why_not(value))
    if isinstance(value, AsyncIterable):
        return MessageSequence(incoming_streamer=lambda _: value).sequence_promise
    if isinstance(value, Iterable):
        return EXPAND
    raise TypeError(_why_not(value))


async def _are_messages(items: tuple[Any, ...]) -> bool:
    """Whether there are no promises, links and errors among the items of a sequence, as in a history that was given."""
    for start in range(0, len(items), _LOOKED_AT_AT_ONCE):
        if start:
            await asyncio.sleep(0)
        kinds = set(map(type, items[start : start + _LOOKED_AT_AT_ONCE]))
        if not all(issubclass(kind, Message) for kind in kinds):
            return False
    return True


def _why_not(value: Any) -> str:
    hint = (
        "A message is a str, a dict, a pydantic model, a Message, a promise of messages, an exception, None, "
        "or an iterable of these."
    )
    if inspect.iscoroutine(value):
        value.close()  # it will never be awaited, and Python would warn about that as well
        hint = "Await it, and pass what it gives."
    elif isinstance(value, (bytes, bytearray, memoryview)):
        hint = "Decode it to a str first."
    elif hasattr(value, "inquire"):
        hint = "Pass the replies of an agent, `agent.inquire(...)`, not the agent."
    elif hasattr(value, "reply_sequence"):
        hint = "Pass `call.reply_sequence()`, not the call."
    elif inspect.isasyncgenfunction(value) or inspect.isgeneratorfunction(value):
        hint = "Call the generator function, and pass what it gives."
    return f"is of type {type(value).__name__}, which is no message. {hint}"


def _to_error_item(error: BaseException, who: str) -> MessagePromise | Failure:
    context = current_context()
    if errors_arrive_as_messages(context, error):
        return MessagePromise(ErrorMessage.of(error))
    return capture(error, who, context)


def _add(log: Log[MessagePromise], item: Any) -> None:
    if isinstance(item, Failure):
        log.fail(item)
    else:
        log.append(item)
