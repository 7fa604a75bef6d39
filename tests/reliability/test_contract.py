"""The contract checks that are public: they pass what is right, and name what is not."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from miniagents import InteractionContext, Message, MessageSequence, join_messages, miniagent
from miniagents.promising import Promise, PromiseCancelledError, StreamAppender, StreamedPromise
from miniagents.testing.contract import (
    ContractBrokenError,
    Raised,
    Transcript,
    check_promise,
    check_sequence,
    check_stream,
    is_cut_of,
)
from reliability.planted import PLANTED


async def answer(promise: Promise[Any]) -> int:
    await asyncio.sleep(1)
    return 42


async def tokens(metadata: dict[str, Any]) -> AsyncIterator[str]:
    for token in ("one ", "two"):
        await asyncio.sleep(1)
        yield token


@miniagent
async def replying(ctx: InteractionContext) -> None:
    ctx.reply(ctx.message_promises)
    ctx.reply(Message.promise(tokens))


@pytest.mark.parametrize("start_asap", [True, False])
def test_promises_keep_the_contract(start_asap: bool) -> None:
    """A promise that starts at once, or when it is read, keeps the contract."""
    assert check_promise(lambda: Promise(answer, start_asap=start_asap), seeds=[0]) > 10


def test_streams_keep_the_contract() -> None:
    """So do messages, and what is made of them."""
    assert check_stream(lambda: Message.promise(tokens), seeds=[0]) > 10
    assert check_stream(lambda: join_messages([Message.promise(tokens), "three"]), seeds=[0], points=50) > 10


def test_sequences_keep_the_contract() -> None:
    """So do the replies of agents, and sequences of foreign streams."""

    async def foreign() -> AsyncIterator[Any]:
        yield "one"
        await asyncio.sleep(1)
        yield replying.inquire("two")

    assert check_sequence(lambda: replying.inquire("hello"), seeds=[0], points=100) > 10
    made = check_sequence(lambda: MessageSequence.turn_into_sequence_promise([foreign()]), seeds=[0], points=100)
    assert made > 10


def test_an_error_is_no_breach() -> None:
    """A producer that fails, always in the same way, keeps the contract."""

    async def fail(promise: Promise[Any]) -> None:
        raise ValueError

    assert check_promise(lambda: Promise(fail), seeds=[0]) > 10


@pytest.mark.parametrize("name", ["one_future_for_all_readers", "no_end_when_killed_at_once", "cancellation_swallowed"])
def test_a_breach_is_named_with_its_run(name: str) -> None:
    """A broken engine is caught, and the error says what was done with which seed."""
    (mistake,) = [mistake for mistake in PLANTED if mistake.name == name]
    with mistake.make(), pytest.raises(ContractBrokenError, match=r"With seed 0, when .* step \d+"):
        check_stream(lambda: Message.promise(tokens), seeds=[0])


def test_a_stream_that_never_ends_is_a_breach() -> None:
    """A stream that nobody ends, though somebody could, is found in the run in which nothing is done."""
    kept: list[StreamAppender[int]] = []

    def make() -> StreamedPromise[int, Any]:
        kept.append(StreamAppender[int]())
        return StreamedPromise(kept[-1])

    with pytest.raises(ContractBrokenError, match="when nothing was done: Nothing can ever move again"):
        check_stream(make)


def test_what_differs_from_run_to_run_is_a_breach() -> None:
    """A promise that depends on the order of tasks is found out."""
    made: list[int] = []

    async def counting(promise: Promise[Any]) -> int:
        made.append(1)
        return len(made)

    with pytest.raises(ContractBrokenError, match="A reader got"):
        check_promise(lambda: Promise(counting))


def test_a_cut_is_a_beginning_and_an_error() -> None:
    """A transcript is a cut of another if it is a part from its beginning, then an error; streams inside it too."""
    cancelled = Raised(PromiseCancelledError)
    whole = Transcript((1, Transcript("ab"), 2))

    def is_cut(*got: Any) -> bool:
        return is_cut_of(Transcript(got), whole, lambda raised: raised == cancelled)

    assert is_cut(1, Transcript("ab"), 2)
    assert is_cut(1, cancelled)
    assert is_cut(1, Transcript(("a", cancelled)), 2)
    assert is_cut(1, Transcript("ab"), 2, cancelled)
    assert not is_cut(1)
    assert not is_cut(1, Raised(ValueError))
    assert not is_cut(Transcript("ab"), 2, cancelled)
    assert not is_cut(1, cancelled, 2)


def test_a_misuse_is_told_at_once() -> None:
    """No seeds, or something that is no such promise, is the caller's error and no breach."""
    with pytest.raises(TypeError, match="A StreamedPromise was to be made, not a Promise"):
        check_stream(lambda: Promise(answer))
    with pytest.raises(ValueError, match="no seeds"):
        check_promise(lambda: Promise(answer), seeds=[])
