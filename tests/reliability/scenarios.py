"""The scenarios of the engine: promises, streams, appenders, contexts."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

from miniagents.promising import (
    FlatSequence,
    MiniAgentsError,
    Promise,
    PromiseCancelledError,
    PromisingContext,
    StreamAppender,
    StreamedPromise,
)
from miniagents.testing.contract import Raised, Transcript
from reliability.stage import ENDS_PROGRAMS, Scenario, Stage

SCENARIOS: dict[str, Scenario] = {}


def scenario(**options: Any) -> Callable[[Callable[[Stage], Awaitable[None]]], None]:
    """Add a scenario. Its name is that of the function; the options are those of its context."""

    def add(play: Callable[[Stage], Awaitable[None]]) -> None:
        name = getattr(play, "__name__", "")
        SCENARIOS[name] = Scenario(name, play, options)

    return add


def said(*messages: str | tuple[str, ...] | Raised) -> tuple[Any, ...]:
    """The items of a transcript of messages: each sent whole, or (a tuple) as these tokens."""
    return tuple(
        message if isinstance(message, Raised) else Transcript((message,) if isinstance(message, str) else message)
        for message in messages
    )


def numbers(stage: Stage, count: int = 3, *, fail_at: int = -1) -> Callable[[Any], AsyncIterator[int]]:
    """A streamer of the numbers from 0 on."""

    async def streamer(_: Any) -> AsyncIterator[int]:
        for number in range(count):
            await stage.pause()
            if number == fail_at:
                raise ZeroDivisionError
            yield number
        stage.touch()

    return streamer


def tokens(stage: Stage, *words: str, seconds: float = 0.0) -> Callable[[dict[str, Any]], AsyncIterator[str]]:
    """A streamer of these tokens."""

    async def streamer(known_at_end: dict[str, Any]) -> AsyncIterator[str]:
        for word in words:
            await stage.pause(seconds)
            yield word
        known_at_end["model"] = "m"

    return streamer


def answer(stage: Stage) -> Callable[[Any], Awaitable[int]]:
    async def resolver(_: Any) -> int:
        await stage.pause()
        await stage.pause(1)
        return 42

    return resolver


@scenario()
async def plain_promise(stage: Stage) -> None:
    stage.read(Promise(answer(stage)), 42)


@scenario()
async def lazy_promise(stage: Stage) -> None:
    stage.read(Promise(answer(stage), start_asap=False), 42)


@scenario()
async def failing_promise(stage: Stage) -> None:
    async def resolver(_: Any) -> int:
        await stage.pause()
        raise ZeroDivisionError

    stage.read(Promise(resolver), Raised(ZeroDivisionError))


@scenario()
async def prefilled(stage: Stage) -> None:
    stage.read(Promise(prefill_result=7), 7)
    stage.read(StreamedPromise(prefill_pieces=[1, 2, ZeroDivisionError()]), 1, 2, Raised(ZeroDivisionError))


@scenario()
async def promise_of_promises(stage: Stage) -> None:
    """A chain: each resolver awaits the one below it."""
    promise: Promise[int] = Promise(answer(stage))
    for _ in range(3):

        async def resolver(_: Any, below: Promise[int] = promise) -> int:
            return await below + 1

        promise = Promise(resolver)
    stage.read(promise, 45)


@scenario()
async def stream(stage: Stage) -> None:
    stage.read(StreamedPromise(numbers(stage)), 0, 1, 2)


@scenario()
async def lazy_stream(stage: Stage) -> None:
    stage.read(StreamedPromise(numbers(stage), start_asap=False), 0, 1, 2)


@scenario()
async def failing_stream(stage: Stage) -> None:
    stage.read(StreamedPromise(numbers(stage, fail_at=2)), 0, 1, Raised(ZeroDivisionError))


@scenario()
async def stream_with_resolver(stage: Stage) -> None:
    async def total(promise: StreamedPromise[int, int]) -> int:
        stage.touch()
        return sum([number async for number in promise])

    made = StreamedPromise(numbers(stage), total)
    stage.read(made, 0, 1, 2)
    stage.read(Promise(lambda _: made.aresolve()), 3)


@scenario()
async def cleaning_stream(stage: Stage) -> None:
    """A streamer that takes its time to clean up, and whose cleaning may fail."""

    async def streamer(_: Any) -> AsyncIterator[int]:
        try:
            for number in range(2):
                yield number
                await stage.pause(1)
        finally:
            await asyncio.sleep(1)
            stage.touch()

    stage.read(StreamedPromise(streamer), 0, 1)


@scenario()
async def appender(stage: Stage) -> None:
    """Written by a task of the context that opens it itself."""
    pen: StreamAppender[int] = StreamAppender()

    async def write(_: Any) -> None:
        with pen:
            for number in range(3):
                pen.append(number)
                await stage.pause()

    # Opened before anybody waits for it, as the block of the task may never be reached.
    stage.read(StreamedPromise(pen), 0, 1, 2, accepts_cut=lambda got: got[-1:] != Transcript(range(3)))
    pen.open()
    writing = Promise(write, start_asap=True)
    stage.read(writing, None)
    await _until_closed(stage, pen, writing)


async def _until_closed(stage: Stage, pen: StreamAppender[int], writing: Promise[None]) -> None:
    """Whoever hands a pen out closes it when the writer could not even begin."""
    try:
        await writing
    except (Exception, *ENDS_PROGRAMS):
        stage.handled = True
    finally:
        pen.close()


@scenario()
async def appender_in_the_block(stage: Stage) -> None:
    """Written by the program itself, read while it is."""
    pen: StreamAppender[int] = StreamAppender(capture_errors=True)
    with own_cancellation(stage), pen:
        stage.read(StreamedPromise(pen), 0, 1, 2)
        for number in range(3):
            pen.append(number)
            await stage.pause()


@contextlib.contextmanager
def own_cancellation(stage: Stage) -> Iterator[None]:
    """A `CancelledError` that the scenario has raised itself is no reason to end the program."""
    try:
        yield
    except asyncio.CancelledError as error:
        if error is not stage.raised:
            raise


@scenario()
async def appender_left_open(stage: Stage) -> None:
    """Whoever forgets to close what it has opened: the readers get an end with the context."""
    async with stage.context():
        pen: StreamAppender[int] = StreamAppender().open()
        stage.read(StreamedPromise(pen), 0, Raised(PromiseCancelledError))
        await asyncio.sleep(1)
        pen.append(0)


@scenario()
async def polling(stage: Stage) -> None:
    """A reader that tries for a moment, gives up, tries again, and misses nothing."""

    async def streamer(_: Any) -> AsyncIterator[int]:
        for number in range(3):
            await stage.pause(1)
            yield number

    stage.read(StreamedPromise(streamer), 0, 1, 2, reading=_poll)
    made = FlatSequence[Any](streamer).sequence_promise
    stage.read(made, 0, 1, 2, reading=_poll)


async def _poll(stream: Any) -> Transcript:
    pieces = []
    reader = aiter(stream)
    while True:
        try:
            async with asyncio.timeout(0.3):
                pieces.append(await anext(reader))
        except StopAsyncIteration:
            return Transcript(pieces)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return Transcript([*pieces, Raised(asyncio.CancelledError)])
        except BaseException as error:
            if isinstance(error, TimeoutError) and not isinstance(error, MiniAgentsError):
                continue
            return Transcript([*pieces, Raised(error)])


@scenario()
async def breaking_off(stage: Stage) -> None:
    """Readers that leave after the first piece are invisible to the others."""
    made = StreamedPromise(numbers(stage))
    stage.read(made, 0, 1, 2)
    stage.read(
        made,
        0,
        reading=_first_or_error,
        accepts_cut=lambda got: got == (0,) or all(map(stage.may_end, got.errors())),
    )


async def _first_or_error(stream: Any) -> Transcript:
    """The first piece, or the error that came instead."""
    try:
        async for piece in stream:
            return Transcript((piece,))
    except (Exception, *ENDS_PROGRAMS) as error:
        return Transcript((Raised(error),))
    return Transcript()


@scenario()
async def bounded_streams(stage: Stage) -> None:
    """Producers that wait for their readers: of a stream that is read slowly, of one that is left, of one unread."""
    taken = ahead = 0

    async def streamer(_: Any) -> AsyncIterator[int]:
        nonlocal ahead
        for number in range(4):
            await stage.pause()
            ahead = max(ahead, number + 1 - taken)
            yield number

    async def read_slowly(stream: Any) -> Transcript:
        nonlocal taken
        got: list[Any] = []
        try:
            async for number in stream:
                got.append(number)
                taken = max(taken, len(got))
                await asyncio.sleep(1)
        except (Exception, *ENDS_PROGRAMS) as error:
            got.append(Raised(error))
        return Transcript(got)

    stage.read(StreamedPromise(streamer, max_ahead=2), 0, 1, 2, 3, reading=read_slowly)
    stage.check(lambda: ahead <= 2)
    left = StreamedPromise(numbers(stage), max_ahead=1)
    stage.read(left, 0, reading=_first_or_error, accepts_cut=lambda _: True)
    StreamedPromise(numbers(stage), max_ahead=1)


@scenario()
async def cancelled_promise(stage: Stage) -> None:
    made = StreamedPromise(numbers(stage, 100), start_asap=True)
    whole = Transcript((*range(100),))
    cancelled = Transcript((Raised(PromiseCancelledError),))

    def accepts(got: Transcript) -> bool:
        return got[-1:] == cancelled and got[:-1] == whole[: len(got) - 1]

    stage.read(made, accepts=accepts, accepts_cut=lambda got: got == whole or isinstance(got[-1], Raised))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    made.cancel("enough")


@scenario()
async def nested_contexts(stage: Stage) -> None:
    """What an inner context has started has ended when it is left."""
    ended: list[int] = []

    async def work(_: Any) -> int:
        await stage.pause(2)
        ended.append(1)
        return 1

    outer: Promise[int] = Promise(answer(stage))
    async with stage.context():
        inner = Promise(work, start_asap=True)
        stage.read(inner, 1)
        stage.read(outer, 42)
        await stage.finish()
    stage.check(lambda: ended == [1])


@scenario()
async def unread_failure(stage: Stage) -> None:
    """An error that nobody reads is reported once, also when handlers look on."""

    async def fail(_: Any) -> None:
        await stage.pause()
        raise ZeroDivisionError

    Promise(fail, start_asap=True)
    stage.unread_errors = 1
    stage.read(Promise(answer(stage)), 42)


@scenario()
async def work_of_the_context(stage: Stage) -> None:
    """Tasks that nobody waits for are finished before the context ends, also those that they have started."""
    done: list[str] = []

    async def more() -> None:
        await asyncio.sleep(3)
        done.append("more")

    async def work() -> None:
        await asyncio.sleep(3)
        PromisingContext.get_current().start_asap(more())
        stage.touch(escapes=True)
        done.append("work")

    PromisingContext.get_current().start_asap(work())
    stage.check(lambda: done == ["work", "more"])
    stage.read(Promise(answer(stage)), 42)
