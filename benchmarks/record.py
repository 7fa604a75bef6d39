"""The ratios that were recorded, and whether those of today are worse."""

import json
import platform
from collections.abc import Iterable
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


def regressions(ratios: Ratios, recorded: Ratios, tolerance: float) -> list[str]:
    """The cases that take more than they did, by more than the tolerance."""
    return [
        f"{name}: x {ratio:.3g} of bare, recorded x {recorded[name]:.3g}"
        for name, ratio in ratios.items()
        if name in recorded and ratio > recorded[name] * (1 + tolerance)
    ]
