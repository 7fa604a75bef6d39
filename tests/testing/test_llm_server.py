"""The LLM server, through the official SDKs: what it says, what it records, when it sends."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

import anthropic
import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniagents.testing import Fault, LLMRequest, LLMServer
from miniagents.testing._parts import split_into_tokens

Hear = Callable[..., Awaitable[object]]

both_providers = pytest.mark.parametrize("provider", ["openai", "anthropic"])
both_ways = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])


@pytest.fixture
async def server() -> AsyncIterator[LLMServer]:
    async with LLMServer() as server:
        yield server


@pytest.fixture
async def paced() -> AsyncIterator[LLMServer]:
    async with LLMServer(["a", "b", "c"], paced=True) as server:
        yield server


def ask(client: openai.AsyncOpenAI) -> Awaitable[openai.AsyncStream[openai.types.chat.ChatCompletionChunk]]:
    return client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi"}], stream=True)


async def texts(stream: openai.AsyncStream[openai.types.chat.ChatCompletionChunk]) -> AsyncIterator[str]:
    async for chunk in stream:
        if chunk.choices[0].delta.content:
            yield chunk.choices[0].delta.content


# --- what it says ---------------------------------------------------------------------------------------------------


@both_providers
@pytest.mark.parametrize(
    ("stream", "tokens"), [(True, ["You ", "said: ", "one ", "two"]), (False, ["You said: one two"])]
)
async def test_by_default_it_says_back_what_the_user_said(
    hear: Hear, server: LLMServer, provider: str, stream: bool, tokens: list[str]
) -> None:
    """Without a `reply` the answer tells the last text of the user, word by word, complete in every field."""
    heard = await hear(provider, server, "one two", stream=stream)
    ended_well = {"openai": "stop", "anthropic": "end_turn"}[provider]
    assert vars(heard) == {
        "tokens": tokens,
        "role": "assistant",
        "finish": ended_well,
        "input_tokens": 2,
        "output_tokens": 4,
        "error": None,
    }


@both_providers
@pytest.mark.parametrize(
    "reply",
    [
        ["one", " two", "\n\nthree"],
        lambda request: ["one", " two", "\n\nthree"],
        lambda request: asyncio.sleep(0, ["one", " two", "\n\nthree"]),
    ],
    ids=["list", "function", "async function"],
)
async def test_a_test_decides_the_tokens(hear: Hear, provider: str, reply: object) -> None:
    """A list of tokens, given or made by a function, is sent just as it is."""
    async with LLMServer(reply) as server:
        assert (await hear(provider, server)).tokens == ["one", " two", "\n\nthree"]


@both_providers
async def test_a_reply_may_depend_on_the_request(hear: Hear, provider: str) -> None:
    """A function is given the request and may answer each one differently."""
    async with LLMServer(lambda request: f"{request.number}:{request.model}:{request.last_user_text}") as server:
        assert (await hear(provider, server, "x")).tokens == ["0:m:x"]
        assert (await hear(provider, server, "y")).tokens == ["1:m:y"]


@both_providers
@both_ways
@pytest.mark.parametrize("say", ["ünï ćode ✓ 😀", "\u2028\u0085\x0b\x00\r\n", "half \ud83d"])
async def test_hostile_texts_arrive_as_they_are(hear: Hear, provider: str, stream: bool, say: str) -> None:
    """Separators of lines, control characters and lone surrogates in an answer reach the client unchanged."""
    async with LLMServer([say]) as server:
        assert (await hear(provider, server, stream=stream)).tokens == [say]


@given(text=st.text())
def test_splitting_into_tokens_loses_nothing(text: str) -> None:
    """The tokens of a text are the text, whatever white space it has, and none of them is empty."""
    tokens = split_into_tokens(text)
    assert "".join(tokens) == text
    assert all(tokens)


async def test_parts_of_a_message_are_read_as_text(server: LLMServer) -> None:
    """The user's text is found in a message whose content is a list of parts."""
    async with anthropic.AsyncAnthropic(base_url=server.url, api_key="k") as client:
        parts = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]
        message = await client.messages.create(
            model="m",
            max_tokens=1,
            system="three words here",
            messages=[{"role": "user", "content": "zero"}, {"role": "user", "content": parts}],
        )
    assert message.content[0].text == "You said: one two"
    assert message.usage.input_tokens == 6


async def test_usage_comes_only_if_it_is_asked_for(server: LLMServer) -> None:
    """Without `include_usage` no chunk has usage and every chunk has a choice."""
    async with (
        openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="k") as client,
        await ask(client) as stream,
    ):
        chunks = [chunk async for chunk in stream]
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)


async def test_the_streaming_helpers_of_the_sdk_accept_the_stream(server: LLMServer) -> None:
    """The event helper of the OpenAI SDK, which is stricter than its plain stream, reads an answer to its end."""
    async with (
        openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="k") as client,
        client.chat.completions.stream(model="m", messages=[{"role": "user", "content": "Hi"}]) as events,
    ):
        completion = await events.get_final_completion()
    assert completion.choices[0].message.content == "You said: Hi"
    assert completion.choices[0].finish_reason == "stop"


async def test_an_openai_stream_has_every_part_of_the_format(server: LLMServer) -> None:
    """The bytes are those of the provider: a role, the tokens, a reason, the usage, the end marker, as SSE."""
    body = {"model": "m", "messages": [], "stream": True, "stream_options": {"include_usage": True}}
    async with httpx2.AsyncClient(verify=False) as client:
        response = await client.post(f"{server.url}/v1/chat/completions", json=body)
    assert response.headers["content-type"].startswith("text/event-stream")
    *events, done, rest = response.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    chunks = [json.loads(event.removeprefix("data: ")) for event in events]
    assert [chunk["object"] for chunk in chunks] == ["chat.completion.chunk"] * 5
    assert [[choice["delta"] for choice in chunk["choices"]] for chunk in chunks] == [
        [{"role": "assistant", "content": "", "refusal": None}],
        [{"content": "You "}],
        [{"content": "said: "}],
        [{}],
        [],
    ]
    assert [chunk["usage"] for chunk in chunks] == [
        *[None] * 4,
        {"prompt_tokens": 0, "completion_tokens": 2, "total_tokens": 2},
    ]


async def test_an_anthropic_stream_has_every_part_of_the_format(server: LLMServer) -> None:
    """The bytes are those of the provider: each event has its name twice, and they come in the provider's order."""
    body = {"model": "m", "messages": [], "max_tokens": 1, "stream": True}
    async with httpx2.AsyncClient(verify=False) as client:
        response = await client.post(f"{server.url}/v1/messages", json=body)
    *events, rest = response.text.split("\n\n")
    assert rest == ""
    named = [event.removeprefix("event: ").split("\ndata: ") for event in events]
    assert [name for name, _ in named] == [json.loads(data)["type"] for _, data in named]
    assert [name for name, _ in named] == [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


async def test_the_models_are_listed_for_both_sdks() -> None:
    """`GET /v1/models` answers each SDK in its own format."""
    async with (
        LLMServer(models=["small", "big"]) as server,
        openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="k") as client,
        anthropic.AsyncAnthropic(base_url=server.url, api_key="k") as anthropic_client,
    ):
        assert [model.id async for model in client.models.list()] == ["small", "big"]
        assert [model.display_name async for model in anthropic_client.models.list()] == ["small", "big"]


# --- what it records ------------------------------------------------------------------------------------------------


async def test_requests_are_recorded(hear: Hear, server: LLMServer) -> None:
    """Path, headers and body of each request can be read afterwards; keys do not show in its `repr`."""
    await hear("openai", server, "first", stream=False)
    await hear("anthropic", server, "second")
    first, second = server.requests
    assert (first.path, first.headers["authorization"], first.is_streaming) == (
        "/v1/chat/completions",
        "Bearer a key",
        False,
    )
    assert (second.path, second.is_streaming) == ("/v1/messages", True)
    assert second.messages == [{"role": "user", "content": "second"}]
    assert second.body["max_tokens"] == 100
    assert second.is_finished
    assert "a key" not in repr(server.requests)


async def test_an_incomplete_request_is_refused_as_openai_does(server: LLMServer) -> None:
    """A request without messages is answered with status 400 and an error that the SDK understands."""
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="k") as client:
        with pytest.raises(openai.BadRequestError, match="Missing required parameter: 'messages'"):
            await client.post("/chat/completions", cast_to=object, body={"model": "m"})


async def test_an_incomplete_request_is_refused_as_anthropic_does(server: LLMServer) -> None:
    """A request without `max_tokens` is answered with status 400 and an error that the SDK understands."""
    async with anthropic.AsyncAnthropic(base_url=server.url, api_key="k") as client:
        with pytest.raises(anthropic.BadRequestError, match="max_tokens: Field required") as caught:
            await client.post("/v1/messages", cast_to=object, body={"model": "m", "messages": []})
    assert caught.value.type == "invalid_request_error"


async def test_an_unknown_path_is_not_found(server: LLMServer) -> None:
    """A wrong base URL shows itself: status 404, which names the path."""
    async with openai.AsyncOpenAI(base_url=server.url, api_key="k") as client:
        with pytest.raises(openai.NotFoundError, match="There is no POST /chat/completions"):
            await ask(client)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nContent-Length: 4\r\n\r\n{{{{",
        b"POST /v1/messages HTTP/1.1\r\nContent-Length: 2\r\n\r\n[]",
        b"POST /v1/messages HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"x" * 100_000,
    ],
)
async def test_what_is_no_request_is_refused(server: LLMServer, request_bytes: bytes) -> None:
    """Bytes that are no HTTP request with a JSON object are answered with status 400, and the server lives on."""
    port = int(server.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request_bytes)
    assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
    writer.close()
    await server.wait_until(lambda: server.open_connections == 0)
    assert server.requests == []


async def test_an_error_in_the_reply_function_fails_the_test(hear: Hear) -> None:
    """What a test's own function raises is answered with status 500 and raised again when the server ends."""

    def reply(request: LLMRequest) -> str:
        raise KeyError("planned")

    server = LLMServer(reply)
    with pytest.raises(KeyError, match="planned"):
        async with server:
            assert "planned" in str((await hear("openai", server)).error)


# --- when it sends --------------------------------------------------------------------------------------------------


async def test_a_paced_token_is_there_before_the_next_is_sent(paced: LLMServer) -> None:
    """Each token reaches the client although the server has not sent, and cannot send, the next one."""
    async with openai.AsyncOpenAI(base_url=f"{paced.url}/v1", api_key="k") as client, await ask(client) as stream:
        request = await paced.next_request()
        tokens = texts(stream)
        for number, expected in enumerate(["a", "b", "c"], start=1):
            paced.release_token()
            assert await anext(tokens) == expected
            assert request.tokens_sent == number
        assert [token async for token in tokens] == []
    await paced.wait_until(lambda: request.is_finished)


async def test_two_answers_are_paced_apart(paced: LLMServer) -> None:
    """With two requests under way, the test decides which one goes on."""
    async with (
        openai.AsyncOpenAI(base_url=f"{paced.url}/v1", api_key="k") as client,
        await ask(client) as first_stream,
        await ask(client) as second_stream,
    ):
        first, second = await paced.next_request(), await paced.next_request()
        first_tokens, second_tokens = texts(first_stream), texts(second_stream)
        second.release_token(2)
        assert [await anext(second_tokens), await anext(second_tokens)] == ["a", "b"]
        assert first.tokens_sent == 0
        first.release_token(3)
        assert [token async for token in first_tokens] == ["a", "b", "c"]
        assert second.tokens_sent == 2
        await second_tokens.aclose()


async def test_tokens_released_early_wait_for_the_next_request(paced: LLMServer, hear: Hear) -> None:
    """Tokens that are released when nothing is asked belong to the next request, and to that one only."""
    paced.release_token(3)
    assert (await hear("anthropic", paced, stream=False)).tokens == ["abc"]
    second = asyncio.create_task(hear("anthropic", paced, stream=False))
    request = await paced.next_request()
    assert request.number == 0
    request = await paced.next_request()
    assert request.tokens_sent == 0
    paced.release_token(3)
    assert (await second).tokens == ["abc"]


async def test_a_client_that_leaves_is_noticed(paced: LLMServer) -> None:
    """When a consumer is cancelled in the middle of an answer, the connection closes and nothing more is sent."""

    async def consume() -> None:
        async with openai.AsyncOpenAI(base_url=f"{paced.url}/v1", api_key="k") as client, await ask(client) as stream:
            async for _ in stream:
                pass

    consumer = asyncio.create_task(consume())
    request = await paced.next_request()
    paced.release_token()
    await paced.wait_until(lambda: request.tokens_sent == 1)
    consumer.cancel()
    await paced.wait_until(lambda: paced.open_connections == 0)
    assert request.is_finished
    assert request.tokens_sent == 1


async def test_connections_are_kept_for_the_next_request(server: LLMServer) -> None:
    """One client that asks again and again, streaming, holds one connection."""
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="k") as client:
        for _ in range(3):
            async with await ask(client) as stream:
                assert [token async for token in texts(stream)] == ["You ", "said: ", "Hi"]
        assert server.open_connections == 1
    await server.wait_until(lambda: server.open_connections == 0)
    assert len(server.requests) == 3


async def test_many_requests_at_once_are_answered(hear: Hear, server: LLMServer) -> None:
    """Requests that come at the same time each get their own answer."""
    async with anthropic.AsyncAnthropic(base_url=server.url, api_key="k") as client:
        messages = await asyncio.gather(
            *(
                client.messages.create(model="m", max_tokens=1, messages=[{"role": "user", "content": str(number)}])
                for number in range(30)
            )
        )
    assert [message.content[0].text for message in messages] == [f"You said: {number}" for number in range(30)]


# --- its life -------------------------------------------------------------------------------------------------------


async def test_closing_ends_answers_under_way() -> None:
    """Leaving the block closes every connection, and a client in the middle of an answer sees that."""
    async with openai.AsyncOpenAI(base_url="http://127.0.0.1:1/v1", api_key="k", max_retries=0) as client:
        async with LLMServer(["a", "b"], paced=True) as server:
            client.base_url = f"{server.url}/v1"
            server.release_token()
            stream = await ask(client)
            tokens = texts(stream)
            assert await anext(tokens) == "a"
        assert server.open_connections == 0
        with pytest.raises(openai.APIConnectionError):
            await anext(tokens)
        await stream.close()


async def test_a_server_that_does_not_run_says_so() -> None:
    """Waiting for a request of a server that was not entered, or was left, is an error and not a hang."""
    server = LLMServer()
    with pytest.raises(RuntimeError, match="async with LLMServer"):
        await server.next_request()
    async with server:
        waiter = asyncio.create_task(server.next_request())
        await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="async with LLMServer"):
        await waiter


async def test_a_server_cannot_run_twice_at_once(server: LLMServer) -> None:
    """Entering a server that runs is refused; after its end it can be entered again."""
    with pytest.raises(RuntimeError, match="running already"):
        await server.__aenter__()
    async with LLMServer() as other:
        pass
    async with other:
        pass


def test_an_unknown_fault_is_refused() -> None:
    """A fault that does not exist, or makes no sense, is refused when the server is made."""
    with pytest.raises(ValueError, match=r"no fault 'cutt'; choose one of .*cut"):
        LLMServer(fault="cutt")
    with pytest.raises(ValueError, match="at_token"):
        Fault("cut", at_token=-1)
    with pytest.raises(ValueError, match="status"):
        Fault("status", status=200)


# --- the command ----------------------------------------------------------------------------------------------------

COMMAND = (sys.executable, "-W", "error", "-m", "miniagents.testing.llm_server")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot send these signals to one process")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_command_serves_until_it_is_stopped(hear: Hear, number: int) -> None:
    """The command prints its URL first, answers as it is told to, and ends at a signal, quietly and with status 0."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "--reply", "told to", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    remote = LLMServer(port=int((await process.stdout.readline()).decode().strip().rpartition(":")[2]))
    assert (await hear("openai", remote)).tokens == ["told ", "to"]
    process.send_signal(number)
    assert await process.communicate() == (b"", b"")
    assert process.returncode == 0


async def test_the_command_says_when_its_port_is_taken(server: LLMServer) -> None:
    """A port that is taken is an error message of one line and status 1."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "--port", server.url.rpartition(":")[2], stderr=asyncio.subprocess.PIPE
    )
    _, stderr = await process.communicate()
    assert stderr.startswith(b"Cannot listen on port ")
    assert stderr.count(b"\n") == 1
    assert process.returncode == 1
