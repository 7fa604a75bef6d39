"""Messages and their promises."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from pydantic import Field, ValidationError

from miniagents import ErrorMessage, Frozen, Message, MessagePromise, MiniAgents
from miniagents.promising import PromisingContext, StreamAppender, UnresolvedPromiseError
from miniagents.testing.virtual_time import run_virtual


class Titled(Message):
    """A message that needs a title."""

    title: str


async def three_tokens(metadata: dict[str, Any]) -> AsyncIterator[str]:
    for token in ("one ", "two ", "three"):
        await asyncio.sleep(1)
        yield token
    metadata["finish_reason"] = "stop"


def test_a_message_shows_what_was_given() -> None:
    """`repr` shows the class and what was given, in that order; `str` is the text."""
    message = Message("Hello", role="user", n=1)
    assert repr(message) == "Message(text='Hello', role='user', n=1)"
    assert str(message) == "Hello"
    assert repr(Message(role="user")) == "Message(role='user')"
    assert repr(Titled(text="x", title="t")) == "Titled(text='x', title='t')"
    assert Message("by position") == Message(text="by position")


def test_a_message_without_a_text_is_its_json() -> None:
    """Without text and template, `str` is the JSON of what was given."""
    assert str(Message(a=1, b=["é"])) == '{"a": 1, "b": ["é"]}'


def test_a_template_is_filled_with_the_messages_own_plain_fields() -> None:
    """`text_template` may name plain fields; doubled braces are braces; the text goes first if there is one."""
    assert str(Message(text_template="{n} of {name} {{x}}", n=3, name="Ada")) == "3 of Ada {x}"
    assert str(Message("text", text_template="{missing}")) == "text"
    assert str(Message(text_template="{a}{a}", a="{b}", b="no")) == "{b}{b}"


@pytest.mark.parametrize(
    "template",
    [
        "{missing}",
        "{name.__class__}",
        "{name[0]}",
        "{name!r}",
        "{name:>300000000}",
        "{}",
        "{0}",
        "{nested}",
        "{text_template}",
        "{",
    ],
)
def test_a_template_that_reaches_for_more_is_refused(template: str) -> None:
    """A template with anything but names of the message's own plain fields is a `ValueError` when the message is made."""
    with pytest.raises(ValueError, match=r"text_template|brace|expected|Single|field"):
        Message(text_template=template, name="x", nested={"a": 1})


def test_a_template_does_not_grow_beyond_bounds() -> None:
    """Fields may add ten million characters to a template, and a longer text is refused when the message is made."""
    assert len(str(Message(text_template="{a}" * 10, a="x" * 1_000_000))) == 10_000_000
    with pytest.raises(ValueError, match="more than 10,000,000 characters"):
        Message(text_template="{a}" * 10 + "{b}", a="x" * 1_000_000, b="x")


def test_bad_fields_are_refused_at_once() -> None:
    """A text that is no text, a missing declared field and a text given twice are errors when the message is made."""
    with pytest.raises(ValidationError):
        Message(text=5)
    with pytest.raises(ValidationError):
        Titled(text="x")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="twice"):
        Message("a", text="b")


def test_sub_messages_come_before_those_that_contain_them() -> None:
    """`sub_messages` finds messages anywhere inside, the innermost first, and not the message itself."""
    inner = Message("inner")
    middle = Message("middle", parts=[inner])
    outer = Message("outer", data={"list": [[middle]]}, other=inner)
    assert [message.text for message in outer.sub_messages()] == ["inner", "middle", "inner"]
    assert list(inner.sub_messages()) == []


def test_a_streamed_message_is_read_while_it_is_written() -> None:
    """Tokens arrive when they are made; the class and the metadata are known before; the whole has the late metadata."""

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        async with PromisingContext():
            promise = Message.promise(three_tokens, role="assistant", model="m")
            assert promise.message_class is Message
            assert promise.preliminary_metadata.role == "assistant"
            assert promise.preliminary_metadata["model"] == "m"
            times = [(token, loop.time()) async for token in promise]
            assert times == [("one ", 1.0), ("two ", 2.0), ("three", 3.0)]
            message = await promise
            assert message == Message("one two three", role="assistant", model="m", finish_reason="stop")
            assert await promise is message
            assert [token async for token in promise] == ["one ", "two ", "three"]

    run_virtual(scenario)


def test_whether_a_message_was_sent_whole() -> None:
    """`sent_whole` is the message if it never had a streamer, read or not, and `None` for a streamed one, even at its end."""

    async def scenario() -> None:
        async with PromisingContext():
            message = Message("all of it")
            whole, streamed = message.as_promise, Message.promise(three_tokens)
            assert whole.sent_whole is message
            assert [token async for token in whole] == ["all of it"]
            assert whole.sent_whole is message
            await streamed
            assert streamed.sent_whole is None

    run_virtual(scenario)


async def test_a_message_that_was_sent_whole_streams_as_one_token() -> None:
    """A resolved promise of a message needs no context; its text is one token."""
    message = Message("all of it", role="user")
    promise = message.as_promise
    assert [token async for token in promise] == ["all of it"]
    assert [token async for token in promise] == ["all of it"]
    assert await promise is message
    assert promise.preliminary_metadata.role == "user"
    assert "text" not in promise.preliminary_metadata
    assert await Message.promise(text="x", role="y") == Message("x", role="y")


def test_only_a_resolved_promise_can_stand_in_a_text() -> None:
    """`str` of a resolved promise is the text; of an unresolved one an error that says to await it; `repr` is safe."""

    async def scenario() -> None:
        async with PromisingContext():
            promise = Message.promise(three_tokens)
            with pytest.raises(UnresolvedPromiseError, match="await"):
                str(promise)
            with pytest.raises(UnresolvedPromiseError):
                f"{promise}"
            assert repr(promise) == "<MessagePromise pending>"
            await promise
            assert f"{promise}" == "one two three"
        assert f"{Message('x').as_promise}" == "x"

    run_virtual(scenario)


async def takes_nothing() -> AsyncIterator[str]:
    yield "x"


def not_async(metadata: dict[str, Any]) -> Iterator[str]:
    yield "x"


async def returns(metadata: dict[str, Any]) -> str:
    return "x"


@pytest.mark.parametrize(
    ("streamer", "problem"),
    [(takes_nothing, "takes 0 positional arguments"), (not_async, "a generator"), (returns, "a coroutine")],
)
@pytest.mark.filterwarnings("error")
def test_what_is_no_streamer_is_an_error_that_says_what_one_is(streamer: Any, problem: str) -> None:
    """A streamer without its parameter, without `async` or without `yield` is told how one is written."""

    async def scenario() -> None:
        async with PromisingContext():
            with pytest.raises(
                TypeError, match=rf"`async def {streamer.__name__}\(metadata\)` with `yield`: .*{problem}"
            ):
                await Message.promise(streamer)

    run_virtual(scenario)


def test_a_type_error_of_a_streamer_is_its_own() -> None:
    """What a streamer that is called as it should be raises is raised as it is."""

    def fails(metadata: dict[str, Any]) -> AsyncIterator[str]:
        raise TypeError("mine")

    async def scenario() -> None:
        async with PromisingContext():
            with pytest.raises(TypeError, match=r"^mine$"):
                await Message.promise(fails)

    run_virtual(scenario)


def test_a_stream_that_breaks_off_keeps_what_was_said() -> None:
    """Tokens before an error are read; then the error is raised at its place, and by awaiting."""

    async def breaking(metadata: dict[str, Any]) -> AsyncIterator[str]:
        yield "so far"
        raise ConnectionError("cut")

    async def scenario() -> None:
        async with PromisingContext():
            promise = Message.promise(breaking)
            tokens = aiter(promise)
            assert await anext(tokens) == "so far"
            with pytest.raises(ConnectionError):
                await anext(tokens)
            with pytest.raises(ConnectionError):
                await promise
            with pytest.raises(ConnectionError):
                str(promise)

    run_virtual(scenario)


def test_errors_may_arrive_as_messages() -> None:
    """With `errors_as_messages` a broken message resolves to an `ErrorMessage` with what was said and what went wrong."""

    async def breaking(metadata: dict[str, Any]) -> AsyncIterator[str]:
        yield "so far"
        raise ConnectionError("cut")

    async def scenario() -> Message:
        async with MiniAgents(errors_as_messages=True):
            promise = Message.promise(breaking, role="assistant")
            tokens = [token async for token in promise]
            message = await promise
            assert "".join(tokens) == str(message)
            return message

    message = run_virtual(scenario)
    assert isinstance(message, ErrorMessage)
    assert message == ErrorMessage(
        text="so far\n\nConnectionError: cut", error_type="ConnectionError", role="assistant"
    )


def test_a_subclass_is_known_before_its_text_and_validated_at_the_end() -> None:
    """`Titled.promise` resolves to a `Titled`; a declared field that is still missing then is an error for the reader."""

    async def with_title(metadata: dict[str, Any]) -> AsyncIterator[str]:
        yield "text"
        metadata["title"] = "late"

    async def scenario() -> Message:
        async with PromisingContext():
            assert Titled.promise(with_title).message_class is Titled
            with pytest.raises(ValidationError):
                await Titled.promise(three_tokens)
            return await Titled.promise(with_title)

    assert run_virtual(scenario) == Titled(text="text", title="late")


async def test_tokens_are_text_and_streamers_are_callables() -> None:
    """A token that is no `str` is a `TypeError` at its place; a streamer that is none is refused at once."""

    async def bad(metadata: dict[str, Any]) -> AsyncIterator[Any]:
        yield "good"
        yield 5

    async with PromisingContext():
        tokens = aiter(Message.promise(bad))
        assert await anext(tokens) == "good"
        with pytest.raises(TypeError, match="5"):
            await anext(tokens)
    with pytest.raises(TypeError, match="streamer"):
        Message.promise("text by mistake")  # type: ignore[arg-type]


async def test_tokens_may_be_appended() -> None:
    """A `StreamAppender` is a token streamer too, with the tokens that it has already and those to come."""
    appender: StreamAppender[str] = StreamAppender()
    with appender:
        appender.append("a").append("b")
        promise: MessagePromise = Message.promise(appender, role="user")
        appender.append("c")
    assert await promise == Message("abc", role="user")


async def test_metadata_of_a_stream_is_checked_and_frozen_at_once() -> None:
    """Metadata that cannot be frozen, or a text beside the streamer, is refused by the call; later changes are not seen."""
    tags = ["a"]
    promise = Message.promise(three_tokens, tags=tags, cls=1, self=2)
    tags.append("later")
    assert promise.preliminary_metadata == Frozen(tags=("a",), cls=1, self=2)
    with pytest.raises(TypeError, match="object"):
        Message.promise(three_tokens, tags=object())
    with pytest.raises(TypeError, match="streamer"):
        Message.promise(three_tokens, text="x")


async def test_appended_tokens_are_checked_where_they_are_appended() -> None:
    """A token that is no `str` is refused by `append`, and by `Message.promise` if it is there already."""
    appender: StreamAppender[Any] = StreamAppender()
    promise = Message.promise(appender)
    with appender:
        appender.append("x")
        with pytest.raises(TypeError, match="5"):
            appender.append(5)
    assert str(await promise) == "x"
    with pytest.raises(TypeError, match="5"):
        Message.promise(StreamAppender().open().append(5))


def test_a_message_that_cannot_be_made_may_arrive_as_a_message_too() -> None:
    """With `errors_as_messages` a streamed message that lacks a declared field at its end is an `ErrorMessage`."""

    async def scenario() -> Message:
        async with MiniAgents(errors_as_messages=True):
            return await Titled.promise(three_tokens)

    message = run_virtual(scenario)
    assert isinstance(message, ErrorMessage)
    assert message.error_type == "ValidationError"


class Greeting(Message):
    """A message whose class knows something already."""

    role: str = "assistant"
    tags: list[str] = Field(default_factory=lambda: ["polite"])
    note: str | None = None


async def test_the_defaults_of_its_class_are_known_before_the_text() -> None:
    """`preliminary_metadata` has the declared defaults too, for streamed and for whole messages; only what is known."""
    for promise in (Greeting.promise(three_tokens, model="m"), Greeting("hi", model="m").as_promise):
        assert promise.preliminary_metadata == Frozen(role="assistant", tags=("polite",), model="m")
    assert repr(Greeting("hi", model="m")) == "Greeting(text='hi', model='m')"
