"""Sequences of messages: what can be sent, and what becomes of it."""

import asyncio
import enum
import gc
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from miniagents import (
    ErrorMessage,
    InteractionContext,
    Message,
    MessagePromise,
    MessageSequence,
    MessageSequencePromise,
    MiniAgents,
    miniagent,
)
from miniagents.promising import AppenderClosedError, FlatSequence, Promise, PromisingContext, UnresolvedPromiseError
from miniagents.testing.virtual_time import run_virtual

to_sequence = MessageSequence.turn_into_sequence_promise


class Point(BaseModel):
    x: int


async def texts_of(messages: Any) -> list[str]:
    return [str(message) for message in await to_sequence(messages)]


def generator() -> Iterator[Any]:
    yield "g1"
    yield ["g2"]


async def async_generator() -> AsyncIterator[Any]:
    yield "a1"
    await asyncio.sleep(1)
    yield [Message("a2"), None]


def test_everything_that_can_be_sent() -> None:
    """Texts, dicts, models, messages, promises, sequences, iterables and async iterables of them, nested in any way."""

    async def scenario() -> list[str]:
        async with PromisingContext():
            return await texts_of(
                [
                    "text",
                    {"text": "dict", "role": "user"},
                    Point(x=1),
                    Message("message"),
                    Message("promise").as_promise,
                    to_sequence(["seq1", "seq2"]),
                    None,
                    [],
                    ((("deep",),),),
                    generator(),
                    async_generator(),
                    {"k": 1}.items() and {"text": "last"},
                ]
            )

    assert run_virtual(scenario) == [
        *("text", "dict", '{"x": 1}', "message", "promise", "seq1", "seq2", "deep", "g1", "g2", "a1", "a2", "last")
    ]


class Mood(enum.StrEnum):
    GOOD = "good"


class OldMood(str, enum.Enum):  # noqa: UP042 (what people wrote before `StrEnum`)
    BAD = "bad"


async def test_a_member_of_an_enum_is_its_text() -> None:
    """A `str` of another class is sent as the text that it is, not as the name that it shows."""
    assert await texts_of([Mood.GOOD, OldMood.BAD]) == ["good", "bad"]


async def test_nothing_is_an_empty_sequence() -> None:
    """`None` and empty collections are sequences without messages."""
    assert await to_sequence(None) == ()
    assert await to_sequence([None, []]) == ()


async def test_a_sequence_is_passed_on_as_it_is() -> None:
    """A sequence that is given where messages are wanted is used itself, not copied."""
    sequence = to_sequence("x")
    assert to_sequence(sequence) is sequence


async def coroutine() -> None: ...


@miniagent
async def some_agent(ctx: Any) -> None: ...


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (5, r"^messages is of type int"),
        (["fine", [None, 2.5]], r"^messages\[1\]\[1\] is of type float"),
        ([b"bytes"], r"messages\[0\] is of type bytes.*Decode"),
        ([some_agent], r"messages\[0\] is of type MiniAgent.*inquire"),
        ([{1: "x"}], r"messages\[0\] is a dict with the key 1"),
        ([async_generator], "Call the generator function"),
        ([Message], "no message"),
        (lambda: coroutine(), "Await it"),
    ],
)
async def test_what_is_no_message_is_refused_where_it_is_passed(value: Any, said: str) -> None:
    """Anything else is a `TypeError` that says where it stood and what it was, raised by the call that passed it."""
    if callable(value) and said == "Await it":
        value = value()
    sequence = MessageSequence()
    sequence.message_appender.open()
    for passed_to in (to_sequence, sequence.message_appender.append):
        with pytest.raises(TypeError, match=said):
            passed_to(value)
        if asyncio.iscoroutine(value):
            break
    sequence.message_appender.append("ok").close()
    assert await sequence.sequence_promise == (Message("ok"),)


async def test_nothing_is_added_when_something_is_refused() -> None:
    """A call that is refused adds nothing, not even the messages before the bad one."""
    sequence = MessageSequence()
    with sequence.message_appender as appender:
        appender.append("before")
        with pytest.raises(TypeError):
            appender.append(["half", 5])
        appender.append("after")
    assert [m.text for m in await sequence.sequence_promise] == ["before", "after"]


def test_something_bad_in_an_async_iterable_is_an_error_at_its_place() -> None:
    """An async iterable is read later, so what is no message in it is raised where a reader reaches it."""

    async def bad() -> AsyncIterator[Any]:
        yield "good"
        yield 5

    async def scenario() -> None:
        async with PromisingContext():
            settled = await to_sequence(bad()).settled()
            assert settled[0] == Message("good")
            assert isinstance(settled[1], TypeError)
            assert len(settled) == 2

    run_virtual(scenario)


async def test_iterating_gives_promises_and_awaiting_gives_messages() -> None:
    """`async for` gives `MessagePromise`s, `await` a plain tuple of messages, any number of times."""
    sequence = to_sequence(["a", Message("b")])
    for _ in range(2):
        assert [await promise async for promise in sequence] == [Message("a"), Message("b")]
        assert await sequence == (Message("a"), Message("b"))
        assert type(await sequence.aresolve()) is tuple


@miniagent
async def forwarder(ctx: InteractionContext) -> None:
    ctx.reply(ctx.message_promises)


@miniagent
async def hasty(ctx: InteractionContext) -> None:
    ctx.reply_out_of_order(ctx.message_promises)


@pytest.mark.parametrize("agent", [forwarder, hasty])
async def test_a_message_that_was_sent_has_one_promise(agent: Any) -> None:
    """All readers get the same promise of a message, before and behind an agent, also if it was given as a message."""
    async with MiniAgents():
        sent = to_sequence([Message("one"), Message("two", role="user")])
        arrived = agent.inquire(sent)
        behind = [promise async for promise in arrived]
        assert [await promise for promise in behind] == [Message("one"), Message("two", role="user")]
        for sequence in (arrived, sent):
            again = [promise async for promise in sequence]
            assert len(again) == 2
            assert all(one is other for one, other in zip(again, behind, strict=True))


@pytest.mark.parametrize("last", [[], [Message("last").as_promise], [to_sequence(["last"])], [ValueError("last")]])
async def test_a_long_history_does_not_hold_the_loop(last: list[Any]) -> None:
    """Others get turns while a history is awaited that was given in a list, whatever stands at its end."""
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with MiniAgents():
        message = Message("again and again")
        history = to_sequence([message] * 50_000 + last)
        beside = asyncio.create_task(other())
        settled = await history.settled() if last and isinstance(last[0], ValueError) else await history
        beside.cancel()
        assert turns >= 2
        assert settled[:50_000] == (message,) * 50_000
        assert [str(one) for one in settled[50_000:]] == ["last"] * len(last)


def test_the_handlers_hear_of_a_message_when_it_is_sent_and_not_when_it_is_read() -> None:
    """Of each message that is given where handlers are they hear once, and of none that was given elsewhere."""
    sent_before = to_sequence([Message("before"), "as a text"])
    heard: list[tuple[MessagePromise, Message]] = []

    async def handler(promise: Promise[Any], outcome: Any) -> None:
        if isinstance(promise, MessagePromise):
            heard.append((promise, outcome))

    async def scenario() -> None:
        async with PromisingContext(on_promise_resolved=handler) as context:
            assert len([promise async for promise in sent_before]) == 2
            sent = to_sequence([Message("one"), [Message("two", role="user")]])
            await context.aflush_tasks()
            assert len(heard) == 2
            assert dict(heard) == {promise: await promise async for promise in sent}
        assert len(heard) == 2

    run_virtual(scenario)


def test_an_exception_among_messages_is_raised_at_its_place() -> None:
    """An exception may be sent; readers get what was before it, then the exception; `settled` gives all there is."""
    error = ValueError("sent")

    async def scenario() -> None:
        async with PromisingContext():
            sequence: MessageSequencePromise = to_sequence(["before", error, "after"])
            reader = aiter(sequence)
            assert str(await anext(reader)) == "before"
            with pytest.raises(ValueError, match="sent") as caught:
                await anext(reader)
            assert caught.value is error
            with pytest.raises(StopAsyncIteration):
                await anext(reader)
            with pytest.raises(ValueError, match="sent"):
                await sequence
            assert await sequence.settled() == (Message("before"), error, Message("after"))

    run_virtual(scenario)


def test_an_exception_may_arrive_as_a_message() -> None:
    """With `errors_as_messages` an exception that was sent is an `ErrorMessage`, and what follows is read as well."""

    async def scenario() -> Any:
        async with MiniAgents(errors_as_messages=True):
            return await to_sequence(["before", ValueError("sent"), "after"])

    assert run_virtual(scenario) == (
        Message("before"),
        ErrorMessage(text="ValueError: sent", error_type="ValueError"),
        Message("after"),
    )


def test_a_message_sequence_works_in_a_bare_context() -> None:
    """`MessageSequence` needs no more than a `PromisingContext`: by appender or by an incoming streamer."""

    async def incoming(promise: Any) -> AsyncIterator[Any]:
        yield ["x", {"text": "y"}]

    async def scenario() -> None:
        async with PromisingContext():
            sequence = MessageSequence()
            with sequence.message_appender as appender:
                assert appender.append("a") is appender
                appender.append(["b", ["c"]])
            with pytest.raises(AppenderClosedError):
                appender.append("late")
            assert await texts_of(sequence.sequence_promise) == ["a", "b", "c"]
            assert await texts_of(MessageSequence(incoming_streamer=incoming).sequence_promise) == ["x", "y"]
            capturing = MessageSequence(appender_capture_errors=True)
            with capturing.message_appender as appender:
                appender.append("said")
                raise ValueError("captured")
            settled = await capturing.sequence_promise.settled()
            assert settled[0] == Message("said")
            assert isinstance(settled[1], ValueError)

    run_virtual(scenario)


async def test_a_hundred_thousand_nested_lists() -> None:
    """Lists nested a hundred thousand deep are one message like any other."""
    deep: Any = "bottom"
    for _ in range(100_000):
        deep = [deep]
    assert await texts_of(deep) == ["bottom"]


def test_a_list_that_contains_itself_is_refused() -> None:
    """A collection that contains itself is a `ValueError` that says where."""
    ring: list[Any] = ["x"]
    ring.append(ring)
    with pytest.raises(ValueError, match=r"messages\[1\] contains itself"):
        to_sequence(ring)


def test_a_sequence_can_stand_in_a_text_once_it_was_awaited() -> None:
    """`str` of an awaited sequence is the texts of its messages; before that it is an error that says to await it."""

    async def scenario() -> None:
        async with PromisingContext():
            sequence = to_sequence(["one", "two"])
            with pytest.raises(UnresolvedPromiseError, match="is not known before it was awaited: `await` it first"):
                f"{sequence}"
            await sequence
            assert f"{sequence}" == "one\n\ntwo"
            assert repr(sequence) == "<MessageSequencePromise resolved>"

    run_virtual(scenario)


def test_likely_slips_are_answered() -> None:
    """What a beginner forgets gets an error that says what to write."""
    with pytest.raises(TypeError, match=r"`content`.*`text`"):
        to_sequence([{"role": "user", "content": "Hello"}])
    for attribute, value in (("text", Message("x").as_promise), ("text", to_sequence("x"))):
        with pytest.raises(AttributeError, match="await") as caught:
            getattr(value, attribute)
        assert caught.value.obj is None  # or Python would add `Did you mean: '_texts'?`
    with pytest.raises(TypeError, match="alias='name'"):
        miniagent("name")  # type: ignore[call-overload]


async def test_a_flat_sequence_of_messages_gives_promises_however_it_is_read() -> None:
    """What a flat stream of sequences of messages gives does not depend on who has read those before."""

    async def nested(_: object) -> AsyncIterator[Any]:
        yield given

    async with MiniAgents():
        given = MessageSequence.turn_into_sequence_promise([Message("a"), Message("b")])
        awaited = await FlatSequence[Any](nested).sequence_promise
        iterated = [item async for item in FlatSequence[Any](nested).sequence_promise]
        assert awaited == tuple(iterated)
        assert [str(promise) for promise in awaited] == ["a", "b"]
        assert all(isinstance(promise, MessagePromise) for promise in awaited)


def test_a_history_keeps_no_context() -> None:
    """Messages that outlive a context do not keep it, though they were iterated over in it."""
    history = MessageSequence.turn_into_sequence_promise([Message("a"), Message("b")])

    async def read() -> list[str]:
        return [str(promise) async for promise in history]

    context = MiniAgents()
    assert context.run(read()) == ["a", "b"]
    gone = weakref.ref(context)
    del context
    gc.collect()
    assert gone() is None


async def test_a_message_sequence_may_convert_its_pieces() -> None:
    """A subclass that overrides `_convert` decides what a piece is, as one of `FlatSequence` does."""

    class Loud(MessageSequence):
        def _convert(self, value: Any) -> Any:
            return value.upper()

    async def streamer(_: object) -> AsyncIterator[str]:
        yield "a"

    async with MiniAgents():
        assert [str(message) for message in await Loud(incoming_streamer=streamer).sequence_promise] == ["A"]
