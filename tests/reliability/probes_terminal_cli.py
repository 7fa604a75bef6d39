"""Terminal, the command line: what the names of models, variables and arguments come to there."""

import argparse
import io
import os
from unittest.mock import patch

from rich.console import Console

from miniagents import MiniAgents
from miniagents.cli import chat, demo_run, doctor, program
from miniagents.cli.demo_agents import Crew
from miniagents.cli.demo_lanes import Lanes
from miniagents.cli.demo_lines import show_lines
from miniagents.cli.demo_run import Run
from miniagents.cli.local_servers import PLACES, LocalServer
from miniagents.cli.models import Choice
from miniagents.ext.models import echo_agent, scripted_agent
from miniagents.testing import run_virtual
from reliability.probes import Expect, PlantedHole
from reliability.probes_terminal import PAYLOADS, TERMINAL, console, is_harmless


def _choice(payload: str) -> Choice:
    return Choice("local", f"NAME{payload}", echo_agent, "it is there", notes=(f"NOTE{payload}",))


def _announced(expect: Expect, payload: str) -> None:
    """The model that a server on this machine has named."""
    with console() as output:
        chat._announce(_choice(payload), on_terminal=False)
    is_harmless(expect, output.getvalue(), "NAME", "NOTE", "answers")
    is_harmless(expect, chat._assistant(_choice(payload), None, on_terminal=False).alias, "NAME")


def _examined(as_json: bool, model: str) -> str:
    """What the doctor says where a server has this model. (That it looks for packages takes its time.)"""
    servers = (LocalServer(PLACES[0], (model, "other")),)
    found = patch.object(doctor, "find_local_servers", lambda: servers)
    with console() as output, found, patch.object(doctor, "_version", lambda _: "1"):
        doctor.run(argparse.Namespace(json=as_json))
    return output.getvalue()


def _doctor(expect: Expect, payload: str) -> None:
    for as_json in (False, True):
        is_harmless(expect, _examined(as_json, f"NAME{payload}"), "NAME", "ollama")


def _doctor_variables(expect: Expect, payload: str) -> None:
    for variables in (
        {"OPENAI_API_KEY": "k", "OPENAI_MODEL": f"NAME{payload}"},
        {"MINIAGENTS_MODEL": f"NAME{payload}"},
        {"MINIAGENTS_MODEL": f"ollama:NAME{payload}"},
        {"MINIAGENTS_MODEL": f"NAME{payload}:"},
    ):
        for as_json in (False, True):
            with patch.dict(os.environ, variables):
                shown = _examined(as_json, "m")
            is_harmless(expect, shown.replace("name", "NAME"), "NAME")


def _mistakes(expect: Expect, payload: str) -> None:
    """What was asked for stands in the complaint about it."""
    arguments = [
        ["chat", "--model", f"NAME{payload}"],
        ["chat", "--history", f"/NAME{payload}/CHAT.md"],
        ["demo", "--speed", f"NAME{payload}"],
        ["doctor", f"NAME{payload}"],
        ["chat", f"--NAME{payload}"],
        [f"NAME{payload}"],
    ]
    for given in arguments:
        with console() as output:
            status = program.run(given)
        expect(status == 2, f"it ended with {status}")
        is_harmless(expect, output.getvalue().replace("name", "NAME"), "NAME")


def _crew(text: str) -> Crew:
    model = scripted_agent.fork(script=[*["one\ntwo"], *[text] * 9])
    says = scripted_agent.fork(script=text)
    return Crew(planner=model, searcher=says, reader=says, writer=says, editor=says)


def _demo_lines(expect: Expect, payload: str) -> None:
    async def main() -> None:
        async with MiniAgents():
            await show_lines("Why?", _crew(f"BEFORE{payload}\nAFTER"), "heading")

    with console() as output:
        run_virtual(main)
    is_harmless(expect, output.getvalue(), "BEFORE", "\nAFTER", "agents")


def _demo_lanes(expect: Expect, payload: str) -> None:
    async def main() -> Run:
        made = Run("Why?")
        await made.go(_crew(f"BEFORE{payload}\nAFTER"))
        return made

    view = Lanes(run_virtual(main), "heading")
    for width in (40, 200):
        output = io.StringIO()
        for view.complete in (False, True):
            Console(file=output, width=width, height=50, highlight=False, color_system=None).print(view)
        is_harmless(expect, output.getvalue(), "AFTER", "reader")


IN_VARIABLES = {name: text for name, text in PAYLOADS.items() if text != "\0" and "surrogate" not in name}
IN_VARIABLES.pop("the halves the wrong way round")
TERMINAL.table("the model of a chat", PAYLOADS, _announced)
TERMINAL.table("the models that the doctor finds", PAYLOADS, _doctor)
TERMINAL.table("the variables that the doctor reads", IN_VARIABLES, _doctor_variables)
TERMINAL.table("a mistake on the command line", PAYLOADS, _mistakes)
TERMINAL.table("the demo as lines", PAYLOADS, _demo_lines)
TERMINAL.table("the demo in lanes", PAYLOADS, _demo_lanes)

# ---------------------------------------------------------------------- mistakes that must be found

HOLES = [
    PlantedHole(
        "terminal",
        "the models that the doctor finds",
        "names are shown as they are",
        lambda: patch.object(doctor, "on_one_line", str),
    ),
    PlantedHole(
        "terminal",
        "the demo in lanes",
        "what is drawn is taken for safe",
        lambda: patch.object(demo_run.TerminalText, "feed", lambda self, piece: piece),
    ),
]
