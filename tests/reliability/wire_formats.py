"""How each provider words the parts of an answer."""

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from miniagents.ext.llm.errors import LLMProtocolError, LLMStatusError
from reliability.wire_bodies import Part


def noise(raw: bytes) -> Part:
    """What tells nothing."""
    return Part(raw)


def dumped(value: Any, *, is_ascii: bool = False) -> bytes:
    """As JSON, halves of characters as escapes."""
    text = json.dumps(value, ensure_ascii=is_ascii, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:
        return dumped(value, is_ascii=True)


@dataclass(frozen=True)
class Format(ABC):
    """A wire format."""

    eol: bytes = b"\n"
    prefix: bytes = b"data: "
    is_ascii: bool = False
    """Whether all other characters are sent as escapes."""
    has_names: bool = True
    """Whether it tells the names of events, if there are such."""
    has_two_lines: bool = False
    """Whether each object goes over two lines."""
    goes_by_type: bool = False
    """Whether the adapter goes by the content type also of an answer that is not to be streamed; SDKs do not."""

    def event(self, value: Any, *, name: str = "", **tells: Any) -> Part:
        """A server-sent event. `value` is JSON, or bytes, each line of which becomes one of the event."""
        payload = value if isinstance(value, bytes) else dumped(value, is_ascii=self.is_ascii)
        if self.has_two_lines:
            payload = payload.replace(b',"', b',\n"', 1)
        lines = [b"event: " + name.encode()] if name and self.has_names else []
        lines += [self.prefix + line for line in payload.split(b"\n")]
        raw = self.eol.join([*lines, b"", b""])
        # The empty line is known to be one at the first byte of its end.
        sealed = len(raw) - len(self.eol) + 1
        # A line that is no JSON may be one of which a part is missing, until it has ended.
        told = sealed if tells.get("error") is LLMProtocolError else len(raw) - 2 * len(self.eol)
        return Part(raw, told, sealed, **tells)

    @abstractmethod
    def start(self, role: str | None = "assistant") -> Part:
        """The first event, with the role if there is one."""

    @abstractmethod
    def text(self, text: str, beside: dict[str, Any] | None = None) -> Part:
        """A piece of the text, with other fields beside it."""

    @abstractmethod
    def nothing(self) -> list[Part]:
        """Pieces without a text."""

    @abstractmethod
    def refusal(self, text: str) -> list[Part]:
        """What the model says in the place of an answer, and the end of that."""

    @abstractmethod
    def thought(self, text: str) -> Part:
        """What the model thinks before it speaks."""

    @abstractmethod
    def calls(self) -> list[Part]:
        """Calls of the tools `look` and `go`, in pieces."""

    @abstractmethod
    def reason(self, word: str = "stop", tokens: int = 7) -> list[Part]:
        """Why the answer has ended, and the usage."""

    @abstractmethod
    def end(self) -> Part:
        """The end marker."""

    @abstractmethod
    def odd(self) -> list[Part]:
        """Objects of other shapes than the API has, which tell nothing."""

    @abstractmethod
    def whole(self, text: Any, word: str = "stop") -> dict[str, Any]:
        """An answer that is not streamed, of seven tokens."""

    @abstractmethod
    def error_body(self) -> dict[str, Any]:
        """An error of the type `too_busy`."""

    def error(self) -> Part:
        """An error in the midst of a stream."""
        return self.event(self.error_body(), name="error", error=LLMStatusError, error_type="too_busy")

    def close(self, word: str = "stop") -> list[Part]:
        """All that ends an answer."""
        return [*self.reason(word), self.end()]


CALLS = (("look", '{"at": 1}'), ("go", "{}"))


@dataclass(frozen=True)
class OpenAIFormat(Format):
    """Chat completions."""

    def _chunk(self, delta: Any, reason: str | None = None, *, more: Any = None, **tells: Any) -> Part:
        choice = {"delta": delta} if reason is None else {"delta": delta, "finish_reason": reason}
        return self.event({**(more or {}), "choices": [choice]}, reason=reason, **tells)

    def start(self, role: str | None = "assistant") -> Part:
        delta = {"role": role, "content": ""} if role else {"content": ""}
        # As most servers fill it; elsewhere what tells nothing is left out, because each byte is another run.
        return self.event({"id": "c1", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})

    def text(self, text: str, beside: dict[str, Any] | None = None) -> Part:
        return self._chunk({**(beside or {}), "content": text}, more=beside, text=text)

    def nothing(self) -> list[Part]:
        return [
            self.event({"choices": [], "prompt_filter_results": []}),
            self._chunk({"content": None}),
            self._chunk({"role": "assistant"}),
            self._chunk(None),
        ]

    def refusal(self, text: str) -> list[Part]:
        return [self._chunk({"refusal": text}, text=text), *self.close()]

    def thought(self, text: str) -> Part:
        return self._chunk({"content": None, "reasoning_content": text})

    def calls(self) -> list[Part]:
        def piece(index: int, function: dict[str, str], **call: Any) -> Part:
            return self._chunk({"tool_calls": [{"index": index, "function": function}]}, **call)

        return [
            piece(0, {"name": "look", "arguments": ""}, call=("look", "")),
            piece(0, {"arguments": '{"at"'}, call=("", '{"at"')),
            piece(0, {"arguments": ": 1}"}, call=("", ": 1}")),
            piece(1, {"name": "go", "arguments": "{}"}, call=("go", "{}")),
            *self.close("tool_calls"),
        ]

    def reason(self, word: str = "stop", tokens: int = 7) -> list[Part]:
        usage = {"prompt_tokens": 3, "completion_tokens": tokens}
        return [self._chunk({}, word), self.event({"choices": [], "usage": usage}, tokens=tokens)]

    def end(self) -> Part:
        return self.event(b"[DONE]", ends=True)

    def odd(self) -> list[Part]:
        shapes: list[Any] = [
            {},
            {"usage": {"completion_tokens": float("nan")}},
            {"choices": 5},
            {"choices": [5, None, {"delta": [1]}]},
            {"id": {}, "usage": [1]},
        ]
        return [*map(self.event, shapes), self._chunk({"content": 5, "tool_calls": [3]}, more={"error": None})]

    def whole(self, text: Any, word: str = "stop") -> dict[str, Any]:
        choice = {"index": 0, "message": {"content": text}, "finish_reason": word}
        return {"choices": [choice], "usage": {"completion_tokens": 7}}

    def error_body(self) -> dict[str, Any]:
        return {"error": {"message": "Later.", "type": "too_busy"}}


_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "content_filter": "refusal", "tool_calls": "tool_use"}


@dataclass(frozen=True)
class AnthropicFormat(Format):
    """Messages."""

    def _event(self, kind: str, fields: dict[str, Any], **tells: Any) -> Part:
        return self.event({"type": kind, **fields}, name=kind, **tells)

    def _delta(self, delta: Any, index: int = 0, *, more: Any = None, **tells: Any) -> Part:
        return self._event("content_block_delta", {**(more or {}), "index": index, "delta": delta}, **tells)

    def _block(self, block: Any, index: int = 0, **tells: Any) -> Part:
        return self._event("content_block_start", {"index": index, "content_block": block}, **tells)

    def start(self, role: str | None = "assistant") -> Part:
        return self._event("message_start", {"message": {"role": role} if role else {}})

    def text(self, text: str, beside: dict[str, Any] | None = None) -> Part:
        return self._delta({**(beside or {}), "type": "text_delta", "text": text}, more=beside, text=text)

    def nothing(self) -> list[Part]:
        return [
            self._event("ping", {}),
            self._block({"type": "text", "text": ""}),
            self._delta({"type": "text_delta", "text": ""}),
            self._delta(None),
            self._event("content_block_stop", {"index": 0}),
        ]

    def refusal(self, text: str) -> list[Part]:
        return [self.text(text), *self.close("content_filter")]

    def thought(self, text: str) -> Part:
        return self._delta({"type": "thinking_delta", "thinking": text})

    def calls(self) -> list[Part]:
        def begin(index: int, name: str) -> Part:
            return self._block({"type": "tool_use", "name": name, "input": {}}, index, call=(name, ""))

        def piece(index: int, arguments: str) -> Part:
            return self._delta({"type": "input_json_delta", "partial_json": arguments}, index, call=("", arguments))

        return [
            begin(0, "look"),
            piece(0, '{"at"'),
            piece(0, ": 1}"),
            begin(1, "go"),
            piece(1, "{}"),
            *self.close("tool_calls"),
        ]

    def reason(self, word: str = "stop", tokens: int = 7) -> list[Part]:
        fields = {"delta": {"stop_reason": _STOP_REASONS[word]}, "usage": {"output_tokens": tokens}}
        return [self._event("message_delta", fields, reason=word, tokens=tokens)]

    def end(self) -> Part:
        return self._event("message_stop", {}, ends=True)

    def odd(self) -> list[Part]:
        shapes: list[Any] = [{}, {"type": 5}, {"type": "new", "text": "x"}, {"type": "message_delta", "delta": [1]}]
        return [
            *map(self.event, shapes),
            self._block([1]),
            self._block({"type": "tool_use"}, 3),
            self._event("message_start", {"message": "x"}),
        ]

    def whole(self, text: Any, word: str = "stop") -> dict[str, Any]:
        content = [] if text is None else [{"type": "text", "text": text}]
        return {"content": content, "stop_reason": _STOP_REASONS[word], "usage": {"output_tokens": 7}}

    def error_body(self) -> dict[str, Any]:
        return {"type": "error", "error": {"type": "too_busy", "message": "Later."}}


@dataclass(frozen=True)
class ResponsesFormat(Format):
    """Responses, whose last event tells the reason and the usage."""

    def _event(self, kind: str, fields: dict[str, Any], **tells: Any) -> Part:
        return self.event({"type": kind, **fields}, name=kind, **tells)

    def start(self, role: str | None = "assistant") -> Part:
        return self._event("response.created", {"response": {"role": role} if role else {}})

    def text(self, text: str, beside: dict[str, Any] | None = None) -> Part:
        fields = {**(beside or {}), "output_index": 0, "delta": text}
        return self._event("response.output_text.delta", fields, text=text)

    def nothing(self) -> list[Part]:
        return [
            self._event("response.queued", {"response": {}}),
            self._event("response.output_item.added", {"output_index": 0, "item": {"type": "message"}}),
            self._event("response.output_text.delta", {"output_index": 0, "delta": ""}),
            self._event("response.output_text.delta", {"delta": None}),
        ]

    def refusal(self, text: str) -> list[Part]:
        return [self._event("response.refusal.delta", {"output_index": 0, "delta": text}, text=text), *self.close()]

    def thought(self, text: str) -> Part:
        return self._event("response.reasoning_summary_text.delta", {"output_index": 9, "delta": text})

    def calls(self) -> list[Part]:
        def begin(index: int, name: str) -> Part:
            item = {"type": "function_call", "name": name, "arguments": ""}
            return self._event("response.output_item.added", {"output_index": index, "item": item}, call=(name, ""))

        def piece(index: int, arguments: str) -> Part:
            fields = {"output_index": index, "delta": arguments}
            return self._event("response.function_call_arguments.delta", fields, call=("", arguments))

        return [
            begin(0, "look"),
            piece(0, '{"at"'),
            piece(0, ": 1}"),
            begin(1, "go"),
            piece(1, "{}"),
            *self._closing("stop", tells="tool_calls"),
        ]

    def reason(self, word: str = "stop", tokens: int = 7) -> list[Part]:
        return self._closing(word, tokens)

    def _closing(self, word: str, tokens: int = 7, tells: str | None = None) -> list[Part]:
        response = {**_status(word), "usage": {"output_tokens": tokens}}
        kind = f"response.{response['status']}"
        return [self._event(kind, {"response": response}, reason=tells or word, tokens=tokens, ends=True)]

    def end(self) -> Part:
        return self.event(b"[DONE]", ends=True)

    def odd(self) -> list[Part]:
        shapes: list[Any] = [
            {},
            {"type": 5},
            {"type": "new", "delta": "x"},
            {"type": "response.created", "response": "x"},
            {"type": "response.output_item.added", "item": [1]},
            {"type": "response.output_item.done", "output_index": {}, "item": {"type": "message", "content": 5}},
            {"type": "response.output_text.delta", "output_index": [], "delta": 5},
        ]
        return [*map(self.event, shapes)]

    def whole(self, text: Any, word: str = "stop") -> dict[str, Any]:
        output = [{"type": "message", "content": [{"type": "output_text", "text": text}]}]
        return {**_status(word), "output": output, "usage": {"output_tokens": 7}}

    def error_body(self) -> dict[str, Any]:
        return {"error": {"message": "Later.", "type": "too_busy"}}

    def error(self) -> Part:
        value = {"type": "error", "code": "too_busy", "message": "Later.", "param": None}
        return self.event(value, name="error", error=LLMStatusError, error_type="too_busy")


def _status(word: str) -> dict[str, Any]:
    if word == "stop":
        return {"status": "completed", "incomplete_details": None}
    reason = "max_output_tokens" if word == "length" else word
    return {"status": "incomplete", "incomplete_details": {"reason": reason}}
