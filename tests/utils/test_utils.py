"""Joining, splitting, loops."""

import asyncio
import contextlib
import gc
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniagents import (
    AWAIT,
    CLEAR,
    EndOfDialog,
    InteractionContext,
    Message,
    MiniAgents,
    achain_loop,
    adialog_loop,
    join_messages,
    miniagent,
    split_messages,
)
from miniagents.testing.virtual_time import run_virtual


def in_context(function: Any) -> Any:
    """Run an async function in a `MiniAgents()` on the virtual-time loop."""

    async def main() -> Any:
        async with MiniAgents():
            return await function()

    return run_virtual(main)


def streamed(tokens: list[Any], pause: float = 1) -> Any:
    async def streamer(metadata: dict[str, Any]) -> AsyncIterator[str]:
        for token in tokens:
            await asyncio.sleep(pause)
            yield token

    return Message.promise(streamer)


@miniagent
async def failing(ctx: InteractionContext) -> None:
    raise ConnectionError("cut")


# ---------------------------------------------------------------------- join


@given(
    texts=st.lists(st.text(alphabet="ab\n"), max_size=5),
    delimiter=st.text(alphabet="\n-", max_size=3),
    strip=st.booleans(),
)
def test_joining_is_what_str_join_does(texts: list[str], delimiter: str, strip: bool) -> None:
    """The text of the joined message is the texts with the delimiter between them, stripped in front if wanted."""
    joined = in_context(lambda: join_messages(texts, delimiter, strip_leading_newlines=strip))
    assert joined.text == delimiter.join(text.lstrip("\n") if strip else text for text in texts)


def test_joining_streams_through() -> None:
    """Tokens of the messages come out of the joined one when they are made."""

    async def main() -> list[Any]:
        loop = asyncio.get_running_loop()
        joined = join_messages([streamed(["a", "b"]), "c", streamed(["d", "e"], pause=2)], delimiter="-")
        return [(token, loop.time()) async for token in joined]

    assert in_context(main) == [("a", 1), ("b", 2), ("-", 2), ("c", 2), ("-", 2), ("d", 2), ("e", 4)]


def test_the_joined_message_refers_to_the_originals() -> None:
    """The originals are kept unless that is not wanted; metadata becomes fields."""
    parts = [Message("a", role="user"), Message("b")]
    joined = in_context(lambda: join_messages(parts, role="assistant"))
    assert joined.original_messages == tuple(parts)
    assert joined.role == "assistant"
    plain = in_context(lambda: join_messages(parts, reference_original_messages=False))
    assert "original_messages" not in plain


def test_an_error_among_joined_messages_is_raised_at_its_place() -> None:
    """The text before an error is streamed, then the error is raised."""

    async def main() -> list[str]:
        tokens: list[str] = []
        with pytest.raises(ValueError, match="in between"):
            async for token in join_messages(["a", ValueError("in between"), "b"]):
                tokens.append(token)
        return tokens

    assert in_context(main) == ["a"]


async def test_who_joins_messages_has_read_an_error_among_them(caplog: pytest.LogCaptureFixture) -> None:
    """An error that is read in a joined message is not reported by the context of the messages that were joined."""
    async with MiniAgents():
        messages = failing.inquire()
        async with MiniAgents():
            with pytest.raises(ConnectionError, match="cut"):
                await join_messages(messages)
    assert not caplog.records


async def test_joining_messages_again_makes_no_traceback_longer() -> None:
    """However often messages are joined, an error among them is raised with the same traceback."""
    lengths = []
    async with MiniAgents():
        messages = failing.inquire()
        for _ in range(3):
            with pytest.raises(ConnectionError) as caught:
                await join_messages(messages)
            lengths.append(len(caught.traceback))
    assert len(set(lengths)) == 1, lengths


# ---------------------------------------------------------------------- split


def reference_split(text: str, delimiter: str, fence: str | None) -> list[str]:
    """The rules of splitting in their plainest form, on a text that is there as a whole."""
    parts, part, inside, index = [], "", False, 0
    while index < len(text):
        if fence and text.startswith(fence, index):
            part, inside, index = part + fence, not inside, index + len(fence)
        elif not inside and text.startswith(delimiter, index):
            parts, part, index = [*parts, part], "", index + len(delimiter)
        else:
            part, index = part + text[index], index + 1
    return [part for part in [*parts, part] if part]


@given(
    text=st.text(alphabet="ab\n`-", max_size=40),
    cuts=st.lists(st.integers(0, 40), max_size=8),
    delimiter=st.sampled_from(["\n\n", "\n", "--", "-\n-", "`\n", "aab"]),
    fence=st.sampled_from(["```", "`", "-\n", None]),
)
def test_any_chunking_gives_the_same_parts(text: str, cuts: list[int], delimiter: str, fence: str | None) -> None:
    """However a text is cut into tokens, its parts are those that the plain rules give for the whole text."""
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    tokens = [text[start:end] for start, end in itertools.pairwise(edges)]
    parts = in_context(lambda: split_messages(streamed(tokens, pause=0), delimiter, fence))
    assert [part.text for part in parts] == reference_split(text, delimiter, fence)


def test_a_fenced_code_block_stays_one_message() -> None:
    """Blank lines inside a code block do not split it; the text around it is split as ever."""
    text = "Intro\n\n```python\na = 1\n\nb = 2\n```\n\nOutro\n\nEnd"
    parts = in_context(lambda: split_messages(text, role="user"))
    assert [part.text for part in parts] == ["Intro", "```python\na = 1\n\nb = 2\n```", "Outro", "End"]
    assert all(part.role == "user" for part in parts)


def test_parts_stream_while_they_arrive() -> None:
    """The first part is read while the rest of the text is not there, token by token."""

    async def main() -> list[Any]:
        loop = asyncio.get_running_loop()
        parts = split_messages(streamed(["He", "llo\n", "\nwor", "ld"]))
        return [[(token, loop.time()) async for token in part] async for part in parts]

    assert in_context(main) == [[("He", 1), ("llo", 2)], [("wor", 3), ("ld", 4)]]


def test_an_error_in_the_text_ends_the_part_that_it_interrupts() -> None:
    """Complete parts stay; the part in which the stream breaks has its text so far and then the error."""

    async def breaking(metadata: dict[str, Any]) -> AsyncIterator[str]:
        yield "one\n\ntw"
        raise ConnectionError("cut")

    async def main() -> Any:
        parts = split_messages(Message.promise(breaking))
        tokens: list[str] = []
        reader = aiter(parts)
        assert str(await (await anext(reader))) == "one"
        with pytest.raises(ConnectionError):
            async for token in await anext(reader):
                tokens.append(token)
        return tokens

    assert in_context(main) == ["tw"]


def test_what_is_there_at_once_is_one_token() -> None:
    """Of a text that is there already each part is sent whole, however it was cut; a part that is not complete streams."""

    async def main() -> Any:
        text = streamed(["On", "e", "\n", "\nT", "wo", "\n\n", "Thr", "ee"], pause=0)
        await text
        return [[token async for token in part] async for part in split_messages(text, role="user")]

    assert in_context(main) == [["One"], ["Two"], ["Three"]]


def test_a_part_ends_when_the_next_message_is_there() -> None:
    """The end of a message is the end of a part as soon as there is a next message, before its text."""

    async def main() -> Any:
        loop = asyncio.get_running_loop()
        times: list[Any] = []
        async for part in split_messages(["one", streamed(["two"], pause=5)]):
            times.append((str(await part), loop.time()))
        return times

    assert in_context(main) == [("one", 0), ("two", 5)]


def test_joining_and_splitting_that_fails_leaves_no_cycle() -> None:
    """An error among the messages leaves nothing to the garbage collector, whatever was made of them."""

    async def fails(make: Any) -> None:
        with contextlib.suppress(ConnectionError):
            await make()
            raise AssertionError

    async def main() -> None:
        for make in (
            lambda: join_messages([streamed(["a"]), "b", ConnectionError("cut")]),
            lambda: join_messages([streamed(["a", ConnectionError("cut")])]),
            lambda: split_messages(["a", "b\n\nc", ConnectionError("cut")]),
            lambda: split_messages(streamed(["a\n\nb", ConnectionError("cut")])),
        ):
            async with MiniAgents():
                await fails(make)
            gc.collect()
            gc.disable()
            try:
                async with MiniAgents():
                    await fails(make)
                assert gc.collect() == 0
            finally:
                gc.enable()

    run_virtual(main)


def test_an_empty_delimiter_is_refused() -> None:
    """There is no place to split at: a `ValueError` of the call itself."""
    with pytest.raises(ValueError, match="delimiter"):
        split_messages("x", "")


# ---------------------------------------------------------------------- loops


def counting_user(turns: int, heard: list[list[str]]) -> Any:
    """A user who notes what it hears, and ends the dialog after some turns."""

    @miniagent
    async def user(ctx: InteractionContext) -> None:
        heard.append([str(message) for message in await ctx.message_promises])
        if len(heard) > turns:
            raise EndOfDialog
        ctx.reply(f"question {len(heard)}")

    return user


@miniagent
async def assistant(ctx: InteractionContext) -> None:
    async for promise in ctx.message_promises:
        ctx.reply(f"answer to {await promise}")


def test_a_dialog_goes_on_until_the_user_ends_it() -> None:
    """`adialog_loop` opens a context of its own, passes messages to and fro, and returns when the dialog is ended."""
    heard: list[list[str]] = []
    run_virtual(lambda: adialog_loop(user_agent=counting_user(2, heard), assistant_agent=assistant))
    assert heard == [[], ["answer to question 1"], ["answer to question 2"]]


def test_the_assistants_tokens_reach_the_user_while_they_are_made() -> None:
    """The user agent is called while the assistant still speaks."""
    times: list[Any] = []

    @miniagent
    async def speaker(ctx: InteractionContext) -> None:
        ctx.reply(streamed(["a", "b"]))

    @miniagent
    async def user(ctx: InteractionContext) -> None:
        async for promise in ctx.message_promises:
            async for token in promise:
                times.append((token, asyncio.get_running_loop().time()))
        if times:
            raise EndOfDialog
        ctx.reply("hi")

    run_virtual(lambda: adialog_loop(user, speaker))
    assert times == [("a", 1), ("b", 2)]


def test_everything_a_chain_can_be_made_of() -> None:
    """Agents, sync and async callables, AWAIT, CLEAR and None are links; the initial input goes to the first."""
    heard: list[list[str]] = []

    async def shout(messages: Any) -> list[str]:
        return [str(message).upper() for message in await messages]

    async def main() -> None:
        await achain_loop(
            [
                None,
                assistant,
                shout,
                lambda messages: [messages, "!"],
                counting_user(0, first := []),
                AWAIT,
            ],
            initial_input=["a", "b"],
        )
        heard.extend(first)
        cleared: list[list[str]] = []
        await achain_loop([assistant, CLEAR, counting_user(0, cleared), AWAIT], initial_input="forgotten")
        heard.extend(cleared)

    in_context(main)
    assert heard == [["ANSWER TO A", "ANSWER TO B", "!"], []]


@pytest.mark.parametrize(
    ("chain", "error", "said"),
    [
        ([assistant], ValueError, "AWAIT"),
        ([], ValueError, "AWAIT"),
        ([AWAIT, None], ValueError, "no agent"),
        ([AWAIT, 5], TypeError, "not of 5"),
    ],
)
def test_a_chain_that_cannot_work_is_refused(chain: list[Any], error: type[Exception], said: str) -> None:
    """A chain without AWAIT, without agents, or with something else in it is a clear error before anything runs."""
    with pytest.raises(error, match=said):
        run_virtual(lambda: achain_loop(chain))


@pytest.mark.parametrize("kind", [KeyboardInterrupt, EOFError, ValueError])
def test_other_errors_come_out_of_the_loop(kind: type[BaseException]) -> None:
    """What a user agent raises itself, an `EOFError` of `input()` too, is raised to whoever runs the loop."""

    @miniagent
    async def user(ctx: InteractionContext) -> None:
        raise kind

    with pytest.raises(kind):
        run_virtual(lambda: adialog_loop(user, assistant))


def test_a_dialog_ends_also_where_errors_are_messages() -> None:
    """The end of a dialog is no error, so `errors_as_messages` does not turn it into a message."""
    heard: list[list[str]] = []
    run_virtual(lambda: MiniAgents(errors_as_messages=True).arun(adialog_loop(counting_user(1, heard), assistant)))
    assert len(heard) == 2


def test_a_ring_that_never_waits_does_not_hold_the_loop() -> None:
    """A chain in which everything is there at once can be stopped from outside."""

    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await achain_loop([lambda messages: "x", AWAIT])
        return asyncio.get_running_loop().time()

    assert run_virtual(main) == 0.0


def test_a_long_text_is_split_in_portions() -> None:
    """Splitting one big token lets other tasks have their turn."""

    async def main() -> int:
        async with MiniAgents() as context:
            parts = context.start_asap(split_messages("a\n\n" * 5000))
            turns = 0
            while not parts.done():
                await asyncio.sleep(0)
                turns += 1
            assert len(await parts) == 5000
            return turns

    assert run_virtual(main) >= 10


def test_wrong_arguments_of_join_and_split_are_refused_by_the_call() -> None:
    """A delimiter that is no text, and a text beside the text, are `TypeError`s of the call itself."""
    for function, arguments in (
        (join_messages, {"delimiter": None}),
        (join_messages, {"delimiter": 5}),
        (join_messages, {"text": "y"}),
        (split_messages, {"delimiter": None}),
        (split_messages, {"delimiter": 5}),
        (split_messages, {"code_block_delimiter": 5}),
        (split_messages, {"text": "y"}),
    ):
        with pytest.raises(TypeError):
            function("x", **arguments)  # type: ignore[arg-type]


def test_a_dialog_needs_two() -> None:
    """`adialog_loop` with nothing in the place of an agent is refused."""
    with pytest.raises(TypeError, match="None"):
        run_virtual(lambda: adialog_loop(assistant, None))  # type: ignore[arg-type]
