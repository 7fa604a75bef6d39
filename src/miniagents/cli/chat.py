"""`miniagents chat`: a dialog with a model."""

import argparse
import sys
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from miniagents import ChatHistory, InMemoryChatHistory, MiniAgent, adialog_loop
from miniagents.cli.chat_errors import HistoryWithoutErrors, patient_assistant
from miniagents.cli.errors import UserError
from miniagents.cli.interrupts import run_agents
from miniagents.cli.local_servers import find_local_servers
from miniagents.cli.models import Choice, choose_model, load_environment_file
from miniagents.ext._terminal import on_one_line
from miniagents.ext.chat_history_md import ChatHistoryError, ChatHistoryMD
from miniagents.ext.console_user_agent import console_user_agent

# What answers at once is made to speak at a pace that can be read along.
_OFFLINE_PACE: Final[dict[str, Any]] = {"time_to_first_token": 0.3, "tokens_per_second": 25}


def run(options: argparse.Namespace) -> int:
    """Talk until the user ends it, and give the exit status."""
    load_environment_file()
    choice = choose_model(options.model, find_local_servers)
    history = HistoryWithoutErrors(_history(options.history))
    on_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    _announce(choice, on_terminal)

    async def talk() -> None:
        await adialog_loop(
            user_agent=console_user_agent.fork(chat_history=history),
            assistant_agent=patient_assistant.fork(assistant=_assistant(choice, options.system, on_terminal)),
        )

    run_agents(talk)
    return 0


def _history(path: str | None) -> ChatHistory:
    if path is None:
        return InMemoryChatHistory()
    try:
        return ChatHistoryMD(path)
    except ChatHistoryError as error:
        raise UserError(str(error)) from error


def _assistant(choice: Choice, system: str | None, on_terminal: bool) -> MiniAgent[...]:
    presets = dict(_OFFLINE_PACE) if choice.is_offline and on_terminal else {}
    if system is not None:
        presets["system"] = system
    return choice.agent.fork(alias=on_one_line(choice.model).upper(), **presets)


def _announce(choice: Choice, on_terminal: bool) -> None:
    console = Console(highlight=False, soft_wrap=not on_terminal)
    for note in choice.notes:
        console.print(Text(f"{on_one_line(note)}."), style="yellow")
    model = choice.model if choice.is_offline else f"{choice.model} ({choice.provider})"
    who = f"{on_one_line(model)} answers, because {choice.reason}."
    if choice.is_offline:
        console.print(Text(f"{who} It is an offline program, not a language model."), style="bold yellow")
    else:
        console.print(Text(who), style="bold")
    if choice.is_fallback:
        console.print(
            Text(
                "For a real model set OPENAI_API_KEY or ANTHROPIC_API_KEY (also in a file `.env`), or start Ollama or "
                "another local server. `miniagents doctor` shows what is there."
            )
        )
    if on_terminal:
        console.print(Text("Enter sends, Ctrl+Space makes a new line, `exit` or Ctrl+D ends the dialog."), style="dim")
    console.print()
