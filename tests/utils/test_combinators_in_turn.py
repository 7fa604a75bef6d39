"""`fallback` and `retry`: one call after another, and never two half answers."""

import logging
from typing import Any

import pytest

from miniagents import EndOfDialog, ErrorMessage, InteractionContext, fallback, miniagent, retry
from miniagents.ext.llm.errors import LLMStatusError
from miniagents.promising import MiniAgentsError
from miniagents.testing import scripted_agent
from miniagents.utils import AllFailedError
from support.actors import CONTEXTS, Stage, heard, play

BUSY = ConnectionError("busy")
BROKEN = ValueError("broken")

every_context = pytest.mark.parametrize("options", CONTEXTS.values(), ids=CONTEXTS)


@every_context
@pytest.mark.parametrize("seed", range(5))
def test_the_next_is_asked_when_one_fails_before_its_first_token(options: Any, seed: int) -> None:
    """Who fails before the first token is replaced, is seen by no reader, and what it still does is cancelled."""
    stage = Stage()
    first, second = stage.actor("A", error=BUSY, works_on=99), stage.actor("B", "b1", "b2")
    agent = fallback(first, second)
    assert play(lambda: heard(agent.inquire()), seed, **options) == [(2, "b1"), (3, "b2")]
    assert stage.asked == {"A": [0], "B": [1]}
    assert stage.ended == {"A": ["failed"], "A at work": ["cancelled"], "B": ["done"]}


@every_context
def test_after_its_first_token_nobody_is_replaced(options: Any) -> None:
    """From the first token on the answer streams live, an error comes at its place, and nobody else is asked."""
    stage = Stage()
    agent = fallback(stage.actor("A", "a1", "a2", error=BUSY), stage.actor("B", "b1"))
    assert play(lambda: heard(agent.inquire()), **options) == [(1, "a1"), (2, "a2"), (2, BUSY)]
    assert stage.asked == {"A": [0]}


@every_context
def test_with_whole_nothing_is_shown_of_an_answer_that_breaks_off(options: Any) -> None:
    """With `whole` an answer that fails anywhere is replaced, and the tokens come when all of them are there."""
    stage = Stage()
    agent = fallback(stage.actor("A", "a1", "a2", error=BUSY), stage.actor("B", "b1", "b2"), whole=True)
    assert play(lambda: heard(agent.inquire()), **options) == [(4, "b1"), (4, "b2")]


def test_with_whole_an_error_that_is_passed_on_comes_without_the_half_answer() -> None:
    """With `whole` the reply of an agent that fails in a way that is not meant is the error alone."""
    agent = fallback(Stage().actor("A", "a1", error=BROKEN), Stage().actor("B", "b"), on=ConnectionError, whole=True)
    assert play(lambda: heard(agent.inquire())) == [(1, BROKEN)]


def test_what_comes_behind_an_error_that_is_passed_on_stays_readable() -> None:
    """An error that is not meant is passed on in its place, with all that was said behind it."""

    @miniagent
    async def team(ctx: InteractionContext) -> None:
        ctx.reply([BROKEN, "said all the same"])

    @miniagent
    async def never(ctx: InteractionContext) -> None:
        raise AssertionError

    agent = fallback(team, never, on=(ConnectionError, TimeoutError))
    error, message = play(lambda: agent.inquire().settled())
    assert error is BROKEN
    assert str(message) == "said all the same"


def test_no_text_is_no_token() -> None:
    """Who fails having said nothing but empty texts is replaced, and who ends well having said nothing is not."""

    @miniagent
    async def stammerer(ctx: InteractionContext) -> None:
        ctx.reply(["", Stage().actor("A", "", error=BUSY).inquire()])

    @miniagent
    async def silent(ctx: InteractionContext) -> None:
        pass

    @miniagent
    async def never(ctx: InteractionContext) -> None:
        raise AssertionError

    assert play(lambda: fallback(stammerer, silent, never).inquire()) == ()


def test_if_all_fail_the_error_has_all_errors() -> None:
    """The error when all have failed is a group with each error in order, is in the library's tree, and can be split."""
    stage = Stage()
    agent = fallback(stage.actor("A", error=BUSY), stage.actor("B", error=BROKEN))
    ((moment, error),) = play(lambda: heard(agent.inquire()))
    assert moment == 2
    assert isinstance(error, AllFailedError)
    assert isinstance(error, MiniAgentsError)
    assert error.exceptions == (BUSY, BROKEN)
    assert "A: ConnectionError: busy; B: ValueError: broken" in str(error)
    matching, rest = error.split(ValueError)
    assert isinstance(matching, AllFailedError)
    assert matching.exceptions == (BROKEN,)
    assert isinstance(rest, AllFailedError)


@pytest.mark.parametrize(
    "ends", [EndOfDialog(), KeyboardInterrupt(), SystemExit(3)], ids=lambda error: type(error).__name__
)
@pytest.mark.parametrize("whole", [False, True])
def test_what_ends_dialogs_and_programs_is_no_failure(ends: BaseException, whole: bool) -> None:
    """The end of a dialog, and what ends programs, reaches the reader and makes nobody else be asked."""

    @miniagent
    async def user(ctx: InteractionContext) -> None:
        raise ends

    @miniagent
    async def never(ctx: InteractionContext) -> None:
        raise AssertionError

    for agent in (fallback(user, never, whole=whole), retry(user, whole=whole)):
        ((_, error),) = play(lambda agent=agent: heard(agent.inquire()))
        assert error is ends


def test_an_error_that_was_handled_is_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    """The error of one that was replaced is told at level INFO and not as unread; one that is passed on, and not read, is."""
    stage = Stage()
    replaced = fallback(stage.actor("A", error=BUSY), stage.actor("B", "b"))
    passed_on = fallback(stage.actor("C", error=BROKEN), stage.actor("D"), on=ConnectionError)

    async def scene() -> None:
        await replaced.inquire()
        passed_on.inquire()

    with caplog.at_level(logging.INFO):
        play(scene)
    told = [
        (record.levelname, record.exc_info[1] if record.exc_info else record.getMessage()) for record in caplog.records
    ]
    assert told == [("INFO", "A_OR_B: A has failed: ConnectionError: busy"), ("ERROR", BROKEN)]


class OverloadedError(ConnectionError):
    pass


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("says", [(), ("a1",)], ids=["at once", "in the midst"])
def test_an_error_that_arrives_as_a_message_is_a_failure(whole: bool, says: tuple[str, ...]) -> None:
    """Where errors arrive as messages such a message counts as its error, by the classes of that name."""
    stage = Stage()
    overloaded = stage.actor("A", *says, error=OverloadedError("no"))
    is_replaced = whole or not says
    for on in (Exception, (KeyError, ConnectionError)):
        agent = fallback(overloaded, stage.actor("B", "b"), on=on, whole=whole)
        (message,) = play(lambda agent=agent: agent.inquire(), errors_as_messages=True)
        assert isinstance(message, ErrorMessage) is not is_replaced
    agent = fallback(overloaded, stage.actor("B", "b"), on=KeyError, whole=whole)
    (message,) = play(lambda: agent.inquire(), errors_as_messages=True)
    assert isinstance(message, ErrorMessage)
    assert message.error_type == "OverloadedError"


def test_if_all_errors_arrive_as_messages_the_last_message_has_all() -> None:
    """Where errors arrive as messages, that of all that have failed names each of them."""
    stage = Stage()
    agent = fallback(stage.actor("A", error=BUSY), stage.actor("B", error=BROKEN))
    (message,) = play(lambda: agent.inquire(), errors_as_messages=True)
    assert isinstance(message, ErrorMessage)
    assert message.error_type == "AllFailedError"
    assert "busy" in str(message)
    assert "broken" in str(message)


# ---------------------------------------------------------------------- retry


@every_context
def test_retrying_asks_again_with_growing_pauses(options: Any) -> None:
    """Each pause is so many times as long as the one before, up to the longest; the error is that of the last attempt."""
    stage = Stage()
    agent = retry(stage.actor("A", error=BUSY, begins=1), attempts=5, delay=2, backoff=3, max_delay=10)
    assert play(lambda: heard(agent.inquire()), **options) == [(5 + 2 + 6 + 10 + 10, BUSY)]
    assert stage.asked == {"A": [0, 3, 10, 21, 32]}


def test_no_pause_is_longer_than_the_longest() -> None:
    """The first pause, too, is no longer than `max_delay`."""
    stage = Stage()
    agent = retry(stage.actor("A", error=BUSY, begins=1), attempts=2, delay=50, max_delay=4)
    assert play(lambda: heard(agent.inquire())) == [(6, BUSY)]


def test_what_a_failed_attempt_still_does_is_cancelled() -> None:
    """The next attempt does not run beside what the one before has left behind."""
    stage = Stage()
    agent = retry(stage.actor("A", error=BUSY, works_on=99), attempts=2)
    assert play(lambda: heard(agent.inquire())) == [(3, BUSY)]
    assert stage.ended["A at work"] == ["cancelled"]


def test_a_retry_that_succeeds_streams() -> None:
    """The attempt that succeeds streams live, and a reader sees nothing of those that have failed."""
    errors = ConnectionError("first"), ConnectionError("second")
    agent = retry(
        scripted_agent.fork(script=[*errors, ["a", "b"]], time_to_first_token=1, tokens_per_second=1), delay=3
    )
    assert play(lambda: heard(agent.inquire("hi"))) == [(10, "a"), (11, "b")]


def test_nothing_is_retried_after_its_first_token() -> None:
    """An answer that breaks off is not begun again: the error comes at its place."""
    stage = Stage()
    agent = retry(stage.actor("A", "a1", error=BUSY))
    assert play(lambda: heard(agent.inquire())) == [(1, "a1"), (1, BUSY)]
    assert stage.asked == {"A": [0]}


def test_with_whole_an_answer_that_breaks_off_is_retried() -> None:
    """With `whole` an answer is asked for again wherever it fails; of the last one comes the error alone."""
    stage = Stage()
    agent = retry(stage.actor("A", "a1", error=BUSY), attempts=2, delay=5, whole=True)
    assert play(lambda: heard(agent.inquire())) == [(7, BUSY)]
    assert stage.asked == {"A": [0, 6]}


@pytest.mark.parametrize(
    ("wanted", "asked_at"),
    [(0.5, [0, 3]), (8, [0, 9]), (20, [0, 21]), (20.5, [0]), (None, [0, 3]), ("soon", [0, 3]), (float("nan"), [0, 3])],
)
def test_the_pause_that_the_error_asks_for_is_kept(wanted: Any, asked_at: list[float]) -> None:
    """`retry_after` of an error makes the pause longer, never shorter; one that is too long ends the attempts at once."""
    stage = Stage()
    error = LLMStatusError("slow down", status=429, retry_after=wanted)
    agent = retry(stage.actor("A", error=error, begins=1), attempts=2, delay=2, max_delay=20)
    assert play(lambda: heard(agent.inquire())) == [(asked_at[-1] + 1, error)]
    assert stage.asked == {"A": asked_at}


def test_only_the_errors_that_are_meant_are_retried() -> None:
    """An error of another class than `on` is the reply's error at once."""
    stage = Stage()
    agent = retry(stage.actor("A", error=BROKEN), on=(ConnectionError, TimeoutError))
    assert play(lambda: heard(agent.inquire())) == [(1, BROKEN)]
    assert stage.asked == {"A": [0]}
