"""Figures of cost: CPU time, memory, and how long the event loop is held. Each is measured in a fresh process.

Times are CPU time, of the process or of the thread, so that other work on the machine does not count.
"""

import asyncio
import contextlib
import gc
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import miniagents
from miniagents import InteractionContext, Message, MessageSequence, MiniAgents, miniagent
from miniagents.utils import join_messages, split_messages

TESTS = Path(__file__).parents[1]
Figures = dict[str, float]

# So many agents are started, and set free, between two turns of the loop: those who start them must not hold it either.
_AT_ONCE = 100


def measured(name: str, repeat: int = 1, **sizes: Any) -> Figures:
    """The medians of so many runs of one of `MEASURES`, each in a fresh process."""
    runs = [_run(name, sizes) for _ in range(repeat)]
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def _run(name: str, sizes: dict[str, Any]) -> Figures:
    command = [sys.executable, "-m", "reliability.costs", name, json.dumps(sizes)]
    # What is measured is the library that runs here.
    environment = os.environ | {"PYTHONPATH": str(Path(miniagents.__file__).parents[1])}
    done = subprocess.run(command, cwd=TESTS, env=environment, stdout=subprocess.PIPE, check=True)
    figures: Figures = json.loads(done.stdout)
    return figures


def _peak_and_now() -> tuple[int, int]:
    """The greatest memory of this process so far, and that of now, in bytes. Only Linux tells."""
    status = Path("/proc/self/status").read_text()
    peak, now = (re.search(rf"{field}:\s+(\d+) kB", status) for field in ("VmHWM", "VmRSS"))
    assert peak is not None
    assert now is not None
    return int(peak[1]) * 1024, int(now[1]) * 1024


@dataclass
class Cost:
    """What a block has cost."""

    cpu: float = 0.0
    memory: int = 0
    """Growth of the peak, in bytes."""


@contextlib.contextmanager
def cost() -> Iterator[Cost]:
    """Measure the block."""
    cost = Cost()
    gc.collect()
    _, memory = _peak_and_now()
    start = time.process_time()
    yield cost
    cost.cpu = time.process_time() - start
    cost.memory = max(_peak_and_now()[0] - memory, 0)


@dataclass
class Stall:
    """The longest stretch in which the loop did not turn, in seconds of CPU time."""

    longest: float = 0.0
    without_collector: float = 0.0
    """The same without the runs of the cyclic garbage collector, which hold every program of Python."""


@contextlib.asynccontextmanager
async def heartbeat() -> AsyncIterator[Stall]:
    """Watch the turns of the loop while the block runs."""
    stall = Stall()
    collection_began = collected = 0.0

    def collecting(phase: str, _: dict[str, int]) -> None:
        nonlocal collection_began, collected
        if phase == "start":
            collection_began = time.thread_time()
        else:
            collected += time.thread_time() - collection_began

    async def beat() -> None:
        nonlocal collected
        last = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            stall.longest = max(stall.longest, now - last)
            stall.without_collector = max(stall.without_collector, now - last - collected)
            last, collected = now, 0.0

    task = asyncio.create_task(beat())
    await asyncio.sleep(0)
    gc.callbacks.append(collecting)
    try:
        yield stall
        await asyncio.sleep(0)  # the last stretch counts as well
    finally:
        gc.callbacks.remove(collecting)
        task.cancel()
        await asyncio.wait([task])


# ---------------------------------------------------------------------- R6: many agents at once


@dataclass
class Hall:
    """Where agents wait for each other."""

    agents: int = 0


@miniagent
async def held(ctx: InteractionContext, hall: Hall, gate: asyncio.Event) -> None:
    hall.agents += 1
    await gate.wait()
    ctx.reply(ctx.message_promises)


async def _hold(agents: int) -> None:
    hall = Hall()
    gates: list[asyncio.Event] = []
    replies: list[Any] = []
    for first in range(0, agents, _AT_ONCE):
        gates.append(gate := asyncio.Event())
        replies += [held.inquire("hello", hall=hall, gate=gate) for _ in range(min(_AT_ONCE, agents - first))]
        await asyncio.sleep(0)
    assert hall.agents == agents, f"{hall.agents} of {agents} agents are there"
    for gate in gates:
        gate.set()
        await asyncio.sleep(0)
    said = 0
    while replies:  # dropped one by one: to free all at once would hold the loop
        async for promise in replies.pop():
            said += str(await promise) == "hello"
        if not said % _AT_ONCE:
            await asyncio.sleep(0)
    assert said == agents, f"{said} of {agents} agents have answered"


def agents_at_once(agents: int, watched: bool = False) -> Figures:
    """So many agents are there together, then all of them answer. The heartbeat of `watched` costs time itself."""
    stall = Stall()

    async def main() -> None:
        nonlocal stall
        async with MiniAgents(), heartbeat() if watched else contextlib.nullcontext(stall) as stall:
            await _hold(agents)

    asyncio.run(_call_in_turn(1000))
    with cost() as whole:
        asyncio.run(main())
    return {"cpu": whole.cpu, "memory": whole.memory, **asdict(stall)}


# ---------------------------------------------------------------------- R7: a call


@miniagent
async def echo(ctx: InteractionContext) -> None:
    ctx.reply(ctx.message_promises)


async def _call_in_turn(calls: int) -> None:
    async with MiniAgents():
        for _ in range(calls):
            (message,) = await echo.inquire("hello")
            assert str(message) == "hello"


async def _call_at_once(calls: int) -> None:
    async with MiniAgents():
        replies = [echo.inquire("hello") for _ in range(calls)]
        for reply in replies:
            (message,) = await reply
            assert str(message) == "hello"


def agent_call(calls: int) -> Figures:
    """A call of a trivial agent: one after another, then all at once."""
    asyncio.run(_call_in_turn(min(calls, 1000)))
    with cost() as in_turn:
        asyncio.run(_call_in_turn(calls))
    with cost() as at_once:
        asyncio.run(_call_at_once(calls))
    return {"in turn": in_turn.cpu / calls, "at once": at_once.cpu / calls, "memory": at_once.memory / calls}


# ---------------------------------------------------------------------- R9: a token


def token(yielding: bool, tokens: int) -> Figures:
    """One message of so many tokens, read while it is made; all of them are different strings, and are kept."""

    async def streamer(_: dict[str, Any]) -> AsyncIterator[str]:
        for number in range(tokens):
            if yielding:
                await asyncio.sleep(0)
            yield f"{number:06}"

    async def main() -> None:
        async with MiniAgents():
            promise = Message.promise(streamer)
            count = 0
            async for _ in promise:
                count += 1
            assert count == tokens
            assert len(str(await promise)) == 6 * tokens

    asyncio.run(_call_in_turn(100))
    with cost() as whole:
        asyncio.run(main())
    return {"cpu": whole.cpu / tokens, "memory": whole.memory / tokens}


# ---------------------------------------------------------------------- R10: turns of the loop


@miniagent
async def talkative(ctx: InteractionContext, number_of_messages: int) -> None:
    for number in range(number_of_messages):
        ctx.reply(f"message {number}")
        if not number % _AT_ONCE:
            await asyncio.sleep(0)


@miniagent
async def hasty(ctx: InteractionContext, number_of_messages: int) -> None:
    for number in range(number_of_messages):
        ctx.reply_out_of_order(f"message {number}")
        if not number % _AT_ONCE:
            await asyncio.sleep(0)


async def _whole(messages: int) -> int:
    return len(await talkative.inquire(number_of_messages=messages))


async def _one_by_one(messages: int) -> int:
    return len([await promise async for promise in talkative.inquire(number_of_messages=messages)])


async def _out_of_order(messages: int) -> int:
    return len(await hasty.inquire(number_of_messages=messages))


async def _late(messages: int) -> int:
    replies = talkative.inquire(number_of_messages=messages)
    await replies
    return len([promise async for promise in replies])


async def _forwarded(messages: int) -> int:
    replies = talkative.inquire(number_of_messages=messages)
    for _ in range(100):
        replies = echo.inquire(replies)
    return len(await replies)


async def _settled(messages: int) -> int:
    return len(await talkative.inquire(number_of_messages=messages).settled())


async def _joined(messages: int) -> int:
    joined = await join_messages(talkative.inquire(number_of_messages=messages), "\n")
    return str(joined).count("\n") + 1


async def _split(messages: int) -> int:
    async def lines(_: dict[str, Any]) -> AsyncIterator[str]:
        for number in range(messages):
            yield f"message {number}\n\n"

    return len(await split_messages(Message.promise(lines)))


async def _given_at_once(messages: int) -> int:
    return len(await MessageSequence.turn_into_sequence_promise([f"message {number}" for number in range(messages)]))


HOLDERS: dict[str, Callable[[int], Awaitable[int]]] = {
    "awaited": _whole,
    "one by one": _one_by_one,
    "out of order": _out_of_order,
    "late": _late,
    "through 100 agents": _forwarded,
    "settled": _settled,
    "joined": _joined,
    "split": _split,
    "given in one list": _given_at_once,
}


def longest_stretch(work: str, messages: int) -> Figures:
    """How long one of `HOLDERS` holds the loop over a reply of so many messages."""

    async def main() -> Stall:
        async with heartbeat() as stall, MiniAgents():
            count = await HOLDERS[work](messages)
            assert count == messages, f"{count} of {messages} messages have come"
        return stall

    stall = asyncio.run(main())
    return asdict(stall)


MEASURES: dict[str, Callable[..., Figures]] = {
    function.__name__: function for function in (agents_at_once, agent_call, token, longest_stretch)
}

if __name__ == "__main__":
    gc.collect()
    sys.stdout.write(json.dumps(MEASURES[sys.argv[1]](**json.loads(sys.argv[2]))))
