"""Promises: one value, any number of readers."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import patch

import pytest

from miniagents.promising import (
    NoActiveContextError,
    Promise,
    PromiseCancelledError,
    PromisingContext,
    StreamAppender,
    StreamedPromise,
    WrongLoopError,
)
from miniagents.promising.errors import ContextClosedError
from miniagents.testing.virtual_time import explore, run_virtual


class Gate:
    """Something a test opens when it wants the producer to go on."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def open(self) -> None:
        self._event.set()

    async def passed(self) -> None:
        await self._event.wait()


async def test_every_reader_gets_the_value_of_one_call_of_the_resolver() -> None:
    """Every reader, early or late, gets the value of the one call of the resolver."""
    calls: list[Promise[str]] = []

    async def resolver(promise: Promise[Any]) -> str:
        calls.append(promise)
        await asyncio.sleep(0)
        return "value"

    async with PromisingContext():
        promise = Promise(resolver)
        early = await asyncio.gather(promise, promise.aresolve(), promise)
        late = await promise
    assert [*early, late] == ["value"] * 4
    assert calls == [promise]


async def test_the_resolver_starts_without_a_reader_unless_told_to_wait() -> None:
    """A resolver starts at the next task switch, or, with `start_asap=False`, when somebody reads."""
    started: list[str] = []

    async def resolver(name: str) -> str:
        started.append(name)
        return name

    async with PromisingContext():
        Promise(lambda _: resolver("eager"))
        lazy = Promise(lambda _: resolver("lazy"), start_asap=False)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert started == ["eager"]
        assert await lazy == "lazy"
    assert started == ["eager", "lazy"]


async def test_the_context_decides_when_the_promise_does_not_say() -> None:
    """`start_everything_asap_by_default=False` makes every promise of the context wait for its first reader."""
    started: list[str] = []

    async def resolver(promise: Promise[Any]) -> str:
        started.append("started")
        return "value"

    async with PromisingContext(start_everything_asap_by_default=False):
        Promise(resolver)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not started
        eager = Promise(resolver, start_asap=True)
        await eager
    assert started == ["started"]


@pytest.mark.parametrize("start_asap", [True, False])
async def test_every_reader_gets_the_same_exception_object(start_asap: bool) -> None:
    """What the resolver raises is raised for every reader, the same object."""
    error = ValueError("no")

    async def resolver(promise: Promise[Any]) -> str:
        raise error

    async with PromisingContext():
        promise = Promise(resolver, start_asap=start_asap)
        outcomes = await asyncio.gather(promise, promise, return_exceptions=True)
        with pytest.raises(ValueError, match="no") as late:
            await promise
    assert outcomes == [error, error]
    assert late.value is error


async def test_the_traceback_does_not_grow_with_the_number_of_readers() -> None:
    """The traceback of a shared exception is as long for the hundredth reader as for the first."""

    async def resolver(promise: Promise[Any]) -> str:
        raise ValueError("no")

    lengths = []
    async with PromisingContext():
        promise = Promise(resolver)
        for _ in range(100):
            with pytest.raises(ValueError, match="no") as caught:
                await promise
            lengths.append(len(caught.traceback))
    assert set(lengths) == {lengths[0]}


async def test_the_context_of_a_reader_does_not_stay_on_a_shared_exception() -> None:
    """A reader that is handling another error leaves no `__context__` behind on the shared exception."""

    async def resolver(promise: Promise[Any]) -> str:
        raise ValueError("no")

    async with PromisingContext():
        promise = Promise(resolver)
        with pytest.raises(ValueError, match="no"):
            try:
                raise KeyError("of the reader")
            except KeyError:
                await promise
        with pytest.raises(ValueError, match="no") as caught:
            await promise
    assert caught.value.__context__ is None


def test_a_reader_that_is_cancelled_at_any_step_changes_nothing_for_the_others() -> None:
    """A reader that is cancelled before any of its steps leaves the value to the other readers, in any order of tasks."""

    async def resolver(promise: Promise[Any]) -> str:
        for _ in range(3):
            await asyncio.sleep(0)
        return "value"

    def scenario(start_asap: bool) -> Any:
        async def main() -> str:
            async with PromisingContext():
                promise = Promise(resolver, start_asap=start_asap)

                async def read() -> str:
                    return await promise

                victim = asyncio.create_task(read(), name="victim")
                other = asyncio.create_task(read(), name="other")
                await asyncio.wait([victim, other])
                return other.result() + await promise

        return main

    tried = 0
    for start_asap in (True, False):
        for seed in range(20):
            for step in range(1, 40):
                hit = []

                def cancel_victim(number: int, task: asyncio.Task[Any], step: int = step, hit: list[int] = hit) -> None:
                    if number == step and task.get_name() == "victim":
                        task.cancel()
                        hit.append(step)

                assert run_virtual(scenario(start_asap), seed=seed, on_step=cancel_victim) == "valuevalue"
                tried += len(hit)
    assert tried >= 40


def test_a_producer_that_is_cancelled_at_any_step_gives_its_readers_an_end() -> None:
    """Whichever task is cancelled before whichever step: every reader that is not itself cancelled gets an end."""

    async def streamer(promise: StreamedPromise[Any, Any]) -> AsyncIterator[int]:
        for number in range(3):
            await asyncio.sleep(0)
            yield number

    async def main() -> list[Any]:
        async with PromisingContext() as context:
            promise = StreamedPromise(streamer)

            async def read() -> Any:
                return await promise

            readers = [asyncio.create_task(read(), name=f"reader {number}") for number in range(2)]
            await asyncio.wait(readers)
            assert context.active
            return [None if r.cancelled() else r.exception() or r.result() for r in readers]

    producers_killed = 0
    for seed in range(10):
        for step in range(1, 40):
            killed: list[str] = []

            def kill(number: int, task: asyncio.Task[Any], step: int = step, killed: list[str] = killed) -> None:
                if number == step and task.get_name() not in ("main",):
                    killed.append(task.get_name())
                    task.cancel()

            outcomes = run_virtual(main, seed=seed, on_step=kill)
            if killed and killed[0].startswith("reader"):
                assert outcomes.count((0, 1, 2)) == 1
            elif killed:
                producers_killed += 1
                assert all(isinstance(o, PromiseCancelledError) or o == (0, 1, 2) for o in outcomes)
    assert producers_killed >= 20


async def test_a_cancelled_resolver_does_not_look_like_a_cancelled_reader() -> None:
    """A resolver that raises `CancelledError` gives its readers an error of its own class, caused by nobody's cancelling."""

    async def resolver(promise: Promise[Any]) -> str:
        raise asyncio.CancelledError

    async with PromisingContext():
        with pytest.raises(PromiseCancelledError):
            await Promise(resolver)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_generator_exit_is_never_stored() -> None:
    """A `GeneratorExit` in the resolver is not handed to readers."""

    async def resolver(promise: Promise[Any]) -> str:
        raise GeneratorExit

    async with PromisingContext():
        with pytest.raises(PromiseCancelledError):
            await Promise(resolver)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError, RecursionError])
def test_errors_of_every_kind_reach_the_reader(error: type[BaseException]) -> None:
    """Whatever the resolver raises, also what ends programs, is raised where the promise is read, and nothing hangs."""

    async def resolver(promise: Promise[Any]) -> str:
        raise error

    async def main() -> BaseException:
        async with PromisingContext():
            try:
                await Promise(resolver)
            except BaseException as caught:
                return caught
        raise AssertionError("nothing was raised")

    assert isinstance(run_virtual(main), error)


@pytest.mark.parametrize("error", [StopIteration, StopAsyncIteration])
def test_what_ends_iterators_does_not_look_like_the_end_of_a_stream(error: type[Exception]) -> None:
    """A `StopAsyncIteration` that a producer raises is an error for its readers, not the end of what it had to say."""

    async def streamer(promise: StreamedPromise[Any, Any]) -> AsyncIterator[str]:
        yield "said"
        raise error

    async def resolver(promise: Promise[Any]) -> str:
        raise error

    async def main() -> None:
        async with PromisingContext():
            reader = aiter(StreamedPromise[str, Any](streamer))
            assert await anext(reader) == "said"
            with pytest.raises(RuntimeError, match="raised"):
                await anext(reader)
            with pytest.raises(RuntimeError, match="raised"):
                await Promise(resolver)

    run_virtual(main)


async def test_a_prefilled_promise_needs_no_context() -> None:
    """A value that is known already can be read anywhere, `None` included; an exception given as value is raised."""
    assert await Promise(prefill_result=None) is None
    assert Promise(prefill_result=5).resolved
    with pytest.raises(KeyError):
        await Promise(prefill_result=KeyError("x"))


async def test_an_exception_that_is_returned_is_a_value() -> None:
    """A resolver that *returns* an exception has not failed."""
    returned = ValueError("only returned")

    async def resolver(promise: Promise[Any]) -> ValueError:
        return returned

    async with PromisingContext():
        assert await Promise(resolver) is returned


async def test_a_promise_made_outside_any_context_starts_where_it_is_first_read() -> None:
    """Outside any context a promise waits for the context of its first reader; without one, reading is a clear error."""

    async def resolver(promise: Promise[Any]) -> str:
        return "value"

    promise = Promise(resolver)
    with pytest.raises(NoActiveContextError, match="async with MiniAgents"):
        await promise
    async with PromisingContext():
        assert await promise == "value"
    assert await promise == "value"


async def test_a_promise_that_was_never_started_says_that_its_context_has_ended() -> None:
    """Reading a lazy promise after its context has ended is a clear error, and does not run it somewhere else."""

    async def resolver(promise: Promise[Any]) -> str:
        return "value"

    async with PromisingContext():
        promise = Promise(resolver, start_asap=False)
    async with PromisingContext():
        with pytest.raises(ContextClosedError):
            await promise


def test_reading_from_another_loop_is_refused() -> None:
    """A promise that is still growing in one event loop cannot be read in another; a complete one can."""
    gate: list[Gate] = []

    async def resolver(promise: Promise[Any]) -> str:
        await gate[0].passed()
        return "value"

    async def main() -> str:
        gate.append(Gate())
        async with PromisingContext():
            promise = Promise(resolver)

            async def foreign() -> str:
                return await promise

            with pytest.raises(WrongLoopError):
                await asyncio.to_thread(asyncio.run, foreign())
            gate[0].open()
            await promise
            return await asyncio.to_thread(asyncio.run, foreign())

    assert asyncio.run(main()) == "value"


def test_an_item_appended_in_a_thread_wakes_the_loop() -> None:
    """A reader that sleeps in the loop is woken when a thread appends, without any timer."""

    async def main() -> list[str]:
        async with PromisingContext():
            appender: StreamAppender[str] = StreamAppender().open()
            promise: StreamedPromise[str, Any] = StreamedPromise(appender)
            reader = aiter(promise)
            waiting = asyncio.ensure_future(anext(reader))
            await asyncio.sleep(0)
            await asyncio.to_thread(appender.append, "from a thread")
            first = await waiting
            appender.close()
            return [first]

    assert asyncio.run(main()) == ["from a thread"]


async def test_a_subclass_may_bring_its_own_resolver() -> None:
    """A subclass with a `_resolver` needs no resolver argument; a promise without any source is refused."""

    class Answer(Promise[int]):
        async def _resolver(self) -> int:
            return 42

    async with PromisingContext():
        assert await Answer() == 42
        with pytest.raises(TypeError, match="resolver"):
            Promise()


async def test_a_promise_shows_its_state_and_never_fails_to() -> None:
    """`repr` says pending, resolved or failed, in every state."""

    async def resolver(promise: Promise[Any]) -> str:
        return "value"

    async with PromisingContext():
        promise = Promise(resolver)
        assert repr(promise) == "<Promise pending>"
        await promise
        assert repr(promise) == "<Promise resolved>"
    assert repr(Promise(prefill_result=ValueError())) == "<Promise failed>"


def test_no_schedule_changes_the_outcome() -> None:
    """In any order of tasks, readers of a failing promise get its error and readers of a good one its value."""

    async def good(promise: Promise[Any]) -> str:
        await asyncio.sleep(1)
        return "good"

    async def bad(promise: Promise[Any]) -> str:
        await asyncio.sleep(1)
        raise ValueError("bad")

    async def scenario() -> list[str]:
        async with PromisingContext():
            first, second = Promise(good), Promise(bad)
            return [repr(o) for o in await asyncio.gather(first, second, first, second, return_exceptions=True)]

    assert {tuple(o) for o in explore(scenario, seeds=range(50))} == {
        ("'good'", "ValueError('bad')", "'good'", "ValueError('bad')")
    }


async def test_a_start_that_fails_is_made_up_for() -> None:
    """If a producer could not be started, who reads next starts it."""

    async def resolver(_: object) -> int:
        return 7

    async with PromisingContext():
        promise = Promise[int](resolver, start_asap=False)
        with patch.object(Promise, "_run_resolver", side_effect=RecursionError), pytest.raises(RecursionError):
            await promise
        assert await promise == 7


async def test_a_producer_that_gets_no_task_has_ended() -> None:
    """If a producer was entered and there is no room for its task, its readers get an end."""

    async def resolver(_: object) -> int:
        return 7

    async with PromisingContext() as context:
        promise = Promise[int](resolver, start_asap=False)
        with patch.object(context, "_make_task_in", side_effect=MemoryError), pytest.raises(MemoryError):
            await promise
        with pytest.raises(PromiseCancelledError):
            await promise
