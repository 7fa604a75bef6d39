"""Models that say what they are told to, in the place of a provider: nothing is sent, and nothing is waited for."""

from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any

from miniagents import MiniAgent
from miniagents.ext.llm.anthropic import anthropic_agent
from miniagents.ext.llm.openai import openai_agent


class FakeModel:
    """A client of the caller's own, as the agents accept it, which keeps what it was asked.

    `said` is what is answered: the chunks of a stream as parsed JSON, or, if it is one dict, a whole answer.
    """

    def __init__(self, said: Sequence[dict[str, Any]] | dict[str, Any], *, anthropic: bool = False) -> None:
        self._said = said
        self._is_anthropic = anthropic
        self.requests: list[dict[str, Any]] = []
        create = SimpleNamespace(create=self._create)
        self.chat = SimpleNamespace(completions=create)
        self.messages = create

    async def _create(self, **request: Any) -> Any:
        self.requests.append(request)
        return self._said if isinstance(self._said, dict) else _streamed(self._said)

    @property
    def agent(self) -> MiniAgent[...]:
        """The LLM agent that asks this model."""
        if self._is_anthropic:
            return anthropic_agent.fork(model="m", async_client=self, stream=not isinstance(self._said, dict))
        return openai_agent.fork(model="m", async_client=self, stream=not isinstance(self._said, dict))

    @property
    def system(self) -> str:
        """The system prompt of its last request."""
        request = self.requests[-1]
        if self._is_anthropic:
            return str(request.get("system", ""))
        return "\n\n".join(turn["content"] for turn in request["messages"] if turn["role"] == "system")

    @property
    def turns(self) -> list[tuple[str, str]]:
        """The roles and texts of its last request, without the system prompt."""
        turns = [
            (turn["role"], part if isinstance(part, str) else part["text"])
            for turn in self.requests[-1]["messages"]
            for part in ([turn["content"]] if isinstance(turn["content"], str) else turn["content"])
        ]
        return [turn for turn in turns if turn[0] != "system"]


async def _streamed(chunks: Sequence[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
    for chunk in chunks:
        yield chunk


def openai_chunks(*tokens: str) -> list[dict[str, Any]]:
    """An answer of OpenAI in these tokens."""
    chunks: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": {"content": token}}]} for token in tokens]
    return [*chunks, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}]


def anthropic_events(*tokens: str) -> list[dict[str, Any]]:
    """An answer of Anthropic in these tokens."""
    said = [{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": one}} for one in tokens]
    return [
        {"type": "message_start", "message": {"id": "1", "role": "assistant"}},
        *said,
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
        {"type": "message_stop"},
    ]
