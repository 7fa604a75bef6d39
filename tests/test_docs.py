"""README and docs: every Python block runs, and prints what the page says."""

import uuid
from pathlib import Path

import pytest

from support.docs_blocks import Block, PageError, blocks_of
from support.llm import llm_environment
from support.processes import Ended, run_python

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("README.md"), *ROOT.glob("docs/**/*.md")])


def blocks_of_all_pages() -> list[Block]:
    return [block for page in PAGES for block in blocks_of(page)]


def name_of(block: Block) -> str:
    return f"{block.page.relative_to(ROOT)}:{block.line}"


async def run_block(block: Block, folder: Path) -> Ended:
    """Run one block in an empty folder; `stdout` is its own, without that of the blocks that it continues."""
    mark = uuid.uuid4().hex
    program = folder / "program" / block.page.name  # under the page's name, so that tracebacks point into the page
    work = folder / "work"
    program.parent.mkdir()
    work.mkdir()
    program.write_text(block.program(mark), encoding="utf-8")
    async with llm_environment() as environment:
        ended = await run_python(program, cwd=work, environment=environment)
    return Ended(ended.status, ended.stdout.rpartition(f"{mark}\n")[2], ended.stderr)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("block", blocks_of_all_pages(), ids=name_of)
async def test_a_block_prints_what_its_page_shows(block: Block, tmp_path: Path) -> None:
    """Every Python block of README and docs runs without complaint and prints exactly what its page shows."""
    ended = await run_block(block, tmp_path)
    assert ended.stderr == ""
    assert ended.stdout == block.output
    assert ended.status == 0


PAGE = """\
# A page

```python
greeting = "hello"
print(greeting)
```

It prints:

<!-- output -->
```text
hello
```

<!-- continues -->
```python
raise SystemExit(f"{greeting} again")
```
"""


def page(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "page.md"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_block_knows_the_output_that_its_page_shows(tmp_path: Path) -> None:
    """The fenced block under the output marker is the output of the Python block above it."""
    first, second = blocks_of(page(tmp_path, PAGE))
    assert first.output == "hello\n"
    assert second.output == ""


async def test_a_block_goes_on_where_the_one_before_ended(tmp_path: Path) -> None:
    """A continuation has the names of the block above, and its output does not repeat what that one printed."""
    _, second = blocks_of(page(tmp_path, PAGE))
    ended = await run_block(second, tmp_path)
    assert (ended.status, ended.stdout, ended.stderr) == (1, "", "hello again\n")


def test_a_program_has_the_line_numbers_of_its_page(tmp_path: Path) -> None:
    """A line of a block stands in the program where it stands in the page."""
    _, second = blocks_of(page(tmp_path, PAGE))
    program = second.program("mark").splitlines()
    shown = PAGE.splitlines()
    for line in (4, 5, 17):
        assert program[line - 1] == shown[line - 1] != ""


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("<!-- output -->\n```text\nx\n```\n", 2),
        ("```python\n```\n<!-- output -->\n```text\nx\n```\n<!-- output -->\n```text\ny\n```\n", 8),
        ("```python\n```\n\n<!-- output -->\nprose\n", 4),
        ("prose\n\n<!-- output -->\n", 3),
        ("<!-- output -->\n```python\n```\n", 2),
        ("<!-- continues -->\n```python\n```\n", 2),
        ("```python\n```\n<!-- continues -->\n```text\n```\n", 4),
        ("```py\nprint()\n```\n", 1),
    ],
    ids=[
        "output of nothing",
        "second output",
        "output without a block",
        "marker at the end",
        "output that is Python",
        "continues nothing",
        "continuation that is not Python",
        "Python by another name",
    ],
)
def test_a_page_that_breaks_the_convention_is_refused(tmp_path: Path, text: str, line: int) -> None:
    """A marker that marks nothing, or a block that would silently not run, is an error that names the line."""
    with pytest.raises(PageError, match=rf"page\.md:{line}:"):
        blocks_of(page(tmp_path, text))
