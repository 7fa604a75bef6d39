"""Whatever is cancelled, killed or raised, wherever: everything ends, and nobody loses what was said to them."""

from collections.abc import Iterator

import pytest

from reliability.harness import Point
from reliability.planted import PLANTED, Planted
from reliability.scenarios import SCENARIOS
from reliability.sweeps import OPEN, SWEEPS, find, frozen_heap, points_of, run_point, sweep_all_settings


@pytest.fixture(autouse=True, scope="module")
def _frozen_heap() -> Iterator[None]:
    with frozen_heap():
        yield


def all_sweeps() -> Iterator[object]:
    for sweep in SWEEPS:
        for scenario in SCENARIOS:
            reason = OPEN.get((sweep, scenario))
            marks = [] if reason is None else [pytest.mark.xfail(reason=reason, raises=AssertionError)]
            yield pytest.param(sweep, scenario, id=f"{sweep}-{scenario}", marks=marks)


@pytest.mark.parametrize(("sweep", "scenario"), [*all_sweeps()])
def test_nothing_hangs_and_nothing_is_lost(sweep: str, scenario: str) -> None:
    """At every point that is tried the run ends, readers get what they must, and nothing is left behind."""
    result = sweep_all_settings(sweep, scenario)
    assert result.tried > 0 or sweep == "raise", "nothing was tried"
    assert not result.bad, f"{len(result.bad)} of {result.tried} points are bad. The first:\n{result.bad[0]}"


@pytest.mark.parametrize("mistake", PLANTED, ids=lambda mistake: mistake.name)
def test_the_sweeps_find_what_was_planted(mistake: Planted) -> None:
    """A mistake made on purpose is found by the sweep that is there for it."""
    result = find(mistake)
    assert result.bad, f"{result.tried} points were tried, and none of them was bad"


def test_each_sweep_is_tried_on_a_mistake() -> None:
    """For each sweep there is a mistake that it must find."""
    assert {mistake.sweep for mistake in PLANTED} == set(SWEEPS)


def test_a_point_is_repeated_by_its_name() -> None:
    """What a failing point prints is all that is needed to run it again, with the same end."""
    point = points_of("kill", "rope", "hostile", seed=3)[-1]
    assert Point.parse(str(point)) == point
    first, second = run_point(point), run_point(Point.parse(str(point)))
    assert [task.result() for task in first.stage.tasks()] == [task.result() for task in second.stage.tasks()]


def test_the_error_of_a_point_is_raised() -> None:
    """A point of the sweep that raises does raise, at the checkpoint that it names."""
    point = points_of("raise", "stream", "plain", seed=0)[0]
    run = run_point(point)
    assert type(run.stage.raised).__name__ == point.victim
    assert not run.problems
