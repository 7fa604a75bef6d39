"""The wire format of Anthropic's messages."""

from collections.abc import Iterator, Sequence
from typing import Any

from miniagents.testing._wire import JSON, Event, Wire, dump

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


class AnthropicWire(Wire):
    """Makes the parts of an answer to `POST /v1/messages`."""

    def problem(self) -> str | None:
        """Why Anthropic would refuse the request."""
        for name, kind in (("model", str), ("max_tokens", int), ("messages", list)):
            if not isinstance(self._exchange.body.get(name), kind):
                return f"{name}: Field required"
        return None

    def opening(self) -> Iterator[Event]:
        """The start of the message and of its one block of text, and a ping."""
        if self._exchange.fault == "empty_choices_first":
            yield _event("ping")
        message = {**self._message([]), "stop_reason": None, "usage": self._usage(1)}
        yield _event("message_start", message=message)
        if self._has_text:
            yield _event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        yield _event("ping")

    def token(self, text: str) -> Event:
        """A piece of the text."""
        return _event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})

    def empty_token(self) -> Event:
        """A piece without text."""
        return self.token("")

    def closing(self) -> Iterator[Event]:
        """The end of the block and of the message, with the reason and the usage."""
        if self._has_text:
            yield _event("content_block_stop", index=0)
        delta = {"stop_reason": self._stop_reason, "stop_sequence": None}
        yield _event("message_delta", delta=delta, usage={"output_tokens": len(self._exchange.tokens)})
        yield _event("message_stop")

    def error_event(self) -> Event:
        """An error in the midst of the stream."""
        return Event(dump(self.error_body(529, "Overloaded")), name="error")

    def whole(self) -> JSON:
        """A message."""
        text = "".join(self._exchange.tokens)
        return self._message([{"type": "text", "text": text}] if self._has_text else [])

    def error_body(self, status: int, message: str) -> JSON:
        """An error."""
        kind = _ERROR_TYPES.get(status, "api_error")
        return {
            "type": "error",
            "error": {"type": kind, "message": message},
            "request_id": f"req_{self._exchange.number}",
        }

    @property
    def _has_text(self) -> bool:
        return self._exchange.fault != "no_content"

    @property
    def _stop_reason(self) -> str:
        return _STOP_REASONS.get(self._exchange.fault or "", "end_turn")

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
            "usage": self._usage(len(self._exchange.tokens)),
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
