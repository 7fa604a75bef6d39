"""Tables and charts of what was measured."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from benchmarks.cases import Work
from benchmarks.peers import BARE
from benchmarks.runner import Outcome

_BAR: Final = 40


def table(outcomes: Iterable[Outcome]) -> Iterator[str]:
    """What a unit of each case takes for each subject, as lines of Markdown."""
    yield "| work | subject | each | x bare | wall | peak memory | first token (10 % / median / 90 % of streams) |"
    yield "|---|---|---:|---:|---:|---:|---:|"
    for outcome in outcomes:
        for subject in (*outcome.runs, *outcome.failed):
            cells = [outcome.case.name, subject]
            if subject in outcome.failed:
                cells += [f"failed: {outcome.failed[subject]}".replace("|", "/"), "", "", "", ""]
            else:
                cells += [
                    f"{_amount(outcome.each(subject), outcome.case.work)} per {outcome.case.work.unit}",
                    _ratio(outcome.ratio(subject)),
                    _seconds(outcome.each(subject, "wall")),
                    _bytes(outcome.each(subject, "peak")),
                    " / ".join(
                        _seconds(outcome.each(subject, what) * outcome.case.units)
                        for what in ("first_early", "first_wall", "first_late")
                        if outcome.each(subject, what)
                    ),
                ]
            yield f"| {' | '.join(cells)} |"


def chart(outcomes: Iterable[Outcome]) -> Iterator[str]:
    """The ratios to bare asyncio as bars, on a logarithmic scale."""
    outcomes = list(outcomes)
    ratios = [ratio for one in outcomes for name in one.runs if (ratio := one.ratio(name)) and name != BARE.name]
    most = math.log10(max([10.0, *ratios]))
    yield f"CPU time (or memory) as a multiple of bare asyncio; a full bar is x {10**most:,.0f}, its scale logarithmic"
    for outcome in outcomes:
        found = [(name, ratio) for name in outcome.runs if name != BARE.name and (ratio := outcome.ratio(name))]
        if found:
            yield ""
            yield outcome.case.name
        for name, ratio in found:
            length = max(round(_BAR * math.log10(max(ratio, 1.0)) / most), 0)
            yield f"    {name:<18} {_ratio(ratio):>9} {'#' * length}"


def growth(outcomes: Iterable[Outcome]) -> Iterator[str]:
    """How what a unit takes changes with the size of a work, as lines of Markdown."""
    by_work: dict[int, list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.case.work.grows_with:
            by_work.setdefault(id(outcome.case.work), []).append(outcome)
    for same in by_work.values():
        if len(same) > 1:
            yield from _growth_of(same)
            yield ""


def _growth_of(outcomes: Sequence[Outcome]) -> Iterator[str]:
    work = outcomes[0].case.work
    yield (
        f"| {work.what}, per {work.unit}: {work.grows_with} | "
        + " | ".join(f"{outcome.case.sizes[work.grows_with]:,}" for outcome in outcomes)
        + " |"
    )
    yield "|---|" + "---:|" * len(outcomes)
    for name in dict.fromkeys(name for outcome in outcomes for name in outcome.runs):
        cells = [_amount(one.each(name), work) if name in one.runs else "" for one in outcomes]
        yield f"| {name} | {' | '.join(cells)} |"


def _amount(value: float, work: Work) -> str:
    return _bytes(value) if work.measure == "bytes" else _seconds(value)


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None else f"x {ratio:.3g}" if ratio < 1000 else f"x {ratio:,.0f}"


def _seconds(value: float) -> str:
    if not value:
        return ""
    if value < 1e-3:
        return f"{value * 1e6:.3g} µs"
    return f"{value * 1e3:.3g} ms" if value < 1 else f"{value:.3g} s"


def _bytes(value: float) -> str:
    if not value:
        return ""
    return f"{value:.3g} B" if value < 1000 else f"{value / 1024:,.1f} KiB"
