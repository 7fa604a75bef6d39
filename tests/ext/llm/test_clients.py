"""One client for each outermost context and configuration, closed with it; keys, packages, and a third provider."""

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import anthropic
import openai
import pytest

from miniagents import MiniAgents
from miniagents.ext.llm.anthropic import anthropic_agent
from miniagents.ext.llm.errors import LLMError, LLMRequestError, MissingExtraError, MissingKeyError
from miniagents.ext.llm.llm_common import AnswerEvent, ClientOptions, LLMProvider, Prompt, llm_agent
from miniagents.ext.llm.openai import openai_agent
from miniagents.ext.llm.openai_compatible import openai_compatible_agent
from miniagents.promising import PromiseCancelledError
from miniagents.testing.llm_server import LLMServer

BOTH = pytest.mark.parametrize(("agent", "sdk", "name"), [
    (openai_agent, openai, "AsyncOpenAI"),
    (anthropic_agent, anthropic, "AsyncAnthropic"),
])  # fmt: skip


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, threading.Thread]]:
    """The clients that are made, each with the thread in which that was done."""
    made: list[tuple[Any, threading.Thread]] = []
    for sdk, name in ((openai, "AsyncOpenAI"), (anthropic, "AsyncAnthropic")):
        original = getattr(sdk, name)

        def make(*args: Any, original: Any = original, **kwargs: Any) -> Any:
            client = original(*args, **kwargs)
            made.append((client, threading.current_thread()))
            return client

        monkeypatch.setattr(sdk, name, make)
    return made


def agent_for(agent: Any, server: LLMServer) -> Any:
    return agent.fork(base_url=server.url if agent is anthropic_agent else f"{server.url}/v1", api_key="key")


@BOTH
async def test_one_client_serves_a_context(agent, sdk, name, made) -> None:
    """Calls at once, later ones and those of inner contexts share one client, which is closed with the context."""
    async with LLMServer() as server:
        model = agent_for(agent, server)
        async with MiniAgents():
            await asyncio.gather(*(model.inquire("hi") for _ in range(5)))
            async with MiniAgents():
                await model.inquire("hi")
            ((client, _),) = made
            assert not client.is_closed()
        assert client.is_closed()
        await server.wait_until(lambda: server.open_connections == 0)


@BOTH
async def test_calls_one_after_the_other_share_a_connection(agent, sdk, name) -> None:
    """A connection on which an answer was read to its end is used again."""
    async with LLMServer() as server, MiniAgents():
        for _ in range(3):
            await agent_for(agent, server).inquire("hi")
        assert server.open_connections == 1


@BOTH
async def test_each_context_has_its_own_client(agent, sdk, name, made) -> None:
    """The next context makes a new client, for it may run in another event loop."""
    async with LLMServer() as server:
        for _ in range(2):
            async with MiniAgents():
                await agent_for(agent, server).inquire("hi")
    assert len(made) == 2


@BOTH
async def test_each_configuration_has_its_own_client(agent, sdk, name, made) -> None:
    """Calls with different keys do not share a client."""
    async with LLMServer() as server, MiniAgents():
        model = agent_for(agent, server)
        await model.inquire("hi", api_key="a")
        await model.inquire("hi", api_key="b")
    assert len(made) == 2
    assert [request.headers["authorization"] for request in server.requests] == ["Bearer a", "Bearer b"]


@BOTH
async def test_a_client_is_made_off_the_event_loop(agent, sdk, name, made) -> None:
    """Importing an SDK and making a client, which takes long, holds no event loop."""
    async with LLMServer() as server, MiniAgents():
        await agent_for(agent, server).inquire("hi")
    ((_, thread),) = made
    assert thread is not threading.current_thread()


@BOTH
async def test_the_callers_client_is_used_and_stays_open(agent, sdk, name, made) -> None:
    """A client of the caller's answers the call, no other is made, and it is not closed."""
    async with LLMServer() as server:
        base_url = server.url if agent is anthropic_agent else f"{server.url}/v1"
        async with getattr(sdk, name)(base_url=base_url, api_key="mine") as client:
            async with MiniAgents():
                await agent.inquire("hi", async_client=client)
            assert len(made) == 1
            assert not client.is_closed()


async def test_leaving_the_context_by_an_error_closes_the_connection(way) -> None:
    """An answer that nobody waits for any more is not generated to its end."""
    async with LLMServer(reply=["a", "b", "c"], paced=True) as server:

        async def program() -> None:
            async with MiniAgents():
                replies = way.agent(server).inquire("hi")
                server.release_token()
                assert await anext(aiter(await anext(aiter(replies)))) == "a"
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await program()
        await server.wait_until(lambda: server.requests[0].is_finished)
        assert server.requests[0].tokens_sent == 1


async def test_cancelling_the_context_closes_the_connection(way) -> None:
    """Likewise when the task is cancelled that runs the context, also before the first token."""
    async with LLMServer(reply=["a", "b", "c"], paced=True) as server:

        async def program() -> None:
            async with MiniAgents():
                await way.agent(server).inquire("hi")

        task = asyncio.create_task(program())
        request = await server.next_request()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.wait_until(lambda: request.is_finished)


async def test_cancelling_a_call_closes_its_connection(way) -> None:
    """`cancel()` of a call ends its request, which costs nothing any more; what was said stays, and so do other calls."""
    async with LLMServer(reply=["a", "b", "c"], paced=True) as server, MiniAgents():
        agent = way.agent(server)
        replies = agent.inquire("hi")
        server.release_token()
        promise = await anext(aiter(replies))
        tokens = aiter(promise)
        assert await anext(tokens) == "a"
        replies.cancel("enough")
        with pytest.raises(PromiseCancelledError, match="enough"):
            await anext(tokens)
        await server.wait_until(lambda: server.requests[0].is_finished)
        assert server.requests[0].tokens_sent == 1
        other = agent.inquire("hi")
        for _ in range(3):
            server.release_token()
        assert [str(message) for message in await other] == ["abc"]


async def test_a_reader_that_leaves_changes_nothing_for_another(way) -> None:
    """A cancelled reader does not close the stream that others read."""
    async with LLMServer(reply=["a", "b"], paced=True) as server, MiniAgents():
        replies = way.agent(server).inquire("hi")

        async def leave_early() -> None:
            await replies

        reader = asyncio.create_task(leave_early())
        request = await server.next_request()
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        request.release_token(2)
        assert [token async for promise in replies async for token in promise] == ["a", "b"]


@pytest.mark.parametrize(
    ("agent", "variable"), [(openai_agent, "OPENAI_API_KEY"), (anthropic_agent, "ANTHROPIC_API_KEY")]
)
async def test_without_a_key_the_error_says_what_to_do(agent, variable: str, no_anthropic_profile) -> None:
    """It names the variable to set and the ways to run without a key."""
    async with MiniAgents():
        replies = agent.inquire("hi")
        with pytest.raises(MissingKeyError) as caught:
            await replies
    assert isinstance(caught.value, LookupError)
    for hint in (variable, "api_key", "async_client", "openai_compatible_agent", "base_url", "eliza_agent"):
        assert hint in str(caught.value)


async def test_an_admin_key_is_no_key_for_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenAI's SDK is content with an admin key, which models do not accept; we are not."""
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "admin")
    async with MiniAgents():
        replies = openai_agent.inquire("hi")
        with pytest.raises(MissingKeyError):
            await replies


@pytest.mark.parametrize(
    ("variable", "value"),
    [("ANTHROPIC_AUTH_TOKEN", "token"), ("ANTHROPIC_CUSTOM_HEADERS", "X-Api-Key: token")],
)
async def test_other_credentials_than_a_key_will_do(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch, no_anthropic_profile
) -> None:
    """What Anthropic's SDK accepts in the place of a key is accepted."""
    monkeypatch.setenv(variable, value)
    async with LLMServer() as server, MiniAgents():
        await anthropic_agent.inquire("hi", base_url=server.url)
    assert len(server.requests) == 1


async def test_keys_and_urls_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables that the SDKs read are all that is needed."""
    async with LLMServer() as server, MiniAgents():
        monkeypatch.setenv("OPENAI_API_KEY", "o")
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
        monkeypatch.setenv("ANTHROPIC_API_KEY", "a")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
        await openai_agent.inquire("hi")
        await anthropic_agent.inquire("hi")
    assert [request.headers["authorization"] for request in server.requests] == ["Bearer o", "Bearer a"]


async def test_a_compatible_server_learns_nothing_of_an_openai_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key is needed, and neither OpenAI's key nor the names of the account are sent to somebody else."""
    for variable in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(variable, "secret")
    async with LLMServer() as server, MiniAgents():
        await openai_compatible_agent.inquire("hi", base_url=f"{server.url}/v1", model="llama")
    (request,) = server.requests
    assert "secret" not in " ".join(request.headers.values())


async def test_a_compatible_server_gets_the_key_that_is_meant_for_it() -> None:
    """A key that is given is sent."""
    async with LLMServer() as server, MiniAgents():
        await openai_compatible_agent.inquire("hi", base_url=f"{server.url}/v1", model="llama", api_key="theirs")
    assert server.requests[0].headers["authorization"] == "Bearer theirs"


@pytest.mark.parametrize(
    ("agent", "package", "extra"),
    [
        (openai_agent, "openai", "openai"),
        (anthropic_agent, "anthropic", "anthropic"),
        (openai_compatible_agent.fork(base_url="http://127.0.0.1:1/v1", model="m"), "httpx2", "http"),
    ],
)
async def test_without_its_package_the_error_says_what_to_install(
    agent, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing SDK is an `ImportError` that has the command; it comes when the model is used, not before."""
    monkeypatch.setitem(sys.modules, package, None)
    async with MiniAgents():
        replies = agent.inquire("hi", api_key="key")
        with pytest.raises(MissingExtraError) as caught:
            await replies
    assert isinstance(caught.value, ImportError)
    assert caught.value.name == package
    assert f'pip install "/path/to/miniagents[{extra}]"' in str(caught.value)


class ParrotError(Exception):
    pass


class ParrotProvider(LLMProvider):
    """The whole of a third provider."""

    name: ClassVar[str] = "Parrot"
    package: ClassVar[str] = "parrot"
    base_error: ClassVar[str] = "ParrotError"
    extra: ClassVar[str] = "parrot"

    def make_client(self, sdk: Any, options: ClientOptions) -> Any:
        return sdk.Client()

    def make_request(self, prompt: Prompt, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return {"messages": [turn.text for turn in prompt.turns], **parameters}

    async def open(self, client: Any, request: Mapping[str, Any], opened: AsyncExitStack) -> AsyncIterator[AnswerEvent]:
        async def events() -> AsyncIterator[AnswerEvent]:
            for word in request["messages"][0].split():
                if word == "cracker":
                    raise ParrotError("no crackers")
                yield word
            yield {"finish_reason": "stop"}

        return events()


parrot_agent = llm_agent.fork(alias="PARROT_AGENT", provider=ParrotProvider(), model="grey")


@pytest.fixture
def parrot(monkeypatch: pytest.MonkeyPatch) -> None:
    async def close() -> None:
        pass

    sdk = ModuleType("parrot")
    sdk.__dict__.update(Client=lambda: SimpleNamespace(close=close), ParrotError=ParrotError)
    monkeypatch.setitem(sys.modules, "parrot", sdk)


async def test_a_third_provider_is_a_class_and_an_agent(parrot) -> None:
    """What all providers share is there for one more without a word of its own."""
    async with MiniAgents():
        (message,) = await parrot_agent.inquire("pretty polly")
    assert (message.text, message.model, message.finish_reason) == ("prettypolly", "grey", "stop")


async def test_errors_of_a_third_sdk_are_explained(parrot) -> None:
    """An error of an SDK that nobody knows is an `LLMError` with the text so far."""
    async with MiniAgents():
        replies = parrot_agent.inquire("polly wants a cracker")
        with pytest.raises(LLMError, match=r"The SDK of Parrot failed .*no crackers") as caught:
            await replies
    assert caught.value.partial_text == "pollywantsa"
    assert isinstance(caught.value.__cause__, ParrotError)


def fly() -> str:
    return "It flies."


@pytest.mark.usefixtures("parrot")
@pytest.mark.parametrize(
    ("wanted", "what"),
    [({"tools": [fly]}, "tools"), ({"response_type": int}, "a `response_type`")],
    ids=["tools", "type"],
)
async def test_what_a_provider_does_not_send_is_refused(wanted: dict[str, Any], what: str) -> None:
    """A provider that sends only texts is not asked with tools, or for a value, as if it knew them."""
    async with MiniAgents():
        with pytest.raises(LLMRequestError, match=f"ParrotProvider does not send {what}: .*supports"):
            await parrot_agent.inquire("hello", **wanted)
