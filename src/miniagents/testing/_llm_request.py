"""A request to `LLMServer`, as a test sees it."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from miniagents.testing._wire import messages_of, objects_in, text_of


@dataclass(frozen=True)
class ToolResult:
    """What a tool has given, as it came back to the server."""

    id: str
    """The id of the call."""

    name: str
    """The tool that was called; empty if the call is not in the request."""

    text: str
    is_error: bool = False
    """Whether it says that the tool failed, which only Anthropic's format tells."""


@dataclass(eq=False)
class LLMRequest:
    """A request as it arrived, and how far its answer is."""

    number: int
    """Counts the requests of a server from 0."""

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    """By name in lower case. Not in the `repr`: there are keys among them."""

    body: Mapping[str, Any]
    """The JSON object that was sent; empty if there was none."""

    tokens_sent: int = 0
    is_finished: bool = False
    """Whether nothing more will be sent: the answer is complete, broken off, or the client has gone."""

    _permits: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0), init=False, repr=False)

    @property
    def model(self) -> str | None:
        """The model that was asked for."""
        return self.body.get("model")

    @property
    def messages(self) -> Sequence[Mapping[str, Any]]:
        """The messages as they were sent, or the items of the `input`, which is one message if it is a text."""
        return messages_of(self.body)

    @property
    def is_streaming(self) -> bool:
        """Whether a stream was asked for."""
        return bool(self.body.get("stream"))

    @property
    def last_user_text(self) -> str:
        """The text of the last message of the user; empty if there is none."""
        texts = [text_of(message.get("content")) for message in self.messages if message.get("role") == "user"]
        return texts[-1] if texts else ""

    @property
    def tools(self) -> Sequence[str]:
        """The names of the tools that the model may call."""
        tools = objects_in(self.body.get("tools"))
        names = [(tool.get("function") or tool).get("name", tool.get("type")) for tool in tools]
        return [name for name in names if isinstance(name, str)]

    @property
    def tool_results(self) -> Sequence[ToolResult]:
        """The results that have come since the model's last turn, in their order; those of older turns are left out."""
        names: dict[object, str] = {}
        results: list[ToolResult] = []
        for message in self.messages:
            calls = _calls_in(message)
            if calls or message.get("role") == "assistant":
                names.update(calls)
                results = []
            results += [
                ToolResult(call_id, names.get(call_id, ""), text_of(content), bool(is_error))
                for call_id, content, is_error in _results_in(message)
            ]
        return results

    def release_token(self, count: int = 1) -> None:
        """Lets a server that is `paced` send `count` more tokens of this answer."""
        for _ in range(count):
            self._permits.release()

    async def wait_for_release(self) -> None:
        """Waits until a token is released that was not waited for yet."""
        await self._permits.acquire()


def _calls_in(message: Mapping[str, Any]) -> dict[object, str]:
    calls = {call.get("id"): call.get("function") or {} for call in objects_in(message.get("tool_calls"))}
    blocks = [block for block in objects_in(message.get("content")) if block.get("type") == "tool_use"]
    calls.update((block.get("id"), block) for block in blocks)
    if message.get("type") == "function_call":
        calls[message.get("call_id")] = message
    return {call_id: str(call.get("name", "")) for call_id, call in calls.items()}


def _results_in(message: Mapping[str, Any]) -> Iterator[tuple[str, object, object]]:
    if message.get("role") == "tool":
        yield str(message.get("tool_call_id")), message.get("content"), False
    elif message.get("type") == "function_call_output":
        yield str(message.get("call_id")), message.get("output"), False
    for block in objects_in(message.get("content")):
        if block.get("type") == "tool_result":
            yield str(block.get("tool_use_id")), block.get("content"), block.get("is_error")
