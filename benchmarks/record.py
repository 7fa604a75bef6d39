"""The ratios that were recorded, and whether those of today are worse."""

import json
import platform
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from benchmarks.peers import OURS
from benchmarks.runner import Outcome

RECORDED: Final = Path(__file__).parent / "recorded.json"

Ratios = dict[str, float]


def ratios_of(outcomes: Iterable[Outcome]) -> Ratios:
    """The ratios of this project to bare asyncio, by case."""
    found = ((outcome.case.name, outcome.ratio(OURS.name)) for outcome in outcomes)
    return {name: ratio for name, ratio in found if ratio is not None}


def load(path: Path = RECORDED) -> Ratios:
    """What was recorded."""
    ratios: Ratios = json.loads(path.read_text(encoding="utf-8"))["ratios"] if path.exists() else {}
    return ratios


def record(ratios: Ratios, path: Path = RECORDED) -> None:
    """Keep these ratios, beside those of other cases."""
    merged = {**load(path), **{name: round(ratio, 3) for name, ratio in ratios.items()}}
    content = {"python": platform.python_version(), "ratios": dict(sorted(merged.items()))}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def comparison(ratios: Ratios, recorded: Ratios, tolerance: float) -> Iterator[str]:
    """What the ratios are beside the recorded ones, as lines."""
    worse = regressions(ratios, recorded, tolerance)
    better = regressions(recorded, ratios, tolerance)
    for kind, names in (("worse", worse), ("better", better)):
        for name in names:
            yield f"{kind}: {name}: x {ratios[name]:.3g} of bare, recorded x {recorded[name]:.3g}"
    if better:
        yield "The record is old where a ratio is better: `--record` renews it."
    unknown = [name for name in ratios if name not in recorded]
    yield (
        f"{len(ratios) - len(unknown)} of {len(ratios)} ratios compared with {RECORDED.name}, "
        f"{len(worse) or 'none'} worse{f'; {len(unknown)} not recorded: ' if unknown else ''}{'; '.join(unknown)}"
    )


def regressions(ratios: Ratios, recorded: Ratios, tolerance: float) -> list[str]:
    """The cases that take more than they did, by more than the tolerance."""
    return [name for name, ratio in ratios.items() if name in recorded and ratio > recorded[name] * (1 + tolerance)]
