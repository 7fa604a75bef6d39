"""Text from a model, a tool, a file or the network chooses no role, class, path, escape or template, and tells no key."""

import pytest

from reliability.probes import Expect, PlantedHole, Probe, Probes, passed_through
from reliability.probes_all import HOLES, KINDS, aimed_at, is_found

# Of each kind; `scripts/reliability.py` makes all of them.
SAMPLE = 100


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_nothing_passes_through(kind: Probes) -> None:
    """Whatever hostile text or name enters, wherever it enters, comes out as nothing but itself."""
    bad = passed_through(kind.sample(SAMPLE))
    assert not bad, "\n".join(bad[:3])


@pytest.mark.parametrize("hole", HOLES, ids=lambda hole: f"{hole.kind}: {hole.name}")
def test_the_probes_find_what_was_planted(hole: PlantedHole) -> None:
    """A hole made on purpose is found by the probes of its place, which find nothing without it."""
    assert is_found(hole)
    assert not passed_through(aimed_at(hole))


def test_each_kind_of_probes_is_tried_on_a_hole() -> None:
    """For each kind there is a hole that it must find."""
    assert {hole.kind for hole in HOLES} == {kind.kind for kind in KINDS}


def test_no_probe_is_made_twice() -> None:
    """Each probe differs from all others in what is tried or in where it enters."""
    for kind in KINDS:
        assert len({str(probe) for probe in kind.all}) == len(kind.all)


def test_a_probe_that_asserts_nothing_is_bad() -> None:
    """A figure counts only what could have failed."""

    def careless(expect: Expect) -> None:
        pass

    def careful(expect: Expect) -> None:
        expect(True, "never said")

    async def failing(expect: Expect) -> None:
        expect(False, "what went wrong")

    checks = (careless, careful, failing)
    complaints = [Probe("kind", "place", "payload", check).complaint() for check in checks]
    assert complaints == [
        "kind: 'payload' in place: nothing was asserted",
        "",
        "kind: 'payload' in place: AssertionError: what went wrong",
    ]
