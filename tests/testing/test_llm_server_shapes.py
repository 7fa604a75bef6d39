"""Everything that the LLM server sends, held against the types that the official SDKs have for it."""

import json
from typing import Any

import httpx2
import pytest
from anthropic.types import Message, RawMessageStreamEvent
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from miniagents.testing import LLMServer, RedactedThinking, Thinking, ToolUse

HI = [{"role": "user", "content": "Hi"}]
PARAMETERS = {"type": "object", "properties": {}}
REPLY = [Thinking("two towns"), RedactedThinking(), "Let me see.", ToolUse("f", {"n": 1}), ToolUse("g"), "So."]

CHAT: dict[str, Any] = {
    "model": "m",
    "messages": HI,
    "tools": [{"type": "function", "function": {"name": "f", "parameters": PARAMETERS}}],
    "stream_options": {"include_usage": True},
}
MESSAGES: dict[str, Any] = {
    "model": "m",
    "messages": HI,
    "max_tokens": 2000,
    "tools": [{"name": "f", "input_schema": PARAMETERS}],
}
RESPONSES: dict[str, Any] = {
    "model": "m",
    "input": HI,
    "tools": [{"type": "function", "name": "f", "parameters": PARAMETERS, "strict": False}],
    "reasoning": {"effort": "low", "summary": "auto"},
    "include": ["reasoning.encrypted_content"],
}
STREAMS = {
    "/v1/chat/completions": (CHAT, ChatCompletionChunk),
    "/v1/messages": (MESSAGES, RawMessageStreamEvent),
    "/v1/responses": (RESPONSES, ResponseStreamEvent),
}
WHOLES = {
    "/v1/chat/completions": (CHAT, ChatCompletion),
    "/v1/messages": (MESSAGES, Message),
    "/v1/responses": (RESPONSES, Response),
    "/v1/embeddings": ({"model": "m", "input": ["a", "b"]}, CreateEmbeddingResponse),
}
NOT_OF_OPENAI = {"reasoning_content"}  # other servers have it


def unknown_fields(value: object) -> set[str]:
    """The fields in a value that no type of the SDK knows."""
    if isinstance(value, list):
        return {name for item in value for name in unknown_fields(item)}
    if not isinstance(value, BaseModel):
        return set()
    inner = {name for item in vars(value).values() for name in unknown_fields(item)}
    return inner | set(value.model_extra or {})


@pytest.mark.parametrize("fault", [None, "interleaved_tool_calls", "finish_length", "no_content", "error_event"])
@pytest.mark.parametrize("path", list(STREAMS))
async def test_every_event_has_the_type_that_the_sdk_has_for_it(path: str, fault: Any) -> None:
    """Each event has all fields that its type in the SDK requires, each of the right type, and no others."""
    body, kind = STREAMS[path]
    async with LLMServer(REPLY, fault=fault) as server, httpx2.AsyncClient(verify=False) as client:
        response = await client.post(server.url + path, json={**body, "stream": True})
    texts = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
    values = [json.loads(text) for text in texts if text != "[DONE]"]
    if fault == "error_event" and path != "/v1/responses":
        assert "error" in values.pop()
    # The end of an event `ping` is that it is there; the SDK drops it before it looks at its type.
    events = [TypeAdapter(kind).validate_python(value) for value in values if value.get("type") != "ping"]
    assert len(events) >= 2
    assert {name for event in events for name in unknown_fields(event)} <= NOT_OF_OPENAI


@pytest.mark.parametrize("path", list(WHOLES))
async def test_every_whole_answer_has_the_type_that_the_sdk_has_for_it(path: str) -> None:
    """The same for answers in one piece."""
    body, kind = WHOLES[path]
    body = {name: value for name, value in body.items() if name != "stream_options"}
    async with LLMServer(REPLY) as server, httpx2.AsyncClient(verify=False) as client:
        response = await client.post(server.url + path, json=body)
    assert unknown_fields(TypeAdapter(kind).validate_python(response.json())) <= NOT_OF_OPENAI
