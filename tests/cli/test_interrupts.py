"""What a command does about Ctrl+C, press by press."""

import asyncio
import logging
import signal
import threading
from collections.abc import Iterator

import pytest

from miniagents.cli import interrupts
from miniagents.cli.interrupts import run_agents


@pytest.fixture(autouse=True)
def _nothing_stays_changed() -> Iterator[None]:
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)
    logging.disable(logging.NOTSET)


@pytest.fixture
def deadlines(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The deadlines that were set; they never pass."""
    set_deadlines: list[float] = []

    class Timer(threading.Timer):
        def start(self) -> None:
            set_deadlines.append(self.interval)

    monkeypatch.setattr(interrupts.threading, "Timer", Timer)
    return set_deadlines


def test_the_second_press_does_not_disturb_the_end(deadlines: list[float]) -> None:
    """While the program tidies up after the first press, others change nothing, and it tidies up to the end."""
    steps: list[str] = []

    async def main() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
            await asyncio.get_running_loop().create_future()
        finally:
            for step in ("one", "two"):
                signal.raise_signal(signal.SIGINT)
                await asyncio.sleep(0)
                steps.append(step)

    with pytest.raises(KeyboardInterrupt):
        run_agents(main)
    assert steps == ["one", "two"]
    assert len(deadlines) == 1


def test_the_deadline_is_within_a_second(deadlines: list[float]) -> None:
    """A program that does not tidy up in time is ended before a second has passed."""

    async def main() -> None:
        signal.raise_signal(signal.SIGINT)
        await asyncio.get_running_loop().create_future()

    with pytest.raises(KeyboardInterrupt):
        run_agents(main)
    assert deadlines[0] < 1


def test_other_cancellations_are_no_interrupts() -> None:
    """A program that cancels itself is not taken for one that was interrupted."""

    async def main() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        run_agents(main)


def test_an_ignored_signal_stays_ignored() -> None:
    """What was started in the background, with SIGINT ignored, goes on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ended: list[bool] = []

    async def main() -> None:
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(0)
        ended.append(True)

    run_agents(main)
    assert ended == [True]
