"""What a server sends is read without trust: cut anywhere, of any shape, and never more than a text or a figure."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniagents.ext.llm._sdk import never_silent
from miniagents.ext.llm._wire import SurrogateFilter, data_lines, figures, valid_text
from miniagents.testing import run_virtual

ANY_TEXT = st.text(st.characters(), max_size=20) | st.text(st.sampled_from("a\ud83d\ude00\udc00\ud800é"), max_size=20)


@given(st.lists(ANY_TEXT))
def test_surrogates_are_paired_or_replaced(tokens: list[str]) -> None:
    """However a text is cut, pairs of surrogates become characters and lone ones U+FFFD; nothing else changes."""
    surrogates = SurrogateFilter()
    seen = "".join(surrogates.feed(token) for token in tokens) + surrogates.feed("", final=True)
    paired = "".join(tokens).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    assert seen == re.sub("[\ud800-\udfff]", "\ufffd", paired)
    assert seen == valid_text("".join(tokens))


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5)))
def test_a_valid_token_is_not_held_back(tokens: list[str]) -> None:
    """A token without surrogates passes at once and as it is."""
    surrogates = SurrogateFilter()
    assert [surrogates.feed(token) for token in tokens] == tokens


async def stream_of(items: Iterable[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item


def read_lines(chunks: Iterable[bytes]) -> list[bytes]:
    async def main() -> list[bytes]:
        return [line async for line in data_lines(stream_of(chunks))]

    return run_virtual(main)


LINE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n "), min_size=1, max_size=10)


@given(st.lists(st.tuples(LINE, st.sampled_from(["\n", "\r\n", "\r"]))), st.data())
def test_lines_do_not_depend_on_how_the_body_is_cut(lines: list[tuple[str, str]], data: st.DataObject) -> None:
    """All that stands behind `data:` comes out, for every line end and every cut of the bytes, and comments do not."""
    body = "".join(f": note{end}data: {line}{end}{end}" for line, end in lines).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    chunks = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert read_lines(chunks) == [line.encode() for line, _ in lines]


def test_characters_that_end_lines_elsewhere_do_not_end_them_here() -> None:
    """U+2028 and its like, which JSON may contain, stay in their line."""
    line = "\u2028\u2029\x85\x0b\x0c\x1c x"
    assert read_lines([f"data: {line}\n\n".encode()]) == [line.encode()]


def test_a_line_that_was_not_ended_is_left_out() -> None:
    """Half a line is not taken for a whole one."""
    assert read_lines([b"data: 1\n\nda", b"ta: 2"]) == [b"1"]


def test_figures_that_json_does_not_have_are_left_out() -> None:
    """Infinite and undefined numbers, lists and what is nested too deep do not come along."""
    sent = {"a": 1, "b": float("nan"), "c": {"d": 2.5, "e": {"f": 1}}, "g": [1], "h": None, "i": "x"}
    assert figures(sent) == {"a": 1, "c": {"d": 2.5}, "i": "x"}


def test_each_event_has_the_whole_time() -> None:
    """The time allowed starts anew with each event, and an event that takes longer is a `TimeoutError`."""
    times: list[float] = []

    async def events() -> AsyncIterator[str]:
        for pause in (9.0, 9.0, 11.0):
            await asyncio.sleep(pause)
            yield "x"

    async def main() -> None:
        clock = asyncio.get_running_loop().time
        start = clock()

        async def read() -> None:
            async for _ in never_silent(10.0, events()):
                times.append(clock() - start)

        with pytest.raises(TimeoutError):
            await read()
        times.append(clock() - start)

    run_virtual(main)
    assert times == pytest.approx([9.0, 18.0, 28.0])
