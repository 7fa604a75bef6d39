"""Who is measured, and the environments of those who are not this project."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
SOURCE: Final = ROOT / "src"


@dataclass(frozen=True)
class Subject:
    """Somebody who does works."""

    name: str
    module: str
    """In `benchmarks.subjects`."""
    works: frozenset[str]
    """All but the import; empty: everything."""
    imports: str = ""
    """The statement whose time is measured."""
    requirements: tuple[str, ...] = ()
    """What is to be installed for it; nothing: it runs in this environment."""
    limits: Mapping[str, int] = field(default_factory=dict)
    """The greatest number of units for works that would take minutes."""

    def python(self, cache: Path) -> Path:
        """The interpreter that it runs in."""
        if not self.requirements:
            return Path(sys.executable)
        folder = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
        return cache.joinpath(self.name, *folder)

    def environment(self) -> dict[str, str]:
        """The environment variables that it runs with."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "OPENAI_"))}
        quiet = {
            "AGNO_TELEMETRY": "false",
            "LANGSMITH_TRACING": "false",
            "OPENAI_AGENTS_DISABLE_TRACING": "1",
            "OPENAI_API_KEY": "none",
            "PYTHONHASHSEED": "0",
        }
        return kept | quiet | ({} if self.requirements else {"PYTHONPATH": str(SOURCE)})

    def can(self, work: str, units: int) -> bool:
        """Whether it does a work of this size."""
        if work == "import":
            return bool(self.imports)
        return (not self.works or work in self.works) and units <= self.limits.get(work, units)


_CALLS: Final = frozenset({"sequential", "fan_out", "tree"})
_STREAMS: Final = _CALLS | {"stream"}

BARE: Final = Subject(
    "bare",
    "bare",
    frozenset(),
    "import asyncio, pydantic\nclass M(pydantic.BaseModel):\n    text: str",
)
OURS: Final = Subject(
    "this project",
    "ours",
    frozenset(),
    "from miniagents import Message, MiniAgents, miniagent",
)
PEERS: Final = (
    Subject(
        "miniagents-0.0.35",
        "existing",
        _STREAMS
        | {"forward", "forward_messages", "live_readers", "late_readers", "out_of_order", "history", "llm_sdk"}
        | {"idle_agents", "kept_tokens", "kept_messages", "build", "hash"},
        "import miniagents",
        ("miniagents==0.0.35", "openai"),
        {"forward": 2_000, "late_readers": 500_000, "live_readers": 500_000, "history": 10_000, "fan_out": 10_000},
    ),
    Subject(
        "pydantic-ai",
        "pydantic_ai",
        _STREAMS | {"llm_sdk"},
        "import pydantic_ai",
        ("pydantic-ai-slim[openai]",),
        {"sequential": 5_000, "fan_out": 1_000, "tree": 341, "stream": 10_000},
    ),
    Subject(
        "openai-agents",
        "openai_agents",
        _STREAMS | {"llm_sdk"},
        "import agents",
        ("openai-agents",),
        {"fan_out": 1_000, "tree": 341},
    ),
    Subject(
        "langgraph",
        "langgraph",
        _STREAMS | {"llm_sdk"},
        "import langgraph.graph",
        ("langgraph", "langchain-openai"),
        {"fan_out": 10_000},
    ),
    Subject(
        "agno",
        "agno",
        _STREAMS,
        "import agno.agent",
        ("agno", "openai"),
        {"fan_out": 10_000, "stream": 10_000},
    ),
    Subject(
        "autogen-core",
        "autogen_core",
        _CALLS,
        "import autogen_core",
        ("autogen-core",),
        {"fan_out": 10_000},
    ),
    Subject("aiohttp", "aiohttp", frozenset({"llm_plain"}), requirements=("aiohttp",)),
)


def prepare(peer: Subject, cache: Path) -> None:
    """Make the environment of a peer, if it is not there. Raises `CalledProcessError`."""
    python = peer.python(cache)
    done = cache / peer.name / "installed.txt"
    wanted = "\n".join(peer.requirements)
    if done.exists() and done.read_text(encoding="utf-8") == wanted:
        return
    subprocess.run(["uv", "venv", "--quiet", "--clear", "--python", sys.executable, cache / peer.name], check=True)
    subprocess.run(["uv", "pip", "install", "--quiet", "--python", python, *peer.requirements], check=True)
    done.write_text(wanted, encoding="utf-8")
