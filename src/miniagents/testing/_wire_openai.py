"""The wire format of OpenAI's chat completions."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from miniagents.testing._wire import JSON, Event, Exchange, Wire, dump

_CREATED = 1_700_000_000  # some moment; answers to equal requests are equal
_FINISH_REASONS = {"finish_length": "length", "finish_content_filter": "content_filter"}
_ERRORS = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
}


class OpenAIWire(Wire):
    """Makes the parts of an answer to `POST /v1/chat/completions`."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange)
        options = exchange.body.get("stream_options")
        self._include_usage = isinstance(options, Mapping) and bool(options.get("include_usage"))

    def problem(self) -> str | None:
        """Why OpenAI would refuse the request."""
        for name, kind in (("model", str), ("messages", list)):
            if not isinstance(self._exchange.body.get(name), kind):
                return f"Missing required parameter: '{name}'."
        return None

    def opening(self) -> Iterator[Event]:
        """The chunk with the role; before it, if asked for, the one without choices that Azure sends."""
        if self._exchange.fault == "empty_choices_first":
            yield self._chunk([], prompt_filter_results=[{"prompt_index": 0, "content_filter_results": {}}])
        role = {} if self._exchange.fault == "missing_role" else {"role": "assistant"}
        yield self._delta({**role, "content": "", "refusal": None})

    def token(self, text: str) -> Event:
        """A chunk with a piece of the content."""
        return self._delta({"content": text})

    def empty_token(self) -> Event:
        """A chunk whose content is null."""
        return self._delta({"content": None})

    def closing(self) -> Iterator[Event]:
        """The chunk with the finish reason, the usage if the request asks for it, and the end marker."""
        yield self._delta({}, finish_reason=self._finish_reason)
        if self._include_usage:
            yield self._chunk([], usage=self._usage)
        yield Event("[DONE]")

    def error_event(self) -> Event:
        """An error in the place of a chunk."""
        return Event(dump(self.error_body(500, "The server had an error while processing your request.")))

    def whole(self) -> JSON:
        """A chat completion."""
        fault = self._exchange.fault
        message: dict[str, Any] = {} if fault == "missing_role" else {"role": "assistant"}
        message["content"] = None if fault == "null_content" else "".join(self._exchange.tokens)
        message["refusal"] = None
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._finish_reason}
        choices = [] if fault == "empty_choices_first" else [choice]
        return {**self._envelope("chat.completion"), "choices": choices, "usage": self._usage}

    def error_body(self, status: int, message: str) -> JSON:
        """An error."""
        kind, code = _ERRORS.get(status, ("server_error", None))
        return {"error": {"message": message, "type": kind, "param": None, "code": code}}

    @property
    def _finish_reason(self) -> str:
        return _FINISH_REASONS.get(self._exchange.fault or "", "stop")

    @property
    def _usage(self) -> JSON:
        prompt, completion = self._exchange.input_tokens, len(self._exchange.tokens)
        return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}

    def _envelope(self, kind: str) -> JSON:
        return {
            "id": f"chatcmpl-{self._exchange.number}",
            "object": kind,
            "created": _CREATED,
            "model": self._exchange.model,
        }

    def _chunk(self, choices: Sequence[JSON], *, usage: JSON | None = None, **more: object) -> Event:
        # With `include_usage` every chunk has the field, and only the last one has something in it.
        usage_field = {"usage": usage} if self._include_usage else {}
        return Event(dump({**self._envelope("chat.completion.chunk"), "choices": choices, **usage_field, **more}))

    def _delta(self, delta: JSON, finish_reason: str | None = None) -> Event:
        return self._chunk([{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}])


def model_list(models: Sequence[str]) -> JSON:
    """The answer to `GET /v1/models`."""
    return {
        "object": "list",
        "data": [{"id": model, "object": "model", "created": _CREATED, "owned_by": "miniagents"} for model in models],
    }
