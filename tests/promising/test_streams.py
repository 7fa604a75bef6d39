"""Streamed promises and appenders: values that are still growing."""

import asyncio
import contextlib
import contextvars
import gc
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniagents import InteractionContext, MiniAgents, miniagent
from miniagents.promising import (
    AppenderClosedError,
    AppenderNotOpenError,
    DeadlockError,
    Promise,
    PromiseCancelledError,
    PromisingContext,
    StreamAppender,
    StreamedPromise,
)
from miniagents.promising.appender import AppenderState
from miniagents.testing.virtual_time import explore, run_virtual


async def numbers(promise: StreamedPromise[Any, Any]) -> AsyncIterator[int]:
    for number in range(5):
        await asyncio.sleep(1)
        yield number


async def collect(promise: StreamedPromise[Any, Any]) -> list[Any]:
    return [piece async for piece in promise]


def test_every_reader_gets_every_piece_from_the_first_on() -> None:
    """Readers that start before, while and after the pieces are made all get the same pieces, in any order of tasks."""

    async def scenario() -> list[list[int]]:
        async with PromisingContext():
            promise = StreamedPromise[int, Any](numbers)
            early = asyncio.create_task(collect(promise))
            await asyncio.sleep(2.5)
            middle = asyncio.create_task(collect(promise))
            await asyncio.sleep(10)
            late = asyncio.create_task(collect(promise))
            return [await early, await middle, await late, await collect(promise), list(await promise)]

    for results in explore(scenario, seeds=range(50)):
        assert results == [[0, 1, 2, 3, 4]] * 5


def test_a_piece_is_there_when_it_is_made() -> None:
    """A reader gets each piece at the very moment at which the producer makes it."""

    async def scenario() -> list[float]:
        loop = asyncio.get_running_loop()
        async with PromisingContext():
            return [loop.time() async for _ in StreamedPromise[int, Any](numbers)]

    assert run_virtual(scenario) == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_the_streamer_is_called_once_and_runs_in_a_task_of_its_own() -> None:
    """Two readers of a lazy stream share one call of the streamer, and a reader's timeout does not stop it."""
    calls = []

    async def streamer(promise: StreamedPromise[Any, Any]) -> AsyncIterator[int]:
        calls.append(asyncio.current_task())
        for number in range(5):
            await asyncio.sleep(1)
            yield number

    async def scenario() -> list[int]:
        async with PromisingContext():
            promise = StreamedPromise[int, Any](streamer, start_asap=False)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.5):
                    await promise
            assert asyncio.current_task() not in calls
            return list(await promise)

    assert run_virtual(scenario) == [0, 1, 2, 3, 4]
    assert len(calls) == 1


@pytest.mark.parametrize("position", [0, 1, 3])
@pytest.mark.parametrize("how", ["raised", "given as a piece"])
def test_an_error_among_the_pieces_is_raised_at_its_place(position: int, how: str) -> None:
    """Readers get the pieces before an error, then the error, then the end; awaiting raises the error."""
    error = ValueError("here")

    async def streamer(promise: StreamedPromise[Any, Any]) -> AsyncIterator[Any]:
        for number in range(position):
            yield number
        if how == "raised":
            raise error
        yield error
        yield "never read"

    async def scenario() -> None:
        async with PromisingContext():
            promise = StreamedPromise[Any, Any](streamer)
            for _ in range(2):
                reader = aiter(promise)
                assert [await anext(reader) for _ in range(position)] == list(range(position))
                with pytest.raises(ValueError, match="here") as caught:
                    await anext(reader)
                assert caught.value is error
                with pytest.raises(StopAsyncIteration):
                    await anext(reader)
                with pytest.raises(ValueError, match="here"):
                    await promise

    run_virtual(scenario)


def test_a_stream_is_over_at_an_error_that_was_given_as_a_piece() -> None:
    """Behind an error nothing is read any more: the streamer is closed, and nobody waits for it."""
    closed = []

    async def streamer(promise: StreamedPromise[Any, Any]) -> AsyncIterator[Any]:
        try:
            yield ValueError("here")
            await asyncio.sleep(1000)
        finally:
            closed.append(True)

    async def scenario() -> float:
        async with PromisingContext():
            with pytest.raises(ValueError, match="here"):
                await StreamedPromise[Any, Any](streamer)
        return asyncio.get_running_loop().time()

    assert run_virtual(scenario) == 0.0
    assert closed == [True]


def test_a_long_stream_does_not_hold_the_loop() -> None:
    """A streamer that never waits lets other tasks have their turn between portions of its pieces."""

    async def streamer(promise: StreamedPromise[Any, Any]) -> AsyncIterator[int]:
        for number in range(10_000):
            yield number

    async def scenario() -> int:
        async with PromisingContext():
            promise = StreamedPromise[int, Any](streamer)
            turns = 0
            while not promise.resolved:
                await asyncio.sleep(0)
                turns += 1
            return turns

    assert run_virtual(scenario) >= 5


async def test_a_resolver_is_told_of_and_asked_whoever_looks_on() -> None:
    """A stream with prefilled pieces and a resolver has the resolver's whole, for readers and handlers alike."""
    heard: list[Any] = []

    async def handler(promise: Any, outcome: Any) -> None:
        heard.append(outcome)

    async def resolver(promise: StreamedPromise[Any, Any]) -> str:
        return "whole"

    async with PromisingContext(on_promise_resolved=handler):
        assert await StreamedPromise(None, resolver, [1, 2]) == "whole"
    assert heard == ["whole"]


def test_breaking_off_leaves_the_stream_to_the_others() -> None:
    """A reader that breaks off, or raises, changes nothing for the producer and for the readers beside it."""

    async def scenario() -> list[int]:
        async with PromisingContext():
            promise = StreamedPromise[int, Any](numbers)
            other = asyncio.create_task(collect(promise))
            async for number in promise:
                if number == 1:
                    break
            with pytest.raises(KeyError):
                async for number in promise:
                    raise KeyError(number)
            return await other

    assert run_virtual(scenario) == [0, 1, 2, 3, 4]


def test_a_resolver_makes_the_whole() -> None:
    """A resolver is called once and gives the whole; it may be done before the stream is."""
    calls = []

    async def first_two(promise: StreamedPromise[Any, Any]) -> str:
        calls.append(promise)
        reader = aiter(promise)
        return f"{await anext(reader)} and {await anext(reader)}"

    async def scenario() -> tuple[Any, float]:
        async with PromisingContext():
            promise = StreamedPromise[int, str](numbers, first_two)
            whole = await promise
            at = asyncio.get_running_loop().time()
            assert await collect(promise) == [0, 1, 2, 3, 4]
            assert await promise == whole
            return whole, at

    assert run_virtual(scenario) == ("0 and 1", 2.0)
    assert len(calls) == 1


async def test_what_is_known_already_can_be_prefilled() -> None:
    """Pieces and the whole can be given; a whole without pieces streams as one piece; no context is needed."""
    assert await collect(StreamedPromise(prefill_pieces=[1, 2])) == [1, 2]
    assert await StreamedPromise(prefill_pieces=[1, 2]) == (1, 2)
    assert await StreamedPromise(prefill_pieces=[1, 2], prefill_result="whole") == "whole"
    assert await collect(StreamedPromise(prefill_result="whole")) == ["whole"]
    with pytest.raises(ValueError, match="x"):
        await StreamedPromise(prefill_pieces=[1, ValueError("x")])


async def test_a_subclass_may_bring_its_own_streamer_and_resolver() -> None:
    """A subclass with a `_streamer` and a `_resolver` needs no arguments; one without any source is refused."""

    class Sum(StreamedPromise[int, int]):
        async def _streamer(self) -> AsyncIterator[int]:
            for number in (1, 2, 3):
                yield number

        async def _resolver(self) -> int:
            return sum([number async for number in self])

    async with PromisingContext():
        promise = Sum()
        assert await promise == 6
        assert await collect(promise) == [1, 2, 3]
    with pytest.raises(TypeError, match="streamer"):
        StreamedPromise()


async def test_a_foreign_stream_is_closed_by_the_task_that_read_it() -> None:
    """When a producer is cancelled, the source it reads is closed before its context is left."""
    closed = []

    class Source:
        def __aiter__(self) -> "Source":
            return self

        async def __anext__(self) -> int:
            await asyncio.Event().wait()
            raise StopAsyncIteration

        async def aclose(self) -> None:
            closed.append(self)

    with pytest.raises(KeyError):
        async with PromisingContext():
            StreamedPromise[int, Any](lambda _: Source())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            raise KeyError
    assert len(closed) == 1


async def test_a_foreign_stream_need_not_be_one_that_can_be_closed() -> None:
    """A source that is nothing but an async iterator is read to its end."""

    class Source:
        def __init__(self) -> None:
            self.left = [1, 2]

        def __aiter__(self) -> "Source":
            return self

        async def __anext__(self) -> int:
            if not self.left:
                raise StopAsyncIteration
            return self.left.pop(0)

    async with PromisingContext():
        assert await StreamedPromise[int, Any](lambda _: Source()) == (1, 2)


async def test_a_reader_goes_on_where_it_is() -> None:
    """A reader that has taken some pieces gives the rest to whoever reads on with it."""
    reader = aiter(StreamedPromise[int, Any](prefill_pieces=[1, 2, 3]))
    assert await anext(reader) == 1
    assert [piece async for piece in reader] == [2, 3]


class Said:
    """A piece of which it can be seen whether somebody has it."""


async def test_a_stream_that_was_waited_for_is_gone_with_its_promise() -> None:
    """Nobody but the promise and its readers has what was said, though readers have waited for it, and one was cancelled."""

    async def streamer(_: object) -> AsyncIterator[Said]:
        await said.wait()
        yield Said()

    async with PromisingContext():
        said = asyncio.Event()
        promise: StreamedPromise[Said, Any] = StreamedPromise(streamer)
        waiting = [asyncio.create_task(collect(promise)) for _ in range(2)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        said.set()
        piece = weakref.ref((await waiting.pop())[0])
        assert piece() is not None
        await asyncio.wait(waiting)
        del promise, waiting
        await asyncio.sleep(0)  # the task of the producer ends
        assert piece() is None


def test_an_appender_says_where_it_is_in_its_life() -> None:
    """An appender is not open, then open, then closed."""
    appender: StreamAppender[int] = StreamAppender()
    states = [appender.state]
    with appender:
        states.append(appender.state)
    assert [*states, appender.state] == [AppenderState.NOT_OPEN, AppenderState.OPEN, AppenderState.CLOSED]


def test_a_stream_whose_reader_has_left_is_gone_though_deadlocks_were_looked_for() -> None:
    """A stream that never ends is kept by nobody when its reader has waited for long, was cancelled, and all have let go."""

    async def scenario() -> None:
        async with PromisingContext():
            appender: StreamAppender[Said] = StreamAppender()
            # Made outside of any context, which would close it at its end.
            promise = contextvars.Context().run(StreamedPromise, appender.begin())
            appender.append(Said())
            piece = weakref.ref(appender.log.items[0])
            reader = aiter(promise)
            await anext(reader)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(anext(reader), 10)
            del reader, promise, appender
            assert piece() is None

    run_virtual(scenario)


async def whole(promise: StreamedPromise[Any, Any]) -> Any:
    return await promise


@pytest.mark.parametrize("read", [collect, whole])
async def test_a_reader_that_was_cancelled_holds_nothing(read: Callable[[StreamedPromise[Any, Any]], Any]) -> None:
    """A promise that was waited for in vain is gone with the last who has it, and not when somebody collects garbage."""
    async with PromisingContext():
        with StreamAppender[int]() as appender:
            promise: StreamedPromise[int, Any] = StreamedPromise(appender)
            there = weakref.ref(promise)
            waiting = asyncio.create_task(read(promise))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
            del promise, waiting
            assert there() is None


async def test_a_reader_takes_what_is_there_at_once() -> None:
    """`take_ready` gives the pieces that are there, in portions and none behind an error, and the reader goes on behind them."""
    appender: StreamAppender[int] = StreamAppender()
    with appender:
        reader = StreamedPromise[int, Any](appender).read_pieces()
        assert reader.take_ready() == []
        for number in range(1500):
            appender.append(number)
        assert await anext(reader) == 0
        assert reader.take_ready() == list(range(1, 1001))
        assert reader.take_ready() == list(range(1001, 1500))
        assert reader.take_ready() == []
        appender.append(1500).append(ValueError("x")).append(1502)  # type: ignore[arg-type]
        assert reader.take_ready() == [1500]
        assert reader.take_ready() == []
        with pytest.raises(ValueError, match="x"):
            await anext(reader)
        assert reader.take_ready() == []


def test_what_is_taken_at_once_lets_the_producer_go_on() -> None:
    """Pieces that a reader takes at once count for the bound of the producer."""

    async def scenario() -> list[list[int]]:
        async with PromisingContext():
            reader = StreamedPromise[int, Any](numbers, max_ahead=2).read_pieces()
            got = []
            for _ in range(3):
                await asyncio.sleep(10)
                got.append(reader.take_ready())
            return got

    assert run_virtual(scenario) == [[0, 1], [2, 3], [4]]


# ---------------------------------------------------------------------- appenders


async def test_an_appender_made_outside_a_context_feeds_a_promise() -> None:
    """An appender can be made anywhere; it is a streamer; `append` gives the appender back."""
    appender: StreamAppender[int] = StreamAppender()
    with appender:
        assert appender.append(1) is appender
        appender.append(2)
    async with PromisingContext():
        assert await StreamedPromise(appender) == (1, 2)
        assert [piece async for piece in appender(None)] == [1, 2]
    assert await collect(StreamedPromise(appender)) == [1, 2]


async def test_appending_out_of_turn_is_refused() -> None:
    """Appending before opening and after closing are different errors, each a `RuntimeError` that says what to do."""
    appender: StreamAppender[int] = StreamAppender()
    with pytest.raises(AppenderNotOpenError, match=r"open\(\)"):
        appender.append(1)
    with appender:
        appender.append(1)
    with pytest.raises(AppenderClosedError):
        appender.append(2)
    with pytest.raises(AppenderClosedError):
        appender.open()
    with pytest.raises(RuntimeError):
        appender.append(3)
    assert await StreamedPromise(appender) == (1,)


@pytest.mark.parametrize("by", ["the appender", "the context"])
async def test_a_captured_error_becomes_a_piece(by: str) -> None:
    """With `capture_errors` an exception in the block does not leave it: the readers get it at its place."""
    async with PromisingContext(appenders_capture_errors_by_default=by == "the context"):
        appender: StreamAppender[int] = StreamAppender(capture_errors=True if by == "the appender" else None)
        with appender:
            appender.append(1)
            raise ValueError("captured")
        promise = StreamedPromise[int, Any](appender)
        reader = aiter(promise)
        assert await anext(reader) == 1
        with pytest.raises(ValueError, match="captured"):
            await anext(reader)


async def test_an_error_that_is_not_captured_leaves_the_block_and_the_stream_ends() -> None:
    """Without `capture_errors` an exception leaves the block, and the readers get the end of the stream."""
    appender: StreamAppender[int] = StreamAppender(capture_errors=False)
    with pytest.raises(ValueError, match="not captured"), appender:
        appender.append(1)
        raise ValueError("not captured")
    assert await StreamedPromise(appender) == (1,)


@pytest.mark.parametrize("capture_errors", [True, False])
def test_a_cancellation_always_leaves_the_block(capture_errors: bool) -> None:
    """A cancelled block is never swallowed; its readers get an error of its own class, after what was said."""

    async def scenario() -> list[Any]:
        appender: StreamAppender[int] = StreamAppender(capture_errors=capture_errors)

        async def produce() -> None:
            with appender:
                appender.append(1)
                await asyncio.Event().wait()

        task = asyncio.create_task(produce())
        reader = aiter(StreamedPromise[int, Any](appender))
        first = await anext(reader)
        task.cancel()
        with pytest.raises(PromiseCancelledError):
            await anext(reader)
        with pytest.raises(asyncio.CancelledError):
            await task
        return [first]

    assert run_virtual(scenario) == [1]


@pytest.mark.parametrize("opened", [True, False])
@pytest.mark.parametrize("early", [True, False])
def test_an_appender_that_was_dropped_ends_its_stream(opened: bool, early: bool) -> None:
    """When nobody has an open appender any more its readers are told at once, after what was said, and where it was."""

    async def main() -> None:
        def say() -> tuple[StreamedPromise[int, Any], StreamAppender[int]]:
            appender: StreamAppender[int] = StreamAppender()
            if opened:
                appender.open().append(1)
            return StreamedPromise(appender), appender

        stream, appender = say()
        pieces: list[int] = []

        async def read() -> None:
            async for piece in stream:
                pieces.append(piece)

        reading = asyncio.create_task(read())
        if early:
            await asyncio.sleep(1)
        del appender
        with pytest.raises(DeadlockError, match=r"test_streams.py:\d+ was dropped"):
            await reading
        assert pieces == ([1] if opened else [])
        assert asyncio.get_running_loop().time() <= 1

    async def in_context() -> None:
        async with PromisingContext():
            await main()

    run_virtual(in_context)


async def test_an_appender_that_was_closed_may_be_dropped() -> None:
    """What is complete stays complete when its appender is gone."""
    async with PromisingContext():
        appender: StreamAppender[int] = StreamAppender()
        stream = StreamedPromise(appender)
        with appender:
            appender.append(1)
        del appender
        assert await stream == (1,)


async def test_an_appender_left_open_is_closed_by_the_end_of_its_context() -> None:
    """Readers of an appender that nobody closed get an error when its context ends, instead of waiting for ever."""
    async with PromisingContext():
        appender: StreamAppender[int] = StreamAppender().open()
        appender.append(1)
        promise = StreamedPromise[int, Any](appender)
    reader = aiter(promise)
    assert await anext(reader) == 1
    with pytest.raises(PromiseCancelledError):
        await anext(reader)


@given(
    chunks=st.lists(st.lists(st.integers(), max_size=4), max_size=6),
    readers=st.integers(min_value=1, max_value=4),
    seed=st.integers(min_value=0, max_value=1000),
)
def test_any_number_of_readers_of_any_stream_agree(chunks: list[list[int]], readers: int, seed: int) -> None:
    """Whatever is appended in whatever bursts: every reader gets exactly that, in that order."""

    async def scenario() -> list[list[int]]:
        async with PromisingContext():
            appender: StreamAppender[int] = StreamAppender()
            promise = StreamedPromise[int, Any](appender)
            tasks = [asyncio.create_task(collect(promise)) for _ in range(readers)]
            with appender:
                for chunk in chunks:
                    for piece in chunk:
                        appender.append(piece)
                    await asyncio.sleep(0)
            return await asyncio.gather(*tasks)

    expected = [piece for chunk in chunks for piece in chunk]
    assert run_virtual(scenario, seed=seed) == [expected] * readers


@pytest.mark.parametrize("who", ["agent", "promise", "stream"])
def test_an_appender_of_a_producer_that_failed_ends_its_stream(who: str) -> None:
    """What a producer has opened, and not closed before it failed, ends for its readers, after what was said."""
    streams: list[StreamedPromise[int, Any]] = []
    errors: list[BaseException] = []

    def fail() -> None:
        appender, closed = StreamAppender[int]().open(), StreamAppender[int]().open()
        streams.extend([StreamedPromise(appender), StreamedPromise(closed)])
        appender.append(1)
        closed.append(2).close()
        raise ZeroDivisionError

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        fail()

    async def resolver(_: Any) -> None:
        fail()

    async def streamer(_: Any) -> AsyncIterator[int]:
        fail()
        yield 0

    async def main() -> None:
        async with MiniAgents():
            made = {
                "agent": agent.inquire,
                "promise": lambda: Promise(resolver),
                "stream": lambda: StreamedPromise(streamer),
            }
            try:
                await made[who]()
            except ZeroDivisionError as error:
                errors.append(error)  # its traceback keeps the variables of the producer
            pieces: list[int] = []
            with pytest.raises(DeadlockError, match="has failed"):
                async for piece in streams[0]:
                    pieces.append(piece)
            assert pieces == [1]
            assert await streams[1] == (2,)

    run_virtual(main)


def test_what_an_agent_has_started_writes_on_when_the_agent_fails() -> None:
    """A task that an agent has started, and that has opened an appender of its own, is not cut off by the agent."""

    async def main() -> None:
        streams: list[StreamedPromise[int, Any]] = []

        async def work() -> None:
            appender: StreamAppender[int] = StreamAppender().open()
            streams.append(StreamedPromise(appender))
            for number in range(3):
                await asyncio.sleep(1)
                appender.append(number)
            appender.close()

        @miniagent
        async def agent(ctx: InteractionContext) -> None:
            PromisingContext.get_current().start_asap(work())
            await asyncio.sleep(1.5)
            raise ZeroDivisionError

        async with MiniAgents():
            with pytest.raises(ZeroDivisionError):
                await agent.inquire()
            assert await streams[0] == (0, 1, 2)

    run_virtual(main)


def test_a_producer_that_is_collected_ends_nothing_of_others() -> None:
    """A coroutine that a closed loop has left behind, and that is collected inside a producer, touches nothing of it."""

    async def leave_behind() -> None:
        PromisingContext().activate()
        Promise(lambda _: asyncio.get_running_loop().create_future())
        await asyncio.sleep(0)

    async def resolver(_: Any) -> None:
        appender: StreamAppender[int] = StreamAppender().open()
        streams.append(StreamedPromise(appender))
        gc.collect()
        appender.append(1).close()

    async def healthy() -> None:
        async with PromisingContext():
            await Promise(resolver)
            assert await streams[0] == (1,)

    streams: list[StreamedPromise[int, Any]] = []
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)
    left = loop.create_task(leave_behind())
    loop.run_until_complete(left)
    loop.close()
    del loop, left
    asyncio.run(healthy())


def test_a_with_block_in_a_thread_outlives_the_agent() -> None:
    """What a thread writes in a `with` block is not cut off by the failure of the agent that started it."""
    go_on = threading.Event()

    def write(appender: StreamAppender[int]) -> None:
        with appender:
            appender.append(1)
            go_on.wait(10)
            appender.append(2)

    async def main() -> None:
        async with MiniAgents():
            appender: StreamAppender[int] = StreamAppender()
            stream: StreamedPromise[int, Any] = StreamedPromise(appender)

            @miniagent
            async def agent(ctx: InteractionContext) -> None:
                writing.append(asyncio.ensure_future(asyncio.to_thread(write, appender)))
                async for _ in stream:
                    raise ZeroDivisionError

            writing: list[asyncio.Future[None]] = []
            with pytest.raises(ZeroDivisionError):
                await agent.inquire()
            go_on.set()
            assert await stream == (1, 2)
            await writing[0]

    asyncio.run(main())
