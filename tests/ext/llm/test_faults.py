"""What goes wrong on the way is an error of its own class, at its place among the tokens, with the text so far."""

from typing import Any, get_args

import pytest

from miniagents import MessageSequencePromise, MiniAgents
from miniagents.ext.llm.anthropic import anthropic_agent
from miniagents.ext.llm.errors import (
    LLMConnectionError,
    LLMEmptyCompletionError,
    LLMError,
    LLMProtocolError,
    LLMStatusError,
    LLMTimeoutError,
    LLMTruncatedError,
)
from miniagents.ext.llm.openai import openai_agent
from miniagents.testing.llm_server import Fault, FaultKind, LLMServer

TOKENS = ["one ", "two ", "three"]

# Seconds. What only time tells must be waited for, but no other test depends on how fast this machine is.
SOON = 0.1

HARMLESS: tuple[FaultKind, ...] = (
    "missing_role",
    "null_content",
    "empty_choices_first",
    "crlf_and_comments",
    "split_bytes",
    "interleaved_tool_calls",
)
FINISH_REASONS: dict[FaultKind, str] = {"finish_length": "length", "finish_content_filter": "content_filter"}
BEFORE_THE_ANSWER: dict[FaultKind, type[LLMError]] = {
    "status": LLMStatusError,
    "close_before_headers": LLMConnectionError,
    "hang_before_headers": LLMTimeoutError,
}
IN_A_STREAM: dict[FaultKind, type[LLMError]] = {
    "cut": LLMConnectionError,
    "clean_eof": LLMTruncatedError,
    "error_event": LLMStatusError,
    "malformed_json": LLMProtocolError,
}
SILENT: tuple[FaultKind, ...] = ("silence", "comments_only")
IN_A_WHOLE_ANSWER: dict[FaultKind, type[LLMError]] = {
    "cut": LLMConnectionError,
    "reset": LLMConnectionError,
    "clean_eof": LLMProtocolError,
    "malformed_json": LLMProtocolError,
    "silence": LLMTimeoutError,
    "comments_only": LLMTimeoutError,
    "error_event": LLMStatusError,
}

BUILTINS: dict[type[LLMError], type[Exception]] = {
    LLMConnectionError: ConnectionError,
    LLMTimeoutError: TimeoutError,
    LLMTruncatedError: ConnectionError,
    LLMStatusError: RuntimeError,
    LLMProtocolError: ValueError,
    LLMEmptyCompletionError: ValueError,
}


def test_every_fault_is_tried() -> None:
    """The tests below try each fault that the server knows."""
    apart: set[FaultKind] = {"reset", "no_content"}
    tried = {*HARMLESS, *FINISH_REASONS, *BEFORE_THE_ANSWER, *IN_A_STREAM, *SILENT, *apart}
    assert tried == set(get_args(FaultKind))


async def read(replies: MessageSequencePromise, expected: type[LLMError]) -> tuple[str, LLMError]:
    """What is streamed before the error, and the error, which must be the same for whoever awaits the reply."""
    said: list[str] = []

    async def read_on() -> None:
        async for promise in replies:
            async for token in promise:
                said.append(token)

    with pytest.raises(LLMError) as caught:
        await read_on()
    assert type(caught.value) is expected
    assert isinstance(caught.value, BUILTINS[expected])
    with pytest.raises(LLMError) as again:
        await replies
    assert again.value is caught.value
    return "".join(said), caught.value


def ask(way: Any, server: LLMServer, **parameters: Any) -> MessageSequencePromise:
    return way.agent(server).inquire("hi", **parameters)


def patience(expected: type[LLMError]) -> dict[str, float]:
    return {"max_silence": SOON} if expected is LLMTimeoutError else {}


@pytest.mark.parametrize("kind", HARMLESS)
async def test_what_is_only_unusual_is_no_error(way, kind: FaultKind) -> None:
    """A stream that is right but not what one expects gives its text."""
    async with LLMServer(reply=TOKENS, fault=kind) as server, MiniAgents():
        (message,) = await way.agent(server).inquire("hi")
    assert message.text == "one two three"
    assert message.usage.output_tokens == 3


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("kind", FINISH_REASONS)
async def test_why_an_answer_ended_is_told(way, kind: FaultKind, stream: bool) -> None:
    """An answer that its length or a filter has cut short is a message that says so, in words common to all."""
    async with LLMServer(reply=TOKENS, fault=kind) as server, MiniAgents():
        (message,) = await way.agent(server).inquire("hi", stream=stream)
    assert (message.text, message.finish_reason) == ("one two three", FINISH_REASONS[kind])


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("kind", BEFORE_THE_ANSWER)
async def test_an_answer_that_never_begins(way, kind: FaultKind, stream: bool) -> None:
    """The reply is there, and reading it raises the error."""
    async with LLMServer(reply=TOKENS, fault=kind) as server, MiniAgents():
        said, error = await read(
            ask(way, server, stream=stream, **patience(BEFORE_THE_ANSWER[kind])), BEFORE_THE_ANSWER[kind]
        )
    assert (said, error.partial_text) == ("", "")
    # Without an SDK a bad status is no exception before it is ours.
    assert (error.__cause__ is None) == (way.name == "compatible" and kind == "status")


@pytest.mark.parametrize("kind", IN_A_STREAM)
async def test_a_stream_that_breaks(way, kind: FaultKind) -> None:
    """The tokens before the break are read, then the error is raised, and it has their text as well."""
    async with LLMServer(reply=TOKENS, fault=Fault(kind, at_token=2)) as server, MiniAgents():
        said, error = await read(ask(way, server), IN_A_STREAM[kind])
    assert said == error.partial_text == "one two "


async def test_a_stream_that_is_reset(way) -> None:
    """A reset may overtake tokens on their way; those that came through are read, and are in the error."""
    async with LLMServer(reply=TOKENS, fault=Fault("reset", at_token=2), paced=True) as server, MiniAgents():
        replies = ask(way, server)
        server.release_token()
        assert await anext(aiter(await anext(aiter(replies)))) == "one "
        server.release_token()
        said, error = await read(replies, LLMConnectionError)
    assert said == error.partial_text
    assert said in ("one ", "one two ")


@pytest.mark.parametrize("kind", SILENT)
async def test_a_stream_that_falls_silent(way, kind: FaultKind) -> None:
    """When no token comes for as long as `max_silence` says, though comments may, that is an error."""
    async with LLMServer(reply=TOKENS, fault=Fault(kind, at_token=2)) as server, MiniAgents():
        said, error = await read(ask(way, server, max_silence=SOON), LLMTimeoutError)
    assert said == error.partial_text


@pytest.mark.parametrize("kind", IN_A_WHOLE_ANSWER)
async def test_a_whole_answer_that_breaks(way, kind: FaultKind) -> None:
    """An answer that does not arrive as a whole is an error without a text."""
    async with LLMServer(reply=TOKENS, fault=kind) as server, MiniAgents():
        said, error = await read(
            ask(way, server, stream=False, **patience(IN_A_WHOLE_ANSWER[kind])), IN_A_WHOLE_ANSWER[kind]
        )
    assert (said, error.partial_text) == ("", "")


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_a_complete_answer_without_a_text(way, stream: bool) -> None:
    """An answer with nothing in it is an error and not an empty message."""
    async with LLMServer(fault="no_content") as server, MiniAgents():
        said, error = await read(ask(way, server, stream=stream), LLMEmptyCompletionError)
    assert (said, error.partial_text) == ("", "")
    assert "finish reason: stop" in str(error)


@pytest.mark.parametrize("kind", ["null_content", "empty_choices_first"])
async def test_a_whole_answer_of_openai_with_nothing_in_it(kind: FaultKind) -> None:
    """A whole answer whose content is null, or which has no choice, is an answer without a text."""
    async with LLMServer(reply=TOKENS, fault=kind) as server, MiniAgents():
        replies = openai_agent.inquire("hi", base_url=f"{server.url}/v1", api_key="key", stream=False)
        with pytest.raises(LLMEmptyCompletionError):
            await replies


@pytest.mark.parametrize("kind", ["missing_role", "split_bytes"])
async def test_an_unusual_whole_answer_is_no_error(way, kind: FaultKind) -> None:
    """A whole answer without a role, or one that comes byte by byte, gives its text."""
    async with LLMServer(reply=TOKENS, fault=kind) as server, MiniAgents():
        (message,) = await way.agent(server).inquire("hi", stream=False)
    assert (message.text, message.role) == ("one two three", "assistant")


@pytest.mark.parametrize(
    ("status", "openais_type", "anthropics_type"),
    [
        (401, "invalid_request_error", "authentication_error"),
        (404, "invalid_request_error", "not_found_error"),
        (429, "requests", "rate_limit_error"),
        (529, "server_error", "overloaded_error"),
    ],
)
async def test_a_status_error_tells_what_the_provider_tells(
    way, status: int, openais_type: str, anthropics_type: str
) -> None:
    """Status, kind, request and waiting time of a refused request are in the error, and its text has the reason."""
    fault = Fault("status", status=status, retry_after=7)
    async with LLMServer(fault=fault) as server, MiniAgents():
        _, error = await read(ask(way, server), LLMStatusError)
    assert isinstance(error, LLMStatusError)
    assert (error.status, error.retry_after, error.request_id) == (status, 7, "req_0")
    assert error.error_type == (anthropics_type if way.is_anthropic else openais_type)
    assert f"Planned error {status}" in str(error)


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_an_error_in_an_answer_tells_what_the_provider_tells(way, stream: bool) -> None:
    """An error in the midst of an answer has the provider's name for it and its reason."""
    async with LLMServer(reply=TOKENS, fault="error_event") as server, MiniAgents():
        _, error = await read(ask(way, server, stream=stream), LLMStatusError)
    assert isinstance(error, LLMStatusError)
    if way.is_anthropic:
        expected = ("overloaded_error", "Overloaded") if stream else ("api_error", "Planned error")
    else:
        expected = ("server_error", "The server had an error" if stream else "Planned error")
    assert error.status == 200
    assert error.error_type == expected[0]
    assert expected[1] in str(error)


async def test_an_error_names_its_agent_and_model(way) -> None:
    """Who has asked whom stands below the error."""
    async with LLMServer(fault="clean_eof") as server, MiniAgents():
        _, error = await read(ask(way, server, model="m-1"), LLMTruncatedError)
    assert error.__notes__ == ["Model: m-1", f"Raised in: {way.agent(server).alias}"]


@pytest.mark.parametrize("agent", [openai_agent, anthropic_agent])
async def test_a_request_is_tried_again_before_its_answer_begins(agent) -> None:
    """A server that is overloaded for a moment is asked again, as often as `max_retries` allows."""
    fault = Fault("status", status=529, retry_after=0.001, times=2)
    async with LLMServer(reply="Now.", fault=fault) as server, MiniAgents():
        url = server.url if agent is anthropic_agent else f"{server.url}/v1"
        (message,) = await agent.inquire("hi", base_url=url, api_key="key", max_retries=2)
    assert message.text == "Now."
    assert len(server.requests) == 3


@pytest.mark.parametrize("agent", [openai_agent, anthropic_agent])
async def test_a_request_is_never_tried_again_after_its_answer_has_begun(agent) -> None:
    """Nobody is shown two beginnings of an answer."""
    async with LLMServer(reply=TOKENS, fault=Fault("cut", times=1)) as server, MiniAgents():
        url = server.url if agent is anthropic_agent else f"{server.url}/v1"
        replies = agent.inquire("hi", base_url=url, api_key="key", max_retries=2)
        with pytest.raises(LLMConnectionError) as caught:
            await replies
    assert caught.value.partial_text == "one "
    assert len(server.requests) == 1
