"""What the demo's agents do and what is told of it, in virtual time."""

import dataclasses
import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from miniagents import MiniAgent, MiniAgents
from miniagents.cli.demo_agents import Crew, research
from miniagents.cli.demo_lanes import Lanes
from miniagents.cli.demo_run import Lane, Run
from miniagents.cli.demo_script import DEFAULT_QUESTION, scripted_crew
from miniagents.ext.models import scripted_agent
from miniagents.testing import explore, run_virtual


def model(text: str, **arguments: object) -> MiniAgent[...]:
    """A model that thinks for a second and then says everything at once."""
    return scripted_agent.fork(**{"script": text, "time_to_first_token": 1, **arguments})


def crew_of_one_second_each() -> Crew:
    return Crew(
        planner=model("first?\nsecond?"),
        searcher=model("a page\nanother page"),
        reader=model("notes"),
        writer=model("section"),
        editor=model("The answer."),
    )


def finished_run(crew: Crew, question: str = "Why?", seed: int = 0) -> Run:
    async def go() -> Run:
        run = Run(question)
        await run.go(crew)
        return run

    return run_virtual(go, seed=seed)


def test_the_figures_are_true() -> None:
    """Agents, tokens and seconds are those of the run; one after another is the sum of what each has worked."""
    # Five steps of a second each, with 1, 2, 4, 2 and 1 models at work, which say 2, 2 * 4, 4, 2 and 2 words.
    figures = finished_run(crew_of_one_second_each()).figures()
    assert figures == "10 agents, 18 tokens, 5.0 s; one after another: 10.0 s (2.0 times as long)"


def test_what_is_shown_is_safe_for_a_terminal() -> None:
    """Escape sequences that a model says are not in its lane, and none hides what another message says."""
    crew = dataclasses.replace(crew_of_one_second_each(), editor=model("\x1b[2JThe\a \x1b]0;title"))
    run = finished_run(crew)
    assert run.answer == "The<U+0007> "


def test_waiting_is_not_working() -> None:
    """A lane starts when all is there that its model was sent, and ends with the last token."""
    lanes = finished_run(crew_of_one_second_each()).lanes
    assert sorted((lane.started, lane.ended, lane.role) for lane in lanes) == [
        (0, 1, "planner"),
        *[(1, 2, "searcher")] * 2,
        *[(2, 3, "reader")] * 4,
        *[(3, 4, "writer")] * 2,
        (4, 5, "editor"),
    ]


def test_nobody_waits_longer_than_needed() -> None:
    """A page is read while the name of the next one is still being written."""
    slow_searcher = model("one page\nanother page", tokens_per_second=1)
    run = finished_run(dataclasses.replace(crew_of_one_second_each(), searcher=slow_searcher))
    first_reader = next(lane for lane in run.lanes if lane.role == "reader")
    first_searcher = next(lane for lane in run.lanes if lane.role == "searcher")
    assert first_reader.started is not None
    assert first_searcher.ended is not None
    assert first_reader.started < first_searcher.ended


def test_the_answer_is_the_editors() -> None:
    """The answer is what the agents reply without anybody watching."""

    async def unwatched() -> str:
        async with MiniAgents():
            (message,) = await research.inquire(DEFAULT_QUESTION, crew=scripted_crew(DEFAULT_QUESTION))
        return str(message)

    assert finished_run(scripted_crew(DEFAULT_QUESTION), DEFAULT_QUESTION).answer == run_virtual(unwatched)


def test_a_dozen_agents_in_any_order() -> None:
    """Whatever the order of the tasks, fourteen models work, more than ten of them at the same time as another one."""

    async def go() -> tuple[int, str]:
        run = Run(DEFAULT_QUESTION)
        await run.go(scripted_crew(DEFAULT_QUESTION))
        assert all(lane.ended is not None for lane in run.lanes)
        alone = [
            lane for lane in run.lanes if not any(overlap(lane, other) for other in run.lanes if other is not lane)
        ]
        assert len(run.lanes) - len(alone) > 10
        return len(run.lanes), run.answer

    outcomes = set(explore(go, range(10)))
    assert len(outcomes) == 1
    assert outcomes.pop()[0] == 14


def overlap(one: Lane, other: Lane) -> bool:
    assert one.started is not None
    assert one.ended is not None
    assert other.started is not None
    assert other.ended is not None
    return one.started < other.ended and other.started < one.ended


def test_the_demo_takes_seconds() -> None:
    """At the speed of a usual model the demo takes six to ten seconds, and with `speed` that much less."""
    usual = finished_run(scripted_crew(DEFAULT_QUESTION), DEFAULT_QUESTION).ended
    fast = finished_run(scripted_crew(DEFAULT_QUESTION, speed=5), DEFAULT_QUESTION).ended
    assert usual is not None
    assert 6 < usual < 10
    assert fast == pytest.approx(usual / 5)


def test_an_error_of_a_model_ends_the_run() -> None:
    """An error in any lane is raised by the run."""
    crew = crew_of_one_second_each()
    broken = Crew(
        crew.planner, crew.searcher, model("notes", fail_after_tokens=0, error=OSError), crew.writer, crew.editor
    )
    with pytest.raises(OSError, match="breaks off"):
        finished_run(broken)


# ---------------------------------------------------------------------- how it looks


def picture(run: Run, width: int, height: int, *, complete: bool = False, encoding: str = "utf-8") -> list[str]:
    """The lines that a terminal of this size shows of a run."""
    screen = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=screen, width=width, height=height, force_terminal=True, color_system=None)
    lanes = Lanes(run, "The models are scripted.")
    lanes.complete = complete

    async def draw() -> None:
        console.print(lanes)

    run_virtual(draw)
    screen.seek(0)
    return screen.read().splitlines()


def running(lanes: int = 14, answer: str = "") -> Run:
    """A run in which some lanes are done, some work and some wait."""
    run = Run("Why is the sky \N{CJK UNIFIED IDEOGRAPH-85CD}?")
    run.ended = 9.0
    for number in range(lanes):
        lane = run.add_lane("reader")
        lane.text = (
            f"The words of lane {number} are \N{CJK UNIFIED IDEOGRAPH-85CD}\N{CJK UNIFIED IDEOGRAPH-85CD} many " * 5
        )
        lane.started = None if number % 3 == 2 else number / 2
        lane.ended = number / 2 + 1 if number % 3 == 0 else None
    if answer:
        run.add_lane("editor").text = answer
    return run


SIZES = [(80, 24), (40, 14), (200, 60), (24, 12), (59, 24)]


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("answer", ["", "An answer of many words. " * 30], ids=["no answer", "an answer"])
def test_it_fits_the_terminal(width: int, height: int, answer: str) -> None:
    """No line is wider than the terminal, and all lines and the cursor below them fit its height."""
    lines = picture(running(answer=answer), width, height)
    assert max(cell_len(line) for line in lines) <= width
    assert len(lines) < height


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_at_the_end_all_of_it_is_shown(width: int, height: int) -> None:
    """When the run has ended every lane and the whole answer are shown, whatever the height."""
    answer = "An answer of many words. " * 30
    lines = picture(running(answer=answer), width, height, complete=True)
    assert sum("reader" in line for line in lines) == 14
    assert " ".join(answer.split()) in " ".join(" ".join(lines).split())


def test_where_there_is_no_room_the_lanes_at_work_are_shown() -> None:
    """In a low terminal the lanes that speak come first, and the rest is counted."""
    lines = picture(running(lanes=9), 100, 8)
    assert [line.split()[2] for line in lines if "reader" in line] == ["2", "5", "8"]
    assert "(+6 lanes)" in lines[-1]


def test_a_lane_shows_the_end_of_what_is_being_said() -> None:
    """Words that do not fit are cut at the beginning while they are said, and at the end when all is said."""
    run = Run("Why?")
    run.ended = 2.0
    for role, ended in (("reader", None), ("writer", 1.0)):
        lane = run.add_lane(role)
        lane.text, lane.started, lane.ended = "begin " + "middle " * 30 + "end", 0.0, ended
    at_work, done = (line for line in picture(run, 80, 24) if "middle" in line)
    assert at_work.endswith(" end")
    assert "begin" not in at_work
    assert "begin" in done
    assert not done.endswith(" end")


def test_bars_show_when_each_has_worked() -> None:
    """The bars stand on one scale of time: what worked at the same time stands below each other."""
    run = Run("Why?")
    run.ended = 4.0
    for started, ended in ((0.0, 2.0), (2.0, 4.0)):
        lane = run.add_lane("reader")
        lane.started, lane.ended = started, ended
    first, second = (
        [column for column, ink in enumerate(line) if ink == "━"] for line in picture(run, 80, 24) if "━" in line
    )
    assert len(first) == len(second)
    assert first[-1] + 1 == second[0]


def test_a_terminal_without_unicode_gets_ascii() -> None:
    """Where the encoding has no bars and ticks, plain characters stand for them."""
    run = running()
    run.question = "Why?"
    for lane in run.lanes:
        lane.text = "words"
    assert all(line.isascii() for line in picture(run, 80, 24, encoding="ascii"))
