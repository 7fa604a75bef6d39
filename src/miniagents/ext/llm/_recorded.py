"""What a provider has answered, as it stands in a recording: each event as it came, and the error at the end."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final, TypeVar, cast

from miniagents.ext.llm import errors
from miniagents.ext.llm._recorded_request import CanonicalRequest
from miniagents.ext.llm._secrets import HIDDEN, hide, hide_in
from miniagents.ext.llm.errors import LLMError, LLMRecordingError, LLMStatusError, MissingExtraError, MissingKeyError
from miniagents.ext.llm.provider import AnswerEvent, ThinkingPiece, ToolCallPiece

P = TypeVar("P", ThinkingPiece, ToolCallPiece)

_STATUS_FIELDS: Final = ("status", "error_type", "request_id", "retry_after")
_ERROR_CLASSES: Final[Mapping[str, type[LLMError]]] = {
    name: found
    for name, found in vars(errors).items()
    if isinstance(found, type)
    and issubclass(found, LLMError)
    # These two are of the machine that asks, and are made of something else than a text.
    and not issubclass(found, (MissingKeyError, MissingExtraError))
}


@dataclass(frozen=True, slots=True)
class RecordedError:
    """How an answer ended that failed. Of an error that is none of ours there are the names and the text."""

    kind: str
    text: str
    details: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @classmethod
    def of(cls, error: BaseException, known: Sequence[str]) -> "RecordedError":
        """What is recorded of `error`, without the secrets that are `known`."""
        notes = tuple(hide(note, known) for note in getattr(error, "__notes__", ()))
        if not isinstance(error, LLMError):
            text = f"What was recorded failed with {type(error).__qualname__}: {error}"
            return cls(LLMError.__name__, hide(text, known), {}, notes)
        kind = next(found.__name__ for found in type(error).__mro__ if found.__name__ in _ERROR_CLASSES)
        told = _STATUS_FIELDS if isinstance(error, LLMStatusError) else ()
        details = {name: hide(value, known) for name in told if (value := getattr(error, name)) is not None}
        return cls(kind, hide(str(error), known), details, notes)

    def made(self) -> LLMError:
        """The error, made anew."""
        error = _ERROR_CLASSES[self.kind](self.text, **self.details)
        for note in self.notes:
            error.add_note(note)
        return error


@dataclass(frozen=True, slots=True)
class Recorded:
    """A request and its answer: what came, each with the seconds since the request, and how it ended."""

    request: CanonicalRequest
    events: Sequence[tuple[float, AnswerEvent]]
    seconds: float
    error: RecordedError | None = None
    broke_off: bool = False
    """Whether whoever had asked broke off, so that nobody knows how the answer would have gone on."""

    def to_json(self) -> dict[str, Any]:
        """As it stands in a line of a recording."""
        return {
            "request": self.request,
            "events": [[round(at, 6), _event_to_json(event)] for at, event in self.events],
            "seconds": round(self.seconds, 6),
            **({} if self.error is None else {"error": asdict(self.error)}),
            **({"broke_off": True} if self.broke_off else {}),
        }

    @classmethod
    def from_json(cls, line: Any) -> "Recorded":
        """What `to_json` has written. Raises `LLMRecordingError` for anything else."""
        try:
            request, error = line["request"], line.get("error")
            if not isinstance(request, dict) or (error is not None and error["kind"] not in _ERROR_CLASSES):
                raise TypeError("the request or the error")
            events = [(float(at), _event_from_json(event)) for at, event in line["events"]]
            recorded = None if error is None else RecordedError(**error)
            if recorded is not None:
                recorded.made()
            return cls(request, events, float(line["seconds"]), recorded, bool(line.get("broke_off")))
        except (LookupError, TypeError, ValueError, AttributeError) as problem:
            raise LLMRecordingError(f"what stands there is no recorded answer ({problem})") from problem


def _event_to_json(event: AnswerEvent) -> Any:
    if isinstance(event, str):
        return event
    if isinstance(event, ThinkingPiece):
        return {"thinking": _told(event)}
    if isinstance(event, ToolCallPiece):
        return {"tool_call": _told(event)}
    return {"fields": dict(event)}


def _told(piece: ThinkingPiece | ToolCallPiece) -> dict[str, Any]:
    return {name.name: value for name in fields(piece) if (value := getattr(piece, name.name)) != name.default}


def _event_from_json(event: Any) -> AnswerEvent:
    match event:
        case str():
            return event
        case {"thinking": dict(told)}:
            return _checked(ThinkingPiece(**told))
        case {"tool_call": dict(told)}:
            return _checked(ToolCallPiece(**told))
        case {"fields": dict(told)}:
            return told
        case _:
            raise ValueError("an event is of no kind that there is")


def _checked(piece: P) -> P:
    for name in fields(piece):
        value = getattr(piece, name.name)
        kinds = (int, str) if name.name == "index" else type(name.default)
        if not isinstance(value, kinds):
            raise TypeError(f"`{name.name}` of a piece")
    return piece


def masked(events: Iterable[tuple[float, AnswerEvent]], known: Sequence[str]) -> list[tuple[float, AnswerEvent]]:
    """`events` without the secrets that are `known`, also such as several pieces have a part of."""
    listed = list(events)
    streams: dict[tuple[str, object], list[tuple[int, str]]] = {}
    for place, (at, event) in enumerate(listed) if known else ():
        if isinstance(event, Mapping):
            listed[place] = (at, hide_in(event, known))
        for stream, text in _texts_of(event):
            streams.setdefault(stream, []).append((place, text))
    for (name, _), pieces in streams.items():
        for (place, text), new in zip(pieces, _masked_pieces([text for _, text in pieces], known), strict=True):
            if new != text:
                at, event = listed[place]
                listed[place] = (at, new if isinstance(event, str) else replace(cast("Any", event), **{name: new}))
    return listed


def _texts_of(event: AnswerEvent) -> Iterator[tuple[tuple[str, object], str]]:
    """The texts in an event, each with what it is a piece of."""
    if isinstance(event, str):
        yield ("", None), event
    elif isinstance(event, ThinkingPiece):
        yield ("text", None), event.text
        yield ("signature", None), event.signature
    elif isinstance(event, ToolCallPiece):
        for name in ("call_id", "tool", "arguments", "signature"):
            yield (name, event.index), getattr(event, name)


def _masked_pieces(pieces: Sequence[str], known: Sequence[str]) -> list[str]:
    """The pieces of a text without secrets; what takes the place of one is in the piece in which it began."""
    whole = "".join(pieces)
    spans = sorted({match.span() for secret in known for match in re.finditer(re.escape(secret), whole)})
    if not spans:
        return list(pieces)
    masked_pieces: list[str] = []
    start = 0
    for piece in pieces:
        end = start + len(piece)
        kept: list[str] = []
        position = start
        for first, last in spans:
            if first < end and last > position:
                kept.append(whole[position : max(first, position)])
                if first >= start:
                    kept.append(HIDDEN)
                position = min(last, end)
        kept.append(whole[position:end])
        masked_pieces.append("".join(kept))
        start = end
    return masked_pieces
