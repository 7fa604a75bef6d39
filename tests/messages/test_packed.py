"""What is kept of the tokens of a finished message."""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from miniagents import Message, MiniAgents
from miniagents.messages.packed import PackedText
from miniagents.promising import StreamAppender
from miniagents.testing import run_virtual

TOKENS = st.lists(st.text(max_size=5), max_size=30)


@given(TOKENS, st.integers(-40, 40), st.slices(30))
def test_packed_tokens_are_a_sequence_of_the_same_tokens(tokens: list[str], index: int, part: slice) -> None:
    """What a list of tokens gives for an index, a slice, a length and a loop, the packed ones give as well."""
    packed = PackedText(tokens)
    assert packed.text == "".join(tokens)
    assert list(packed) == tokens
    assert len(packed) == len(tokens)
    assert packed[part] == tokens[part]
    if -len(tokens) <= index < len(tokens):
        assert packed[index] == tokens[index]


def streamed(tokens: list[str]) -> Any:
    async def streamer(_: dict[str, Any]) -> AsyncIterator[str]:
        for token in tokens:
            yield token

    return streamer


@given(TOKENS, st.booleans())
def test_late_readers_get_the_tokens_as_they_came(tokens: list[str], by_appender: bool) -> None:
    """A finished message is read again token by token, with the same tokens, however often and whoever wrote it."""

    async def main() -> None:
        async with MiniAgents():
            if by_appender:
                appender: StreamAppender[str] = StreamAppender()
                promise = Message.promise(appender)
                with appender:
                    for token in tokens:
                        appender.append(token)
            else:
                promise = Message.promise(streamed(tokens))
            assert await promise == Message("".join(tokens))
            for _ in range(2):
                assert [token async for token in promise] == tokens

    run_virtual(main)


def test_a_reader_inside_goes_on_when_the_message_is_finished() -> None:
    """A reader that has taken some tokens when the last one comes gets the others too, and a longer text than one turn's."""
    tokens = [f"{number} " for number in range(5000)]

    async def main() -> None:
        async with MiniAgents():
            promise = Message.promise(streamed(tokens))
            inside = aiter(promise)
            got = [await anext(inside) for _ in range(1500)]
            await promise
            late = [token async for token in promise]
            got += [token async for token in inside]
            assert got == late == tokens

    run_virtual(main)


def test_a_finished_message_is_its_text_in_memory() -> None:
    """When nobody is reading, a message of many tokens keeps its text and a few bytes for each token."""
    count = 10_000

    def kept() -> int:
        gc.collect()
        return sys.getallocatedblocks()

    async def main() -> None:
        async with MiniAgents():
            promise = Message.promise(streamed_lazily())
            async for _ in promise:
                pass
            await asyncio.sleep(1)
            after = kept()
            message = await promise
            assert len(message.text or "") > 3 * count
            assert after - before < count / 10  # each token is a block of its own

    def streamed_lazily() -> Any:
        async def streamer(_: dict[str, Any]) -> AsyncIterator[str]:
            for number in range(count):
                yield f"{number} "  # an object that nobody else keeps

        return streamer

    before = kept()
    run_virtual(main)


def test_the_text_is_there_once() -> None:
    """The message and what is kept of its tokens share one text."""

    async def main() -> None:
        async with MiniAgents():
            promise = Message.promise(streamed(["Hello, ", "world!"]))
            message = await promise
            packed = promise._log.items
            assert isinstance(packed, PackedText)
            assert packed.text is message.text

    run_virtual(main)


async def test_what_an_appender_has_said_already_takes_no_more_room() -> None:
    """A message that is made from an appender which is closed is packed at once, and read token by token as it came."""
    appender: StreamAppender[str] = StreamAppender()
    with appender:
        appender.append("a ").append("b")
    promise = Message.promise(appender)
    assert isinstance(promise._log.items, PackedText)
    assert [token async for token in promise] == ["a ", "b"]
    assert await promise == Message("a b")
