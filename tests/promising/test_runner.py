"""Running a program: what Ctrl+C does, whoever holds the loop and whoever else listens to signals."""

import asyncio
import contextlib
import os
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator
from types import FrameType
from typing import Any

import pytest

from miniagents.promising import Promise, PromisingContext, runner
from miniagents.promising.runner import _Watcher, run


@pytest.fixture(autouse=True)
def _own_handler_of_python() -> Iterator[None]:
    """A job in the background of a shell begins with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press_ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


async def for_ever(_: Any = None) -> None:
    await asyncio.Event().wait()


async def interrupted_while_it_waits() -> None:
    press_ctrl_c()
    await for_ever()


async def interrupted_while_it_holds_the_loop() -> None:
    press_ctrl_c()
    threading.Event().wait()


async def interrupted_while_a_callback_of_the_loop_blocks() -> None:
    lock = threading.Lock()
    lock.acquire()
    asyncio.get_running_loop().call_soon(lock.acquire)  # it will have no frame but those of asyncio
    press_ctrl_c()
    await for_ever()


anywhere = pytest.mark.parametrize(
    "main",
    [
        interrupted_while_it_waits,
        interrupted_while_it_holds_the_loop,
        interrupted_while_a_callback_of_the_loop_blocks,
    ],
)
Main = Callable[[], Coroutine[Any, Any, None]]


@anywhere
def test_ctrl_c_ends_a_program_wherever_it_is(main: Main) -> None:
    """One Ctrl+C ends a program as `KeyboardInterrupt`, in a loop that waits and in one that is held by a blocking call."""
    with pytest.raises(KeyboardInterrupt):
        run(main)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_ctrl_c_is_not_raised_inside_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl+C is never raised where it would leave half of what the engine does: it is told again, and the rest is done."""
    monkeypatch.setattr(runner, "_ENGINE", (__file__,))
    monkeypatch.setattr(runner, "_PATIENCE", 10)  # the end comes first
    done: list[str] = []

    def press_twice() -> None:
        press_ctrl_c()
        press_ctrl_c()
        done.append("what the engine did")

    async def main() -> None:
        asyncio.get_running_loop().call_soon(press_twice)
        try:
            await for_ever()
        finally:
            await asyncio.sleep(0)
            done.append("cleaned up")

    with pytest.raises(KeyboardInterrupt):
        run(main)
    assert done == ["what the engine did", "cleaned up"]


def test_a_ctrl_c_that_was_put_off_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who presses twice gets out of a program that does not end, also if the second time the engine was at work."""
    monkeypatch.setattr(runner, "_ENGINE", (__file__,))

    async def main() -> None:
        asyncio.get_running_loop().call_soon(lambda: (press_ctrl_c(), press_ctrl_c()))
        with contextlib.suppress(asyncio.CancelledError):
            await for_ever()
        await for_ever()

    with pytest.raises(KeyboardInterrupt):
        run(main)


@pytest.mark.parametrize(("inner", "is_engine"), [(weakref.__file__, True), (signal.__file__, False)])
def test_the_weak_sets_of_the_engine_are_part_of_it(
    monkeypatch: pytest.MonkeyPatch, inner: str, is_engine: bool
) -> None:
    """Neither is Ctrl+C raised in the weak sets that asyncio and the engine use; in other modules that they call it is."""
    monkeypatch.setattr(runner, "_ENGINE", (__file__,))
    found: dict[str, Any] = {"frame": lambda: sys._getframe(1)}
    exec(compile("frame = frame()", inner, "exec"), found)
    assert runner._is_in_engine(found["frame"]) is is_engine


def test_a_loop_that_goes_on_is_not_interrupted_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that is slow because it has many callbacks to run is not held by one of them: all come to their end."""
    looks = threading.Semaphore(0)

    def another_one() -> Any:
        looks.release()
        return runner._Place(sys._getframe(), None, 0)

    monkeypatch.setattr(runner, "_PATIENCE", 0.001)
    monkeypatch.setattr(runner, "_place", another_one)
    ended: list[str] = []

    async def main() -> None:
        press_ctrl_c()
        for _ in range(5):
            looks.acquire()
        ended.append("the callbacks")
        await for_ever()

    with pytest.raises(KeyboardInterrupt):
        run(main)
    assert ended == ["the callbacks"]


def test_who_catches_ctrl_c_need_not_wait_all_the_same() -> None:
    """A block that ends because Ctrl+C was caught inside cancels what runs in its context, and does not wait for it."""
    ended: list[str] = []

    async def main() -> str:
        async with PromisingContext():
            promise = Promise(for_ever)
            press_ctrl_c()
            try:
                await promise
            except asyncio.CancelledError:
                ended.append("caught")
        return "went on"

    assert run(main) == "went on"
    assert ended == ["caught"]


def test_a_handler_of_the_program_stays() -> None:
    """A handler for SIGINT that the program installs decides alone, and is still there when the program has ended."""
    heard: list[int] = []

    def own(number: int, frame: FrameType | None) -> None:
        heard.append(number)

    async def main() -> str:
        signal.signal(signal.SIGINT, own)
        press_ctrl_c()
        await asyncio.sleep(0)
        return "went on"

    assert run(main) == "went on"
    assert heard == [signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is own


def test_the_loop_hears_its_own_signals() -> None:
    """A program whose loop listens to another signal hears that one, to the very end, and Ctrl+C still ends it."""
    background: list[asyncio.Task[None]] = []
    heard: list[str] = []

    told = asyncio.Event()

    async def listen(moment: str) -> None:
        told.clear()
        signal.raise_signal(signal.SIGTERM)
        await told.wait()
        heard.append(moment)

    async def listens_when_cancelled() -> None:
        try:
            await for_ever()
        finally:
            await listen("when the program has ended")

    async def main() -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
        background.append(asyncio.create_task(listens_when_cancelled()))
        await listen("in the program")
        await interrupted_while_it_holds_the_loop()

    with pytest.raises(KeyboardInterrupt):
        run(main)
    assert heard == ["in the program", "when the program has ended"]


@anywhere
def test_a_wakeup_descriptor_of_somebody_else_is_left_alone(main: Main) -> None:
    """Where somebody is told of signals through a descriptor of their own they still are, and Ctrl+C still ends a program."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    before = signal.set_wakeup_fd(write_end)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(main)
        assert os.read(read_end, 1) == bytes([signal.SIGINT])
        assert signal.set_wakeup_fd(before) == write_end
    finally:
        signal.set_wakeup_fd(before)
        os.close(read_end)
        os.close(write_end)


def test_ctrl_c_at_the_very_end_is_no_error_in_a_thread() -> None:
    """A SIGINT that is looked into when the loop is closed already is let go: its program has ended."""
    loop = asyncio.new_event_loop()
    loop.close()
    before = set(threading.enumerate())
    with _Watcher(loop) as watcher:
        (looking,) = set(threading.enumerate()) - before
        watcher.tell()
    looking.join()  # what it raised would fail this test


@pytest.mark.parametrize(("number", "looks"), [(signal.SIGINT, 1), (signal.SIGTERM, 0)])
def test_only_ctrl_c_interrupts(number: signal.Signals, looks: int) -> None:
    """Whether the loop is held is asked when SIGINT has come, and not for other signals that a program handles."""
    looked: list[signal.Signals] = []

    class Watcher(_Watcher):
        def _interrupt_if_held(self) -> None:
            looked.append(number)

    before = signal.signal(number, lambda *_: None)
    threads = set(threading.enumerate())
    try:
        with Watcher(asyncio.new_event_loop()) as watcher:
            (looking,) = set(threading.enumerate()) - threads
            signal.raise_signal(number)
        looking.join()
        watcher._loop.close()
    finally:
        signal.signal(number, before)
    assert len(looked) == looks
