"""The Python blocks of the specification as programs, to the letter, with only what visibly surrounds them supplied."""

from pathlib import Path
from textwrap import indent

_BLOCKS = Path(__file__).parents[1] / "spec" / "blocks"

IMPORT_ASYNCIO = "import asyncio\n"
IMPORT_MINIAGENTS = "import miniagents\n"
IMPORT_MINI_AGENTS_CLASS = "from miniagents import MiniAgents\n"
MINI_AGENTS = f"{IMPORT_MINI_AGENTS_CLASS}mini_agents = MiniAgents()\n"


def block(number: int) -> str:
    """The text of one block, numbered from 1 in the order of the specification."""
    (path,) = _BLOCKS.glob(f"{number:02}_*.py")
    return path.read_text(encoding="utf-8")


def in_main(source: str) -> str:
    """`source`, which awaits at its top level, as the body of a coroutine function that is run."""
    return f"import asyncio\nasync def main():\n{indent(source, '    ')}\nasyncio.run(main())\n"


def write_program(folder: Path, *parts: str) -> Path:
    """Write the parts, one after the other, as a program into `folder` and give its path."""
    path = folder / "program.py"
    path.write_text("\n".join(parts), encoding="utf-8")
    return path
