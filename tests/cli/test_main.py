"""The command itself: arguments, exit statuses, pipes, and Ctrl+C before anything has begun."""

import asyncio
import re
import sys
from pathlib import Path

import pytest

import miniagents
from support.commands import interrupted_when_it_says, run_miniagents
from support.processes import clean_environment, run_python

pytestmark = pytest.mark.timeout(90)

COMMANDS = ("demo", "chat", "doctor")


async def test_the_version(tmp_path: Path) -> None:
    """`--version` is the name and the version, and nothing else."""
    ended = await run_miniagents("--version", cwd=tmp_path)
    assert (ended.status, ended.stdout, ended.stderr) == (0, f"miniagents {miniagents.__version__}\n", "")


async def test_the_help_names_the_commands(tmp_path: Path) -> None:
    """`miniagents` alone shows the same help as `--help`, which names each command."""
    alone, asked = await run_miniagents(cwd=tmp_path), await run_miniagents("--help", cwd=tmp_path)
    assert alone == asked
    assert (alone.status, alone.stderr) == (0, "")
    assert all(re.search(rf"^ +{command} ", alone.stdout, re.MULTILINE) for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
async def test_each_command_has_a_help(command: str, tmp_path: Path) -> None:
    """`--help` of a command tells what it does and what its options are."""
    ended = await run_miniagents(command, "--help", cwd=tmp_path)
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.startswith(f"usage: miniagents {command}")
    assert "options:" in ended.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["dmo"],
        ["--no-such-option"],
        ["demo", "--speed", "fast"],
        ["demo", "--speed", "0"],
        ["demo", "--speed", "nan"],
        ["demo", ""],
        ["demo", "one", "two"],
        ["chat", "--model"],
    ],
    ids=" ".join,
)
async def test_a_mistake_is_told_in_one_line(arguments: list[str], tmp_path: Path) -> None:
    """A mistake in the arguments is one line on stderr, with the command that complains, and status 2."""
    ended = await run_miniagents(*arguments, cwd=tmp_path)
    assert (ended.status, ended.stdout) == (2, "")
    assert ended.stderr.startswith("miniagents")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [["doctor", "\x1b[2J\a"], ["chat", "--model", "\x1b[2J\a"], ["chat", "--history", "/\x1b[2J\a/x.md"]],
    ids=["argparse", "model", "file"],
)
async def test_a_mistake_is_repeated_without_control_characters(arguments: list[str], tmp_path: Path) -> None:
    """What was asked for stands in the complaint, and nothing of it is obeyed by the terminal."""
    ended = await run_miniagents(*arguments, cwd=tmp_path)
    assert ended.status == 2
    assert "\x1b" not in ended.stderr
    assert "<U+0007>" in ended.stderr


async def test_the_help_loads_nothing_that_takes_time(tmp_path: Path) -> None:
    """`--help` answers before the library, pydantic, rich or asyncio are loaded."""
    program = (
        "import sys, miniagents.cli\n"
        "miniagents.cli.main(['--help'])\n"
        "slow = {'asyncio', 'pydantic', 'rich', 'prompt_toolkit', 'dotenv', 'miniagents.promising'}\n"
        "print(sorted(slow & set(sys.modules)))\n"
    )
    ended = await run_python("-c", program, cwd=tmp_path)
    assert ended.stdout.splitlines()[-1] == "[]"


def stub_package(folder: Path, name: str, source: str) -> dict[str, str]:
    """Variables with which a program finds this package instead of the real one."""
    package = folder / "stubs" / name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(source, encoding="utf-8")
    offline = clean_environment(folder)["PYTHONPATH"]
    return {"PYTHONPATH": f"{folder / 'stubs'}:{offline}"}


NEVER_LOADED = """
import threading
while True:
    try:
        print("loading", flush=True)
        threading.Event().wait()
    except BaseException as error:  # some packages try again, or take another way, whatever the error is
        print(f"caught {error!r}", flush=True)
"""


@pytest.mark.parametrize("package", ["argparse", "pydantic", "rich"])
async def test_ctrl_c_while_loading(package: str, tmp_path: Path) -> None:
    """Ctrl+C while modules are loaded, early or late, ends the program at once, with status 130 and without a word."""
    environment = stub_package(tmp_path, package, NEVER_LOADED)
    ended = await interrupted_when_it_says("loading", "-m", "miniagents", "demo", cwd=tmp_path, environment=environment)
    assert (ended.status, ended.stdout.strip(), ended.stderr) == (130, "loading", "")


async def output_into(command: str, cwd: Path) -> tuple[list[int], str]:
    """Run a pipeline of bash that begins with `miniagents demo`; the statuses of its parts, and its stderr."""
    process = await asyncio.create_subprocess_exec(
        *(
            "bash",
            "-c",
            f'"$0" -m miniagents demo --speed 1000 {command}; echo "${{PIPESTATUS[@]}}" >&2',
            sys.executable,
        ),
        cwd=cwd,
        env=clean_environment(cwd),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, stderr = await process.communicate()
    *said, statuses = stderr.decode().splitlines()
    return [int(status) for status in statuses.split()], "\n".join(said)


async def test_a_closed_pipe_ends_it_quietly(tmp_path: Path) -> None:
    """When whoever reads the output goes away, the program ends without a word, as other commands do."""
    statuses, said = await output_into("| head -n 1", tmp_path)
    assert (statuses, said) == ([141, 0], "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
async def test_a_full_disk_is_told_in_one_line(tmp_path: Path) -> None:
    """Output that cannot be written is one line on stderr and a status of its own, without a traceback."""
    statuses, said = await output_into("> /dev/full", tmp_path)
    assert statuses == [74]
    assert said.startswith("miniagents: ")
    assert "\n" not in said
