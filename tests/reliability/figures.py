"""Figures that no sweep gives: lengths of tracebacks, leaks, depth, bad inputs."""

import asyncio
import contextlib
import functools
import gc
import logging
import random
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from miniagents import InteractionContext, Message, MessageSequence, MiniAgents, miniagent
from miniagents.promising import MiniAgentsError, Promise, StreamedPromise
from miniagents.testing.contract import Raised
from miniagents.testing.virtual_time import run_virtual

_UNHEARD = logging.NOTSET  # of the errors that are provoked here not all are read

# ---------------------------------------------------------------------- R17: error fan-out


def frames_for_readers(readers: int) -> set[int]:
    """How long the traceback of one error is for each of so many readers: the different lengths."""

    async def fail(_: Any) -> None:
        raise ValueError

    async def read(promise: Promise[None]) -> int:
        try:
            await promise
        except ValueError as error:
            return Raised(error).frames
        raise AssertionError("the error did not arrive")

    async def main() -> set[int]:
        async with MiniAgents():
            promise = Promise(fail)
            return set(await asyncio.gather(*(read(promise) for _ in range(readers))))

    return run_virtual(main, max_steps=10_000_000)


# ---------------------------------------------------------------------- R11: leaks


@miniagent
async def talking(ctx: InteractionContext, fails: bool) -> None:
    async def tokens(metadata: dict[str, Any]) -> AsyncIterator[str]:
        yield "a"
        await asyncio.sleep(0)
        if fails:
            raise ValueError
        yield "b"

    ctx.reply(ctx.message_promises)
    ctx.reply(Message.promise(tokens))
    await asyncio.sleep(0)
    if fails:
        raise ValueError


async def _call(fails: bool) -> None:
    try:
        await talking.inquire("hello", fails=fails)
    except ValueError:
        if not fails:
            raise


async def _call_holding(fails: bool) -> None:
    """The frame of this reader holds the promise whose error it meets."""
    try:
        async for promise in talking.inquire("hello", fails=fails):
            await promise
    except ValueError:
        if not fails:
            raise


def garbage_per_call(calls: int, *, fails: bool, holding: bool = False) -> float:
    """How many objects a call leaves to the cyclic garbage collector."""
    call = _call_holding if holding else _call

    async def main(count: int) -> int:
        # Collected behind the context, which keeps errors for a while.
        gc.collect()
        gc.disable()
        try:
            async with MiniAgents(log_level_for_errors=_UNHEARD):
                for _ in range(count):
                    await call(fails)
            return gc.collect()
        finally:
            gc.enable()

    asyncio.run(main(1))  # what is made once and kept
    return (asyncio.run(main(calls)) - asyncio.run(main(0))) / calls


def garbage_of_a_held_task(tasks: int) -> float:
    """The same as `garbage_per_call` with `holding`, of a plain task of asyncio: a measure of what is Python's own."""

    async def fail() -> None:
        raise ValueError

    async def hold() -> None:
        task = asyncio.create_task(fail())
        with contextlib.suppress(ValueError):
            await task

    async def main(count: int) -> int:
        gc.collect()
        gc.disable()
        try:
            for _ in range(count):
                await hold()
            return gc.collect()
        finally:
            gc.enable()

    asyncio.run(main(1))
    return (asyncio.run(main(tasks)) - asyncio.run(main(0))) / tasks


def growth_per_call(calls: int, *, fails: bool) -> float:
    """How many blocks of memory a call leaves in a context that lives on."""

    async def main() -> float:
        async with MiniAgents(log_level_for_errors=_UNHEARD):
            for _ in range(calls):  # until what is kept of late, such as errors, is as much as it will be
                await _call(fails)
            gc.collect()
            before = sys.getallocatedblocks()
            for _ in range(calls):
                await _call(fails)
            gc.collect()
            return (sys.getallocatedblocks() - before) / calls

    return asyncio.run(main())


def leaks_of_calls(calls: int) -> dict[str, int]:
    """What is there after so many calls, and after their context, that was not there before."""

    def descriptors() -> int:
        folder = Path("/proc/self/fd")
        return len(list(folder.iterdir())) if folder.is_dir() else 0

    async def main() -> dict[str, int]:
        before = descriptors(), threading.active_count()
        async with MiniAgents(log_level_for_errors=_UNHEARD):
            for number in range(calls):
                await _call(fails=number % 2 == 1)
        return {
            "tasks": len(asyncio.all_tasks()) - 1,
            "file descriptors": descriptors() - before[0],
            "threads": threading.active_count() - before[1],
        }

    return asyncio.run(main())


# ---------------------------------------------------------------------- R9: bounded streams


def furthest_ahead(pieces: int, max_ahead: int, number: int = 0) -> int:
    """How far a producer that never waits was ahead of a reader that is slow and fast by turns, drawn from a seed."""
    fate = random.Random(number)
    made = taken = furthest = 0

    async def streamer(_: Any) -> AsyncIterator[int]:
        nonlocal made, furthest
        for piece in range(pieces):
            made += 1
            furthest = max(furthest, made - taken)
            yield piece

    async def main() -> int:
        nonlocal taken
        async with MiniAgents():
            async for piece in StreamedPromise(streamer, max_ahead=max_ahead):
                assert piece == taken
                taken += 1
                if fate.random() < 0.3:
                    await asyncio.sleep(fate.choice((0, 0, 1)))
        assert taken == pieces
        return furthest

    return run_virtual(main, seed=number, max_steps=10 * pieces)


# ---------------------------------------------------------------------- R8: depth


@miniagent
async def deep(ctx: InteractionContext, left: int) -> None:
    ctx.reply(deep.inquire(ctx.message_promises, left=left - 1) if left else ctx.message_promises)


def agents_deep(depth: int) -> bool:
    """Whether a message comes through so many agents, each of which calls the next."""

    async def main() -> bool:
        async with MiniAgents():
            return [str(message) for message in await deep.inquire("hello", left=depth)] == ["hello"]

    return asyncio.run(main())


def lists_deep(depth: int) -> bool:
    """Whether a message is found in so many lists inside each other."""
    nested: Any = ["hello"]
    for _ in range(depth):
        nested = [nested]

    async def main() -> bool:
        async with MiniAgents():
            return len(await MessageSequence.turn_into_sequence_promise(nested)) == 1

    try:
        return asyncio.run(main())
    finally:
        while nested != ["hello"]:  # or the interpreter itself would take them apart by recursion
            nested = nested[0] if len(nested) == 1 and isinstance(nested[0], list) else ["hello"]


def promises_deep(depth: int) -> bool:
    """Whether so many lazy promises, each of which awaits the next, are resolved."""

    async def main() -> bool:
        async with MiniAgents():
            promise: Promise[int] = Promise(prefill_result=0)
            for _ in range(depth):

                async def resolver(_: Any, below: Promise[int] = promise) -> int:
                    return await below + 1

                promise = Promise(resolver, start_asap=False)
            return await promise == depth

    return asyncio.run(main())


# ---------------------------------------------------------------------- R14: bad inputs

INTERRUPT = KeyboardInterrupt()

ATOMS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters()),
    st.binary(max_size=4),
    st.complex_numbers(),
    st.builds(object),
    st.builds(Message, st.text(max_size=3)),
    st.builds(ValueError, st.text(max_size=3)),
    st.builds(lambda text: Message(text).as_promise, st.text(max_size=3)),
    st.sampled_from([int, Message, print, talking, ValueError, INTERRUPT, ..., NotImplemented]),
)
NAMES = st.one_of(
    st.text(max_size=4),
    st.sampled_from(
        [
            *dir(Message),
            "text",
            "text_template",
            "self",
            "role",
            "$class",
            "class_",
            "messages",
            "start_asap",
            "timeout",
        ]
    ),
)
ANYTHING = st.recursive(
    ATOMS,
    lambda inside: st.one_of(
        st.lists(inside, max_size=4),
        st.tuples(inside, inside),
        st.dictionaries(st.one_of(NAMES, ATOMS.filter(lambda value: value.__hash__ is not None)), inside, max_size=4),
        st.lists(inside, max_size=2).map(iter),
    ),
    max_leaves=12,
)

DOCUMENTED = (TypeError, ValueError, MiniAgentsError)


def _message(value: Any, name: str) -> None:
    _use(Message(**{name: value}))


def _text(value: Any, _: str) -> None:
    _use(Message(value))


def _use(message: Message) -> None:
    """All that may be done with a message that was accepted."""
    str(message), repr(message), message.hash_key, hash(message), list(message.sub_messages())
    message.serialize()
    message.model_dump_json()
    assert message.model_copy() == message


def _reply(value: Any, _: str) -> None:
    @miniagent
    async def replying(ctx: InteractionContext) -> None:
        try:
            ctx.reply(value)
        except DOCUMENTED:
            ctx.reply("refused")

    run_virtual(functools.partial(_settle, lambda: replying.inquire()))


def _inquire(value: Any, name: str) -> None:
    @miniagent
    async def echo(ctx: InteractionContext, **kwargs: Any) -> None:
        ctx.reply(ctx.message_promises)

    run_virtual(functools.partial(_settle, lambda: echo.inquire(value, **{name: value})))


async def _settle(inquire: Callable[[], Any]) -> None:
    async with MiniAgents(log_level_for_errors=_UNHEARD):
        await inquire().settled()


INPUTS: dict[str, Callable[[Any, str], None]] = {
    "Message(x)": _text,
    "Message(name=x)": _message,
    "ctx.reply(x)": _reply,
    "agent.inquire(x, name=x)": _inquire,
}


def bad_inputs(where: str, examples: int, number: int = 0) -> int:
    """Give so many things, generated from the seed `number`, to one of `INPUTS`. What is not documented is raised."""
    give = INPUTS[where]
    tried = 0

    @seed(number)
    @settings(max_examples=examples, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(ANYTHING, NAMES)
    def try_one(value: Any, name: str) -> None:
        nonlocal tried
        tried += 1
        try:
            give(value, name)
        except DOCUMENTED:
            pass
        except KeyboardInterrupt as interrupt:
            if interrupt is not INTERRUPT:  # only what was given, somewhere in the value, may end the program
                raise

    try_one()
    return tried
