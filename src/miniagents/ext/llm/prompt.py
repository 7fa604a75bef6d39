"""What a model is asked: a system prompt, and turns that every provider can take as they are."""

import itertools
import re
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any, Final

from miniagents.ext.llm._wire import valid_text
from miniagents.ext.llm.errors import LLMRequestError
from miniagents.ext.llm.media import MediaMessage
from miniagents.ext.llm.messages import ThinkingMessage, ToolCallMessage, ToolResultMessage
from miniagents.messages import Message

MISSING_RESULT: Final = "There is no result: the work was interrupted before the tool had ended."
"""What a model is told of a call whose result got lost by a cancellation, a limit or an error."""

_NOT_IN_NAMES: Final = re.compile("[^a-zA-Z0-9_-]")
_LONGEST_NAME: Final = 64


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side says at a time."""

    role: str
    """`user` or `assistant`."""
    parts: tuple[Message, ...]
    """The messages of this turn. The results of tools come first, in the order of the calls in the turn before."""

    @property
    def text(self) -> str:
        """The texts of all parts, with empty lines between them."""
        return "\n\n".join(text for part in self.parts if (text := str(part)))


@dataclass(frozen=True, slots=True)
class ToolSchema:
    """What a model is told of a tool."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    """The JSON schema of its arguments, an object."""


@dataclass(frozen=True, slots=True)
class AnswerSchema:
    """What the answer must be."""

    name: str
    schema: Mapping[str, Any]
    """The JSON schema of an object."""
    strict: bool = True
    """Whether the provider can hold the model to it."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is asked."""

    system: str
    """The system prompt; empty if there is none."""
    turns: tuple[Turn, ...]
    """The user's and the model's in turns: no two of one side follow each other."""
    tools: tuple[ToolSchema, ...] = ()
    answer: AnswerSchema | None = None

    @classmethod
    def of(
        cls,
        messages: Iterable[Message],
        system: str | Message | None = None,
        *,
        tools: Iterable[ToolSchema] = (),
        answer: AnswerSchema | None = None,
    ) -> "Prompt":
        """The prompt that `messages` make.

        Those with the role `system` or `developer`, wherever they stand, are the system prompt, after `system`, with
        empty lines between them. Those with the role `assistant`, thoughts and calls of tools are the model's. All
        others are the user's: a model knows no other roles, such as the alias of an agent.

        Whatever has become of the dialog, providers take it: each call of a tool has its result in the turn after it
        (`MISSING_RESULT` if it got lost), an id that no other call has, and a name that a tool can have, also if the
        model has made it up; and there is no result without its call. Only classes make a thought, a call or a result;
        a role that is written in the fields of a plain message does not.

        Raises `LLMRequestError` for a file that is not the user's.
        """
        rules = [] if system is None else [str(system)]
        dialog = _Dialog()
        for message in messages:
            role = message.get("role")
            if isinstance(message, MediaMessage) and role in ("assistant", "system", "developer"):
                raise LLMRequestError(
                    f"A message of the class {type(message).__name__} has the role {role!r}: models take files from "
                    "users only."
                )
            if isinstance(message, ToolResultMessage):
                dialog.add_result(_valid(message))
            elif isinstance(message, (ToolCallMessage, ThinkingMessage)) or role == "assistant":
                dialog.add_of_model(_valid(message))
            elif role in ("system", "developer"):
                rules.append(str(message))
            else:
                dialog.add_of_user(_valid(message))
        prompt = valid_text("\n\n".join(rule for rule in rules if rule))
        return cls(prompt, dialog.turns(), tuple(tools), answer)


def _valid(message: Message) -> Message:
    text = str(message)
    valid = valid_text(text)
    return message if valid is text else message.model_copy(update={"text": valid})


@dataclass(slots=True)
class _Side:
    """What one side has said, and what has become of the calls in it."""

    role: str
    parts: list[Message] = field(default_factory=list)
    calls: list[ToolCallMessage] = field(default_factory=list)
    results: dict[int, Message] = field(default_factory=dict)
    """By the place of the call."""


class _Dialog:
    """Messages on their way to turns."""

    def __init__(self) -> None:
        self._sides: list[_Side] = []
        # The calls without a result. Some servers number the calls of each answer from 0, so an id may come again.
        self._open: dict[str, list[tuple[_Side, int]]] = {}

    def add_of_user(self, message: Message) -> None:
        self._side("user").parts.append(message)

    def add_of_model(self, message: Message) -> None:
        side = self._side("assistant")
        side.parts.append(message)
        if isinstance(message, ToolCallMessage):
            self._open.setdefault(message.call_id, []).append((side, len(side.calls)))
            side.calls.append(message)

    def add_result(self, message: Message) -> None:
        calls = self._open.get(message["call_id"])
        if calls:
            latest = calls[-1][0]
            side, place = calls.pop(next(index for index, (side, _) in enumerate(calls) if side is latest))
            side.results[place] = message
            # What the model says after a result is another turn, also if nobody has said anything between. A result
            # that comes later goes to the turn after its call, and nothing comes between what the model says then.
            if side is self._sides[-1]:
                self._side("user")

    def turns(self) -> tuple[Turn, ...]:
        self._put_calls_right()
        turns: list[Turn] = []
        results: list[Message] = []
        for side in self._sides:
            if side.role == "assistant" and results:
                turns.append(Turn("user", tuple(results)))
                results = []
            if parts := (*results, *side.parts):
                turns.append(Turn(side.role, tuple(parts)))
            results = [side.results.get(place) or _lost(call) for place, call in enumerate(side.calls)]
        if results:
            turns.append(Turn("user", tuple(results)))
        return tuple(turns)

    def _put_calls_right(self) -> None:
        """Give each call an id of its own and a name that providers take, and its result the same."""
        used: set[str] = set()
        for side in self._sides:
            of_calls = (place for place, part in enumerate(side.parts) if isinstance(part, ToolCallMessage))
            for number, (place, call) in enumerate(zip(list(of_calls), side.calls, strict=True)):
                right = {"call_id": _own_id(call.call_id, used), "tool": _tool_name(call.tool)}
                used.add(right["call_id"])
                if right == {"call_id": call.call_id, "tool": call.tool}:
                    continue
                side.parts[place] = side.calls[number] = call.model_copy(update=right)
                if (result := side.results.get(number)) is not None:
                    side.results[number] = result.model_copy(update=right)

    def _side(self, role: str) -> _Side:
        if not self._sides or self._sides[-1].role != role:
            self._sides.append(_Side(role))
        return self._sides[-1]


def _own_id(call_id: str, used: Set[str]) -> str:
    if call_id and call_id not in used:
        return call_id
    numbers = itertools.count(len(used) + 1)
    return next(new for number in numbers if (new := f"{call_id or 'call'}_{number}") not in used)


def _tool_name(name: str) -> str:
    return _NOT_IN_NAMES.sub("_", name)[:_LONGEST_NAME] or "unnamed"


def _lost(call: ToolCallMessage) -> Message:
    return ToolResultMessage(MISSING_RESULT, call_id=call.call_id, tool=call.tool, is_error=True)
