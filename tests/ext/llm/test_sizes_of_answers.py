"""No answer is longer than it may be: the rest of it is not read, and what was said before stays said."""

import json
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from miniagents import Message, MiniAgents
from miniagents.ext.llm import _pool, _sizes
from miniagents.ext.llm.anthropic import anthropic_agent
from miniagents.ext.llm.errors import LLMProtocolError
from miniagents.ext.llm.messages import AssistantMessage
from miniagents.ext.llm.openai import openai_agent
from miniagents.ext.llm.recordings import no_real_requests

EVENTS, JSON = "text/event-stream", "application/json"

LIMIT = 1000


class Body(httpx2.AsyncByteStream):
    """`head`, and then `more` again and again for as long as it is read, which must not be for ever."""

    def __init__(self, head: bytes, more: bytes = b"") -> None:
        self._head, self._more = head, more
        self.is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._head), 100):
            yield self._head[start : start + 100]
        for _ in range(10 * LIMIT if self._more else 0):
            yield self._more
        assert not self._more, "it was read on and on"

    async def aclose(self) -> None:
        self.is_closed = True


@dataclass
class Model:
    """A model, asked through a client of ours or of the caller's."""

    sdk: ModuleType
    is_ours: bool
    monkeypatch: pytest.MonkeyPatch
    said: list[str] = field(default_factory=list)
    """The tokens of its answer."""

    def text(self, text: str) -> bytes:
        """An event with a piece of text."""
        if self.sdk is openai:
            return event({"choices": [{"delta": {"content": text}}]})
        return event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}})

    def arguments(self, text: str) -> bytes:
        """An event with a piece of the arguments of a tool, which here nobody has begun to call."""
        if self.sdk is openai:
            return event({"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}}]})
        return event({"type": "content_block_delta", "index": 0, "delta": {"partial_json": text}})

    def whole(self, text: str) -> bytes:
        """An answer that is not streamed."""
        if self.sdk is openai:
            return json.dumps({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}).encode()
        return json.dumps({"content": [{"type": "text", "text": text}], "stop_reason": "end_turn"}).encode()

    async def answer(
        self, body: Body, content_type: str, *, status: int = 200, stream: bool = True, **headers: str
    ) -> Any:
        """The message that is made of what a server sends, or the error."""
        headers = {"content-type": content_type, **{name.replace("_", "-"): value for name, value in headers.items()}}
        transport = httpx2.MockTransport(lambda _: httpx2.Response(status, headers=headers, stream=body))
        options: dict[str, Any] = {"api_key": "key", "base_url": "http://host.test", "max_retries": 0}
        if self.is_ours:
            self.monkeypatch.setattr(_pool, "spread_transport", lambda: {"transport": transport})
        else:
            make = self.sdk.AsyncOpenAI if self.sdk is openai else self.sdk.AsyncAnthropic
            options = {
                "async_client": make(http_client=self.sdk.DefaultAsyncHttpxClient(transport=transport), **options)
            }
        agent: Any = openai_agent if self.sdk is openai else anthropic_agent
        with no_real_requests(allow=["host.test"]):
            return await self._ask(agent, body, stream=stream, **options)

    async def _ask(self, agent: Any, body: Body, **options: Any) -> Any:
        async with MiniAgents():
            replies = agent.inquire("hi", **options)
            try:
                async for promise in replies:
                    async for token in promise:
                        if promise.message_class is AssistantMessage:
                            self.said.append(token)
                return (await replies)[-1]
            except LLMProtocolError as error:
                return error
            finally:
                assert body.is_closed


def event(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def packed(data: bytes) -> bytes:
    return zlib.compress(data, wbits=31)


@pytest.fixture(params=[True, False], ids=["our client", "caller's client"])
def is_ours(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(params=[openai, anthropic], ids=["openai", "anthropic"])
def model(request: pytest.FixtureRequest, is_ours: bool, monkeypatch: pytest.MonkeyPatch) -> Model:
    return Model(request.param, is_ours, monkeypatch)


OURS_ONLY = pytest.mark.parametrize("is_ours", [True], ids=["our client"], indirect=True)


def limited(model: Model, **limits: int) -> None:
    for name, limit in limits.items():
        model.monkeypatch.setattr(_sizes, name, limit)


def assert_refused(model: Model, outcome: object, said: str) -> None:
    assert isinstance(outcome, LLMProtocolError), outcome
    assert "is longer than 1,000" in str(outcome)
    assert outcome.partial_text == "".join(model.said) == said


@pytest.mark.parametrize("more", [b"x" * 50, b"x\ndata: ", b"\ndata:"], ids=["a line", "lines", "empty lines"])
async def test_an_event_without_end_is_refused(model: Model, more: bytes) -> None:
    """An event that becomes too long, in one line or in many, is an error behind what was said before it."""
    limited(model, MAX_PIECE=LIMIT)
    outcome = await model.answer(Body(model.text("Hello") + b"data: ", more), EVENTS)
    assert_refused(model, outcome, "Hello")


async def test_a_text_without_end_is_refused(model: Model) -> None:
    """All that may be said can be read, up to the limit; the token that goes beyond it is an error."""
    limited(model, MAX_TEXT=LIMIT)
    outcome = await model.answer(Body(model.text("0123456789"), model.text("0123456789")), EVENTS)
    assert_refused(model, outcome, "0123456789" * 100)


@pytest.mark.parametrize("what", ["comments", "arguments", "empty texts"])
async def test_a_stream_without_end_is_refused(model: Model, what: str) -> None:
    """A stream may not be too long either, whatever is in it."""
    limited(model, MAX_STREAM=LIMIT)
    more = {"comments": b": still here\n\n", "arguments": model.arguments("1"), "empty texts": model.text("")}[what]
    outcome = await model.answer(Body(model.text("Hello"), more), EVENTS)
    assert_refused(model, outcome, "Hello")


async def test_a_whole_answer_in_the_place_of_a_stream_has_a_limit(model: Model) -> None:
    """What is not streamed although it was to be is read up to the limit."""
    limited(model, MAX_PIECE=LIMIT)
    assert_refused(model, await model.answer(Body(model.whole("Hello"), b" "), JSON), "")


@OURS_ONLY
@pytest.mark.parametrize("content_type", [JSON, EVENTS, "text/html"])
@pytest.mark.parametrize(("status", "stream"), [(200, False), (400, False), (400, True)])
async def test_what_the_sdk_reads_has_a_limit(model: Model, content_type: str, status: int, stream: bool) -> None:
    """What is read at once by our client has a limit: answers that are not streamed, and errors."""
    limited(model, MAX_PIECE=LIMIT)
    body = Body(model.whole("Hello"), b" ")
    assert_refused(model, await model.answer(body, content_type, status=status, stream=stream), "")


@OURS_ONLY
@pytest.mark.parametrize(("status", "stream"), [(200, False), (200, True), (400, True)])
async def test_a_small_body_cannot_be_unpacked_without_end(model: Model, status: int, stream: bool) -> None:
    """What counts is the length of what was packed."""
    limited(model, MAX_PIECE=LIMIT)
    bomb = packed(model.whole("x" * 100 * LIMIT))
    assert len(bomb) < LIMIT
    outcome = await model.answer(Body(bomb), JSON, status=status, stream=stream, content_encoding="gzip")
    assert_refused(model, outcome, "")


async def test_a_small_stream_cannot_be_unpacked_without_end(model: Model) -> None:
    """An event that is too long is refused also where it was short on its way."""
    limited(model, MAX_PIECE=LIMIT)
    bomb = packed(model.text("Hello") + model.text("x" * 100 * LIMIT))
    assert len(bomb) < LIMIT
    assert_refused(model, await model.answer(Body(bomb), EVENTS, content_encoding="gzip"), "Hello")


@pytest.mark.parametrize("is_packed", [False, True], ids=["plain", "packed"])
async def test_an_answer_of_just_the_limit_is_read(model: Model, is_packed: bool) -> None:
    """What is not longer than the limit is not refused."""
    body = model.whole("Hello").ljust(LIMIT)
    packing = {"content_encoding": "gzip"} if is_packed else {}
    limited(model, MAX_PIECE=LIMIT)
    message = await model.answer(Body(packed(body) if is_packed else body), JSON, stream=False, **packing)
    assert isinstance(message, Message)
    assert message.text == "Hello"


async def test_a_stream_may_be_longer_than_its_parts(model: Model) -> None:
    """What is read bit by bit is not held to the limit of what is read at once."""
    limited(model, MAX_PIECE=LIMIT)
    end = {"choices": [{"delta": {}, "finish_reason": "stop"}]} if model.sdk is openai else {"type": "message_stop"}
    message = await model.answer(Body(model.text("Hello") * LIMIT + event(end)), EVENTS)
    assert isinstance(message, Message)
    assert message.text == "Hello" * LIMIT
