"""The event loops that the programs of this folder run on, and what each program must leave behind: nothing."""

import asyncio
import gc
import sys
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest

T = TypeVar("T")


def debugging_loop() -> asyncio.AbstractEventLoop:
    """Asyncio's own, which in this mode refuses calls from the wrong thread."""
    loop = asyncio.new_event_loop()
    loop.set_debug(True)
    return loop


def uvloop_loop() -> asyncio.AbstractEventLoop:
    uvloop = pytest.importorskip("uvloop", reason="uvloop is not installed")
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def eager_loop() -> asyncio.AbstractEventLoop:
    """Asyncio's own, whose tasks take their first step inside the call that makes them."""
    if sys.version_info < (3, 12):
        pytest.skip("eager tasks came with Python 3.12")
    loop = asyncio.new_event_loop()
    loop.set_task_factory(asyncio.eager_task_factory)
    return loop


@dataclass
class Play:
    """Runs programs, each on a new loop of one kind."""

    new_loop: Callable[[], asyncio.AbstractEventLoop]
    complaints: list[Any] = field(default_factory=list)

    def __call__(self, main: Callable[[], Awaitable[T]]) -> T:
        """Run a program. When it has ended there are no tasks, no cancellation and no error that nobody could catch."""
        with asyncio.Runner(loop_factory=self.new_loop) as runner:
            runner.get_loop().set_exception_handler(lambda _, told: self.complaints.append(told))
            result = runner.run(self._watched(main))
        gc.collect()  # what is told when it is collected is told now
        assert self.complaints == []
        return result

    def elsewhere(self, main: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on another loop of this kind. For other threads."""
        with asyncio.Runner(loop_factory=self.new_loop) as runner:
            return runner.run(main)

    async def _watched(self, main: Callable[[], Awaitable[T]]) -> T:
        result = await main()
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        assert asyncio.all_tasks() == {task}
        return result


@pytest.fixture(params=[debugging_loop, uvloop_loop, eager_loop], ids=["debug", "uvloop", "eager"])
def play(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Plays programs on one kind of loop after the other."""
    made = Play(request.param)
    made.new_loop().close()  # skips the test if there is none of this kind
    monkeypatch.setattr(sys, "unraisablehook", made.complaints.append)
    return made
