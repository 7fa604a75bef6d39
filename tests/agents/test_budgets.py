"""Budgets: what a call may spend with everything that it calls."""

import asyncio
import logging
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miniagents import (
    Budget,
    BudgetExceededError,
    InteractionContext,
    Message,
    MessageSequencePromise,
    MiniAgents,
    Usage,
    check_budget,
    miniagent,
    record_usage,
)
from miniagents.agents.budget import cost_is_limited
from miniagents.promising import DeadlineExceededError, PromiseCancelledError
from miniagents.testing import explore, run_virtual


@miniagent
async def talker(ctx: InteractionContext, tokens: int = 10, cost: float | None = None) -> None:
    """Says a word and pays for it, each second, for ever."""

    async def words(metadata: dict[str, Any]) -> AsyncIterator[str]:
        while True:
            yield "word "
            await asyncio.sleep(1)
            record_usage(Usage(calls=1, output_tokens=tokens, cost=cost))

    ctx.reply(Message.promise(words))


@miniagent
async def waiter(ctx: InteractionContext) -> None:
    """Spends nothing, and goes on for ever."""
    ctx.reply("waiting")
    await asyncio.sleep(10**6)


@miniagent
async def boss(ctx: InteractionContext) -> None:
    ctx.reply(talker.inquire())
    ctx.reply(waiter.inquire())
    ctx.reply("from the boss")


async def words_of(promise: Any) -> tuple[list[str], BaseException | None]:
    words: list[str] = []
    try:
        async for word in promise:
            words.append(word)
    except PromiseCancelledError as error:
        return words, error
    return words, None


def test_a_budget_stops_everything_below_it_and_nothing_beside() -> None:
    """When it is passed all below the call is cancelled, at once; what was said stays, and the rest goes on untouched."""

    async def scenario() -> None:
        async with MiniAgents():
            beside = boss.inquire()
            replies = boss.inquire(budget=Budget(tokens=35))
            messages = aiter(replies)
            words, error = await words_of(await anext(messages))
            assert words == ["word "] * 5, "the first, and one behind each payment, until it has to wait again"
            assert asyncio.get_running_loop().time() == 4
            assert isinstance(error, BudgetExceededError)
            assert str(await anext(messages)) == "waiting"
            with pytest.raises(BudgetExceededError):
                await anext(messages)
            assert str((await replies.settled())[-1]) == "from the boss"
            assert replies.usage() == Usage(calls=4, output_tokens=40)
            await asyncio.sleep(3.5)
            assert beside.usage().calls == 7
            assert replies.usage().calls == 4
            beside.cancel()

    explore(scenario, seeds=range(20))


@pytest.mark.parametrize(
    ("budget", "limit", "text"),
    [
        (Budget(tokens=25), "tokens", "the budget of 25 tokens that BOSS had is used up: 30 tokens spent, the last by TALKER"),
        (Budget(calls=1), "calls", "the budget of 1 call that BOSS had is used up: 2 calls spent, the last by TALKER"),
        (Budget(cost=1000.2), "cost", "the budget of $1,000.2 that BOSS had is used up: $1,500 spent, the last by TALKER"),
        (Budget(cost=Decimal("999.9"), tokens=10**6), "cost", "the budget of $999.9 that BOSS had"),
    ],
)  # fmt: skip
def test_the_error_says_which_budget_and_how_much(budget: Budget, limit: str, text: str) -> None:
    """The error names the limit, what was spent, who had the budget and who spent last, in words and as attributes."""

    @miniagent(alias="BOSS")
    async def spending(ctx: InteractionContext) -> None:
        ctx.reply(talker.inquire(cost=500))

    async def scenario() -> None:
        async with MiniAgents():
            replies = spending.inquire(budget=budget, start_asap=False)
            (error,) = await replies.settled()
        assert isinstance(error, BudgetExceededError)
        assert text in str(error)
        assert (error.limit, error.budget, error.spent) == (limit, budget, replies.usage())
        assert (error.holder, error.spender) == ("BOSS", "TALKER")

    run_virtual(scenario)


@pytest.mark.parametrize(("outer", "inner", "calls_of_inner"), [(50, 25, 3), (25, 50, 3), (30, 30, 4), (1000, 15, 2)])
def test_each_of_nested_budgets_holds(outer: int, inner: int, calls_of_inner: int) -> None:
    """An inner call is stopped by its own budget or by that of a caller, whichever is passed first; the outer by its own."""
    spent_by_inner: list[MessageSequencePromise] = []

    @miniagent
    async def middle(ctx: InteractionContext) -> None:
        spent_by_inner.append(talker.inquire(budget=Budget(tokens=inner)))
        ctx.reply(spent_by_inner[0])
        await spent_by_inner[0].settled()
        while True:
            record_usage(Usage(calls=1, output_tokens=10))
            await asyncio.sleep(1)

    async def scenario() -> None:
        spent_by_inner.clear()
        async with MiniAgents():
            replies = middle.inquire(budget=Budget(tokens=outer))
            errors = [one for one in await replies.settled() if isinstance(one, BudgetExceededError)]
        assert spent_by_inner[0].usage().calls == calls_of_inner
        assert replies.usage().calls == outer // 10 + 1
        assert errors[-1].holder == "MIDDLE"
        assert errors[0].holder == ("TALKER" if inner <= outer else "MIDDLE")

    explore(scenario, seeds=range(5))


def test_what_is_used_up_to_the_last_is_not_passed() -> None:
    """A call that has spent exactly its budget may end; only a further request is refused, and stops the call."""

    @miniagent
    async def asker(ctx: InteractionContext, times: int) -> None:
        for number in range(times):
            check_budget()
            record_usage(Usage(calls=1, cost=0))
            await asyncio.sleep(1)
            ctx.reply(str(number))

    async def scenario() -> None:
        async with MiniAgents():
            assert [str(one) for one in await asker.inquire(times=3, budget=Budget(calls=3))] == ["0", "1", "2"]
            replies = asker.inquire(times=4, budget=Budget(calls=3))
            *said, error = await replies.settled()
            assert [str(one) for one in said] == ["0", "1", "2"]
            assert isinstance(error, BudgetExceededError)
            assert "the budget of 3 calls that ASKER had is used up: 3 calls spent" in str(error)
            assert replies.usage().calls == 3

    explore(scenario, seeds=range(5))


def test_who_swallows_the_refusal_is_stopped_all_the_same() -> None:
    """An agent that catches every error and asks again does not go on for ever: the call that had the budget is cancelled."""
    asked: list[int] = []

    @miniagent
    async def stubborn(ctx: InteractionContext) -> None:
        while True:
            try:
                check_budget()
                record_usage(Usage(calls=1))
            except BudgetExceededError as error:
                asked.append(error.holder == "HOLDER" and error.who == "STUBBORN")
            await asyncio.sleep(1)

    @miniagent
    async def holder(ctx: InteractionContext) -> None:
        ctx.reply("begun")
        await asyncio.gather(*(stubborn.inquire().settled() for _ in range(3)))

    async def scenario() -> None:
        asked.clear()
        async with MiniAgents():
            begun, error = await holder.inquire(budget=Budget(calls=5)).settled()
        assert str(begun) == "begun"
        assert isinstance(error, BudgetExceededError)
        assert asked == [True]

    explore(scenario, seeds=range(10))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 12),
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 4)), min_size=1, max_size=8),
    st.integers(0, 10**6),
)
def test_parallel_requests_never_pass_a_budget_of_calls(limit: int, agents: list[tuple[int, int]], seed: int) -> None:
    """Checked and recorded before they are sent, no more requests are sent than the budget has, in any schedule."""
    sent = 0

    @miniagent
    async def asker(ctx: InteractionContext, delay: int, times: int) -> None:
        nonlocal sent
        for _ in range(times):
            await asyncio.sleep(delay)
            check_budget()
            record_usage(Usage(calls=1, cost=0))
            sent += 1

    @miniagent
    async def team(ctx: InteractionContext) -> None:
        for delay, times in agents:
            ctx.reply(asker.inquire(delay=delay, times=times))

    async def scenario() -> None:
        async with MiniAgents():
            replies = team.inquire(budget=Budget(calls=limit))
            errors = await replies.settled()
            wanted = sum(times for _, times in agents)
            assert sent == replies.usage().calls == min(limit, wanted)
            assert any(isinstance(error, BudgetExceededError) for error in errors) == (wanted > limit)

    run_virtual(scenario, seed=seed)


def test_what_comes_in_after_the_end_still_counts() -> None:
    """Requests that were on their way when the budget was passed are recorded, and end the call no second time."""

    @miniagent
    async def slow(ctx: InteractionContext, seconds: int) -> None:
        try:
            await asyncio.sleep(seconds)
        finally:
            record_usage(Usage(calls=1, output_tokens=100))

    @miniagent
    async def team(ctx: InteractionContext) -> None:
        ctx.reply([slow.inquire(seconds=seconds) for seconds in (1, 2, 3)])

    async def scenario() -> None:
        async with MiniAgents():
            replies = team.inquire(budget=Budget(tokens=50))
            errors = await replies.settled()
            assert [error.spent.calls for error in errors if isinstance(error, BudgetExceededError)] == [1, 1, 1]
        assert replies.usage().calls == 3

    explore(scenario, seeds=range(10))


@pytest.mark.parametrize(("budget", "timeout", "ends"), [(3, None, 3), (3, 5, 3), (5, 3, 3)])
def test_seconds_are_a_deadline(budget: float, timeout: float | None, ends: float) -> None:
    """`seconds` stop the call as a `timeout` does, and with both the shorter one does."""

    async def scenario() -> None:
        async with MiniAgents():
            replies = waiter.inquire(budget=Budget(seconds=budget, tokens=1), timeout=timeout)
            said, error = await replies.settled()
            assert str(said) == "waiting"
            assert isinstance(error, DeadlineExceededError)
            assert asyncio.get_running_loop().time() == ends

    run_virtual(scenario)


def test_an_open_call_may_have_a_budget() -> None:
    """`initiate_inquiry` takes a budget too."""

    @miniagent
    async def asker(ctx: InteractionContext) -> None:
        async for promise in ctx.message_promises:
            record_usage(Usage(calls=1))
            ctx.reply(await promise)

    async def scenario() -> None:
        async with MiniAgents():
            call = asker.initiate_inquiry(budget=Budget(calls=1))
            call.send_message(["one", "two", "three"])
            one, *_, error = await call.reply_sequence().settled()
            assert str(one) == "one"
            assert isinstance(error, BudgetExceededError)

    run_virtual(scenario)


def test_a_call_that_starts_late_keeps_to_the_budget() -> None:
    """A lazy call that starts when the call with the budget has ended belongs to it, and is stopped by it."""

    @miniagent
    async def late(ctx: InteractionContext) -> None:
        ctx.reply(talker.inquire(start_asap=False))

    async def scenario() -> None:
        async with MiniAgents():
            replies = late.inquire(budget=Budget(calls=2))
            await asyncio.sleep(1)
            (promise,) = [promise async for promise in replies]
            words, error = await words_of(promise)
            assert len(words) == 4
            assert isinstance(error, BudgetExceededError)
            assert error.holder == "LATE"

            promises = [promise async for promise in late.inquire(budget=Budget(calls=2))]
            words, error = await words_of(promises[0])  # and nobody has the replies of the call any more
            assert len(words) == 4
            assert isinstance(error, BudgetExceededError)

    explore(scenario, seeds=range(5))


def test_a_thread_uses_up_a_budget() -> None:
    """What a tool in a thread records stops the call, whose agent is in the midst of something else."""

    refused: list[BudgetExceededError] = []

    def tool() -> None:
        record_usage(Usage(calls=5))
        record_usage(Usage(calls=1))
        with pytest.raises(BudgetExceededError) as caught:
            check_budget()
        refused.append(caught.value)

    @miniagent
    async def worker(ctx: InteractionContext) -> None:
        ctx.reply("begun")
        await asyncio.to_thread(tool)
        await asyncio.Event().wait()

    async def main() -> tuple[Message | BaseException, ...]:
        return await worker.inquire(budget=Budget(calls=4)).settled()

    begun, error = MiniAgents().run(main())
    assert str(begun) == "begun"
    assert isinstance(error, BudgetExceededError)
    assert [one.spent for one in (error, *refused)] == [Usage(calls=5)] * 2, "what passed it, and not what came later"


def test_a_budget_that_nobody_has_read_of_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Like a deadline, that a budget was passed is logged once if nobody reads the replies."""

    async def scenario() -> None:
        async with MiniAgents():
            talker.inquire(budget=Budget(calls=1))

    with caplog.at_level(logging.ERROR):
        run_virtual(scenario)
    assert caplog.text.count("BudgetExceededError: ") == 1


def test_whether_the_cost_must_be_known_is_asked_at_any_depth() -> None:
    """`cost_is_limited` sees the budgets of the call and of all above it, and none of others."""
    told: list[bool] = []

    @miniagent
    async def asker(ctx: InteractionContext) -> None:
        told.append(cost_is_limited())

    @miniagent
    async def middle(ctx: InteractionContext) -> None:
        await asker.inquire(budget=Budget(tokens=5))

    async def scenario() -> None:
        async with MiniAgents():
            await middle.inquire(budget=Budget(cost=5))
            await middle.inquire(budget=Budget(calls=5))
        assert told == [True, False]
        assert not cost_is_limited()
        check_budget()

    run_virtual(scenario)


def test_a_budget_has_a_limit() -> None:
    """No limit at all, and one that nothing fits into, is a `ValueError` at once; what is no number a `TypeError`."""
    with pytest.raises(ValueError, match="needs a limit: `tokens`"):
        Budget()
    for name in ("tokens", "calls", "cost", "seconds"):
        for odd in (0, -1):
            with pytest.raises(ValueError, match=f"`{name}` of a budget is a positive number"):
                Budget(**{name: odd})
        for wrong in (True, "5", 1j):
            with pytest.raises(TypeError, match=f"`{name}` of a budget is a"):
                Budget(**{name: wrong})  # type: ignore[arg-type]
    for name in ("tokens", "calls"):
        with pytest.raises(TypeError, match="whole number"):
            Budget(**{name: 1.5})  # type: ignore[arg-type]
    for name in ("cost", "seconds"):
        for endless in (float("nan"), float("inf"), -0.5):
            with pytest.raises(ValueError, match=f"`{name}` of a budget is a positive number"):
                Budget(**{name: endless})
    with pytest.raises(ValueError, match="positive"):
        Budget(cost=Decimal("NaN"))


def test_a_call_takes_no_other_budget() -> None:
    """What is no `Budget` is refused by the call itself, and an agent may not have a parameter of that name."""
    for call in (waiter.inquire, waiter.initiate_inquiry):
        with pytest.raises(TypeError, match=r"`Budget\(tokens=10_000\)`, not 5"):
            call(budget=5)  # type: ignore[operator]
    with pytest.raises(TypeError, match="`budget`, which `inquire` takes"):

        @miniagent
        async def accountant(ctx: InteractionContext, budget: int) -> None: ...
