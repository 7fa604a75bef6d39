"""Replies of the LLM server that are more than a text, through the official SDKs: thinking and calls of tools."""

import json
from itertools import pairwise
from typing import Any

import httpx2
import pytest
from anthropic.types import Message
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionMessage

from miniagents.testing import LLMRequest, LLMServer, RedactedThinking, Thinking, ToolUse
from miniagents.testing._parts import parts_of
from support.sdk_clients import anthropic_client, openai_client

both_ways = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])

HI = [{"role": "user", "content": "Hi"}]
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}}
CHAT_TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": WEATHER}}]
ANTHROPIC_TOOLS = [{"name": "weather", "input_schema": WEATHER}]
EVERYTHING = [
    Thinking("two towns"),
    "Let me ",
    "see.",
    ToolUse("weather", {"city": "Žilina", "days": [1, 2]}),
    ToolUse("weather", {"city": "Oslo"}, id="call_oslo"),
]


async def chat(server: LLMServer, stream: bool = True, **request: Any) -> tuple[ChatCompletionMessage, str, Any]:
    """The message, the reason of its end and the usage, as OpenAI's SDK puts them together."""
    request = {"model": "m", "messages": HI, **request}
    async with openai_client(server) as client:
        if stream:
            options = {"include_usage": True}
            async with client.chat.completions.stream(**request, stream_options=options) as events:
                completion = await events.get_final_completion()
        else:
            completion = await client.chat.completions.create(**request)
    (choice,) = completion.choices
    return choice.message, choice.finish_reason, completion.usage


async def message(server: LLMServer, stream: bool = True, **request: Any) -> Message:
    """The message as Anthropic's SDK puts it together."""
    request = {"model": "m", "messages": HI, "max_tokens": 100, **request}
    async with anthropic_client(server) as client:
        if not stream:
            return await client.messages.create(**request)
        async with client.messages.stream(**request) as events:
            return await events.get_final_message()


@both_ways
async def test_chat_completions_think_and_call_tools(stream: bool) -> None:
    """OpenAI's SDK puts thinking, text and calls together as they were said, and knows why the answer ended."""
    async with LLMServer(EVERYTHING) as server:
        said, finish, usage = await chat(server, stream)
    assert (said.content, said.role, finish) == ("Let me see.", "assistant", "tool_calls")
    assert said.model_extra is not None
    assert said.model_extra["reasoning_content"] == "two towns"
    first, second = said.tool_calls or []
    assert [call.type for call in (first, second)] == ["function", "function"]
    assert json.loads(first.function.arguments) == {"city": "Žilina", "days": [1, 2]}
    assert json.loads(second.function.arguments) == {"city": "Oslo"}
    assert first.id != second.id == "call_oslo"
    assert usage.completion_tokens_details.reasoning_tokens == 2
    assert usage.completion_tokens > 4


@both_ways
async def test_anthropic_messages_think_and_call_tools(stream: bool) -> None:
    """Anthropic's SDK puts the blocks together in their order, the signature of the thinking included."""
    async with LLMServer([*EVERYTHING, RedactedThinking("secret")]) as server:
        said = await message(server, stream)
    assert said.stop_reason == "tool_use"
    assert [block.type for block in said.content] == ["thinking", "text", "tool_use", "tool_use", "redacted_thinking"]
    thinking, text, first, second, redacted = said.content
    assert (thinking.thinking, thinking.signature) == ("two towns", Thinking("two towns").signature)
    assert text.text == "Let me see."
    assert (first.name, first.input) == ("weather", {"city": "Žilina", "days": [1, 2]})
    assert (second.id, second.input) == ("call_oslo", {"city": "Oslo"})
    assert first.id.startswith("toolu_")
    assert redacted.data == "secret"


@both_ways
async def test_a_part_alone_is_a_reply(stream: bool) -> None:
    """A call of a tool without a text around it has no content in OpenAI's format and one block in Anthropic's."""
    async with LLMServer(ToolUse("now")) as server:
        said, finish, _ = await chat(server, stream)
        answer = await message(server, stream)
    assert (said.content, finish) == (None, "tool_calls")
    assert [(call.function.name, call.function.arguments) for call in said.tool_calls or []] == [("now", "{}")]
    assert [(block.name, block.input) for block in answer.content] == [("now", {})]


def test_what_is_no_part_is_refused() -> None:
    """Something in a reply that is no part of an answer is an error that names it."""
    with pytest.raises(TypeError, match=r"made of texts, .* not of 7"):
        parts_of(["a", 7])  # type: ignore[list-item]


@given(pieces=st.lists(st.text()), city=st.text())
def test_cutting_arguments_loses_nothing(pieces: list[str], city: str) -> None:
    """The pieces of arguments are the arguments: those given, or a JSON text of those given as a dict."""
    assert parts_of(ToolUse("f", pieces))[0].fragments == tuple(pieces) or not pieces
    (part,) = parts_of(ToolUse("f", {"city": city}))
    assert json.loads(part.text) == {"city": city}
    assert len(part.fragments) > 2


@given(texts=st.lists(st.one_of(st.text(), st.integers().map(lambda number: ToolUse(f"f{number}")))))
def test_texts_between_parts_keep_their_place(texts: list[str | ToolUse]) -> None:
    """Texts next to each other are one part, and nothing changes its place."""
    parts = parts_of(texts)
    assert [piece for part in parts for piece in ([part.name] if part.kind == "tool" else part.fragments)] == [
        item.name if isinstance(item, ToolUse) else item for item in texts
    ]
    kinds = [part.kind for part in parts]
    assert ("text", "text") not in pairwise(kinds)


async def test_calls_in_one_turn_have_each_their_index_on_the_wire() -> None:
    """A call begins with its id and name and no arguments, which follow in pieces under the same index."""
    async with LLMServer([ToolUse("a", ["{", "}"]), ToolUse("b", ["{}"])]) as server, openai_client(server) as client:
        stream = await client.chat.completions.create(model="m", messages=HI, stream=True)
        deltas = [chunk.choices[0].delta async for chunk in stream]
    calls = [call for delta in deltas for call in delta.tool_calls or []]
    seen = [(call.index, call.id, call.function.name, call.function.arguments) for call in calls if call.function]
    assert seen == [
        (0, "call_0_0", "a", ""),
        (0, None, None, "{"),
        (0, None, None, "}"),
        (1, "call_0_1", "b", ""),
        (1, None, None, "{}"),
    ]


async def test_calls_can_be_interleaved() -> None:
    """With `interleaved_tool_calls` the pieces of several calls come in turns, and the SDK puts them together."""
    reply = ["x", ToolUse("a", ["{", '"n"', ":1}"]), ToolUse("b", ["{", "}"]), "y", ToolUse("c", ["{}"])]
    async with LLMServer(reply, fault="interleaved_tool_calls") as server, openai_client(server) as client:
        stream = await client.chat.completions.create(model="m", messages=HI, stream=True)
        deltas = [chunk.choices[0].delta async for chunk in stream]
        said, _, _ = await chat(server)
        answer = await message(server)
    indices = [call.index for delta in deltas for call in delta.tool_calls or []]
    assert indices == [0, 1, 0, 1, 0, 1, 0, 2, 2]
    assert [call.function.arguments for call in said.tool_calls or []] == ['{"n":1}', "{}", "{}"]
    assert [block.input for block in answer.content if block.type == "tool_use"] == [{"n": 1}, {}, {}]


async def test_an_anthropic_stream_of_parts_has_every_event_of_the_format() -> None:
    """Each block has its start, its deltas and its stop; the signature is the last delta of thinking."""
    body = {"model": "m", "messages": HI, "max_tokens": 1, "stream": True}
    reply = [Thinking("hm", "a signature"), RedactedThinking("d"), ToolUse("f", ["{}"])]
    async with LLMServer(reply) as server, httpx2.AsyncClient(verify=False) as client:
        response = await client.post(f"{server.url}/v1/messages", json=body)
    events = [json.loads(event.partition("\ndata: ")[2]) for event in response.text.split("\n\n")[:-1]]
    blocks = [event for event in events if event["type"].startswith("content_block")]
    assert [{name: value for name, value in event.items() if name != "type"} for event in blocks] == [
        {"index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
        {"index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
        {"index": 0, "delta": {"type": "signature_delta", "signature": "a signature"}},
        {"index": 0},
        {"index": 1, "content_block": {"type": "redacted_thinking", "data": "d"}},
        {"index": 1},
        {"index": 2, "content_block": {"type": "tool_use", "id": "toolu_0_2", "name": "f", "input": {}}},
        {"index": 2, "delta": {"type": "input_json_delta", "partial_json": ""}},
        {"index": 2, "delta": {"type": "input_json_delta", "partial_json": "{}"}},
        {"index": 2},
    ]
    assert events[-2]["delta"]["stop_reason"] == "tool_use"


# --- what comes back ------------------------------------------------------------------------------------------------


def answer(request: LLMRequest) -> object:
    """Asks a tool for what the user says, and tells what the tool says."""
    if not request.tool_results:
        return [
            Thinking("I do not know."),
            *(ToolUse(name, {"city": request.last_user_text}) for name in request.tools),
        ]
    return ", ".join(f"{result.name} says {result.text}" for result in request.tool_results)


async def test_a_tool_is_called_and_its_result_used_in_chat() -> None:
    """A function sees the tools and the results that are new, and forgets them when the user says something else."""
    async with LLMServer(answer) as server:
        history: list[Any] = list(HI)
        for expected in ("weather says sun", "weather says rain"):
            said, _, _ = await chat(server, messages=history, tools=CHAT_TOOLS)
            (call,) = said.tool_calls or []
            history += [said.model_dump(exclude_none=True), {"role": "tool", "tool_call_id": call.id}]
            history[-1]["content"] = expected.split()[-1]
            said, _, _ = await chat(server, messages=history, tools=CHAT_TOOLS)
            assert said.content == expected
            history += [said.model_dump(exclude_none=True), {"role": "user", "content": "And there?"}]
        assert [request.tools for request in server.requests] == [["weather"]] * 4


async def test_a_tool_is_called_and_its_result_used_in_messages() -> None:
    """The same in Anthropic's format, where a result may be an error, and thinking goes back with its signature."""
    async with LLMServer(answer) as server:
        said = await message(server, tools=ANTHROPIC_TOOLS)
        result = {"type": "tool_result", "tool_use_id": said.content[1].id, "is_error": True}
        result["content"] = [{"type": "text", "text": "closed"}]
        history = [*HI, said.to_param(), {"role": "user", "content": [result]}]
        said = await message(server, messages=history, tools=ANTHROPIC_TOOLS)
        assert said.content[0].text == "weather says closed"
        (seen,) = server.requests[1].tool_results
    assert (seen.name, seen.text, seen.is_error) == ("weather", "closed", True)
