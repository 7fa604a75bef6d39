"""Every fault of the LLM server, through the official SDKs: what a client sees, and that it ends where it should."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, get_args

import anthropic
import httpx2
import openai
import pytest

from miniagents.testing import Fault, FaultKind, LLMServer

Hear = Callable[..., Awaitable[Any]]

TOKENS = ["a", "b", "c"]
READ_TIMEOUT = 0.2  # seconds of silence after which a client gives up, in the tests that show the client's own error

both_providers = pytest.mark.parametrize("provider", ["openai", "anthropic"])
both_ways = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])


async def ask_raw(server: LLMServer) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Asks for a stream without any SDK; returns where its bytes come from, and what to close."""
    body = json.dumps({"model": "m", "messages": [], "stream": True}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    return reader, writer


async def test_a_cut_is_in_the_middle_of_an_event() -> None:
    """A stream that is cut ends inside an event, after the tokens before it, and not between two chunks."""
    async with LLMServer(TOKENS, fault="cut") as server:
        reader, writer = await ask_raw(server)
        answer = await reader.read()
        writer.close()
    assert b'"content":"a"' in answer
    assert answer.endswith(b'\r\ndata: {"')


@pytest.mark.parametrize(
    ("kind", "provider", "error"),
    [
        ("cut", "openai", openai.APIConnectionError),
        ("cut", "anthropic", httpx2.RemoteProtocolError),
        ("reset", "openai", openai.APIConnectionError),
        ("reset", "anthropic", httpx2.ReadError),
        ("error_event", "openai", openai.APIError),
        ("error_event", "anthropic", anthropic.APIStatusError),
        ("malformed_json", "openai", json.JSONDecodeError),
        ("malformed_json", "anthropic", json.JSONDecodeError),
    ],
)
@pytest.mark.parametrize("at_token", [0, 2, 3, 99])
async def test_a_stream_that_breaks_is_an_error_after_the_tokens_before(
    hear: Hear, kind: FaultKind, provider: str, error: type[Exception], at_token: int
) -> None:
    """A stream that breaks after so many tokens gives exactly these, then the error that the SDK makes of it."""
    async with LLMServer(TOKENS, fault=Fault(kind, at_token=at_token)) as server:
        heard = await hear(provider, server)
        assert type(heard.error) is error
        assert heard.tokens == TOKENS[:at_token]
        goes_on = kind == "malformed_json"
        assert server.requests[0].tokens_sent == (3 if goes_on else min(at_token, 3))
        await server.wait_until(lambda: server.open_connections == 0)


@both_providers
@pytest.mark.parametrize("at_token", [0, 2, 99])
async def test_a_stream_that_just_ends_is_no_error_but_has_no_reason(hear: Hear, provider: str, at_token: int) -> None:
    """A stream that ends in good order without its end marker is no error to the SDKs; only the reason is missing."""
    async with LLMServer(TOKENS, fault=Fault("clean_eof", at_token=at_token)) as server:
        heard = await hear(provider, server)
    assert (heard.error, heard.finish, heard.tokens) == (None, None, TOKENS[:at_token])


@both_providers
@pytest.mark.parametrize("kind", ["silence", "comments_only"])
@pytest.mark.parametrize("at_token", [0, 2, 99])
async def test_a_silent_stream_lasts_until_the_client_gives_up(
    hear: Hear, kind: FaultKind, provider: str, at_token: int
) -> None:
    """A stream that falls silent has sent the tokens before, stays open, and ends when the client is cancelled."""
    async with LLMServer(TOKENS, fault=Fault(kind, at_token=at_token)) as server:
        listener = asyncio.create_task(hear(provider, server))
        request = await server.next_request()
        await server.wait_until(lambda: request.tokens_sent == min(at_token, 3))
        listener.cancel()
        await server.wait_until(lambda: server.open_connections == 0)
        assert request.tokens_sent == min(at_token, 3)


@pytest.mark.parametrize(("provider", "error"), [("openai", openai.APITimeoutError), ("anthropic", httpx2.ReadTimeout)])
async def test_a_silent_stream_is_a_timeout(hear: Hear, provider: str, error: type[Exception]) -> None:
    """A stream that falls silent ends with the time-out error that the SDK makes of it."""
    async with LLMServer(TOKENS, fault="silence") as server:
        assert type((await hear(provider, server, read_timeout=READ_TIMEOUT)).error) is error


async def test_comments_are_really_sent() -> None:
    """A stream of nothing but comments goes on and on, so that the read time-out of a client never ends."""
    async with LLMServer(TOKENS, fault="comments_only") as server:
        reader, writer = await ask_raw(server)
        await reader.readuntil(b'"content":"a"')
        for _ in range(3):
            await reader.readuntil(b": still here\n\n")
        writer.close()
        await server.wait_until(lambda: server.open_connections == 0)


@both_providers
@pytest.mark.parametrize("kind", ["cut", "reset", "silence"])
async def test_a_whole_answer_that_breaks_is_an_error_of_the_sdk(hear: Hear, kind: FaultKind, provider: str) -> None:
    """A body that breaks off before its promised length is an error of the SDK's own connection class."""
    expected = openai.APIConnectionError if provider == "openai" else anthropic.APIConnectionError
    async with LLMServer(TOKENS, fault=kind) as server:
        heard = await hear(provider, server, stream=False, read_timeout=READ_TIMEOUT)
    assert isinstance(heard.error, expected)


@both_providers
@pytest.mark.parametrize("kind", ["clean_eof", "malformed_json"])
async def test_a_whole_answer_that_is_half_a_json_is_a_raw_error(hear: Hear, kind: FaultKind, provider: str) -> None:
    """A body that ends in the middle of its JSON reaches the caller as the raw error of the JSON parser."""
    async with LLMServer(TOKENS, fault=kind) as server:
        assert isinstance((await hear(provider, server, stream=False)).error, json.JSONDecodeError)


async def test_an_error_in_the_stream_tells_what_it_is(hear: Hear) -> None:
    """The type of Anthropic's error event can be read, although its status says that all is well."""
    async with LLMServer(TOKENS, fault="error_event") as server:
        error = (await hear("anthropic", server)).error
    assert (error.status_code, error.type) == (200, "overloaded_error")


async def test_a_whole_answer_may_be_an_error_in_disguise() -> None:
    """An error body with status 200, as some gateways send it, is a completion without choices to the SDK."""
    async with (
        LLMServer(fault="error_event") as server,
        openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="k") as client,
    ):
        completion = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi"}])
    assert completion.choices is None
    assert "error" in (completion.model_extra or {})


@both_providers
@both_ways
@pytest.mark.parametrize(
    ("status", "name"),
    [
        (401, "AuthenticationError"),
        (404, "NotFoundError"),
        (429, "RateLimitError"),
        (500, "InternalServerError"),
        (529, ("InternalServerError", "OverloadedError")),
    ],
)
async def test_an_error_status_is_the_error_of_the_sdk(
    hear: Hear, provider: str, stream: bool, status: int, name: str | tuple[str, str]
) -> None:
    """An error status is raised as the class that the SDK has for it, also if it has no name in HTTP."""
    if isinstance(name, tuple):
        name = name[provider == "anthropic"]
    async with LLMServer(fault=Fault("status", status=status)) as server:
        error = (await hear(provider, server, stream=stream)).error
        assert type(error).__name__ == name
        assert error.status_code == status
        assert error.request_id == "req_0"


@both_providers
async def test_a_fault_can_happen_once(hear: Hear, provider: str) -> None:
    """With `times=1` only the first request fails; the SDK waits as long as it is told, tries again and succeeds."""
    async with LLMServer(TOKENS, fault=Fault("status", status=429, retry_after=0.01, times=1)) as server:
        heard = await hear(provider, server, retries=2)
        assert heard.tokens == TOKENS
        assert len(server.requests) == 2


@both_providers
async def test_a_fault_can_happen_always(hear: Hear, provider: str) -> None:
    """Without `times` every request fails, until the SDK gives up."""
    async with LLMServer(fault=Fault("status", status=529, retry_after=0.01)) as server:
        assert (await hear(provider, server, retries=2)).error.status_code == 529
        assert len(server.requests) == 3


@both_providers
async def test_a_function_chooses_the_fault(hear: Hear, provider: str) -> None:
    """A function decides for each request what goes wrong with it."""
    async with LLMServer(TOKENS, fault=lambda request: "cut" if request.last_user_text == "bad" else None) as server:
        assert (await hear(provider, server, "bad")).error is not None
        assert (await hear(provider, server, "good")).tokens == TOKENS


@both_providers
@both_ways
async def test_a_connection_can_close_before_anything_is_answered(hear: Hear, provider: str, stream: bool) -> None:
    """A server that closes without an answer is a connection error."""
    async with LLMServer(fault="close_before_headers") as server:
        error = (await hear(provider, server, stream=stream)).error
    assert type(error).__name__ == "APIConnectionError"


@both_providers
@both_ways
async def test_a_server_can_say_nothing_at_all(hear: Hear, provider: str, stream: bool) -> None:
    """A server that sends no headers is a time-out, and the server sees the client go."""
    async with LLMServer(fault="hang_before_headers") as server:
        error = (await hear(provider, server, stream=stream, read_timeout=READ_TIMEOUT)).error
        assert type(error).__name__ == "APITimeoutError"
        await server.wait_until(lambda: server.open_connections == 0)


@pytest.mark.parametrize(
    ("kind", "provider", "changes"),
    [
        ("missing_role", "openai", {"role": None, "tokens": ["", "a", "b", "c"]}),
        ("missing_role", "anthropic", {"role": None}),
        ("null_content", "openai", {"tokens": ["a", None, "b", "c"]}),
        ("null_content", "anthropic", {"tokens": ["a", "", "b", "c"]}),
        ("empty_choices_first", "openai", {}),
        ("empty_choices_first", "anthropic", {}),
        ("no_content", "openai", {"tokens": [], "output_tokens": 0}),
        ("no_content", "anthropic", {"tokens": [], "output_tokens": 0}),
        ("finish_length", "openai", {"finish": "length"}),
        ("finish_length", "anthropic", {"finish": "max_tokens"}),
        ("finish_content_filter", "openai", {"finish": "content_filter"}),
        ("finish_content_filter", "anthropic", {"finish": "refusal"}),
        ("crlf_and_comments", "openai", {}),
        ("crlf_and_comments", "anthropic", {}),
        ("split_bytes", "openai", {}),
        ("split_bytes", "anthropic", {}),
        ("interleaved_tool_calls", "openai", {}),
        ("interleaved_tool_calls", "anthropic", {}),
    ],
)
async def test_an_odd_stream_differs_in_one_thing(
    hear: Hear, kind: FaultKind, provider: str, changes: dict[str, object]
) -> None:
    """An answer with an oddity is complete, and differs from an ordinary one in just what the fault says."""
    async with LLMServer(TOKENS) as server:
        ordinary = await hear(provider, server)
    async with LLMServer(TOKENS, fault=kind) as server:
        odd = await hear(provider, server)
    assert ordinary.tokens == TOKENS
    assert vars(odd) == {**vars(ordinary), **changes}


@pytest.mark.parametrize(
    ("kind", "provider", "changes"),
    [
        ("missing_role", "openai", {"role": None}),
        ("missing_role", "anthropic", {"role": None}),
        ("null_content", "openai", {"tokens": [None]}),
        ("null_content", "anthropic", {}),
        ("empty_choices_first", "openai", {"tokens": [], "role": None, "finish": None}),
        ("empty_choices_first", "anthropic", {}),
        ("no_content", "openai", {"tokens": [""], "output_tokens": 0}),
        ("no_content", "anthropic", {"tokens": [], "output_tokens": 0}),
        ("finish_length", "openai", {"finish": "length"}),
        ("finish_length", "anthropic", {"finish": "max_tokens"}),
        ("finish_content_filter", "openai", {"finish": "content_filter"}),
        ("finish_content_filter", "anthropic", {"finish": "refusal"}),
        ("crlf_and_comments", "openai", {}),
        ("crlf_and_comments", "anthropic", {}),
        ("split_bytes", "openai", {}),
        ("split_bytes", "anthropic", {}),
        ("interleaved_tool_calls", "openai", {}),
        ("interleaved_tool_calls", "anthropic", {}),
    ],
)
async def test_an_odd_whole_answer_differs_in_one_thing(
    hear: Hear, kind: FaultKind, provider: str, changes: dict[str, object]
) -> None:
    """The same for an answer that is not streamed."""
    async with LLMServer(TOKENS) as server:
        ordinary = await hear(provider, server, stream=False)
    async with LLMServer(TOKENS, fault=kind) as server:
        odd = await hear(provider, server, stream=False)
    assert ordinary.tokens == ["abc"]
    assert vars(odd) == {**vars(ordinary), **changes}


@pytest.mark.parametrize("kind", ["crlf_and_comments", "split_bytes"])
async def test_an_oddity_of_the_bytes_is_really_there(kind: FaultKind) -> None:
    """The bytes on the wire have what the fault says, although the SDKs hide it."""
    async with LLMServer(TOKENS, fault=kind) as server:
        reader, writer = await ask_raw(server)
        answer = await reader.readuntil(b"\r\n0\r\n\r\n")
        writer.close()
    chunks = answer.partition(b"\r\n\r\n")[2].split(b"\r\n") if kind == "split_bytes" else []
    assert {bytes(size) for size in chunks[0:40:2]} == ({b"1"} if kind == "split_bytes" else set())
    assert (b": a comment\r\n" in answer) == (kind == "crlf_and_comments")


def test_every_fault_has_a_test() -> None:
    """No fault is offered that no test here has tried."""
    tried = {
        parameter
        for test in globals().values()
        for mark in getattr(test, "pytestmark", [])
        for values in mark.args[1]
        for parameter in (values if isinstance(values, tuple) else [values])
        if isinstance(parameter, str)
    }
    assert set(get_args(FaultKind)) - tried == {"status", "close_before_headers", "hang_before_headers"}
