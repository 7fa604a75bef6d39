"""Contexts own what runs in them."""

import asyncio
import contextlib
import gc
import logging
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest

from miniagents.promising import (
    DeadlockError,
    NoActiveContextError,
    Promise,
    PromiseCancelledError,
    PromisingContext,
    StreamedPromise,
)
from miniagents.promising.errors import ContextClosedError, ContextReentryError
from miniagents.testing.virtual_time import explore, run_virtual


async def sleeper(promise: Promise[Any]) -> str:
    await asyncio.sleep(10)
    return "slept"


def test_what_is_started_while_a_context_is_cancelled_is_cancelled_too() -> None:
    """A task that a producer starts on its way out, when its context is left by an error, takes no step."""
    steps: list[str] = []
    tasks: list[asyncio.Task[None]] = []

    async def too_late() -> None:
        steps.append("too late")
        await asyncio.sleep(3)

    async def resolver(_: Any) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            tasks.append(PromisingContext.get_current().start_asap(too_late()))

    async def scenario() -> float:
        with pytest.raises(ValueError, match="left"):
            async with PromisingContext():
                Promise(resolver)
                await asyncio.sleep(1)
                raise ValueError("left")
        assert tasks[0].cancelled()
        return asyncio.get_running_loop().time()

    assert run_virtual(scenario) == 1
    assert steps == []


def test_leaving_normally_waits_for_everything() -> None:
    """Leaving the block normally waits for all that was started, and for what that starts meanwhile."""
    done: list[str] = []

    async def child(name: str, depth: int) -> None:
        await asyncio.sleep(1)
        if depth:
            PromisingContext.get_current().start_asap(child(f"{name}.{depth}", depth - 1))
        done.append(name)

    async def scenario() -> float:
        done.clear()
        async with PromisingContext() as context:
            context.start_asap(child("a", 2))
            Promise(lambda _: child("b", 0))
        return asyncio.get_running_loop().time()

    assert run_virtual(scenario) == 3.0
    assert sorted(done) == ["a", "a.2", "a.2.1", "b"]


@pytest.mark.parametrize("how", ["an exception", "a cancellation"])
def test_leaving_by_an_error_cancels_everything_and_goes_on(how: str) -> None:
    """Leaving the block by an exception or a cancellation cancels what it owns, waits for its end, and re-raises."""
    ended: list[str] = []

    async def stubborn(promise: Promise[Any]) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(1)
            ended.append("cleaned up")

    async def scenario() -> Any:
        promises = []

        async def program() -> None:
            async with PromisingContext():
                promises.append(Promise(stubborn))
                promises.append(StreamedPromise(prefill_pieces=[1]))
                await asyncio.sleep(5)
                if how == "an exception":
                    raise KeyError("leaving")
                await asyncio.Event().wait()

        task = asyncio.create_task(program())
        await asyncio.sleep(5.5)
        if how == "a cancellation":
            task.cancel()
        await asyncio.wait([task])
        with pytest.raises(PromiseCancelledError):
            await promises[0]
        return task.cancelled() or type(task.exception()), asyncio.get_running_loop().time()

    expected = {"an exception": (KeyError, 6.0), "a cancellation": (True, 6.5)}[how]
    assert run_virtual(scenario) == expected
    assert ended == ["cleaned up"]


def test_tasks_that_are_cancelled_before_their_first_step_leave_nothing_behind() -> None:
    """Whichever owned task is cancelled before whichever step: the context ends and every reader gets an end."""

    async def scenario() -> str:
        async with PromisingContext():
            promises = [Promise(sleeper) for _ in range(3)]
            readers = [asyncio.create_task(promise.aresolve(), name="reader") for promise in promises]
            await asyncio.wait(readers)
        return "ended"

    kills = 0
    for step in range(1, 30):
        killed: list[int] = []

        def kill(number: int, task: asyncio.Task[Any], step: int = step, killed: list[int] = killed) -> None:
            if number == step and task.get_name() != "main":
                task.cancel()
                killed.append(number)

        assert run_virtual(scenario, on_step=kill) == "ended"
        kills += len(killed)
    assert kills >= 9


def test_the_current_context_is_the_innermost_active_one() -> None:
    """Contexts nest; each knows its parent; after it has ended the outer one is current again."""

    async def scenario() -> None:
        with pytest.raises(NoActiveContextError):
            PromisingContext.get_current()
        async with PromisingContext() as outer:
            async with PromisingContext() as inner:
                assert PromisingContext.get_current() is inner
                assert inner.parent is outer
            assert PromisingContext.get_current() is outer
        with pytest.raises(RuntimeError, match="async with MiniAgents"):
            PromisingContext.get_current()

    run_virtual(scenario)


def test_an_inner_context_waits_for_its_own_work_only() -> None:
    """Leaving an inner context waits for what was started in it and not for the outer one's work."""

    async def scenario() -> list[float]:
        loop = asyncio.get_running_loop()
        times = []
        async with PromisingContext() as outer:
            outer.start_asap(asyncio.sleep(10))
            async with PromisingContext() as inner:
                inner.start_asap(asyncio.sleep(1))
            times.append(loop.time())
        times.append(loop.time())
        return times

    assert run_virtual(scenario) == [1.0, 10.0]


def test_a_context_can_be_used_again_but_not_twice_at_once() -> None:
    """A context is reusable, also in another event loop; entering it while it is active is refused."""
    context = PromisingContext()

    async def use() -> str:
        async with context:
            with pytest.raises(ContextReentryError):
                context.activate()
            return await Promise(sleeper)

    assert [run_virtual(use), run_virtual(use)] == ["slept", "slept"]


def test_activate_and_afinalize_are_the_two_halves_of_the_block() -> None:
    """`activate()` makes the context current and `await afinalize()` waits for its work and ends it."""

    async def scenario() -> float:
        context = PromisingContext().activate()
        context.start_asap(asyncio.sleep(3))
        await context.afinalize()
        with pytest.raises(NoActiveContextError):
            PromisingContext.get_current()
        assert not context.active
        return asyncio.get_running_loop().time()

    assert run_virtual(scenario) == 3.0


def test_flushing_waits_and_the_context_goes_on() -> None:
    """`aflush_tasks()` waits for all that was started; afterwards more can be started."""

    async def scenario() -> float:
        async with PromisingContext() as context:
            context.start_asap(asyncio.sleep(2))
            await context.aflush_tasks()
            at = asyncio.get_running_loop().time()
            assert await Promise(sleeper) == "slept"
            return at

    assert run_virtual(scenario) == 2.0


async def test_flushing_from_inside_a_task_is_an_error_and_not_a_hang() -> None:
    """A task that flushes its own context would wait for itself: `DeadlockError`."""

    async def flush(promise: Promise[Any]) -> None:
        await PromisingContext.get_current().aflush_tasks()

    async with PromisingContext():
        with pytest.raises(DeadlockError):
            await Promise(flush)


def test_entered_in_one_task_and_left_in_another() -> None:
    """A context may be entered and left in different tasks, as fixtures and servers do."""

    async def scenario() -> None:
        context = PromisingContext()
        await asyncio.create_task(context.__aenter__())
        assert context.active
        await asyncio.create_task(context.__aexit__(None, None, None))
        assert not context.active

    run_virtual(scenario)


def test_who_has_left_a_context_is_in_it_no_more() -> None:
    """A task that has left a context is in the one around that, also when the same one is entered again elsewhere."""

    async def scenario() -> None:
        context = PromisingContext()
        again, seen = asyncio.Event(), asyncio.Event()

        async def leaves() -> None:
            await context.afinalize()
            again.set()
            await seen.wait()
            assert PromisingContext.get_current() is outer

        async def enters() -> None:
            await again.wait()
            async with context:
                seen.set()
                await leaving

        async with PromisingContext() as outer:
            entering = asyncio.create_task(enters())
            context.activate()
            leaving = asyncio.create_task(leaves())
            await leaving
            await entering

    run_virtual(scenario)


async def test_ending_a_context_twice_is_ending_it_once() -> None:
    """`afinalize` of a context that has ended changes nothing."""
    async with PromisingContext() as outer:
        context = PromisingContext().activate()
        await context.afinalize()
        await context.afinalize()
        assert PromisingContext.get_current() is outer
    assert not context.active


@pytest.mark.parametrize("as_coroutine", [True, False])
async def test_nothing_starts_in_a_context_that_has_ended(as_coroutine: bool) -> None:
    """`start_asap` of a context that has ended says so, and leaves behind no coroutine that was never awaited."""
    async with PromisingContext() as context:
        pass
    with pytest.raises(ContextClosedError):
        context.start_asap(asyncio.sleep(0) if as_coroutine else Promise(prefill_result=1))


def test_what_is_started_while_a_context_is_left_ends_as_well() -> None:
    """A task that starts another one while it is cancelled does not prolong the end of its context."""
    ended: list[str] = []

    async def last(promise: Promise[Any]) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            ended.append("last")

    async def starter(promise: Promise[Any]) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            Promise(last)
            await asyncio.sleep(1)

    async def scenario() -> float:
        with pytest.raises(KeyError):
            async with PromisingContext(grace_period=None):
                Promise(starter)
                await asyncio.sleep(0.5)
                raise KeyError
        return asyncio.get_running_loop().time()

    assert run_virtual(scenario) == 1.5
    assert ended in ([], ["last"])  # it may be cancelled before its first step


async def test_a_promise_that_is_started_late_runs_in_its_own_context() -> None:
    """Whoever reads a lazy promise first, from whatever context, starts it in the one in which it was made."""

    async def which(promise: Promise[Any]) -> PromisingContext:
        return PromisingContext.get_current()

    async with PromisingContext() as outer:
        promise = Promise(which, start_asap=False)
        async with PromisingContext():
            assert await promise is outer


# ---------------------------------------------------------------------- errors nobody read


async def failing(promise: Promise[Any]) -> None:
    raise ValueError("nobody looks")


async def test_an_error_nobody_read_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """An error that nobody read is logged when the context ends, once, with its traceback; one that was read is not."""
    async with PromisingContext():
        Promise(failing)
        with pytest.raises(ValueError, match="nobody looks"):
            await Promise(failing)
    records = [record for record in caplog.records if record.exc_info]
    assert len(records) == 1
    assert records[0].levelno == logging.ERROR
    assert "nobody looks" in caplog.text


async def test_the_level_of_that_log_can_be_chosen(caplog: pytest.LogCaptureFixture) -> None:
    """`log_level_for_errors` is the level at which unread errors are logged."""
    caplog.set_level(logging.DEBUG)
    async with PromisingContext(log_level_for_errors=logging.DEBUG):
        Promise(failing)
    assert [record.levelno for record in caplog.records if record.exc_info] == [logging.DEBUG]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_programs_is_raised_at_the_end_if_nobody_read_it(kind: type[BaseException]) -> None:
    """A `KeyboardInterrupt` or `SystemExit` that nobody read is raised when the context ends; nothing swallows it."""

    async def interrupting(promise: Promise[Any]) -> None:
        raise kind

    async def scenario() -> None:
        async with PromisingContext():
            Promise(interrupting)

    with pytest.raises(kind):
        run_virtual(scenario)


# ---------------------------------------------------------------------- handlers


def test_handlers_hear_of_each_promise_once() -> None:
    """`on_promise_resolved` is called once per promise, also prefilled, failed, streamed and unread ones."""
    heard: list[tuple[Any, Any]] = []

    async def handler(promise: Promise[Any], outcome: Any) -> None:
        heard.append((promise, outcome))

    async def scenario() -> list[Any]:
        heard.clear()
        async with PromisingContext(on_promise_resolved=handler):
            promises: list[Promise[Any]] = [
                Promise(sleeper),
                Promise(failing),
                Promise(prefill_result="known"),
                StreamedPromise(prefill_pieces=[1, 2]),
            ]
            await promises[0]
            await promises[0]
        return promises

    promises = run_virtual(scenario)
    outcomes = {id(promise): outcome for promise, outcome in heard}
    assert len(heard) == len(outcomes) == 4
    assert outcomes[id(promises[0])] == "slept"
    assert isinstance(outcomes[id(promises[1])], ValueError)
    assert outcomes[id(promises[2])] == "known"
    assert outcomes[id(promises[3])] == (1, 2)


def test_promises_of_a_handler_call_no_handlers() -> None:
    """A handler that makes and awaits promises is not called for those."""
    calls = 0

    async def handler(promise: Promise[Any], outcome: Any) -> None:
        nonlocal calls
        calls += 1
        await Promise(sleeper)

    async def scenario() -> None:
        async with PromisingContext(on_promise_resolved=[handler]):
            await Promise(sleeper)

    run_virtual(scenario)
    assert calls == 1


async def test_a_handler_may_be_registered_by_decoration_and_hears_of_inner_contexts() -> None:
    """`@context.on_promise_resolved` registers a handler; it also hears of promises in contexts inside."""
    heard: list[Any] = []
    async with PromisingContext() as outer:

        @outer.on_promise_resolved
        async def handler(promise: Promise[Any], outcome: Any) -> None:
            heard.append(outcome)

        async with PromisingContext():
            Promise(prefill_result="inner")
    assert heard == ["inner"]


async def test_a_handler_that_fails_is_logged_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """What a handler raises is logged; the promise and the context are as they would be without it."""

    async def handler(promise: Promise[Any], outcome: Any) -> None:
        raise RuntimeError("of the handler")

    async with PromisingContext(on_promise_resolved=handler):
        assert await Promise(prefill_result="fine") == "fine"
    assert "of the handler" in caplog.text
    with pytest.raises(TypeError, match="handler"):
        PromisingContext(on_promise_resolved=[5])  # type: ignore[list-item]


async def test_observing_does_not_count_as_reading(caplog: pytest.LogCaptureFixture) -> None:
    """An error that only a handler has seen is still reported as unread."""

    async def handler(promise: Promise[Any], outcome: Any) -> None: ...

    async with PromisingContext(on_promise_resolved=handler):
        Promise(failing)
    assert "nobody looks" in caplog.text


# ---------------------------------------------------------------------- resources and garbage


async def test_a_resource_is_made_once_and_closed_when_the_outermost_context_ends() -> None:
    """Nested contexts share a resource; it is closed once, after the tasks of the outermost have ended."""
    events: list[str] = []

    def make() -> tuple[str, Any]:
        events.append("made")

        async def close() -> None:
            events.append("closed")

        return "thing", close

    async with PromisingContext() as outer:
        async with PromisingContext() as inner:
            assert inner.resource("key", make) == outer.resource("key", make) == "thing"
        assert events == ["made"]
        outer.start_asap(asyncio.sleep(0))
    assert events == ["made", "closed"]


@contextlib.contextmanager
def garbage_counted() -> Iterator[list[int]]:
    found: list[int] = []
    gc.collect()
    gc.disable()
    try:
        yield found
        found.append(gc.collect())
    finally:
        gc.enable()


async def test_a_promise_leaves_no_reference_cycles() -> None:
    """What is made for a promise and its readers is freed by reference counting alone."""

    async def resolver(promise: Promise[Any]) -> int:
        await asyncio.sleep(0)
        return 1

    async def streamer(promise: StreamedPromise[Any, Any]) -> Any:
        for number in range(3):
            await asyncio.sleep(0)
            yield number

    with garbage_counted() as found:
        async with PromisingContext():
            for _ in range(100):
                await Promise(resolver)
                await StreamedPromise(streamer)
                Promise(resolver, start_asap=False)
    assert found == [0]


async def test_a_resource_that_cannot_be_closed_is_logged_and_the_others_are_closed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What goes wrong while a resource is closed is told, and keeps no other from being closed; some need none of it."""
    closed: list[str] = []

    async def close() -> None:
        closed.append("first")

    async def fails() -> None:
        raise RuntimeError("will not close")

    async with PromisingContext() as context:
        assert context.resource("first", lambda: (1, close)) == 1
        assert context.resource("second", lambda: (2, None)) == 2
        assert context.resource("third", lambda: (3, fails)) == 3
    assert closed == ["first"]
    assert "will not close" in caplog.text


def test_every_schedule_ends_the_same_way() -> None:
    """In any order of tasks a context that is left by an error has ended all its tasks."""

    async def scenario() -> int:
        context = PromisingContext()
        with contextlib.suppress(KeyError):
            async with context:
                for _ in range(3):
                    Promise(sleeper)
                await asyncio.sleep(0)
                raise KeyError
        return len(asyncio.all_tasks())

    assert set(explore(scenario, seeds=range(50))) == {1}


@pytest.mark.parametrize("error", [None, KeyError])
async def test_a_task_that_did_not_come_to_its_last_line_keeps_no_context_waiting(
    error: type[Exception] | None,
) -> None:
    """A context ends, in whatever way, though Ctrl+C has hit a producer before it could say that it has ended."""

    async def resolver(_: Promise[Any]) -> int:
        await asyncio.sleep(0)
        return 7

    with patch.object(Promise, "producer_ended"), pytest.raises(error) if error else contextlib.nullcontext():
        async with PromisingContext():
            promise = Promise[int](resolver)
            if error is not None:
                await promise
                raise error
    with contextlib.suppress(PromiseCancelledError):
        assert await promise == 7
