"""The demo in a terminal: a lane for each agent, with what it says, as it says it."""

import asyncio
from typing import Final

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from miniagents.cli.demo_agents import Crew
from miniagents.cli.demo_run import Lane, Run
from miniagents.promising import PromisingContext

_FRAMES_PER_SECOND: Final = 15
_STYLES: Final = {"planner": "magenta", "searcher": "cyan", "reader": "blue", "writer": "green", "editor": "yellow"}
_BAR_WIDTH: Final = 18
# Below this many columns the words need the place of the bars.
_NARROW: Final = 60
# However small the terminal is; the rest of it is for the answer.
_FEWEST_LANES: Final = 3


async def show_lanes(run: Run, crew: Crew, console: Console, heading: str) -> None:
    """Let `crew` go, and show the run until it has ended. Needs a context, whose end by an error ends the run."""
    view = Lanes(run, heading)
    going = PromisingContext.get_current().start_asap(run.go(crew))
    with Live(view, console=console, auto_refresh=False, vertical_overflow="crop") as live:
        while not going.done():
            live.refresh()
            await asyncio.wait([going], timeout=1 / _FRAMES_PER_SECOND)
        await going
        view.complete = True


class Lanes:
    """What a run looks like now, for rich: as much as fits the height of the terminal, or all of it if `complete`."""

    def __init__(self, run: Run, heading: str) -> None:
        self._run = run
        self._heading = Text(heading, style="dim")
        self.complete = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The lines to be shown."""
        width = options.max_width
        draw = _Drawing(width, self._run.now, ascii_only=options.ascii_only)
        above = [*Text(self._run.question, style="bold").wrap(console, width), *self._heading.wrap(console, width)]
        answer = [*Text(self._run.answer).wrap(console, width)] if self._run.answer else []
        lanes = [lane for lane in self._run.lanes if lane.role != "editor"]  # who writes the answer below
        left_out = 0
        if not self.complete:
            rows = console.height - len(above) - 3  # the empty line, the figures, and the line of the cursor
            answer = answer[-max(1, rows - _FEWEST_LANES) :]
            shown = _most_telling(lanes, max(_FEWEST_LANES, rows - len(answer)))
            left_out = len(lanes) - len(shown)
            lanes = shown
        yield from above
        yield from (draw.lane(lane) for lane in lanes)
        if answer:
            yield Text()
            yield from answer
        figures = self._run.figures() + (f" (+{left_out} lanes)" if left_out else "")
        yield Text(figures, style="bold", no_wrap=not self.complete, overflow="crop")


class _Drawing:
    """Draws lanes at one moment, in one width."""

    def __init__(self, width: int, now: float, *, ascii_only: bool) -> None:
        self._width = width
        self._now = now
        self._waits, self._works, self._done, self._ink, self._cut = ".*+=~" if ascii_only else "·●✓━…"

    def lane(self, lane: Lane) -> Text:
        """Who it is, for how long it has worked, when that was, and what it says: the end of it while it speaks."""
        style = _STYLES.get(lane.role, "")
        mark = self._waits if lane.started is None else self._works if lane.ended is None else self._done
        line = Text(no_wrap=True, overflow="crop")
        line.append(f"{mark} {lane.name:<10}", style if lane.ended is None else f"{style} dim")
        line.append("       " if lane.started is None else f"{lane.working_time(self._now):4.1f} s ", "dim")
        if self._width >= _NARROW:
            line.append(self._bar(lane), style)
            line.append(" ")
        room = self._width - line.cell_len
        line.append(self._words(lane, room), "dim" if lane.ended is not None else "")
        return line

    def _bar(self, lane: Lane) -> str:
        if lane.started is None:
            return " " * _BAR_WIDTH
        scale = _BAR_WIDTH / max(self._now, 0.001)
        start = min(int(lane.started * scale), _BAR_WIDTH - 1)
        length = max(1, round((lane.started + lane.working_time(self._now)) * scale) - start)
        return (" " * start + self._ink * length)[:_BAR_WIDTH].ljust(_BAR_WIDTH)

    def _words(self, lane: Lane, room: int) -> str:
        text = " ".join(lane.text.replace("\n", " / ").split())
        if cell_len(text) <= room:
            return text
        if lane.ended is not None:
            return _fitting(text, room - 1) + self._cut
        return self._cut + _fitting(text[::-1], room - 1)[::-1]


def _fitting(text: str, room: int) -> str:
    """The beginning of `text` that fits into so many columns."""
    beginning = text[: max(room, 0)]
    while cell_len(beginning) > room:
        beginning = beginning[:-1]
    return beginning


def _most_telling(lanes: list[Lane], room: int) -> list[Lane]:
    """The lanes to show where there is no room for all: those at work first, then the latest; in their own order."""
    if len(lanes) <= room:
        return lanes
    by_interest = sorted(
        range(len(lanes)), key=lambda at: (lanes[at].started is None, lanes[at].ended is not None, -at)
    )
    chosen = sorted(by_interest[:room])
    return [lanes[at] for at in chosen]
