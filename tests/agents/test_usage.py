"""What calls have spent: totals over the call tree."""

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import miniagents
from miniagents import (
    InteractionContext,
    Message,
    MessageSequencePromise,
    MiniAgents,
    Usage,
    miniagent,
    record_usage,
)
from miniagents.promising import Promise, PromisingContext
from miniagents.promising.tree import Branch
from miniagents.testing import explore, run_virtual

ONE = Usage(calls=1, input_tokens=10, output_tokens=1, cost=0.25)


def calls(number: int) -> Usage:
    return Usage(calls=number, cost=0)


@miniagent
async def spender(ctx: InteractionContext, seconds: float = 0, usage: Usage = ONE, model: str | None = None) -> None:
    await asyncio.sleep(seconds)
    record_usage(usage, model=model)
    ctx.reply("done")


# A call: what it spends before, between and after its calls; whether it streams, and how it starts each of the others.
trees = st.recursive(
    st.tuples(st.integers(0, 1000), st.just(())),
    lambda inner: st.tuples(
        st.integers(0, 1000),
        st.lists(st.tuples(st.sampled_from(["forward", "await", "drop", "lazy", "task"]), inner), max_size=4),
    ),
    max_leaves=12,
)


def total_of(tree: Any) -> int:
    return int(tree[0]) + sum(total_of(inner) for _, inner in tree[1])


@settings(max_examples=60, deadline=None)
@given(trees, st.integers(0, 10**6))
def test_the_usage_of_each_call_is_that_of_all_below_it(tree: Any, seed: int) -> None:
    """In any tree and schedule, each call has spent what it and all below it have recorded, and the context everything."""
    made: list[tuple[MessageSequencePromise, int]] = []

    @miniagent
    async def node(ctx: InteractionContext, tree: Any) -> None:
        own, below = tree
        record_usage(calls(own // 2))

        async def tokens(metadata: dict[str, Any]) -> AsyncIterator[str]:
            await asyncio.sleep(1)
            record_usage(calls(own - own // 2))
            yield "token"

        ctx.reply(Message.promise(tokens, start_asap=True))
        tasks = []
        for kind, inner in below:
            replies = call(inner, start_asap=False if kind == "lazy" else None)
            if kind in ("forward", "lazy"):
                ctx.reply(replies)
            elif kind == "await":
                await replies
            elif kind == "task":
                tasks.append(asyncio.create_task(_read(replies)))
        for task in tasks:
            await task

    def call(tree: Any, start_asap: bool | None = None) -> MessageSequencePromise:
        replies = node.inquire(tree=tree, start_asap=start_asap)
        made.append((replies, total_of(tree)))
        return replies

    async def main() -> None:
        async with MiniAgents() as context:
            await call(tree)
            for replies, _ in list(made):  # also those that were dropped, in which there may be lazy ones
                await replies
        assert [replies.usage().calls for replies, _ in made] == [expected for _, expected in made]
        assert context.usage().calls == total_of(tree)

    run_virtual(main, seed=seed)


async def _read(replies: MessageSequencePromise) -> None:
    await replies


def test_usage_is_told_at_any_moment() -> None:
    """The usage so far is there without waiting: none before the start, a part on the way, and all of it in the end."""

    @miniagent
    async def boss(ctx: InteractionContext) -> None:
        ctx.reply(spender.inquire(seconds=1, model="small"))
        ctx.reply(spender.inquire(seconds=2, model="large"))
        await spender.inquire(seconds=3, model="small")

    async def scenario() -> None:
        async with MiniAgents() as context:
            replies = boss.inquire()
            assert replies.usage() == context.usage() == Usage()
            await asyncio.sleep(2.5)
            assert replies.usage().calls == context.usage().calls == 2
            await replies
            assert replies.usage() == Usage(
                calls=3,
                input_tokens=30,
                output_tokens=3,
                cost=0.75,
                by_model={"small": ONE + ONE, "large": ONE},
            )
        assert context.usage() == replies.usage()

    explore(scenario, seeds=range(10))


def test_an_open_call_has_a_usage_too() -> None:
    """The replies of a call that was opened with `initiate_inquiry` tell what it has spent while it is open."""

    @miniagent
    async def teller(ctx: InteractionContext) -> None:
        async for _ in ctx.message_promises:
            record_usage(ONE)

    async def scenario() -> None:
        async with MiniAgents():
            call = teller.initiate_inquiry()
            call.send_message("a")
            replies = call.reply_sequence(finish_call=False)
            await asyncio.sleep(1)
            assert replies.usage() == ONE
            call.send_message("b")
            await call.reply_sequence()
            assert replies.usage() == ONE + ONE

    run_virtual(scenario)


def test_what_is_spent_while_it_is_cancelled_counts() -> None:
    """A call that records in its `finally` after it was cancelled has spent that, and so have all above it."""

    @miniagent
    async def careful(ctx: InteractionContext) -> None:
        record_usage(calls(1))
        try:
            await asyncio.sleep(100)
        finally:
            record_usage(calls(10))
            await asyncio.sleep(1)
            record_usage(calls(100))

    @miniagent
    async def boss(ctx: InteractionContext) -> None:
        ctx.reply(careful.inquire())

    async def scenario() -> None:
        async with MiniAgents() as context:
            replies = boss.inquire()
            await asyncio.sleep(1)
            replies.cancel()
            await replies.settled()
        assert replies.usage().calls == context.usage().calls == 111

    explore(scenario, seeds=range(10))


def test_a_tool_in_a_thread_spends_for_its_caller() -> None:
    """What threads record counts exactly once for the call that has started them and for all above it."""
    threads, times = 6, 300

    def tool() -> None:
        for _ in range(times):
            record_usage(ONE)

    @miniagent
    async def worker(ctx: InteractionContext) -> None:
        await asyncio.gather(*(asyncio.to_thread(tool) for _ in range(threads)))

    @miniagent
    async def boss(ctx: InteractionContext) -> None:
        ctx.reply([worker.inquire(), worker.inquire()])

    async def main() -> MessageSequencePromise:
        replies = boss.inquire()
        await replies
        return replies

    context = MiniAgents()
    replies = context.run(main())
    number = 2 * threads * times
    assert replies.usage().calls == context.usage().calls == number
    assert replies.usage().cost == number * 0.25


def test_a_thread_that_outlives_its_call_still_spends_for_it() -> None:
    """A request that ends in a thread after its call, its callers and their context have ended was paid for by them."""
    started, go_on, recorded = threading.Event(), threading.Event(), threading.Event()

    def tool() -> None:
        started.set()
        go_on.wait(10)
        record_usage(ONE)
        recorded.set()

    @miniagent
    async def worker(ctx: InteractionContext) -> None:
        await asyncio.to_thread(tool)

    @miniagent
    async def boss(ctx: InteractionContext) -> None:
        ctx.reply(worker.inquire())

    async def main() -> None:
        async with MiniAgents() as context:
            replies = boss.inquire()
            while not started.is_set():  # noqa: ASYNC110 (a thread sets it)
                await asyncio.sleep(0)
            replies.cancel()
            await replies.settled()
        assert not context.active
        go_on.set()
        assert await asyncio.to_thread(recorded.wait, 10)
        assert replies.usage() == context.usage() == ONE

    asyncio.run(main())


def test_a_program_of_agents_in_a_thread_spends_for_whoever_started_it() -> None:
    """A tool that runs agents in an event loop of its own counts for its call; a context that is used again does not."""
    inner = MiniAgents()

    async def program() -> None:
        await spender.inquire()

    def tool() -> None:
        inner.run(program())

    @miniagent
    async def worker(ctx: InteractionContext) -> None:
        await asyncio.to_thread(tool)

    async def main() -> MessageSequencePromise:
        replies = worker.inquire()
        await replies
        return replies

    outer = MiniAgents()
    replies = outer.run(main())
    assert replies.usage() == outer.usage() == inner.usage() == ONE
    inner.run(program())
    assert outer.usage() == ONE
    assert inner.usage() == ONE + ONE


def test_an_inner_context_spends_for_the_outer_one() -> None:
    """What is spent in a context inside another counts once for both, and for the call in which it was opened."""

    @miniagent
    async def boss(ctx: InteractionContext) -> None:
        async with MiniAgents() as inner:
            await spender.inquire()
        assert inner.usage() == ONE
        record_usage(ONE)
        assert inner.usage() == ONE

    async def scenario() -> None:
        async with MiniAgents() as outer, PromisingContext():
            replies = boss.inquire()
            await replies
            record_usage(ONE)
        assert replies.usage() == ONE + ONE
        assert outer.usage() == ONE + ONE + ONE

    run_virtual(scenario)


def test_a_handler_spends_for_its_context_alone() -> None:
    """Who looks on belongs to no call: what a handler spends counts for the context."""
    context = MiniAgents()

    @context.on_persist_message
    async def summarise(promise: Any, message: Message) -> None:
        record_usage(ONE)

    @miniagent
    async def quiet(ctx: InteractionContext) -> None:
        ctx.reply("hello")

    async def scenario() -> MessageSequencePromise:
        async with context:
            replies = quiet.inquire()
            await replies
            return replies

    assert run_virtual(scenario).usage() == Usage()
    assert context.usage().calls > 0


def branches_of(*promises: Promise[Any]) -> list[Branch]:
    branches = [promise._branch for promise in promises]
    assert all(branches)
    return [branch for branch in branches if branch is not None]


def test_where_nothing_is_spent_there_are_no_accounts() -> None:
    """Calls, and contexts, that nothing is recorded in make no account, and those beside a spender do not either."""
    kept: list[MessageSequencePromise] = []

    @miniagent
    async def quiet(ctx: InteractionContext, depth: int) -> None:
        if depth:
            kept.append(quiet.inquire(depth=depth - 1))
            ctx.reply(kept[-1])

    async def scenario() -> None:
        async with MiniAgents() as context:
            kept.append(quiet.inquire(depth=3))
            await kept[0]
            assert context.account is None
            await spender.inquire()
        assert context.account is not None
        assert [branch.account for branch in branches_of(*kept)] == [None] * 4

    run_virtual(scenario)


def test_a_call_that_has_ended_keeps_nothing_alive_but_its_total() -> None:
    """The replies of a caller hold none of its ended calls, nor those of a call its ended caller; the totals are there."""
    refs: dict[str, weakref.ref[MessageSequencePromise]] = {}
    kept: list[MessageSequencePromise] = []

    @miniagent
    async def middle(ctx: InteractionContext) -> None:
        low = spender.inquire()
        refs["low"] = weakref.ref(low)
        await low
        kept.append(spender.inquire())

    @miniagent
    async def top(ctx: InteractionContext) -> None:
        replies = middle.inquire()
        refs["middle"] = weakref.ref(replies)
        await replies

    async def scenario() -> None:
        async with MiniAgents():
            kept.append(top.inquire())
            refs["outermost"] = weakref.ref(kept[-1])
            await kept[0]
        gc.collect()
        assert refs["low"]() is None
        assert refs["middle"]() is None
        assert kept[0].usage() == ONE + ONE
        del kept[0]
        gc.collect()
        assert refs["outermost"]() is None, "held by the branch of what it has called"
        assert kept[0].usage() == ONE

    run_virtual(scenario)


def test_a_late_call_belongs_to_those_who_made_it() -> None:
    """A lazy call that starts when its caller has ended is stopped with any of those above it, and counts for them."""

    @miniagent
    async def late(ctx: InteractionContext) -> None:
        record_usage(ONE)
        await asyncio.sleep(100)

    @miniagent
    async def middle(ctx: InteractionContext) -> None:
        ctx.reply(late.inquire(start_asap=False))

    @miniagent
    async def top(ctx: InteractionContext) -> None:
        ctx.reply(middle.inquire())
        await asyncio.sleep(1)

    async def scenario() -> None:
        async with MiniAgents():
            replies = top.inquire()
            reader = asyncio.create_task(replies.settled())
            await asyncio.sleep(2)
            assert replies.usage() == ONE
            replies.cancel("enough")
            (error,) = await reader
            assert "enough" in str(error)
            assert asyncio.get_running_loop().time() == 2

    explore(scenario, seeds=range(10))


def test_usage_needs_no_context() -> None:
    """What was never started, or is complete from the start, has spent nothing, and recording outside calls is no error."""
    assert spender.inquire().usage() == Usage()
    assert miniagents.MessageSequence.turn_into_sequence_promise("hello").usage() == Usage()
    assert MiniAgents().usage() == Usage()
    record_usage(ONE)


def test_a_usage_is_recorded_by_a_streamer() -> None:
    """What the producer of a message spends counts for the agent that has replied with it, also when that has ended."""

    @miniagent
    async def model(ctx: InteractionContext) -> None:
        async def tokens(metadata: dict[str, Any]) -> AsyncIterator[str]:
            yield "hello"
            await asyncio.sleep(1)
            record_usage(ONE, model="m")

        ctx.reply(Message.promise(tokens))

    async def scenario() -> None:
        async with MiniAgents():
            replies = model.inquire()
            assert str((await replies)[0]) == "hello"
            assert replies.usage() == ONE + Usage(by_model={"m": ONE})

    run_virtual(scenario)


@pytest.mark.parametrize("depth", [1, 1000])
def test_depth_is_no_special_case(depth: int) -> None:
    """A thousand callers above a call are each told of what it has spent."""

    @miniagent
    async def deep(ctx: InteractionContext, left: int) -> None:
        if left:
            ctx.reply(deep.inquire(left=left - 1))
        else:
            record_usage(ONE)

    async def scenario() -> None:
        async with MiniAgents() as context:
            replies = deep.inquire(left=depth)
            await replies
        assert replies.usage() == context.usage() == ONE

    run_virtual(scenario)
