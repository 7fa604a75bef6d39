"""From what an SDK gives for an answer to its parts: the events of a stream, or one that is whole.

There is one way for our client and the caller's: of a stream that is the SDK's own, the body is read. The SDK would
make a model of each chunk, at four times the cost, hide the end marker, and take a web page for an empty answer.
"""

import asyncio
import inspect
import json
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, Final

from pydantic_core import from_json

from miniagents.ext.llm import _sizes
from miniagents.ext.llm._events import EventData
from miniagents.ext.llm._sdk import classes_named, without_secrets
from miniagents.ext.llm.errors import LLMProtocolError, LLMTruncatedError

_END_MARKER: Final = b"[DONE]"
_END: Final = object()  # the end marker, among the parts
_NOTHING: Final = object()  # in the place of a part, if there is none any more
_BEDROCK: Final = "application/vnd.amazon.eventstream"  # not text; the SDK's client for it has a decoder

# Seconds to wait for the end of the body behind the end of the answer, so that the connection can be used again.
_PATIENCE_AFTER_THE_END: Final = 0.5
# Seconds to wait behind a finish reason for what may follow it: the usage, and an end marker that some never send.
_PATIENCE_AFTER_THE_REASON: Final = 2.0


class AnswerParts:
    """The parts of an answer, up to its end.

    A stream has ended when its end marker has come, or a finish reason: many servers and proxies leave out one of them.
    With neither, reading it raises `LLMTruncatedError`. Behind a finish reason, what happens to the connection does not
    matter any more. Whoever reads the parts says what is in them, in `finish_reason` and `is_over`.

    Of a stream that is not the SDK's own (a fake, or a wrapper around it) only the parts can be seen and not the end
    marker `[DONE]`, so without a finish reason it is truncated.
    """

    def __init__(
        self, parts: AsyncIterator[Any], opened: AsyncExitStack, *, provider: str, is_stream: bool = True
    ) -> None:
        self._parts = parts
        self._opened = opened
        self._provider = provider
        self.is_stream = is_stream
        """Whether the parts are those of a stream; else there is one, the whole answer."""
        self.finish_reason = ""
        """Why the answer has ended, once a part has told."""
        self.is_over = False
        """Whether the end marker has come."""

    async def __aiter__(self) -> AsyncIterator[Any]:
        until: float | None = None
        while not self.is_over:
            part = await (anext(self._parts, _NOTHING) if until is None else self._next_before(until))
            if part is _NOTHING:
                break
            if part is _END:
                self.is_over = True
            else:
                yield part
            if until is None and self.finish_reason:
                until = asyncio.get_running_loop().time() + _PATIENCE_AFTER_THE_REASON
        if self.is_over:
            self._opened.push_async_exit(self._drain)
        elif self.is_stream and not self.finish_reason:
            raise LLMTruncatedError(
                f"The answer of {self._provider} broke off: it ended without an end marker and without a finish reason."
            )

    async def _drain(self, error: type[BaseException] | None, *_: object) -> None:
        until = asyncio.get_running_loop().time() + _PATIENCE_AFTER_THE_END
        while error is None and await self._next_before(until) is not _NOTHING:
            pass

    async def _next_before(self, until: float) -> Any:
        """The next part of an answer that is complete, whatever then happens to its connection."""
        try:
            async with asyncio.timeout_at(until):
                return await anext(self._parts)
        except Exception:  # the end, or nothing that could be missed
            return _NOTHING


async def parts_of(
    answer: Any, opened: AsyncExitStack, *, stream: bool, provider: str, package: str, url: str
) -> AnswerParts:
    """The parts of what the SDK `package` has given for an answer, which `opened` closes.

    `stream` is what was asked for. What has come is said by the content type: some servers know no streams, and errors
    come whole, also with status 200. Raises `LLMProtocolError` for what is no answer at all, such as a web page.
    """
    if not stream or not hasattr(answer, "__aiter__"):
        if answer is None or isinstance(answer, (str, bytes, int, float, list)):
            raise LLMProtocolError(f"{provider} sent no answer of its API from {url or 'its server'}: {_start(answer)}")
        return AnswerParts(_once(answer), opened, provider=provider, is_stream=False)
    _close_with(opened, answer)
    # Only exactly its own: a subclass or a wrapper may have its reasons to see the chunks.
    if type(answer) not in classes_named(package, "AsyncStream"):
        return AnswerParts(aiter(answer), opened, provider=provider)
    if content_type_of(answer.response) == _BEDROCK:
        return AnswerParts(aiter(answer), opened, provider=provider)
    return await parts_of_response(answer.response, opened, provider=provider)


async def parts_of_response(response: Any, opened: AsyncExitStack, *, provider: str) -> AnswerParts:
    """The parts of a response of the HTTP client, which has a good status; streamed or whole, as its type says.

    Raises `LLMProtocolError` for what is no answer at all.
    """
    content_type = content_type_of(response)
    if content_type in ("text/event-stream", ""):
        return AnswerParts(_parsed(_sizes.body_of_stream(response, provider), provider), opened, provider=provider)
    if content_type == "application/json" or content_type.endswith("+json"):
        whole = _object(await _sizes.body_of_whole(response, provider), provider)
        return AnswerParts(_once(whole), opened, provider=provider, is_stream=False)
    raise LLMProtocolError(
        f"{provider} sent {content_type} instead of an answer, from {without_secrets(response.url)}. "
        "Is `base_url` right?"
    )


def content_type_of(response: Any) -> str:
    """The type of a response, without its parameters."""
    return str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()


async def _parsed(body: AsyncIterable[bytes], provider: str) -> AsyncIterator[Any]:
    """The objects in a stream of events, and `_END` for its end marker, behind which nothing counts."""
    events = EventData()
    async for chunk in body:
        for data in events.feed(chunk):
            if data.startswith(_END_MARKER):
                yield _END
                async for _ in body:
                    pass
                return
            yield _object(data, provider)
    last = events.rest()
    if last.startswith(_END_MARKER):
        yield _END
    elif last:
        try:
            part = _object(last, provider)
        except LLMProtocolError:
            return  # torn: the connection has ended inside an event
        yield part


def _object(data: bytes, provider: str) -> dict[str, Any]:
    try:
        value = _json(data)
    except (ValueError, RecursionError) as error:
        raise LLMProtocolError(f"{provider} sent something that is not JSON ({error}): {_start(data)}") from error
    if not isinstance(value, dict):
        raise LLMProtocolError(f"{provider} sent something that is not an object: {_start(data)}")
    return value


def _json(data: bytes) -> Any:
    try:
        return from_json(data, cache_strings=False)  # in a third of the time of the other
    except ValueError:
        return json.loads(data)  # which takes halves of characters, as there may be in a token


def _start(answer: object) -> str:
    """The beginning of what came in the place of an answer, for an error."""
    return repr(answer[:80]) if isinstance(answer, (str, bytes)) else repr(answer)[:80]


async def _once(answer: Any) -> AsyncIterator[Any]:
    """A whole answer as a stream."""
    yield answer


def _close_with(opened: AsyncExitStack, stream: Any) -> None:
    """Close `stream` when `opened` is left. SDK streams have `close`, generators `aclose`, fakes maybe none."""
    close = getattr(stream, "aclose", None) or getattr(stream, "close", None)

    async def close_stream() -> None:
        closed = close() if close is not None else None
        if inspect.isawaitable(closed):
            await closed

    opened.push_async_callback(close_stream)
