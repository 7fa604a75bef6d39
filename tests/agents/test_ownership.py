"""Who owns what: cancelling, deadlines, blocks, and the time that is left to clean up."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from miniagents import InteractionContext, Message, MiniAgents, miniagent
from miniagents.promising import (
    DeadlineExceededError,
    FlatSequence,
    Promise,
    PromiseCancelledError,
    PromisingContext,
    SequencePromise,
    StreamedPromise,
    StuckTasksError,
)
from miniagents.testing.virtual_time import explore, run_virtual

log: list[Any] = []


@pytest.fixture(autouse=True)
def _empty_log() -> None:
    log.clear()


async def endless_tokens(metadata: dict[str, Any]) -> AsyncIterator[str]:
    try:
        while True:
            yield "token "
            await asyncio.sleep(1)
    finally:
        log.append(("stream closed", asyncio.get_running_loop().time()))


@miniagent
async def speaker(ctx: InteractionContext) -> None:
    ctx.reply(Message.promise(endless_tokens))


@miniagent
async def working(ctx: InteractionContext, depth: int) -> None:
    """Calls itself `depth` times, forwards what comes from there, and works until it is stopped."""
    ctx.reply(f"level {depth}")
    ctx.reply(working.inquire(depth=depth - 1) if depth else speaker.inquire())
    try:
        await asyncio.sleep(1000)
    finally:
        log.append((f"level {depth} ended", asyncio.get_running_loop().time()))


@miniagent
async def forwarding(ctx: InteractionContext, depth: int) -> None:
    """Ends at once; what it has forwarded is still being said."""
    ctx.reply(forwarding.inquire(depth=depth - 1) if depth else speaker.inquire())


def live_tasks() -> set[str]:
    return {task.get_name() for task in asyncio.all_tasks()} - {"main"}


@pytest.mark.parametrize("agent", [working, forwarding])
def test_cancelling_a_call_ends_everything_below_it(agent: Any) -> None:
    """`cancel` stops the agent and all it has started, also behind agents that have ended; streams are closed at once."""

    async def scenario() -> None:
        log.clear()
        async with MiniAgents():
            bystander = speaker.inquire()
            replies = agent.inquire(depth=3)
            await asyncio.sleep(2.5)
            replies.cancel("no longer needed")
            await asyncio.sleep(0.1)
            assert live_tasks() == {"MessagePromise"}, "only the stream of the other call lives"
            assert {when for _, when in log} == {2.5}
            bystander.cancel()

    explore(scenario, seeds=range(20))


def test_what_was_said_before_a_cancellation_stays_readable() -> None:
    """After a cancellation readers, early and late, get what was said, then an error with the name and the reason."""

    async def scenario() -> None:
        async with MiniAgents():
            replies = working.inquire(depth=0)
            await asyncio.sleep(1.5)
            replies.cancel("no longer needed")
            for _ in range(2):
                messages = aiter(replies)
                assert str(await (await anext(messages))) == "level 0"
                tokens = aiter(await anext(messages))
                assert [await anext(tokens), await anext(tokens)] == ["token ", "token "]
                with pytest.raises(PromiseCancelledError, match="no longer needed"):
                    await anext(tokens)
                with pytest.raises(PromiseCancelledError, match=r"WORKING was cancelled.*no longer needed") as caught:
                    await anext(messages)
                assert (caught.value.who, caught.value.reason) == ("WORKING", "no longer needed")

    run_virtual(scenario)


def test_a_cancelled_producer_is_nobodys_cancelled_error() -> None:
    """A reader of a cancelled call is not itself cancelled: it gets an `Exception`, and can go on."""

    async def scenario() -> None:
        async with MiniAgents():
            replies = working.inquire(depth=1)
            reader = asyncio.create_task(_await(replies))
            await asyncio.sleep(1)
            replies.cancel()
            with pytest.raises(PromiseCancelledError):
                await reader
            assert not reader.cancelled()
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0

    run_virtual(scenario)


async def _await(awaitable: Any) -> Any:
    return await awaitable


def test_dropping_a_reader_is_no_cancellation() -> None:
    """A call that nobody reads any more goes on to its end."""

    @miniagent
    async def diligent(ctx: InteractionContext) -> None:
        await asyncio.sleep(5)
        log.append("finished")

    async def scenario() -> None:
        async with MiniAgents():
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await diligent.inquire()
            diligent.inquire()

    run_virtual(scenario)
    assert log == ["finished", "finished"]


@pytest.mark.parametrize("what", ["ended", "not started", "cancelled"])
def test_cancelling_at_any_time_is_safe(what: str) -> None:
    """Cancelling what has ended changes nothing; what was not started never starts, and its readers get an end."""

    @miniagent
    async def quick(ctx: InteractionContext) -> None:
        log.append("ran")
        ctx.reply("done")

    async def scenario() -> None:
        async with MiniAgents():
            replies = quick.inquire(start_asap=False if what == "not started" else None)
            if what == "ended":
                await replies
                replies.cancel()
                assert await replies == (Message("done"),)
            else:
                replies.cancel()
                replies.cancel("twice")
                with pytest.raises(PromiseCancelledError, match="QUICK"):
                    await replies

    run_virtual(scenario)
    assert log == (["ran"] if what == "ended" else [])


def test_an_open_call_can_be_cancelled() -> None:
    """`AgentCall.cancel` stops the agent and closes the call."""

    async def scenario() -> None:
        async with MiniAgents():
            call = working.initiate_inquiry(depth=1)
            await asyncio.sleep(1)
            call.cancel("changed my mind")
            replies = call.reply_sequence()
            settled = await replies.settled()
            assert isinstance(settled[-1], PromiseCancelledError)
            assert settled[-1].reason == "changed my mind"

    run_virtual(scenario)


@pytest.mark.parametrize("leave_by", ["the end", "an exception", "a break"])
def test_a_block_ends_the_work_with_it(leave_by: str) -> None:
    """`async with agent.inquire(...)` has ended the agent and all below it before the next line, however it is left."""

    async def scenario() -> None:
        async with MiniAgents():
            try:
                for _ in range(1):
                    async with working.inquire(depth=2) as replies:
                        assert str(await (await anext(aiter(replies)))) == "level 2"
                        await asyncio.sleep(1)
                        if leave_by == "an exception":
                            raise KeyError
                        if leave_by == "a break":
                            break
            except KeyError:
                assert leave_by == "an exception"
            assert not live_tasks()
            assert len(log) == 4

    run_virtual(scenario)


def test_a_deadline_holds_for_all_that_is_called() -> None:
    """`timeout` on a call cancels it and everything below it when the time is over; the tail is a `TimeoutError`."""

    async def scenario() -> None:
        async with MiniAgents():
            replies = working.inquire(timeout=3, depth=2)
            settled = await replies.settled()
            assert asyncio.get_running_loop().time() == 3.0
            assert [str(outcome) for outcome in settled[:3]] == ["level 2", "level 1", "level 0"]
            errors = settled[3:]
            assert len(errors) == 4
            assert all(isinstance(error, DeadlineExceededError) for error in errors)
            assert isinstance(errors[0], TimeoutError)
            assert "the 3 s that WORKING had are over" in str(errors[0])

    run_virtual(scenario)


def test_a_deadline_holds_also_behind_an_agent_that_has_ended() -> None:
    """A call that has only forwarded what others say is not over before they are, and nor is its deadline."""

    async def scenario() -> None:
        async with MiniAgents():
            tokens = []
            with pytest.raises(DeadlineExceededError):
                async for promise in forwarding.inquire(timeout=2.5, depth=2):
                    async for token in promise:
                        tokens.append(token)
            assert len(tokens) == 3

    run_virtual(scenario)


def test_the_shorter_of_two_deadlines_comes_first() -> None:
    """A callee may have less time than its caller, and never has more."""

    @miniagent
    async def caller(ctx: InteractionContext, inner: float) -> None:
        try:
            await working.inquire(timeout=inner, depth=0)
        except DeadlineExceededError:
            ctx.reply(f"gave up at {asyncio.get_running_loop().time():g}")

    async def scenario(inner: float) -> Any:
        async with MiniAgents():
            return [str(outcome) for outcome in await caller.inquire(timeout=5, inner=inner).settled()]

    assert run_virtual(lambda: scenario(2)) == ["gave up at 2"]
    assert "CALLER was cancelled" in run_virtual(lambda: scenario(50))[-1]


def test_a_deadline_that_was_kept_leaves_nothing_behind() -> None:
    """When a call ends in time its timer ends with it."""

    @miniagent
    async def quick(ctx: InteractionContext) -> None:
        ctx.reply("in time")

    async def scenario() -> float:
        async with MiniAgents():
            assert await quick.inquire(timeout=1000) == (Message("in time"),)
            await asyncio.sleep(0.5)
            return asyncio.get_running_loop().time()

    assert run_virtual(scenario) == 0.5


@pytest.mark.parametrize(
    ("seconds", "error"),
    [
        (0, ValueError),
        (-1, ValueError),
        (True, ValueError),
        (float("nan"), ValueError),
        ("1", TypeError),
        (timedelta(1), TypeError),
    ],
)
def test_what_is_no_time_is_refused_as_a_deadline(seconds: Any, error: type[Exception]) -> None:
    """A deadline that means nothing is refused at once, where it was given; a value of another type as such."""

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.reply("hello")

    with pytest.raises(error, match="timeout"):
        agent.inquire(timeout=seconds)


def test_a_block_waits_for_background_tasks_too() -> None:
    """When a block has ended its work, that includes the cleaning up of what an agent has started with `start_asap`."""

    @miniagent
    async def starter(ctx: InteractionContext) -> None:
        async def background() -> None:
            try:
                await asyncio.sleep(1000)
            finally:
                await asyncio.sleep(3)
                log.append("background ended")

        PromisingContext.get_current().start_asap(background())

    async def scenario() -> None:
        async with MiniAgents():
            async with starter.inquire():
                await asyncio.sleep(1)
            assert log == ["background ended"]

    run_virtual(scenario)


def test_a_block_around_what_was_never_started_just_ends() -> None:
    """A call that was made outside any context and that nobody has read has nothing to end, and never starts."""

    async def scenario() -> None:
        async with working.inquire(depth=0) as replies:
            pass
        with pytest.raises(PromiseCancelledError, match="the block that it was bound to has ended"):
            await replies

    run_virtual(scenario)
    assert log == []


def test_background_tasks_of_an_agent_are_below_it() -> None:
    """What an agent has started with `start_asap`, and what that calls, is cancelled with the agent."""

    @miniagent
    async def starter(ctx: InteractionContext) -> None:
        async def background() -> None:
            try:
                await working.inquire(depth=0)
            finally:
                log.append("background ended")

        PromisingContext.get_current().start_asap(background())
        await asyncio.sleep(1000)

    async def scenario() -> None:
        async with MiniAgents():
            replies = starter.inquire()
            await asyncio.sleep(1)
            replies.cancel()
            await asyncio.sleep(0.1)
            assert not live_tasks()
            assert "background ended" in log

    run_virtual(scenario)


def test_what_was_said_is_written_down_also_when_the_agent_is_cancelled() -> None:
    """Handlers are no part of the call tree: they are not cancelled with the agent whose message they write down."""
    written: list[str] = []

    async def persist(promise: Any, message: Message) -> None:
        await asyncio.sleep(3)
        if message.text:
            written.append(message.text)

    async def scenario() -> None:
        async with MiniAgents(on_persist_message=persist):
            replies = working.inquire(depth=0)
            await asyncio.sleep(1)
            replies.cancel()

    run_virtual(scenario)
    assert "level 0" in written


async def test_a_tree_of_calls_leaves_no_reference_cycles() -> None:
    """Trees of calls, cancelled ones too, are freed by reference counting alone."""
    import gc

    async def one_tree(cancel: bool) -> None:
        replies = forwarding.inquire(depth=3) if cancel else working.inquire(depth=2)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        replies.cancel()
        await replies.settled()
        await replies._ended()

    async with MiniAgents():
        gc.collect()
        gc.disable()
        try:
            for number in range(20):
                await one_tree(number % 2 == 0)
            await asyncio.sleep(0)
            assert gc.collect() == 0
        finally:
            gc.enable()


def test_a_tree_of_any_depth_is_cancelled() -> None:
    """Ten thousand agents below each other are cancelled without recursion."""

    @miniagent
    async def deep(ctx: InteractionContext, left: int) -> None:
        ctx.reply(deep.inquire(left=left - 1) if left else "bottom")
        await asyncio.sleep(1000)

    async def scenario() -> None:
        async with MiniAgents():
            replies = deep.inquire(left=10_000)
            await asyncio.sleep(1)
            replies.cancel()
            await asyncio.sleep(1)
            assert not live_tasks()

    run_virtual(scenario)


# ---------------------------------------------------------------------- grace


STUBBORN_PROGRAM = """
import asyncio, miniagents
from miniagents import MiniAgents, miniagent

@miniagent
async def stubborn(ctx):
    while True:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            pass

async def main():
    stubborn.inquire()
    await asyncio.sleep(0)
    raise KeyError("leaving")

RUN
"""


@pytest.mark.parametrize(
    "how",
    [
        "MiniAgents(grace_period=0.1).run(main())",
        "asyncio.run(MiniAgents(grace_period=0.1).arun(main()))",
    ],
)
def test_an_agent_that_will_not_stop_is_named(how: str, tmp_path: Path) -> None:
    """After the grace period the program ends with an error that says which agent did not stop, and where it stands."""
    program = tmp_path / "program.py"
    program.write_text(STUBBORN_PROGRAM.replace("RUN", how))
    done = subprocess.run(
        [sys.executable, program],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert done.returncode == 1
    assert "StuckTasksError: 1 of the cancelled tasks" in done.stderr
    assert f"STUBBORN at {program}:9" in done.stderr
    assert "KeyError: 'leaving'" in done.stderr
    assert "was destroyed" not in done.stderr


def test_all_who_will_not_stop_are_named_when_the_grace_period_is_over() -> None:
    """`StuckTasksError` counts and names the agents that go on after their cancellation, and not those that end."""

    @miniagent
    async def refuses(ctx: InteractionContext, released: asyncio.Event) -> None:
        while not released.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await released.wait()

    async def scenario() -> float:
        released = asyncio.Event()
        with pytest.raises(StuckTasksError, match="2 of the cancelled tasks have not ended within 3 s") as caught:
            async with MiniAgents(grace_period=3):
                refuses.inquire(released=released)
                refuses.fork(alias="MULE").inquire(released=released)
                working.inquire(depth=0)
                await asyncio.sleep(0.5)
                raise KeyError
        released.set()
        for name in ("REFUSES", "MULE"):
            assert f"  {name} at {__file__}:" in str(caught.value)
        assert "WORKING" not in str(caught.value)
        return asyncio.get_running_loop().time()

    assert run_virtual(scenario) == 3.5


def test_the_grace_period_is_for_those_who_clean_up() -> None:
    """Agents that end within the grace period are waited for; without a limit they have all the time they want."""

    @miniagent
    async def careful(ctx: InteractionContext) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(20)
            log.append("clean")

    async def scenario(grace: float | None) -> float:
        with pytest.raises((KeyError, StuckTasksError)):
            async with MiniAgents(grace_period=grace):
                careful.inquire()
                await asyncio.sleep(0.5)
                raise KeyError
        return asyncio.get_running_loop().time()

    assert run_virtual(lambda: scenario(30)) == 20.5
    assert run_virtual(lambda: scenario(None)) == 20.5
    assert log == ["clean", "clean"]
    with pytest.raises(ValueError, match="grace_period"):
        PromisingContext(grace_period=-1)


def test_a_plain_promise_can_be_cancelled() -> None:
    """`Promise.cancel` works for every promise with a producer."""

    async def resolver(promise: Promise[Any]) -> str:
        await asyncio.sleep(1000)
        return "never"

    async def scenario() -> None:
        async with PromisingContext():
            promise = Promise(resolver)
            await asyncio.sleep(1)
            promise.cancel("enough")
            with pytest.raises(PromiseCancelledError, match="enough"):
                await promise

    run_virtual(scenario)


# ---------------------------------------------------------------------- being cancelled is asked once


@miniagent
async def careful(ctx: InteractionContext, seconds: float) -> None:
    """Takes its time to clean up."""
    try:
        await asyncio.sleep(1000)
    finally:
        await asyncio.sleep(seconds)
        log.append("cleaned up")


def test_cleaning_up_is_not_interrupted_by_a_second_cancellation() -> None:
    """An agent that is cancelled by its context and by the block that it is bound to is asked only once."""

    @miniagent
    async def binder(ctx: InteractionContext) -> None:
        async with careful.inquire(seconds=2):
            await asyncio.sleep(1000)

    async def scenario() -> None:
        with pytest.raises(KeyError):
            async with MiniAgents():
                binder.inquire()
                await asyncio.sleep(1)
                raise KeyError

    run_virtual(scenario)
    assert log == ["cleaned up"]


def test_a_block_has_ended_its_work_also_if_it_is_cancelled_meanwhile() -> None:
    """A cancellation that arrives while a block waits for its work to end goes on when that has ended."""

    async def block() -> None:
        try:
            async with careful.inquire(seconds=3):
                await asyncio.sleep(0.5)
        finally:
            log.append("block left")

    async def scenario() -> None:
        async with MiniAgents():
            task = asyncio.create_task(block())
            await asyncio.sleep(1)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()

    run_virtual(scenario)
    assert log == ["cleaned up", "block left"]


def test_what_was_said_is_written_down_also_when_the_context_is_left_by_an_error() -> None:
    """Handlers finish what they have begun, and hear of what was said, before the context has ended."""
    written: list[str] = []

    async def persist(promise: Any, message: Message) -> None:
        await asyncio.sleep(2)
        if message.text:
            written.append(message.text)

    async def scenario() -> None:
        with pytest.raises(KeyError):
            async with MiniAgents(on_persist_message=persist):
                replies = working.inquire(depth=0)
                assert str(await (await anext(aiter(replies)))) == "level 0"
                raise KeyError

    run_virtual(scenario)
    assert written == ["level 0"]


@pytest.mark.parametrize("start_asap", [True, False])
def test_a_stream_with_a_resolver_is_cancelled_as_a_whole(start_asap: bool) -> None:
    """Cancelling a stream cancels its resolver too, and one that was not started never is."""

    async def resolver(promise: StreamedPromise[Any, Any]) -> str:
        log.append("started")
        await asyncio.sleep(1000)
        return "never"

    async def streamer(promise: StreamedPromise[Any, Any]) -> AsyncIterator[str]:
        yield "x"

    async def scenario() -> None:
        async with PromisingContext():
            promise = StreamedPromise(streamer, resolver, start_asap=start_asap)
            await asyncio.sleep(1)
            promise.cancel("enough")
            with pytest.raises(PromiseCancelledError, match="enough"):
                await promise
            assert asyncio.get_running_loop().time() == 1.0

    run_virtual(scenario)
    assert log == (["started"] if start_asap else [])


@pytest.mark.parametrize("timeout", [None, 5])
def test_what_was_not_started_yet_does_not_escape(timeout: float | None) -> None:
    """A lazy call that a cancelled agent has forwarded is not started by its reader any more."""

    @miniagent
    async def never(ctx: InteractionContext) -> None:
        log.append("started")

    @miniagent
    async def forwards(ctx: InteractionContext) -> None:
        ctx.reply(never.inquire(start_asap=False, timeout=timeout))

    async def scenario() -> None:
        async with MiniAgents():
            replies = forwards.inquire()
            await asyncio.sleep(1)
            replies.cancel()
            with pytest.raises(PromiseCancelledError, match="NEVER"):
                await replies

    run_virtual(scenario)
    assert log == []


def test_the_tail_of_a_cancelled_agent_does_not_wait_for_others() -> None:
    """A cancelled agent that has promised somebody else's replies out of order ends at once."""

    @miniagent
    async def collects(ctx: InteractionContext, others: Any) -> None:
        ctx.reply_out_of_order(others[0])
        await asyncio.sleep(1000)

    async def scenario() -> None:
        async with MiniAgents():
            slow = careful.inquire(seconds=0)
            replies = collects.inquire(others=(slow,))
            await asyncio.sleep(1)
            replies.cancel()
            (error,) = await replies.settled()
            assert isinstance(error, PromiseCancelledError)
            assert asyncio.get_running_loop().time() == 1.0
            slow.cancel()

    run_virtual(scenario)


def test_a_thread_may_cancel() -> None:
    """`cancel()` from another thread wakes the loop at once."""

    async def main() -> None:
        async with MiniAgents():
            replies = working.inquire(depth=0)
            reading = asyncio.create_task(_await(replies))
            await asyncio.sleep(0)
            await asyncio.to_thread(replies.cancel, "from a thread")
            with pytest.raises(PromiseCancelledError, match="from a thread"):
                await reading

    asyncio.run(main())


def test_a_program_in_a_thread_is_one_of_its_own() -> None:
    """`miniagents.run` in a thread of an agent shares nothing with the context around it, which is in another loop."""

    async def inner() -> Any:
        assert MiniAgents.get_current().parent is None
        return "inner"

    @miniagent
    async def outer(ctx: InteractionContext) -> None:
        ctx.reply(await asyncio.to_thread(lambda: MiniAgents().run(inner())))

    assert MiniAgents().run(outer.inquire()) == (Message("inner"),)


def test_an_expired_deadline_is_reported_if_nobody_reads_it(caplog: pytest.LogCaptureFixture) -> None:
    """A call whose time was up is an error like any other; one that somebody has cancelled is none."""

    async def scenario() -> None:
        async with MiniAgents():
            working.inquire(timeout=3, depth=0)
            cancelled = working.inquire(depth=0)
            await asyncio.sleep(1)
            cancelled.cancel()

    run_virtual(scenario)
    assert "DeadlineExceededError" in caplog.text
    assert len([record for record in caplog.records if record.exc_info]) == 1


def test_a_handler_that_does_not_end_does_not_hold_up_the_end_of_a_context() -> None:
    """Handlers have what is left of the grace period when a context is left by an error; then they are cancelled."""

    async def persist(promise: Any, message: Message) -> None:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            log.append("handler cancelled")
            raise

    async def scenario() -> float:
        with pytest.raises(KeyError):
            async with MiniAgents(on_persist_message=persist, grace_period=3):
                _ = Message("x").as_promise
                careful.inquire(seconds=1)
                await asyncio.sleep(0.5)
                raise KeyError
        return asyncio.get_running_loop().time()

    assert run_virtual(scenario) == 3.5
    assert "cleaned up" in log
    assert "handler cancelled" in log


@pytest.mark.parametrize("by_deadline", [False, True])
def test_an_agent_that_swallows_its_cancellation_does_not_hide_it(by_deadline: bool) -> None:
    """Behind the last words of an agent that goes on after it was cancelled comes the error all the same."""

    @miniagent
    async def stubborn(ctx: InteractionContext) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(100)
        ctx.reply("bye")

    async def scenario() -> None:
        async with MiniAgents():
            replies = stubborn.inquire(timeout=1 if by_deadline else None)
            await asyncio.sleep(2)
            replies.cancel("enough")
            said, error = await replies.settled()
            assert said == Message("bye")
            assert isinstance(error, DeadlineExceededError if by_deadline else PromiseCancelledError)

    run_virtual(scenario)


def test_nor_does_one_whose_context_has_ended() -> None:
    """An agent, a stream and a promise that go on when their context is left by an error end in a cancellation."""
    made: list[Any] = []

    @miniagent
    async def stubborn(ctx: InteractionContext) -> None:
        ctx.reply("hello")
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(100)
        ctx.reply("bye")

    async def streamer(_: Any) -> AsyncIterator[int]:
        yield 1
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(100)
        yield 2

    async def resolver(_: Any) -> int:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(100)
        return 3

    async def scenario() -> None:
        with pytest.raises(ValueError, match="left"):
            async with MiniAgents():
                made.extend((stubborn.inquire(), StreamedPromise(streamer), Promise(resolver)))
                await asyncio.sleep(1)
                raise ValueError("left")
        replies, stream, promise = made
        async with MiniAgents():
            *said, error = await replies.settled()
            assert said == [Message("hello"), Message("bye")]
            assert isinstance(error, PromiseCancelledError)
            assert "its context has ended" in str(error)
            pieces: list[int] = []
            with pytest.raises(PromiseCancelledError, match="its context has ended"):
                async for piece in stream:
                    pieces.append(piece)
            assert pieces == [1, 2]
            with pytest.raises(PromiseCancelledError, match="its context has ended"):
                await promise

    run_virtual(scenario)


def test_the_end_of_a_context_inside_an_agent_is_not_that_of_the_agent() -> None:
    """An agent whose own block is left by an error, with tasks of that block at work, goes on as if nothing had been."""

    @miniagent
    async def outer(ctx: InteractionContext) -> None:
        with contextlib.suppress(ValueError):
            async with MiniAgents() as inside:
                inside.start_asap(asyncio.sleep(100))
                await asyncio.sleep(1)
                raise ValueError
        ctx.reply(echo.inquire("went on"))

    @miniagent
    async def echo(ctx: InteractionContext) -> None:
        ctx.reply(ctx.message_promises)

    async def scenario() -> None:
        async with MiniAgents():
            assert await outer.inquire() == (Message("went on"),)

    run_virtual(scenario)


def test_a_producer_that_swallows_its_cancellation_does_not_hide_it() -> None:
    """Streams and promises that were cancelled end in that error, whatever their code says afterwards."""

    async def streamer(_: Any) -> AsyncIterator[int]:
        yield 1
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(100)
        yield 2

    async def resolver(_: Any) -> int:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(100)
        return 3

    async def scenario() -> None:
        async with MiniAgents():
            flat: SequencePromise[int, Any] = FlatSequence(streamer).sequence_promise
            stream, promise = StreamedPromise(streamer), Promise(resolver)
            await asyncio.sleep(1)
            for made in (flat, stream, promise):
                made.cancel("enough")
            for growing in (flat, stream):
                pieces: list[int] = []
                with pytest.raises(PromiseCancelledError, match="enough"):
                    async for piece in growing:
                        pieces.append(piece)
                assert pieces == [1, 2]
            with pytest.raises(PromiseCancelledError, match="enough"):
                await promise

    run_virtual(scenario)
