"""Models without a server, for recordings and logs, and all that a reader sees of them."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack
from typing import Any, ClassVar

from miniagents import MiniAgents
from miniagents.ext.llm.errors import LLMError
from miniagents.ext.llm.prompt import Prompt
from miniagents.ext.llm.provider import AnswerEvent, ClientOptions, LLMProvider

KEY = "sk-0123456789abcdef"


class Scripted(LLMProvider):
    """A provider without a server: it gives events, and then perhaps raises."""

    supports: ClassVar[frozenset[str]] = frozenset({"tools", "answer"})

    name: ClassVar[str] = "Scripted"
    package: ClassVar[str] = "json"
    base_error: ClassVar[str] = "JSONDecodeError"
    extra: ClassVar[str] = "none"

    def __init__(self, *answers: Iterable[AnswerEvent | BaseException]) -> None:
        self._answers = list(answers)
        self.asked = 0
        self.given = 0

    def make_client(self, sdk: Any, options: ClientOptions) -> Any:
        class Client:
            api_key = KEY

            async def close(self) -> None: ...

        return Client()

    def make_request(self, prompt: Prompt, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return {"prompt": prompt, **parameters}

    async def open(self, client: Any, request: Mapping[str, Any], opened: AsyncExitStack) -> AsyncIterator[AnswerEvent]:
        answer = self._answers[min(self.asked, len(self._answers) - 1)]
        self.asked += 1

        async def events() -> AsyncIterator[AnswerEvent]:
            for event in answer:
                if isinstance(event, BaseException):
                    raise event
                if event == "(hangs)":
                    await asyncio.Event().wait()
                self.given += 1
                yield event

        return events()


async def told(agent: Any, *messages: Any, **arguments: Any) -> list[Any]:
    """All that a reader sees: the pieces of each message, what it is before and after them, and the error."""
    seen: list[Any] = []
    async with MiniAgents():
        try:
            async for promise in agent.inquire(messages or "Hi", **arguments):
                seen.append((promise.message_class, promise.preliminary_metadata["role"]))
                async for piece in promise:
                    seen.append(piece)
                message = await promise
                seen.append((type(message), message.serialize()))
        except LLMError as error:
            fields = {name: value for name, value in vars(error).items() if name != "__notes__"}
            notes = [note for note in error.__notes__ if not note.startswith("Raised in")]
            seen.append((type(error), str(error), fields, notes))
    return seen
