"""Runs the proof of reliability and prints its table.

    uv run python scripts/reliability.py                  as much as the tests do, in about three minutes
    uv run python scripts/reliability.py --scale 12       twelve times as much
    uv run python scripts/reliability.py --write          keeps the table in docs/reliability.md
    uv run python scripts/reliability.py --point POINT    runs one point again, as a failing one has printed it
    uv run python scripts/reliability.py --wire CASE      likewise one answer of an LLM provider

The exit status is 1 if anything went wrong that is not known (`OPEN` in `tests/reliability/sweeps.py`).
"""

import argparse
import asyncio
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- figures: written by scripts/reliability.py -->", "<!-- end of the figures -->"
INPUTS_AT_ONCE = 3000
STEP_BETWEEN_BYTES = 19  # of an answer; every byte from scale 10 on

sys.path[0] = str(ROOT / "tests")  # in place of the folder of this script, which has the name of the package wanted

from reliability import costs, figures, processes, wire  # noqa: E402  (they are no part of the package)
from reliability.catalogue import CATALOGUE, judge, named_tests, outcomes_in  # noqa: E402
from reliability.harness import ERRORS, Point  # noqa: E402
from reliability.planted import PLANTED  # noqa: E402
from reliability.probes import passed_through  # noqa: E402
from reliability.probes_all import HOLES, KINDS, is_found  # noqa: E402
from reliability.scenarios import SCENARIOS  # noqa: E402
from reliability.stage import SETTINGS  # noqa: E402
from reliability.sweeps import (  # noqa: E402
    OPEN,
    SWEEPS,
    Result,
    complaint,
    find,
    frozen_heap,
    run_point,
    sweep_all_settings,
)
from reliability.wire_bodies import ENDINGS  # noqa: E402

WHAT_IS_DONE = {
    "schedule": "nothing; the order of tasks is drawn from a seed",
    "cancel": "a reader is cancelled, before each step of any task",
    "kill": "a task of the library is killed, each before each step",
    "raise": f"user code raises, each of {len(ERRORS)} classes at each checkpoint",
    "leave": "the context is left by a cancellation, before each step",
}


class Figure(NamedTuple):
    """One line of the table."""

    key: str
    what: str
    target: str
    measured: str
    is_good: bool | None = True
    """`None`: not measured."""
    is_enough: bool = True
    """Whether as much was tried as the target asks for."""

    @property
    def verdict(self) -> str:
        """For the last column."""
        if self.is_good is None:
            return ""
        return "**bad**" if not self.is_good else "good" if self.is_enough else "good so far"


def say(text: str) -> None:
    """Progress, which is no part of the table."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGINT ends the process at once.

    As a `KeyboardInterrupt` it would be taken for the harm that a sweep does, or be lost in a callback of the garbage
    collector. What has children or files to see to must stay outside.
    """
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@interruptible()
def sweep(scale: int) -> dict[str, Result]:
    """Run all sweeps on all scenarios under all settings."""
    say(f"{len(SCENARIOS)} scenarios")
    results: dict[str, Result] = {name: Result() for name in SWEEPS}
    with frozen_heap():
        for name, total in results.items():
            for scenario in SCENARIOS:
                total.add(sweep_all_settings(name, scenario, scale))
            say(f"{name}: {total.tried} points, {len(total.bad)} bad")
    return results


def unknown(results: dict[str, Result]) -> list[str]:
    """The bad points that are not known."""
    known = tuple(f"{sweep}:{scenario}:" for sweep, scenario in OPEN)
    return [bad for result in results.values() for bad in result.bad if not bad.startswith(known)]


def catalogue() -> Figure:
    """The faults of the catalogue, by a run of the tests that it names."""
    what, target = "faults of the catalogue that are survived; tests of them", "all; 120"
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        # More time for each than in the tests, which tell when one gets slow. One that hangs ends the run all the same.
        pytest = [sys.executable, "-m", "pytest", "-q", "--timeout=300", f"--junit-xml={report}"]
        done = subprocess.run([*pytest, *named_tests(CATALOGUE)], cwd=ROOT, capture_output=True, text=True, check=False)
        if not report.exists():
            say(f"The tests of the catalogue have not come to their end:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
            return Figure("R1", what, target, "broken off", False)
        verdict = judge(CATALOGUE, outcomes_in(report.read_text(encoding="utf-8")))
    for key, missing in verdict.not_survived.items():
        say(f"not survived: {key}: {missing}")
    rows = len(verdict.survived) + len(verdict.not_survived)
    missing = f" (not: {', '.join(verdict.not_survived)})" if verdict.not_survived else ""
    measured = (
        f"{len(verdict.survived)} of {rows}{missing}, {verdict.tests} tests; not offered: {len(verdict.not_offered)}"
    )
    return Figure("R1", what, target, measured, not verdict.not_survived, verdict.tests >= 120)


def deadlocks(results: dict[str, Result]) -> Figure:
    """The shapes of deadlocks have tests of their own; a false alarm would be a bad point of a sweep."""
    tests = [str(ROOT / "tests/agents/test_deadlocks.py"), "-k", "test_a_deadlock_is_named"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *tests], cwd=ROOT, capture_output=True, text=True, check=False
    )
    named = re.search(r"(\d+) passed", done.stdout)
    runs = sum(result.tried for result in results.values())
    alarms = sum("DeadlockError" in bad for result in results.values() for bad in result.bad)
    measured = f"{named[1] if named else 0} named; {alarms} false alarms in {runs:,} runs"
    return Figure("R5", "deadlocks named; false alarms", "20; 0", measured, done.returncode == 0 and alarms == 0)


@interruptible()
def planted() -> Figure:
    """The mistakes that were made on purpose."""
    with frozen_heap():
        found = sum(bool(find(mistake).bad) for mistake in PLANTED)
    return Figure(
        "", "mistakes planted in the engine that are found", "12", f"{found} of {len(PLANTED)}", found == len(PLANTED)
    )


@interruptible()
def error_fan_out() -> Figure:
    """The traceback of one error for many readers."""
    lengths = set().union(*(figures.frames_for_readers(readers) for readers in (1, 10, 100, 1000, 10_000)))
    what = "frames in the traceback of an error with 1 to 10,000 readers"
    return Figure("R17", what, "constant", ", ".join(map(str, sorted(lengths))), len(lengths) == 1)


@interruptible()
def leaks() -> Figure:
    """What calls leave behind."""
    calls = 5000
    garbage = [figures.garbage_per_call(calls, fails=fails) for fails in (False, True)]
    growth = [figures.growth_per_call(calls, fails=fails) for fails in (False, True)]
    held = figures.garbage_per_call(calls, fails=True, holding=True)
    held_task = figures.garbage_of_a_held_task(calls)
    left = figures.leaks_of_calls(calls)
    measured = (
        f"{', '.join(f'{count} {name}' for name, count in left.items())}; blocks of memory per call {max(growth):.2f}; "
        f"cyclic objects per call {garbage[0]:g}, {garbage[1]:g} if it fails (if its reader also has the promise in a "
        f"variable {held:.0f}, as a plain task of asyncio leaves {held_task:.0f})"
    )
    is_good = not any([*garbage, *left.values()]) and max(growth) < 0.1
    return Figure("R11", f"left behind by {calls:,} calls", "0", measured, is_good)


@interruptible()
def depth() -> Figure:
    """Nesting."""
    good = figures.agents_deep(10_000) and figures.promises_deep(100_000) and figures.lists_deep(100_000)
    what = "10,000 agents, 100,000 lazy promises, 100,000 lists inside each other"
    return Figure("R8", what, "no special case", "pass" if good else "fail", good)


@interruptible()
def bad_inputs(scale: int) -> Figure:
    """Generated inputs."""
    tried = bad = 0
    for where in figures.INPUTS:
        for number in range(scale):
            try:
                tried += figures.bad_inputs(where, INPUTS_AT_ONCE, number)
            except BaseException as error:
                bad += 1
                say(f"{where}, seed {number}: {''.join(traceback.format_exception(error))}")
    measured = f"{tried:,} tried, {bad} undocumented errors"
    return Figure("R14", "bad inputs; undocumented errors", "200,000; 0", measured, bad == 0, tried >= 200_000)


@interruptible()
def probes() -> Figure:
    """Security of text."""
    bad = [complaint for kind in KINDS for complaint in passed_through(kind.all)]
    missed = [hole.name for hole in HOLES if not is_found(hole)]
    for what in (*bad, *missed):
        say(what)
    made = sum(len(kind.all) for kind in KINDS)
    kinds = ", ".join(f"{len(kind.all):,} {kind.kind}" for kind in KINDS)
    measured = (
        f"{made:,} ({kinds}), {len(bad)} passed through; {len(HOLES) - len(missed)} of {len(HOLES)} planted holes found"
    )
    what = "probes of security; passed through"
    return Figure("R15", what, "1,500; 0", measured, not bad and not missed, made >= 1500)


@interruptible()
def wire_faults(scale: int) -> Figure:
    """Answers of LLM providers."""
    found = wire.sweep(max(1, STEP_BETWEEN_BYTES // scale))
    for run in found.bad[:20]:
        say(str(run))
    measured = (
        f"{found.tried:,} cases, {found.silent_truncations} silent truncations, {found.undocumented} undocumented "
        f"errors or hangs, {len(found.bad)} outcomes in all that are not as they must be"
    )
    what = f"faults on the wire of LLM providers, {len(found.scenarios)} answers, cut at every byte"
    return Figure("R12", what, "50,000; 0", measured, not found.bad, found.tried >= 50_000)


def agents_at_once() -> Figure:
    """Memory and time of many agents together."""
    agents = 100_000
    plain = costs.measured("agents_at_once", agents=agents)
    watched = costs.measured("agents_at_once", agents=agents, watched=True)
    memory = plain["memory"] / 1e9
    measured = f"all finish: {plain['cpu']:.1f} s CPU, {memory:.2f} GB, {stretch(watched)}"
    good = plain["cpu"] <= 15 and memory <= 1.2 and watched["longest"] <= 0.05
    what = "agents held at once; CPU time, memory, longest stretch without a turn of the loop"
    return Figure("R6", what, "100,000; 15 s, 1.2 GB, 50 ms", measured, good)


def stretch(found: costs.Figures) -> str:
    """How long the loop was held."""
    longest, own = (1e3 * found[key] for key in ("longest", "without_collector"))
    return f"{longest:.0f} ms ({own:.0f} ms without the garbage collector)"


def agent_call() -> Figure:
    """A trivial call."""
    found = costs.measured("agent_call", repeat=5, calls=10_000)
    in_turn, at_once, memory = 1e6 * found["in turn"], 1e6 * found["at once"], found["memory"] / 1024
    measured = f"{in_turn:.0f} µs one after another, {at_once:.0f} µs and {memory:.1f} KiB of 10,000 at once"
    good = max(in_turn, at_once) <= 100 and memory <= 12
    return Figure("R7", "cost of a call", "100 µs, 12 KiB", measured, good)


def token() -> Figure:
    """One stream."""
    burst, yielding = (costs.measured("token", repeat=5, yielding=one, tokens=200_000) for one in (False, True))
    window = 100
    ahead = figures.furthest_ahead(200_000, window)
    memory = max(burst["memory"], yielding["memory"])
    measured = (
        f"{1e6 * burst['cpu']:.1f} µs, {memory:.0f} B ({1e6 * yielding['cpu']:.1f} µs where the producer yields to the "
        f"loop at each token, with what the loop needs for its turn); {ahead} ahead with `max_ahead={window}`"
    )
    good = burst["cpu"] <= 3e-6 and memory <= 120 and ahead <= window
    what = "cost of a token; how far the producer of a bounded stream comes ahead"
    return Figure("R9", what, "3 µs, 120 B; its bound", measured, good)


def responsiveness() -> Figure:
    """Works over a long reply."""
    found = {work: costs.measured("longest_stretch", repeat=3, work=work, messages=20_000) for work in costs.HOLDERS}
    worst = max(found, key=lambda work: found[work]["longest"])
    others = max(found.values(), key=lambda one: one["longest"] if one is not found[worst] else 0.0)
    measured = f"{worst}: {stretch(found[worst])}; all else: {stretch(others)}"
    what = "longest stretch without a turn of the loop, over a reply of 20,000 messages"
    return Figure("R10", what, "20 ms", measured, found[worst]["longest"] <= 0.02)


async def interrupts(scale: int, folder: Path) -> Figure:
    """Ctrl+C."""
    exits = await processes.interrupt(12 * scale, folder)
    for bad in exits.bad:
        say(bad)
    worst = max(exits.seconds, default=0.0)
    measured = f"{len(exits.seconds)} of {12 * scale} moments, {len(exits.bad)} bad, {worst:.2f} s at most"
    good = not exits.bad and worst <= processes.GRACE_SECONDS + 0.5
    return Figure(
        "R16", "end of a working program after one SIGINT", "200 moments, 5.5 s", measured, good, 12 * scale >= 200
    )


async def crashes(scale: int, folder: Path) -> Figure:
    """Histories that were cut off."""
    acknowledged, lost = await processes.kill_writers(12 * scale, folder)
    torn, damaged = await processes.tear(folder)
    for bad in (*lost, *damaged):
        say(bad)
    measured = (
        f"{12 * scale} kills, {len(lost)} of {acknowledged:,} acknowledged turns lost; "
        f"{torn:,} torn files, {len(damaged)} damaged"
    )
    what = "histories after SIGKILL and torn at every byte"
    return Figure("R13", what, "200 kills; 0", measured, not lost and not damaged, 12 * scale >= 200)


def counted(results: dict[str, Result]) -> Iterator[Figure]:
    """What the sweeps say about the figures."""
    for key, what, target, names in (
        ("R2", "readers cancelled; bad", 50_000, ("cancel",)),
        ("R3", "tasks killed and errors raised; bad", 100_000, ("kill", "raise")),
        ("R4", "runs with tasks in random order; bad", 50_000, ("schedule",)),
    ):
        tried = sum(results[name].tried for name in names)
        bad = sum(len(results[name].bad) for name in names)
        yield Figure(key, what, f"{target:,}; 0", f"{tried:,}; {bad}", bad == 0, tried >= target)


def measure(scale: int, results: dict[str, Result]) -> list[Figure]:
    """All figures, in their order."""
    found = [*counted(results)]
    makers: list[Callable[[], Figure]] = [
        planted,
        catalogue,
        lambda: deadlocks(results),
        error_fan_out,
        leaks,
        depth,
        agents_at_once,
        agent_call,
        token,
        responsiveness,
        lambda: bad_inputs(scale),
        probes,
        lambda: wire_faults(scale),
    ]
    for make in makers:
        found.append(make())
        say(f"{found[-1].what}: {found[-1].measured}")
    with tempfile.TemporaryDirectory() as folder:
        for coroutine in (interrupts(scale, Path(folder)), crashes(scale, Path(folder))):
            found.append(asyncio.run(coroutine))
            say(f"{found[-1].what}: {found[-1].measured}")
    return sorted(found, key=lambda figure: int(figure.key[1:] or 0))


def table(scale: int, results: dict[str, Result], found: list[Figure], seconds: float) -> str:
    """The figures as Markdown."""
    lines = [
        f"{len(SCENARIOS)} scenarios, `--scale {scale}`, Python {platform.python_version()}, {seconds:.0f} s.",
        "",
        "| sweep | what is done in each run | runs | bad |",
        "|---|---|---:|---:|",
        *(f"| {name} | {WHAT_IS_DONE[name]} | {one.tried:,} | {len(one.bad)} |" for name, one in results.items()),
        "",
        "| | figure | target | measured | |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {figure.key} | {figure.what} | {figure.target} | {figure.measured} | {figure.verdict} |" for figure in found
    ]
    known = [f"- `{sweep}`, `{scenario}`: {what}." for (sweep, scenario), what in OPEN.items()]
    known += [f"- `{fault.key}`, {fault.what}: {fault.open}." for fault in CATALOGUE if fault.open]
    if known:
        lines += ["", "Known and not mended yet:", "", *known]
    return "\n".join(lines)


def write(text: str) -> None:
    """Keep the table in the page."""
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def run_again(point: Point) -> int:
    """Run one point and say what goes wrong."""
    run = run_point(point)
    lines = [complaint(run) if run.problems else f"{point}: nothing is wrong"]
    for made in run.stage.reads:
        for reader in made.readers:
            got = "cancelled" if reader.task.cancelled() else reader.task.exception() or reader.task.result()
            lines.append(f"    a reader of {made.stream!r}: {got}")
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if run.problems else 0


def send_again(case: wire.Case) -> int:
    """Run one answer and say what comes of it."""
    with wire.wires() as made:
        run = made.run(case)
    sys.stdout.write(f"{case}: nothing is wrong: {run.got}\n" if run.is_good else f"{run}\n")
    return 0 if run.is_good else 1


def scale_of(text: str) -> int:
    """The scale that was asked for."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a scale is a whole number, at least 1, and not {text!r}")
    return int(text)


def point_of(text: str) -> Point:
    """The point of this name."""
    try:
        point = Point.parse(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"a point looks like kill:rope:hostile:3:17:2, and not like {text!r}"
        ) from None
    victims = ERRORS if point.sweep == "raise" else [point.victim] if point.victim.isdecimal() else []
    for what, name, known in (
        ("sweep", point.sweep, SWEEPS),
        ("scenario", point.scenario, SCENARIOS),
        ("setting", point.settings, SETTINGS),
        ("victim", point.victim, victims),
    ):
        if name not in known:
            there_are = ", ".join(known) or "the numbers of readers and tasks"
            raise argparse.ArgumentTypeError(f"there is no {what} {name!r}; there are {there_are}")
    return point


def case_of(text: str) -> wire.Case:
    """The answer of this name."""
    try:
        return wire.Case.parse(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"there is no answer {text!r}; one is named like anthropic/plain:break:117: the answer, how it ends (by "
            f"{', '.join(ENDINGS)}), and at which of its bytes"
        ) from None


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=scale_of, default=1, help="how many times as much as the tests try")
    parser.add_argument("--write", action="store_true", help="keep the table in docs/reliability.md")
    parser.add_argument("--point", type=point_of, help="run one point again")
    parser.add_argument("--wire", type=case_of, metavar="CASE", help="run one answer of a provider again")
    return parser.parse_args()


def main() -> int:
    """The command."""
    # A job in the background of a shell begins with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    arguments = parse()
    if arguments.point is not None:
        return run_again(arguments.point)
    if arguments.wire is not None:
        return send_again(arguments.wire)
    start = time.monotonic()
    results = sweep(arguments.scale)
    found = measure(arguments.scale, results)
    text = table(arguments.scale, results, found, time.monotonic() - start)
    sys.stdout.write(f"{text}\n")
    if arguments.write:
        write(text)
    bad = unknown(results)
    sys.stdout.writelines(f"{point}\n" for point in bad)
    # The sweeps have been judged by their unknown points; what R1 counts are tests, or known to be open; what things
    # cost (R6, R7, R9, R10) depends on the machine.
    judged = [figure for figure in found if figure.key not in ("R1", "R2", "R3", "R4", "R6", "R7", "R9", "R10")]
    is_good = not bad and all(figure.is_good is not False for figure in judged)
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
