"""Probes of security: a hostile text or name, a place where it enters, and what must not have come of it.

A probe is a row of a table: a payload (what is tried, and by which mechanism), a place (where it enters, and where its
effect would be seen), and a check with assertions of its own. One that asserts nothing has not been made, and counts as
bad.
"""

import asyncio
import contextlib
import inspect
import random
import warnings
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any


class Expect:
    """Takes the assertions of one probe."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self, holds: bool, otherwise: object) -> None:
        """What must hold, and what to say if it does not."""
        self.made += 1
        if not holds:
            raise AssertionError(str(otherwise))


Check = Callable[[Expect], Awaitable[None] | None]


@dataclass(frozen=True)
class Probe:
    """One attempt."""

    kind: str
    place: str
    """Where the payload enters, and where its effect would be seen."""
    payload: str
    """What is tried, by name."""
    check: Check

    def __str__(self) -> str:
        return f"{self.kind}: {self.payload!r} in {self.place}"

    def complaint(self) -> str:
        """Try it: what has passed through, or nothing."""
        expect = Expect()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                running = self.check(expect)
                if inspect.iscoroutine(running):
                    asyncio.run(running)
        except Exception as error:
            return f"{self}: {type(error).__name__}: {error}"
        return "" if expect.made else f"{self}: nothing was asserted"


@dataclass
class Probes:
    """The probes of one kind."""

    kind: str
    all: list[Probe] = field(default_factory=list)

    def add(self, place: str, payload: str, check: Check) -> None:
        """Add one."""
        self.all.append(Probe(self.kind, place, payload, check))

    def table(self, place: str, payloads: dict[str, Any], check: Callable[[Expect, Any], Any]) -> None:
        """Add one for each payload, all of them in the same place."""
        for name, payload in payloads.items():
            self.add(place, name, lambda expect, payload=payload: check(expect, payload))

    def sample(self, count: int, seed: int = 0) -> list[Probe]:
        """So many of them, with at least one of each place."""
        by_place: dict[str, list[Probe]] = {}
        for probe in self.all:
            by_place.setdefault(probe.place, []).append(probe)
        draw = random.Random(seed)
        first = [draw.choice(probes) for probes in by_place.values()]
        rest = [probe for probe in self.all if probe not in first]
        return first + draw.sample(rest, min(len(rest), max(0, count - len(first))))


def passed_through(probes: Sequence[Probe]) -> list[str]:
    """What has passed through, one line each."""
    return [complaint for probe in probes if (complaint := probe.complaint())]


@dataclass(frozen=True)
class PlantedHole:
    """A mistake in the defence that probes of one kind must find, in the place that is named."""

    kind: str
    place: str
    name: str
    make: Callable[[], contextlib.AbstractContextManager[object]]


@contextlib.contextmanager
def all_of(patches: Sequence[contextlib.AbstractContextManager[object]]) -> Iterator[None]:
    """Several patches as one."""
    with contextlib.ExitStack() as made:
        for patch in patches:
            made.enter_context(patch)
        yield
