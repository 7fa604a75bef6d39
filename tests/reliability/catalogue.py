"""What can go wrong, and for each of it the tests that show that it is survived.

The areas: A errors, B cancellation and ends, C deadlocks, D contexts, loops and threads, E load, F models over the
network, G what is kept, H hostile text.
"""

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass

from reliability.catalogue_contexts import CONTEXTS, DEADLOCKS, LOAD
from reliability.catalogue_errors import CANCELLATION, ERRORS
from reliability.catalogue_llm import LLM
from reliability.catalogue_text import KEEPING, SECURITY
from reliability.fault import Fault

CATALOGUE: tuple[Fault, ...] = (*ERRORS, *CANCELLATION, *DEADLOCKS, *CONTEXTS, *LOAD, *LLM, *KEEPING, *SECURITY)


def named_tests(faults: tuple[Fault, ...]) -> list[str]:
    """All tests that `faults` name and that apply, each once, without those that another of them includes."""
    named = {test: None for fault in faults if not fault.not_offered for test in fault.tests}
    return [test for test in named if "[" not in test or test.partition("[")[0] not in named]


@dataclass(frozen=True)
class Verdict:
    """What a run of the tests has shown about a catalogue."""

    survived: tuple[Fault, ...]
    not_survived: dict[str, str]
    """By key, what is missing: what is open, or the tests that have not passed."""
    not_offered: tuple[Fault, ...]

    @property
    def tests(self) -> int:
        """How many tests show that the faults that are survived are."""
        return len(named_tests(self.survived))


def outcomes_in(report: str) -> dict[str, bool]:
    """For each test in a JUnit report of pytest, with its parameters, whether it was run and has passed."""
    return {
        f"{case.attrib['classname'].replace('.', '/')}.py::{case.attrib['name']}": not any(
            case.find(kind) is not None for kind in ("failure", "error", "skipped")
        )
        for case in ET.fromstring(report).iter("testcase")
    }


def judge(faults: tuple[Fault, ...], outcomes: Mapping[str, bool]) -> Verdict:
    """What follows from the tests that were run: for each, with its parameters, whether it has passed."""
    of_function: dict[str, list[bool]] = {}
    for test, passed in outcomes.items():
        of_function.setdefault(test.partition("[")[0], []).append(passed)

    def has_passed(test: str) -> bool:
        return outcomes.get(test, False) if "[" in test else all(of_function.get(test, [False]))

    survived, not_survived = [], {}
    for fault in faults:
        if fault.not_offered:
            continue
        missing = [fault.open] * bool(fault.open) + [test for test in fault.tests if not has_passed(test)]
        if missing or not fault.tests:
            not_survived[fault.key] = "; ".join(missing)
        else:
            survived.append(fault)
    return Verdict(tuple(survived), not_survived, tuple(fault for fault in faults if fault.not_offered))
