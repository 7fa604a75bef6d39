"""The wire format of OpenAI's responses."""

from collections.abc import Iterator, Sequence
from typing import Any

from miniagents.testing._checks_responses import check_response, input_items
from miniagents.testing._wire import JSON, Event, Exchange, RefusedError, StreamedWire, dump
from miniagents.testing._wire_openai import CREATED, error_body, refusal_body

_REASONS = {"finish_length": "max_output_tokens", "finish_content_filter": "content_filter"}
_SERVER_ERROR = "The server had an error while processing your request. Sorry about that!"


class ResponsesWire(StreamedWire):
    """Makes the parts of an answer to `POST /v1/responses`."""

    can_interleave = True

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange)
        self._sequence_number = 0
        self._shows_encrypted = "reasoning.encrypted_content" in (exchange.body.get("include") or ())

    def check(self) -> None:
        """Whether OpenAI would refuse the request."""
        check_response(self._exchange.body, self._exchange.memory)

    def opening(self) -> Iterator[Event]:
        """The response as it is at the beginning."""
        self._remember()
        if self._exchange.fault == "empty_choices_first":
            # The helper of the SDK insists on `created` as the first event, so what is odd comes second.
            yield self._event("response.created", response=self._response("queued", []))
            yield self._event("response.queued", response=self._response("queued", []))
        else:
            yield self._event("response.created", response=self._response("in_progress", []))
        yield self._event("response.in_progress", response=self._response("in_progress", []))

    def closing(self) -> Iterator[Event]:
        """The response as it is at the end."""
        yield self._event(f"response.{self._status}", response=self._response(self._status, self._items))

    def error_events(self) -> Iterator[Event]:
        """An error, and the response that failed."""
        yield self._event("error", code="server_error", message=_SERVER_ERROR, param=None)
        failed = {**self._response("failed", []), "error": {"code": "server_error", "message": _SERVER_ERROR}}
        yield self._event("response.failed", response=failed)

    def whole(self) -> JSON:
        """A response."""
        self._remember()
        items = [] if self._exchange.fault == "empty_choices_first" else self._items
        if self._exchange.fault == "null_content":
            items = [
                {**item, "content": [{**part, "text": None} for part in item["content"]]} if "content" in item else item
                for item in items
            ]
        return self._response(self._status, items)

    def error_body(self, status: int, message: str) -> JSON:
        """An error."""
        return error_body(status, message)

    def refusal_body(self, refusal: RefusedError) -> JSON:
        """An error that tells the field which is wrong."""
        return refusal_body(refusal)

    def _begin(self, position: int) -> Iterator[Event]:
        item = self._item(position, "in_progress")
        place = self._place(position)
        match item["type"]:
            case "reasoning":
                item["summary"] = []
            case "function_call":
                item["arguments"] = ""
            case _:
                item["content"] = []
        yield self._event("response.output_item.added", output_index=position, item=item)
        if self._kind(position) == "thinking":
            part = {"type": "summary_text", "text": ""}
            yield self._event("response.reasoning_summary_part.added", **place, summary_index=0, part=part)
        elif self._kind(position) == "text":
            yield self._event("response.content_part.added", **place, content_index=0, part=_output_text(""))

    def _fragment(self, position: int, text: str) -> Event:
        place = self._place(position)
        match self._kind(position):
            case "tool":
                return self._event("response.function_call_arguments.delta", **place, delta=text)
            case "thinking" | "redacted":
                return self._event("response.reasoning_summary_text.delta", **place, summary_index=0, delta=text)
        return self._event("response.output_text.delta", **place, content_index=0, delta=text, logprobs=[])

    def _end(self, position: int) -> Iterator[Event]:
        part = self._exchange.parts[position]
        place = self._place(position)
        if part.kind == "tool":
            yield self._event("response.function_call_arguments.done", **place, arguments=part.text)
        elif part.kind == "thinking":
            summary = {"type": "summary_text", "text": part.text}
            yield self._event("response.reasoning_summary_text.done", **place, summary_index=0, text=part.text)
            yield self._event("response.reasoning_summary_part.done", **place, summary_index=0, part=summary)
        elif part.kind == "text":
            yield self._event("response.output_text.done", **place, content_index=0, text=part.text, logprobs=[])
            yield self._event("response.content_part.done", **place, content_index=0, part=_output_text(part.text))
        item = self._item(position, self._status_of(position))
        yield self._event("response.output_item.done", output_index=position, item=item)

    def _item(self, position: int, status: str) -> dict[str, Any]:
        part = self._exchange.parts[position]
        item_id = self._item_id(position)
        match part.kind:
            case "tool":
                call_id = self._exchange.call_id(position, "call")
                fields = {"arguments": part.text, "call_id": call_id, "name": part.name}
                return {"id": item_id, "type": "function_call", "status": status, **fields}
            case "thinking" | "redacted":
                summary = [{"type": "summary_text", "text": part.text}] if part.kind == "thinking" else []
                encrypted = {"encrypted_content": part.signature} if self._shows_encrypted else {}
                return {"id": item_id, "type": "reasoning", "summary": summary, **encrypted}
        role = {} if self._exchange.fault == "missing_role" else {"role": "assistant"}
        return {"id": item_id, "type": "message", "status": status, "content": [_output_text(part.text)], **role}

    @property
    def _items(self) -> list[dict[str, Any]]:
        return [self._item(position, self._status_of(position)) for position in range(len(self._exchange.parts))]

    def _status_of(self, position: int) -> str:
        return self._status if position == len(self._exchange.parts) - 1 else "completed"

    @property
    def _status(self) -> str:
        return "incomplete" if self._exchange.fault in _REASONS else "completed"

    def _item_id(self, position: int) -> str:
        prefix = {"tool": "fc", "thinking": "rs", "redacted": "rs"}.get(self._kind(position), "msg")
        return f"{prefix}_{self._exchange.number}_{position}"

    def _place(self, position: int) -> dict[str, Any]:
        return {"item_id": self._item_id(position), "output_index": position}

    def _event(self, kind: str, **fields: object) -> Event:
        data = {"type": kind, "sequence_number": self._sequence_number, **fields}
        self._sequence_number += 1
        return Event(dump(data), name=kind)

    def _remember(self) -> None:
        memory, items = self._exchange.memory, self._items
        memory.items.update((item["id"], item) for item in items)
        if self._exchange.body.get("store", True) is not False:
            memory.responses[self._id] = [*input_items(self._exchange.body, memory), *items]

    @property
    def _id(self) -> str:
        return f"resp_{self._exchange.number}"

    def _response(self, status: str, output: Sequence[JSON]) -> JSON:
        body = self._exchange.body
        reasoning = body.get("reasoning") or {}
        is_over = status in ("completed", "incomplete")
        reason = _REASONS.get(self._exchange.fault or "")
        return {
            "id": self._id,
            "object": "response",
            "created_at": CREATED,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": {"reason": reason} if status == "incomplete" else None,
            "instructions": body.get("instructions"),
            "max_output_tokens": body.get("max_output_tokens"),
            "max_tool_calls": body.get("max_tool_calls"),
            "model": self._exchange.model,
            "output": output,
            "parallel_tool_calls": body.get("parallel_tool_calls", True),
            "previous_response_id": body.get("previous_response_id"),
            "reasoning": {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")},
            "temperature": body.get("temperature", 1.0),
            "text": body.get("text") or {"format": {"type": "text"}},
            "tool_choice": body.get("tool_choice", "auto"),
            "tools": body.get("tools") or [],
            "top_p": body.get("top_p", 1.0),
            "truncation": body.get("truncation", "disabled"),
            "usage": self._usage if is_over else None,
            "user": body.get("user"),
            "metadata": body.get("metadata") or {},
        }

    @property
    def _usage(self) -> JSON:
        given, made = self._exchange.input_tokens, self._exchange.output_tokens
        return {
            "input_tokens": given,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": made,
            "output_tokens_details": {"reasoning_tokens": self._exchange.thinking_tokens},
            "total_tokens": given + made,
        }


def _output_text(text: str) -> dict[str, Any]:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}
