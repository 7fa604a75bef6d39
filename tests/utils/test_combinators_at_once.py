"""`first_of` and `hedge`: one wins, and the others are cancelled."""

import asyncio
import gc
import weakref
from typing import Any

import pytest

from miniagents import EndOfDialog, ErrorMessage, InteractionContext, Message, first_of, hedge, miniagent, retry
from miniagents.messages import MessageSequence
from miniagents.utils import AllFailedError
from miniagents.utils.at_once import Calls
from miniagents.utils.combined import Asked
from support.actors import CONTEXTS, Stage, heard, now, play

BUSY = ConnectionError("busy")
BROKEN = ValueError("broken")

every_context = pytest.mark.parametrize("options", CONTEXTS.values(), ids=CONTEXTS)
any_order = pytest.mark.parametrize("seed", range(20))


@every_context
@any_order
def test_the_first_complete_answer_wins(options: Any, seed: int) -> None:
    """Who is the first to have said all wins, whoever has begun first; the others are cancelled, with all they do."""
    stage = Stage()
    agent = first_of(
        stage.actor("early", "e1", "e2", "e3", begins=1),
        stage.actor("quick", "q1", "q2", begins=1.5, pause=0.5),
        stage.actor("broken", error=BUSY, begins=1.25, works_on=99),
        stage.actor("slow", "s", begins=99),
    )
    assert play(lambda: heard(agent.inquire()), seed, **options) == [(2, "q1"), (2, "q2")]
    assert stage.asked == {"early": [0], "quick": [0], "broken": [0], "slow": [0]}
    assert stage.ended == {
        "early": ["cancelled"],
        "quick": ["done"],
        "broken": ["failed"],
        "broken at work": ["cancelled"],
        "slow": ["cancelled"],
    }


@every_context
@any_order
def test_the_first_token_wins_if_that_is_wanted(options: Any, seed: int) -> None:
    """With `whole=False` who has the first token streams live, and if it breaks off later there is nobody else."""
    stage = Stage()
    agent = first_of(stage.actor("slow", "s", begins=2), stage.actor("early", "e1", "e2", error=BUSY), whole=False)
    assert play(lambda: heard(agent.inquire()), seed, **options) == [(1, "e1"), (2, "e2"), (2, BUSY)]
    assert stage.ended == {"early": ["failed"], "slow": ["cancelled"]}


@any_order
def test_of_two_at_the_same_moment_the_one_that_is_named_first_wins(seed: int) -> None:
    """Calls that are decided when the race is looked at are taken in the order in which they were asked."""
    stage = Stage()

    async def scene() -> list[str]:
        with Calls(None, whole=True) as calls:
            for name, begins in (("C", 3), ("A", 1), ("B", 2)):
                calls.ask(Asked(name, stage.actor(name, "x", begins=begins).inquire))
            await calls.wait(for_all=True)
            return [alias for alias, _, _ in calls.take_decided()]

    assert play(scene, seed) == ["C", "A", "B"]


@every_context
@any_order
def test_a_failure_does_not_win(options: Any, seed: int) -> None:
    """Who fails, early or late, is out of the race; if all do the reply is one error with all of theirs."""
    stage = Stage()
    two_fail = first_of(
        stage.actor("A", error=BUSY), stage.actor("B", "b1", error=BROKEN), stage.actor("C", "c", begins=9)
    )
    assert play(lambda: heard(two_fail.inquire()), seed, **options) == [(9, "c")]
    all_fail = first_of(stage.actor("D", "d1", "d2", error=BUSY), stage.actor("E", "e1", error=BROKEN))
    ((moment, error),) = play(lambda: heard(all_fail.inquire()), seed, **options)
    assert moment == 2
    assert isinstance(error, AllFailedError)
    assert error.exceptions == (BROKEN, BUSY)


def test_an_error_that_arrives_as_a_message_does_not_win() -> None:
    """Where errors arrive as messages such a message is no success."""
    stage = Stage()
    agent = first_of(stage.actor("A", "a", error=BUSY), stage.actor("B", "b", begins=9))
    assert play(lambda: heard(agent.inquire()), errors_as_messages=True) == [(9, "b")]
    failing = first_of(stage.actor("A", "a", error=BUSY))
    (message,) = play(lambda: failing.inquire(), errors_as_messages=True)
    assert isinstance(message, ErrorMessage)
    assert "busy" in str(message)


@pytest.mark.parametrize(
    "ends", [EndOfDialog(), KeyboardInterrupt(), SystemExit(3)], ids=lambda error: type(error).__name__
)
def test_what_ends_dialogs_and_programs_ends_the_race(ends: BaseException) -> None:
    """The end of a dialog, and what ends programs, is passed on at once, and the others are cancelled."""
    for combinator in (first_of, lambda *agents: first_of(*agents, whole=False), lambda agent, _: hedge(agent, 9)):
        stage = Stage()
        agent = combinator(stage.actor("A", error=ends), stage.actor("B", "b", begins=9))
        assert play(lambda agent=agent: heard(agent.inquire())) == [(1, ends)]
        assert stage.ended == {"A": ["failed"]} | ({"B": ["cancelled"]} if "B" in stage.asked else {})


class Held:
    pass


@pytest.mark.parametrize("whole", [False, True])
def test_nothing_holds_a_loser(whole: bool) -> None:
    """When a winner was found, nothing keeps what the losers had said, not even until garbage is collected."""
    held: weakref.WeakSet[Held] = weakref.WeakSet()

    @miniagent
    async def loser(ctx: InteractionContext) -> None:
        mine = Held()
        held.add(mine)

        async def tokens(metadata: dict[str, Any]) -> Any:
            metadata["mine"] = str(mine)
            await asyncio.sleep(99)
            yield "late"

        ctx.reply(Message.promise(tokens))
        await asyncio.sleep(99)

    async def scene() -> None:
        replies = first_of(loser, Stage().actor("W", "w1", "w2"), whole=whole).inquire()
        async for promise in replies:
            async for _ in promise:
                await asyncio.sleep(0.5)
                assert len(held) == 0
        assert len(await replies) == 1

    gc.disable()
    try:
        play(scene)
    finally:
        gc.enable()


def test_nobody_waits_for_a_stream_that_a_loser_has_passed_on() -> None:
    """What a loser passes on of somebody else's goes on; in the race nobody waits for it any more."""

    async def scene() -> None:
        foreign = MessageSequence()
        foreign.message_appender.open()

        @miniagent
        async def forwarding(ctx: InteractionContext) -> None:
            ctx.reply(foreign.sequence_promise)

        await first_of(forwarding, Stage().actor("W", "w")).inquire()
        await asyncio.sleep(1)
        assert {task.get_name() for task in asyncio.all_tasks()} == {"main"}
        foreign.message_appender.close()

    play(scene)


# ---------------------------------------------------------------------- hedge


@every_context
@any_order
def test_who_begins_in_time_is_not_asked_again(options: Any, seed: int) -> None:
    """If the first token is there in time there is one call, however long the rest takes, and it streams live."""
    stage = Stage()
    agent = hedge(stage.actor("A", "a1", "a2", pause=50), after=2)
    assert play(lambda: heard(agent.inquire()), seed, **options) == [(1, "a1"), (51, "a2")]
    assert stage.asked == {"A": [0]}


@every_context
@any_order
def test_who_is_late_is_asked_again_and_the_first_token_wins(options: Any, seed: int) -> None:
    """A further call is made each time the time is over, no more than so many in all; who begins first wins."""
    stage = Stage()
    agent = hedge(stage.actor("A", "a", "more", begins=[99, 99, 3, 0]), after=5, attempts=3)
    assert play(lambda: heard(agent.inquire()), seed, **options) == [(13, "a"), (14, "more")]
    assert stage.asked == {"A": [0, 5, 10]}
    assert sorted(stage.ended["A"]) == ["cancelled", "cancelled", "done"]


@any_order
def test_the_first_call_may_still_win(seed: int) -> None:
    """The first call goes on when the second is made, and wins if it begins first."""
    stage = Stage()
    agent = hedge(stage.actor("A", "a", "more", begins=[6, 9]), after=5)
    assert play(lambda: heard(agent.inquire()), seed) == [(6, "a"), (7, "more")]
    assert stage.ended == {"A": ["cancelled", "done"]}


def test_a_hedge_is_not_against_errors() -> None:
    """A call that fails in time is not made again: its error is the reply; with `retry` inside, both are covered."""
    stage = Stage()
    assert play(lambda: heard(hedge(stage.actor("A", error=BUSY), after=5).inquire())) == [(1, BUSY)]
    assert stage.asked == {"A": [0]}
    both = hedge(retry(stage.actor("B", error=BUSY), attempts=2, delay=1), after=50)
    assert play(lambda: heard(both.inquire())) == [(3, BUSY)]
    assert stage.asked["B"] == [0, 2]


def test_a_call_that_fails_is_out_of_the_race() -> None:
    """When one of two calls fails the other can still win; when both have, the last error is the reply."""
    stage = Stage()
    calls = [stage.actor("A", error=BUSY, begins=6), stage.actor("B", "b", begins=9)]
    calls += [stage.actor("C", error=BUSY, begins=6), stage.actor("D", error=BROKEN, begins=9)]

    @miniagent
    async def varying(ctx: InteractionContext) -> None:
        ctx.reply(calls.pop(0).inquire())

    agent = hedge(varying, after=5)
    assert play(lambda: heard(agent.inquire())) == [(14, "b")]
    assert play(lambda: heard(agent.inquire())) == [(14, BROKEN)]


def test_a_failure_does_not_put_off_the_next_call() -> None:
    """The time after which the next call is made runs from the call before, whatever fails meanwhile."""
    stage = Stage()
    calls = [stage.actor("A", "a", begins=99), stage.actor("A", error=BUSY, begins=3), stage.actor("A", "c", begins=2)]

    @miniagent
    async def varying(ctx: InteractionContext) -> None:
        ctx.reply(calls.pop(0).inquire())

    assert play(lambda: heard(hedge(varying, after=5, attempts=3).inquire())) == [(12, "c")]
    assert stage.asked == {"A": [0, 5, 10]}


def test_losers_have_no_say_in_when_the_reply_ends() -> None:
    """A loser that takes its time to clean up does not hold up the reply; only the context waits for it."""

    @miniagent
    async def stubborn(ctx: InteractionContext) -> None:
        try:
            await asyncio.sleep(99)
        finally:
            await asyncio.sleep(3)
            ends.append(now())

    ends: list[float] = []

    async def scene() -> None:
        await first_of(stubborn, Stage().actor("W", "w")).inquire()
        ends.append(now())

    play(scene)
    assert ends == [1, 4]
