"""A request to `LLMServer`, as a test sees it."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from miniagents.ext.llm._wire import text_of
from miniagents.testing._wire import messages_of


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
        """The messages as they were sent."""
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

    def release_token(self, count: int = 1) -> None:
        """Lets a server that is `paced` send `count` more tokens of this answer."""
        for _ in range(count):
            self._permits.release()

    async def wait_for_release(self) -> None:
        """Waits until a token is released that was not waited for yet."""
        await self._permits.acquire()
