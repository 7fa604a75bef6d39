"""Every program in `examples/` runs offline, prints what it says, and ends with Ctrl+C."""

import ast
import textwrap
from pathlib import Path

import pytest

from support.commands import interrupted_when_it_says
from support.processes import run_python

pytestmark = pytest.mark.timeout(90)

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
MOST_LINES = 60
# Those that take a while, and what they say before that while is over.
PACED = {"many_readers": "Once", "parallel_research": "Why", "planner": "planned", "self_play": "Ada:"}

every_example = pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)


def docstring_of(example: Path) -> str:
    return ast.get_docstring(ast.parse(example.read_text(encoding="utf-8"))) or ""


def promised_output(example: Path) -> str:
    """What the docstring says that the program prints."""
    _, marker, block = docstring_of(example).partition("\nIt prints:\n\n")
    assert marker, f"{example.name} does not say what it prints"
    return textwrap.dedent(block)


def lines_of(text: str) -> list[str]:
    """Without spaces at their ends, which a docstring cannot have."""
    return [line.rstrip() for line in text.rstrip().splitlines()]


@every_example
async def test_an_example_prints_what_it_says(example: Path, tmp_path: Path) -> None:
    """Each example runs as it is, offline and without a key, and prints what its docstring promises."""
    ended = await run_python(example, cwd=tmp_path)
    assert (ended.status, ended.stderr) == (0, "")
    assert lines_of(ended.stdout) == lines_of(promised_output(example))


@every_example
def test_an_example_can_be_read_at_a_glance(example: Path) -> None:
    """An example says how to run it, and what it prints, and fits on a page or so."""
    assert f"python examples/{example.name}" in docstring_of(example)
    assert len(example.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("example", [path for path in EXAMPLES if path.stem in PACED], ids=lambda path: path.stem)
async def test_ctrl_c_ends_an_example(example: Path, tmp_path: Path) -> None:
    """Ctrl+C in the midst of a stream ends an example with status 130 and nothing on stderr."""
    ended = await interrupted_when_it_says(PACED[example.stem], example, cwd=tmp_path)
    assert (ended.status, ended.stderr) == (130, "")


@every_example
def test_an_example_is_prepared_for_ctrl_c(example: Path) -> None:
    """Each example ends with status 130 where Ctrl+C is pressed."""
    assert "    except KeyboardInterrupt:\n        sys.exit(130)\n" in example.read_text(encoding="utf-8")
