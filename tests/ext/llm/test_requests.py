"""What an LLM agent sends: roles, the system prompt, parameters; and what it refuses to send."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniagents import Message, MiniAgents, miniagent
from miniagents.ext.llm.anthropic import DEFAULT_MAX_TOKENS, anthropic_agent
from miniagents.ext.llm.errors import LLMParameterError, LLMRequestError
from miniagents.ext.llm.llm_common import AssistantMessage, Prompt, SystemMessage, Turn, UserMessage
from miniagents.ext.llm.messages import ThinkingMessage, ToolCallMessage, ToolResultMessage
from miniagents.ext.llm.openai import openai_agent
from miniagents.ext.llm.openai_compatible import openai_compatible_agent
from miniagents.testing.llm_server import LLMServer
from support.llm_ways import WAYS_OF_SDKS


@pytest.fixture
async def server():
    async with LLMServer() as server:
        yield server


@pytest.fixture
def gpt(server: LLMServer):
    return openai_agent.fork(base_url=f"{server.url}/v1", api_key="key", max_retries=0)


@pytest.fixture
def claude(server: LLMServer):
    return anthropic_agent.fork(base_url=server.url, api_key="key", max_retries=0)


@pytest.mark.parametrize(
    ("message", "role"),
    [
        (Message("x"), "user"),
        (Message("x", role="user"), "user"),
        (UserMessage("x"), "user"),
        (AssistantMessage("x"), "assistant"),
        (Message("x", role="assistant"), "assistant"),
        (Message("x", role="ASSISTANT_AGENT"), "user"),
        (Message("x", role="tool"), "user"),
        (Message("x", role=7), "user"),
        (Message("x", agent_alias="assistant"), "user"),
    ],
    ids=repr,
)
def test_who_has_said_what(message: Message, role: str) -> None:
    """What no assistant has said is said by the user, whatever role or alias it bears."""
    assert Prompt.of([message]).turns == (Turn(role, (message,)),)


@pytest.mark.parametrize("rule", [SystemMessage("b"), Message("b", role="system"), Message("b", role="developer")])
def test_system_messages_are_the_system_prompt(rule: Message) -> None:
    """System messages, wherever they stand, come after the argument `system`, with empty lines between."""
    asked, answered = UserMessage("x"), AssistantMessage("y")
    prompt = Prompt.of([asked, rule, answered, SystemMessage("c")], "a")
    assert prompt == Prompt("a\n\nb\n\nc", (Turn("user", (asked,)), Turn("assistant", (answered,))))


async def test_openai_gets_the_system_prompt_first(gpt, server: LLMServer) -> None:
    """The system prompt is the first message, and the others follow in their order and roles."""
    async with MiniAgents():
        await gpt.inquire(["q1", AssistantMessage("a1"), SystemMessage("late rule"), "q2", "q3"], system="rule")
    assert server.requests[0].messages == [
        {"role": "system", "content": "rule\n\nlate rule"},
        {"role": "user", "content": "q1"},
        {"role": "assistant", "content": "a1"},
        {"role": "user", "content": [{"type": "text", "text": "q2"}, {"type": "text", "text": "q3"}]},
    ]


async def test_anthropic_gets_the_system_prompt_apart(claude, server: LLMServer) -> None:
    """The system prompt is a parameter of its own."""
    async with MiniAgents():
        await claude.inquire(["q1", SystemMessage("late rule"), AssistantMessage("a1"), "q2"], system=Message("rule"))
    assert server.requests[0].body["system"] == "rule\n\nlate rule"
    assert server.requests[0].messages == [
        {"role": "user", "content": "q1"},
        {"role": "assistant", "content": "a1"},
        {"role": "user", "content": "q2"},
    ]


async def test_without_a_system_prompt_none_is_sent(gpt, claude, server: LLMServer) -> None:
    """No empty system prompt reaches a provider."""
    async with MiniAgents():
        await gpt.inquire("hi", system="")
        await claude.inquire("hi", system="")
    assert server.requests[0].messages == [{"role": "user", "content": "hi"}]
    assert "system" not in server.requests[1].body


async def test_anthropic_is_sent_no_invisible_message(claude, server: LLMServer) -> None:
    """Messages that the API would refuse, because they have no visible character, are left out."""
    async with MiniAgents():
        await claude.inquire(["", "hi", " \n", AssistantMessage("")])
    assert server.requests[0].messages == [{"role": "user", "content": "hi"}]


async def test_a_message_without_a_text_is_sent_as_what_it_says(gpt, server: LLMServer) -> None:
    """A template is filled, and data is sent as JSON."""
    async with MiniAgents():
        await gpt.inquire([Message(text_template="Dear {name}", name="Ada"), {"figure": 3}])
    (sent,) = server.requests[0].messages
    assert [part["text"] for part in sent["content"]] == ["Dear Ada", '{"figure": 3}']


async def test_half_a_character_does_not_keep_a_prompt_from_being_sent(way, server: LLMServer) -> None:
    """A lone surrogate, which no request can carry, is replaced."""
    async with MiniAgents():
        await way.agent(server).inquire("a\ud83db", system="\udc00")
    assert server.requests[0].last_user_text == "a\ufffdb"


async def test_parameters_reach_openai_as_they_are(gpt, server: LLMServer) -> None:
    """Every parameter of the API can be given by its own name, also one that the SDK does not know."""
    parameters = {
        "temperature": 0.5,
        "max_completion_tokens": 7,
        "stop": ["x"],
        "response_format": {"type": "json_object"},
        "metadata": {"k": "v"},
    }
    async with MiniAgents():
        await gpt.fork(temperature=1).inquire("hi", **parameters, extra_body={"brand_new": [1]})
    assert parameters.items() <= server.requests[0].body.items()
    assert server.requests[0].body["brand_new"] == [1]


@pytest.mark.parametrize("stream", [True, False])
async def test_parameters_that_the_sdk_has_dropped_still_reach_anthropic(
    claude, server: LLMServer, stream: bool
) -> None:
    """`temperature`, `top_p` and `top_k` arrive beside the others; what the caller put into the body wins."""
    async with MiniAgents():
        await claude.inquire(
            "hi", temperature=0, top_p=0.9, top_k=5, stop_sequences=["x"], extra_body={"top_k": 6}, stream=stream
        )
    body = server.requests[0].body
    assert (body["temperature"], body["top_p"], body["top_k"], body["stop_sequences"]) == (0, 0.9, 6, ["x"])


async def test_anthropic_needs_no_max_tokens(claude, server: LLMServer) -> None:
    """There is a default, which a call overrides."""
    async with MiniAgents():
        await claude.inquire("hi")
        await claude.inquire("hi", max_tokens=3)
    assert [request.body["max_tokens"] for request in server.requests] == [DEFAULT_MAX_TOKENS, 3]


async def test_the_default_length_needs_no_stream(claude) -> None:
    """The SDK refuses long answers that are not streamed; the default is not one of them."""
    async with MiniAgents():
        assert len(await claude.inquire("hi", stream=False)) == 1


async def test_openai_is_asked_for_the_usage_of_a_stream(gpt, server: LLMServer) -> None:
    """Unless the caller says something else, and never if the answer is not streamed."""
    async with MiniAgents():
        await gpt.inquire("hi")
        await gpt.inquire("hi", stream_options={"include_usage": False})
        await gpt.inquire("hi", stream=False)
    sent = [request.body.get("stream_options") for request in server.requests]
    assert sent == [{"include_usage": True}, {"include_usage": False}, None]


@pytest.mark.parametrize("way", WAYS_OF_SDKS, indirect=True)
@pytest.mark.parametrize("stream", [True, False])
async def test_an_unknown_argument_is_refused_by_name(way, server: LLMServer, stream: bool) -> None:
    """A misspelt parameter is an error that names it and says where unknown ones go; nothing is sent."""
    async with MiniAgents():
        replies = way.agent(server).inquire("hi", temprature=1, stream=stream)
        with pytest.raises(LLMParameterError, match=r"'temprature'.*extra_body") as caught:
            await replies
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value.__cause__, TypeError)
    assert server.requests == []


@pytest.mark.parametrize("way", ["compatible"], indirect=True)
async def test_without_an_sdk_the_server_judges_of_arguments(way, server: LLMServer) -> None:
    """What a compatible server may know or not is sent to it as it is."""
    async with MiniAgents():
        await way.agent(server).inquire("hi", temprature=1)
    assert server.requests[0].body["temprature"] == 1


async def test_what_the_sdk_refuses_is_an_error_of_the_request(claude, server: LLMServer) -> None:
    """The SDK's own refusal, here of a long answer that is not streamed, is passed on."""
    async with MiniAgents():
        replies = claude.inquire("hi", max_tokens=100_000, stream=False)
        with pytest.raises(LLMRequestError, match="Streaming is required"):
            await replies
    assert server.requests == []


@pytest.mark.parametrize("messages", [None, [], ["", " "]], ids=repr)
async def test_nothing_to_say_is_an_error(claude, server: LLMServer, messages) -> None:
    """Without a message for the model nothing is sent."""
    async with MiniAgents():
        replies = claude.inquire(messages, system="rule")
        with pytest.raises(LLMRequestError, match="at least one message"):
            await replies
    assert server.requests == []


async def test_several_choices_are_refused(gpt, server: LLMServer) -> None:
    """A reply is one message, so more than one choice would be paid for and lost."""
    async with MiniAgents():
        replies = gpt.inquire("hi", n=2)
        with pytest.raises(LLMRequestError, match="`n` cannot be 2"):
            await replies
    assert server.requests == []


async def test_a_system_prompt_must_be_a_text(way, server: LLMServer) -> None:
    """A system prompt of another type is a `TypeError`."""
    async with MiniAgents():
        replies = way.agent(server).inquire("hi", system=["rule"])
        with pytest.raises(TypeError, match="`system` is a text or a message, not list"):
            await replies


@pytest.mark.parametrize("missing", ["base_url", "model"])
def test_a_compatible_server_and_its_model_must_be_named(missing: str) -> None:
    """Without `base_url` or `model` the call itself fails, and says which one is missing."""
    given = {"base_url": "http://127.0.0.1:1/v1", "model": "m"}
    del given[missing]
    with pytest.raises(TypeError, match=f"`{missing}`"):
        openai_compatible_agent.fork(**given).inquire("hi")


async def test_an_error_in_the_input_is_raised_as_it_is(way, server: LLMServer) -> None:
    """The exception of whoever wrote the input reaches the reader of the reply, and nothing is sent."""
    error = ValueError("the question failed")

    @miniagent
    async def questioner(ctx) -> None:
        ctx.reply("How")
        raise error

    async with MiniAgents():
        replies = way.agent(server).inquire(questioner.inquire())
        with pytest.raises(ValueError, match="the question failed") as caught:
            await replies
    assert caught.value is error
    assert server.requests == []


async def test_a_fork_is_called_like_the_agent(gpt, server: LLMServer) -> None:
    """Presets and the call's own arguments come together, and the alias is in the reply."""
    critic = gpt.fork(alias="CRITIC", model="m-1", system="Criticise.", temperature=0)
    async with MiniAgents():
        (message,) = await critic.inquire("hi", temperature=1)
    body = server.requests[0].body
    assert (body["model"], body["temperature"], body["messages"][0]["content"]) == ("m-1", 1, "Criticise.")
    assert message.agent_alias == "CRITIC"


PARTS = st.sampled_from(
    [
        UserMessage("u"),
        AssistantMessage("m"),
        ThinkingMessage("t"),
        ToolCallMessage("{}", call_id="a", tool="f"),
        ToolResultMessage("r", call_id="a"),
    ]
)


@given(st.lists(PARTS, min_size=4, max_size=20))
def test_the_two_sides_take_turns(messages: list[Message]) -> None:
    """Whatever comes late, twice or never, no two turns of one side follow each other, and none is empty."""
    turns = Prompt.of(messages).turns
    assert all(turn.parts for turn in turns)
    assert all(one.role != other.role for one, other in itertools.pairwise(turns))


def test_a_late_result_stands_behind_its_call() -> None:
    """What the model has said before and after it came is one turn."""
    call, result = ToolCallMessage("{}", call_id="1", tool="f"), ToolResultMessage("r", call_id="1")
    wait, ok, more = UserMessage("Wait"), AssistantMessage("Ok"), AssistantMessage("More")
    assert Prompt.of([call, wait, ok, result, more]).turns == (
        Turn("assistant", (call,)),
        Turn("user", (result, wait)),
        Turn("assistant", (ok, more)),
    )
