"""The demo where there is no terminal: a line when an agent begins and when it is done, then the answer."""

import asyncio

from miniagents.cli.demo_agents import Crew
from miniagents.cli.demo_run import Lane, Run
from miniagents.promising import PromisingContext


async def show_lines(question: str, crew: Crew, heading: str) -> None:
    """Let `crew` answer `question` and print what happens. Needs a context, whose end by an error ends the run."""
    # Printed here and not by the agents that report: if nobody reads the output, that is no error of theirs.
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    run = Run(question, on_step=lambda lane: lines.put_nowait(_step(lane)))
    _print(f"{question}\n{heading}\n")
    going = PromisingContext.get_current().start_asap(run.go(crew))
    going.add_done_callback(lambda _: lines.put_nowait(None))
    while (line := await lines.get()) is not None:
        _print(line)
    await going
    _print(f"\n{run.answer}\n\n{run.figures()}")


def _step(lane: Lane) -> str:
    if lane.ended is None:
        return f"{lane.started:6.2f} s  {lane.name} starts"
    return f"{lane.ended:6.2f} s  {lane.name} is done, {lane.tokens} tokens"


def _print(text: str) -> None:
    # At once, because whoever reads along may be a person.
    print(text, flush=True)
