"""One Ctrl+C ends a program on every kind of event loop, however the program came by it."""

import asyncio
import signal
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from support.processes import DEADLINE_SECONDS, INTERRUPTED, started

PROGRAM = """
import asyncio, os, signal, threading
import miniagents
from miniagents import MiniAgents, miniagent

# A job in the background of a shell begins with SIGINT ignored, and hands that on to its children.
signal.signal(signal.SIGINT, signal.default_int_handler)

@miniagent
async def works(ctx):
    try:
        WAIT
    finally:
        print("cleaned up", flush=True)

async def main():
    SET_UP
    await works.inquire()

RUN
"""
IN_LOOP = """try:
            print("ready", flush=True)
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)"""
HOLDING_IT = """print("ready", flush=True)
        threading.Event().wait()"""
AFTER_A_FORK = f"""child = os.fork()
        if not child:
            os.dup2(2, 1)
            raise SystemExit  # and out of `run`, whose thread is in the parent alone
        os.waitpid(child, 0)
        {HOLDING_IT}"""

UVLOOP = pytest.mark.skipif(find_spec("uvloop") is None, reason="uvloop is not installed")
EAGER = pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
RUN = [
    pytest.param("", "miniagents.run(main())", id="run"),
    pytest.param(
        "",
        "import uvloop; asyncio.set_event_loop_policy(uvloop.EventLoopPolicy()); miniagents.run(main())",
        marks=UVLOOP,
        id="run on uvloop",
    ),
    pytest.param(
        "asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)",
        "miniagents.run(main())",
        marks=EAGER,
        id="run with eager tasks",
    ),
]
UVLOOPS_RUN = pytest.param(
    "", "import uvloop; uvloop.run(MiniAgents().arun(main()))", marks=UVLOOP, id="the run of uvloop"
)


async def interrupted(folder: Path, wait: str, set_up: str, run: str) -> str:
    """What a program writes to stdout after one SIGINT, which must end it as a `KeyboardInterrupt`."""
    program = folder / "program.py"
    program.write_text(PROGRAM.replace("WAIT", wait).replace("SET_UP", set_up or "pass").replace("RUN", run))
    async with started(program, PYTHONASYNCIODEBUG="1") as process:
        process.send_signal(signal.SIGINT)
        stdout, stderr = await asyncio.wait_for(process.communicate(), DEADLINE_SECONDS)
        assert process.returncode in INTERRUPTED
    for said, expected in ((b"\nKeyboardInterrupt\n", True), (b"destroyed", False), (b"never retrieved", False)):
        assert (said in stderr) is expected, stderr.decode()
    return stdout.decode()


@pytest.mark.parametrize(("set_up", "run"), [*RUN, UVLOOPS_RUN])
async def test_one_interrupt_ends_a_program(tmp_path: Path, set_up: str, run: str) -> None:
    """One SIGINT ends a program as `KeyboardInterrupt`, and its agents clean up first."""
    assert await interrupted(tmp_path, IN_LOOP, set_up, run) == "cleaned up\n"


@pytest.mark.parametrize(("set_up", "run"), RUN)
async def test_one_interrupt_ends_a_blocking_call(tmp_path: Path, set_up: str, run: str) -> None:
    """Under `run`, one SIGINT ends a program also while a blocking call holds the loop."""
    assert await interrupted(tmp_path, HOLDING_IT, set_up, run) == "cleaned up\n"


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="there is no fork on Windows")
async def test_a_forked_child_takes_nothing_with_it(tmp_path: Path) -> None:
    """Ctrl+C still ends a program whose blocking call holds the loop when a child that it has forked has ended."""
    assert await interrupted(tmp_path, AFTER_A_FORK, "", "miniagents.run(main())") == "cleaned up\n"


REFUSING = """
import asyncio, signal, threading
import miniagents
from miniagents import MiniAgents, miniagent

signal.signal(signal.SIGINT, signal.default_int_handler)
RUN_ON

@miniagent
async def refusing(ctx):
    print("ready", flush=True)
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            print("refused", flush=True)

async def main():
    async with MiniAgents(grace_period=600):
        await refusing.inquire()

try:
    miniagents.run(main())
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
ON_UVLOOP = "import uvloop; asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())"


@pytest.mark.parametrize("run_on", ["", pytest.param(ON_UVLOOP, marks=UVLOOP, id="uvloop")])
async def test_who_presses_again_gets_out(tmp_path: Path, run_on: str) -> None:
    """Whoever presses Ctrl+C again and again gets out of a program whose agents refuse to end, by a KeyboardInterrupt."""
    program = tmp_path / "program.py"
    program.write_text(REFUSING.replace("RUN_ON", run_on))
    async with started(program) as process:
        assert process.stdout is not None
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (line := await process.stdout.readline()) == b"refused\n":
                process.send_signal(signal.SIGINT)
    assert line == b"interrupted\n"


MANY = """
import asyncio, signal, sys
import miniagents
from miniagents import MiniAgents, miniagent
from miniagents.promising import runner

signal.signal(signal.SIGINT, signal.default_int_handler)
runner._PATIENCE = 0.001  # as if the machine were two hundred times as slow
started = ended = 0

@miniagent
async def worker(ctx):
    global started, ended
    started += 1
    try:
        if started == MOMENT:
            signal.raise_signal(signal.SIGINT)
        await asyncio.Event().wait()
    finally:
        ended += 1

@miniagent
async def team(ctx):
    print("ready", flush=True)
    for _ in range(3_000):
        ctx.reply_out_of_order(worker.inquire())

async def main():
    await team.inquire()

try:
    miniagents.run(main())
finally:
    print("all cleaned up" if started == ended else f"{ended} of {started} cleaned up", flush=True)
"""


@pytest.mark.parametrize("moment", [1, 500, 1_000, 1_500, 2_000, 2_500, 2_999, 3_000])
async def test_one_interrupt_ends_many_agents(tmp_path: Path, moment: int) -> None:
    """However long the loop is busy with starting and ending agents, one SIGINT lets each of them clean up."""
    program = tmp_path / "program.py"
    program.write_text(MANY.replace("MOMENT", str(moment)))
    async with started(program) as process:
        stdout, stderr = await asyncio.wait_for(process.communicate(), DEADLINE_SECONDS)
    assert process.returncode in INTERRUPTED
    assert stdout.decode() == "all cleaned up\n"
    assert b"destroyed" not in stderr
