"""What an answer of `LLMServer` is made of: text, thinking, calls of tools, and the pieces in which they are sent."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Fragments = str | Sequence[str]
"""A text that is sent in pieces of the server's choice, or just these pieces."""


@dataclass(frozen=True)
class Thinking:
    """Thinking that a model shows: `reasoning_content`, a summary of the reasoning, or a `thinking` block.

    Args:
        text: What is thought. A text is sent word by word, a list piece by piece.
        signature: Anthropic's signature, and OpenAI's encrypted content. One that goes with the text if not given.
            It comes back to the server in later requests, and one that does not go with its text is refused.
    """

    text: Fragments
    signature: str = ""

    def __post_init__(self) -> None:
        if not self.signature:
            object.__setattr__(self, "signature", signature_of(_joined(self.text)))


@dataclass(frozen=True)
class RedactedThinking:
    """Thinking that a model keeps to itself: `data` is all that is told of it, and must come back as it is."""

    data: str = ""

    def __post_init__(self) -> None:
        if not self.data:
            object.__setattr__(self, "data", signature_of(""))


@dataclass(frozen=True)
class ToolUse:
    """A call of a tool.

    Args:
        name: Which tool.
        arguments: A dict, or the text that is sent in the place of its JSON, broken or not; as a list, piece by piece.
        id: What the result refers to. If not given, one that no other call of this server has.
    """

    name: str
    arguments: Mapping[str, Any] | Fragments = field(default_factory=dict[str, Any])
    id: str | None = None


ReplyPart = str | Thinking | RedactedThinking | ToolUse
"""What a reply may be a sequence of. Texts next to each other are the tokens of one text."""


@dataclass(frozen=True)
class Part:
    """A part of an answer, as the wire formats take it."""

    kind: Literal["text", "thinking", "redacted", "tool"]
    fragments: Sequence[str] = ()
    """The pieces in which it is sent; none of them of redacted thinking."""

    signature: str = ""
    name: str = ""
    id: str | None = None

    @property
    def text(self) -> str:
        """The whole text, or of a tool the arguments as JSON."""
        return "".join(self.fragments)

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of a tool; empty if they are no JSON object."""
        try:
            arguments = json.loads(self.text)
        except ValueError:
            return {}
        return arguments if isinstance(arguments, dict) else {}


def parts_of(reply: ReplyPart | Sequence[ReplyPart]) -> tuple[Part, ...]:
    """The parts of a reply; one empty text if there is nothing in it.

    Raises:
        TypeError: There is something in it that is no part.
    """
    if isinstance(reply, str):
        return (Part("text", split_into_tokens(reply)),)
    items = [reply] if isinstance(reply, Thinking | RedactedThinking | ToolUse) else list(reply)
    parts: list[Part] = []
    tokens: list[str] = []
    for item in items:
        if isinstance(item, str):
            tokens.append(item)
            continue
        if tokens:
            parts.append(Part("text", tuple(tokens)))
            tokens = []
        parts.append(_part_of(item))
    return (*parts, Part("text", tuple(tokens))) if tokens or not parts else tuple(parts)


def _part_of(item: object) -> Part:
    match item:
        case Thinking():
            return Part("thinking", _pieces(item.text, split_into_tokens), signature=item.signature)
        case RedactedThinking():
            return Part("redacted", signature=item.data)
        case ToolUse():
            arguments = item.arguments
            if isinstance(arguments, Mapping):
                arguments = json.dumps(dict(arguments), ensure_ascii=False)
            return Part("tool", _pieces(arguments, _split_json), name=item.name, id=item.id)
    raise TypeError(f"A reply is made of texts, `Thinking`, `RedactedThinking` and `ToolUse`, not of {item!r}.")


def _pieces(text: Fragments, split: Any) -> tuple[str, ...]:
    return tuple(split(text) if isinstance(text, str) else text)


def _joined(text: Fragments) -> str:
    return text if isinstance(text, str) else "".join(text)


def split_into_tokens(text: str) -> list[str]:
    """`text` in pieces of one word each, with the white space after it; together they are `text`."""
    return re.findall(r"\S+\s*|\s+", text)


def _split_json(text: str) -> list[str]:
    return re.findall(r"\w+|\W+", text)


def signature_of(text: str) -> str:
    """The signature that goes with some thinking."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return base64.b64encode(b"signed" + digest).decode()
