"""Requests as they stand in recordings: all that decides about the answer, in one form, without secrets."""

import difflib
import hashlib
import json
from collections.abc import Mapping, Sequence, Set
from functools import partial
from pathlib import PurePath
from typing import Any, Final, TypeAlias

from pydantic import BaseModel

from miniagents.ext.llm._secrets import HIDDEN, hide, tells
from miniagents.ext.llm._wire import as_dict, valid_text
from miniagents.ext.llm.prompt import Prompt
from miniagents.messages import Message

CanonicalRequest: TypeAlias = dict[str, Any]

_LONGEST_TEXT: Final = 20_000
"""Characters; of what is longer, such as a picture, there is a digest."""
_DEEPEST: Final = 50
# How a request is sent, which decides nothing about its answer, and where secrets are. The model is told apart.
_NOT_ASKED: Final = frozenset({"extra_headers", "extra_query", "extra_body", "timeout", "model", "stream"})

# The difference of two requests is for people, and is made while the event loop waits: all of it is bounded.
_MOST_COMPARED: Final = 200
_MOST_LINES: Final = 300
_MOST_SHOWN: Final = 40
_LINE_LENGTH: Final = 110


def canonical(provider: str, prompt: Prompt, parameters: Mapping[str, Any], known: Sequence[str]) -> CanonicalRequest:
    """The request that is recorded; `known` are secrets, by their values.

    Neither keys nor addresses, headers and time-outs are in it. Parameters that are not of the API's own go through
    `extra_body`, where anything may be: of that there is a digest, without what is secret by its name.
    """
    request = {
        "provider": provider,
        "model": parameters.get("model"),
        "stream": parameters.get("stream"),
        "system": prompt.system,
        "turns": [{"role": turn.role, "parts": [_part(part) for part in turn.parts]} for turn in prompt.turns],
    }
    if prompt.tools:
        request["tools"] = [
            {"name": tool.name, "description": tool.description, "parameters": tool.parameters} for tool in prompt.tools
        ]
    if prompt.answer is not None:
        answer = prompt.answer
        request["answer"] = {"name": answer.name, "schema": answer.schema, "strict": answer.strict}
    asked = without_secrets({name: value for name, value in parameters.items() if name not in _NOT_ASKED}, known)
    if extra := parameters.get("extra_body"):
        asked["extra_body"] = f"<sha256:{_digest(canonical_json(without_secrets(extra, known)))}>"
    if asked:
        request["parameters"] = asked
    plain: CanonicalRequest = _plain(request, known=known, by_name=False, depth=0)
    return plain


def canonical_json(request: object) -> str:
    """What two equal requests have in common."""
    return json.dumps(request, sort_keys=True, separators=(",", ":"))


def without_secrets(value: object, known: Sequence[str]) -> Any:
    """`value` as JSON, without what is secret by its name or its value."""
    return _plain(value, known=known, by_name=True, depth=0)


def difference(asked: CanonicalRequest, recorded: Sequence[CanonicalRequest]) -> str:
    """What is different in the one among `recorded` that is most like `asked`; empty if there are none."""
    lines = _lines(asked)
    own = set(lines)
    others = [_lines(request) for request in recorded[-_MOST_COMPARED:]]
    if not others:
        return ""
    nearest = max(others, key=lambda other: len(own.intersection(other)) / (len(other) + 1))
    told = list(difflib.unified_diff(nearest, lines, "recorded", "asked", n=1, lineterm=""))
    if len(told) > _MOST_SHOWN:
        told[_MOST_SHOWN:] = [f"... and {len(told) - _MOST_SHOWN} lines more"]
    return "\n".join(told)


def _part(part: Message) -> Any:
    """A part of a turn: its text, and of the messages that have fields of their own also those."""
    ours = next((cls for cls in type(part).__mro__ if cls.__module__.startswith("miniagents.ext.llm.")), Message)
    names = [name for name in getattr(ours, "model_fields", ()) if name not in ("text", "role")]
    if not names:
        return str(part)  # who said it decides only about its turn
    return {"role": part.get("role"), "text": str(part), **{name: getattr(part, name) for name in names}}


def _plain(value: Any, *, known: Sequence[str], by_name: bool, depth: int) -> Any:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, (str, PurePath)):
        return _shortened(hide(valid_text(str(value)), known))
    if isinstance(value, (bytes, bytearray)):
        return f"<sha256:{hashlib.sha256(value).hexdigest()}>"
    if depth > _DEEPEST:
        return "<too deep>"
    inner = partial(_plain, known=known, by_name=by_name, depth=depth + 1)
    if isinstance(value, BaseModel):
        value = as_dict(value)
    if isinstance(value, Mapping):
        return {
            hide(valid_text(str(name)), known): HIDDEN if by_name and tells(name) else inner(item)
            for name, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [inner(item) for item in value]
    if isinstance(value, Set):
        return sorted((inner(item) for item in value), key=canonical_json)
    # Not its `repr`, in which there may be an address in memory, or a secret.
    return f"<{getattr(value, '__qualname__', type(value).__qualname__)}>"


def _shortened(text: str) -> str:
    if len(text) <= _LONGEST_TEXT:
        return text
    return f"{text[:_LINE_LENGTH]}... <{len(text)} characters, sha256:{_digest(text)}>"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _lines(request: CanonicalRequest) -> list[str]:
    """A request for people to read, in lines of which none is long, so that a difference is near to its place."""
    lines: list[str] = []
    for line in json.dumps(request, indent=1, sort_keys=True, ensure_ascii=False).splitlines():
        for text in line.replace("\\n", "\\n\n").split("\n"):
            lines += [text[start : start + _LINE_LENGTH] for start in range(0, len(text), _LINE_LENGTH)]
        if len(lines) >= _MOST_LINES:
            return lines[:_MOST_LINES]
    return lines
