"""Draws docs/images/demo.svg: `miniagents demo` in a terminal, as an animation that needs no script and no font.

    python scripts/make_demo_picture.py [FILE]

The demo runs in virtual time, so the picture does not depend on the speed of the machine. rich draws each frame; what
does not change from one frame to the next is there once. Where animations are off, the picture is the last frame.
"""

import asyncio
import io
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from miniagents import MiniAgents
from miniagents.cli.demo_lanes import Lanes
from miniagents.cli.demo_run import Run
from miniagents.cli.demo_script import DEFAULT_QUESTION, scripted_crew
from miniagents.promising import PromisingContext
from miniagents.testing import run_virtual

DEFAULT_FILE = Path(__file__).parents[1] / "docs" / "images" / "demo.svg"
# Not the one of the demo, which says that the times are measured: here they are those of a machine that costs no time.
HEADING = "Models and their pace are scripted; agents and streams are real."
COLUMNS, ROWS = 80, 24
SECONDS_PER_FRAME = 0.4
SECONDS_AT_THE_END = 5.0

# What rich knows of a frame, to be taken apart again.
PARTS = "{styles}\x00{matrix}\x00{chrome}\x00{width}\x00{height}\x00{terminal_x}\x00{terminal_y}\x00{char_height}"
STYLE = re.compile(r"\.demo-(r\d+) \{ (.*?) \}")
TEXT = re.compile(r'<text class="demo-(r\d+)" x="(.*?)" y="(.*?)" textLength="(.*?)" clip-path=".*?">(.*?)</text>')

PAGE = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="{label}">
<style>
text {{ font: {char_height}px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace }}
.demo-title {{ font: bold 18px sans-serif }}
.gone {{ visibility: hidden }}
{rules}
@media (prefers-reduced-motion: no-preference) {{
{animations}
}}
</style>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})">
{texts}
</g>
</svg>
"""


class Piece(NamedTuple):
    """Some characters in one style at one place."""

    css: str
    x: str
    y: str
    width: str
    text: str


class Frame(NamedTuple):
    """One picture: its pieces, and what is around them."""

    pieces: list[Piece]
    surroundings: dict[str, str]


def main(file: Path) -> None:
    """Write the picture."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(animation(run_virtual(record)), encoding="utf-8")


async def record() -> list[Frame]:
    """The frames of a run."""
    run = Run(DEFAULT_QUESTION)
    view = Lanes(run, HEADING)
    view.complete = True  # there is room for all of it
    frames: list[Frame] = []
    async with MiniAgents():
        going = PromisingContext.get_current().start_asap(run.go(scripted_crew(DEFAULT_QUESTION)))
        while not going.done():
            frames.append(draw(view))
            await asyncio.wait([going], timeout=SECONDS_PER_FRAME)
    return [*frames, draw(view)]


def draw(view: Lanes) -> Frame:
    """The frame that shows what there is now."""
    console = Console(
        record=True,
        file=io.StringIO(),
        width=COLUMNS,
        force_terminal=True,
        color_system="truecolor",
        legacy_windows=False,
    )
    console.print(view, end="")
    console.print("\n" * (ROWS - 1 - console.export_text(clear=False).count("\n")), end="")
    drawn = console.export_svg(title="miniagents demo", code_format=PARTS, unique_id="demo").split("\x00")
    names = ("chrome", "width", "height", "terminal_x", "terminal_y", "char_height")
    styles = dict(STYLE.findall(drawn[0]))
    pieces = [Piece(styles[style], *place_and_text) for style, *place_and_text in TEXT.findall(drawn[1])]
    chrome, *sizes = drawn[2:]
    return Frame(pieces, dict(zip(names, [chrome, *(f"{float(size):g}" for size in sizes)], strict=True)))


def animation(frames: list[Frame]) -> str:
    """The frames one after the other, for ever."""
    shown: dict[Piece, list[int]] = {}
    for number, frame in enumerate(frames):
        for piece in frame.pieces:
            shown.setdefault(piece, []).append(number)
    classes = {css: f"s{number}" for number, css in enumerate(sorted({piece.css for piece in shown}))}
    spans: set[tuple[int, int]] = set()
    texts: list[str] = []
    for piece, numbers in sorted(shown.items(), key=lambda item: (float(item[0].y), float(item[0].x), item[1])):
        for first, behind in consecutive(numbers):
            names = [classes[piece.css]]
            if (first, behind) != (0, len(frames)):
                spans.add((first, behind))
                names.append(f"f{first}-{behind}")
            if behind != len(frames):
                names.append("gone")
            where = f'x="{piece.x}" y="{piece.y}" textLength="{piece.width}"'
            texts.append(f'<text class="{" ".join(names)}" {where}>{piece.text}</text>')
    return PAGE.format(
        label=f"A terminal in which {DEFAULT_QUESTION!r} is answered by many agents at once, each in a lane of its own",
        rules="\n".join(f".{name} {{ {css} }}" for css, name in classes.items()),
        animations="\n".join(keyframes(first, behind, len(frames)) for first, behind in sorted(spans)),
        texts="\n".join(texts),
        **frames[-1].surroundings,
    )


def consecutive(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """The runs of consecutive numbers, each as its first one and the one behind its last."""
    spans: list[tuple[int, int]] = []
    for number in numbers:
        if spans and spans[-1][1] == number:
            spans[-1] = (spans[-1][0], number + 1)
        else:
            spans.append((number, number + 1))
    return spans


def keyframes(first: int, behind: int, frames: int) -> str:
    """The animation of what is shown from the frame `first` until before the frame `behind`."""
    seconds = frames * SECONDS_PER_FRAME + SECONDS_AT_THE_END
    start, stop = (f"{100 * frame * SECONDS_PER_FRAME / seconds:.2f}%" for frame in (first, behind))
    steps = f"{start} {{ visibility: visible }}"
    if first:
        steps = f"0% {{ visibility: hidden }} {steps}"
    if behind != frames:
        steps = f"{steps} {stop} {{ visibility: hidden }}"
    name = f"f{first}-{behind}"
    return f".{name} {{ animation: {name} {seconds:.1f}s step-end infinite }} @keyframes {name} {{ {steps} }}"


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_FILE)
