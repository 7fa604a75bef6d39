"""What holds for every agent that is made of agents."""

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import pytest

from miniagents import (
    AWAIT,
    EndOfDialog,
    InteractionContext,
    MiniAgent,
    MiniAgents,
    achain_loop,
    best_of,
    fallback,
    first_of,
    hedge,
    map_agents,
    miniagent,
    retry,
)
from miniagents.promising import PromiseCancelledError
from miniagents.testing import check_sequence, run_virtual
from support.actors import CONTEXTS, Stage, play

# Each as an agent that is made of one.
COMBINATORS: dict[str, Callable[[MiniAgent[...]], MiniAgent[...]]] = {
    "fallback": lambda agent: fallback(agent, agent),
    "fallback whole": lambda agent: fallback(agent, agent, whole=True),
    "retry": lambda agent: retry(agent, delay=1),
    "first_of": lambda agent: first_of(agent, agent),
    "first_of token": lambda agent: first_of(agent, agent, whole=False),
    "hedge": lambda agent: hedge(agent, after=1.5),
    "best_of": lambda agent: best_of(2, agent, lambda request: 1),
    "map_agents": lambda agent: map_agents(agent),
    "map_agents limited": lambda agent: map_agents(agent, ["x", "y"], max_concurrency=1),
    "nested": lambda agent: fallback(retry(hedge(first_of(agent), after=5)), agent),
}

every_combinator = pytest.mark.parametrize("made_of", COMBINATORS.values(), ids=COMBINATORS)
every_context = pytest.mark.parametrize("options", CONTEXTS.values(), ids=CONTEXTS)


@miniagent
async def polite(ctx: InteractionContext, name: str, greeting: str = "Hello") -> None:
    """Greets people. Known as {AGENT_ALIAS}."""
    ctx.reply(f"{greeting}, {name}!")


@every_combinator
@every_context
def test_the_arguments_go_to_the_agents(made_of: Any, options: Any) -> None:
    """Keyword arguments of the call and presets of a fork reach the agents; so do presets that these have already."""
    agent = made_of(polite)

    async def scene() -> list[str]:
        calls = (
            agent.inquire("hi", name="Ada"),
            agent.fork(name="Bob", greeting="Hi").inquire("hi"),
            made_of(polite.fork(name="Eve")).inquire("hi"),
            made_of(polite.fork(name="Eve")).inquire("hi", name="Kim"),
        )
        return [str((await replies)[0]) for replies in calls]

    assert play(scene, **options) == ["Hello, Ada!", "Hi, Bob!", "Hello, Eve!", "Hello, Kim!"]


@every_combinator
def test_wrong_arguments_are_refused_at_the_call(made_of: Any) -> None:
    """An argument that the agents do not take, or that is missing, is a `TypeError` where the call is made."""
    agent = made_of(polite)
    with pytest.raises(TypeError, match=r"takes no argument `nam`; its arguments are: greeting, name\."):
        agent.inquire(nam="Ada", name="Ada")
    with pytest.raises(TypeError, match="needs the argument `name`"):
        agent.inquire()
    with pytest.raises(TypeError, match="takes no argument `nam`"):
        agent.fork(nam="Ada")


def test_agents_share_the_arguments_that_all_of_them_take() -> None:
    """An argument that one of the agents does not take is refused; what one needs and others lack needs a preset."""

    @miniagent
    async def plain(ctx: InteractionContext, greeting: str = "") -> None:
        pass

    @miniagent
    async def open_to_all(ctx: InteractionContext, **anything: Any) -> None:
        assert anything == {"greeting": "Hi", "name": "Ada"}

    for wrong in ((polite, plain), (plain, polite)):
        with pytest.raises(TypeError, match=r"POLITE needs `name`.*PLAIN.*fork\(name=\.\.\.\)"):
            first_of(*wrong)
    fitting = first_of(polite.fork(name="Ada"), plain)
    with pytest.raises(TypeError, match="takes no argument `name`; its arguments are: greeting"):
        fitting.inquire(name="Bob")
    for either in (fallback(open_to_all, polite), fallback(polite, open_to_all)):
        with pytest.raises(TypeError, match="takes no argument `loud`"):
            either.inquire(loud=True)
        play(lambda either=either: either.inquire(greeting="Hi", name="Ada"))
    play(lambda: fallback(open_to_all, open_to_all).inquire(greeting="Hi", name="Ada"))


def test_the_names_are_made_of_theirs() -> None:
    """The alias tells the combinator and its agents, and the description is that of the first agent."""
    other = polite.fork(alias="OTHER")
    made = (
        fallback(polite, other),
        retry(polite),
        first_of(polite, other),
        hedge(polite, after=1),
        best_of(3, polite, lambda request: 0),
        map_agents(polite),
    )
    assert [agent.alias for agent in made] == [
        "POLITE_OR_OTHER",
        "POLITE_RETRIED",
        "FIRST_OF_POLITE_OTHER",
        "POLITE_HEDGED",
        "BEST_OF_3_POLITE",
        "POLITE_FOR_EACH",
    ]
    assert {agent.description for agent in made} == {"Greets people. Known as POLITE."}


@every_combinator
@every_context
@pytest.mark.parametrize("moment", [0, 0.5, 1, 1.5, 1.75, 2, 2.5, 3])
def test_cancelling_the_call_cancels_all_that_it_has_asked(made_of: Any, options: Any, moment: float) -> None:
    """At whatever moment the call is cancelled, no agent goes on, none is asked any more, and no task is left."""
    stage = Stage()
    agent = made_of(stage.actor("A", "a", "b", begins=2, pause=50, works_on=99))

    async def scene() -> tuple[float, Any]:
        replies = agent.inquire(["x", "y"], start_asap=True)
        reader = asyncio.ensure_future(replies.settled())
        await asyncio.sleep(moment)
        replies.cancel("enough")
        last = (await reader)[-1]
        return asyncio.get_running_loop().time(), last

    at, last = play(scene, **options)
    assert at == moment
    assert isinstance(last, PromiseCancelledError)
    assert all(asked <= moment for asked in stage.asked.get("A", []))
    assert set(stage.ended.get("A", [])) <= {"cancelled"}


@every_combinator
@every_context
def test_the_end_of_the_block_ends_everything(made_of: Any, options: Any) -> None:
    """`async with agent.inquire(...)` waits at its end until every agent that was asked has ended."""
    stage = Stage()
    agent = made_of(stage.actor("A", "a", begins=1, works_on=99))

    async def scene() -> None:
        async with agent.inquire("x", start_asap=True):
            await asyncio.sleep(0.5)
            assert stage.asked["A"]
        assert {task.get_name() for task in asyncio.all_tasks()} == {"main"}

    play(scene, **options)


@every_combinator
def test_a_deadline_of_the_call_holds_for_all(made_of: Any) -> None:
    """When the time of the call is over nobody is asked instead: its readers get that error at that moment."""
    stage = Stage()
    agent = made_of(stage.actor("A", "a", begins=50))

    async def scene() -> tuple[float, Any]:
        (outcome, *_) = await agent.inquire("x", timeout=3).settled()
        return asyncio.get_running_loop().time(), outcome

    at, outcome = play(scene)
    assert at == 3
    assert isinstance(outcome, TimeoutError)
    assert all(asked < 3 for asked in stage.asked["A"])


@every_combinator
@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.timeout(60)
def test_the_replies_keep_the_contract_of_streams(made_of: Any, lazy: bool) -> None:
    """All readers get the same, and an end, in any order of tasks, whoever is cancelled or killed, at each step."""

    @miniagent
    async def speaking(ctx: InteractionContext) -> None:
        await asyncio.sleep(0)
        ctx.reply(Stage().actor("A", "a", "b", begins=0, pause=0).inquire())

    agent = made_of(speaking)
    assert check_sequence(lambda: agent.inquire("x", start_asap=not lazy), seeds=range(2), points=60) > 60


@pytest.mark.parametrize("seed", range(10))
def test_agents_in_a_loop_keep_what_belongs_to_one_dialog(seed: int) -> None:
    """A loop gives each agent inside a combinator what that keeps for one dialog: made once per run, shared by no two."""
    made: list[list[str]] = []

    def make() -> list[str]:
        made.append([])
        return made[-1]

    class Kept:
        def __init__(self) -> None:
            self.said = make()

    @miniagent(per_dialog={"kept": Kept})
    async def remembering(ctx: InteractionContext, kept: Any = None) -> None:
        kept.said.append(str((await ctx.message_promises)[-1]))
        ctx.reply(f"{len(kept.said)}")

    @miniagent
    async def busy(ctx: InteractionContext) -> None:
        raise ConnectionError

    turns = iter(["one", "two", "three"])

    async def user(messages: Any) -> str:
        if (text := next(turns, None)) is None:
            raise EndOfDialog
        return text

    async def main() -> None:
        nonlocal turns
        assistant = fallback(busy, retry(remembering))
        for _ in range(2):
            turns = iter(["one", "two", "three"])
            async with MiniAgents():
                await achain_loop([user, AWAIT, assistant, AWAIT])

    run_virtual(main, seed=seed)
    assert made == [["one", "two", "three"], ["one", "two", "three"]]


@pytest.mark.parametrize("not_agents", [(), ([polite],), (polite, print), ("polite",)])
def test_what_is_no_agent_is_refused_at_once(not_agents: Any) -> None:
    """A combinator of no agent, or of what is none, is an error where it is made."""
    for combinator in (fallback, first_of):
        with pytest.raises((TypeError, ValueError), match=combinator.__name__):
            combinator(*not_agents)
    for combinator in (retry, lambda agent: hedge(agent, after=1), map_agents, lambda agent: best_of(2, agent, len)):
        with pytest.raises(TypeError, match="takes agents"):
            combinator(print)


@pytest.mark.parametrize(
    ("make", "error", "complaint"),
    [
        (lambda: retry(polite, attempts=0), ValueError, "`attempts` is at least 1"),
        (lambda: retry(polite, attempts=2.0), TypeError, "`attempts` is a whole number"),
        (lambda: retry(polite, attempts=True), TypeError, "`attempts` is a whole number, not True"),
        (lambda: retry(polite, delay=-1), ValueError, "`delay` is a finite number and at least 0"),
        (lambda: retry(polite, delay=float("nan")), ValueError, "`delay`"),
        (lambda: retry(polite, delay="1"), TypeError, "`delay` is a number"),
        (lambda: retry(polite, backoff=0.5), ValueError, "`backoff` is a finite number and at least 1"),
        (lambda: retry(polite, max_delay=float("inf")), ValueError, "`max_delay`"),
        (lambda: retry(polite, on="ValueError"), TypeError, "class of `Exception`s"),
        (lambda: fallback(polite, on=KeyboardInterrupt), TypeError, "KeyboardInterrupt"),
        (lambda: fallback(polite, on=EndOfDialog), TypeError, "no failure"),
        (lambda: fallback(polite, on=()), ValueError, "never do anything"),
        (lambda: hedge(polite, after=-1), ValueError, "`after`"),
        (lambda: hedge(polite, after=1, attempts=0), ValueError, "`attempts`"),
        (lambda: best_of(0, polite, len), ValueError, "`n`"),
        (lambda: best_of(2, polite, "judge"), TypeError, "judge of `best_of`"),
        (lambda: map_agents(polite, max_concurrency=0), ValueError, "`max_concurrency`"),
    ],
)
def test_wrong_settings_are_refused_at_once(make: Any, error: type[Exception], complaint: str) -> None:
    """A setting that makes no sense is an error where the combinator is made, which says what it should be."""
    with pytest.raises(error, match=complaint):
        make()


@every_combinator
def test_calls_leave_no_garbage(made_of: Any) -> None:
    """What calls that succeed and calls that fail have needed is freed at once: nothing is in a reference cycle."""

    @miniagent
    async def either(ctx: InteractionContext, fails: bool) -> None:
        ctx.reply(ctx.message_promises)
        if fails:
            raise ValueError("no")

    agent = made_of(either)

    async def garbage_of(calls: int) -> int:
        gc.collect()
        gc.disable()
        try:
            async with MiniAgents():
                for number in range(calls):
                    await agent.inquire("x", fails=bool(number % 2)).settled()
            return gc.collect()
        finally:
            gc.enable()

    async def main() -> None:
        await garbage_of(2)  # what is made once
        assert await garbage_of(40) == await garbage_of(2)  # what the context itself leaves, whatever ran in it

    run_virtual(main)
