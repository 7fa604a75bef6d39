"""The faults of the LLM server on every endpoint that streams, inside text, thinking and arguments, through the SDKs."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from miniagents.testing import Fault, FaultKind, LLMServer, Thinking, ToolUse
from support.sdk_clients import anthropic_client, openai_client

HI = [{"role": "user", "content": "Hi"}]
PIECES = ["t1", "t2", "a", "b", '{"x"', ":1", "}"]
REPLY = [Thinking(PIECES[:2]), *PIECES[2:4], ToolUse("f", PIECES[4:])]


@dataclass
class Heard:
    """The pieces that an SDK gave, what it was told of the end, and the names of the tools."""

    pieces: list[str | None] = field(default_factory=list)
    tools: list[str] = field(default_factory=list)
    end: str | None = None
    ended_blocks: int = 0


async def hear_chat(server: LLMServer, heard: Heard, **options: Any) -> None:
    async with openai_client(server, **options) as client:
        chunks = await client.chat.completions.create(model="m", messages=HI, stream=True)
        async with chunks:
            async for chunk in chunks:
                for choice in chunk.choices:
                    delta = choice.delta
                    heard.end = choice.finish_reason
                    fields = delta.model_fields_set | set(delta.model_extra or {})
                    if "reasoning_content" in fields:
                        heard.pieces.append(delta.reasoning_content)
                    elif "content" in fields and "refusal" not in fields:
                        heard.pieces.append(delta.content)
                    for call in delta.tool_calls or []:
                        if call.id is None:
                            heard.pieces.append(call.function.arguments)
                        else:
                            heard.tools.append(call.function.name)


async def hear_messages(server: LLMServer, heard: Heard, **options: Any) -> None:
    async with (
        anthropic_client(server, **options) as client,
        client.messages.stream(model="m", messages=HI, max_tokens=9) as events,
    ):
        begins = False  # arguments begin with an empty piece that is none of the reply's
        async for event in events:
            match event.type:
                case "thinking":
                    heard.pieces.append(event.thinking)
                case "text":
                    heard.pieces.append(event.text)
                case "input_json":
                    if not begins or event.partial_json:
                        heard.pieces.append(event.partial_json)
                    begins = False
                case "content_block_start" if event.content_block.type == "tool_use":
                    heard.tools.append(event.content_block.name)
                    begins = True
                case "content_block_stop":
                    heard.ended_blocks += 1
                case "message_delta":
                    heard.end = event.delta.stop_reason


async def hear_responses(server: LLMServer, heard: Heard, **options: Any) -> None:
    async with openai_client(server, **options) as client:
        events = await client.responses.create(model="m", input="Hi", stream=True)
        async with events:
            async for event in events:
                if event.type.endswith(".delta"):
                    heard.pieces.append(event.delta)
                elif event.type == "response.output_item.done":
                    heard.ended_blocks += 1
                elif event.type == "response.output_item.added" and event.item.type == "function_call":
                    heard.tools.append(event.item.name)
                elif event.type in ("response.completed", "response.incomplete", "response.failed"):
                    heard.end = event.response.status


WAYS: dict[str, Callable[..., Awaitable[None]]] = {
    "chat": hear_chat,
    "messages": hear_messages,
    "responses": hear_responses,
}
ENDS = {"chat": "tool_calls", "messages": "tool_use", "responses": "completed"}

every_way = pytest.mark.parametrize("way", list(WAYS))
every_place = pytest.mark.parametrize("at_token", range(len(PIECES) + 2))


async def hear(way: str, fault: Fault | FaultKind | None, **options: Any) -> tuple[Heard, Exception | None, int]:
    heard, caught = Heard(), None
    async with LLMServer(REPLY, fault=fault) as server:
        try:
            await WAYS[way](server, heard, **options)
        except Exception as error:  # whatever the SDK raises is what the test wants to see
            caught = error
        return heard, caught, server.requests[0].tokens_sent


@every_way
async def test_every_piece_arrives(way: str) -> None:
    """Without a fault every piece of thinking, text and arguments comes as it was given, and the end is told."""
    heard, error, sent = await hear(way, None)
    assert error is None
    assert (heard.pieces, heard.tools, heard.end, sent) == (PIECES, ["f"], ENDS[way], len(PIECES))


@pytest.mark.parametrize(
    ("kind", "way", "error_type"),
    [
        ("cut", "chat", openai.APIConnectionError),
        ("cut", "messages", httpx2.RemoteProtocolError),
        ("cut", "responses", openai.APIConnectionError),
        ("reset", "chat", openai.APIConnectionError),
        ("reset", "messages", httpx2.ReadError),
        ("reset", "responses", openai.APIConnectionError),
        ("error_event", "chat", openai.APIError),
        ("error_event", "messages", anthropic.APIStatusError),
        ("malformed_json", "chat", json.JSONDecodeError),
        ("malformed_json", "messages", json.JSONDecodeError),
        ("malformed_json", "responses", json.JSONDecodeError),
    ],
)
@every_place
async def test_a_stream_of_parts_breaks_where_it_is_told_to(
    kind: FaultKind, way: str, error_type: type[Exception], at_token: int
) -> None:
    """After so many pieces of whatever kind the stream breaks; these pieces and the name of the tool were there."""
    heard, error, sent = await hear(way, Fault(kind, at_token=at_token))
    assert type(error) is error_type
    assert heard.pieces == PIECES[:at_token]
    assert heard.tools == (["f"] if at_token >= 4 else [])
    assert heard.end is None
    assert sent == (len(PIECES) if kind == "malformed_json" else min(at_token, len(PIECES)))


@every_way
@every_place
async def test_a_stream_of_parts_that_just_ends_has_no_end(way: str, at_token: int) -> None:
    """A stream that ends too early but in good order is no error to the SDKs; what tells of the end is missing."""
    heard, error, _ = await hear(way, Fault("clean_eof", at_token=at_token))
    assert (error, heard.end, heard.pieces) == (None, None, PIECES[:at_token])
    if way != "chat":
        assert heard.ended_blocks == sum(at_token >= length for length in (2, 4))


async def test_the_helper_for_responses_notices_an_early_end() -> None:
    """Without `response.completed` the streaming helper of the SDK has no response to give."""
    async with (
        LLMServer(REPLY, fault="clean_eof") as server,
        openai_client(server) as client,
        client.responses.stream(model="m", input="Hi") as events,
    ):
        with pytest.raises(RuntimeError, match="completed"):
            await events.get_final_response()


@every_place
async def test_an_error_in_a_stream_of_responses_is_two_events(at_token: int) -> None:
    """The Responses API tells of an error by an event `error`, and then by a response that failed."""
    async with (
        LLMServer(REPLY, fault=Fault("error_event", at_token=at_token)) as server,
        openai_client(server) as client,
    ):
        stream = await client.responses.create(model="m", input="Hi", stream=True)
        events = [event async for event in stream]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    error, failed = events[-2:]
    assert (error.type, error.code) == ("error", "server_error")
    assert (failed.type, failed.response.status) == ("response.failed", "failed")
    assert failed.response.error.code == "server_error"


@pytest.mark.parametrize("kind", ["silence", "comments_only"])
@every_way
@pytest.mark.parametrize("at_token", [0, 1, 5, 7])
async def test_a_stream_of_parts_falls_silent(kind: FaultKind, way: str, at_token: int) -> None:
    """A stream that says no more has sent what was before, and ends when the client gives up."""
    heard = Heard()
    async with LLMServer(REPLY, fault=Fault(kind, at_token=at_token)) as server:
        listener = asyncio.create_task(WAYS[way](server, heard))
        request = await server.next_request()
        await server.wait_until(lambda: request.tokens_sent == at_token)
        listener.cancel()
        await server.wait_until(lambda: server.open_connections == 0)
        assert request.tokens_sent == at_token


@pytest.mark.parametrize("kind", ["crlf_and_comments", "split_bytes", "empty_choices_first", "missing_role"])
@every_way
async def test_what_is_only_odd_changes_nothing_of_the_parts(kind: FaultKind, way: str) -> None:
    """An oddity that concerns no piece leaves all of them, and the end, as they are."""
    heard, error, _ = await hear(way, kind)
    assert error is None
    assert (heard.pieces, heard.tools, heard.end) == (PIECES, ["f"], ENDS[way])


@every_way
@pytest.mark.parametrize("at_token", range(len(PIECES)))
async def test_a_piece_may_be_empty(way: str, at_token: int) -> None:
    """With `null_content` there is one more piece, with nothing in it, of the kind that is under way."""
    heard, error, _ = await hear(way, Fault("null_content", at_token=at_token))
    assert error is None
    nothing = None if way == "chat" else ""
    assert heard.pieces == [*PIECES[:at_token], nothing, *PIECES[at_token:]]


@pytest.mark.parametrize(
    ("kind", "ends"),
    [
        ("finish_length", ("length", "max_tokens", "incomplete")),
        ("finish_content_filter", ("content_filter", "refusal", "incomplete")),
    ],
)
async def test_another_reason_replaces_that_of_the_tools(kind: FaultKind, ends: tuple[str, ...]) -> None:
    """An answer that was too long, or was stopped, says so also if it calls tools."""
    assert tuple([(await hear(way, kind))[0].end for way in WAYS]) == ends


@pytest.mark.parametrize(
    ("kind", "reason"), [("finish_length", "max_output_tokens"), ("finish_content_filter", "content_filter")]
)
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_a_response_tells_why_it_is_incomplete(kind: FaultKind, reason: str, stream: bool) -> None:
    """The reason stands in the response, and its last item is incomplete as well."""
    async with LLMServer(REPLY, fault=kind) as server, openai_client(server) as client:
        if stream:
            events = await client.responses.create(model="m", input="Hi", stream=True)
            response = [event async for event in events][-1].response
        else:
            response = await client.responses.create(model="m", input="Hi")
    assert (response.status, response.incomplete_details.reason) == ("incomplete", reason)
    assert [item.status for item in response.output if item.type != "reasoning"] == ["completed", "incomplete"]


@pytest.mark.parametrize(
    ("kind", "error_type"),
    [
        ("cut", openai.APIConnectionError),
        ("reset", openai.APIConnectionError),
        ("silence", openai.APITimeoutError),
        ("comments_only", openai.APITimeoutError),
        ("clean_eof", json.JSONDecodeError),
        ("malformed_json", json.JSONDecodeError),
        ("status", openai.InternalServerError),
        ("close_before_headers", openai.APIConnectionError),
        ("hang_before_headers", openai.APITimeoutError),
    ],
)
async def test_a_whole_response_that_breaks_is_an_error_of_the_sdk(
    kind: FaultKind, error_type: type[Exception]
) -> None:
    """A response in one piece breaks as chat completions do."""
    patience = 0.2 if error_type is openai.APITimeoutError else 15
    async with LLMServer(REPLY, fault=kind) as server, openai_client(server, timeout=patience) as client:
        with pytest.raises(error_type):
            await client.responses.create(model="m", input="Hi")


@pytest.mark.parametrize(
    ("kind", "output"),
    [
        ("no_content", []),
        ("empty_choices_first", []),
        ("null_content", [("message", None, "assistant")]),
        ("missing_role", [("message", "ab", None)]),
    ],
)
async def test_an_odd_whole_response_differs_in_one_thing(kind: FaultKind, output: list[Any]) -> None:
    """A whole response with an oddity lacks just what the fault says."""
    async with LLMServer(["a", "b"], fault=kind) as server, openai_client(server) as client:
        response = await client.responses.create(model="m", input="Hi")
    assert [(item.type, item.content[0].text, getattr(item, "role", None)) for item in response.output] == output


async def test_a_rate_limit_says_when_to_come_back() -> None:
    """A function decides which requests are too many; these get status 429 and the seconds to wait, the others not."""
    seconds: list[float | None] = [7, None, 0.5, None]
    async with (
        LLMServer("Fine.", rate_limit=lambda request: seconds[request.number]) as server,
        openai_client(server) as client,
    ):
        with pytest.raises(openai.RateLimitError) as caught:
            await client.responses.create(model="m", input="Hi")
        assert caught.value.response.headers["retry-after"] == "7"
        assert (await client.responses.create(model="m", input="Hi")).output_text == "Fine."
        with pytest.raises(openai.RateLimitError) as caught:
            await client.embeddings.create(model="m", input="Hi")
        assert caught.value.response.headers["retry-after"] == "0.5"
        assert (await client.embeddings.create(model="m", input="Hi")).data


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    thought=st.lists(st.text(min_size=1), min_size=1, max_size=4),
    arguments=st.dictionaries(st.text(), st.text() | st.integers(-1000, 1000) | st.none(), max_size=3),
    cuts=st.sets(st.integers(0, 60), max_size=6),
)
def test_however_it_is_cut_it_is_put_together(thought: list[str], arguments: dict[str, Any], cuts: set[int]) -> None:
    """Thinking and arguments cut anywhere, also inside of escapes, are the same when the SDKs have them together."""
    text = json.dumps(arguments)
    places = [0, *sorted(cut for cut in cuts if 0 < cut < len(text)), len(text)]
    pieces = [text[start:end] for start, end in pairwise(places)]

    async def scenario() -> None:
        async with LLMServer([Thinking(thought), ToolUse("f", pieces)]) as server:
            async with openai_client(server) as client:
                async with client.chat.completions.stream(model="m", messages=HI) as events:
                    said = (await events.get_final_completion()).choices[0].message
                async with client.responses.stream(model="m", input="Hi") as other_events:
                    response = await other_events.get_final_response()
            async with (
                anthropic_client(server) as other,
                other.messages.stream(model="m", messages=HI, max_tokens=9) as yet_other_events,
            ):
                message = await yet_other_events.get_final_message()
        assert said.reasoning_content == response.output[0].summary[0].text == message.content[0].thinking
        assert message.content[0].thinking == "".join(thought)
        assert json.loads(said.tool_calls[0].function.arguments) == arguments
        assert json.loads(response.output[1].arguments) == message.content[1].input == arguments

    asyncio.run(scenario())
