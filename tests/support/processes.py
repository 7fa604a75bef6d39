"""Runs a Python program as a user would, in a process of its own: offline, without keys, in an empty home."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

# An upper bound for a machine under load, never a time that a test waits for.
DEADLINE_SECONDS = 30.0

# The exit statuses of a program that was ended by Ctrl+C: by the signal itself, or as a shell says it.
INTERRUPTED = (-signal.SIGINT, 128 + signal.SIGINT)

_OFFLINE = Path(__file__).parent / "offline"


@dataclass(frozen=True)
class Ended:
    """What a program left behind: its exit status (negative: the signal that ended it) and all that it wrote."""

    status: int
    stdout: str
    stderr: str


def clean_environment(home: Path, **variables: str) -> dict[str, str]:
    """The environment of a newcomer: no API keys, no settings of ours, nothing but what a process needs to start."""
    needed = {
        name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "TMPDIR", "LD_LIBRARY_PATH") if name in os.environ
    }
    return needed | {
        "HOME": str(home),
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": str(_OFFLINE),
        "PYTHONWARNINGS": "default",  # a warning reaches stderr, where the tests expect nothing
        "TERM": "xterm-256color",
        **variables,
    }


async def run_python(
    *arguments: str | Path,
    cwd: Path,
    environment: Mapping[str, str] | None = None,
    stdin: str = "",
) -> Ended:
    """Run `python *arguments` in `cwd` and wait for its end; a program that outlives the deadline is killed and fails.

    `environment` is added to `clean_environment(cwd)`.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=cwd,
        env=clean_environment(cwd, **(environment or {})),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            stdout, stderr = await process.communicate(stdin.encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Ended(process.returncode, stdout.decode(), stderr.decode())


@contextlib.asynccontextmanager
async def started(program: Path, **variables: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a program, and begin when it has written its first line."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        program,
        cwd=program.parent,
        env=clean_environment(program.parent, **variables),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        if not await process.stdout.readline():
            raise AssertionError((await process.stderr.read()).decode())
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
