"""The LLM agents against a server that others have written, so that the same mistake is not made on both sides.

Run by `.ci/second-opinion`, which starts the server and passes its address on in `SECOND_OPINION_URL`.
"""

import os
from typing import Any

import pytest

from miniagents import Message, MiniAgents
from miniagents.ext.llm.anthropic import anthropic_agent
from miniagents.ext.llm.errors import LLMConnectionError, LLMTruncatedError
from miniagents.ext.llm.messages import AssistantMessage, ThinkingMessage, ToolCallMessage, ToolResultMessage
from miniagents.ext.llm.openai import openai_agent
from miniagents.ext.llm.openai_compatible import openai_compatible_agent
from miniagents.ext.llm.openai_responses import openai_responses_agent

URL = os.environ["SECOND_OPINION_URL"]
AGENTS = {
    "chat completions": openai_agent.fork(base_url=f"{URL}/v1", api_key="key"),
    "responses": openai_responses_agent.fork(base_url=f"{URL}/v1", api_key="key"),
    "messages": anthropic_agent.fork(base_url=URL, api_key="key"),
    "compatible": openai_compatible_agent.fork(base_url=f"{URL}/v1", model="any"),
}

every_agent = pytest.mark.parametrize("agent", AGENTS.values(), ids=AGENTS)
streamed = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])


def weather(city: str) -> str:
    """The weather in a city."""
    return f"rain in {city}"


def noon() -> str:
    """When noon is."""
    return "at twelve"


def without_thoughts(messages: tuple[Message, ...]) -> list[Message]:
    """For this server some models always think, in secret."""
    return [message for message in messages if not isinstance(message, ThinkingMessage)]


@every_agent
@streamed
async def test_a_text(agent: Any, stream: bool) -> None:
    """The text comes as it was said, with its end and its cost."""
    async with MiniAgents():
        (message,) = without_thoughts(await agent.inquire("text", stream=stream))
    assert isinstance(message, AssistantMessage)
    assert (message.text, message.finish_reason) == ("Hello there, friend", "stop")
    assert message.usage.input_tokens >= 0


@every_agent
@streamed
async def test_a_thought(agent: Any, stream: bool) -> None:
    """Thoughts are a message before the answer."""
    async with MiniAgents():
        thought, message = await agent.inquire("think", stream=stream)
    assert isinstance(thought, ThinkingMessage)
    assert (thought.text, message.text) == ("I should greet them", "Hello there")


@every_agent
@streamed
async def test_tools(agent: Any, stream: bool) -> None:
    """Both tools are called, the server takes their results, and answers."""
    async with MiniAgents():
        replies = agent.inquire("call", stream=stream, tools=[weather, noon])
        said, first, second, *results, answer = without_thoughts(await replies)
    assert isinstance(first, ToolCallMessage)
    assert isinstance(second, ToolCallMessage)
    assert all(isinstance(result, ToolResultMessage) for result in results)
    assert [str(result) for result in results] == ["rain in Oslo", "at twelve"]
    assert (said.text, answer.text) == ("Let me see", "It rains in Oslo.")


@every_agent
async def test_an_answer_that_is_cut(agent: Any) -> None:
    """What is missing is an error, behind what was said."""
    async with MiniAgents():
        with pytest.raises((LLMConnectionError, LLMTruncatedError)) as caught:
            await agent.inquire("cut", max_retries=0)
    assert "This will never be said to its end".startswith(caught.value.partial_text)
