"""The LLM server as OpenAI's Responses API, through the official SDK: what it says, keeps and refuses."""

import json
from typing import Any

import httpx2
import openai
import pytest
from openai.types.responses import Response
from pydantic import BaseModel

from miniagents.testing import LLMRequest, LLMServer, RedactedThinking, Thinking, ToolUse
from support.sdk_clients import openai_client

both_ways = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])

TOOL = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}
ENCRYPTED = ["reasoning.encrypted_content"]


def without_what_the_helper_adds(value: Any) -> Any:
    if isinstance(value, list):
        return [without_what_the_helper_adds(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {k: without_what_the_helper_adds(v) for k, v in value.items() if k not in ("parsed", "parsed_arguments")}


async def respond(server: LLMServer, say: Any = "Hi", stream: bool = True, **request: Any) -> Response:
    """The response as the SDK puts it together; what the stream says must be what the end of it says."""
    async with openai_client(server) as client:
        if not stream:
            return await client.responses.create(model="m", input=say, **request)
        async with client.responses.stream(model="m", input=say, **request) as events:
            seen = [event async for event in events]
            response = await events.get_final_response()
    done = [event.item.to_dict() for event in seen if event.type == "response.output_item.done"]
    assert done == without_what_the_helper_adds([item.to_dict() for item in response.output])
    assert [event.sequence_number for event in seen] == list(range(len(seen)))
    return response


@both_ways
async def test_a_response_is_a_text(stream: bool) -> None:
    """By default the response says back what the user said, complete, with its usage."""
    async with LLMServer() as server:
        response = await respond(server, "one two", stream, instructions="Be brief.")
    assert (response.output_text, response.status, response.model) == ("You said: one two", "completed", "m")
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens, response.usage.total_tokens) == (4, 4, 8)


@both_ways
async def test_a_response_thinks_and_calls_tools(stream: bool) -> None:
    """Reasoning, text and calls are items in the order of the reply, with what a later request needs of them."""
    reply = [Thinking("two towns"), "Let me ", "see.", ToolUse("weather", {"city": "Žilina"}), RedactedThinking("d")]
    async with LLMServer(reply) as server:
        response = await respond(server, stream=stream, include=ENCRYPTED)
        bare = await respond(server, stream=stream)
    thinking, text, call, redacted = response.output
    assert (thinking.summary[0].text, thinking.encrypted_content) == ("two towns", Thinking("two towns").signature)
    assert (text.content[0].text, text.role) == ("Let me see.", "assistant")
    assert (call.name, json.loads(call.arguments), call.status) == ("weather", {"city": "Žilina"}, "completed")
    assert (redacted.summary, redacted.encrypted_content) == ([], "d")
    assert response.usage is not None
    assert response.usage.output_tokens_details.reasoning_tokens == 2
    assert bare.output[0].encrypted_content is None


async def test_a_responses_stream_has_every_event_of_the_format() -> None:
    """The events are named twice, numbered, and come in the order of the provider."""
    body = {"model": "m", "input": "Hi", "stream": True}
    reply = [Thinking("hm"), "a", "b", ToolUse("f", ["{", "}"])]
    async with LLMServer(reply) as server, httpx2.AsyncClient(verify=False) as client:
        response = await client.post(f"{server.url}/v1/responses", json=body)
    named = [event.removeprefix("event: ").split("\ndata: ") for event in response.text.split("\n\n")[:-1]]
    events = [json.loads(data) for _, data in named]
    assert [name for name, _ in named] == [event["type"] for event in events]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [
        (name.removeprefix("response."), event.get("output_index"))
        for (name, _), event in zip(named, events, strict=True)
    ] == [
        ("created", None),
        ("in_progress", None),
        ("output_item.added", 0),
        ("reasoning_summary_part.added", 0),
        ("reasoning_summary_text.delta", 0),
        ("reasoning_summary_text.done", 0),
        ("reasoning_summary_part.done", 0),
        ("output_item.done", 0),
        ("output_item.added", 1),
        ("content_part.added", 1),
        ("output_text.delta", 1),
        ("output_text.delta", 1),
        ("output_text.done", 1),
        ("content_part.done", 1),
        ("output_item.done", 1),
        ("output_item.added", 2),
        ("function_call_arguments.delta", 2),
        ("function_call_arguments.delta", 2),
        ("function_call_arguments.done", 2),
        ("output_item.done", 2),
        ("completed", None),
    ]
    assert (events[0]["response"]["status"], events[0]["response"]["usage"]) == ("in_progress", None)
    assert [item["type"] for item in events[-1]["response"]["output"]] == ["reasoning", "message", "function_call"]


async def test_calls_of_a_response_can_be_interleaved() -> None:
    """Pieces of calls that come in turns are put together by the SDK, each under its own item."""
    reply = [ToolUse("a", ["{", '"n"', ":1}"]), ToolUse("b", ["{", "}"])]
    async with (
        LLMServer(reply, fault="interleaved_tool_calls") as server,
        openai_client(server) as client,
        client.responses.stream(model="m", input="Hi") as events,
    ):
        deltas = [e.output_index async for e in events if e.type == "response.function_call_arguments.delta"]
        response = await events.get_final_response()
    assert deltas == [0, 1, 0, 1, 0]
    assert [item.arguments for item in response.output] == ['{"n":1}', "{}"]


class Weather(BaseModel):
    city: str
    days: list[int]


async def test_structured_answers_are_accepted() -> None:
    """A schema in `text.format` is taken, and the SDK reads the answer by it."""
    async with LLMServer('{"city": "Oslo", "days": [1, 2]}') as server, openai_client(server) as client:
        response = await client.responses.parse(model="m", input="Hi", text_format=Weather)
    assert response.output_parsed == Weather(city="Oslo", days=[1, 2])


# --- what comes back ------------------------------------------------------------------------------------------------


def answer(request: LLMRequest) -> object:
    if not request.tool_results:
        return [
            Thinking("I do not know."),
            *(ToolUse(name, {"city": request.last_user_text}) for name in request.tools),
        ]
    return ", ".join(f"{result.name} says {result.text}" for result in request.tool_results)


@pytest.mark.parametrize("store", [True, False])
async def test_a_tool_is_called_and_its_result_used(store: bool) -> None:
    """The whole output can be sent back with the results, also to an API that stores nothing."""
    options: dict[str, Any] = {"tools": [TOOL], "store": store, "include": ENCRYPTED}
    user = {"role": "user", "content": [{"type": "input_text", "text": "Where?"}]}
    async with LLMServer(answer) as server:
        response = await respond(server, [user], **options)
        call = response.output[-1]
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "sun"}
        back = [user, *[item.to_dict() for item in response.output], result]
        assert (await respond(server, back, **options)).output_text == "weather says sun"
        assert server.requests[0].tools == ["weather"]
        assert json.loads(call.arguments) == {"city": "Where?"}


async def test_a_response_can_go_on_from_the_one_before() -> None:
    """With `previous_response_id` only what is new is sent, and calls and results are matched across both."""
    async with LLMServer(answer) as server:
        first = await respond(server, tools=[TOOL])
        result = {"type": "function_call_output", "call_id": first.output[-1].call_id, "output": "sun"}
        second = await respond(server, [result], tools=[TOOL], previous_response_id=first.id)
        assert second.output_text == " says sun"
        with pytest.raises(openai.BadRequestError, match="No tool output found for function call"):
            await respond(server, "And?", tools=[TOOL], previous_response_id=first.id)
        with pytest.raises(openai.BadRequestError, match="No tool call found for function call output") as caught:
            await respond(server, [result], tools=[TOOL])
        assert caught.value.param == "input"
        with pytest.raises(openai.BadRequestError, match="Previous response with id 'other' not found"):
            await respond(server, "And?", previous_response_id="other")


async def test_what_is_stored_can_be_referred_to() -> None:
    """An item is found by its id as long as requests are stored, and is not if they are not."""
    async with LLMServer([Thinking("hm"), "Fine."]) as server:
        thinking, said = (await respond(server)).output
        back = [
            {"type": "item_reference", "id": thinking.id},
            {"type": "item_reference", "id": said.id},
            *asking("So?"),
        ]
        assert (await respond(server, back)).output_text == "Fine."
        with pytest.raises(openai.BadRequestError, match="Items are not persisted when `store` is set to false"):
            await respond(server, [thinking.to_dict(), said.to_dict(), *asking("So?")], store=False)


def asking(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
REASONING = {"type": "reasoning", "id": "rs_9", "summary": [{"type": "summary_text", "text": "hm"}]}
OPEN = {"type": "object", "properties": {"a": {"type": "string"}}}


def user(*parts: Any) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": list(parts)}]}


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"input": None}, "Missing required parameter: 'input'"),
        ({"input": [CALL]}, "No tool output found for function call c"),
        ({"model": 7}, "Missing required parameter: 'model'"),
        ({"previous_response_id": "r"}, "Previous response with id 'r' not found"),
        ({"input": [{"type": "reasoning", "id": "r"}]}, r"'input\[0\].summary'"),
        ({"input": [{"type": "item_reference", "id": "r"}]}, "Item with id 'r' not found"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]}, "No tool call found"),
        ({"text": {"format": {"type": "xml"}}}, "Invalid value: 'xml'"),
        ({"input": [{"type": "tool_use"}]}, "Invalid value: 'tool_use'. Supported values are: 'message'"),
        ({"input": [7]}, r"'input\[0\]': expected an object"),
        ({"input": [{"role": "tool", "content": "x"}]}, "Supported values are: 'assistant', 'system'"),
        ({"input": [{"role": "user"}]}, r"'input\[0\].content'"),
        ({"input": [{"type": "function_call", "name": "f"}]}, r"'input\[0\].call_id'"),
        ({"input": [CALL, {"type": "function_call_output", "call_id": "c"}]}, r"'input\[1\].output'"),
        ({"input": [{**REASONING, "encrypted_content": "forged"}]}, "encrypted content .* could not be verified"),
        (
            {"input": [{**REASONING, "encrypted_content": Thinking("hm").signature}, *asking("a")]},
            "without its required following item",
        ),
        (user({"type": "text", "text": "a"}), "Invalid value: 'text'. Supported values are: 'input_text'"),
        (user({"type": "output_text", "text": "a"}), "Invalid value: 'output_text'"),
        (user({"type": "input_text"}), r"'input\[0\].content\[0\].text'"),
        (user({"type": "input_image", "image_url": "data:text/plain;base64,AAAA"}), "Expected a valid URL"),
        (user({"type": "input_file", "file_data": "data:application/pdf;base64,AAAA"}), "expected a 'file_id'"),
        (user({"type": "input_audio", "input_audio": {"format": "ogg", "data": "AAAA"}}), "'wav' or 'mp3'"),
        ({"messages": []}, "this parameter has moved to 'input'"),
        ({"max_output_tokens": 1}, "Expected a value >= 16"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, r"'tools\[0\].name'"),
        ({"tools": [TOOL, TOOL]}, "duplicate function name 'weather'"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "name": "other"}}, "'other'"),
        ({"tool_choice": "any"}, "Supported values are: 'none'"),
        ({"text": {"format": {"type": "json_schema", "schema": OPEN}}}, r"'text\.format\.name'"),
        (
            {"text": {"format": {"type": "json_schema", "name": "a", "schema": OPEN, "strict": True}}},
            "'additionalProperties' is required to be supplied and to be false",
        ),
        ({"reasoning": "high"}, "'reasoning': expected an object"),
    ],
)
async def test_what_openai_refuses_is_refused(request_: dict[str, Any], message: str) -> None:
    """A request that the API would refuse is answered with status 400 and a sentence that names the field."""
    async with LLMServer() as server, openai_client(server) as client:
        with pytest.raises(openai.BadRequestError, match=message) as caught:
            await client.post("/responses", cast_to=object, body={"model": "m", "input": "Hi", **request_})
    assert caught.value.type == "invalid_request_error"


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "input_image", "image_url": "https://example.org/a.png"}, {"type": "input_text", "text": "a"}],
        [{"type": "input_image", "image_url": "data:image/png;base64,iVBORw0="}],
        [{"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}],
        [{"type": "input_file", "file_url": "https://example.org/a.pdf"}],
        [{"type": "input_audio", "input_audio": {"format": "wav", "data": "UklGRg=="}}],
    ],
)
async def test_files_are_accepted(content: list[Any]) -> None:
    """Images, documents and sound in a request are taken."""
    async with LLMServer("Seen.") as server:
        assert (await respond(server, [{"role": "user", "content": content}])).output_text == "Seen."
