"""`Message`: what agents send each other, immutable, with a text and any metadata. And the promise of one."""

import inspect
import json
import string
from collections.abc import AsyncIterable, Callable, Iterator, Sequence
from typing import Any, ClassVar, Final, TypeAlias, cast

from pydantic import BaseModel

from miniagents.messages.context import MessageContext, message_resolved
from miniagents.messages.elements import Elements, Texts
from miniagents.messages.frozen import Frozen, printable
from miniagents.messages.packed import PackedText
from miniagents.promising.appender import StreamAppender
from miniagents.promising.backpressure import Backpressure, refuse_to_hold
from miniagents.promising.context import PromisingContext, current_context
from miniagents.promising.errors import OrderlyEnd, UnresolvedPromiseError
from miniagents.promising.log import Failure, Log, ended_log
from miniagents.promising.sentinels import UNSET, Sentinel
from miniagents.promising.stream import PieceReader, StreamedPromise

# The log of a message that was sent whole, as long as nobody has asked for its tokens.
_NOT_STREAMED: Final[Log[Any]] = ended_log(())

TokenStreamer: TypeAlias = Callable[[dict[str, Any]], AsyncIterable[str]]


class Message(Frozen):
    """A text and any metadata, immutable. Subclass it to declare fields.

    `str(message)` is the text; without one, `text_template` with `{name}` replaced by the message's own plain fields
    (names only, and at most 10,000,000 characters of them: `{{` and `}}` are braces, everything else in braces is a
    `ValueError` when the message is made); without that, the JSON of the message. Needs no context and no event loop.

    >>> Message("Hello", role="user")
    Message(text='Hello', role='user')
    >>> print(Message(text_template="Dear {name}!", name="Ada"))
    Dear Ada!
    """

    __slots__ = ("_string",)

    is_answer: ClassVar[bool] = True
    """Whether messages of this class are what is said, unlike thoughts and what goes to and from tools.

    Only those are read by `items`, `lines` and `sentences` of a sequence, and taken by `best_of` and `map_agents`.
    """

    text: str | None = None

    def __init__(self, text: str | None = None, /, **metadata: Any) -> None:
        if text.__class__ is str and not metadata and self.__class__ is Message:
            _set_plain_text(self, text)
            return
        if text is not None:
            if "text" in metadata:
                raise TypeError("The text of a message was given twice, by position and as `text=`.")
            metadata["text"] = text
        self._build(metadata)
        if self.text is None and "text_template" in self:
            str(self)  # an unusable template is refused now

    def __str__(self) -> str:
        if self.text is not None:
            return self.text
        try:
            cached: str = _STRING_SLOT.__get__(self)
        except AttributeError:
            template = self.get("text_template")
            if isinstance(template, str):
                cached = _fill(template, self)
            else:
                cached = json.dumps(self.serialize(), ensure_ascii=False)
            object.__setattr__(self, "_string", cached)
        return cached

    def sub_messages(self) -> Iterator["Message"]:
        """The messages inside this one, each after those inside it. The same object is given once for each place."""
        return _sub_messages(self)

    @property
    def as_promise(self) -> "MessagePromise":
        """A promise that is resolved from birth, with this message. Needs no context."""
        return MessagePromise(self)

    @classmethod
    def promise(
        cls,
        /,
        message_token_streamer: TokenStreamer | StreamAppender[str] | None = None,
        *,
        start_asap: bool | None = None,
        max_ahead: float | None = None,
        **metadata: Any,
    ) -> "MessagePromise":
        """A promise of a message of this class, whose text is made of the tokens that the streamer gives.

        `message_token_streamer` is called once with a dict and returns an async iterator of `str`. What it puts into
        the dict, at any time, becomes fields of the message, for things that are known only at the end. `metadata` is
        known to readers before the text (`preliminary_metadata`). Without a streamer the message is made at once.
        `start_asap`, `max_ahead`: as in `StreamedPromise`.
        """
        if message_token_streamer is None:
            refuse_to_hold(max_ahead)
            return MessagePromise(cls(**metadata))
        return MessagePromise(cls, message_token_streamer, metadata, start_asap=start_asap, max_ahead=max_ahead)


class ErrorMessage(Message):
    """An error that arrives as a message, where `errors_as_messages` is on."""

    error_type: str | None = None
    """The class of the exception, by name."""

    @classmethod
    def of(cls, error: BaseException) -> "ErrorMessage":
        """The message that `error` becomes."""
        return cls(text=describe_error(error), error_type=type(error).__name__)


class MessagePromise(StreamedPromise[str, Message], Elements):
    """A message that is still being written: its class and metadata now, its tokens as they come, all of it at the end.

    `async for token in promise` gives `str` tokens from the first on; `await promise` gives the `Message`. Both may be
    done by any number of readers, early or late. A message that was sent whole streams as one token. `items`, `lines`
    and `sentences` read what the tokens make up.

    `str(promise)` of a resolved promise is the text of the message, so it can stand in an f-string; of an unresolved
    one it raises `UnresolvedPromiseError`. Made by `Message.promise(...)` and `message.as_promise`.
    """

    __slots__ = ("_final_metadata", "_known_metadata", "message_class")

    _piece_type = str

    def __init__(
        self,
        message: Message | type[Message],
        streamer: TokenStreamer | StreamAppender[str] | None = None,
        metadata: dict[str, Any] | None = None,
        *,
        start_asap: bool | None = None,
        max_ahead: float | None = None,
        in_context: bool = True,
    ) -> None:
        self._whole = None
        self._backpressure = None if max_ahead is None else Backpressure(max_ahead)
        if isinstance(message, Message):
            self._known_metadata: Frozen | None = None
            self.message_class: type[Message] = type(message)
            self._result: Message | Failure | Sentinel = message
            self._setup(_NOT_STREAMED, None, start_asap, in_context)
            return
        if metadata and "text" in metadata:
            raise TypeError("The text of a streamed message comes from its streamer; it cannot be given beside it.")
        self.message_class = message
        self._final_metadata: dict[str, Any] = {}
        self._known_metadata = Frozen(**(metadata or {}))  # frozen now, so that bad metadata is refused now
        self._result = UNSET
        if isinstance(streamer, StreamAppender):
            refuse_to_hold(max_ahead)
            streamer.restrict(str)
            streamer.bind()
            streamer.log.pack_at_end(PackedText)
            self._setup(streamer.log, None, start_asap)
        elif callable(streamer):
            log: Log[str] = Log()
            log.pack_at_end(PackedText)
            known_at_end = self._final_metadata
            self._setup(log, lambda this: this._run_streamer(lambda _: _tokens_of(streamer, known_at_end)), start_asap)
        else:
            raise TypeError(
                f"A message token streamer is a callable or a StreamAppender, not {type(streamer).__name__}."
            )

    @property
    def preliminary_metadata(self) -> Frozen:
        """What is known of the message before its text: what was given, and the defaults of its class.

        Of a message that is there it is all but the text. Fields that are `None` are left out.
        """
        if isinstance(self._result, Message):
            known = {**vars(self._result), **(self._result.__pydantic_extra__ or {})}
        else:
            declared = self.message_class.model_fields.items()
            defaults = {
                name: field.get_default(call_default_factory=True)
                for name, field in declared
                if not field.is_required()
            }
            known = {**defaults, **(self._known_metadata or {})}
        return Frozen(**{name: value for name, value in known.items() if name != "text" and value is not None})

    @property
    def sent_whole(self) -> Message | None:
        """The message if it never had a streamer, so that there is nothing to wait for; else `None`."""
        return self._result if self._known_metadata is None and isinstance(self._result, Message) else None

    def read_pieces(self) -> PieceReader[str]:
        """A reader of its own, from the first token on."""
        # A message that was sent whole gets its one token when somebody wants tokens, which is seldom.
        if self._log is _NOT_STREAMED:
            self._log = ended_log([str(self._result)])
        return super().read_pieces()

    async def _texts(self) -> Texts:
        yield self

    def _assemble(self, pieces: Sequence[str]) -> Message:
        text = pieces.text if isinstance(pieces, PackedText) else "".join(pieces)
        return self.message_class(text, **{**(self._known_metadata or {}), **self._final_metadata})

    def _make_result(self) -> Message | Failure:
        outcome = super()._make_result()
        if isinstance(outcome, Failure) and errors_arrive_as_messages(self._context, outcome.exception):
            outcome.observed = True
            return ErrorMessage.of(outcome.exception)
        return outcome

    def _record_error(self, error: BaseException) -> None:
        if not errors_arrive_as_messages(self._context or current_context(), error):
            super()._record_error(error)
            return
        said = describe_error(error)
        self._log.append(f"\n\n{said}" if self._log.items else said)
        self.message_class = ErrorMessage
        self._final_metadata["error_type"] = type(error).__name__

    def _tell_handlers(self, context: PromisingContext, outcome: object) -> None:
        super()._tell_handlers(context, outcome)
        if isinstance(outcome, Message):
            message_resolved(context, self, outcome)

    def __getattr__(self, name: str) -> Any:
        # With the name Python does not add a suggestion of its own, such as `_texts`.
        raise AttributeError(
            f"A promise of a message has no attribute {name!r}. `await` it first: that gives the message.", name=name
        )

    def __str__(self) -> str:
        outcome = self._peek()
        if isinstance(outcome, Failure):
            outcome.throw()
        if isinstance(outcome, Sentinel):
            raise UnresolvedPromiseError("The text of this message")
        return str(outcome)


class EndOfDialog(OrderlyEnd, EOFError):  # noqa: N818 (as its base)
    """The user has ended the dialog. Raised by user agents; the loops of `miniagents.utils` return upon it."""

    def __init__(self) -> None:
        super().__init__("The user has ended the dialog.")


def errors_arrive_as_messages(context: PromisingContext | None, error: BaseException) -> bool:
    """Whether `error` is to be a message here. What ends programs and dialogs never is."""
    return (
        isinstance(context, MessageContext)
        and context.errors_as_messages
        and isinstance(error, Exception)
        and not isinstance(error, OrderlyEnd)
    )


def describe_error(error: BaseException) -> str:
    """The text of the message that an error becomes."""
    name = type(error).__name__
    try:
        return f"{name}: {error}"
    except Exception:  # somebody else's `__str__`, on the way of an error that must not get lost
        return name


def _tokens_of(streamer: TokenStreamer, known_at_end: dict[str, Any]) -> AsyncIterable[str]:
    try:
        tokens: Any = streamer(known_at_end)
    except TypeError as error:
        if error.__traceback__ is None or error.__traceback__.tb_next is not None:
            raise  # of its own, and not of how it is called
        raise _no_streamer(streamer, str(error)) from error
    if not hasattr(tokens, "__aiter__"):
        if inspect.iscoroutine(tokens):
            tokens.close()  # or Python complains that it was never awaited
        raise _no_streamer(streamer, f"it gave a {type(tokens).__name__}")
    return cast("AsyncIterable[str]", tokens)


def _no_streamer(streamer: object, problem: str) -> TypeError:
    name = getattr(streamer, "__name__", type(streamer).__name__)
    return TypeError(f"A streamer is an `async def {name}(metadata)` with `yield`: {problem}.")


_STRING_SLOT: Final[Any] = Message.__dict__["_string"]
# Data of some kilobytes could otherwise become a text of gigabytes: many places for one long field.
_LONGEST_FILLED: Final = 10_000_000


# Of all messages that are nothing but a text. Nobody changes it: pydantic copies it for a copy with other fields.
_ONLY_TEXT: Final = {"text"}
_FIELDS_SET_SLOT, _EXTRA_SLOT, _PRIVATE_SLOT = (
    BaseModel.__dict__[f"__pydantic_{name}__"] for name in ("fields_set", "extra", "private")
)


def _set_plain_text(message: Message, text: str | None) -> None:
    """Make `message` what pydantic would make of it, which has nothing to validate in a plain `str`, and so no choice.

    Most messages are these. It takes a third of the time and less than half of the memory.
    """
    vars(message)["text"] = text
    _FIELDS_SET_SLOT.__set__(message, _ONLY_TEXT)
    _EXTRA_SLOT.__set__(message, {})
    _PRIVATE_SLOT.__set__(message, None)


def _fill(template: str, message: Message) -> str:
    filled: list[str] = []
    room = _LONGEST_FILLED
    for literal, name, spec, conversion in string.Formatter().parse(template):
        filled.append(literal)
        if name is None:
            continue
        value = message.get(name) if name != "text_template" else None
        if spec or conversion or not isinstance(value, (str, int, float)):
            field = name + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
            raise ValueError(
                f"The text_template has `{printable(field)}` in braces; only names of the message's own plain fields "
                "(str, int, float, bool) can stand there."
            )
        text = str(value)
        room -= len(text)
        if room < 0:
            raise ValueError(f"The fields in the text_template have more than {_LONGEST_FILLED:,} characters in all.")
        filled.append(text)
    return "".join(filled)


def _sub_messages(frozen: Frozen) -> Iterator[Message]:
    for fields in (frozen.__dict__, frozen.__pydantic_extra__ or {}):
        for value in fields.values():
            yield from _messages_in(value)


def _messages_in(value: Any) -> Iterator[Message]:
    if isinstance(value, Frozen):
        yield from _sub_messages(value)
        if isinstance(value, Message):
            yield value
    elif isinstance(value, (tuple, frozenset)):
        for item in value:
            yield from _messages_in(item)
