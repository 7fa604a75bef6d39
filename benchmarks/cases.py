"""What is measured: the works, and their sizes."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Scale = Literal["full", "quick", "tiny"]
Sizes = Mapping[str, Any]
Measure = Literal["cpu", "first", "bytes"]


@dataclass(frozen=True)
class Work:
    """Something that every subject can be asked to do."""

    name: str
    """Of the function that does it."""
    what: str
    unit: str
    counted: tuple[str, ...]
    """The sizes whose product is the number of units."""
    full: tuple[Sizes, ...]
    quick: tuple[Sizes, ...]
    tiny: Sizes
    """Also the warm-up."""
    fixed: Sizes = field(default_factory=dict)
    measure: Measure = "cpu"
    grows_with: str = ""
    needs_server: bool = False


@dataclass(frozen=True)
class Case:
    """A work at one size."""

    work: Work
    sizes: Sizes

    @property
    def name(self) -> str:
        """For people, and for the recorded ratios."""
        sizes = ", ".join(f"{name} {value:,}" for name, value in self.sizes.items())
        return f"{self.work.what}: {sizes}" if sizes else self.work.what

    @property
    def units(self) -> int:
        """How many units of work this is."""
        return math.prod(self.sizes[name] for name in self.work.counted)

    def job(self, subject: str) -> dict[str, Any]:
        """For the worker."""
        return {
            "subject": subject,
            "work": self.work.name,
            "sizes": {**self.sizes, **self.work.fixed},
            "warm_up": {**self.work.tiny, **self.work.fixed},
            "traced": self.work.measure == "bytes",
        }


def _each(name: str, *values: int, **others: int) -> tuple[Sizes, ...]:
    return tuple({name: value, **others} for value in values)


def _tree(depth: int) -> Sizes:
    return {"depth": depth, "agents": (4 ** (depth + 1) - 1) // 3}


_DEPTHS: Final = (1, 10, 100, 1_000, 10_000)
_MESSAGES: Final = {
    "counted": ("messages",),
    "full": _each("messages", 20_000),
    "quick": _each("messages", 2_000),
    "tiny": {"messages": 10},
}
_STREAM: Final = {
    "unit": "token",
    "counted": ("tokens",),
    "full": _each("tokens", 10_000, 100_000),
    "quick": _each("tokens", 10_000),
    "tiny": {"tokens": 20},
    "grows_with": "tokens",
}
_LLM: Final = {
    "unit": "reply",
    "counted": ("streams",),
    "full": _each("streams", 50, 500),
    "quick": _each("streams", 50),
    "tiny": {"streams": 2},
    "grows_with": "streams",
    "needs_server": True,
}

WORKS: Final = (
    Work(
        "sequential",
        "calls one after another",
        "call",
        ("calls",),
        _each("calls", 5_000),
        _each("calls", 1_000),
        {"calls": 5},
    ),
    Work(
        "fan_out",
        "calls at once",
        "call",
        ("calls",),
        _each("calls", 100, 1_000, 10_000, 100_000),
        _each("calls", 100, 1_000),
        {"calls": 5},
        grows_with="calls",
    ),
    Work(
        "tree",
        "a tree of agents",
        "agent",
        ("agents",),
        (_tree(4), _tree(6)),
        (_tree(4),),
        _tree(1),
        grows_with="agents",
    ),
    Work("stream", "a stream in bursts", fixed={"yielding": False}, **_STREAM),
    Work("stream", "a stream that yields at each token", fixed={"yielding": True}, **_STREAM),
    Work(
        "forward",
        "tokens through agents",
        "token",
        ("tokens",),
        _each("depth", *_DEPTHS, tokens=2_000),
        _each("depth", 1, 100, tokens=500),
        {"depth": 2, "tokens": 10},
        grows_with="depth",
    ),
    Work(
        "forward",
        "first token through agents",
        "agent",
        ("depth",),
        _each("depth", *_DEPTHS, tokens=10),
        _each("depth", 1, 100, tokens=10),
        {"depth": 2, "tokens": 10},
        measure="first",
        grows_with="depth",
    ),
    Work(
        "forward_messages",
        "messages through agents",
        "message",
        ("messages",),
        _each("depth", 1, 10, 100, 1_000, messages=2_000),
        _each("depth", 1, 10, messages=200),
        {"depth": 2, "messages": 5},
        grows_with="depth",
    ),
    Work(
        "live_readers",
        "live readers of one stream",
        "delivery",
        ("readers", "tokens"),
        _each("readers", 1, 50, tokens=10_000),
        _each("readers", 1, 50, tokens=500),
        {"readers": 2, "tokens": 10},
        grows_with="readers",
    ),
    Work(
        "late_readers",
        "late readers of one stream",
        "delivery",
        ("readers", "tokens"),
        _each("readers", 1, 50, tokens=50_000),
        _each("readers", 1, 50, tokens=2_000),
        {"readers": 2, "tokens": 10},
        grows_with="readers",
    ),
    Work(
        "out_of_order",
        "replies in the order of arrival",
        "agent",
        ("agents",),
        _each("agents", 1_000, 10_000),
        _each("agents", 1_000),
        {"agents": 5},
        grows_with="agents",
    ),
    Work("join", "joining messages", "message", **_MESSAGES),
    Work("split", "splitting a text", "message", **_MESSAGES),
    Work("build", "building messages", "message", **_MESSAGES),
    Work("hash", "building and hashing messages", "message", **_MESSAGES),
    Work("copy", "copying messages with a change", "message", **_MESSAGES),
    Work("serialise", "messages to JSON", "message", **_MESSAGES),
    Work("load", "messages from JSON", "message", **_MESSAGES),
    Work(
        "history",
        "calls with a history",
        "past message",
        ("calls", "turns"),
        _each("turns", 100, 1_000, 10_000, calls=10),
        _each("turns", 100, 1_000, calls=5),
        {"turns": 5, "calls": 2},
        grows_with="turns",
    ),
    Work("llm_sdk", "LLM replies over HTTP with the SDK", **_LLM),
    Work("llm_plain", "LLM replies over HTTP without an SDK", **_LLM),
    Work(
        "idle_agents",
        "memory of waiting agents",
        "agent",
        ("agents",),
        _each("agents", 10_000),
        _each("agents", 1_000),
        {"agents": 5},
        measure="bytes",
    ),
    Work(
        "growing_tokens",
        "memory of a growing stream",
        "token",
        ("tokens",),
        _each("tokens", 100_000),
        _each("tokens", 10_000),
        {"tokens": 20},
        measure="bytes",
    ),
    Work(
        "kept_tokens",
        "memory of a finished message",
        "token",
        ("tokens",),
        _each("tokens", 100_000),
        _each("tokens", 10_000),
        {"tokens": 20},
        measure="bytes",
    ),
    Work("kept_messages", "memory of a finished sequence", "message", measure="bytes", **_MESSAGES),
    Work("import", "import", "process", (), ({},), ({},), {}),
)


def words_of(only: str) -> list[str]:
    """The words of a comma-separated list."""
    return [word.strip() for word in only.split(",") if word.strip()]


def cases(scale: Scale, only: str = "") -> Iterator[Case]:
    """The cases of a scale; with `only`, those whose name or function contains one of these comma-separated words."""
    words = words_of(only)
    for work in WORKS:
        chosen = {"full": work.full, "quick": work.quick, "tiny": (work.tiny,)}[scale]
        for sizes in chosen:
            case = Case(work, sizes)
            if not words or any(word in f"{work.name} {case.name}" for word in words):
                yield case
