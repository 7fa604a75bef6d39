"""What the wire formats of the providers have in common: what an answer is made of, before it is bytes."""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from miniagents.ext.llm._wire import text_of
from miniagents.testing._faults import FaultKind

JSON = Mapping[str, Any]


@dataclass(frozen=True)
class Exchange:
    """One request to a model and what it is answered with."""

    number: int
    body: JSON
    tokens: Sequence[str] = ()
    fault: FaultKind | None = None

    @property
    def model(self) -> str:
        """The model that was asked for."""
        return str(self.body.get("model", "offline"))

    @property
    def input_tokens(self) -> int:
        """How many tokens the request has, as this server counts them."""
        texts = [text_of(self.body.get("system"))]
        texts += [text_of(message.get("content")) for message in messages_of(self.body)]
        return sum(len(split_into_tokens(text)) for text in texts)


@dataclass(frozen=True)
class Event:
    """One server-sent event."""

    data: str
    name: str | None = None

    def encode(self, *, crlf_and_comments: bool = False) -> bytes:
        """The bytes of the event, the empty line at its end included."""
        lines = [] if self.name is None else [f"event: {self.name}"]
        lines += [f"data: {self.data}", "", ""]
        if crlf_and_comments:
            return "\r\n".join([": a comment", "", ":", *lines]).encode()
        return "\n".join(lines).encode()


class Wire(ABC):
    """A wire format: makes the parts of the answer in one exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    @abstractmethod
    def problem(self) -> str | None:
        """Why the provider would refuse the request; None if it would not."""

    @abstractmethod
    def opening(self) -> Iterable[Event]:
        """The events before the first token."""

    @abstractmethod
    def token(self, text: str) -> Event:
        """The event that carries a token."""

    @abstractmethod
    def empty_token(self) -> Event:
        """The event of a token without text."""

    @abstractmethod
    def closing(self) -> Iterable[Event]:
        """The events after the last token."""

    @abstractmethod
    def error_event(self) -> Event:
        """An error in the midst of the stream."""

    @abstractmethod
    def whole(self) -> JSON:
        """The body of an answer that is not streamed."""

    @abstractmethod
    def error_body(self, status: int, message: str) -> JSON:
        """The body of an answer with an error status."""


def dump(value: object) -> str:
    """`value` as JSON that can be sent: raw UTF-8, unless it has lone surrogates, which can only be escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"))
    return text


def split_into_tokens(text: str) -> list[str]:
    """`text` in pieces of one word each, with the white space after it; together they are `text`."""
    return re.findall(r"\S+\s*|\s+", text)


def messages_of(body: JSON) -> list[JSON]:
    """The messages in the body of a request; none if it has no list of objects there."""
    messages = body.get("messages")
    return [message for message in messages if isinstance(message, Mapping)] if isinstance(messages, list) else []
