"""Figures that are more than a yes: lengths, leaks, depths, and what comes after a kill."""

from pathlib import Path

import pytest

from reliability import figures, processes


def test_a_traceback_does_not_grow_with_the_readers() -> None:
    """The error of a promise has the same traceback for one reader and for a thousand."""
    (alone,) = figures.frames_for_readers(1)
    assert figures.frames_for_readers(1000) == {alone}


@pytest.mark.parametrize("fails", [False, True])
def test_a_call_leaves_no_cyclic_garbage(fails: bool) -> None:
    """Calls, failing ones too, are freed by reference counting alone."""
    assert figures.garbage_per_call(50, fails=fails) == 0


@pytest.mark.parametrize("fails", [False, True])
def test_a_context_that_lives_long_does_not_grow(fails: bool) -> None:
    """Thousands of calls in one context, failing ones too, leave nothing in it."""
    assert figures.growth_per_call(2000, fails=fails) < 0.1


def test_an_error_leads_to_its_last_reader() -> None:
    """A known limit: an error keeps the frame of its last reader, and with it a promise that is in a variable there."""
    assert 0 < figures.garbage_per_call(50, fails=True, holding=True) < 50


def test_calls_leave_nothing_behind() -> None:
    """After a context there are no more tasks, files and threads than before."""
    assert set(figures.leaks_of_calls(50).values()) == {0}


@pytest.mark.parametrize("max_ahead", [1, 10])
def test_a_producer_stays_within_its_bound(max_ahead: int) -> None:
    """However slow and fast a reader is by turns, a producer that never waits is as far ahead as was allowed, not more."""
    assert figures.furthest_ahead(2000, max_ahead) == max_ahead


def test_depth_is_no_special_case() -> None:
    """Thousands of agents, promises and lists inside each other are no problem."""
    assert figures.agents_deep(2000)
    assert figures.promises_deep(2000)
    assert figures.lists_deep(20_000)


@pytest.mark.parametrize("where", [*figures.INPUTS])
def test_bad_input_is_refused_by_a_documented_error(where: str) -> None:
    """Whatever is given: it is taken, or refused by an error that the documentation names."""
    assert figures.bad_inputs(where, 100) >= 100


async def test_one_interrupt_ends_a_program(tmp_path: Path) -> None:
    """One Ctrl+C, at any moment, ends a working program within the grace period, with the status for it."""
    exits = await processes.interrupt(4, tmp_path)
    assert not exits.bad, exits.bad[0]
    assert max(exits.seconds) <= processes.GRACE_SECONDS + 0.5


async def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    """Turns that a killed program had written down are in its history, each as it was."""
    acknowledged, lost = await processes.kill_writers(3, tmp_path)
    assert acknowledged >= 3
    assert not lost, lost[0]


async def test_a_torn_history_keeps_its_complete_entries(tmp_path: Path) -> None:
    """Every beginning of a history file loads, with all entries that are complete in it."""
    tried, lost = await processes.tear(tmp_path)
    assert tried > 100
    assert not lost, lost[0]
