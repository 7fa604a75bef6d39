"""What an LLM agent replies: one message, its tokens while they are made, its metadata before and after them."""

import asyncio

import pytest

from miniagents import ErrorMessage, Message, MessagePromise, MiniAgents, miniagent
from miniagents.ext.llm import anthropic, openai
from miniagents.ext.llm.anthropic import anthropic_agent
from miniagents.ext.llm.embeddings import EmbeddingMessage
from miniagents.ext.llm.media import AudioMessage, DocumentMessage, ImageMessage
from miniagents.ext.llm.messages import (
    Approval,
    ApprovalRequest,
    AssistantMessage,
    SystemMessage,
    ThinkingMessage,
    ToolCallMessage,
    ToolResultMessage,
    UserMessage,
)
from miniagents.ext.llm.openai import openai_agent
from miniagents.ext.llm.structured import TypedAnswer
from miniagents.ext.models import echo_agent
from miniagents.promising import PromisingContext
from miniagents.testing.llm_server import LLMServer

HOW = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])


async def first_of(replies) -> MessagePromise:
    return await anext(aiter(replies))


async def test_each_token_is_there_before_the_next_one_is_made(way) -> None:
    """A reader has a token while the model has not made the next one."""
    async with LLMServer(reply=["Once ", "upon ", "a time"], paced=True) as server, MiniAgents():
        replies = way.agent(server).inquire("Tell")
        request = await server.next_request()
        request.release_token()
        tokens = aiter(await first_of(replies))
        for number, expected in enumerate(["Once ", "upon ", "a time"], start=1):
            if number > 1:
                request.release_token()
            assert await anext(tokens) == expected
            assert request.tokens_sent == number
        with pytest.raises(StopAsyncIteration):
            await anext(tokens)


async def test_what_is_known_of_a_message_is_there_with_its_first_token(way) -> None:
    """Its class, role, model and alias can be read while its text is still being written."""
    async with LLMServer(reply=["Yes", "."], paced=True) as server, MiniAgents():
        agent = way.agent(server).fork(alias="ORACLE", model="m-1")
        replies = agent.inquire("Now?")
        request = await server.next_request()
        request.release_token()
        promise = await first_of(replies)
        known = promise.preliminary_metadata
        assert promise.message_class is AssistantMessage
        assert (known["role"], known["model"], known["agent_alias"]) == ("assistant", "m-1", "ORACLE")
        assert not promise.resolved
        request.release_token()
        assert str(await promise) == "Yes."


async def test_the_request_waits_for_the_input(way) -> None:
    """Nothing is sent while the input is still being written."""
    input_is_complete = asyncio.Event()

    async def slow_question(_):
        yield "No"
        await input_is_complete.wait()
        yield "w?"

    async with LLMServer() as server, MiniAgents():
        question = Message.promise(slow_question)
        replies = way.agent(server).inquire(question)
        assert await anext(aiter(question)) == "No"
        assert server.requests == []
        input_is_complete.set()
        await replies
    assert server.requests[0].last_user_text == "Now?"


@HOW
async def test_the_message_tells_how_it_came_about(way, stream: bool) -> None:
    """A finished message has role, model, alias, finish reason, usage and the provider's names for it."""
    async with LLMServer(reply="one two three") as server, MiniAgents():
        (message,) = await way.agent(server).fork(model="m-1").inquire("four words of question", stream=stream)
    assert isinstance(message, AssistantMessage)
    assert message.text == "one two three"
    assert (message.role, message.model, message.agent_alias) == ("assistant", "m-1", way.agent(server).alias)
    assert message.finish_reason == "stop"
    assert (message.usage.input_tokens, message.usage.output_tokens) == (4, 3)
    assert message.response_model == "m-1"
    assert message.response_id == ("msg_0" if way.is_anthropic else "resp_0" if way.is_of_responses else "chatcmpl-0")


@HOW
async def test_the_providers_own_figures_are_kept(stream: bool) -> None:
    """Beside the common names, the usage has the names and figures of the provider."""
    async with LLMServer(reply="one two") as server, MiniAgents():
        agent = openai_agent.fork(base_url=f"{server.url}/v1", api_key="key")
        (message,) = await agent.inquire("hi", stream=stream)
    assert (message.usage.prompt_tokens, message.usage.completion_tokens, message.usage.total_tokens) == (1, 2, 3)


@HOW
async def test_anthropics_own_stop_reason_is_kept(stream: bool) -> None:
    """Beside the common finish reason, a message of Anthropic has the stop reason in Anthropic's words."""
    async with LLMServer() as server, MiniAgents():
        (message,) = await anthropic_agent.inquire("hi", base_url=server.url, api_key="key", stream=stream)
    assert (message.finish_reason, message.stop_reason) == ("stop", "end_turn")


async def test_a_whole_answer_is_one_token(way) -> None:
    """With `stream=False` the request asks for no stream, and the text comes in one piece."""
    async with LLMServer(reply="one two three") as server, MiniAgents():
        promise = await first_of(way.agent(server).inquire("hi", stream=False))
        assert [token async for token in promise] == ["one two three"]
    assert not server.requests[0].is_streaming


@pytest.mark.parametrize("default", [True, False])
async def test_the_context_says_whether_models_stream(way, default: bool) -> None:
    """Without `stream=` the request asks for what the context says."""
    async with LLMServer() as server, MiniAgents(stream_llm_tokens_by_default=default):
        await way.agent(server).inquire("hi")
    assert server.requests[0].is_streaming is default


async def test_models_stream_in_a_context_that_does_not_say(way) -> None:
    """In a bare `PromisingContext` the tokens are streamed."""
    async with LLMServer() as server, PromisingContext():
        await way.agent(server).inquire("hi")
    assert server.requests[0].is_streaming


async def test_tokens_pass_through_other_agents_while_they_are_made(way) -> None:
    """Two agents further on, a token is still there before the next one is made."""
    async with LLMServer(reply=["a", "b"], paced=True) as server, MiniAgents():
        model = way.agent(server)

        @miniagent
        async def inner(ctx) -> None:
            ctx.reply(model.inquire(ctx.message_promises))

        @miniagent
        async def outer(ctx) -> None:
            ctx.reply(inner.inquire(ctx.message_promises))

        replies = outer.inquire("hi")
        request = await server.next_request()
        request.release_token()
        tokens = aiter(await first_of(replies))
        assert await anext(tokens) == "a"
        assert request.tokens_sent == 1
        request.release_token()
        assert await anext(tokens) == "b"


async def test_a_model_can_be_swapped_for_one_that_needs_no_network(way) -> None:
    """The same call works with an offline agent in the place of the model."""
    limit = {"max_output_tokens" if way.is_of_responses else "max_tokens": 99}
    async with LLMServer() as server, MiniAgents():
        for agent in (way.agent(server), echo_agent):
            (message,) = await agent.fork(model="any").inquire("hi", system="Be brief.", temperature=0, **limit)
            assert (message.role, message.model, message.agent_alias) == ("assistant", "any", agent.alias)


@pytest.mark.parametrize(
    ("agent", "variable", "default"),
    [
        (openai_agent, "OPENAI_MODEL", openai.DEFAULT_MODEL),
        (anthropic_agent, "ANTHROPIC_MODEL", anthropic.DEFAULT_MODEL),
    ],
)
async def test_which_model_is_asked(agent, variable: str, default: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call's model, else that of the environment, else the documented default."""
    async with LLMServer() as server, MiniAgents():
        url = server.url if agent is anthropic_agent else f"{server.url}/v1"
        agent = agent.fork(base_url=url, api_key="key")
        await agent.inquire("hi")
        monkeypatch.setenv(variable, "from-environment")
        await agent.inquire("hi")
        await agent.inquire("hi", model="from-call")
    assert [request.model for request in server.requests] == [default, "from-environment", "from-call"]


async def test_an_error_becomes_a_message_where_that_is_wanted(way) -> None:
    """With `errors_as_messages` a failed answer is an `ErrorMessage` that begins with what was streamed."""
    async with LLMServer(reply=["one ", "two"], fault="clean_eof") as server, MiniAgents(errors_as_messages=True):
        (message,) = await way.agent(server).inquire("hi")
    assert message.error_type == "LLMTruncatedError"
    assert message.text.startswith("one \n\nLLMTruncatedError: ")


def test_which_messages_are_answers() -> None:
    """Thoughts and what goes to and from tools are none; what somebody says, asks, shows or embeds is one."""
    none = {ThinkingMessage, ToolCallMessage, ToolResultMessage}
    said = {UserMessage, AssistantMessage, SystemMessage, ApprovalRequest, Approval, TypedAnswer}
    others = {ImageMessage, AudioMessage, DocumentMessage, EmbeddingMessage, ErrorMessage, Message}
    assert {one for one in none | said | others if not one.is_answer} == none
