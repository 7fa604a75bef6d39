"""Answers of LLM providers that are cut anywhere, and mistakes in reading them that must be found."""

import re
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

import pytest

from miniagents.ext.llm import _body, _sdk, openai
from miniagents.ext.llm._events import EventData
from miniagents.ext.llm.errors import LLMConnectionError, LLMProtocolError, LLMTimeoutError, LLMTruncatedError
from reliability.wire import Case, Findings, Wires, wires
from reliability.wire_bodies import ENDINGS, Ending, Outcome, Part, Stream
from reliability.wire_scenarios import ADAPTERS, scenarios

STEP = 61


@pytest.fixture(scope="module")
def made() -> Iterator[Wires]:
    with wires() as made:
        yield made


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_answer_that_is_cut_anywhere(made: Wires, adapter: str, ending: Ending) -> None:
    """Wherever an answer is cut: in two pieces it is the same answer, and what has not come as a whole is an error."""
    cases = [case for case in made.cases(STEP) if case.scenario.startswith(f"{adapter}/") and case.ending == ending]
    assert len(cases) > 150
    found = Findings().add(map(made.run, cases))
    assert not found.bad, found.bad[0]


def test_each_adapter_has_sixty_scenarios() -> None:
    """Every adapter is sent as many kinds of answers as its figure says."""
    names = [*scenarios()]
    for adapter in ADAPTERS:
        assert sum(name.startswith(f"{adapter}/") for name in names) >= 60


@pytest.mark.parametrize("step", [1, 2, 7])
def test_every_byte_is_tried(made: Wires, step: int) -> None:
    """A step of one leaves out no byte, neither the first nor the one behind the last; others take every nth."""
    cases = [case for case in made.cases(step) if case.scenario == "openai/plain" and case.ending == "end"]
    size = len(scenarios()["openai/plain"].wire)
    bytes_tried = [case.byte for case in cases]
    assert bytes_tried == [*range(bytes_tried[0], size + 1, step)]
    assert bytes_tried[0] < step


def test_a_case_has_a_name() -> None:
    """A case is run again by what is printed of it."""
    case = Case("openai/plain", "break", 17)
    assert Case.parse(str(case)) == case
    for name in ("openai/plain", "openai/plain:burn:1", "openai/plain:end:9999", "closedai/plain:end:1"):
        with pytest.raises(ValueError, match=r".*"):
            Case.parse(name)


HI = Part(b"0123456789", told=8, sealed=9, text="hi")


@pytest.mark.parametrize(
    ("last", "arrived", "ending", "expected"),
    [
        (Part(b"01234", 4, 5), 7, "end", Outcome(error=LLMTruncatedError)),
        (Part(b"01234", 4, 5), 8, "end", Outcome("hi", LLMTruncatedError)),
        (Part(b"01234", 4, 5), 8, "break", Outcome(error=LLMConnectionError)),
        (Part(b"01234", 4, 5), 9, "stall", Outcome("hi", LLMTimeoutError)),
        (Part(b"01234", 4, 5, reason="stop"), 13, "end", Outcome("hi", LLMTruncatedError)),
        (Part(b"01234", 4, 5, reason="stop"), 14, "end", Outcome("hi", reason="stop")),
        (Part(b"01234", 4, 5, reason="stop"), 14, "break", Outcome("hi", LLMConnectionError)),
        (Part(b"01234", 4, 5, ends=True), 15, "stall", Outcome("hi")),
        (Part(b"01234", 4, 5, error=LLMProtocolError), 15, "break", Outcome("hi", LLMProtocolError)),
    ],
)
def test_what_is_expected_of_a_stream(last: Part, arrived: int, ending: Ending, expected: Outcome) -> None:
    """A stream says what has arrived, and is complete if that has an end marker or a reason."""
    assert Stream([HI, last]).outcome(arrived, ending) == expected


def test_what_is_expected_of_half_a_character() -> None:
    """A half of a character waits for the other; it is replaced in a complete answer and left out of a broken one."""
    parts = [Part(b"0", 1, 1, text="a\ud83d"), Part(b"1", 1, 1, text="\ude00\udc00"), Part(b"2", 1, 1, ends=True)]
    assert [Stream(parts).outcome(arrived, "end").said for arrived in range(4)] == ["", "a", "a😀\ufffd", "a😀\ufffd"]


# ---------------------------------------------------------------------- mistakes made on purpose


def any_end_is_good() -> AbstractContextManager[object]:
    """The end of the body is taken for the end of the answer."""
    parsed = _body._parsed

    async def lenient(body: AsyncIterable[bytes], provider: str) -> AsyncIterator[Any]:
        async for part in parsed(body, provider):
            yield part
        yield _body._END

    return patch.object(_body, "_parsed", lenient)


def read_as(change: Callable[[bytes], bytes]) -> AbstractContextManager[object]:
    """Each piece of the body is changed before it is read."""
    lines = EventData._lines
    return patch.object(EventData, "_lines", lambda self, chunk: lines(self, change(chunk)))


def more_line_ends() -> AbstractContextManager[object]:
    """Lines end where Python ends them, also in U+2028."""
    return read_as(lambda chunk: re.sub(rb"\x0b|\x0c|\xc2\x85|\xe2\x80[\xa8\xa9]", b"\n", chunk))


def lines_of_their_own() -> AbstractContextManager[object]:
    """Each piece of the body is split into lines by itself."""
    return patch.object(EventData, "_lines", lambda self, chunk: chunk.splitlines())


def characters_of_their_own() -> AbstractContextManager[object]:
    """Each piece of the body is decoded by itself."""
    return read_as(lambda chunk: chunk.decode(errors="replace").encode())


def raw_errors() -> AbstractContextManager[object]:
    """The errors of the HTTP client are let through."""
    return patch.object(_sdk, "classes_named", lambda package, *names: ())


def errors_without_a_mark() -> AbstractContextManager[object]:
    """A broken connection ends the body in good order."""
    parsed = _body._parsed

    async def quiet(body: AsyncIterable[bytes], provider: str) -> AsyncIterator[Any]:
        try:
            async for part in parsed(body, provider):
                yield part
        except OSError:
            return
        except Exception as error:
            if "httpx2" not in type(error).__module__:
                raise

    return patch.object(_body, "_parsed", quiet)


def no_patience_needed() -> AbstractContextManager[object]:
    """What follows the finish reason is waited for without a limit."""
    return patch.object(_body, "_PATIENCE_AFTER_THE_REASON", 10_000.0)


def errors_are_text() -> AbstractContextManager[object]:
    """An error in the midst of a stream is overlooked."""
    return patch.object(openai, "error_in", lambda part, expected: None)


def left_open() -> AbstractContextManager[object]:
    """The stream is not closed."""
    return patch.object(_body, "_close_with", lambda opened, stream: None)


@pytest.mark.parametrize(
    ("mistake", "scenario", "ending"),
    [
        (any_end_is_good, "anthropic/plain", "end"),
        (any_end_is_good, "openai/cut-short", "split"),
        (more_line_ends, "compatible/separators", "split"),
        (lines_of_their_own, "anthropic/plain", "split"),
        (characters_of_their_own, "openai/utf8", "split"),
        (raw_errors, "anthropic/plain", "break"),
        (errors_without_a_mark, "openai/plain", "break"),
        (no_patience_needed, "openai/no-end", "stall"),
        (errors_are_text, "openai/error", "split"),
        (left_open, "anthropic/page", "stall"),
    ],
)
def test_what_was_planted_is_found(
    made: Wires, mistake: Callable[[], AbstractContextManager[object]], scenario: str, ending: Ending
) -> None:
    """The sweep finds a mistake in reading the wire that is easy to make."""
    cases = [case for case in made.cases(7) if case.scenario == scenario and case.ending == ending]
    with mistake():
        found = Findings().add(map(made.run, cases))
    assert found.bad
    if mistake is any_end_is_good:
        assert found.silent_truncations
    if mistake is raw_errors:
        assert found.undocumented
