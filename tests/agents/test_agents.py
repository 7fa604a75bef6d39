"""Agents: async functions that are sent messages and reply with messages."""

import asyncio
import gc
import logging
import weakref
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from typing import Any

import pytest

from miniagents import InteractionContext, Message, MessageSequencePromise, MiniAgent, MiniAgents, miniagent
from miniagents.promising import AppenderClosedError, NoActiveContextError, PromiseCancelledError, PromisingContext
from miniagents.testing.virtual_time import explore, run_virtual


@miniagent
async def echo(ctx: InteractionContext) -> None:
    """Says what
    {AGENT_ALIAS}   was told {and leaves {other} braces}."""
    ctx.reply(ctx.message_promises)


@miniagent
async def kwargs_of(ctx: InteractionContext, **kwargs: Any) -> None:
    seen.append(kwargs)


seen: list[dict[str, Any]] = []


async def slow_tokens(metadata: dict[str, Any]) -> AsyncIterator[str]:
    for token in ("one ", "two ", "three"):
        await asyncio.sleep(1)
        yield token


@miniagent
async def slow_speaker(ctx: InteractionContext) -> None:
    ctx.reply(Message.promise(slow_tokens, role="assistant"))


@miniagent
async def delayed(ctx: InteractionContext, delay: float, say: str) -> None:
    await asyncio.sleep(delay)
    ctx.reply(say)


# ---------------------------------------------------------------------- who an agent is


def test_alias_and_description_come_from_the_function() -> None:
    """The alias is the name in upper case, the description the folded docstring; only `{AGENT_ALIAS}` is replaced."""
    assert echo.alias == "ECHO"
    assert echo.description == "Says what ECHO was told {and leaves {other} braces}."


def test_alias_description_and_presets_can_be_given() -> None:
    """`@miniagent(...)` takes an alias, a description and presets for the function."""

    @miniagent(alias="helper", description="I am {AGENT_ALIAS}.", say="hi", delay=0)
    async def agent(ctx: InteractionContext, delay: float, say: str) -> None:
        ctx.reply(say)

    assert isinstance(agent, MiniAgent)
    assert (agent.alias, agent.description) == ("helper", "I am helper.")
    assert MiniAgents().run(agent.inquire()) == (Message("hi"),)


def test_what_is_no_agent_function_is_refused_at_decoration() -> None:
    """A function that is not async, or has no place for the context, is refused with the fix in the message."""

    def not_async(ctx: InteractionContext) -> None: ...

    async def no_context() -> None: ...

    async def generator(ctx: InteractionContext) -> AsyncIterator[str]:
        yield "x"

    async def reserved(ctx: InteractionContext, messages: Any) -> None: ...

    for function, said in (
        (not_async, "async def not_async"),
        (no_context, "InteractionContext"),
        (generator, r"ctx\.reply"),
        (reserved, "`messages`"),
    ):
        with pytest.raises(TypeError, match=said):
            miniagent(function)  # type: ignore[type-var, arg-type]


def test_an_agent_is_not_called_like_a_function() -> None:
    """Calling the agent itself is refused with what to write instead."""
    with pytest.raises(TypeError, match=r"echo\.inquire"):
        echo("hi")


def test_a_fork_presets_arguments_and_later_ones_win() -> None:
    """Forks work at module level, of forks too; the last value of an argument wins; the original is as it was."""
    first = delayed.fork(alias="FIRST", delay=0, say="first")
    second = first.fork(say="second", description="of {AGENT_ALIAS}")
    assert (second.alias, second.description) == ("FIRST", "of FIRST")
    mini_agents = MiniAgents()
    assert [str(*mini_agents.run(agent.inquire())) for agent in (first, second)] == ["first", "second"]
    assert str(*mini_agents.run(second.inquire(say="third"))) == "third"
    assert delayed.alias == "DELAYED"
    assert echo.fork(alias="OTHER").description.startswith("Says what OTHER")


def test_wrong_arguments_are_refused_by_the_call() -> None:
    """An argument that the function does not take, and one that it needs, are `TypeError`s of the call or fork itself."""
    with pytest.raises(TypeError, match=r"`volume`.*delay, say"):
        delayed.fork(volume=1)
    with pytest.raises(TypeError, match="`volume`"):
        delayed.inquire("x", delay=1, say="x", volume=2)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="`say`"):
        delayed.inquire("x", delay=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"needs the arguments `delay`, `say`\."):
        delayed.inquire("x")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="keyword"):
        delayed.inquire("x", None, 1.0, "x")
    for lost in (lambda: echo.inquire("a", "b"), lambda: echo.initiate_inquiry("hello")):  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="one argument"):
            lost()
    with pytest.raises(TypeError, match="InteractionContext"):
        kwargs_of.inquire(ctx=1)


# ---------------------------------------------------------------------- calls


def test_arguments_reach_the_function_untouched() -> None:
    """Arguments keep their types and identity; containers are copied, so a later change by the caller is not seen."""

    class Client:
        pass

    client = Client()
    mutable: dict[str, Any] = {"list": [1, {"a": {2}}], "client": client}

    async def scenario() -> None:
        seen.clear()
        async with MiniAgents():
            kwargs_of.inquire(options=mutable, client=client, flag=None)
            mutable["list"].append("later")
            mutable["new"] = 1

    run_virtual(scenario)
    assert seen == [{"options": {"list": [1, {"a": {2}}], "client": client}, "client": client, "flag": None}]
    assert type(seen[0]["options"]) is dict
    assert seen[0]["client"] is client


def test_all_containers_are_copied() -> None:
    """Containers of other classes, shared ones and such as contain themselves are copied as well."""
    ring: list[Any] = []
    ring.append(ring)
    shared = [1]
    given: dict[str, Any] = {
        "ordered": OrderedDict(a=1),
        "queue": deque([1]),
        "ring": ring,
        "twice": (shared, shared),
    }

    async def scenario() -> dict[str, Any]:
        seen.clear()
        async with MiniAgents():
            kwargs_of.inquire(**given)
            given["ordered"]["b"] = given["queue"].append("later")
            shared.append(2)
        return seen[0]

    got = run_virtual(scenario)
    assert got["ordered"] == OrderedDict(a=1)
    assert got["queue"] == deque([1])
    assert got["ring"][0] is got["ring"] is not ring
    assert got["twice"] == ([1], [1])


def test_an_agent_starts_at_the_next_task_switch_or_when_it_is_read() -> None:
    """The body runs without anybody reading; with `start_asap=False` it runs when its reply is first read."""
    started: list[str] = []

    @miniagent
    async def starter(ctx: InteractionContext, name: str) -> None:
        started.append(name)

    async def scenario() -> None:
        async with MiniAgents():
            starter.inquire(name="at once")
            lazy = starter.inquire(name="lazy", start_asap=False)
            assert started == []
            await asyncio.sleep(1)
            assert started == ["at once"]
            await lazy
            assert started == ["at once", "lazy"]
            starter.inquire(name="never read", start_asap=False)

    run_virtual(scenario)
    assert started == ["at once", "lazy"]


def test_a_lazy_call_that_nobody_read_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """At the end of the outermost context the log says which agents never ran, and how often; not those that did."""

    async def scenario() -> None:
        async with MiniAgents(start_everything_asap_by_default=False):
            async with MiniAgents():
                for _ in range(2):
                    echo.inquire("never read", start_asap=False)
                delayed.inquire(delay=1, say="not lazy")
            assert not caplog.messages
            echo.fork(alias="DROPPED").inquire("never read")
            await echo.fork(alias="READ").inquire("read")

    with caplog.at_level(logging.INFO, "miniagents"):
        run_virtual(scenario)
    assert caplog.messages == ["Never started, because nobody read their replies in time: DROPPED (1), ECHO (2)"]


def test_a_lazy_call_that_was_cancelled_is_told_as_one_that_was_not_read_in_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Reading a lazy call that was cancelled starts nothing, and the log does not say that nobody has read it."""

    async def scenario() -> None:
        async with MiniAgents():
            replies = echo.inquire("read too late", start_asap=False)
            replies.cancel()
            with pytest.raises(PromiseCancelledError):
                await replies

    with caplog.at_level(logging.INFO, "miniagents"):
        run_virtual(scenario)
    assert caplog.messages == ["Never started, because nobody read their replies in time: ECHO (1)"]


def test_agents_run_in_parallel() -> None:
    """Agents that were called one after another work at the same time."""

    async def scenario() -> tuple[Any, float]:
        async with MiniAgents():
            calls = [delayed.inquire(delay=n, say=str(n)) for n in range(1, 6)]
            replies = [str(*await call) for call in calls]
        return replies, asyncio.get_running_loop().time()

    assert run_virtual(scenario) == (["1", "2", "3", "4", "5"], 5.0)


def test_tokens_pass_through_agents_while_they_are_made() -> None:
    """Through three agents, in two branches at once, each token reaches the outermost readers when it is made."""

    @miniagent
    async def middle(ctx: InteractionContext) -> None:
        ctx.reply(slow_speaker.inquire(ctx.message_promises))

    @miniagent
    async def top(ctx: InteractionContext) -> None:
        ctx.reply([middle.inquire(), ["between"], middle.inquire()])

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        async with MiniAgents():
            replies = top.inquire()
            live = []
            async for promise in replies:
                live.append([(token, loop.time() - start) async for token in promise])
            branch = [("one ", 1.0), ("two ", 2.0), ("three", 3.0)]
            assert live == [branch, [("between", 3.0)], [(token, 3.0) for token, _ in branch]]
            late = [[token async for token in promise] async for promise in replies]
            assert late == [["one ", "two ", "three"], ["between"], ["one ", "two ", "three"]]

    for seed in range(20):
        run_virtual(scenario, seed=seed)


def test_the_input_is_a_sequence_that_is_still_growing() -> None:
    """An agent reads the messages it is sent while they are written, and may read them again."""

    async def scenario() -> Any:
        @miniagent
        async def reader(ctx: InteractionContext) -> None:
            assert isinstance(ctx.message_promises, MessageSequencePromise)
            first = [str(await promise) async for promise in ctx.message_promises]
            ctx.reply([*first, *(await ctx.message_promises)])

        async with MiniAgents():
            return [str(m) for m in await reader.inquire(slow_speaker.inquire())]

    assert run_virtual(scenario) == ["one two three", "one two three"]


def test_out_of_order_replies_come_as_they_are_there() -> None:
    """`reply_out_of_order` delivers what is there first; `reply` keeps its order; all readers agree."""

    @miniagent
    async def collector(ctx: InteractionContext) -> None:
        for delay in (3, 1, 2):
            ctx.reply_out_of_order(delayed.inquire(delay=delay, say=f"{delay} s"))
        ctx.reply_out_of_order([Message.promise(slow_tokens), "whole"])
        ctx.reply("in order")

    async def scenario() -> list[str]:
        async with MiniAgents():
            replies = collector.inquire()
            first = [str(message) for message in await replies]
            assert [str(await promise) async for promise in replies] == first
            return first

    for order in explore(scenario, seeds=range(20)):
        assert order[:2] == ["whole", "in order"]
        assert set(order[2:4]) == {"1 s", "one two three"}
        assert order[4:] == ["2 s", "3 s"]


def test_a_reply_can_be_finished_early() -> None:
    """After `finish_early` readers see the end while the agent works on; further replies are refused."""
    log: list[Any] = []

    @miniagent
    async def early(ctx: InteractionContext) -> None:
        ctx.reply("said")
        ctx.finish_early()
        with pytest.raises(AppenderClosedError):
            ctx.reply("too late")
        await asyncio.sleep(5)
        log.append(asyncio.get_running_loop().time())

    async def scenario() -> tuple[Any, float]:
        log.clear()
        async with MiniAgents():
            replies = await early.inquire()
            at = asyncio.get_running_loop().time()
        return replies, at

    assert run_virtual(scenario) == ((Message("said"),), 0.0)
    assert log == [5.0]


def test_replying_after_the_agent_has_returned_is_refused() -> None:
    """A task that outlives its agent cannot add to the reply that its readers have seen the end of."""
    errors: list[BaseException] = []

    @miniagent
    async def leaver(ctx: InteractionContext) -> None:
        async def reply_later() -> None:
            await asyncio.sleep(1)
            try:
                ctx.reply("late")
            except AppenderClosedError as error:
                errors.append(error)

        MiniAgents.get_current().start_asap(reply_later())
        ctx.reply("in time")

    async def scenario() -> Any:
        async with MiniAgents():
            return await leaver.inquire()

    assert run_virtual(scenario) == (Message("in time"),)
    assert len(errors) == 1


def test_what_is_no_message_is_refused_where_it_is_replied() -> None:
    """`ctx.reply` of something else raises in the agent, at that line, and says where it stood."""

    @miniagent
    async def confused(ctx: InteractionContext) -> None:
        ctx.reply("before")
        ctx.reply(["fine", 5])  # type: ignore[list-item]

    async def scenario() -> Any:
        async with MiniAgents():
            return await confused.inquire().settled()

    said, error = run_virtual(scenario)
    assert said == Message("before")
    assert isinstance(error, TypeError)
    assert "messages[1] is of type int" in str(error)


# ---------------------------------------------------------------------- open calls


def test_a_call_can_be_full_duplex() -> None:
    """With `finish_call=False` messages are sent while replies are read; `finish` ends the input."""

    @miniagent
    async def shouter(ctx: InteractionContext) -> None:
        async for promise in ctx.message_promises:
            ctx.reply(str(await promise).upper())

    async def scenario() -> list[str]:
        heard = []
        async with MiniAgents():
            call = shouter.initiate_inquiry()
            replies = aiter(call.reply_sequence(finish_call=False))
            for word in ("a", "b"):
                call.send_message(word)
                heard.append(str(await (await anext(replies))))
            call.send_message(["c", "d"]).finish()
            heard += [str(await promise) async for promise in replies]
            with pytest.raises(AppenderClosedError):
                call.send_message("too late")
            assert call.reply_sequence() is call.reply_sequence()
        return heard

    assert run_virtual(scenario) == ["A", "B", "C", "D"]


def test_a_call_opened_in_a_block_inside_an_agent_is_closed_by_that_block() -> None:
    """A call that an agent opens in a context of its own is finished when that context ends, before the agent does."""

    @miniagent
    async def opener(ctx: InteractionContext) -> None:
        async with MiniAgents():
            ctx.reply(echo.initiate_inquiry().send_message("x").reply_sequence(finish_call=False))

    async def scenario() -> Any:
        async with MiniAgents():
            return await opener.inquire()

    assert run_virtual(scenario) == (Message("x"),)


def test_agents_work_in_a_bare_context() -> None:
    """Agents and open calls need no more than a `PromisingContext`, which finishes the calls that were left open."""

    async def scenario() -> Any:
        async with PromisingContext():
            replies = echo.initiate_inquiry().send_message("x").reply_sequence(finish_call=False)
        return await replies

    assert run_virtual(scenario) == (Message("x"),)


@pytest.mark.parametrize("opened_by", ["an agent", "the block"])
def test_a_call_left_open_is_closed_by_the_end_of_who_opened_it(opened_by: str) -> None:
    """A call that nobody finished is finished when the agent, or the context, that opened it ends."""
    heard: list[Any] = []

    @miniagent
    async def listener(ctx: InteractionContext) -> None:
        heard.append([m.text for m in await ctx.message_promises])

    @miniagent
    async def opener(ctx: InteractionContext) -> None:
        listener.initiate_inquiry().send_message("left open")

    async def scenario() -> None:
        heard.clear()
        async with MiniAgents():
            if opened_by == "an agent":
                await opener.inquire()
                await asyncio.sleep(1)
                assert heard == [["left open"]]
            else:
                listener.initiate_inquiry().send_message("left open")

    run_virtual(scenario)
    assert heard == [["left open"]]


# ---------------------------------------------------------------------- outside any context


def test_a_call_outside_any_context_starts_where_it_is_read() -> None:
    """`inquire` outside any context gives a promise of the same class that starts in the context of its first reader."""
    replies = delayed.inquire("x", delay=0, say="later")
    assert isinstance(replies, MessageSequencePromise)
    assert MiniAgents().run(replies) == (Message("later"),)

    async def no_context() -> None:
        unread = echo.inquire("x")
        with pytest.raises(NoActiveContextError, match=r"ECHO.*async with MiniAgents"):
            await unread
        with pytest.raises(NoActiveContextError):
            await anext(aiter(unread))

    asyncio.run(no_context())


# ---------------------------------------------------------------------- who calls whom


def test_the_trace_leads_from_the_agent_to_its_first_caller() -> None:
    """`agent_trace` is this agent, its caller, and so on; `get_current` finds the interaction from anywhere inside."""
    traces: list[Any] = []

    async def helper() -> None:
        traces.append([agent.alias for agent in InteractionContext.get_current().agent_trace])

    @miniagent
    async def inner(ctx: InteractionContext) -> None:
        assert InteractionContext.get_current() is ctx
        assert ctx.this_agent is inner
        await helper()

    @miniagent
    async def outer(ctx: InteractionContext) -> None:
        await inner.inquire()

    async def scenario() -> None:
        async with MiniAgents():
            await outer.inquire()
            with pytest.raises(NoActiveContextError):
                InteractionContext.get_current()

    run_virtual(scenario)
    assert traces == [["INNER", "OUTER"]]


# ---------------------------------------------------------------------- size


def test_a_token_costs_the_same_through_any_number_of_agents() -> None:
    """Reading a token takes as many task steps after a thousand forwarding agents as after one."""

    @miniagent
    async def forward(ctx: InteractionContext, left: int) -> None:
        ctx.reply(forward.inquire(left=left - 1) if left else Message.promise(hundred_tokens))

    async def hundred_tokens(metadata: dict[str, Any]) -> AsyncIterator[str]:
        for _ in range(100):
            await asyncio.sleep(0.7)
            yield "x"

    def steps_through(depth: int) -> int:
        steps = 0

        def count(number: int, task: asyncio.Task[Any]) -> None:
            nonlocal steps
            steps += asyncio.get_running_loop().time() > 0

        async def scenario() -> None:
            async with MiniAgents():
                async for promise in forward.inquire(left=depth):
                    assert len([token async for token in promise]) == 100

        run_virtual(scenario, on_step=count)
        return steps

    assert steps_through(1) == steps_through(1000)


@pytest.mark.parametrize("depth", [10_000])
async def test_ten_thousand_agents_forward_one_to_the_next(depth: int) -> None:
    """A chain of ten thousand agents delivers what the last one says."""

    @miniagent
    async def forward(ctx: InteractionContext, left: int) -> None:
        ctx.reply(forward.inquire(ctx.message_promises, left=left - 1) if left else "bottom")

    async with MiniAgents():
        assert await forward.inquire("x", left=depth) == (Message("bottom"),)


async def test_a_hundred_thousand_nested_lists_in_one_reply() -> None:
    """A reply may be lists nested a hundred thousand deep."""
    deep: Any = ["bottom"]
    for _ in range(100_000):
        deep = [deep]

    @miniagent
    async def nester(ctx: InteractionContext) -> None:
        ctx.reply(deep)

    async with MiniAgents():
        assert await nester.inquire() == (Message("bottom"),)


async def test_a_call_that_has_ended_is_gone_when_its_reader_goes_on() -> None:
    """Nothing but the reply is left of a call then: many that end at once are not kept until all have ended."""
    tasks: list[weakref.ref[Any]] = []

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        tasks.append(weakref.ref(asyncio.current_task()))  # type: ignore[arg-type]
        ctx.reply("done")

    async with MiniAgents():
        for replies in [agent.inquire() for _ in range(3)]:
            await replies
            assert tasks
            assert not any(task() for task in tasks)


async def test_a_call_leaves_no_reference_cycles() -> None:
    """What is made for a call is freed by reference counting alone."""
    async with MiniAgents():
        await echo.inquire("warm up")
        gc.collect()
        gc.disable()
        try:
            for _ in range(100):
                await echo.inquire("x")
                await delayed.inquire(delay=0, say="y")
            assert gc.collect() == 0
        finally:
            gc.enable()


async def test_an_error_that_was_passed_on_leaves_no_reference_cycles() -> None:
    """A call that fails is freed by reference counting alone, also if its caller has passed on its replies."""

    @miniagent
    async def failing(ctx: InteractionContext) -> None:
        raise ValueError("no")

    @miniagent
    async def passing_on(ctx: InteractionContext) -> None:
        ctx.reply(failing.inquire())

    async def calls(count: int) -> None:
        async with MiniAgents():
            for _ in range(count):
                with pytest.raises(ValueError, match="no"):
                    await passing_on.inquire()

    await calls(1)
    gc.collect()
    gc.disable()
    try:
        await calls(1)
        once = gc.collect()
        await calls(100)
        assert gc.collect() == once  # what the context itself leaves, whatever ran in it
    finally:
        gc.enable()


async def test_what_an_agent_returns_is_not_lost_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    """An agent that returns its answer instead of replying with it is told so."""

    @miniagent
    async def forgetful(ctx: InteractionContext) -> Any:
        return "hello"

    async with MiniAgents():
        assert await forgetful.inquire() == ()
    assert "FORGETFUL has returned 'hello', which nobody gets: use ctx.reply." in caplog.text


@pytest.mark.parametrize("reserved", ["timeout", "budget", "start_asap", "messages"])
def test_what_belongs_to_a_call_is_no_preset(reserved: str) -> None:
    """A fork with it would do nothing of the kind, so it says where it belongs; also of an agent that takes anything."""

    @miniagent
    async def anything(ctx, **kwargs) -> None: ...

    with pytest.raises(TypeError, match=f"`{reserved}` is of each call: give it to `inquire`"):
        anything.fork(**{reserved: 1})
