"""What measures the costs; the costs themselves depend on the machine, and are in no test."""

import sys
import time
from pathlib import Path

import pytest

from reliability import costs

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells the peak of memory")


def burn(seconds: float) -> None:
    """Hold the thread for so much CPU time."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


async def test_the_heartbeat_sees_who_holds_the_loop() -> None:
    """A stretch of work without a turn of the loop is measured, in CPU time."""
    async with costs.heartbeat() as idle:
        pass
    async with costs.heartbeat() as stall:
        burn(0.05)
    assert idle.longest < 0.05 <= stall.longest
    assert 0.05 <= stall.without_collector <= stall.longest


def test_a_block_is_charged_with_its_time_and_memory() -> None:
    """The CPU time and the growth of memory of a block are measured."""
    with costs.cost() as cost:
        burn(0.02)
        filled = b"x" * 50_000_000
    del filled
    assert cost.cpu >= 0.02
    assert cost.memory >= 40_000_000


@pytest.mark.parametrize("work", [*costs.HOLDERS])
def test_all_messages_come(work: str) -> None:
    """Each work over a long reply gives all of its messages, also a short one."""
    assert costs.longest_stretch(work, messages=150)["longest"] > 0


def test_a_wrong_answer_is_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A work that loses a message fails."""

    async def lose(messages: int) -> int:
        return messages - 1

    monkeypatch.setitem(costs.HOLDERS, "loses", lose)
    with pytest.raises(AssertionError, match="9 of 10 messages"):
        costs.longest_stretch("loses", messages=10)


@pytest.mark.parametrize("yielding", [False, True])
def test_a_token_has_a_price(yielding: bool) -> None:
    """The cost of a token is that of the whole stream, divided."""
    found = costs.token(yielding, tokens=2000)
    assert 0 < found["cpu"] < 1


def test_agents_are_held_together() -> None:
    """All agents are there at once, and all finish."""
    assert costs.agents_at_once(agents=250, watched=True)["longest"] > 0


def test_a_figure_is_measured_in_a_fresh_process() -> None:
    """What was measured in processes of their own comes back, as the median of several runs."""
    loaded = len(sys.modules)
    assert costs.measured("agent_call", repeat=3, calls=20)["in turn"] > 0
    assert len(sys.modules) == loaded
