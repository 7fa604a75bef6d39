"""The wire format of OpenAI's chat completions."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from miniagents.testing._checks_chat import check_chat
from miniagents.testing._wire import JSON, Event, Exchange, RefusedError, StreamedWire, dump

CREATED = 1_700_000_000  # some moment; answers to equal requests are equal
_FINISH_REASONS = {"finish_length": "length", "finish_content_filter": "content_filter"}
_ERRORS = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
}


class OpenAIWire(StreamedWire):
    """Makes the parts of an answer to `POST /v1/chat/completions`."""

    can_interleave = True

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange)
        options = exchange.body.get("stream_options")
        self._include_usage = isinstance(options, Mapping) and bool(options.get("include_usage"))
        self._tools = [position for position, part in enumerate(exchange.parts) if part.kind == "tool"]

    def check(self) -> None:
        """Whether OpenAI would refuse the request."""
        check_chat(self._exchange.body)

    def opening(self) -> Iterator[Event]:
        """The chunk with the role; before it, if asked for, the one without choices that Azure sends."""
        if self._exchange.fault == "empty_choices_first":
            yield self._chunk([], prompt_filter_results=[{"prompt_index": 0, "content_filter_results": {}}])
        role = {} if self._exchange.fault == "missing_role" else {"role": "assistant"}
        yield self._delta({**role, "content": "" if self._text is not None else None, "refusal": None})

    def closing(self) -> Iterator[Event]:
        """The chunk with the finish reason, the usage if the request asks for it, and the end marker."""
        yield self._delta({}, finish_reason=self._finish_reason)
        if self._include_usage:
            yield self._chunk([], usage=self._usage)
        yield Event("[DONE]")

    def error_events(self) -> Iterator[Event]:
        """An error in the place of a chunk."""
        yield Event(dump(self.error_body(500, "The server had an error while processing your request.")))

    def whole(self) -> JSON:
        """A chat completion."""
        fault = self._exchange.fault
        message: dict[str, Any] = {} if fault == "missing_role" else {"role": "assistant"}
        message["content"] = None if fault == "null_content" else self._text
        message["refusal"] = None
        thinking = [part.text for part in self._exchange.parts if part.kind == "thinking"]
        if thinking:
            message["reasoning_content"] = "".join(thinking)
        if self._tools:
            message["tool_calls"] = [self._tool_call(position) for position in self._tools]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._finish_reason}
        choices = [] if fault == "empty_choices_first" else [choice]
        return {**self._envelope("chat.completion"), "choices": choices, "usage": self._usage}

    def error_body(self, status: int, message: str) -> JSON:
        """An error."""
        return error_body(status, message)

    def refusal_body(self, refusal: RefusedError) -> JSON:
        """An error that tells the field which is wrong."""
        return refusal_body(refusal)

    def empty_token(self) -> Event:
        """A chunk in which what should be a text is null."""
        return self._fragment(self._current, None)

    def _begin(self, position: int) -> Iterator[Event]:
        if self._kind(position) == "tool":
            call = self._tool_call(position)
            call["function"] = {**call["function"], "arguments": ""}
            yield self._delta({"tool_calls": [{"index": self._tools.index(position), **call}]})

    def _fragment(self, position: int, text: str | None) -> Event:
        match self._kind(position):
            case "tool":
                index = self._tools.index(position)
                return self._delta({"tool_calls": [{"index": index, "function": {"arguments": text}}]})
            case "thinking" | "redacted":
                return self._delta({"reasoning_content": text})
        return self._delta({"content": text})

    def _tool_call(self, position: int) -> dict[str, Any]:
        part = self._exchange.parts[position]
        function = {"name": part.name, "arguments": part.text}
        return {"id": self._exchange.call_id(position, "call"), "type": "function", "function": function}

    @property
    def _text(self) -> str | None:
        texts = [part.text for part in self._exchange.parts if part.kind == "text"]
        return "".join(texts) if texts or not self._exchange.parts else None

    @property
    def _finish_reason(self) -> str:
        return _FINISH_REASONS.get(self._exchange.fault or "", "tool_calls" if self._tools else "stop")

    @property
    def _usage(self) -> JSON:
        prompt, completion = self._exchange.input_tokens, self._exchange.output_tokens
        usage: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": completion}
        usage["total_tokens"] = prompt + completion
        if self._exchange.thinking_tokens:
            usage["completion_tokens_details"] = {"reasoning_tokens": self._exchange.thinking_tokens}
        return usage

    def _envelope(self, kind: str) -> JSON:
        return {
            "id": f"chatcmpl-{self._exchange.number}",
            "object": kind,
            "created": CREATED,
            "model": self._exchange.model,
        }

    def _chunk(self, choices: Sequence[JSON], *, usage: JSON | None = None, **more: object) -> Event:
        # With `include_usage` every chunk has the field, and only the last one has something in it.
        usage_field = {"usage": usage} if self._include_usage else {}
        return Event(dump({**self._envelope("chat.completion.chunk"), "choices": choices, **usage_field, **more}))

    def _delta(self, delta: JSON, finish_reason: str | None = None) -> Event:
        return self._chunk([{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}])


def error_body(status: int, message: str) -> JSON:
    """An error of OpenAI."""
    kind, code = _ERRORS.get(status, ("server_error", None))
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def refusal_body(refusal: RefusedError) -> JSON:
    """An error of OpenAI that tells the field which is wrong."""
    error = {"message": refusal.message, "type": "invalid_request_error", "param": refusal.param, "code": refusal.code}
    return {"error": error}


def model_list(models: Sequence[str]) -> JSON:
    """The answer to `GET /v1/models`."""
    return {
        "object": "list",
        "data": [{"id": model, "object": "model", "created": CREATED, "owned_by": "miniagents"} for model in models],
    }
