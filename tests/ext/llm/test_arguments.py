"""What is refused before anything is sent, and that no key or password is ever told."""

import logging
import traceback
from typing import Any

import openai
import pytest

from miniagents import Message, MiniAgents
from miniagents.ext.llm._exchange import Exchange
from miniagents.ext.llm.anthropic import AnthropicProvider, anthropic_agent
from miniagents.ext.llm.errors import (
    LLMConnectionError,
    LLMError,
    LLMParameterError,
    LLMRequestError,
    LLMStatusError,
    LLMTimeoutError,
)
from miniagents.ext.llm.llm_common import ClientOptions, Prompt
from miniagents.ext.llm.openai import OpenAIProvider, openai_agent
from miniagents.ext.llm.openai_compatible import openai_compatible_agent
from miniagents.ext.llm.recordings import no_real_requests
from miniagents.testing.llm_server import Fault, FaultKind, LLMServer

SECRET = "canary-in-a-coal-mine"


async def error_of(agent: Any, **arguments: Any) -> LLMError:
    async with MiniAgents():
        with pytest.raises(LLMError) as caught:
            await agent.inquire("hi", **arguments)
    return caught.value


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), True, "5", [1]], ids=repr)
async def test_a_silence_that_is_no_time_is_refused(way, value: Any) -> None:
    """`max_silence` is a positive number or `None`; anything else is an error that says so, and nothing is sent."""
    async with LLMServer() as server:
        error = await error_of(way.agent(server), max_silence=value)
        assert type(error) is LLMParameterError
        assert "`max_silence` is a positive number" in str(error)
        assert repr(value) in str(error)
        assert server.requests == []


async def test_silence_may_be_without_limit(way) -> None:
    """`None` is no limit."""
    async with LLMServer() as server, MiniAgents():
        assert len(await way.agent(server).inquire("hi", max_silence=None)) == 1


@pytest.mark.parametrize("value", [-1, 1.5, True, "2"], ids=repr)
async def test_retries_that_are_no_number_are_refused(way, value: Any) -> None:
    """`max_retries` is a whole number from 0."""
    async with LLMServer() as server:
        error = await error_of(way.agent(server), max_retries=value)
        assert type(error) is LLMParameterError
        assert f"`max_retries` is a whole number from 0, or None for the default, not {value!r}" in str(error)
        assert server.requests == []


BAD_URLS = pytest.mark.parametrize(
    "url", ["127.0.0.1:8000/v1", "localhost:8000", "ftp://127.0.0.1/", "http://", "http://[::1", "http://h:x/"]
)


@BAD_URLS
@pytest.mark.parametrize("agent", [openai_agent, anthropic_agent, openai_compatible_agent.fork(model="m")])
async def test_an_address_that_is_none_is_refused(agent, url: str) -> None:
    """A `base_url` without `http://` or `https://`, or without a host, is refused before anything is sent."""
    error = await error_of(agent, base_url=url, api_key="key")
    assert type(error) is LLMParameterError
    assert "`base_url` must begin with http:// or https://" in str(error)
    assert url in str(error)


@BAD_URLS
@pytest.mark.parametrize("agent", [openai_agent, anthropic_agent])
async def test_an_address_of_the_environment_that_is_none_is_refused(
    agent, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Likewise if the SDK has found it."""
    monkeypatch.setenv("OPENAI_BASE_URL" if agent is openai_agent else "ANTHROPIC_BASE_URL", url)
    error = await error_of(agent, api_key="key")
    assert not isinstance(error, LLMConnectionError)
    assert isinstance(error, ValueError)
    assert "base_url" in str(error) or "base URL" in str(error)


@pytest.mark.parametrize("url", ["", None])
async def test_a_compatible_server_without_an_address_is_not_openai(url: str | None) -> None:
    """An address that is empty, for example because a variable is not set, never leads to OpenAI."""
    error = await error_of(openai_compatible_agent, model="m", base_url=url)
    assert type(error) is LLMParameterError
    assert "`base_url` is empty" in str(error)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("host", ["127.0.0.1", "user:password@127.0.0.1"])
async def test_a_server_that_is_not_there(host: str, stream: bool) -> None:
    """Nobody at the other end is a connection error that says where, without the password, and why."""
    async with LLMServer() as server:
        base_url = f"{server.url}/v1"
    agent = openai_compatible_agent.fork(base_url=base_url.replace("127.0.0.1", host), model="llama", max_retries=0)
    error = await error_of(agent, stream=stream)
    assert type(error) is LLMConnectionError
    assert base_url in str(error)
    assert "ConnectionRefusedError" in str(error)
    assert str(error).endswith(" Is the server running?")
    assert "password" not in str(error)


@pytest.mark.parametrize(
    ("agent", "model", "instead"),
    [(openai_agent, "claude-sonnet-5-5", "`anthropic_agent`"), (anthropic_agent, "GPT-5.5", "`openai_agent`"),
     (openai_agent, "llama3.2", "`openai_compatible_agent`")],
)  # fmt: skip
async def test_a_model_of_somebody_else_is_not_asked_for(agent: Any, model: str, instead: str) -> None:
    """The provider's own server is not asked for a model that it cannot have, and the error says who has it."""
    with no_real_requests(allow=["api.openai.com", "api.anthropic.com"]):
        error = await error_of(agent, api_key="key", model=model)
    assert type(error) is LLMRequestError
    assert model in str(error)
    assert instead in str(error)


async def test_a_server_of_ones_own_may_have_any_model() -> None:
    """Behind another address, such as that of a proxy, a model may have any name."""
    async with LLMServer(reply="fine") as server, MiniAgents():
        replies = openai_agent.inquire("hi", base_url=f"{server.url}/v1", api_key="key", model="claude-sonnet-5-5")
        assert str((await replies)[0]) == "fine"


@pytest.mark.parametrize(
    ("agent", "variable"), [(openai_agent, "OPENAI_API_KEY"), (anthropic_agent, "ANTHROPIC_API_KEY")]
)
async def test_who_has_a_wrong_key_is_told_where_it_is(agent: Any, variable: str) -> None:
    """The error about a key that is refused says which setting to check."""
    async with LLMServer(fault=Fault("status", status=401)) as server:
        url = server.url if agent is anthropic_agent else f"{server.url}/v1"
        error = await error_of(agent, base_url=url, api_key="wrong")
    assert any("`api_key`" in note and variable in note for note in error.__notes__)


async def test_silence_counts_anew_for_each_request() -> None:
    """A model that is silent is asked again, as often as `max_retries` says, and then the error says how often."""
    async with LLMServer(fault="hang_before_headers") as server:
        error = await error_of(openai_agent, base_url=f"{server.url}/v1", api_key="key", max_retries=1, max_silence=0.1)
        assert type(error) is LLMTimeoutError
        assert "`max_silence` (0.1 s)" in str(error)
        assert "Tried 2 times." in error.__notes__


async def test_a_time_limit_of_the_client_is_not_ours() -> None:
    """When the caller's client gives up by itself, the error does not blame `max_silence`."""
    async with (
        LLMServer(fault="hang_before_headers") as server,
        openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="key", max_retries=0, timeout=0.05) as client,
    ):
        error = await error_of(openai_agent, async_client=client)
    assert type(error) is LLMTimeoutError
    assert "max_silence" not in str(error)
    assert "timed out" in str(error)


def everything_told(error: BaseException | None) -> str:
    """Text, `repr`, notes and traceback of an error and of all that has caused it, as far as tracebacks tell."""
    told = []
    while error is not None:
        told += [str(error), repr(error), *getattr(error, "__notes__", ())]
        told.append("".join(traceback.format_exception(error)))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n".join(told)


FAULTS: tuple[FaultKind, ...] = (
    *("status", "close_before_headers", "hang_before_headers", "cut", "reset", "clean_eof"),
    *("silence", "error_event", "malformed_json", "no_content"),
)


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("agent", [openai_agent, anthropic_agent])
async def test_no_fault_tells_a_key(agent, kind: FaultKind, stream: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Neither key nor password is in an error, its notes, causes or traceback, or in what is logged."""
    caplog.set_level(logging.DEBUG, logger="miniagents")
    async with LLMServer(fault=kind) as server:
        url = server.url.replace("//", f"//user:{SECRET}@") + ("" if agent is anthropic_agent else "/v1")
        arguments = {"api_key": SECRET, "base_url": url, "max_retries": 0, "stream": stream, "max_silence": 0.2}
        error = await error_of(agent, **arguments)
    assert SECRET not in everything_told(error)
    assert SECRET not in caplog.text


@pytest.mark.parametrize("end", ["\n", " ", "\u00e9", "\x7f"], ids=repr)
@pytest.mark.parametrize("agent", [openai_agent, anthropic_agent])
@pytest.mark.parametrize("source", ["argument", "environment"])
async def test_a_key_that_no_header_can_carry(agent, end: str, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key with a line end or the like is refused by name, and neither the error nor its causes tell it."""
    arguments = {"api_key": SECRET + end} if source == "argument" else {}
    monkeypatch.setenv("OPENAI_API_KEY" if agent is openai_agent else "ANTHROPIC_API_KEY", SECRET + end)
    async with LLMServer() as server:
        url = server.url if agent is anthropic_agent else f"{server.url}/v1"
        error = await error_of(agent, base_url=url, max_retries=0, **arguments)
        assert server.requests == []
    assert type(error) is LLMParameterError
    assert "key" in str(error)
    assert SECRET not in everything_told(error)


@pytest.mark.parametrize("provider", [OpenAIProvider, AnthropicProvider])
def test_no_repr_tells_a_key(provider: Any) -> None:
    """The objects that carry a key do not show it."""
    options = ClientOptions(SECRET, f"http://user:{SECRET}@127.0.0.1", 1)
    headers = {"model": "m", "extra_headers": {"Authorization": SECRET}}
    exchange = Exchange(None, provider(), None, options, None, None, None, None, headers)  # type: ignore[arg-type]
    asked = exchange.ask(Prompt.of([Message("hi")]))
    assert SECRET not in repr(options) + repr(exchange) + repr(asked)
    asked.close()


async def test_a_bad_address_does_not_tell_its_password() -> None:
    """The error about an address that is refused shows it without user and password."""
    error = await error_of(openai_agent, base_url=f"user:{SECRET}@host/v1?key={SECRET}", api_key=SECRET)
    assert "host/v1" in str(error)
    assert SECRET not in everything_told(error)


OWN_CLIENTS = pytest.mark.parametrize(
    "agent", [openai_agent, anthropic_agent, openai_compatible_agent.fork(base_url=None, model="m")]
)


@OWN_CLIENTS
@pytest.mark.parametrize("key", ["sk-schl\u00fcssel", "two words", "line\n"], ids=["letter", "space", "line"])
async def test_a_key_that_no_header_can_carry_is_refused(agent: Any, key: str) -> None:
    """It is refused before anything is sent, by every provider, and not told."""
    async with LLMServer() as server:
        url = server.url if agent is anthropic_agent else f"{server.url}/v1"
        error = await error_of(agent, base_url=url, api_key=key)
        assert server.requests == []
    assert type(error) is LLMParameterError
    assert "has a character in it that no key has" in str(error)
    assert key not in everything_told(error)


@OWN_CLIENTS
@pytest.mark.parametrize(
    "options",
    [{"api_key": SECRET}, {"base_url": "http://h/v1"}, {"max_retries": 0}, {"api_key": "k", "max_retries": 1}],
)
async def test_a_client_of_ones_own_has_its_own_options(agent: Any, options: dict[str, Any]) -> None:
    """What only the maker of a client can choose is refused beside it, by name, and nothing is sent."""
    async with LLMServer() as server, openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="key") as client:
        error = await error_of(agent, async_client=client, **options)
        assert server.requests == []
    assert type(error) is LLMParameterError
    assert "`async_client` has its own " + " and ".join(f"`{name}`" for name in options) in str(error)
    assert SECRET not in everything_told(error)


async def test_a_client_of_ones_own_knows_where_its_server_is() -> None:
    """Beside a client of the SDK a compatible server needs no address; `None` and an empty text are no options."""
    async with (
        LLMServer(reply="fine") as server,
        openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="key") as client,
        MiniAgents(),
    ):
        agent = openai_compatible_agent.fork(base_url=None, model="m", async_client=client)
        (answer,) = await agent.inquire("hi", api_key="", max_retries=None)
    assert str(answer) == "fine"


@pytest.mark.parametrize(
    ("name", "value"), [("model", 3), ("model", ["m"]), ("model", b"m"), ("stream", "no"), ("stream", 1)], ids=repr
)
async def test_a_model_and_a_stream_of_another_type_are_refused(way, name: str, value: Any) -> None:
    """A `model` is a text, and `stream` is true or false; anything else is an error that names it."""
    async with LLMServer() as server:
        error = await error_of(way.agent(server), **{name: value})
        assert server.requests == []
    assert type(error) is LLMParameterError
    assert str(error).startswith(f"`{name}` is ")


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ("apikey", "api_key"),
        ("apiKey", "api_key"),
        ("systm", "system"),
        ("tool", "tools"),
        ("modell", "model"),
        ("base_ur", "base_url"),
        ("max_turn", "max_turns"),
        ("respone_type", "response_type"),
    ],
)
async def test_a_misspelt_argument_is_refused(way, misspelt: str, meant: str) -> None:
    """What is nearly the name of an own argument is no parameter of the API: nothing is sent, and no value is told."""
    async with LLMServer() as server:
        error = await error_of(way.agent(server), **{misspelt: SECRET})
        assert type(error) is LLMParameterError
        assert f"no argument `{misspelt}`: did you mean `{meant}`?" in str(error)
        assert SECRET not in str(error)
        assert server.requests == []


API_PARAMETERS = [
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "tool_choice",
    "tool_config",
    "parallel_tool_calls",
    "stop",
    "stop_sequences",
    "store",
    "stream_options",
    "models",
    "top_k",
    "top_p",
    "top_a",
    "min_p",
    "n",
    "seed",
    "user",
    "metadata",
    "temperature",
    "response_format",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "reasoning",
    "reasoning_effort",
    "verbosity",
    "service_tier",
    "modalities",
    "audio",
    "prediction",
    "prompt_cache_key",
    "safety_identifier",
    "web_search_options",
    "thinking",
    "betas",
    "container",
    "mcp_servers",
    "context_management",
    "include",
    "instructions",
    "input",
    "truncation",
    "text",
    "background",
    "conversation",
    "previous_response_id",
    "extra_headers",
    "extra_query",
    "extra_body",
    "keep_alive",
    "options",
    "format",
    "think",
    "num_ctx",
    "transforms",
    "route",
    "plugins",
    "guided_json",
    "guided_regex",
    "best_of",
    "use_beam_search",
    "ignore_eos",
    "min_tokens",
    "safe_prompt",
    "prompt_mode",
    "random_seed",
    "chat_template_kwargs",
    "cache_prompt",
    "n_predict",
    "grammar",
    "mirostat",
    "typical_p",
    "suffix",
    "echo",
    "functions",
    "function_call",
    "search_parameters",
    "citations",
    "documents",
    "preset",
    "max_price",
    "moderation",
]


async def test_parameters_of_the_api_are_no_misspelt_arguments() -> None:
    """What the known APIs take goes through to them, however near it is to the name of an own argument."""
    async with LLMServer() as server, MiniAgents():
        agent = openai_compatible_agent.fork(base_url=f"{server.url}/v1", model="m")
        passed = [
            name for name in API_PARAMETERS if not name.startswith(("extra_", "stream_options", "response_format"))
        ]
        for name in passed:
            await agent.inquire("hi", **{name: None})
        assert [name for name, request in zip(passed, server.requests, strict=True) if name not in request.body] == []


@pytest.mark.parametrize("path", ["", "/api"])
@pytest.mark.parametrize("agent", [openai_agent, openai_compatible_agent])
async def test_an_address_without_v1_is_told_of(agent: Any, path: str) -> None:
    """Where the API is not found, the error shows where it was looked for, without a password, and asks for `/v1`."""
    async with LLMServer() as server:
        url = server.url.replace("//", "//user:canary@") + path
        error = await error_of(agent, base_url=url, api_key="key", model="m", max_retries=0)
    assert isinstance(error, LLMStatusError)
    assert error.status == 404
    assert f"(asked at {server.url}{path}/chat/completions: is `/v1` missing" in str(error)
    assert "canary" not in str(error)


@pytest.mark.parametrize("agent", [openai_agent, openai_compatible_agent, anthropic_agent])
async def test_an_address_with_v1_is_not_doubted(agent: Any) -> None:
    """A model that is not found at a good address is not the fault of the address."""
    async with LLMServer(fault=Fault("status", status=404)) as server:
        url = server.url if agent is anthropic_agent else f"{server.url}/v1"
        error = await error_of(agent, base_url=url, api_key="key", model="m", max_retries=0)
    assert isinstance(error, LLMStatusError)
    assert error.status == 404
    assert "base_url" not in str(error)
