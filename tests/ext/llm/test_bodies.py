"""Where an answer ends, and what is no answer: byte for byte the same for our client and for the caller's."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from miniagents import Message, MiniAgents
from miniagents.ext.llm import _body
from miniagents.ext.llm.errors import (
    LLMEmptyCompletionError,
    LLMError,
    LLMProtocolError,
    LLMStatusError,
    LLMTruncatedError,
)
from support.llm_ways import WAYS_OF_SDKS

EVENT_STREAM = "text/event-stream; charset=utf-8"


@dataclass(frozen=True)
class RawServer:
    """Where the bytes are."""

    url: str


@asynccontextmanager
async def raw_server(
    body: bytes, content_type: str = EVENT_STREAM, *, stays_open: bool = False
) -> AsyncIterator[RawServer]:
    """A server that answers with `body` and ends that by closing the connection, or with `stays_open` never."""
    handlers: list[asyncio.Task[Any]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.append(task)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            (length,) = (line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.partition(b":")[2]))
            kind = f"content-type: {content_type}\r\n" if content_type else ""
            writer.write(f"HTTP/1.1 200 OK\r\n{kind}connection: close\r\n\r\n".encode() + body)
            await writer.drain()
            if stays_open:
                await reader.read()
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield RawServer(f"http://user:password@127.0.0.1:{server.sockets[0].getsockname()[1]}")
    finally:
        server.close()
        for task in handlers:
            task.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)


async def outcome(way: Any, body: bytes, content_type: str = EVENT_STREAM, **parameters: Any) -> Message | LLMError:
    """The message, or the error that is raised in its place."""
    async with raw_server(body, content_type) as server, MiniAgents():
        return await ask(way, server, **parameters)


async def ask(way: Any, server: RawServer, **parameters: Any) -> Message | LLMError:
    try:
        (message,) = await way.agent(server).inquire("hi", **parameters)
    except LLMError as error:
        return error
    return message


def data(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def chunk(content: str | None = None, finish_reason: str | None = None) -> bytes:
    return data({"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": finish_reason}]})


def delta(text: str) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}


DONE = b"data: [DONE]\n\n"
USAGE = data({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}})
REASON = data({"type": "message_delta", "delta": {"stop_reason": "end_turn"}})
STOP = data({"type": "message_stop"})
HI = data(delta("hi"))
WHOLE_OPENAI = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}
WHOLE_ANTHROPIC = {"type": "message", "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn"}
RESPONSE_HI = data({"type": "response.output_text.delta", "output_index": 0, "delta": "hi"})
RESPONSE_COMPLETED = data({"type": "response.completed", "response": {"status": "completed"}})
WHOLE_RESPONSE = {
    "status": "completed",
    "output": [{"type": "message", "content": [{"type": "output_text", "text": "hi"}]}],
}


def events_of(way: Any) -> tuple[bytes, bytes, bytes]:
    """How this provider says a word, why it ends, and that it has ended."""
    if way.is_of_responses:
        return RESPONSE_HI, RESPONSE_COMPLETED, DONE
    return (HI, REASON, STOP) if way.is_anthropic else (chunk("hi"), chunk(None, "stop"), DONE)


def whole_of(way: Any) -> bytes:
    """The same in an answer that is not streamed."""
    whole = WHOLE_ANTHROPIC if way.is_anthropic else WHOLE_RESPONSE if way.is_of_responses else WHOLE_OPENAI
    return json.dumps(whole).encode()


BY_OPENAI = pytest.mark.parametrize("way", ["openai", "openai, caller's client", "compatible"], indirect=True)
BY_ANTHROPIC = pytest.mark.parametrize("way", ["anthropic", "anthropic, caller's client"], indirect=True)


@BY_OPENAI
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (chunk("hi", "stop") + DONE, "stop"),
        (chunk("hi") + DONE, None),
        (chunk("hi", "") + DONE, None),
        (chunk("hi", "stop"), "stop"),
        (chunk("hi") + DONE + chunk(None, "stop"), None),
        (chunk("hi") + chunk(None, "stop") + USAGE, "stop"),
        (chunk("hi") + b"data: [DONE]", None),
        (chunk("hi") + b"data:[DONE]\n", None),
        (chunk("hi", "stop").rstrip(), "stop"),
        (chunk("hi", "stop") + DONE[:9], "stop"),
        (chunk("hi", "stop") + DONE + b"data: nonsense\n\n", "stop"),
        (b'data: {"choices":\ndata: [{"delta": {"content": "hi"}, "finish_reason": "stop"}]}\n\n', "stop"),
    ],
    ids=[
        "both",
        "marker only",
        "empty reason and marker",
        "reason only",
        "reason behind the marker",
        "reason and usage",
        "marker without line end",
        "marker without empty line",
        "reason without line end",
        "reason and torn marker",
        "nonsense behind the marker",
        "event of two lines",
    ],
)
async def test_an_answer_ends_with_its_marker_or_its_reason(way, body: bytes, reason: str | None) -> None:
    """Either the end marker or a finish reason makes an answer complete."""
    message = await outcome(way, body)
    assert isinstance(message, Message), message
    assert (message.text, message.get("finish_reason")) == ("hi", reason)


@BY_OPENAI
async def test_the_usage_behind_the_reason_is_read(way) -> None:
    """What follows the finish reason is still a part of the answer."""
    message = await outcome(way, chunk("hi", "stop") + USAGE + DONE)
    assert isinstance(message, Message)
    assert message.usage.output_tokens == 2


@BY_OPENAI
async def test_a_character_that_comes_in_two_events_is_whole(way) -> None:
    """Half of a surrogate pair in an event is no broken JSON: with its other half in the next one it is a character."""
    message = await outcome(way, chunk("a\ud83d") + chunk("\ude00b", "stop") + DONE)
    assert isinstance(message, Message), message
    assert message.text == "a\U0001f600b"


@BY_OPENAI
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", LLMTruncatedError),
        (b"<html>Sign in</html>\n", LLMTruncatedError),
        (chunk("hi"), LLMTruncatedError),
        (chunk("hi", ""), LLMTruncatedError),
        (chunk("hi") + chunk("you", "stop")[:-9], LLMTruncatedError),
        (chunk("hi") + b"data: 5", LLMTruncatedError),
        (DONE, LLMEmptyCompletionError),
        (b"data: {\n\n", LLMProtocolError),
        (b"data: 5\n\n", LLMProtocolError),
        (b"data: " + b"[" * 100_000 + b"\n\n", LLMProtocolError),
        (b'data: "\xff"\n\n', LLMProtocolError),
        (b"data: " + b"9" * 5000 + b"\n\n", LLMProtocolError),
        (data({"error": "out of memory"}), LLMStatusError),
        (data({"error": {"message": "out of memory", "code": "oom"}}), LLMStatusError),
        (data({"object": "error", "message": "out of memory"}), LLMStatusError),
    ],
    ids=[
        "empty",
        "not a stream",
        "neither marker nor reason",
        "empty reason",
        "torn event",
        "torn number",
        "marker only",
        "broken JSON",
        "no object",
        "nested too deep",
        "not UTF-8",
        "a number too long",
        "an error as text",
        "an error as object",
        "a bare error",
    ],
)
async def test_a_body_that_is_no_answer(way, body: bytes, expected: type[LLMError]) -> None:
    """A body that does not end, of broken JSON, or with an error in it is an error of its own class."""
    error = await outcome(way, body)
    assert type(error) is expected
    if expected is LLMStatusError:
        assert "out of memory" in str(error)


@BY_ANTHROPIC
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (HI + REASON + STOP, "hi"),
        (HI + STOP, "hi"),
        (HI + REASON, "hi"),
        (HI + STOP.rstrip(), "hi"),
        (HI + STOP + b"data: nonsense\n\n", "hi"),
        (HI, LLMTruncatedError),
        (HI + STOP[:-9], LLMTruncatedError),
        (HI + b"data: {\n\n", LLMProtocolError),
        (HI + data({"type": "error", "error": {"type": "overloaded_error", "message": "Busy"}}), LLMStatusError),
    ],
    ids=[
        "both",
        "stop only",
        "reason only",
        "stop without line end",
        "nonsense behind the stop",
        "neither",
        "torn stop",
        "broken JSON",
        "error",
    ],
)
async def test_where_an_answer_of_anthropic_ends(way, body: bytes, expected: Any) -> None:
    """The same rule holds for Anthropic, whose end marker is an event."""
    found = await outcome(way, body)
    assert (found.text if isinstance(found, Message) else type(found)) == expected


@pytest.fixture
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_body, "_PATIENCE_AFTER_THE_END", 0)
    monkeypatch.setattr(_body, "_PATIENCE_AFTER_THE_REASON", 0)


@pytest.mark.usefixtures("no_patience")
@pytest.mark.parametrize("marks", ["marker", "reason", "both"])
async def test_a_connection_that_stays_open_does_not_keep_back_an_answer(way, marks: str) -> None:
    """An answer that is complete does not wait for a server that never closes its connection."""
    begin, reason, end = events_of(way)
    body = begin + (b"" if marks == "marker" else reason) + (b"" if marks == "reason" else end)
    async with raw_server(body, stays_open=True) as server, MiniAgents():
        found = await ask(way, server)
    assert isinstance(found, Message), found
    assert found.text == "hi"


@pytest.mark.parametrize("marks", ["marker", "reason", "both"])
async def test_a_complete_answer_leaves_nothing_to_be_closed(way, marks: str) -> None:
    """Behind an answer that is complete there is no generator left, which the event loop would close in a task."""
    left: list[str] = []
    hooks = sys.get_asyncgen_hooks()
    begin, reason, end = events_of(way)
    body = begin + (b"" if marks == "marker" else reason) + (b"" if marks == "reason" else end)
    async with raw_server(body) as server, MiniAgents():
        sys.set_asyncgen_hooks(finalizer=lambda generator: left.append(generator.__qualname__))
        try:
            found = await ask(way, server)
        finally:
            sys.set_asyncgen_hooks(*hooks)
    assert isinstance(found, Message), found
    assert not left


async def test_a_whole_answer_to_who_asked_for_a_stream(way) -> None:
    """A server that knows no streams is understood."""
    found = await outcome(way, whole_of(way), "application/json; charset=utf-8", stream=True)
    assert isinstance(found, Message), found
    assert (found.text, found.finish_reason) == ("hi", "stop")


@pytest.mark.parametrize("stream", [True, False], ids=["stream asked", "whole asked"])
@pytest.mark.parametrize(
    "body",
    [
        {"error": {"type": "oom", "message": "out of memory"}},
        {"error": "out of memory"},
        {"object": "error", "message": "out of memory"},
        {"detail": "out of memory"},
        {"type": "error", "error": {"type": "oom", "message": "out of memory"}},
    ],
    ids=["object", "text", "bare", "detail", "typed"],
)
async def test_an_error_with_status_200_is_told(way, body: dict[str, Any], stream: bool) -> None:
    """The text of an error that came in the place of an answer is in the error."""
    found = await outcome(way, json.dumps(body).encode(), "application/json", stream=stream)
    assert isinstance(found, LLMStatusError)
    assert "out of memory" in str(found)


async def test_a_web_page_in_the_place_of_a_stream(way) -> None:
    """A content type that is none of the API's is named, and whence it came, without the password."""
    found = await outcome(way, b"<html>Sign in</html>", "text/html; charset=utf-8", stream=True)
    assert type(found) is LLMProtocolError
    assert "text/html" in str(found)
    assert "http://127.0.0.1:" in str(found)
    assert "password" not in str(found)


BY_AN_SDK = pytest.mark.parametrize("way", WAYS_OF_SDKS, indirect=True)
WITHOUT_AN_SDK = pytest.mark.parametrize("way", ["compatible"], indirect=True)


@BY_AN_SDK
@pytest.mark.parametrize(
    ("body", "content_type"),
    [(b"<html>Sign in</html>", "text/html"), (chunk("hi", "stop"), EVENT_STREAM), (b"[1]", "application/json")],
    ids=["web page", "event stream", "list"],
)
async def test_what_is_no_whole_answer(way, body: bytes, content_type: str) -> None:
    """A page, a stream or a list in the place of a whole answer is an error that shows its beginning."""
    found = await outcome(way, body, content_type, stream=False)
    assert type(found) is LLMProtocolError, repr(found)
    assert body.decode()[:10] in str(found)
    assert "http://127.0.0.1:" in str(found)
    assert "password" not in str(found)


@WITHOUT_AN_SDK
async def test_without_an_sdk_the_type_tells_what_came(way) -> None:
    """A page in the place of a whole answer is named, a list shown, and a stream that nobody asked for is read."""
    page = await outcome(way, b"<html>Sign in</html>", "text/html", stream=False)
    assert type(page) is LLMProtocolError
    assert "sent text/html instead of an answer, from http://127.0.0.1:" in str(page)
    assert "password" not in str(page)
    found = await outcome(way, b"[1]", "application/json", stream=False)
    assert type(found) is LLMProtocolError
    assert "[1]" in str(found)
    message = await outcome(way, chunk("hi", "stop"), EVENT_STREAM, stream=False)
    assert isinstance(message, Message), message
    assert message.text == "hi"


@pytest.mark.parametrize("stream", [True, False], ids=["stream asked", "whole asked"])
async def test_a_body_that_is_not_packed_as_it_says(way, stream: bool) -> None:
    """A body that cannot be unpacked came over a good connection, and is an error of the protocol."""
    kind = EVENT_STREAM if stream else "application/json"
    found = await outcome(way, chunk("hi"), f"{kind}\r\ncontent-encoding: gzip", stream=stream)
    assert type(found) is LLMProtocolError, repr(found)


async def test_a_body_in_other_characters_than_it_says(way) -> None:
    """What cannot be decoded is the fault of the answer, not of the request."""
    found = await outcome(way, b"<html>Sign in</html>", "text/html; charset=utf-16", stream=False)
    assert type(found) is LLMProtocolError, repr(found)


async def test_json_that_is_broken_in_the_place_of_a_stream(way) -> None:
    """A whole answer that is no JSON is an error of the protocol."""
    assert type(await outcome(way, b'{"a', "application/json", stream=True)) is LLMProtocolError


async def test_a_stream_of_no_declared_type_is_read(way) -> None:
    """A server that does not say what it sends is believed to send what was asked for."""
    begin, _, end = events_of(way)
    found = await outcome(way, begin + end, "", stream=True)
    assert isinstance(found, Message), found
