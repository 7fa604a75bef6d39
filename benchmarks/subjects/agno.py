"""agno: an agent is an `Agent` with a fake model, and an agent that calls others does so in its model."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

from agno.agent import Agent
from agno.models.base import Model
from agno.models.response import ModelResponse

from benchmarks.content import ANSWER, BRANCHES, HELLO, TOKEN, expect, expect_all
from benchmarks.meter import Meter


class FakeModel(Model):
    """A model that is a function."""

    def __init__(self, answer: Callable[[str], Awaitable[str]], tokens: int = 0, yielding: bool = False) -> None:
        super().__init__(id="fake")
        self._answer = answer
        self._tokens = tokens
        self._yielding = yielding

    async def ainvoke(self, messages: list[Any], *_: Any, **__: Any) -> ModelResponse:
        return ModelResponse(role="assistant", content=await self._answer(messages[-1].content))

    async def ainvoke_stream(self, *_: Any, **__: Any) -> AsyncIterator[ModelResponse]:
        for _ in range(self._tokens):
            if self._yielding:
                await asyncio.sleep(0)
            yield ModelResponse(content=TOKEN)

    def invoke(self, *_: Any, **__: Any) -> ModelResponse:
        raise NotImplementedError

    def invoke_stream(self, *_: Any, **__: Any) -> Iterator[ModelResponse]:
        raise NotImplementedError

    def _parse_provider_response(self, response: Any, **_: Any) -> ModelResponse:
        return response  # type: ignore[no-any-return]

    def _parse_provider_response_delta(self, response: Any) -> ModelResponse:
        return response  # type: ignore[no-any-return]


def _agent(answer: Callable[[str], Awaitable[str]], tokens: int = 0, yielding: bool = False) -> Agent:
    return Agent(model=FakeModel(answer, tokens, yielding), telemetry=False)


async def _exclaim(text: str) -> str:
    return f"{text}!"


async def sequential(meter: Meter, calls: int) -> None:
    agent = _agent(_exclaim)
    with meter:
        texts = [(await asyncio.create_task(agent.arun(HELLO))).content for _ in range(calls)]
    expect_all(texts, ANSWER, calls)


async def fan_out(meter: Meter, calls: int) -> None:
    agent = _agent(_exclaim)
    with meter:
        tasks = [asyncio.create_task(agent.arun(HELLO)) for _ in range(calls)]
        texts = [(await task).content for task in tasks]
    expect_all(texts, ANSWER, calls)


async def tree(meter: Meter, depth: int, agents: int) -> None:
    async def node(text: str) -> str:
        if text == "0":
            return HELLO
        tasks = [asyncio.create_task(agent.arun(str(int(text) - 1))) for _ in range(BRANCHES)]
        return " ".join([str((await task).content) for task in tasks])

    agent = _agent(node)
    with meter:
        text = str((await agent.arun(str(depth))).content)
    expect_all(text.split(), HELLO, BRANCHES**depth)


async def stream(meter: Meter, tokens: int, yielding: bool) -> None:
    agent = _agent(_exclaim, tokens, yielding)
    with meter:
        text = "".join([event.content async for event in agent.arun(HELLO, stream=True) if event.content])
    expect(text, TOKEN * tokens)
