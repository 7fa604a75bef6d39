"""Retries: only what may succeed in a moment, only before the first token, and never sooner than was asked for."""

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from email.utils import formatdate
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniagents.ext.llm._limiter import limiter_for
from miniagents.ext.llm._retry import Attempts
from miniagents.ext.llm._retry_after import retry_after_of
from miniagents.ext.llm.errors import (
    LLMConnectionError,
    LLMEmptyCompletionError,
    LLMError,
    LLMParameterError,
    LLMProtocolError,
    LLMStatusError,
    LLMTimeoutError,
    LLMTruncatedError,
    MissingKeyError,
)
from miniagents.ext.llm.limits import Limits
from miniagents.testing import run_virtual

ask = partial(limiter_for, "OpenAI", "https://api.test/v1", "key")


def status(number: int, retry_after: float | None = None, error_type: str | None = None) -> LLMStatusError:
    return LLMStatusError("sk-secret", status=number, retry_after=retry_after, error_type=error_type)


class Model:
    """Fails with each of `errors` in turn, and then answers; knows when it was asked."""

    def __init__(self, errors: Sequence[BaseException], *, token_first: bool = False) -> None:
        self._errors: Iterator[BaseException] = iter(errors)
        self._token_first = token_first
        self.asked_at: list[float] = []

    async def answer(self, max_retries: int = 2, limits: Limits | None = None) -> str:
        async for attempt in Attempts(ask(limits), max_retries=max_retries, estimated_tokens=1):
            async with attempt:
                self.asked_at.append(asyncio.get_running_loop().time())
                if self._token_first:
                    attempt.has_answered()
                if (error := next(self._errors, None)) is not None:
                    raise error
        return "answer"


def outcome(model: Model, max_retries: int = 2) -> object:
    """The answer or the error."""
    try:
        return run_virtual(model.answer(max_retries))
    except LLMError as error:
        return error


RETRYABLE = [
    LLMConnectionError("x"),
    LLMTimeoutError("x"),
    LLMTruncatedError("x"),
    *map(status, (408, 409, 429, 500, 502, 503, 504, 529, 599)),
    status(200, error_type="overloaded_error"),
    status(200, error_type="rate_limit_exceeded"),
]
FINAL = [
    LLMProtocolError("x"),
    LLMEmptyCompletionError("x"),
    LLMParameterError("x"),
    MissingKeyError("x", "X_KEY"),
    LLMError("x"),
    *map(status, (200, 301, 400, 401, 403, 404, 413, 422)),
    status(429, error_type="insufficient_quota"),
    status(200, error_type="invalid_request_error"),
]


def name_of(error: object) -> str:
    return f"{type(error).__name__}-{getattr(error, 'status', '')}-{getattr(error, 'error_type', '')}"


@pytest.mark.parametrize("error", RETRYABLE, ids=name_of)
def test_what_may_succeed_in_a_moment_is_tried_again(error: LLMError) -> None:
    """Broken connections, time-outs and the statuses of servers that are busy or in trouble are tried again."""
    model = Model([error, error])
    assert outcome(model) == "answer"
    assert len(model.asked_at) == 3


@pytest.mark.parametrize("error", FINAL, ids=name_of)
def test_what_will_not_change_is_not_tried_again(error: LLMError) -> None:
    """What is wrong with the request, the key or the answer is an error at once."""
    model = Model([error])
    assert outcome(model) is error
    assert model.asked_at == [0]


@pytest.mark.parametrize(
    "error", [ValueError("x"), TimeoutError(), ConnectionError(), asyncio.CancelledError()], ids=repr
)
def test_what_is_not_of_a_model_is_not_tried_again(error: BaseException) -> None:
    """Errors of other code, and cancellations, pass as they are."""
    model = Model([error])
    with pytest.raises(type(error)):
        run_virtual(model.answer())
    assert model.asked_at == [0]


@pytest.mark.parametrize("error", RETRYABLE, ids=name_of)
def test_an_answer_that_has_begun_is_not_asked_for_again(error: LLMError) -> None:
    """After the first token every error is final."""
    model = Model([error], token_first=True)
    assert outcome(model) is error
    assert model.asked_at == [0]


@pytest.mark.parametrize("max_retries", [0, 1, 2, 5])
def test_it_gives_up_in_the_end(max_retries: int) -> None:
    """The last error is raised, and says how often it was tried."""
    errors = [status(500) for _ in range(10)]
    model = Model(errors)
    assert outcome(model, max_retries) is errors[max_retries]
    assert len(model.asked_at) == 1 + max_retries
    notes = getattr(errors[max_retries], "__notes__", [])
    assert notes == ([f"Tried {1 + max_retries} times."] if max_retries else [])


def test_the_delays_grow_up_to_a_limit() -> None:
    """From half a second on each delay is twice the one before, up to eight seconds, and up to a quarter less."""
    model = Model([status(500)] * 8)
    assert outcome(model, 8) == "answer"
    delays = [after - before for before, after in zip(model.asked_at, model.asked_at[1:], strict=False)]
    for delay, longest in zip(delays, [0.5, 1, 2, 4, 8, 8, 8, 8], strict=True):
        assert 0.75 * longest <= delay <= longest
    assert len({delay / longest for delay, longest in zip(delays[4:], [8] * 4, strict=True)}) == 4


@given(st.sampled_from([408, 409, 500, 429, 503, 529]), st.floats(0.001, 60))
def test_it_waits_as_long_as_it_was_asked_to(number: int, seconds: float) -> None:
    """The next attempt comes no sooner than the provider wants, and not much later."""
    model = Model([status(number, seconds)])
    assert outcome(model) == "answer"
    assert seconds <= model.asked_at[1] <= seconds + min(1, seconds / 10) + 1e-6


@pytest.mark.parametrize("number", [429, 500, 503])
def test_whoever_wants_too_much_patience_is_not_waited_for(number: int) -> None:
    """More than a minute is an error at once, which says why; and the others are not held up by it."""
    error = status(number, 61)
    model, other = Model([error]), Model([])

    async def main() -> None:
        with pytest.raises(LLMStatusError) as raised:
            await model.answer()
        assert raised.value is error
        assert error.__notes__ == ["Not tried again: it may wait 60 s, and was asked for 61 s."]
        await other.answer()

    run_virtual(main)
    assert model.asked_at == other.asked_at == [0]


@pytest.mark.parametrize("number", [429, 503, 529])
@pytest.mark.parametrize("max_retries", [0, 2])
def test_who_must_wait_makes_all_wait(number: int, max_retries: int) -> None:
    """What a provider says of all requests holds for all: nobody asks until then, also if this one is given up."""
    model, other = Model([status(number, 30)]), Model([])

    async def main() -> None:
        first = asyncio.create_task(model.answer(max_retries, Limits(concurrency=1)))
        await asyncio.sleep(0)
        await asyncio.wait([first, asyncio.create_task(other.answer())])
        assert first.exception() is None or max_retries == 0

    run_virtual(main)
    assert model.asked_at[0] == 0
    assert 30 <= min(other.asked_at + model.asked_at[1:]) <= 33


@pytest.mark.parametrize("number", [408, 500])
def test_what_is_said_of_one_request_holds_for_one(number: int) -> None:
    """An error of one request does not hold up the others."""
    model, other = Model([status(number, 30)]), Model([])

    async def main() -> None:
        await asyncio.gather(model.answer(), other.answer())

    run_virtual(main)
    assert model.asked_at == [0, 30]
    assert other.asked_at == [0]


def test_who_waits_to_try_again_holds_no_slot() -> None:
    """Between two attempts others may ask, and each attempt counts as a request."""
    model, other = Model([status(500, 30)]), Model([])
    limits = Limits(concurrency=1, requests_per_minute=2)

    async def main() -> None:
        first = asyncio.create_task(model.answer(limits=limits))
        await asyncio.sleep(1)
        await other.answer()
        await first

    run_virtual(main)
    assert other.asked_at == [1]
    assert model.asked_at == [0, 60]


def test_a_cancellation_between_two_attempts_ends_it() -> None:
    """Whoever is cancelled while it waits to try again is gone at once, and leaves nothing behind."""
    model = Model([status(500)] * 9)

    async def main() -> None:
        task = asyncio.create_task(model.answer())
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert asyncio.get_running_loop().time() == 0.1
        assert "0 open, 0 waiting" in repr(ask())

    run_virtual(main)
    assert model.asked_at == [0]


def test_each_retry_is_in_the_log_without_what_the_server_said(caplog: pytest.LogCaptureFixture) -> None:
    """The log tells who failed how and when it is tried again; the text, which may repeat a key, is not in it."""
    caplog.set_level(logging.DEBUG, "miniagents")
    outcome(Model([status(500, 3), LLMConnectionError("sk-secret")]))
    (first, second) = [record.getMessage() for record in caplog.records]
    assert first == "OpenAI at https://api.test/v1: status 500; attempt 2 of 3 follows in 3 s."
    assert "LLMConnectionError; attempt 3 of 3 follows in " in second
    assert "sk-secret" not in caplog.text


NOW = 1_800_000_000


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "0"}, 0),
        ({"retry-after-ms": "1500", "retry-after": "7"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7),
        ({"retry-after": formatdate(NOW + 20, usegmt=True), "date": formatdate(NOW, usegmt=True)}, 20),
        ({"retry-after": formatdate(NOW - 20, usegmt=True), "date": formatdate(NOW, usegmt=True)}, 0),
        ({"retry-after": "Mon, 01 Jan 0001 00:00:00 +2359"}, 0),
        ({}, None),
        *(({"retry-after": bad}, None) for bad in ("", "soon", "nan", "inf", "-1", "1e999", "Mon, 99 Foo 100000")),
    ],
    ids=str,
)
def test_when_a_server_wants_to_be_asked_again(headers: dict[str, str], seconds: float | None) -> None:
    """Seconds, milliseconds and dates are understood, by the server's clock; what is none of these is none."""
    assert retry_after_of(headers) == seconds


def test_a_date_is_taken_by_our_clock_if_the_server_has_none() -> None:
    """A date without a `Date` beside it counts from now."""
    seconds = retry_after_of({"retry-after": formatdate(time.time() + 1000, usegmt=True)})
    assert seconds is not None
    assert 990 < seconds <= 1000


@given(st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms", "date"]), st.text(max_size=30)))
def test_no_header_makes_an_error(headers: dict[str, str]) -> None:
    """Whatever a server sends there, it is a finite time or none."""
    seconds = retry_after_of(headers)
    assert seconds is None or 0 <= seconds < float("inf")
