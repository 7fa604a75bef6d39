"""Running a command, and telling the mistakes of users."""

import argparse
import importlib
import sys
from typing import Final

from miniagents.cli.errors import UserError
from miniagents.ext._terminal import on_one_line

_MISTAKE: Final = 2


def run(options: argparse.Namespace) -> int:
    """Run `options.command` and give the exit status."""
    command = importlib.import_module(f"miniagents.cli.{options.command}")
    try:
        status: int = command.run(options)
    except UserError as error:
        print(f"miniagents {options.command}: {on_one_line(str(error))}", file=sys.stderr)
        return _MISTAKE
    return status
