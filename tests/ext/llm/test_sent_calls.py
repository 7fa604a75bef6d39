"""Histories with thoughts and calls of tools: what of them goes back, and how providers are made to take it."""

import json
import re
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniagents import Message, MiniAgents
from miniagents.ext.llm.anthropic import AnthropicProvider
from miniagents.ext.llm.llm_common import LLMProvider, llm_agent
from miniagents.ext.llm.messages import (
    AssistantMessage,
    ThinkingMessage,
    ToolCallMessage,
    ToolResultMessage,
    UserMessage,
)
from miniagents.ext.llm.openai import OpenAIProvider
from miniagents.ext.llm.openai_compatible import OpenAICompatibleProvider
from miniagents.ext.llm.openai_responses import OpenAIResponsesProvider
from miniagents.ext.llm.prompt import Prompt
from miniagents.ext.llm.tools import ToolError
from miniagents.testing import LLMServer, Thinking, ToolUse
from support.llm_ways import WAYS
from support.scripted_model import ScriptedModel

PROVIDERS = (OpenAIProvider(), OpenAICompatibleProvider(), OpenAIResponsesProvider(), AnthropicProvider())
STREAMED = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
EXTRA = {"google": {"thought_signature": "c2lnbmVk"}}


def ping() -> str:
    """Pings."""
    return "pong"


def request_of(provider: LLMProvider, *messages: Message, model: str = "m") -> dict[str, Any]:
    return provider.make_request(Prompt.of(messages), {"model": model, "stream": True})


class Gemini:
    """Speaks chat completions: thinks, calls a tool with a signature, and then answers."""

    def __init__(self, thought: str = "reasoning_content") -> None:
        self.requests: list[Mapping[str, Any]] = []
        self.chat = SimpleNamespace(completions=SimpleNamespace(create=self._create))
        self._thought = thought

    def agent(self, provider: LLMProvider, **presets: Any) -> Any:
        return llm_agent.fork(provider=provider, model="m", async_client=self, tools=[ping], **presets)

    async def _create(self, **request: Any) -> Any:
        self.requests.append(request)
        call = {"index": 0, "id": "c1", "function": {"name": "ping", "arguments": "{}"}, "extra_content": EXTRA}
        said: list[dict[str, Any]] = [{self._thought: "H"}, {self._thought: "m."}, {"tool_calls": [call]}]
        if len(self.requests) > 1:
            said = [{"content": "Done."}]
        if request["stream"]:
            return self._chunks(said)
        message = {name: value for one in said for name, value in one.items()}
        return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}

    async def _chunks(self, said: list[dict[str, Any]]) -> Any:
        for delta in said:
            yield {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        yield {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


@STREAMED
async def test_a_compatible_server_gets_back_what_it_has_signed_or_thought(stream: bool) -> None:
    """The thoughts of a turn with calls, and what came with a call, stand in the next request as they came."""
    gemini = Gemini()
    async with MiniAgents():
        await gemini.agent(OpenAICompatibleProvider()).inquire("?", stream=stream)
    _, turn, _ = gemini.requests[1]["messages"]
    assert turn["reasoning_content"] == ("Hm." if stream else "m.")
    assert turn["tool_calls"][0]["extra_content"] == EXTRA


async def test_thoughts_under_another_name_stay_here() -> None:
    """Servers that call their thoughts `reasoning` refuse the other name, and miss nothing."""
    gemini = Gemini("reasoning")
    async with MiniAgents():
        await gemini.agent(OpenAICompatibleProvider()).inquire("?")
    assert not gemini.requests[1]["messages"][1].keys() & {"reasoning", "reasoning_content"}


async def test_nobody_else_is_sent_thoughts_or_signatures() -> None:
    """Neither another model, nor another provider, nor OpenAI itself is sent what a compatible server wants back."""
    gemini = Gemini()
    async with MiniAgents():
        thought, call, result, _ = await gemini.agent(OpenAICompatibleProvider()).inquire("?")
    own = json.dumps(request_of(PROVIDERS[1], UserMessage("?"), thought, call, result))
    assert "reasoning_content" in own
    assert "thought_signature" in own
    for provider, model in ((PROVIDERS[1], "other"), (PROVIDERS[0], "m"), (PROVIDERS[2], "m"), (PROVIDERS[3], "m")):
        sent = json.dumps(request_of(provider, UserMessage("?"), thought, call, result, model=model))
        assert "ping" in sent
        assert "Hm." not in sent
        assert "thought_signature" not in sent
    without_call = json.dumps(request_of(PROVIDERS[1], UserMessage("?"), thought, AssistantMessage("x")))
    assert "Hm." not in without_call


@pytest.mark.parametrize("way", [way for way in WAYS if way == "compatible"], indirect=True)
async def test_thoughts_go_back_over_the_wire(way) -> None:
    """A server that insists on its thoughts finds them in the second request of a loop with tools."""

    def reply(request: Any) -> Any:
        return "Done." if request.tool_results else [Thinking("Hm."), ToolUse("ping", {})]

    async with LLMServer(reply=reply) as server, MiniAgents():
        await way.agent(server).inquire("?", tools=[ping])
    assert server.requests[1].messages[1]["reasoning_content"] == "Hm."


@pytest.mark.parametrize("text", ["", "Hm."], ids=["secret", "told"])
def test_anthropic_is_sent_no_turn_that_ends_in_a_thought(text: str) -> None:
    """Thoughts that nothing has come of, as of an answer that was broken off, are left out."""
    thought = ThinkingMessage(text, signature="s", signed_by="Anthropic", redacted=not text)
    request = request_of(
        AnthropicProvider(), UserMessage("a"), thought, UserMessage("b"), AssistantMessage("c"), thought
    )
    assert request["messages"] == [
        {"role": "user", "content": "a"},
        {"role": "user", "content": "b"},
        {"role": "assistant", "content": "c"},
    ]


@pytest.mark.parametrize("error", [ToolError(), ToolError(" \n")], ids=["empty", "blank"])
async def test_a_failure_without_a_word_is_told_in_one(error: ToolError) -> None:
    """No result that is an error has an empty text, which Anthropic refuses."""

    def fail() -> None:
        raise error

    model = ScriptedModel(ToolUse("fail", {}), "Pity.")
    async with MiniAgents():
        await model.agent.inquire("?", tools=[fail])
    assert model.results == [("fail", "The tool has failed.", True)]


MADE_UP = {"default_api:f": "default_api_f", "": "unnamed", "a b": "a_b", "x" * 70: "x" * 64, "ß": "_"}


@pytest.mark.parametrize("name", MADE_UP)
async def test_a_made_up_name_can_be_sent_again(way, name: str) -> None:
    """Whatever a model calls, the name in the next request is one that providers take, and the dialog goes on."""

    def reply(request: Any) -> Any:
        return "Done." if request.tool_results else ToolUse(name, {})

    async with LLMServer(reply=reply) as server, MiniAgents():
        *_, answer = await way.agent(server).inquire("?", tools=[ping])
    assert str(answer) == "Done."
    assert [result.name for result in server.requests[1].tool_results] == [MADE_UP[name]]


def test_a_result_has_the_name_of_its_call() -> None:
    """What is made of a name is made in the call and in the result alike."""
    messages = [ToolCallMessage("{}", call_id="1", tool="a:b"), ToolResultMessage("r", call_id="1", tool="a:b")]
    (call,), (result,) = (turn.parts for turn in Prompt.of(messages).turns)
    assert (call["tool"], result["tool"]) == ("a_b", "a_b")


@given(st.lists(st.lists(st.sampled_from(["", "call_0", "call_0_2", "call_1", "call_2"]), max_size=4), max_size=4))
def test_each_call_has_an_id_of_its_own(answers: list[list[str]]) -> None:
    """However often an id comes, each call of a prompt has its own, and its result the same."""
    messages: list[Message] = []
    for answer in answers:
        messages += [ToolCallMessage("{}", call_id=call_id, tool="f") for call_id in answer]
        messages += [ToolResultMessage(f"{place}", call_id=call_id, tool="f") for place, call_id in enumerate(answer)]
    turns = Prompt.of(messages).turns
    calls = [part["call_id"] for turn in turns for part in turn.parts if isinstance(part, ToolCallMessage)]
    results = [part for turn in turns for part in turn.parts if isinstance(part, ToolResultMessage)]
    assert "" not in calls
    assert len(set(calls)) == len(calls) == sum(map(len, answers))
    assert [result.call_id for result in results] == calls
    assert [str(result) for result in results] == [str(place) for answer in answers for place in range(len(answer))]


@given(st.lists(st.text(max_size=80), unique=True, min_size=1, max_size=4))
def test_ids_are_such_as_the_apis_take(ids: list[str]) -> None:
    """Ids with other characters, or long ones, are replaced by ones that Anthropic and OpenAI take, and stay different."""
    messages = [ToolCallMessage("{}", call_id=one, tool="f") for one in ids]
    for provider in (AnthropicProvider(), OpenAIProvider(), OpenAIResponsesProvider()):
        text = json.dumps(request_of(provider, UserMessage("?"), *messages))
        request = json.loads(text)
        found = sorted(ids_in(request))
        assert len(found) == 2 * len(ids)
        assert found[::2] == found[1::2]
        assert len(set(found)) == len(ids)
        for one in found:
            assert re.fullmatch(r"[A-Za-z0-9_-]{1,40}", one)


def ids_in(request: Any) -> list[str]:
    found: list[str] = []
    waiting = [request]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, dict):
            found += [node[name] for name in ("id", "call_id", "tool_call_id", "tool_use_id") if name in node]
            waiting += node.values()
    return found


def test_a_compatible_server_has_its_own_ids() -> None:
    """Ids that only their server can read, and takes, go back as they came."""
    given_id = "functions.ping:0"
    sent = request_of(
        OpenAICompatibleProvider(), UserMessage("?"), ToolCallMessage("{}", call_id=given_id, tool="ping")
    )
    assert ids_in(sent) == [given_id, given_id]


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: type(provider).__name__)
@pytest.mark.parametrize("text", ["", "{", "[1]", "7", '{"x": 1e999}', '{"x": NaN}', '{"x": 1}', ' {"x": 1} '])
def test_arguments_are_sent_as_an_object(provider: LLMProvider, text: str) -> None:
    """Whatever a model has written as arguments, servers that parse them find a JSON object with it."""
    request = request_of(provider, UserMessage("?"), ToolCallMessage(text, call_id="1", tool="ping"))

    def refuse(name: str) -> None:
        raise AssertionError(name)

    sent = arguments_in(json.loads(json.dumps(request, allow_nan=False)))
    value = json.loads(sent, parse_constant=refuse) if isinstance(sent, str) else sent
    if not text:
        assert value == {}
    elif "1}" in text:
        assert value == {"x": 1}
    else:
        assert value == {"arguments": text}


def arguments_in(request: dict[str, Any]) -> Any:
    if "input" in request:
        return next(item["arguments"] for item in request["input"] if "arguments" in item)
    turn = request["messages"][1]
    return turn["tool_calls"][0]["function"]["arguments"] if "tool_calls" in turn else turn["content"][0]["input"]


async def test_a_number_that_is_too_large_is_a_wrong_argument() -> None:
    """What JSON can write and no float can hold never reaches a tool as an infinity."""

    def take(x: float) -> str:
        return str(x)

    model = ScriptedModel(ToolUse("take", '{"x": 1e999}'), "Pity.")
    async with MiniAgents():
        await model.agent.inquire("?", tools=[take])
    assert model.results == [("take", "The arguments have a number that is too large.", True)]
