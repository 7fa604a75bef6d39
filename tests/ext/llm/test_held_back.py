"""Answers that are held back by their readers, and the places of the limits that they hold up."""

import asyncio
from collections.abc import Iterator

import pytest

from miniagents import MiniAgents
from miniagents.ext.llm.limits import Limits
from miniagents.ext.llm.provider import ThinkingPiece, ToolCallPiece
from miniagents.testing import explore, run_virtual
from support.scripted_model import ScriptedModel, TellingModel

WORDS = [f"{number} " for number in range(60)]
THEIRS = {"type": "function", "function": {"name": "theirs"}}


@pytest.mark.parametrize("readers", [1, 2, 3])
def test_readers_that_ask_for_each_piece_do_not_wait_for_themselves(readers: int) -> None:
    """Where all places are held by answers whose readers wait for a place, one answer goes on, and all are read."""
    limits = Limits(concurrency=2)

    async def scenario() -> list[int]:
        planner, worker = ScriptedModel(WORDS), ScriptedModel("done")

        async def plan() -> int:
            asked = 0
            async for promise in planner.agent.inquire("plan", limits=limits, max_ahead=5):
                async for token in promise:
                    await worker.agent.inquire(token, limits=limits)
                    asked += 1
            return asked

        async with MiniAgents():
            return list(await asyncio.gather(*(plan() for _ in range(readers))))

    assert explore(scenario, range(5)) == [[60] * readers] * 5


class Words(list[str]):
    """Sixty words, which know how many of them were taken."""

    taken = 0

    def __iter__(self) -> Iterator[str]:
        for word in WORDS:
            self.taken += 1
            yield word


def test_of_those_held_back_only_the_first_goes_on() -> None:
    """An answer stays held back as long as nobody waits for its place, or another one goes on and will free its own."""
    limits = Limits(concurrency=2)

    async def scenario() -> list[list[int]]:
        answers = [Words(WORDS), Words(WORDS)]
        model = ScriptedModel(*answers, "third")
        seen = []
        async with MiniAgents():
            held_back = []
            for _ in answers:
                held_back.append(model.agent.inquire("?", limits=limits, max_ahead=5))
                await asyncio.sleep(1)
            seen.append([answer.taken for answer in answers])
            (third,) = await model.agent.inquire("?", limits=limits)
            seen.append([answer.taken for answer in answers])
            assert [str((await replies)[0]) for replies in held_back] == ["".join(WORDS)] * 2
            assert str(third) == "third"
        return seen

    assert run_virtual(scenario) == [[5, 5], [60, 5]]


@pytest.mark.parametrize("how", [{"max_ahead": 1}, {}], ids=["by the call", "by the context"])
def test_what_many_do_not_read_holds_back_nothing(how: dict[str, int]) -> None:
    """Whoever passes over thoughts and calls of tools gets what follows them; what the model says is held back."""

    async def scenario() -> list[str]:
        thoughts = [ThinkingPiece("hm ") for _ in range(9)]
        call = [ToolCallPiece(0, "id", "theirs"), *(ToolCallPiece(0, arguments=piece) for piece in '{"a": 1}')]
        model = TellingModel([*thoughts, *call, {"finish_reason": "tool_calls"}])
        async with MiniAgents(max_ahead_by_default=None if how else 1):
            replies = model.agent.inquire("?", tools=[THEIRS], **how)
            return [promise.message_class.__name__ async for promise in replies]

    assert run_virtual(scenario) == ["ThinkingMessage", "ToolCallMessage"]
