"""The command line, `miniagents`. This module is all that is loaded before Ctrl+C is taken care of."""

import importlib
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

# What a shell expects of a program that Ctrl+C has ended, and of one whose output nobody reads any more.
_INTERRUPTED = 130
_OUTPUT_CLOSED = 141
_OUTPUT_FAILED = 74


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, by default those of the process, and give its exit status.

    Owns the process: the handling of SIGINT is left as the end of a program needs it. The status is 0: done.
    1: `doctor` has found something wrong. 2: a mistake in what was asked for, told in one line on stderr. 74: the
    output cannot be written. 130: Ctrl+C. 141: whoever read the output has gone away.
    """
    # A shell starts jobs in the background with SIGINT ignored, and it is to stay so.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _leave_at_once)
    try:
        program = importlib.import_module("miniagents.cli.program")
        status: int = program.run(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        status = _INTERRUPTED
    except BrokenPipeError:
        status = _OUTPUT_CLOSED
        _discard_output()
    except OSError as error:
        status = _OUTPUT_FAILED
        _discard_output()
        print(f"miniagents: {error}", file=sys.stderr)
    # The interpreter ends in a moment, and would tell of a Ctrl+C that disturbs it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return status


def _leave_at_once(_number: int, _frame: FrameType | None) -> None:
    # Until agents run there is nothing to tidy up, and a trace of half an import is of no use to anybody.
    os._exit(_INTERRUPTED)


def _discard_output() -> None:
    # What is left in the buffer would be written when the interpreter ends, and fail once more.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
