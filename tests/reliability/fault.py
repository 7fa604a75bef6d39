"""A fault of the catalogue, and the tests that show that it is survived."""

from dataclasses import dataclass

Tests = tuple[str, ...]


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong."""

    key: str
    """The area, as a letter, and a number. A key is never used for another fault."""
    what: str
    tests: Tests = ()
    """What shows that it is survived. One without `[parameters]` stands for all of its parameters, and counts once."""
    not_offered: str = ""
    """Why it cannot happen, if it cannot. Such a fault is not counted."""
    open: str = ""
    """What is missing, if it is not survived yet, or not wholly."""


def at(file: str, *names: str) -> Tests:
    """The tests of these names in a file of `tests`."""
    return tuple(f"tests/{file}.py::{name}" for name in names)


def swept(*names: str) -> Tests:
    """Sweeps, each by the harm and the scenario: `kill-stream`."""
    return at("reliability/test_sweeps", *(f"test_nothing_hangs_and_nothing_is_lost[{name}]" for name in names))


def on_the_wire(name: str, *parameters: str, file: str = "test_faults") -> Tests:
    """A test of LLM agents, for OpenAI and for Anthropic, with each of the parameters."""
    ways = ("openai", "anthropic")
    ids = [f"{way}-{parameter}" for way in ways for parameter in parameters] if parameters else ways
    return at(f"ext/llm/{file}", *(f"{name}[{one}]" for one in ids))
