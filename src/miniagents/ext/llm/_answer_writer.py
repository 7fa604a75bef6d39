"""From the events of an answer to the messages of a reply."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from miniagents.agents import InteractionContext
from miniagents.ext.llm import _sizes
from miniagents.ext.llm._answer_part import AnswerPart
from miniagents.ext.llm._slots import Slot
from miniagents.ext.llm._wire import SurrogateFilter, valid_text
from miniagents.ext.llm.errors import LLMEmptyCompletionError
from miniagents.ext.llm.messages import AssistantMessage, ThinkingMessage, ToolCallMessage
from miniagents.ext.llm.provider import AnswerEvent, ThinkingPiece, ToolCallPiece
from miniagents.messages import Message
from miniagents.promising.stream import PIECES_PER_TURN

# What each message of an answer tells; all else is of the answer as a whole, and told by the last one.
_TOLD_BY_EACH: Final = ("response_id", "response_model")


@dataclass(slots=True)
class _Call:
    """A call of a tool, as far as it has come."""

    part: AnswerPart
    call_id: str = ""
    tool: str = ""


class AnswerWriter:
    """Replies with the messages of one answer: each is there with its first piece, and grows until the next begins."""

    def __init__(
        self,
        ctx: InteractionContext,
        provider: str,
        model: str | None,
        max_ahead: float | None,
        answer_class: type[AssistantMessage] = AssistantMessage,
    ) -> None:
        self._ctx = ctx
        self._provider = provider
        self._known = {"model": model, "agent_alias": ctx.this_agent.alias}
        self._max_ahead = max_ahead
        self._answer_class = answer_class
        self._parts: list[AnswerPart] = []
        self._current: AnswerPart | None = None
        """The text or the thought that is being written."""
        self._calls: dict[int | str, _Call] = {}
        self._signature: list[str] = []
        self._fields: dict[str, Any] = {}
        self._slot: Slot | None = None
        self._length = 0
        self._pieces = 0

    @property
    def has_begun(self) -> bool:
        """Whether a part of the answer is in the reply."""
        return bool(self._parts)

    @property
    def text(self) -> str:
        """The text of the answer so far, without thoughts."""
        return "".join(part.written for part in self._parts if part.message_class is self._answer_class)

    @property
    def fields(self) -> Mapping[str, Any]:
        """What the provider has told so far of the answer as a whole."""
        return self._fields

    @property
    def length(self) -> int:
        """How many characters the answer has so far, with thoughts and calls."""
        return self._length

    def begin(self, slot: Slot | None = None) -> None:
        """An attempt begins, in this slot: what an earlier one has told of its answer does not count."""
        self._fields.clear()
        self._slot = slot

    async def write(self, event: AnswerEvent) -> None:
        """Add to the reply. Waits for its readers, if they are too far behind."""
        if isinstance(event, str):
            if event:
                await self._write(self._answer_class, event)
        elif isinstance(event, ThinkingPiece):
            await self._think(event)
        elif isinstance(event, ToolCallPiece):
            self._call(event)
        else:
            self._fields.update(_fields_in(event))
        self._pieces += 1
        if not self._pieces % PIECES_PER_TURN:
            await asyncio.sleep(0)

    def finish(self) -> None:
        """The answer is complete. Raises `LLMEmptyCompletionError` if there is nothing in it for whoever has asked."""
        if not self._calls and all(part.message_class is ThinkingMessage for part in self._parts):
            reason = self._fields.get("finish_reason")
            self._finish_current()
            raise LLMEmptyCompletionError(f"{self._provider} answered without a text (finish reason: {reason}).")
        for call in self._calls.values():
            if not call.part.written:
                call.part.write("{}")  # of a tool without arguments some models write nothing
        calls = {
            call.part: {"call_id": call.call_id or f"call_{number}", "tool": call.tool}
            for number, call in enumerate(self._calls.values())
        }
        for part in self._parts:
            if part.is_open:
                told = self._fields if part is self._parts[-1] else self._told_by_each()
                part.finish({**told, **calls.get(part, {})})

    def fail(self, error: BaseException) -> bool:
        """The answer breaks off. False if no message of it can tell, because none has begun."""
        failed = [part for part in self._parts if part.is_open]
        for part in failed:
            part.fail(error)
        # The traceback of the error leads here, and the messages to the error.
        self._parts, self._calls, self._current = [], {}, None
        return bool(failed)

    async def settled(self) -> None:
        """Wait for those who look on."""

    async def messages(self) -> tuple[Message, ...]:
        """The messages of the complete answer."""
        return tuple([await part for part in self._parts])

    async def _think(self, piece: ThinkingPiece) -> None:
        if piece.starts:
            self._finish_current()
        part = await self._write(ThinkingMessage, piece.text, redacted=piece.redacted)
        if piece.signature:
            self._signature.append(valid_text(piece.signature))
            part.tell(signature="".join(self._signature), signed_by=self._provider)
        elif piece.goes_back:
            part.tell(signed_by=self._provider)

    def _call(self, piece: ToolCallPiece) -> None:
        self._check_length(piece.arguments)
        call = self._calls.get(piece.index)
        if call is None:
            if not (piece.call_id or piece.tool or piece.arguments):
                return  # an empty answer must not pass for one that has a call
            self._finish_current()
            known = {"call_id": valid_text(piece.call_id), "tool": valid_text(piece.tool)}
            call = self._calls[piece.index] = _Call(self._open(ToolCallMessage, **known))
        call.call_id = call.call_id or valid_text(piece.call_id)
        call.tool = call.tool or valid_text(piece.tool)
        if piece.signature:
            call.part.tell(signature=valid_text(piece.signature), signed_by=self._provider)
        call.part.write(piece.arguments)

    async def _write(self, message_class: type[Message], text: str, **known: Any) -> AnswerPart:
        part = self._current
        if part is None or part.message_class is not message_class:
            self._finish_current()
            part = self._current = self._open(message_class, **known)
        self._check_length(text)
        part.write(text)
        if message_class is self._answer_class:  # of all else, nobody may want to read it before what follows
            await part.wait_for_readers(self._slot)
        return part

    def _open(self, message_class: type[Message], **known: Any) -> AnswerPart:
        who = f"answer of {self._ctx.this_agent.alias}"
        # The role is given beside that of the class, so that it is in the message's own words.
        role = message_class.model_fields["role"].default
        known = {"role": role, **self._known, **known}
        part = AnswerPart(who, message_class, known, self._max_ahead, self._text_filter())
        self._parts.append(part)
        self._show(part)
        return part

    def _text_filter(self) -> SurrogateFilter:
        return SurrogateFilter()

    def _show(self, part: AnswerPart) -> None:
        self._ctx.reply(part)

    def _finish_current(self) -> None:
        if self._current is not None:
            self._current.finish(self._told_by_each())
        self._current = None
        self._signature.clear()

    def _told_by_each(self) -> dict[str, Any]:
        return {name: self._fields[name] for name in _TOLD_BY_EACH if name in self._fields}

    def _check_length(self, text: str) -> None:
        self._length += len(text)
        _sizes.check_length(self._length, _sizes.MAX_TEXT, f"The answer of {self._provider}", "characters")


def _fields_in(event: object) -> Mapping[str, Any]:
    if not isinstance(event, Mapping):
        raise TypeError(
            f"A provider gave {event!r:.100} as a piece of its answer, which is no `AnswerEvent`: a text, a "
            "`ThinkingPiece`, a `ToolCallPiece`, or a dict of fields."
        )
    return event
