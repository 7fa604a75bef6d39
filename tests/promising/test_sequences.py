"""Sequences of sequences, read as one flat stream."""

import asyncio
import contextlib
import gc
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniagents.promising import (
    AWAIT,
    CLEAR,
    DeadlockError,
    FlatSequence,
    NoActiveContextError,
    Promise,
    PromiseCancelledError,
    PromisingContext,
    SequencePromise,
    StreamAppender,
    StreamedPromise,
)
from miniagents.promising.log import Failure
from miniagents.promising.sequence import EXPAND, RopeReader, SequenceAppender, flatten
from miniagents.promising.tasks import FIRST_STEP
from miniagents.testing.virtual_time import explore, run_virtual

# A tree: a number is an item, a list is a sequence of its own.
Tree = Any
trees = st.recursive(st.integers(min_value=0, max_value=99), lambda inner: st.lists(inner, max_size=4), max_leaves=25)


def flat(tree: Tree) -> list[int]:
    """What a reader must see, said in the plainest way."""
    return [tree] if isinstance(tree, int) else [item for branch in tree for item in flat(branch)]


def grow(tree: list[Tree], pauses: Any) -> SequencePromise[Any, Any]:
    """A rope in the shape of the tree, each sequence of which is written by a task of its own, with pauses."""
    appender: SequenceAppender[Any] = SequenceAppender()

    async def write(promise: Any) -> None:
        await FIRST_STEP
        appender.open()
        for branch in tree:
            for _ in range(next(pauses)):
                await asyncio.sleep(0)
            appender.append(branch if isinstance(branch, int) else grow(branch, pauses))
        appender.close()
        promise.producer_ended()

    return SequencePromise(appender, write)


@given(tree=st.lists(trees, max_size=4), pauses=st.lists(st.integers(0, 3), min_size=1), seed=st.integers(0, 10_000))
def test_a_rope_of_any_shape_reads_like_the_flat_list(tree: list[Tree], pauses: list[int], seed: int) -> None:
    """However sequences are nested and whenever they grow: every reader, early or late, gets the flat list."""

    async def scenario() -> list[list[int]]:
        async with PromisingContext():
            rope = grow(tree, itertools.cycle(pauses))

            async def read() -> list[int]:
                return [item async for item in rope]

            early = [asyncio.create_task(read()) for _ in range(2)]
            whole = list(await rope)
            return [whole, *[await task for task in early], await read()]

    assert run_virtual(scenario, seed=seed) == [flat(tree)] * 4


def nested(depth: int, at_the_end: bool) -> SequencePromise[Any, Any]:
    """A rope nested this deep, with the inner sequence last (a chain) or before another item (a stack)."""
    inner: SequencePromise[Any, Any] | None = None
    for level in range(depth):
        appender: SequenceAppender[Any] = SequenceAppender()
        appender.open()
        appender.append(level)
        if inner is not None:
            appender.append(inner)
        if not at_the_end:
            appender.append(-level)
        appender.close()
        inner = SequencePromise(appender)
    assert inner is not None
    return inner


@pytest.mark.parametrize("at_the_end", [True, False])
async def test_depth_is_no_special_case(at_the_end: bool) -> None:
    """A hundred thousand sequences inside each other are read without recursion."""
    items = await nested(100_000, at_the_end)
    assert len(items) == 100_000 * (1 if at_the_end else 2)
    assert items[:3] == (99_999, 99_998, 99_997)


async def test_a_chain_needs_no_stack() -> None:
    """A reader of a chain, in which each sequence ends in the next, holds no frames for the ones it has left."""
    reader = RopeReader(nested(1000, at_the_end=True))
    depths = set()
    async for _ in reader:
        depths.add(len(reader._stack))
    assert max(depths) == 0


def test_errors_of_a_rope() -> None:
    """A reader gets the items before an error in any sequence of the rope, then the error, then the end; the walk that
    collects everything goes on behind it."""

    async def scenario() -> None:
        inner: SequenceAppender[Any] = SequenceAppender()
        with inner:
            inner.append(2).append(ValueError("in the middle")).append(3)
        outer: SequenceAppender[Any] = SequenceAppender()
        with outer:
            outer.append(1).append(SequencePromise(inner)).append(4)
        rope: SequencePromise[Any, Any] = SequencePromise(outer)
        reader = aiter(rope)
        assert [await anext(reader), await anext(reader)] == [1, 2]
        with pytest.raises(ValueError, match="in the middle"):
            await anext(reader)
        with pytest.raises(StopAsyncIteration):
            await anext(reader)
        with pytest.raises(ValueError, match="in the middle"):
            await rope
        items = await rope.settle_items()
        assert [item for item in items if not isinstance(item, Failure)] == [1, 2, 3, 4]
        assert isinstance(items[2], Failure)

    run_virtual(scenario)


async def test_a_rope_of_nothing_but_itself_is_an_error() -> None:
    """Sequences that contain only each other have no first item: `DeadlockError` instead of a loop without end."""
    ring: list[SequenceAppender[Any]] = [SequenceAppender() for _ in range(5)]
    promises = [SequencePromise[Any, Any](appender) for appender in ring]
    for appender, following in zip(ring, promises[1:] + promises[:1], strict=True):
        with appender:
            appender.append(following)
    with pytest.raises(DeadlockError, match="contains itself"):
        await promises[0]


async def test_handlers_hear_of_a_rope_of_nothing_but_itself() -> None:
    """A sequence that contains nothing but itself has an outcome, which handlers hear of: that error."""
    heard: list[Any] = []

    async def handler(promise: Any, outcome: Any) -> None:
        heard.append(outcome)

    async with PromisingContext(on_promise_resolved=handler):
        ring: list[SequenceAppender[Any]] = [SequenceAppender(), SequenceAppender()]
        for appender, other in zip(ring, reversed(ring), strict=True):
            appender.open().append(SequencePromise(other))
        for appender in ring:
            appender.close()
    assert len(heard) == 2
    assert all(isinstance(outcome, DeadlockError) for outcome in heard)


async def test_a_reader_of_everything_gives_others_their_turn() -> None:
    """Whoever takes all items of a long sequence at once holds the loop for no more than a portion of them."""
    appender: SequenceAppender[Any] = SequenceAppender()
    with appender:
        for number in range(10_000):
            appender.append(number)
    reading = asyncio.create_task(SequencePromise[Any, Any](appender).settle_items())
    turns = 0
    while not reading.done():
        await asyncio.sleep(0)
        turns += 1
    assert await reading == list(range(10_000))
    assert turns >= 10


def test_many_empty_sequences_do_not_hold_the_loop() -> None:
    """A reader that finds only empty sequences lets other tasks have their turn."""

    async def scenario() -> int:
        empty: SequenceAppender[Any] = SequenceAppender()
        empty.begin().close()
        rope: SequenceAppender[Any] = SequenceAppender()
        with rope:
            for _ in range(10_000):
                rope.append(SequencePromise(empty))
        reading = asyncio.create_task(_read(SequencePromise(rope)))
        turns = 0
        while not reading.done():
            await asyncio.sleep(0)
            turns += 1
        assert await reading == ()
        return turns

    assert run_virtual(scenario) >= 5


async def _read(rope: SequencePromise[Any, Any]) -> Any:
    return await rope


async def test_the_same_sequence_may_stand_in_many_places() -> None:
    """A sequence that is forwarded twice is read twice."""
    inner: SequenceAppender[Any] = SequenceAppender()
    with inner:
        inner.append(1)
    outer: SequenceAppender[Any] = SequenceAppender()
    shared = SequencePromise[Any, Any](inner)
    with outer:
        for _ in range(100):
            outer.append(shared)
    assert await SequencePromise[Any, Any](outer) == (1,) * 100


# ---------------------------------------------------------------------- out of order


def speaker(delay: float, *items: Any) -> SequencePromise[Any, Any]:
    appender: SequenceAppender[Any] = SequenceAppender()

    async def write(promise: Any) -> None:
        await FIRST_STEP
        with appender:
            for item in items:
                await asyncio.sleep(delay)
                appender.append(item)
        promise.producer_ended()

    return SequencePromise(appender, write)


def test_out_of_order_items_come_as_they_arrive_and_stay_in_that_order() -> None:
    """Items of sources added out of order are delivered as they arrive; every reader sees the same recorded order."""

    async def scenario() -> tuple[Any, ...]:
        async with PromisingContext():
            appender: SequenceAppender[Any] = SequenceAppender()
            rope: SequencePromise[Any, Any] = SequencePromise(appender)
            with appender:
                appender.append_out_of_order(speaker(5, "a5", "a10"))
                appender.append_out_of_order(speaker(3, "b3", "b6", speaker(3, "b9")))
                appender.append("at once")
            first = await rope
            assert await rope == tuple([item async for item in rope]) == first
            return first

    assert set(explore(scenario, seeds=range(30))) == {("at once", "b3", "a5", "b6", "b9", "a10")}


def test_the_stream_ends_when_all_has_arrived() -> None:
    """A closed appender ends its stream only when everything that was added out of order is there."""

    async def scenario() -> float:
        async with PromisingContext():
            appender: SequenceAppender[Any] = SequenceAppender()
            with appender:
                appender.append_out_of_order(speaker(7, "late"))
            await SequencePromise[Any, Any](appender)
            return asyncio.get_running_loop().time()

    assert run_virtual(scenario) == 7.0


def test_an_error_out_of_order_takes_nothing_from_its_siblings() -> None:
    """A source that fails puts its error at the place where it happened; the items of the others are all kept."""

    async def scenario() -> list[Any]:
        async with PromisingContext():
            appender: SequenceAppender[Any] = SequenceAppender()
            with appender:
                appender.append_out_of_order(speaker(2, "a2", ValueError("a4"), "a6"))
                appender.append_out_of_order(speaker(3, "b3", "b6.5"))
            items = await SequencePromise[Any, Any](appender).settle_items()
            return [str(item.exception) if isinstance(item, Failure) else item for item in items]

    result = run_virtual(scenario)
    assert result[:3] == ["a2", "b3", "a4"]
    assert sorted(result[3:]) == ["a6", "b6.5"]


def test_what_cannot_be_read_out_of_order_is_an_error_at_its_place() -> None:
    """A source that was not started, and cannot be where there is no context, is an error, behind which the rest comes."""

    async def scenario() -> list[Any]:
        appender: SequenceAppender[Any] = SequenceAppender()
        with appender:
            appender.append_out_of_order(Promise(prefill_result=1))
            appender.append_out_of_order(speaker(1, "never said"))
            appender.append_out_of_order(2)
        return await SequencePromise[Any, Any](appender).settle_items()

    known, failure, last = run_virtual(scenario)
    assert (known.resolved, last) == (True, 2)
    assert isinstance(failure.exception, NoActiveContextError)


async def test_a_deep_source_out_of_order_is_carried_over() -> None:
    """The item at the bottom of thousands of sequences inside each other arrives out of order as well."""
    appender: SequenceAppender[Any] = SequenceAppender()
    with appender:
        appender.append("bottom")
    for _ in range(5_000):
        inner, appender = appender, SequenceAppender()
        with appender:
            appender.append(SequencePromise(inner))
    arriving: SequenceAppender[Any] = SequenceAppender()
    with arriving:
        arriving.append_out_of_order(SequencePromise(appender))
    assert await SequencePromise[Any, Any](arriving) == ("bottom",)


def test_many_items_out_of_order_do_not_hold_the_loop() -> None:
    """A long source is carried over in portions, between which other tasks have their turn."""

    async def scenario() -> int:
        async with PromisingContext():
            source: SequenceAppender[Any] = SequenceAppender()
            with source:
                for number in range(10_000):
                    source.append(number)
            appender: SequenceAppender[Any] = SequenceAppender()
            with appender:
                appender.append_out_of_order(SequencePromise(source))
            turns = 0
            while not appender.log.ended:
                await asyncio.sleep(0)
                turns += 1
            assert len(await SequencePromise[Any, Any](appender)) == 10_000
            return turns

    assert run_virtual(scenario) >= 5


# ---------------------------------------------------------------------- flat sequences


def test_a_flat_sequence_flattens_whatever_comes() -> None:
    """Items, collections, async iterables and other sequences of a source become one flat stream, in order."""

    async def inner_stream() -> AsyncIterator[Any]:
        await asyncio.sleep(1)
        yield 5
        yield [6]

    async def source(promise: Any) -> AsyncIterator[Any]:
        yield 1
        yield [2, (3, [4]), inner_stream()]
        yield FlatSequence[int](numbers_from_seven).sequence_promise
        yield "text is one item"

    async def numbers_from_seven(promise: Any) -> AsyncIterator[Any]:
        yield 7

    async def scenario() -> Any:
        async with PromisingContext():
            return await FlatSequence[Any](source).sequence_promise

    assert run_virtual(scenario) == (1, 2, 3, 4, 5, 6, 7, "text is one item")


@pytest.mark.parametrize("asynchronous", [True, False])
def test_a_flattener_replaces_the_rules(asynchronous: bool) -> None:
    """A `flattener` decides, for each piece of the source, which items it becomes; sync or async."""

    async def source(promise: Any) -> AsyncIterator[str]:
        yield "ab"
        yield "c"

    async def letters(piece: str) -> AsyncIterator[str]:
        for letter in piece:
            yield letter

    async def scenario() -> Any:
        async with PromisingContext():
            return await FlatSequence[str](source, letters if asynchronous else list).sequence_promise

    assert run_virtual(scenario) == ("a", "b", "c")


def test_an_appender_may_be_the_source() -> None:
    """What is appended is flattened while it comes, up to the error that was appended."""

    async def scenario() -> list[Any]:
        async with PromisingContext():
            source: StreamAppender[Any] = StreamAppender()
            flat_promise = FlatSequence[Any](source).sequence_promise
            reader = aiter(flat_promise)
            with source:
                source.append([1, [2]])
                assert [await anext(reader), await anext(reader)] == [1, 2]
                await asyncio.sleep(1)
                source.append([3]).append(ValueError("of the source"))
            return [
                str(item.exception) if isinstance(item, Failure) else item for item in await flat_promise.settle_items()
            ]

    assert run_virtual(scenario) == [1, 2, 3, "of the source"]


def test_a_cancelled_sequence_keeps_what_came_of_its_source() -> None:
    """Cancelling closes the source; the items until then stay, and then comes a `PromiseCancelledError`."""
    closed: list[float] = []

    async def source(_: Any) -> AsyncIterator[int]:
        try:
            for number in itertools.count():
                yield number
                await asyncio.sleep(1)
        finally:
            closed.append(asyncio.get_running_loop().time())

    async def scenario() -> list[Any]:
        async with PromisingContext():
            promise = FlatSequence[int](source).sequence_promise
            await asyncio.sleep(1.5)
            promise.cancel("enough")
            return await promise.settle_items()

    *items, end = run_virtual(scenario)
    assert items == [0, 1]
    assert isinstance(end.exception, PromiseCancelledError)
    assert closed == [1.5]


def test_an_error_of_the_source_ends_the_sequence() -> None:
    """What the source raises is raised for the readers, after what it gave before."""

    async def source(promise: Any) -> AsyncIterator[int]:
        yield 1
        raise ValueError("source")

    async def scenario() -> list[int]:
        seen = []
        async with PromisingContext():
            with pytest.raises(ValueError, match="source"):
                async for item in FlatSequence[int](source).sequence_promise:
                    seen.append(item)
        return seen

    assert run_virtual(scenario) == [1]


def test_a_source_that_fails_leaves_no_cycle() -> None:
    """A failed sequence whose source is a stream itself is freed at once, with that stream."""

    async def read() -> None:
        with contextlib.suppress(ConnectionError):
            await FlatSequence[Any](
                lambda _: StreamedPromise(prefill_pieces=[1, ConnectionError("cut")])
            ).sequence_promise
            raise AssertionError

    async def scenario() -> None:
        gc.collect()
        gc.disable()
        try:
            async with PromisingContext():
                await read()
            assert gc.collect() == 0
        finally:
            gc.enable()

    run_virtual(scenario)


def convert(value: Any) -> Any:
    if isinstance(value, float):
        raise TypeError("is a float.")
    return EXPAND if isinstance(value, list) else value


@given(tree=trees)
def test_flattening_any_tree(tree: Tree) -> None:
    """`flatten` gives the flat list of any nested collection."""
    assert flatten(tree, convert, "it") == flat(tree)


def test_flattening_says_where_something_does_not_belong() -> None:
    """A value that cannot be converted is a `TypeError` with its place; a list in itself is a `ValueError`."""
    with pytest.raises(TypeError, match=r"it\[1\]\[0\]\[2\] is a float"):
        flatten([0, [[1, 2, 0.5]]], convert, "it")
    with pytest.raises(TypeError, match=r"^it is a float"):
        flatten(0.5, convert, "it")
    ring: list[Any] = [1]
    ring.append([ring])
    with pytest.raises(ValueError, match=r"it\[1\]\[0\] contains itself"):
        flatten(ring, convert, "it")


def test_flattening_does_not_recurse() -> None:
    """Lists nested a hundred thousand deep are flattened."""
    deep: list[Any] = [1]
    for _ in range(100_000):
        deep = [deep, 2]
    assert len(flatten(deep, convert, "it")) == 100_001


def test_the_marks_of_a_chain_are_shown_by_name() -> None:
    """`AWAIT` and `CLEAR` look in an error or in a debugger as they are written."""
    assert repr([AWAIT, CLEAR]) == "[AWAIT, CLEAR]"


async def test_nothing_is_lost_when_a_long_reading_is_cancelled_at_any_item() -> None:
    """A reader that tries for a moment, gives up and tries again gets every item, also where it gives others a turn."""

    async def anext_within_no_time(reader: Any) -> Any:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0):
                    return await anext(reader)

    async with PromisingContext():
        appender: SequenceAppender[int] = SequenceAppender()
        sequence: SequencePromise[int, Any] = SequencePromise(appender)
        with appender:
            for number in range(2500):
                appender.append(number)
        reader = aiter(sequence)
        assert [await anext_within_no_time(reader) for _ in range(2500)] == list(range(2500))
