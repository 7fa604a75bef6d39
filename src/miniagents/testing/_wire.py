"""What the wire formats of the providers have in common: what an answer is made of, before it is bytes."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, zip_longest
from typing import Any

from miniagents.testing._faults import FaultKind
from miniagents.testing._parts import Part, split_into_tokens

JSON = Mapping[str, Any]


@dataclass
class Memory:
    """What a server remembers of its answers, because later requests may refer to it."""

    thinking: dict[str, str] = field(default_factory=dict)
    """The text of the thinking, by its signature."""

    items: dict[str, JSON] = field(default_factory=dict)
    """Items of responses, by their ids."""

    responses: dict[str, Sequence[JSON]] = field(default_factory=dict)
    """The input and output of responses, by their ids."""


@dataclass(frozen=True)
class Exchange:
    """One request to a model and what it is answered with."""

    number: int
    body: JSON
    parts: Sequence[Part] = ()
    fault: FaultKind | None = None
    memory: Memory = field(default_factory=Memory)

    @property
    def model(self) -> str:
        """The model that was asked for."""
        return str(self.body.get("model", "offline"))

    @property
    def input_tokens(self) -> int:
        """How many tokens the request has, as this server counts them."""
        texts = [text_of(self.body.get("system")), text_of(self.body.get("instructions"))]
        texts += [text_of(message.get("content")) for message in messages_of(self.body)]
        return sum(len(split_into_tokens(text)) for text in texts)

    @property
    def output_tokens(self) -> int:
        """How many pieces the answer has."""
        return sum(len(part.fragments) for part in self.parts)

    @property
    def thinking_tokens(self) -> int:
        """How many of them are thinking."""
        return sum(len(part.fragments) for part in self.parts if part.kind == "thinking")

    def call_id(self, position: int, prefix: str) -> str:
        """The id of the call at a position in the answer."""
        return self.parts[position].id or f"{prefix}_{self.number}_{position}"


@dataclass(frozen=True)
class Event:
    """One server-sent event."""

    data: str
    name: str | None = None
    is_token: bool = False
    """Whether it carries a piece of a text, of thinking or of arguments."""

    def encode(self, *, crlf_and_comments: bool = False) -> bytes:
        """The bytes of the event, the empty line at its end included."""
        lines = [] if self.name is None else [f"event: {self.name}"]
        lines += [f"data: {self.data}", "", ""]
        if crlf_and_comments:
            return "\r\n".join([": a comment", "", ":", *lines]).encode()
        return "\n".join(lines).encode()


class RefusedError(Exception):
    """The provider would refuse the request: what it would say, and for OpenAI about which field of it."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code


class Wire(ABC):
    """A wire format: makes the answer in one exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    @property
    def is_streamed(self) -> bool:
        """Whether the answer is to be streamed."""
        return False

    @property
    def tokens(self) -> int:
        """How many pieces the answer has."""
        return self._exchange.output_tokens

    @abstractmethod
    def check(self) -> None:
        """Raises `RefusedError` if the provider would refuse the request."""

    def prepare(self) -> None:
        """Calls what the test has given to make the answer; raises what that raises."""
        return

    @abstractmethod
    def whole(self) -> JSON:
        """The body of an answer that is not streamed."""

    @abstractmethod
    def error_body(self, status: int, message: str) -> JSON:
        """The body of an answer with an error status."""

    def refusal_body(self, refusal: RefusedError) -> JSON:
        """The body of the answer, with status 400, to a request that is refused."""
        return self.error_body(400, refusal.message)


class StreamedWire(Wire):
    """A wire format that can stream."""

    can_interleave = False
    """Whether calls that follow each other can be sent in turns."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange)
        self._current = 0  # the position of the part that is under way

    @property
    def is_streamed(self) -> bool:
        """Whether the request asks for a stream."""
        return bool(self._exchange.body.get("stream"))

    @abstractmethod
    def opening(self) -> Iterable[Event]:
        """The events before the first part."""

    def body(self) -> Iterator[Event | None]:
        """The events of the parts, with a None before each piece and behind the last one, where a fault may strike."""
        groups = self._groups()
        for group in groups:
            for position in group:
                self._current = position
                yield from self._begin(position)
            for position, fragment in self._fragments(group):
                yield None
                self._current = position
                yield self.token(fragment)
            if group is groups[-1]:
                yield None
            for position in group:
                yield from self._end(position)
        if not groups:
            yield None

    def token(self, text: str) -> Event:
        """A piece of the part that is under way."""
        event = self._fragment(self._current, text)
        return Event(event.data, event.name, is_token=True)

    def empty_token(self) -> Event:
        """A piece without anything in it."""
        return self._fragment(self._current, "")

    @abstractmethod
    def closing(self) -> Iterable[Event]:
        """The events after the last part."""

    @abstractmethod
    def error_events(self) -> Iterable[Event]:
        """An error in the midst of the stream."""

    @abstractmethod
    def _begin(self, position: int) -> Iterable[Event]:
        """The events before the pieces of a part."""

    @abstractmethod
    def _fragment(self, position: int, text: str) -> Event:
        """The event of a piece; of a text if there is no part at this position."""

    def _end(self, position: int) -> Iterable[Event]:  # noqa: ARG002  # for subclasses
        """The events after the pieces of a part."""
        return ()

    def _kind(self, position: int) -> str:
        parts = self._exchange.parts
        return parts[position].kind if position < len(parts) else "text"

    def _groups(self) -> list[list[int]]:
        positions = range(len(self._exchange.parts))
        if self.can_interleave and self._exchange.fault == "interleaved_tool_calls":
            keys = [0 if self._kind(position) == "tool" else position + 1 for position in positions]
            return [list(group) for _, group in groupby(positions, key=keys.__getitem__)]
        return [[position] for position in positions]

    def _fragments(self, group: Sequence[int]) -> Iterator[tuple[int, str]]:
        columns = ([(position, text) for text in self._exchange.parts[position].fragments] for position in group)
        for turn in zip_longest(*columns):
            yield from (piece for piece in turn if piece is not None)


def dump(value: object) -> str:
    """`value` as JSON that can be sent: raw UTF-8, unless it has lone surrogates, which can only be escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"))
    return text


def messages_of(body: JSON) -> list[JSON]:
    """The messages, or items of the input, in the body of a request; none if it has no list of objects there."""
    messages = body.get("messages", body.get("input"))
    if isinstance(messages, str):
        return [{"role": "user", "content": messages}]
    return [message for message in messages if isinstance(message, Mapping)] if isinstance(messages, list) else []


def objects_in(value: object) -> list[JSON]:
    """The objects in what should be a list of them; none if it is no list."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def text_of(content: object) -> str:
    """The text of what should be a text or a list of parts, of which those count that are a text."""
    if isinstance(content, str):
        return content
    texts = [part.get("text") for part in objects_in(content) if part.get("type", "text") in _TEXTS]
    return "".join(text for text in texts if isinstance(text, str))


_TEXTS = frozenset({"text", "input_text", "output_text"})
