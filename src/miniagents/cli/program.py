"""The arguments of the command line."""

import argparse
import importlib
import io
import math
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from miniagents import __version__
from miniagents.ext._terminal import on_one_line

_MISTAKE: Final = 2

_DEMO: Final = """\
Many agents research one question at once: they plan, search, read, write and sum up, each in a lane of its own. The
models are scripted, so it needs no key and no network; the agents, the streams and the times are real."""

_CHAT: Final = """\
A dialog with a language model, token by token. Enter sends, Ctrl+Space makes
a new line; `exit`, Ctrl+D or the end of piped input ends it.

Which model: the one of --model, else of the variable MINIAGENTS_MODEL, else
OpenAI or Anthropic if there is a key (OPENAI_API_KEY or ANTHROPIC_API_KEY, in
the environment or in a file `.env`), else a server on this machine that speaks
OpenAI's protocol (Ollama, LM Studio, llama.cpp, vLLM), else `eliza`, which
needs no model at all. The first line says which one it is."""

_MODEL: Final = """\
openai, anthropic, ollama, lmstudio, llamacpp, vllm, local (whichever of these four servers answers), eliza or echo;
with a colon and a name for a certain model, such as `openai:gpt-5.5`"""

_DOCTOR: Final = (
    "What is installed, which keys and local servers there are, and which model `miniagents chat` would use."
)


class _Parser(argparse.ArgumentParser):
    """Tells a mistake in one line, like all other mistakes."""

    def error(self, message: str) -> NoReturn:
        """Exit with status 2."""
        self.exit(_MISTAKE, f"{self.prog}: {on_one_line(message)} (see `{self.prog} --help`)\n")


def run(arguments: Sequence[str]) -> int:
    """Do what the arguments say and give the exit status."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that lacks a character is no reason to fail.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    parser = _parser()
    try:
        options = parser.parse_args(arguments)
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 0
    if options.command is None:
        parser.print_help()
        return 0
    # Only now, so that `--help` and `--version` do not wait for what they do not need.
    status: int = importlib.import_module("miniagents.cli.commands").run(options)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="miniagents", description="LLM agents as plain async functions. Start with `miniagents demo`."
    )
    parser.add_argument("--version", action="version", version=f"miniagents {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="demo | chat | doctor")

    demo = commands.add_parser("demo", help="watch many agents work at once, offline", description=_DEMO)
    demo.add_argument("question", nargs="?", help="what to research (the answer to any but the default is canned)")
    demo.add_argument("--speed", type=_positive, metavar="FACTOR", help="how fast; 1 is about that of a real model")

    chat = commands.add_parser(
        "chat", help="talk to a model", description=_CHAT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    chat.add_argument("--model", metavar="PROVIDER[:NAME]", help=_MODEL)
    chat.add_argument("--history", metavar="CHAT.md", help="a Markdown file to go on from, and to write the dialog to")
    chat.add_argument("--system", metavar="TEXT", help="a system prompt")

    doctor = commands.add_parser("doctor", help="see what is installed and which model is there", description=_DOCTOR)
    doctor.add_argument("--json", action="store_true", help="as JSON")
    return parser


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number greater than 0, not {text!r}")
    return number
