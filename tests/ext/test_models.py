"""What the offline models have in common: they can stand where an LLM agent stands."""

import asyncio
import inspect
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from anthropic.resources.messages import Messages
from openai.resources.chat.completions import Completions
from openai.resources.responses import Responses

from miniagents import InteractionContext, Message, MessagePromise, MiniAgent, MiniAgents, miniagent, testing
from miniagents.ext.llm.errors import LLMParameterError
from miniagents.ext.llm.llm_common import AssistantMessage, llm_agent
from miniagents.ext.models import echo_agent, eliza_agent, scripted_agent
from miniagents.testing import run_virtual

MODELS = {
    "echo": echo_agent,
    "eliza": eliza_agent,
    "scripted": scripted_agent.fork(script="Because of the long way through the air."),
}
every_model = pytest.mark.parametrize(("name", "model"), MODELS.items(), ids=MODELS.keys())

QUESTION = "Why are sunsets red?"
# What a user of an LLM agent may have written in the place of that agent's name.
ARGUMENTS: dict[str, Any] = {
    "system": "Be brief.",
    "temperature": 0.3,
    "max_tokens": 100,
    "api_key": "a key",
    "async_client": object(),
    "no_such_parameter": True,
}


async def tokens_of(promise: MessagePromise) -> list[str]:
    return [token async for token in promise]


@every_model
async def test_a_reply_is_like_that_of_an_llm_agent(name: str, model: MiniAgent[...]) -> None:
    """A reply is an `AssistantMessage` with the model, the alias, the usage and the reason for its end."""
    async with MiniAgents():
        (message,) = await model.fork(alias="ASSISTANT").inquire(QUESTION)
    assert isinstance(message, AssistantMessage)
    assert (message.role, message["model"], message["agent_alias"]) == ("assistant", name, "ASSISTANT")
    assert message["finish_reason"] == "stop"
    assert message["usage"]["input_tokens"] == len(QUESTION.split())
    assert message["usage"]["output_tokens"] == len(str(message).split())


@every_model
async def test_the_metadata_is_there_before_the_text(name: str, model: MiniAgent[...]) -> None:
    """Role, model and alias are known while the input is not even complete."""
    async with MiniAgents():
        call = model.initiate_inquiry()
        replies = call.reply_sequence(finish_call=False)
        promise = await anext(aiter(replies))
        assert dict(**promise.preliminary_metadata) == {"role": "assistant", "model": name, "agent_alias": model.alias}
        call.send_message(QUESTION)
        call.finish()
        await replies


@every_model
async def test_the_arguments_of_llm_agents_are_accepted(name: str, model: MiniAgent[...]) -> None:
    """Any argument that an LLM agent takes is accepted, by `fork` and by `inquire`, and a model can be named."""
    async with MiniAgents():
        (message,) = await model.fork(**ARGUMENTS).inquire(QUESTION, model="as-if", top_p=0.5)
    assert message["model"] == "as-if"


@every_model
@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [("tokens_per_sec", "tokens_per_second"), ("time_to_first_tokn", "time_to_first_token"), ("apikey", "api_key")],
)
async def test_a_misspelt_argument_is_refused(name: str, model: MiniAgent[...], misspelt: str, meant: str) -> None:
    """What is nearly an argument of the model, or of LLM agents, is an error that names the one that was meant."""
    async with MiniAgents():
        with pytest.raises(LLMParameterError, match=f"no argument `{misspelt}`: did you mean `{meant}`"):
            await model.inquire(QUESTION, **{misspelt: 5})


@every_model
@pytest.mark.parametrize(
    "function",
    [Completions.create, Responses.create, Messages.create, llm_agent.function],
    ids=["chat completions", "responses", "messages", "llm_agent"],
)
async def test_no_parameter_of_an_api_is_taken_for_a_misspelt_one(
    name: str, model: MiniAgent[...], function: Callable[..., Any]
) -> None:
    """Whatever an LLM agent may be given, by the signatures of the SDKs, is accepted by a model that stands for it."""
    of_each_call = {"self", "messages", "timeout"}
    of_the_model = {"model", "stream", "system", "seed"}
    given: dict[str, Any] = {
        parameter.name: None
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and parameter.name not in of_each_call | of_the_model
    }
    assert len(given) > 10
    async with MiniAgents():
        assert len(await model.inquire(QUESTION, **given)) == 1


@every_model
async def test_without_streaming_the_reply_is_one_token(name: str, model: MiniAgent[...]) -> None:
    """`stream=False` gives the same text in one piece, and the same usage."""
    async with MiniAgents():
        streamed = await anext(aiter(model.inquire(QUESTION, stream=True)))
        whole = await anext(aiter(model.inquire(QUESTION, stream=False)))
        assert len(await tokens_of(streamed)) > 1
        assert await tokens_of(whole) == ["".join(await tokens_of(streamed))]
        assert (await whole)["usage"] == (await streamed)["usage"]


@every_model
async def test_the_context_decides_whether_to_stream(name: str, model: MiniAgent[...]) -> None:
    """Where a call does not say, `stream_llm_tokens_by_default` of the context does."""
    async with MiniAgents(stream_llm_tokens_by_default=False):
        promise = await anext(aiter(model.inquire(QUESTION)))
        assert len(await tokens_of(promise)) == 1


@every_model
async def test_an_error_in_the_input_is_the_error_of_the_reply(name: str, model: MiniAgent[...]) -> None:
    """A model that is sent an error says nothing and passes on the very same error."""
    problem = ValueError("no question")
    async with MiniAgents():
        assert await model.inquire(["a question", problem]).settled() == (problem,)


@every_model
def test_the_pace_is_kept(name: str, model: MiniAgent[...]) -> None:
    """The first token comes after `time_to_first_token`, the others follow with `tokens_per_second`."""
    times: list[float] = []

    async def scenario() -> None:
        async with MiniAgents():
            promise = await anext(aiter(model.inquire(QUESTION, time_to_first_token=2, tokens_per_second=4)))
            async for _ in promise:
                times.append(asyncio.get_running_loop().time())

    run_virtual(scenario)
    assert len(times) > 2
    assert times == pytest.approx([2 + 0.25 * number for number in range(len(times))])


@every_model
def test_the_jitter_is_bounded_and_repeats_with_its_seed(name: str, model: MiniAgent[...]) -> None:
    """Each pause is at most by the part `jitter` longer or shorter, and the same seed gives the same pauses."""

    async def pauses(seed: int) -> list[float]:
        clock = asyncio.get_running_loop().time
        times: list[float] = []
        async with MiniAgents():
            replies = model.inquire(QUESTION, tokens_per_second=10, jitter=0.5, seed=seed)
            async for _ in await anext(aiter(replies)):
                times.append(clock())
        return [later - earlier for earlier, later in pairwise(times)]

    first, again, other = (run_virtual(lambda seed=seed: pauses(seed)) for seed in (1, 1, 2))
    assert first == again
    assert first[: len(other)] != other[: len(first)]
    assert all(0.05 <= pause <= 0.15 for pause in first)


@every_model
@pytest.mark.parametrize(
    "wrong",
    [
        {"time_to_first_token": -1},
        {"time_to_first_token": float("nan")},
        {"tokens_per_second": 0},
        {"tokens_per_second": float("nan")},
        {"jitter": 1.5},
    ],
    ids=str,
)
async def test_an_impossible_pace_is_refused(name: str, model: MiniAgent[...], wrong: dict[str, float]) -> None:
    """A pace that cannot be is a `ValueError` that names the argument."""
    async with MiniAgents():
        with pytest.raises(ValueError, match=f"`{next(iter(wrong))}`"):
            await model.inquire(QUESTION, **wrong)


async def test_echo_says_what_it_was_sent_in_the_same_tokens() -> None:
    """The echo of a stream is made of the tokens of that stream."""

    @miniagent
    async def speaker(ctx: InteractionContext) -> None:
        async def tokens(_: dict[str, Any]) -> Any:
            for token in ("Wi", "nt", "er"):
                yield token

        ctx.reply(Message.promise(tokens))

    async with MiniAgents():
        promise = await anext(aiter(echo_agent.inquire(speaker.inquire())))
        assert await tokens_of(promise) == ["Wi", "nt", "er"]


@pytest.mark.parametrize(
    ("messages", "echo"),
    [
        ([], ""),
        (["one", "two"], "one\n\ntwo"),
        ([Message("old"), AssistantMessage(text="old"), Message("new"), Message("newer")], "new\n\nnewer"),
        ([Message("old"), AssistantMessage(text="the last word")], "the last word"),
    ],
    ids=["nothing", "several", "a dialog", "an assistant"],
)
async def test_echo_says_what_is_new(messages: list[Message], echo: str) -> None:
    """In a dialog the echo is of what came after the assistant's last words, or else of these."""
    async with MiniAgents():
        (message,) = await echo_agent.inquire(messages)
    assert str(message) == echo


def test_models_speak_at_the_same_time() -> None:
    """Ten slow replies take as long as one."""

    async def scenario() -> float:
        async with MiniAgents():
            replies = [echo_agent.inquire("slow", time_to_first_token=5) for _ in range(10)]
            for reply in replies:
                await reply
        return asyncio.get_running_loop().time()

    assert run_virtual(scenario) == 5


def test_models_are_there_for_tests() -> None:
    """`miniagents.testing` has the same models."""
    assert (testing.echo_agent, testing.eliza_agent, testing.scripted_agent) == (
        echo_agent,
        eliza_agent,
        scripted_agent,
    )
