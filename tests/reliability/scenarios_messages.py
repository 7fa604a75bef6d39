"""The scenarios of messages and sequences."""

import itertools
from collections.abc import AsyncIterator, Iterable
from typing import Any

from miniagents import Message, MessageSequence, join_messages, split_messages
from miniagents.promising import FlatSequence, Promise, StreamAppender
from miniagents.testing.contract import Raised, Transcript, is_cut_of
from reliability.scenarios import own_cancellation, said, scenario, tokens
from reliability.stage import Stage


@scenario()
async def message(stage: Stage) -> None:
    promise = Message.promise(tokens(stage, "one ", "two"), role="user")
    stage.read(promise, "one ", "two")

    async def model(_: Any) -> Any:
        return (await promise).model

    stage.read(Promise(model), "m")


@scenario()
async def message_by_appender(stage: Stage) -> None:
    pen: StreamAppender[str] = StreamAppender(capture_errors=True)
    with own_cancellation(stage), pen:
        stage.read(Message.promise(pen, role="user"), "one ", "two")
        await stage.pause()
        pen.append("one ")
        await stage.pause()
        pen.append("two")


@scenario()
async def sequence(stage: Stage) -> None:
    """Made of all that may stand in a sequence."""

    async def streamer(_: Any) -> AsyncIterator[Any]:
        yield "one"
        await stage.pause()
        yield [None, {"text": "two"}, [Message.promise(tokens(stage, "th", "ree"))]]
        yield MessageSequence.turn_into_sequence_promise(["four", "five"])
        stage.touch()

    whole = said("one", "two", ("th", "ree"), "four", "five")
    stage.read(MessageSequence(incoming_streamer=streamer).sequence_promise, *whole)


@scenario()
async def sequence_with_an_error(stage: Stage) -> None:
    async def streamer(_: Any) -> AsyncIterator[Any]:
        yield "one"
        await stage.pause()
        yield ZeroDivisionError()

    made = MessageSequence(incoming_streamer=streamer).sequence_promise
    stage.read(made, *said("one", Raised(ZeroDivisionError)))


@scenario()
async def flat_sequence(stage: Stage) -> None:
    async def inner() -> AsyncIterator[int]:
        yield 3
        await stage.pause()
        yield 4

    async def nested(_: Any) -> AsyncIterator[Any]:
        yield [1, [2]]
        await stage.pause()
        yield inner()
        yield 5

    stage.read(FlatSequence[Any](nested).sequence_promise, 1, 2, 3, 4, 5)


@scenario()
async def join(stage: Stage) -> None:
    parts = [Message.promise(tokens(stage, "a", "b")), "c", Message.promise(tokens(stage, "d"))]
    stage.read(join_messages(parts, delimiter="+"), "a", "b", "+", "c", "+", "d")


def by_character(messages: Iterable[Any]) -> Transcript:
    """A transcript of messages as if each character had been a token."""
    return Transcript(
        Transcript(itertools.chain.from_iterable((one,) if isinstance(one, Raised) else one for one in message))
        if isinstance(message, Transcript)
        else message
        for message in messages
    )


@scenario()
async def split(stage: Stage) -> None:
    text = Message.promise(tokens(stage, "one", "\n", "\ntwo", " and\n\nthree"))
    # What is there at once is one token of a part, so only the characters are the same in every order of tasks.
    whole = by_character(said("one", "two and", "three"))
    stage.read(
        split_messages(text),
        accepts=lambda got: by_character(got) == whole,
        accepts_cut=lambda got: is_cut_of(by_character(got), whole, stage.may_end),
    )


@scenario()
async def elements(stage: Stage) -> None:
    answer = Message.promise(tokens(stage, '{"items": [1', ", [2", '], "]"]}'))
    stage.read(answer.items(object), 1, [2], "]")
    replies = MessageSequence.turn_into_sequence_promise([answer, "end"])
    stage.read(replies.lines(), '{"items": [1, [2], "]"]}', "end")
