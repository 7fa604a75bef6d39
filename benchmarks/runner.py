"""Runs cases: each in a fresh process, the subjects in turn."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.cases import Case
from benchmarks.peers import BARE, OURS, ROOT, Subject

REPLY: Final = " ".join(["word"] * 50)
_PATIENCE: Final = 300.0
"""Seconds after which a run is given up."""

Figures = Mapping[str, float]


class FailedRunError(Exception):
    """A run that ended with an error, or with a wrong result."""


@dataclass
class Outcome:
    """What one case has taken for all subjects, run by run."""

    case: Case
    runs: dict[str, list[Figures]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def _measured(self, run: Figures) -> float:
        return run[self.case.work.measure]

    def each(self, subject: str, key: str | None = None) -> float:
        """The median of what one unit takes: of what the work is about, or of another figure."""
        values = [run.get(key, 0.0) if key else self._measured(run) for run in self.runs[subject]]
        return median(values) / self.case.units

    def ratio(self, subject: str) -> float | None:
        """The median of the ratios to bare asyncio, each of two runs that were made one after the other."""
        pairs = zip(self.runs.get(subject, ()), self.runs.get(BARE.name, ()), strict=False)
        ratios = [self._measured(one) / self._measured(bare) for one, bare in pairs if self._measured(bare)]
        return median(ratios) if ratios else None


def run_once(case: Case, subject: Subject, cache: Path, variables: Mapping[str, str]) -> dict[str, Any]:
    """Do a case once, in a fresh process. Raises `FailedRunError`."""
    if case.work.name == "import":
        arguments = ["import", subject.imports]
    else:
        arguments = ["work", json.dumps(case.job(subject.module))]
    try:
        done = subprocess.run(
            [subject.python(cache), "-m", "benchmarks.worker", *arguments],
            cwd=ROOT,
            env=subject.environment() | variables,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise FailedRunError(f"no end within {_PATIENCE:g} s") from None
    if done.returncode:
        raise FailedRunError((done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1])
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def run_case(
    outcome: Outcome,
    subjects: Sequence[Subject],
    repeat: int,
    cache: Path,
    variables: Mapping[str, str],
    say: Callable[[str], None],
) -> None:
    """Do the case of `outcome` so many times: A B C A B C, so that what disturbs the machine disturbs all alike."""
    case = outcome.case
    able = [subject for subject in subjects if subject.can(case.work.name, case.units)]
    for subject in subjects:
        if subject not in able:
            say(f"{case.name}: {subject.name} does not do this work, or not at this size")
    for number in range(repeat):
        for subject in able:
            if subject.name in outcome.failed:
                continue
            say(f"{case.name}: {subject.name}, {number + 1} of {repeat}")
            try:
                figures = run_once(case, subject, cache, variables)
            except FailedRunError as error:
                outcome.failed[subject.name] = str(error)
                outcome.runs.pop(subject.name, None)
                say(f"    failed: {error}")
            else:
                outcome.runs.setdefault(subject.name, []).append(figures)


@contextlib.contextmanager
def llm_server() -> Iterator[dict[str, str]]:
    """An LLM server in a process of its own; what the workers must know of it, as environment variables."""
    command = [sys.executable, "-m", "miniagents.testing.llm_server", "--reply", REPLY]
    with subprocess.Popen(command, env=OURS.environment(), stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            url = server.stdout.readline().strip()
            yield {"BENCHMARK_LLM_URL": f"{url}/v1", "BENCHMARK_LLM_REPLY": REPLY}
        finally:
            server.terminate()
