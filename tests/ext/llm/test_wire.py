"""What a server sends is read without trust: cut anywhere, of any shape, and never more than a text or a figure."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from miniagents.ext.llm._events import EventData
from miniagents.ext.llm._silence import never_silent
from miniagents.ext.llm._wire import SurrogateFilter, figures, text_of, valid_text
from miniagents.ext.llm.errors import LLMTimeoutError
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


def read_events(chunks: Iterable[bytes]) -> list[tuple[bytes, bool]]:
    """The data of all events in a body, and whether each was ended."""
    events = EventData()
    ended = [(data, True) for chunk in chunks for data in events.feed(chunk)]
    rest = events.rest()
    return [*ended, (rest, False)] if rest else ended


LINE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n "), min_size=1, max_size=10)


@given(st.lists(st.tuples(st.lists(LINE, min_size=1), st.sampled_from(["\n", "\r\n", "\r"]))), st.data())
def test_events_do_not_depend_on_how_the_body_is_cut(events: list[tuple[list[str], str]], data: st.DataObject) -> None:
    """The lines behind `data:` of an event come out together, for every line end and cut, and comments do not."""
    body = "".join(
        f": note{end}event: x{end}" + "".join(f"data: {line}{end}" for line in lines) + end for lines, end in events
    ).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    chunks = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    expected = [("\n".join(lines).encode(), True) for lines, _ in events]
    assert read_events(chunks) == expected
    assert read_events(bytes([byte]) for byte in body) == expected


def test_characters_that_end_lines_elsewhere_do_not_end_them_here() -> None:
    """U+2028 and its like, which JSON may contain, stay in their line."""
    line = "\u2028\u2029\x85\x0b\x0c\x1c x"
    assert read_events([f"data: {line}\n\n".encode()]) == [(line.encode(), True)]


@pytest.mark.parametrize("at", range(4))
def test_a_byte_order_mark_hides_no_event(at: int) -> None:
    """A mark at the very beginning, however it is cut, is not a part of the first line; elsewhere it is no line end."""
    body = b"\xef\xbb\xbfdata: 1\n\ndata: \xef\xbb\xbf2\n\n"
    assert read_events([body[:at], body[at:]]) == [(b"1", True), (b"\xef\xbb\xbf2", True)]


def test_a_line_without_end_takes_linear_time() -> None:
    """Fifty megabytes in one line, such as a picture, take a moment; looked at anew with each chunk they take minutes."""
    chunks = [b"data: ", *[b"x" * 2**16] * 800, b"\n\n"]
    assert read_events(chunks) == [(b"x" * 2**16 * 800, True)]


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_an_event_that_was_not_ended_counts(end: bytes) -> None:
    """The last event comes out without the empty line that should follow it, and says that it was not ended."""
    assert read_events([b"data: 1\n\nda", b"ta: 2" + end]) == [(b"1", True), (b"2", False)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("text", "text"),
        ([{"type": "text", "text": "a"}, {"type": "thinking", "text": "hm"}, {"text": "b"}, "c", 5, None], "abc"),
        ([{"type": "text", "text": 5}], ""),
        (None, ""),
        ({"text": "x"}, ""),
    ],
    ids=repr,
)
def test_content_is_a_text_or_a_list_of_parts(content: object, expected: str) -> None:
    """The text of a list of parts is that of its parts of type text; what is of another shape has none."""
    assert text_of(content) == expected


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
            async for _ in never_silent(10.0, events(), "the model"):
                times.append(clock() - start)

        with pytest.raises(TimeoutError):
            await read()
        times.append(clock() - start)

    run_virtual(main)
    assert times == pytest.approx([9.0, 18.0, 28.0])


@dataclass
class Timed:
    """What a reader gets of events that come after these pauses: when, and the error at the end."""

    pauses: list[tuple[float, str]]
    reading: float = 0.0
    """Seconds that the reader takes for each."""
    times: list[float] = field(default_factory=list)
    error: str = ""

    async def events(self) -> AsyncIterator[str]:
        for pause, event in self.pauses:
            await asyncio.sleep(pause)
            yield event

    async def read(self, **limits: Any) -> None:
        clock = asyncio.get_running_loop().time
        try:
            async for _ in never_silent(
                10.0, self.events(), "the model", is_token=lambda event: event != "ping", **limits
            ):
                self.times.append(clock())
                await asyncio.sleep(self.reading)
        except LLMTimeoutError as error:
            self.error = str(error)
        self.times.append(clock())


FIRST = "The model was silent for longer than `first_token_timeout` (3 s)."
LATER = "The model was silent for longer than `max_silence` (10 s)."


@pytest.mark.parametrize(
    ("timed", "times", "error"),
    [
        (Timed([(2, "x"), (9, "x"), (9, "x")]), [2, 11, 20, 20], ""),
        (Timed([(4, "x")]), [3], FIRST),
        (Timed([(2, "ping"), (2, "x")]), [2, 3], FIRST),
        (Timed([(1, "ping"), (1, "ping"), (0.5, "x")]), [1, 2, 2.5, 2.5], ""),
        (Timed([(1, "x"), (11, "x")]), [1, 11], LATER),
        (Timed([(1, "x"), (6, "ping"), (6, "x")]), [1, 7, 11], LATER),
        (Timed([(1, "x"), (6, "ping"), (3, "x"), (9, "x")]), [1, 7, 10, 19, 19], ""),
        (Timed([(1, "ping"), (1, "ping"), (0.5, "x"), (9, "x")], reading=100), [1, 102, 202.5, 311.5, 411.5], ""),
    ],
)
def test_pings_give_nobody_more_time(timed: Timed, times: list[float], error: str) -> None:
    """The first token has its own time, each next one the other; pings and the pauses of the reader change neither."""
    run_virtual(timed.read(first_token_timeout=3.0))
    assert timed.times == pytest.approx(times)
    assert timed.error == error


@pytest.mark.parametrize(("first", "error"), [(None, LATER), (20.0, FIRST.replace("3", "20"))])
def test_the_first_token_has_a_time_of_its_own(first: float | None, error: str) -> None:
    """To the first token it may take longer than between tokens; without a time of its own it has that between them."""
    timed = Timed([(5, "ping"), (30, "x")])
    run_virtual(timed.read(first_token_timeout=first))
    assert (timed.times, timed.error) == ([5, first or 10], error)


@given(
    st.lists(st.tuples(st.sampled_from([0.25, 1.0, 2.75, 3.25, 9.75, 10.25, 40.0]), st.sampled_from(["x", "ping"]))),
    st.sampled_from([0.0, 2.5, 50.0]),
    st.sampled_from([None, 3.0, 20.0]),
)
def test_each_wait_ends_at_its_own_time(pauses: list[tuple[float, str]], reading: float, first: float | None) -> None:
    """Whatever came before, and however long it was read, a wait lasts as long as is left of it and no longer."""
    timed = Timed(pauses, reading)
    run_virtual(timed.read(first_token_timeout=first))
    now, left, error = 0.0, first or 10.0, FIRST.replace("3", f"{first:g}") if first else LATER
    expected: list[float] = []
    for pause, event in pauses:
        assume(pause != pytest.approx(left))
        if pause > left:
            assert (timed.times, timed.error) == (pytest.approx([*expected, now + left]), error)
            return
        expected.append(now + pause)
        now, left = now + pause + reading, left - pause
        if event == "x":
            left, error = 10.0, LATER
    assert (timed.times, timed.error) == (pytest.approx([*expected, now]), "")


def test_a_reader_that_takes_its_time_breaks_nothing() -> None:
    """While the reader is busy for longer than the model may be silent, no timer fails behind its back."""
    failed: list[Any] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context))
        await Timed([(1, "x")] * 3, reading=50).read()

    run_virtual(main)
    assert not failed


@pytest.mark.parametrize("seed", range(5))
def test_an_event_at_the_last_moment_stops_nobody(seed: int) -> None:
    """What comes just when its time is over is read, or a time-out; it is never the reader that is cancelled."""
    timed = Timed([(10, "x"), (10, "x"), (10, "x")], reading=1)
    run_virtual(timed.read, seed=seed)
    assert timed.error == (LATER if len(timed.times) < 4 else "")


def test_who_breaks_off_a_wait_is_not_told_of_a_time_out() -> None:
    """A reader that is cancelled while it waits, and at the very moment when the time is over, is cancelled."""

    async def main(at: float) -> bool:
        reading = asyncio.create_task(Timed([(30, "x")]).read())
        await asyncio.sleep(at)
        reading.cancel()
        await asyncio.wait([reading])
        return reading.cancelled()

    assert run_virtual(main(5.0))
    assert run_virtual(main(10.0))


def test_no_timer_is_left() -> None:
    """When an answer has ended, or is not read any further, nothing waits for its time any more."""

    async def main(*, breaks_off: bool) -> int:
        events = never_silent(10.0, Timed([(1, "x"), (1, "x")]).events(), "the model")
        async for _ in events:
            if breaks_off:
                break
        await events.aclose()
        loop: Any = asyncio.get_running_loop()
        return sum(not timer.cancelled() for timer in loop._scheduled)

    assert run_virtual(main(breaks_off=False)) == run_virtual(main(breaks_off=True)) == 0
