"""Tools through the real SDKs, against a server that refuses every history that its provider would refuse."""

import asyncio
import json
from typing import Any

import pytest

from miniagents import Message, MiniAgents
from miniagents.ext.llm.errors import LLMError, LLMTurnLimitError
from miniagents.ext.llm.messages import ToolCallMessage, ToolResultMessage
from miniagents.ext.llm.tools import ToolError, tool
from miniagents.testing import Fault, LLMRequest, LLMServer, Thinking, ToolUse

HOW = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])


@tool
def temperature(city: str) -> float:
    """How warm it is.

    - city: where.
    """
    if city == "Atlantis":
        raise ToolError("There is no such city.")
    return 20.5


def ask_twice(request: LLMRequest) -> Any:
    if not request.tool_results:
        return ["Let me see. ", ToolUse("temperature", {"city": "Oslo"}), ToolUse("temperature", {"city": "Atlantis"})]
    return f"I see: {[result.text for result in request.tool_results]}"


@HOW
async def test_a_model_calls_tools(way, stream: bool) -> None:
    """The model is told of the tool, calls it twice, gets both results in order, and answers."""
    async with LLMServer(reply=ask_twice) as server, MiniAgents():
        replies = await way.agent(server).inquire("How warm?", tools=[temperature], stream=stream)
    assert str(replies[-1]) == "I see: ['20.5', 'There is no such city.']"
    assert [request.tools for request in server.requests] == [["temperature"]] * 2
    results = server.requests[1].tool_results
    assert [(result.name, result.text) for result in results] == [
        ("temperature", "20.5"),
        ("temperature", "There is no such city."),
    ]
    if way.is_anthropic:
        assert [result.is_error for result in results] == [False, True]
    (sent,) = server.requests[0].body["tools"]
    told = sent if way.is_anthropic or way.is_of_responses else sent["function"]
    schema = told["input_schema" if way.is_anthropic else "parameters"]
    assert (told["description"], schema["properties"]["city"]["description"]) == ("How warm it is.", "where.")


async def test_thinking_goes_back_with_the_results(way) -> None:
    """What the model has thought before a call is sent back, where the provider wants it, and the dialog can go on."""

    def reply(request: LLMRequest) -> Any:
        if len(server.requests) == 1:
            return [Thinking("Hm."), ToolUse("temperature", {"city": "Oslo"})]
        return "Warm."

    async with LLMServer(reply=reply) as server, MiniAgents():
        replies = await way.agent(server).inquire("How warm?", tools=[temperature])
        again = await way.agent(server).inquire(
            [Message("How warm?", role="user"), replies, "Sure?"], tools=[temperature]
        )
    assert (str(replies[-1]), str(again[-1])) == ("Warm.", "Warm.")


@pytest.mark.parametrize("arguments", ['{"city": ', "[1]", '{"town": "Oslo"}', ""])
async def test_broken_arguments_are_a_result(way, arguments: str) -> None:
    """Whatever a model writes as arguments, it is told what is wrong, and the next request is one that providers take."""

    def reply(request: LLMRequest) -> Any:
        return f"{request.tool_results[0].text}" if request.tool_results else ToolUse("temperature", arguments)

    async with LLMServer(reply=reply) as server, MiniAgents():
        replies = await way.agent(server).inquire("How warm?", tools=[temperature])
    assert str(replies[-1]).startswith("The arguments")


INTERRUPTIONS = ["cancelled", "limit", "fault", "stopped result"]


@pytest.mark.parametrize("how", INTERRUPTIONS)
async def test_the_history_is_valid_whatever_has_happened(way, how: str) -> None:
    """After a cancellation, a limit or an error in the midst of tools, what was said can be sent to the provider again."""
    started = asyncio.Event()

    async def slow(number: int) -> str:
        if how == "limit" or (how == "fault" and number):
            return "quick"
        started.set()
        if how != "fault":
            await asyncio.Event().wait()
        return "slow"

    def reply(request: LLMRequest) -> Any:
        return "At last." if "Go on" in str(request.messages[-1]) else [ToolUse("slow", {"number": n}) for n in (0, 1)]

    def fault(request: LLMRequest) -> Any:
        return Fault("cut") if how == "fault" and request.number == 1 else None

    limits: dict[str, Any] = {"max_turns": 1} if how == "limit" else {}
    async with LLMServer(reply=reply, fault=fault) as server, MiniAgents():
        agent = way.agent(server)
        replies = agent.inquire("Work.", tools=[slow], **limits)
        if how in ("cancelled", "stopped result"):
            await started.wait()
        if how == "cancelled":
            replies.cancel()
        if how == "stopped result":
            promises = [promise async for promise in first(3, replies)]
            promises[-1].cancel()
            replies.cancel()
        settled = await replies.settled()
        said = [message for message in settled if isinstance(message, Message)]
        assert any(isinstance(one, BaseException) for one in settled)
        assert [message["tool"] for message in said if isinstance(message, ToolCallMessage)][:2] == ["slow", "slow"]
        (answer,) = await agent.inquire([Message("Work.", role="user"), said, "Go on"], tools=[slow])
    assert str(answer) == "At last."
    results = server.requests[-1].tool_results
    assert [result.name for result in results] == ["slow", "slow"]
    assert all(
        "quick" in result.text or "slow" in result.text or "no result" in result.text or "not called" in result.text
        for result in results
    )


async def first(count: int, replies: Any) -> Any:
    promises = aiter(replies)
    for _ in range(count):
        yield await anext(promises)


async def test_a_limit_and_its_results_are_in_the_reply(way) -> None:
    """The last answer's calls have results that say that they were not run."""
    async with LLMServer(reply=ToolUse("temperature", {"city": "Oslo"})) as server, MiniAgents():
        *said, error = await way.agent(server).inquire("?", tools=[temperature], max_turns=2).settled()
    assert isinstance(error, LLMTurnLimitError)
    results = [message for message in said if isinstance(message, ToolResultMessage)]
    assert [(result.is_error, "not called" in str(result)) for result in results] == [(False, False), (True, True)]
    assert len(server.requests) == 2


async def test_the_result_streams_while_the_tool_works(way) -> None:
    """The outer reader has what an inner model says, token by token, before the inner model has gone on."""

    def outer(request: LLMRequest) -> Any:
        return "done" if request.tool_results else ToolUse("expert", {"message": "Well?"})

    async with LLMServer(reply=["One ", "two"], paced=True) as inner, LLMServer(reply=outer) as server, MiniAgents():
        expert = way.agent(inner).fork(alias="EXPERT")
        replies = way.agent(server).inquire("?", tools=[expert])
        (call, result) = [promise async for promise in first(2, replies)]
        request = await inner.next_request()
        request.release_token()
        tokens = aiter(result)
        assert await anext(tokens) == "One "
        assert request.tokens_sent == 1
        request.release_token()
        assert await anext(tokens) == "two"
        assert str((await replies)[-1]) == "done"
    assert json.loads(str(await call)) == {"message": "Well?"}


async def test_the_error_of_an_inner_model_is_told_the_outer_one(way) -> None:
    """An error of a provider inside a tool is a result, in which no key is."""

    def outer(request: LLMRequest) -> Any:
        return request.tool_results[0].text if request.tool_results else ToolUse("expert", {"message": "Well?"})

    async with LLMServer(fault=Fault("status", status=500)) as inner, LLMServer(reply=outer) as server, MiniAgents():
        replies = await way.agent(server).inquire("?", tools=[way.agent(inner).fork(alias="EXPERT")])
    assert str(replies[-1]).startswith("LLMStatusError: ")
    assert not issubclass(type(replies[-1]), LLMError)
