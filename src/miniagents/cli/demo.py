"""`miniagents demo`: many agents research one question at once. Needs no key and no network."""

import argparse
import sys
from typing import Final

from rich.console import Console

from miniagents.cli.demo_lanes import show_lanes
from miniagents.cli.demo_lines import show_lines
from miniagents.cli.demo_run import Run
from miniagents.cli.demo_script import DEFAULT_QUESTION, scripted_crew
from miniagents.cli.errors import UserError
from miniagents.cli.interrupts import run_agents
from miniagents.ext._terminal import on_one_line

HEADING: Final = "Models and their pace are scripted; agents, streams and measured times are real."

# Where nobody watches, nobody wants to wait.
_SPEED_WITHOUT_TERMINAL: Final = 10.0


def run(options: argparse.Namespace) -> int:
    """Show the demo, and give the exit status."""
    question = DEFAULT_QUESTION if options.question is None else on_one_line(options.question)
    if not question:
        raise UserError("the question is empty")
    console = Console(highlight=False)
    # Not `console.is_terminal`, which variables of the environment can set to true for a pipe.
    on_terminal = sys.stdout.isatty() and not console.is_dumb_terminal
    speed = options.speed or (1.0 if on_terminal else _SPEED_WITHOUT_TERMINAL)
    heading = HEADING if speed == 1 else f"{HEADING} Speed: {speed:g} times that of a usual model."

    async def show() -> None:
        crew = scripted_crew(question, speed)
        if on_terminal:
            await show_lanes(Run(question), crew, console, heading)
        else:
            await show_lines(question, crew, heading)

    run_agents(show)
    return 0
