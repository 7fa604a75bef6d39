"""The command that makes the figures: what it refuses, and how it ends."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from support.processes import DEADLINE_SECONDS, INTERRUPTED, clean_environment, run_python

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "reliability.py"


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--scale", "0", "a scale is a whole number, at least 1, and not '0'"),
        ("--point", "nosuch", "a point looks like kill:rope:hostile:3:17:2, and not like 'nosuch'"),
        ("--point", "kill:nosuch:plain:0:1:0", "there is no scenario 'nosuch'; there are "),
        ("--point", "raise:rope:plain:0:1:nosuch", "there is no victim 'nosuch'; there are ValueError, "),
        ("--wire", "anthropic/nosuch:break:117", "there is no answer 'anthropic/nosuch:break:117'"),
    ],
)
async def test_a_name_that_there_is_not_is_refused(option: str, value: str, sentence: str, tmp_path: Path) -> None:
    """A wrong scale, point or answer ends the script with status 2 and a sentence, before anything is tried."""
    ended = await run_python(SCRIPT, option, value, cwd=tmp_path)
    assert (ended.status, ended.stdout) == (2, "")
    assert f"argument {option}: {sentence}" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


@pytest.mark.timeout(60)
async def test_one_sigint_ends_the_sweeps(tmp_path: Path) -> None:
    """The sweeps, which are full of interrupts of their own, end at the first SIGINT and say nothing more."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, SCRIPT),
        cwd=tmp_path,
        env=clean_environment(tmp_path),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        assert b"scenarios" in await process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, said = await asyncio.wait_for(process.communicate(), DEADLINE_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
    assert process.returncode in INTERRUPTED
    assert said == b""
