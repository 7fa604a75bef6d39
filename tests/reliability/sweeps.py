"""The sweeps: all points at which one harm can be done to a scenario, and running them."""

import gc
import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import reliability.scenarios_agents
import reliability.scenarios_messages  # noqa: F401  (both add their scenarios)
from reliability.harness import Point, Run
from reliability.planted import Planted
from reliability.scenarios import SCENARIOS
from reliability.stage import ERRORS, SETTINGS

SWEEPS = ("schedule", "cancel", "kill", "raise", "leave")


@dataclass
class Result:
    """What a sweep has found."""

    tried: int = 0
    bad: list[str] = field(default_factory=list)
    """The points at which something went wrong, each with what it was and how to run it again."""

    def add(self, other: "Result") -> None:
        """Count `other` in."""
        self.tried += other.tried
        self.bad += other.bad


def run_point(point: Point) -> Run:
    """Run one point."""
    return Run(SCENARIOS[point.scenario], point).go()


def points_of(sweep: str, scenario: str, settings: str, seed: int) -> list[Point]:
    """All points of a sweep for one order of tasks, found out by a run in which nothing is done."""
    dry = Point("schedule", scenario, settings, seed)
    if sweep == "schedule":
        return [dry]
    run = Run(SCENARIOS[scenario], dry, is_dry=True).go()
    if sweep == "raise":
        return [
            Point(sweep, scenario, settings, seed, number, error)
            for number in range(run.stage.checkpoints)
            for error in ERRORS
        ]
    return [
        Point(sweep, scenario, settings, seed, step, str(victim))
        for step, victims in enumerate(run.steps)
        for victim in range(victims[sweep])
    ]


def complaint(run: Run) -> str:
    """What went wrong, and how to see it again."""
    problems = "\n    ".join(run.problems[:5])
    return f"{run.point}\n    {problems}\n    again: uv run python scripts/reliability.py --point {run.point}"


def sweep_scenario(
    sweep: str, scenario: str, settings: Iterable[str], seeds: Iterable[int], limit: int, *, stop_at_bad: bool = False
) -> Result:
    """Try a sweep on one scenario: for each of the settings and seeds, up to `limit` points, drawn by the seed."""
    result = Result()
    for name in settings:
        for seed in seeds:
            points = points_of(sweep, scenario, name, seed)
            if len(points) > limit:
                points = random.Random(f"{scenario}{seed}").sample(points, limit)
            for point in points:
                run = run_point(point)
                result.tried += 1
                if run.problems:
                    result.bad.append(complaint(run))
                    if stop_at_bad:
                        return result
    return result


@contextmanager
def frozen_heap() -> Iterator[None]:
    """What is there already is not looked at by the collections after each run, which makes them cheap."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


# How much is tried by default: this many points for each scenario, sweep and seed, and seeds for schedules. `scale`
# multiplies the seeds.
_POINTS_PLAIN = 60
_POINTS_HOSTILE = 8
HOSTILE = tuple(name for name in SETTINGS if name != "plain")

# What the sweeps have found and is not mended yet. A test sees to it that an entry is removed when it is.
OPEN: dict[tuple[str, str], str] = {}


def sweep_all_settings(sweep: str, scenario: str, scale: int = 1) -> Result:
    """Try a sweep on one scenario under all settings."""
    result = Result()
    for settings, limit in ((["plain"], _POINTS_PLAIN), (HOSTILE, _POINTS_HOSTILE)):
        seeds = range(limit * scale if sweep == "schedule" else scale)
        result.add(sweep_scenario(sweep, scenario, settings, seeds, limit))
    return result


def find(mistake: Planted) -> Result:
    """Look for a mistake that was made on purpose, until it is found."""
    seeds = range(40 if mistake.sweep == "schedule" else 3)
    with mistake.make():
        return sweep_scenario(mistake.sweep, mistake.scenario, [mistake.settings], seeds, 200, stop_at_bad=True)
