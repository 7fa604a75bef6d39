"""`miniagents demo`, on a terminal and without one."""

import re
import sys
from pathlib import Path

import pytest

from miniagents.cli.demo_script import DEFAULT_QUESTION
from support.commands import interrupted_when_it_says, run_miniagents
from support.terminal import AT_ONCE_SECONDS, CTRL_C, Terminal

pytestmark = [pytest.mark.timeout(90), pytest.mark.skipif(sys.platform == "win32", reason="there are no signals")]

FIGURES = re.compile(
    r"(\d+) agents, (\d+) tokens, ([\d.]+) s; one after another: ([\d.]+) s \(([\d.]+) times as long\)"
)
SHOW_CURSOR, HIDE_CURSOR = "\x1b[?25h", "\x1b[?25l"


def demo(*arguments: str, cwd: Path, **environment: str) -> Terminal:
    """The demo on a terminal, fast."""
    return Terminal("-m", "miniagents", "demo", "--speed", "20", *arguments, cwd=cwd, environment=environment)


async def test_in_a_pipe_it_tells_each_step_in_a_line(tmp_path: Path) -> None:
    """Without a terminal there are plain lines: the question, every start and end, the answer and the figures."""
    ended = await run_miniagents("demo", cwd=tmp_path)
    assert (ended.status, ended.stderr) == (0, "")
    assert "\x1b" not in ended.stdout
    lines = ended.stdout.splitlines()
    assert lines[0] == DEFAULT_QUESTION
    assert "scripted" in lines[1]
    starts = re.findall(r"^ +([\d.]+) s  (\S.*) starts$", ended.stdout, re.MULTILINE)
    ends = re.findall(r"^ +([\d.]+) s  (\S.*) is done, (\d+) tokens$", ended.stdout, re.MULTILINE)
    figures = FIGURES.fullmatch(lines[-1])
    assert figures is not None
    agents, tokens, seconds, one_after_another, factor = map(float, figures.groups())
    assert len(starts) == len(ends) == agents >= 12
    assert sum(int(said) for _, _, said in ends) == tokens
    started = {name: float(at) for at, name in starts}
    assert sum(float(at) - started[name] for at, name, _ in ends) == pytest.approx(one_after_another, abs=0.2)
    assert one_after_another / seconds == pytest.approx(factor, abs=0.3)
    assert "scattered" in lines[-3]


@pytest.mark.parametrize("role", ["planner", "searcher", "reader", "writer", "editor"])
async def test_every_level_is_told(role: str, tmp_path: Path) -> None:
    """All five kinds of work are seen to start."""
    assert f"  {role} starts\n" in (await run_miniagents("demo", "--speed", "1000", cwd=tmp_path)).stdout


async def test_another_question_gets_an_honest_answer(tmp_path: Path) -> None:
    """For a question of the user's own the answer names it, and says that the models only follow a script."""
    ended = await run_miniagents("demo", "Who was Ada?", "--speed", "1000", cwd=tmp_path)
    assert ended.stdout.startswith("Who was Ada?\n")
    assert "You asked: Who was Ada?" in ended.stdout
    assert "follow a script, so they do not know" in ended.stdout


async def test_a_question_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    """Escape sequences in the question do not reach the output."""
    ended = await run_miniagents("demo", "a\x1b]0;title\x07\x1b[31mb\nc", "--speed", "1000", cwd=tmp_path)
    assert ended.stdout.startswith("ab c\n")
    assert "\x1b" not in ended.stdout


async def test_on_a_terminal_it_ends_by_itself(tmp_path: Path) -> None:
    """The lanes of all levels are shown, then the answer and the figures; the cursor is there again at the end."""
    async with demo(cwd=tmp_path) as terminal:
        for shown in (
            DEFAULT_QUESTION,
            "planner",
            "searcher",
            "reader",
            "writer",
            "The sky is blue",
            "one after another",
        ):
            await terminal.shows(shown)
        assert await terminal.ended() == 0
    assert FIGURES.search(terminal.screen)
    assert terminal._raw.rindex(SHOW_CURSOR) > terminal._raw.rindex(HIDE_CURSOR)


async def test_streams_are_seen_while_they_grow(tmp_path: Path) -> None:
    """A lane shows the first words of its model before the last ones are there."""
    async with Terminal("-m", "miniagents", "demo", "--speed", "1", cwd=tmp_path) as terminal:
        await terminal.shows("What does the")
        assert "Why blu" not in terminal.screen
        await terminal.shows("Why blu")


async def test_colours(tmp_path: Path) -> None:
    """There are colours on a terminal, and none with NO_COLOR."""
    colour = re.compile(r"\x1b\[(?:\d+;)*(?:3\d|9\d)(?:;\d+)*m")
    for environment, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        async with demo(cwd=tmp_path, **environment) as terminal:
            assert await terminal.ended() == 0
        assert bool(colour.search(terminal._raw)) is coloured


async def test_a_dumb_terminal_gets_plain_lines(tmp_path: Path) -> None:
    """A terminal that cannot move its cursor is treated like a pipe."""
    async with demo(cwd=tmp_path, TERM="dumb") as terminal:
        await terminal.shows("planner starts")
        assert await terminal.ended() == 0
    assert "\x1b" not in terminal._raw


@pytest.mark.parametrize("size", [(40, 15), (20, 8)], ids=str)
async def test_a_small_terminal(size: tuple[int, int], tmp_path: Path) -> None:
    """In a small terminal it works as well, and the end has the whole answer and the figures."""
    columns, lines = map(str, size)
    async with demo(cwd=tmp_path, COLUMNS=columns, LINES=lines) as terminal:
        assert await terminal.ended() == 0
    said = " ".join(terminal.screen.split())
    assert "The sky is blue because air scatters" in said
    assert FIGURES.search(said)


@pytest.mark.parametrize("moment", ["planner", "reader 6", "writer 3", "The sky"])
async def test_ctrl_c_on_a_terminal(moment: str, tmp_path: Path) -> None:
    """Ctrl+C at any moment ends the demo with status 130, without a traceback, and gives the cursor back."""
    async with Terminal("-m", "miniagents", "demo", "--speed", "3", cwd=tmp_path) as terminal:
        await terminal.shows(moment)
        terminal.press(CTRL_C)
        assert await terminal.ended(within=AT_ONCE_SECONDS) == 130
    assert "Traceback" not in terminal.screen
    assert "Error" not in terminal.screen
    assert terminal._raw.rindex(SHOW_CURSOR) > terminal._raw.rindex(HIDE_CURSOR)


@pytest.mark.parametrize("presses", [1, 2], ids=["once", "twice"])
@pytest.mark.parametrize("moment", ["scripted", "planner starts", "reader 6 starts", "editor starts"])
async def test_ctrl_c_in_a_pipe(moment: str, presses: int, tmp_path: Path) -> None:
    """SIGINT at any moment, also twice, ends the demo with status 130 and nothing on stderr."""
    command = ("-m", "miniagents", "demo", "--speed", "4")
    ended = await interrupted_when_it_says(moment, *command, cwd=tmp_path, presses=presses)
    assert (ended.status, ended.stderr) == (130, "")
