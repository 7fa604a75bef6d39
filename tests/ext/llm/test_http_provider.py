"""A provider of one's own over plain HTTP: where it is, how its key is found and sent, and how its answers end."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest

from miniagents import MiniAgents
from miniagents.ext.llm.errors import LLMParameterError, LLMStatusError, LLMTruncatedError, MissingKeyError
from miniagents.ext.llm.http_provider import AnswerParts, HTTPProvider
from miniagents.ext.llm.llm_common import Prompt, llm_agent
from miniagents.ext.llm.provider import AnswerEvent
from miniagents.testing import Fault, LLMServer
from support.docs_blocks import blocks_of

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "add-a-provider.md"


class Example(HTTPProvider):
    """Reads Anthropic's wire, as far as texts go."""

    name = "Example"
    path = "v1/messages"
    key_variable = "EXAMPLE_KEY"

    def headers(self, api_key: str | None) -> dict[str, str]:
        return {"x-example-key": f"<{api_key}>"}

    def make_request(self, prompt: Prompt, parameters: Mapping[str, Any]) -> dict[str, Any]:
        messages = [{"role": turn.role, "content": turn.text} for turn in prompt.turns]
        return {"max_tokens": 9, **parameters, "messages": messages}

    async def read(self, answer: AnswerParts) -> AsyncIterator[AnswerEvent]:
        async for part in answer:
            if part["type"] == "content_block_delta":
                yield part["delta"]["text"]
            answer.is_over = part["type"] == "message_stop"


def agent_of(server: LLMServer, **presets: Any) -> Any:
    return llm_agent.fork(alias="EXAMPLE", **{"provider": Example(), "model": "m", "base_url": server.url, **presets})


async def test_it_is_asked_and_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key is found in the environment and sent as the provider says, and each token is there as it comes."""
    monkeypatch.setenv("EXAMPLE_KEY", "secret-of-mine")
    async with LLMServer(reply=["one ", "two"], paced=True) as server, MiniAgents():
        promise = agent_of(server).inquire("hi")
        request = await server.next_request()
        request.release_token()
        tokens = aiter(await anext(aiter(promise)))
        assert await anext(tokens) == "one "
        assert request.tokens_sent == 1
        request.release_token()
        assert str((await promise)[0]) == "one two"
    assert request.headers["x-example-key"] == "<secret-of-mine>"
    assert request.path == "/v1/messages"


async def test_a_key_or_an_address_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key there is an error that names the variable, without an address one that says what it is."""
    monkeypatch.delenv("EXAMPLE_KEY", raising=False)
    async with LLMServer() as server, MiniAgents():
        with pytest.raises(MissingKeyError, match="EXAMPLE_KEY"):
            await agent_of(server).inquire("hi")
        with pytest.raises(LLMParameterError, match="`base_url` is empty"):
            await agent_of(server, base_url=None, api_key="key").inquire("hi")
    assert server.requests == []


async def test_what_breaks_is_an_error_of_ours() -> None:
    """Retries, errors with the text so far, and keys that are in no error come with the class."""
    async with LLMServer(reply=["one ", "two"], fault=Fault("clean_eof")) as server, MiniAgents():
        with pytest.raises(LLMTruncatedError) as torn:
            await agent_of(server, api_key="key").inquire("hi")
    assert torn.value.partial_text == "one "
    busy = Fault("status", status=503, retry_after=0.001, times=2)
    async with LLMServer(reply="Now.", fault=busy) as server, MiniAgents():
        assert str((await agent_of(server, api_key="key").inquire("hi"))[0]) == "Now."
    assert len(server.requests) == 3
    async with LLMServer(fault=Fault("status", status=401)) as server, MiniAgents():
        with pytest.raises(LLMStatusError, match="Example answered with status 401"):
            await agent_of(server, api_key="key").inquire("hi")


def test_a_provider_is_short() -> None:
    """The page that writes a provider needs less than sixty lines for it."""
    block = next(block for block in blocks_of(PAGE) if "class ExampleProvider" in block.program(""))
    lines = PAGE.read_text(encoding="utf-8").splitlines()[block.line :]
    assert lines.index("```") < 60


@pytest.mark.parametrize("end", ["", "/"])
async def test_what_is_behind_the_question_mark_of_an_address_stays_there(
    monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """The path is put before the query of `base_url`, `extra_query` is added to it, and escapes stay as they are."""
    sent: list[str] = []

    async def send(_: httpx2.AsyncClient, request: httpx2.Request, **__: Any) -> None:
        sent.append(str(request.url))
        raise httpx2.ConnectError("No.")

    monkeypatch.setattr(httpx2.AsyncClient, "send", send)
    async with MiniAgents():
        agent = llm_agent.fork(provider=Example(), model="m", api_key="key", max_retries=0)
        for base, query in (("?version=1", {"x": "2"}), ("?version=1", {}), ("", {"x": "2"}), ("", {})):
            await agent.inquire("hi", base_url=f"http://127.0.0.1/a%2Fb{end}{base}", extra_query=query).settled()
    where = "http://127.0.0.1/a%2Fb/v1/messages"
    assert sent == [f"{where}?version=1&x=2", f"{where}?version=1", f"{where}?x=2", where]


@pytest.mark.parametrize("end", ["", "/", "?version=1", "/?version=1"])
async def test_a_server_is_found_behind_its_address(end: str) -> None:
    """With or without a slash or a query at the end of its address."""
    async with LLMServer(reply="Hi.") as server, MiniAgents():
        assert str((await agent_of(server, api_key="key", base_url=server.url + end).inquire("hi"))[0]) == "Hi."


class ByModel(Example):
    """A provider each of whose models has a path of its own."""

    async def open(self, client: Any, request: Mapping[str, Any], opened: AsyncExitStack) -> AsyncIterator[AnswerEvent]:
        await client.post(f"v1/{request['model']}", dict(request), opened, self.name)
        raise AssertionError


async def test_each_path_has_an_address_of_its_own() -> None:
    """What one client sends to several paths arrives at each of them."""
    async with LLMServer() as server, MiniAgents():
        for model in ("one", "two", "one"):
            with pytest.raises(LLMStatusError, match="404"):
                await agent_of(server, provider=ByModel(), model=model, api_key="key").inquire("hi")
    assert [request.path for request in server.requests] == ["/v1/one", "/v1/two", "/v1/one"]


class Broken(Example):
    """A provider of whose methods one is not as it should be."""

    def __init__(self, *, request: Any = None, events: Any = None) -> None:
        self._request = request
        self._events = events

    def make_request(self, prompt: Prompt, parameters: Mapping[str, Any]) -> Any:
        return self._request() if self._request else super().make_request(prompt, parameters)

    def read(self, answer: AnswerParts) -> Any:
        return self._events() if self._events else super().read(answer)


class OpensAtOnce(Example):
    def open(self, client: Any, request: Any, opened: Any) -> Any:
        return 5


async def no_answer() -> str:
    return "x"


async def odd_pieces() -> AsyncIterator[Any]:
    yield "one "
    yield 5


@pytest.mark.parametrize(
    ("provider", "complaint"),
    [
        (Broken(request=no_answer), "`Broken.make_request` gave a coroutine. It gives a dict, and is not async."),
        (Broken(request=lambda: [1]), "`Broken.make_request` gave a list. It gives a dict"),
        (Broken(events=no_answer), "`Broken.open` gave a coroutine. It gives an async iterator: "),
        (Broken(events=lambda: iter("x")), "`Broken.open` gave a str_ascii_iterator. It gives an async iterator: "),
        (OpensAtOnce(), "`OpensAtOnce.open` gave a int. It gives an async iterator: "),
        (Broken(events=odd_pieces), "A provider gave 5 as a piece of its answer, which is no `AnswerEvent`: a text, "),
    ],
    ids=["async request", "list", "coroutine", "iterator", "number", "piece"],
)
@pytest.mark.filterwarnings("error")
async def test_a_method_that_gives_something_else_is_named(provider: HTTPProvider, complaint: str) -> None:
    """The error about a provider's method says which it is, what it gave and what it is to give."""
    async with LLMServer() as server, MiniAgents():
        with pytest.raises(TypeError) as caught:
            await agent_of(server, provider=provider, api_key="key-of-mine").inquire("hi")
    assert not isinstance(caught.value, LLMParameterError)
    assert str(caught.value).startswith(complaint)


async def test_the_class_of_a_provider_is_no_provider() -> None:
    """A class where an object of it belongs is refused, with what to write instead."""
    async with MiniAgents():
        with pytest.raises(LLMParameterError, match=r"write `provider=Example\(\)`"):
            await llm_agent.inquire("hi", provider=Example)
