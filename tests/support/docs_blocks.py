"""The Python blocks of a Markdown page as runnable programs, with the output that the page claims for them.

The convention, as CONTRIBUTING.md tells it to authors:

* every fenced block marked `python` is run, as a program of its own, and must print exactly what the page shows;
* `<!-- output -->` makes the next fenced block (of any language) the output of the Python block above it;
  a Python block without one must print nothing;
* `<!-- continues -->` makes the next Python block go on where the one above it ended.

Own lines rather than sybil or pytest-examples: both run a block inside the test process and look at single values or at
`#>` comments; here a block runs as a reader would run it, and its real output, warnings and exit status count.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

OUTPUT_MARKER = "<!-- output -->"
CONTINUES_MARKER = "<!-- continues -->"

_ALMOST_PYTHON = frozenset({"py", "python3", "pycon", "Python"})


class PageError(ValueError):
    """A page breaks the convention; the message names the page and the line."""

    def __init__(self, page: Path, line: int, problem: str) -> None:
        super().__init__(f"{page}:{line}: {problem}")


@dataclass(frozen=True)
class Block:
    """One Python block: `line` is where its first line of code stands in the page, counted from 1."""

    page: Path
    line: int
    code: str
    output: str = ""
    before: tuple["Block", ...] = ()

    def program(self, mark: str) -> str:
        """The source to run, each line at the line number that it has in the page, so that tracebacks point there.

        What the blocks before this one print is divided from its own output by a line `mark`.
        """
        lines: list[str] = []
        for block in (*self.before, self):
            lines += [""] * (block.line - 1 - len(lines))
            if block is self and self.before:
                lines[-1] = f"print({mark!r}, flush=True)"  # the line of the opening fence is free
            lines += block.code.splitlines()
        return "\n".join(lines) + "\n"


def blocks_of(page: Path) -> list[Block]:
    """All Python blocks of `page`, in order.

    Raises:
        PageError: a marker that marks nothing, an output of no block, or a block that is Python by another name.
    """
    blocks: list[Block] = []
    awaits_output = False  # the newest block has no output yet
    for marker, line, token in _fences(page):
        if token.info in _ALMOST_PYTHON:
            raise PageError(page, line, f"write `python` instead of `{token.info}`, so that the block is run")
        if token.info == "python":
            if marker == OUTPUT_MARKER:
                raise PageError(page, line, "a Python block cannot be the output of another")
            if marker == CONTINUES_MARKER and not blocks:
                raise PageError(page, line, "there is no Python block above to continue")
            before = (*blocks[-1].before, blocks[-1]) if marker == CONTINUES_MARKER else ()
            blocks.append(Block(page, line + 1, token.content, before=before))
            awaits_output = True
        elif marker == CONTINUES_MARKER:
            raise PageError(page, line, "only a Python block can continue another")
        elif marker == OUTPUT_MARKER:
            if not awaits_output:
                raise PageError(page, line, "no Python block above this output still lacks one")
            blocks[-1] = replace(blocks[-1], output=token.content)
            awaits_output = False
    return blocks


def _fences(page: Path) -> Iterator[tuple[str | None, int, Token]]:
    """Every fenced block: the marker directly above it, the line of its opening fence, and the block."""
    marker, marker_line = None, 0
    for token in [*MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8")), Token("end", "", 0)]:
        line = token.map[0] + 1 if token.map else 0
        if token.type == "fence":
            yield marker, line, token
            marker = None
        elif marker is not None:
            raise PageError(page, marker_line, f"{marker} is not directly above a fenced block")
        elif token.type == "html_block" and token.content.strip() in (OUTPUT_MARKER, CONTINUES_MARKER):
            marker, marker_line = token.content.strip(), line
