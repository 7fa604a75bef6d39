"""`miniagents` as a user runs it, with pipes instead of a terminal."""

import asyncio
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from support.processes import DEADLINE_SECONDS, Ended, clean_environment, run_python


async def run_miniagents(
    *arguments: str, cwd: Path, stdin: str = "", environment: Mapping[str, str] | None = None
) -> Ended:
    """Run `miniagents *arguments` to its end."""
    return await run_python("-m", "miniagents", *arguments, cwd=cwd, stdin=stdin, environment=environment)


async def interrupted_when_it_says(
    text: str, *arguments: str | Path, cwd: Path, environment: Mapping[str, str] | None = None, presses: int = 1
) -> Ended:
    """Run `python *arguments`, press Ctrl+C as soon as `text` stands in its output, and wait for its end.

    Until then its input stays open, as if somebody might still type.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=cwd,
        env=clean_environment(cwd, PYTHONUNBUFFERED="1", **(environment or {})),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    output = ""
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while text not in output:
                piece = (await process.stdout.read(4096)).decode()
                assert piece, f"It ended without saying {text!r}: {output}{(await process.stderr.read()).decode()}"
                output += piece
            for _ in range(presses):
                process.send_signal(signal.SIGINT)
            process.stdin.close()
            rest, errors = await asyncio.gather(process.stdout.read(), process.stderr.read())
            status = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Ended(status, output + rest.decode(), errors.decode())
