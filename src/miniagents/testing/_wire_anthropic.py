"""The wire format of Anthropic's messages."""

from collections.abc import Iterator, Sequence
from typing import Any

from miniagents.testing._checks_anthropic import check_messages
from miniagents.testing._wire import JSON, Event, StreamedWire, dump

_CREATED_AT = "2023-11-14T22:13:20Z"  # some moment; answers to equal requests are equal
_STOP_REASONS = {"finish_length": "max_tokens", "finish_content_filter": "refusal"}
_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


class AnthropicWire(StreamedWire):
    """Makes the parts of an answer to `POST /v1/messages`."""

    def check(self) -> None:
        """Whether Anthropic would refuse the request."""
        check_messages(self._exchange.body, self._exchange.memory)

    def opening(self) -> Iterator[Event]:
        """The start of the message."""
        if self._exchange.fault == "empty_choices_first":
            yield _event("ping")
        message = {**self._message([]), "stop_reason": None, "usage": self._usage(1)}
        yield _event("message_start", message=message)
        if not self._exchange.parts:
            yield _event("ping")

    def closing(self) -> Iterator[Event]:
        """The end of the message, with the reason and the usage."""
        delta = {"stop_reason": self._stop_reason, "stop_sequence": None}
        yield _event("message_delta", delta=delta, usage={"output_tokens": self._exchange.output_tokens})
        yield _event("message_stop")

    def error_events(self) -> Iterator[Event]:
        """An error in the midst of the stream."""
        yield Event(dump(self.error_body(529, "Overloaded")), name="error")

    def whole(self) -> JSON:
        """A message."""
        return self._message([self._block(position) for position in range(len(self._exchange.parts))])

    def error_body(self, status: int, message: str) -> JSON:
        """An error."""
        kind = _ERROR_TYPES.get(status, "api_error")
        return {
            "type": "error",
            "error": {"type": kind, "message": message},
            "request_id": f"req_{self._exchange.number}",
        }

    def _begin(self, position: int) -> Iterator[Event]:
        block = self._block(position)
        match block["type"]:
            case "text":
                block["text"] = ""
            case "thinking":
                block["thinking"] = block["signature"] = ""
            case "tool_use":
                block["input"] = {}
        yield _event("content_block_start", index=position, content_block=block)
        if position == 0:
            yield _event("ping")
        if block["type"] == "tool_use":
            yield self._fragment(position, "")  # the arguments of a tool always begin with an empty piece

    def _fragment(self, position: int, text: str) -> Event:
        match self._kind(position):
            case "tool":
                delta = {"type": "input_json_delta", "partial_json": text}
            case "thinking":
                delta = {"type": "thinking_delta", "thinking": text}
            case _:
                delta = {"type": "text_delta", "text": text}
        return _event("content_block_delta", index=position, delta=delta)

    def _end(self, position: int) -> Iterator[Event]:
        part = self._exchange.parts[position]
        if part.kind == "thinking":
            delta = {"type": "signature_delta", "signature": part.signature}
            yield _event("content_block_delta", index=position, delta=delta)
        yield _event("content_block_stop", index=position)

    def _block(self, position: int) -> dict[str, Any]:
        part = self._exchange.parts[position]
        match part.kind:
            case "tool":
                call_id = self._exchange.call_id(position, "toolu")
                return {"type": "tool_use", "id": call_id, "name": part.name, "input": part.arguments}
            case "thinking":
                return {"type": "thinking", "thinking": part.text, "signature": part.signature}
            case "redacted":
                return {"type": "redacted_thinking", "data": part.signature}
        return {"type": "text", "text": part.text}

    @property
    def _stop_reason(self) -> str:
        calls_tools = any(part.kind == "tool" for part in self._exchange.parts)
        return _STOP_REASONS.get(self._exchange.fault or "", "tool_use" if calls_tools else "end_turn")

    def _usage(self, output_tokens: int) -> JSON:
        return {"input_tokens": self._exchange.input_tokens, "output_tokens": output_tokens}

    def _message(self, content: Sequence[JSON]) -> dict[str, Any]:
        role = {} if self._exchange.fault == "missing_role" else {"role": "assistant"}
        return {
            "id": f"msg_{self._exchange.number}",
            "type": "message",
            **role,
            "model": self._exchange.model,
            "content": content,
            "stop_reason": self._stop_reason,
            "stop_sequence": None,
            "usage": self._usage(self._exchange.output_tokens),
        }


def _event(kind: str, **fields: object) -> Event:
    return Event(dump({"type": kind, **fields}), name=kind)


def model_list(models: Sequence[str]) -> JSON:
    """The answer to `GET /v1/models`."""
    return {
        "data": [{"type": "model", "id": model, "display_name": model, "created_at": _CREATED_AT} for model in models],
        "has_more": False,
        "first_id": models[0] if models else None,
        "last_id": models[-1] if models else None,
    }
