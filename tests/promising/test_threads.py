"""What threads write is not missed, at whatever moment it comes."""

import asyncio
import contextlib
import gc
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from miniagents.promising import Promise, PromisingContext, StreamAppender, StreamedPromise, WrongLoopError
from miniagents.promising.backpressure import HeldBack
from miniagents.promising.log import Log
from miniagents.promising.sequence import SequenceAppender, SequencePromise
from miniagents.testing import run_virtual


def in_a_thread(call: Callable[[], object]) -> None:
    """Make a call in a thread of its own, and wait for that."""
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


async def read_without_a_context(stream: StreamedPromise[Any, Any]) -> Any:
    return await stream


async def read_in_a_context(stream: StreamedPromise[Any, Any]) -> Any:
    async with PromisingContext():
        return await stream


async def read_out_of_order(stream: StreamedPromise[Any, Any]) -> Any:
    appender: SequenceAppender[Any] = SequenceAppender()
    with appender:
        appender.append_out_of_order(stream)
    (arrived,) = await SequencePromise[Any, Any](appender)
    return await arrived


async def look_on(stream: StreamedPromise[Any, Any]) -> Any:
    heard: list[Any] = []

    async def handler(_: Any, outcome: Any) -> None:
        heard.append(outcome)

    async with PromisingContext(on_promise_resolved=handler):
        Promise(prefill_result=stream)
        stream._bind(PromisingContext.get_current())
    return heard[-1]


@pytest.mark.parametrize("when", ["just before", "just after"])
@pytest.mark.parametrize("read", [read_without_a_context, read_in_a_context, read_out_of_order, look_on])
async def test_a_piece_that_comes_as_a_reader_begins_to_wait_is_not_missed(
    monkeypatch: pytest.MonkeyPatch, read: Callable[[StreamedPromise[Any, Any]], Any], when: str
) -> None:
    """A reader that has found nothing gets what a thread appends just before, or just after, it is known to wait."""
    appender: StreamAppender[str] = StreamAppender().open()

    def say_it() -> None:
        appender.append("said")
        appender.close()

    original = Log.waiter

    def waiter(log: Log[Any], *what: Any) -> "asyncio.Future[None]":
        if log is not appender.log or log.items:
            return original(log, *what)
        if when == "just before":
            in_a_thread(say_it)
        future = original(log, *what)
        if when == "just after":
            in_a_thread(say_it)
        return future

    stream: StreamedPromise[Any, Any] = StreamedPromise(appender)
    monkeypatch.setattr(Log, "waiter", waiter)
    assert await read(stream) == ("said",)


def test_a_reader_left_behind_in_a_closed_loop_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever appends when the loop of a reader was closed under it is not told of that, and other readers get it."""
    appender: StreamAppender[str] = StreamAppender().open()
    stream: StreamedPromise[Any, Any] = StreamedPromise(appender)
    loop = asyncio.new_event_loop()
    left_behind = loop.create_task(stream.aresolve())
    loop.call_soon(loop.call_soon, loop.stop)
    loop.run_forever()
    loop.close()
    appender.append("said").close()

    async def scenario() -> Any:
        return await stream

    assert run_virtual(scenario) == ("said",)
    assert not left_behind.done()
    del left_behind
    gc.collect()
    assert "was destroyed" in caplog.text  # by its loop, which says so


async def test_a_reader_that_goes_on_in_another_loop_is_refused() -> None:
    """A reader that has waited in one event loop gets an error when it waits in another one, and no other reader does."""
    said = asyncio.Event()
    refused: list[BaseException] = []

    async def streamer(_: object) -> AsyncIterator[str]:
        yield "first"
        await said.wait()
        yield "last"

    async def go_on(reader: AsyncIterator[str]) -> None:
        with pytest.raises(WrongLoopError) as raised:
            await anext(reader)
        refused.append(raised.value)

    async with PromisingContext():
        stream: StreamedPromise[str, Any] = StreamedPromise(streamer)
        reader = aiter(stream)
        assert await anext(reader) == "first"
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(anext(reader), 0)  # it has waited here
        in_a_thread(lambda: asyncio.run(go_on(reader)))
        assert len(refused) == 1
        said.set()
        assert await stream == ("first", "last")


async def test_appenders_that_a_thread_closes_while_their_context_ends() -> None:
    """A context ends as it should when a thread closes, at that moment, the appenders that were left open in it."""

    class ClosedByAThread(StreamAppender[int]):
        def abandon(self, reason: BaseException) -> None:
            in_a_thread(lambda: [appender.close() for appender in appenders])
            super().abandon(reason)

    async with PromisingContext() as context:
        appenders = [ClosedByAThread().open() for _ in range(3)]
        streams = [StreamedPromise[int, Any](appender) for appender in appenders]
    assert not context.active
    assert [await stream for stream in streams] == [(), (), ()]


async def test_a_producer_that_is_about_to_wait_for_its_readers_sees_one_in_a_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A producer goes on if a reader in another thread takes what is there at the moment when it begins to be held back."""

    async def count(_: Any) -> AsyncIterator[int]:
        for number in range(3):
            yield number
        all_made.set()

    async def take(number: int) -> list[int]:
        reader = aiter(stream)
        return [await anext(reader) for _ in range(number)]

    all_made = asyncio.Event()
    original = HeldBack.waiting
    taken: list[list[int]] = []

    def waiting(held_back: HeldBack) -> "AbstractContextManager[asyncio.Future[None]]":
        in_a_thread(lambda: taken.append(asyncio.run(take(len(taken) + 1))))
        return original(held_back)

    monkeypatch.setattr(HeldBack, "waiting", waiting)
    async with PromisingContext():
        stream: StreamedPromise[int, Any] = StreamedPromise(count, max_ahead=1)
        await all_made.wait()
        assert await stream == (0, 1, 2)
    assert taken == [[0], [0, 1], [0, 1, 2]]
