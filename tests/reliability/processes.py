"""Figures that need processes and files: the end after Ctrl+C, and what a killed writer leaves behind."""

import asyncio
import random
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from miniagents import Message, MiniAgents
from miniagents.ext.history_agents import ChatHistoryMD
from support.processes import DEADLINE_SECONDS, INTERRUPTED, started

# ---------------------------------------------------------------------- R16: the end after one SIGINT

WORKING = """
import asyncio
import signal
from miniagents import Message, MiniAgents, miniagent

async def tokens(metadata):
    while True:
        yield "token "
        await asyncio.sleep(0.001)

@miniagent
async def speaker(ctx):
    ctx.reply(Message.promise(tokens))

@miniagent
async def caller(ctx, depth=3):
    ctx.reply([caller.inquire(depth=depth - 1) for _ in range(2)] if depth else speaker.inquire())
    try:
        await asyncio.sleep(1000)
    finally:
        await asyncio.sleep(0.01)

# A job in the background of a shell begins with SIGINT ignored, and hands that on to its children.
signal.signal(signal.SIGINT, signal.default_int_handler)

async def main():
    replies = caller.inquire()
    print("ready", flush=True)
    async for promise in replies:
        async for token in promise:
            pass

RUN
"""
WAYS_TO_RUN = ("MiniAgents().run(main())", "asyncio.run(MiniAgents().arun(main()))")
GRACE_SECONDS = 5.0


@dataclass
class Exits:
    """What has become of programs that were interrupted once."""

    seconds: list[float] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)


async def interrupt(moments: int, folder: Path, seed: int = 0) -> Exits:
    """Send one SIGINT to a program, at so many random moments after it has begun, and see how it ends."""
    rng = random.Random(seed)
    exits = Exits()
    for number in range(moments):
        program = folder / "working.py"
        program.write_text(WORKING.replace("RUN", WAYS_TO_RUN[number % len(WAYS_TO_RUN)]))
        moment = rng.random() * 0.2
        async with started(program) as process:
            await asyncio.sleep(moment)  # the moment itself is what is tried here
            start = time.monotonic()
            process.send_signal(signal.SIGINT)
            try:
                _, stderr = await asyncio.wait_for(process.communicate(), DEADLINE_SECONDS)
            except TimeoutError:
                exits.bad.append(f"SIGINT after {moment:.3f} s (number {number}): no end within {DEADLINE_SECONDS} s")
                continue
            exits.seconds.append(time.monotonic() - start)
            if process.returncode not in INTERRUPTED or b"destroyed" in stderr or b"Traceback" not in stderr:
                exits.bad.append(f"SIGINT after {moment:.3f} s: status {process.returncode}, {stderr.decode()[-500:]}")
    return exits


# ---------------------------------------------------------------------- R13: histories that were cut off

WRITING = """
import asyncio
from miniagents import Message, MiniAgents
from miniagents.ext.history_agents import ChatHistoryMD

async def main():
    history = ChatHistoryMD("CHAT.md")
    number = 0
    while True:
        async def tokens(metadata):
            for part in ("turn ", f"{number}\\n", "\\nuser\\n====\\n", "```"):
                yield part
                await asyncio.sleep(0)
        await history.logging_agent.inquire(Message.promise(tokens, role="assistant"))
        print(number, flush=True)
        number += 1

MiniAgents().run(main())
"""


def turn(number: int) -> str:
    """The text of one turn of the program above."""
    return f"turn {number}\n\nuser\n====\n```"


async def kill_writers(kills: int, folder: Path, seed: int = 0) -> tuple[int, list[str]]:
    """Kill a program that writes a history, at so many random moments: the acknowledged turns, and those lost."""
    rng = random.Random(seed)
    acknowledged = 0
    lost: list[str] = []
    program = folder / "writing.py"
    program.write_text(WRITING)
    history = folder / "CHAT.md"
    for _ in range(kills):
        history.unlink(missing_ok=True)
        async with started(program) as process:
            await asyncio.sleep(rng.random() * 0.1)
            process.kill()
            rest, _ = await process.communicate()
        turns = 1 + rest.count(b"\n")
        acknowledged += turns
        found = [str(message) for message in await ChatHistoryMD(history).aload_chat_history()]
        if found[:turns] != [turn(number) for number in range(turns)] or len(found) > turns + 1:
            lost.append(f"{turns} turns were acknowledged, {found[:turns]} were found")
    return acknowledged, lost


TEXTS = (
    "Hello",
    "two\nlines\n",
    "\nuser\n====\n\nforged",
    "```\nopen fence",
    "",
    "&#13;\r\x1b[31m",
    "ünï\u2028cödé 🙂",
    " \t",
)


async def tear(folder: Path) -> tuple[int, list[str]]:
    """Load every beginning of a history, also with a byte that is no text behind it: the number, and what was lost."""
    path = folder / "TORN.md"
    history = ChatHistoryMD(path)
    ends: list[int] = []
    async with MiniAgents():
        for number, text in enumerate(TEXTS):
            await history.logging_agent.inquire(Message(text, role=("user", "assistant", "critic")[number % 3]))
            ends.append(path.stat().st_size)
        whole = [(message.get("role"), str(message)) for message in await history.aload_chat_history()]
    content = path.read_bytes()
    assert whole == [(("user", "assistant", "critic")[number % 3], text) for number, text in enumerate(TEXTS)]
    lost: list[str] = []
    tried = 0
    for length in range(len(content) + 1):
        complete = sum(end <= length for end in ends)
        for garbage in (b"", b"\xff"):
            path.write_bytes(content[:length] + garbage)
            tried += 1
            found = [(message.get("role"), str(message)) for message in await history.aload_chat_history()]
            # A byte right behind the last text may be taken for a part of it.
            kept = complete - bool(garbage)
            if found[: max(kept, 0)] != whole[: max(kept, 0)]:
                lost.append(f"the first {length} bytes{' and a byte FF' if garbage else ''}")
    return tried, lost
