"""A model that says what a test wants, without any wire, so that it works in virtual time."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from types import SimpleNamespace
from typing import Any, ClassVar

from miniagents import MiniAgent
from miniagents.ext.llm.llm_common import (
    AnswerEvent,
    ClientOptions,
    LLMProvider,
    Prompt,
    ToolCallMessage,
    ToolCallPiece,
    ToolResultMessage,
    llm_agent,
)
from miniagents.testing import ToolUse

Answer = str | ToolUse | Sequence[str | ToolUse | BaseException]


class ScriptedModel(LLMProvider):
    """Gives the `answers` one after the other, or what a function makes of the prompt; keeps the prompts."""

    supports: ClassVar[frozenset[str]] = frozenset({"tools", "answer"})

    name: ClassVar[str] = "Script"
    package: ClassVar[str] = "no_such_package"
    base_error: ClassVar[str] = "Error"
    extra: ClassVar[str] = "script"

    def __init__(self, *answers: Answer | Callable[[Prompt], Answer]) -> None:
        self._answers = list(answers)
        self.prompts: list[Prompt] = []
        self._calls = 0

    @property
    def agent(self) -> MiniAgent[...]:
        return llm_agent.fork(alias="MODEL", provider=self, async_client=self, model="scripted")

    @property
    def results(self) -> list[tuple[str, str, bool]]:
        """What the model was told, in its last prompt, of the tools that it has called: name, text, is it an error."""
        return results_in(self.prompts[-1])

    def make_client(self, sdk: Any, options: ClientOptions) -> Any:
        raise NotImplementedError

    def make_request(self, prompt: Prompt, parameters: Mapping[str, Any]) -> dict[str, Any]:
        check_history(prompt)
        return {"prompt": prompt, **parameters}

    async def open(self, client: Any, request: Mapping[str, Any], opened: AsyncExitStack) -> AsyncIterator[AnswerEvent]:
        prompt: Prompt = request["prompt"]
        self.prompts.append(prompt)
        answer = self._answers[min(len(self.prompts), len(self._answers)) - 1]
        return self._events(answer(prompt) if callable(answer) else answer)

    async def _events(self, answer: Answer) -> AsyncIterator[AnswerEvent]:
        parts = [answer] if isinstance(answer, (str, ToolUse)) else answer
        for part in parts:
            await asyncio.sleep(0)
            if isinstance(part, BaseException):
                raise part
            if isinstance(part, str):
                yield part
                continue
            self._calls += 1
            yield ToolCallPiece(self._calls, part.id or f"id_{self._calls}", part.name)
            text = part.arguments if isinstance(part.arguments, str) else json.dumps(part.arguments)
            yield ToolCallPiece(self._calls, arguments=text[:3])
            await asyncio.sleep(0)
            yield ToolCallPiece(self._calls, arguments=text[3:])
        yield {"finish_reason": "tool_calls" if isinstance(parts[-1], ToolUse) else "stop"}


class TellingModel(ScriptedModel):
    """A model whose answers are events as they are; at a number it waits so many seconds, and it raises errors.

    Its client is one of the library's, so that it is asked again.
    """

    package: ClassVar[str] = "json"
    base_error: ClassVar[str] = "JSONDecodeError"

    def __init__(self, *answers: Sequence[AnswerEvent | float | BaseException]) -> None:
        super().__init__()
        self._answers: list[Any] = list(answers)

    @property
    def agent(self) -> MiniAgent[...]:
        return llm_agent.fork(alias="MODEL", provider=self, model="scripted")

    def make_client(self, sdk: Any, options: ClientOptions) -> Any:
        return SimpleNamespace(base_url="http://127.0.0.1", close=partial(asyncio.sleep, 0))

    async def _events(self, answer: Any) -> AsyncIterator[AnswerEvent]:
        for event in answer:
            if isinstance(event, BaseException):
                raise event
            if isinstance(event, (int, float)):
                await asyncio.sleep(event)
                continue
            yield event


def results_in(prompt: Prompt) -> list[tuple[str, str, bool]]:
    return [
        (part.tool, str(part), part.is_error) for part in prompt.turns[-1].parts if isinstance(part, ToolResultMessage)
    ]


def check_history(prompt: Prompt) -> None:
    """Every call has its result in the turn after it, in order and first; and there is no result without a call."""
    called: list[str] = []
    for turn in prompt.turns:
        results = [part.call_id for part in turn.parts if isinstance(part, ToolResultMessage)]
        assert results == called, (results, called)
        assert all(isinstance(part, ToolResultMessage) for part in turn.parts[: len(results)])
        called = [part.call_id for part in turn.parts if isinstance(part, ToolCallMessage)]
    assert called == []
