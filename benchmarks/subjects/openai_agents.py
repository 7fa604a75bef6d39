"""openai-agents: an agent is an `Agent` with a fake model, and an agent that calls others does so in its model."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import openai
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseOutputMessage,
    ResponseOutputText,
    ResponseTextDeltaEvent,
)

from agents import Agent, Model, ModelResponse, OpenAIChatCompletionsModel, Runner, Usage, set_tracing_disabled
from benchmarks.content import ANSWER, BRANCHES, HELLO, TOKEN, expect, expect_all
from benchmarks.meter import Meter

set_tracing_disabled(True)


def _message(text: str) -> ResponseOutputMessage:
    part = ResponseOutputText(type="output_text", text=text, annotations=[])
    return ResponseOutputMessage(id="1", type="message", role="assistant", status="completed", content=[part])


class FakeModel(Model):
    """A model that is a function."""

    def __init__(self, answer: Callable[[str], Awaitable[str]], tokens: int = 0, yielding: bool = False) -> None:
        self._answer = answer
        self._tokens = tokens
        self._yielding = yielding

    async def get_response(self, *args: Any, **kwargs: Any) -> ModelResponse:
        said = args[1] if len(args) > 1 else kwargs["input"]
        text = said if isinstance(said, str) else said[-1]["content"]
        return ModelResponse(output=[_message(await self._answer(text))], usage=Usage(), response_id=None)

    async def stream_response(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
        for number in range(self._tokens):
            if self._yielding:
                await asyncio.sleep(0)
            yield ResponseTextDeltaEvent(
                type="response.output_text.delta",
                delta=TOKEN,
                content_index=0,
                item_id="1",
                output_index=0,
                sequence_number=number,
                logprobs=[],
            )
        response = Response(
            id="1",
            created_at=0,
            model="offline",
            object="response",
            output=[_message(TOKEN * self._tokens)],
            parallel_tool_calls=False,
            tool_choice="auto",
            tools=[],
        )
        yield ResponseCompletedEvent(type="response.completed", response=response, sequence_number=self._tokens)


async def _exclaim(text: str) -> str:
    return f"{text}!"


async def sequential(meter: Meter, calls: int) -> None:
    agent = Agent(name="agent", model=FakeModel(_exclaim))
    with meter:
        texts = [(await asyncio.create_task(Runner.run(agent, HELLO))).final_output for _ in range(calls)]
    expect_all(texts, ANSWER, calls)


async def fan_out(meter: Meter, calls: int) -> None:
    agent = Agent(name="agent", model=FakeModel(_exclaim))
    with meter:
        tasks = [asyncio.create_task(Runner.run(agent, HELLO)) for _ in range(calls)]
        texts = [(await task).final_output for task in tasks]
    expect_all(texts, ANSWER, calls)


async def tree(meter: Meter, depth: int, agents: int) -> None:
    async def node(text: str) -> str:
        if text == "0":
            return HELLO
        tasks = [asyncio.create_task(Runner.run(agent, str(int(text) - 1))) for _ in range(BRANCHES)]
        return " ".join([(await task).final_output for task in tasks])

    agent = Agent(name="node", model=FakeModel(node))
    with meter:
        text = (await Runner.run(agent, str(depth))).final_output
    expect_all(text.split(), HELLO, BRANCHES**depth)


async def _read(result: Any, meter: Meter | None = None) -> str:
    found: list[str] = []
    async for event in result.stream_events():
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
            if meter is not None and not found:
                meter.first()
            found.append(event.data.delta)
    return "".join(found)


async def stream(meter: Meter, tokens: int, yielding: bool) -> None:
    agent = Agent(name="agent", model=FakeModel(_exclaim, tokens, yielding))
    with meter:
        text = await _read(Runner.run_streamed(agent, HELLO))
    expect(text, TOKEN * tokens)


async def llm_sdk(meter: Meter, streams: int) -> None:
    async with openai.AsyncOpenAI(base_url=os.environ["BENCHMARK_LLM_URL"], api_key="none") as client:
        agent = Agent(name="agent", model=OpenAIChatCompletionsModel("offline", client))

        async def reply() -> str:
            return await _read(Runner.run_streamed(agent, HELLO), meter)

        with meter:
            tasks = [asyncio.create_task(reply()) for _ in range(streams)]
            texts = [await task for task in tasks]
    expect_all(texts, os.environ["BENCHMARK_LLM_REPLY"], streams)
