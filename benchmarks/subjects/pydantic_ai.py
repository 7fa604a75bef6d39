"""pydantic-ai: an agent is an `Agent` with a fake model, and an agent that calls others does so in its model."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable

import openai
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from benchmarks.content import ANSWER, BRANCHES, HELLO, TOKEN, expect, expect_all
from benchmarks.meter import Meter


def _agent(answer: Callable[[str], Awaitable[str]]) -> Agent[None, str]:
    async def model(messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
        said = str(messages[-1].parts[-1].content)  # type: ignore[union-attr]
        return ModelResponse(parts=[TextPart(await answer(said))])

    return Agent(FunctionModel(model))


async def _exclaim(text: str) -> str:
    return f"{text}!"


async def sequential(meter: Meter, calls: int) -> None:
    agent = _agent(_exclaim)
    with meter:
        texts = [(await asyncio.create_task(agent.run(HELLO))).output for _ in range(calls)]
    expect_all(texts, ANSWER, calls)


async def fan_out(meter: Meter, calls: int) -> None:
    agent = _agent(_exclaim)
    with meter:
        tasks = [asyncio.create_task(agent.run(HELLO)) for _ in range(calls)]
        texts = [(await task).output for task in tasks]
    expect_all(texts, ANSWER, calls)


async def tree(meter: Meter, depth: int, agents: int) -> None:
    async def node(text: str) -> str:
        if text == "0":
            return HELLO
        tasks = [asyncio.create_task(agent.run(str(int(text) - 1))) for _ in range(BRANCHES)]
        return " ".join([(await task).output for task in tasks])

    agent = _agent(node)
    with meter:
        text = (await agent.run(str(depth))).output
    expect_all(text.split(), HELLO, BRANCHES**depth)


async def stream(meter: Meter, tokens: int, yielding: bool) -> None:
    async def model(_: list[ModelMessage], __: AgentInfo) -> AsyncIterator[str]:
        for _ in range(tokens):
            if yielding:
                await asyncio.sleep(0)
            yield TOKEN

    agent = Agent(FunctionModel(stream_function=model))
    with meter:
        async with agent.run_stream(HELLO) as result:
            text = "".join([token async for token in result.stream_text(delta=True, debounce_by=None)])
    expect(text, TOKEN * tokens)


async def llm_sdk(meter: Meter, streams: int) -> None:
    async with openai.AsyncOpenAI(base_url=os.environ["BENCHMARK_LLM_URL"], api_key="none") as client:
        agent = Agent(OpenAIChatModel("offline", provider=OpenAIProvider(openai_client=client)))

        async def reply() -> str:
            found: list[str] = []
            async with agent.run_stream(HELLO) as result:
                async for token in result.stream_text(delta=True, debounce_by=None):
                    if not found:
                        meter.first()
                    found.append(token)
            return "".join(found)

        with meter:
            tasks = [asyncio.create_task(reply()) for _ in range(streams)]
            texts = [await task for task in tasks]
    expect_all(texts, os.environ["BENCHMARK_LLM_REPLY"], streams)
