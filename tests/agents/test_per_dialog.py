"""What an agent keeps while one dialog lasts."""

from typing import Any

import pytest

from miniagents import AWAIT, EndOfDialog, InteractionContext, MiniAgent, achain_loop, miniagent, run


class Notes(list[str]):
    """A thing to keep; no plain list, because those are copied for each call."""


@miniagent(per_dialog={"notes": Notes})
async def keeper(ctx: InteractionContext, *, notes: Notes | None = None, turns: int = 2) -> None:
    if notes is None:
        ctx.reply("nothing was made")
        return
    notes.extend([str(message) for message in await ctx.message_promises] or ["nothing"])
    if len(notes) > turns:
        raise EndOfDialog
    seen.append(list(notes))
    ctx.reply("more")


seen: list[list[str]] = []


@pytest.fixture(autouse=True)
def _nothing_seen_yet() -> None:
    seen.clear()


def dialog(agent: MiniAgent[...], *more: Any) -> None:
    run(achain_loop([agent, AWAIT, *more]))


def test_it_is_kept_from_turn_to_turn() -> None:
    """All turns of one dialog are given the same object."""
    dialog(keeper)
    assert seen == [["nothing"], ["nothing", "more"]]


def test_each_dialog_has_its_own() -> None:
    """A second dialog with the same agent starts afresh."""
    dialog(keeper)
    seen.clear()
    dialog(keeper)
    assert seen[0] == ["nothing"]


def test_an_agent_that_speaks_twice_in_a_ring_keeps_one() -> None:
    """It belongs to the agent in the dialog, not to its place in the ring."""
    dialog(keeper, keeper, AWAIT)
    assert seen == [["nothing"], ["nothing", "more"]]


def test_what_was_given_stays() -> None:
    """A preset that was given is used instead, and is there after the dialog."""
    mine = Notes(["given"])
    dialog(keeper.fork(notes=mine))
    assert mine[0] == "given"


def test_a_fork_keeps_things_as_well() -> None:
    """Other presets change nothing about it, and `None` counts as not given."""
    dialog(keeper.fork(alias="OTHER", turns=1).fork(notes=None))
    assert seen == [["nothing"]]


def test_outside_a_dialog_nothing_is_made() -> None:
    """A call by hand sees the default of the function."""
    assert [str(message) for message in run(keeper.inquire())] == ["nothing was made"]


def test_an_unknown_parameter_is_refused_at_decoration() -> None:
    """A name that the function does not take is a `TypeError` that says so."""
    with pytest.raises(TypeError, match="takes no argument `wrong`"):

        @miniagent(per_dialog={"wrong": list})
        async def agent(ctx: InteractionContext) -> None: ...
