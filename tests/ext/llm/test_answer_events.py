"""What the events of an answer become, whatever wire they have come over."""

import asyncio

import pytest

from miniagents import MiniAgents
from miniagents.ext.llm.errors import LLMTimeoutError
from miniagents.ext.llm.messages import ThinkingMessage, ToolCallMessage
from miniagents.ext.llm.provider import AnswerEvent, ThinkingPiece, ToolCallPiece
from miniagents.testing import run_virtual
from support.scripted_model import TellingModel


async def test_each_thought_has_its_own_signature() -> None:
    """The pieces of a signature are put together, and the next thought begins with none."""
    thoughts = [
        ThinkingPiece("one", starts=True),
        ThinkingPiece(signature="si"),
        ThinkingPiece(signature="gn"),
        ThinkingPiece("two", starts=True),
        ThinkingPiece(signature="other"),
    ]
    async with MiniAgents():
        *said, _ = await TellingModel([*thoughts, "Hi"]).agent.inquire("?")
    assert [(str(thought), thought["signature"]) for thought in said] == [("one", "sign"), ("two", "other")]


async def test_a_signature_can_be_written_anywhere() -> None:
    """Half of a character in it, which no file and no request could have, is replaced."""
    async with MiniAgents():
        thought, _ = await TellingModel([ThinkingPiece("Hm", signature="a\ud800b"), "Hi"]).agent.inquire("?")
    assert isinstance(thought, ThinkingMessage)
    assert thought.signature == "a\ufffdb"


async def test_a_call_without_arguments_has_an_empty_object() -> None:
    """Where a model writes nothing the text is `{}`, so that whoever reads it as JSON can."""
    async with MiniAgents():
        (call,) = await TellingModel([ToolCallPiece(0, "id", "now")]).agent.inquire("?", tools=[{"name": "now"}])
    assert isinstance(call, ToolCallMessage)
    assert str(call) == "{}"


@pytest.mark.parametrize("silence", [None, 100])
def test_what_is_no_token_gives_no_more_time_to_the_first_one(silence: float | None) -> None:
    """Events that only tell something of the answer do not put off the end of the patience."""

    async def scenario() -> float:
        model = TellingModel([3, {"response_id": "r"}, 3, {"response_model": "m"}, 3, {"usage": {}}, 3, "too late"])
        async with MiniAgents():
            with pytest.raises(LLMTimeoutError, match="first_token_timeout"):
                await model.agent.inquire("?", first_token_timeout=10, max_silence=silence, max_retries=0)
            return asyncio.get_running_loop().time()

    assert run_virtual(scenario) == 10


@pytest.mark.parametrize(
    "pieces",
    [
        [ThinkingPiece("{", starts=True), ThinkingPiece("}"), "Hi"],
        [ToolCallPiece(0, "id", "now"), ToolCallPiece(0, arguments="{"), ToolCallPiece(0, arguments="}")],
    ],
    ids=["thoughts", "arguments"],
)
def test_who_thinks_or_writes_a_call_is_not_silent(pieces: list[AnswerEvent]) -> None:
    """Without a word of text an answer may take longer than `max_silence`, if its pieces come closer together."""

    async def scenario() -> tuple[str, float]:
        model = TellingModel([event for piece in pieces for event in (6, piece)])
        async with MiniAgents():
            first, *_ = await model.agent.inquire("?", max_silence=10, max_retries=0, tools=[{"name": "now"}])
            return str(first), asyncio.get_running_loop().time()

    assert run_virtual(scenario) == ("{}", 18)
