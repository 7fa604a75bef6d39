"""`max_ahead`: producers that wait for their readers."""

import asyncio
import contextlib
import gc
import math
from collections.abc import AsyncIterator
from typing import Any

import pytest

from miniagents import Message, MiniAgents, join_messages, miniagent
from miniagents.promising import PromisingContext, StreamAppender, StreamedPromise
from miniagents.testing import run_virtual


class Source:
    """A streamer of numbers that counts what it was asked for."""

    def __init__(self, count: int = 20) -> None:
        self.count = count
        self.made = 0

    async def __call__(self, _: Any) -> AsyncIterator[int]:
        while self.made < self.count:
            self.made += 1
            yield self.made - 1


def run(main: Any, **options: Any) -> None:
    async def in_context() -> None:
        async with PromisingContext(**options):
            await main()

    run_virtual(in_context)


@pytest.mark.parametrize("max_ahead", [1, 2, 7])
def test_a_producer_is_never_further_ahead_than_was_said(max_ahead: int) -> None:
    """Whatever a slow reader has taken, the producer has made that and `max_ahead` pieces more, and no more."""

    async def main() -> None:
        source = Source()
        taken = 0
        async for _ in StreamedPromise(source, max_ahead=max_ahead):
            taken += 1
            await asyncio.sleep(1)
            assert source.made == min(taken + max_ahead, source.count)
        assert taken == source.count

    run(main)


def test_a_producer_that_nobody_reads_makes_as_much_as_was_said() -> None:
    """Before the first reader comes there are `max_ahead` pieces; it gets all from the first on."""

    async def main() -> None:
        source = Source()
        stream = StreamedPromise(source, max_ahead=3)
        await asyncio.sleep(1)
        assert source.made == 3
        assert [number async for number in stream] == list(range(20))

    run(main)


def test_the_foremost_reader_sets_the_pace() -> None:
    """A reader that has stopped, and one that has left, hold up neither the producer nor the others."""

    async def main() -> None:
        source = Source()
        stream = StreamedPromise(source, max_ahead=1)
        stopped = aiter(stream)
        await anext(stopped)
        async for _ in stream:
            break
        assert [number async for number in stream] == list(range(20))
        assert await anext(stopped) == 1

    run(main)


def test_a_reader_that_is_cancelled_lets_the_next_one_go_on() -> None:
    """A reader that was cancelled while it waited changes nothing for the one behind it."""

    async def main() -> None:
        async def slow(_: Any) -> AsyncIterator[int]:
            for number in range(3):
                await asyncio.sleep(1)
                yield number

        stream = StreamedPromise(slow, max_ahead=1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5):
                async for _ in stream:
                    pass
        assert [number async for number in stream] == [0, 1, 2]

    run(main)


def test_who_wants_the_whole_gets_it() -> None:
    """Awaiting the whole takes all pieces."""

    async def main() -> None:
        assert await StreamedPromise(Source(), max_ahead=1) == tuple(range(20))

    run(main)


@pytest.mark.parametrize("flush", [False, True])
def test_a_context_that_is_left_holds_nobody_back(flush: bool) -> None:
    """At the end of a context, and in `aflush_tasks()`, a stream that nobody reads is made to its end."""
    source = Source()

    async def main() -> None:
        StreamedPromise(source, max_ahead=1)
        if flush:
            await PromisingContext.get_current().aflush_tasks()
            assert source.made == source.count

    run(main)
    assert source.made == source.count


def test_a_flush_that_is_over_holds_back_again() -> None:
    """When the waiting for a context was cancelled, its producers wait for their readers again."""

    async def main() -> None:
        async def endless(_: Any) -> AsyncIterator[int]:
            while True:
                made.append(1)
                yield 0
                await asyncio.sleep(1)

        made: list[int] = []
        stream = StreamedPromise(endless, max_ahead=1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5.5):
                await PromisingContext.get_current().aflush_tasks()
        assert len(made) == 6
        await asyncio.sleep(100)
        assert len(made) == 7
        stream.cancel()

    run(main)


def test_a_producer_that_is_held_back_can_be_cancelled() -> None:
    """`cancel()` ends a producer that waits for its readers, and what it has made stays readable."""

    async def main() -> None:
        stream = StreamedPromise(Source(), max_ahead=2)
        await asyncio.sleep(1)
        stream.cancel("enough")
        got: list[int] = []
        with pytest.raises(Exception, match="enough"):
            async for number in stream:
                got.append(number)
        assert got == [0, 1]

    run(main)


def test_an_observer_takes_nothing() -> None:
    """A handler that is to be told of a stream does not count as its reader."""
    told: list[object] = []

    async def on_promise_resolved(_: Any, outcome: object) -> None:
        told.append(outcome)

    async def main() -> None:
        source = Source()
        StreamedPromise(source, max_ahead=2)
        await asyncio.sleep(1)
        assert source.made == 2

    run(main, on_promise_resolved=on_promise_resolved)
    assert told == [tuple(range(20))]


def test_the_context_says_it_for_streams_that_do_not() -> None:
    """`max_ahead_by_default` is for all streams with a streamer, also one that was made before the context."""

    async def main() -> None:
        early, own = Source(), Source()
        stream = StreamedPromise(early)
        StreamedPromise(own, max_ahead=4)
        await asyncio.sleep(1)
        assert (early.made, own.made) == (2, 4)
        async for _ in stream:
            break
        async for _ in unbound:
            break
        await asyncio.sleep(1)
        assert (early.made, outside.made) == (3, 3)

    outside = Source()
    unbound = StreamedPromise(outside)
    run(main, max_ahead_by_default=2)


def test_a_stream_may_be_left_without_a_bound() -> None:
    """`max_ahead=math.inf` takes a stream out of what the context says."""

    async def main() -> None:
        source = Source()
        StreamedPromise(source, max_ahead=math.inf)
        await asyncio.sleep(1)
        assert source.made == source.count

    run(main, max_ahead_by_default=1)


def test_it_reaches_through_agents() -> None:
    """A message that agents pass on is held back by whoever reads it in the end."""

    @miniagent
    async def speaker(ctx: Any) -> None:
        async def tokens(_: Any) -> AsyncIterator[str]:
            async for number in source(_):
                yield str(number)

        ctx.reply(Message.promise(tokens, max_ahead=2))

    @miniagent
    async def forwarder(ctx: Any) -> None:
        ctx.reply(speaker.inquire())

    async def main() -> None:
        async for promise in forwarder.inquire():
            async for _ in promise:
                await asyncio.sleep(1)
                break
            assert source.made == 3
            assert promise.preliminary_metadata.get("max_ahead") is None
            assert await promise == Message("".join(map(str, range(20))))

    source = Source()
    run_virtual(lambda: MiniAgents().arun(main()))


def test_who_copies_a_stream_is_its_reader() -> None:
    """`join_messages` takes all that it joins, as fast as it comes."""

    async def main() -> None:
        async def tokens(_: Any) -> AsyncIterator[str]:
            async for number in source(_):
                yield str(number)

        joined = join_messages([Message.promise(tokens, max_ahead=1)])
        await asyncio.sleep(1)
        assert source.made == source.count
        assert str(await joined) == "".join(map(str, range(20)))

    source = Source()
    run(main)


@pytest.mark.parametrize(
    ("max_ahead", "error"), [(0, ValueError), (-1, ValueError), ("1", TypeError), (1.0, TypeError), (True, TypeError)]
)
def test_what_is_no_number_of_pieces_is_refused(max_ahead: Any, error: type[Exception]) -> None:
    """A bound that means nothing is refused at once, where it was given."""
    with pytest.raises(error, match="max_ahead"):
        StreamedPromise(Source(), max_ahead=max_ahead)
    with pytest.raises(error, match="max_ahead"):
        Message.promise(Source(), max_ahead=max_ahead)  # type: ignore[arg-type]
    with pytest.raises(error, match="max_ahead"):
        PromisingContext(max_ahead_by_default=max_ahead)


def test_an_appender_cannot_be_held_back() -> None:
    """A bound on what is appended by plain calls is refused."""
    with pytest.raises(TypeError, match="plain calls"):
        StreamedPromise(StreamAppender(), max_ahead=1)
    with pytest.raises(TypeError, match="plain calls"):
        Message.promise(StreamAppender[str](), max_ahead=1)
    with pytest.raises(TypeError, match="for streamers"):
        Message.promise(text="said at once", max_ahead=1)


def test_a_reader_that_is_behind_and_goes_on_changes_nothing() -> None:
    """The producer keeps to the foremost reader also when another one takes pieces behind it."""

    async def main() -> None:
        source = Source()
        stream = StreamedPromise(source, max_ahead=1)
        ahead, behind = aiter(stream), aiter(stream)
        for taken in range(1, 10):
            assert await anext(ahead) == taken - 1
            if taken % 3 == 0:
                await anext(behind)
            await asyncio.sleep(1)
            assert source.made == taken + 1

    run(main)


@pytest.mark.parametrize("way", ["cancel", "leave the block", "leave the context"])
def test_a_producer_on_its_way_out_is_not_held_back(way: str) -> None:
    """A streamer that says a last word when it is cancelled ends at once, read or not."""
    said: list[str] = []

    async def last_word(_: Any) -> AsyncIterator[str]:
        try:
            await asyncio.sleep(100)
            yield "never"
        except asyncio.CancelledError:
            yield "stopped"
            said.append("all")

    @miniagent
    async def speaker(ctx: Any) -> None:
        ctx.reply(Message.promise(last_word, max_ahead=1))

    async def main() -> None:
        async with MiniAgents(grace_period=None):
            if way == "leave the block":
                async with speaker.inquire():
                    await asyncio.sleep(1)
            elif way == "cancel":
                promise = Message.promise(last_word, max_ahead=1)
                await asyncio.sleep(1)
                promise.cancel()
                await asyncio.sleep(1)
                assert promise.resolved
            else:
                speaker.inquire()
                await asyncio.sleep(1)
                raise ZeroDivisionError
        assert asyncio.get_running_loop().time() <= 2

    with pytest.raises(ZeroDivisionError) if way == "leave the context" else contextlib.nullcontext():
        run_virtual(main, timeout=10)
    assert said == ["all"]


def test_a_stream_of_a_handler_does_not_hold_up_a_context_that_is_left() -> None:
    """What a handler has started, and nobody reads, is not held back when the context is left by an error."""

    async def handler(_: Any, __: Any) -> None:
        await StreamedPromise(Source(), max_ahead=1).read_pieces().next_piece()

    async def main() -> None:
        async with MiniAgents(on_promise_resolved=handler, grace_period=None):
            StreamedPromise(Source(1))
            await asyncio.sleep(1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_virtual(main, timeout=10)


def test_a_context_around_that_is_left_holds_nobody_back_inside() -> None:
    """The end of an outer context waits for a task in an inner block, whose producers then go on as well."""

    async def main() -> None:
        reached = asyncio.Event()

        async def streamer(_: Any) -> AsyncIterator[int]:
            yield 1
            yield 2
            reached.set()

        async def inner() -> None:
            async with PromisingContext():
                StreamedPromise(streamer, max_ahead=1)
                await reached.wait()

        async with PromisingContext() as outer:
            outer.start_asap(inner())

    run_virtual(main, timeout=10)


def test_awaiting_a_whole_that_is_made_without_the_pieces_holds_nobody_back() -> None:
    """A resolver that does not read its stream, and waits for it in another way, gets it."""

    async def main() -> None:
        ended = asyncio.Event()

        async def streamer(_: Any) -> AsyncIterator[int]:
            for number in range(5):
                yield number
            ended.set()

        async def resolver(_: Any) -> str:
            await ended.wait()
            return "whole"

        assert await StreamedPromise(streamer, resolver, max_ahead=1) == "whole"

    run(main)


def test_pieces_that_are_taken_one_by_one_count() -> None:
    """`next_piece()` tells the producer of each piece, as iterating does."""

    async def main() -> None:
        source = Source()
        reader = StreamedPromise(source, max_ahead=3).read_pieces()
        for taken in range(1, 4):
            await reader.next_piece()
            await asyncio.sleep(1)
            assert source.made == taken + 3

    run(main)


@pytest.mark.parametrize("max_ahead", [None, 1])
@pytest.mark.parametrize("seconds", [0, 1])
def test_a_stream_that_fails_leaves_no_garbage(max_ahead: int | None, seconds: int) -> None:
    """The error of a stream does not lead back to itself, bounded or not, waited for or not."""

    async def tokens(_: dict[str, Any]) -> AsyncIterator[str]:
        yield "one"
        await asyncio.sleep(seconds)
        raise ZeroDivisionError

    async def read() -> None:
        with contextlib.suppress(ZeroDivisionError):
            async for _ in Message.promise(tokens, max_ahead=max_ahead):
                pass

    async def main() -> int:
        async with PromisingContext():
            await read()
        gc.collect()
        async with PromisingContext():
            await read()
        return gc.collect()

    gc.disable()
    try:
        assert run_virtual(main) == 0
    finally:
        gc.enable()


def test_awaiting_a_whole_that_is_there_takes_all_pieces() -> None:
    """Whoever awaits the whole asks for all pieces, also when a resolver has made the whole before they were there."""
    made: list[int] = []

    async def streamer(_: object) -> AsyncIterator[int]:
        for number in range(10):
            made.append(number)
            yield number

    async def resolver(_: object) -> str:
        return "whole"

    async def scenario() -> None:
        async with PromisingContext():
            promise = StreamedPromise[int, str](streamer, resolver, max_ahead=2)
            await asyncio.sleep(1)
            assert (promise.resolved, len(made)) == (True, 2)
            assert await promise == "whole"
            await asyncio.sleep(1)
            assert len(made) == 10

    run_virtual(scenario)
