"""When errors that nobody read are reported, and how many of them are held."""

import contextlib
import gc
import logging
import re
from typing import Any

import pytest

from miniagents.promising import Promise, PromisingContext
from miniagents.promising.errors import OrderlyEnd
from miniagents.promising.log import Failure
from miniagents.promising.unread import UnreadErrors
from miniagents.testing.virtual_time import run_virtual


class Kept:
    """The errors of a context that lives long, which `hold` and `lose` add to."""

    def __init__(self) -> None:
        self.unread = UnreadErrors(logging.ERROR)

    def hold(self, error: BaseException, who: str = "") -> Failure:
        """An error that somebody may still read, as long as the result is held."""
        return self.unread.keep(Failure(error, who))

    def lose(self, error: BaseException, who: str = "") -> None:
        """An error that nobody can read any more."""
        self.hold(error, who)


def shown(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The errors that were logged, each by its text."""
    return [str(record.exc_info[1]) for record in caplog.records if record.exc_info]


def counted(caplog: pytest.LogCaptureFixture) -> int:
    """How many errors were logged, those that were only counted included."""
    more = re.findall(r"Nobody read ([\d,]+) more", "\n".join(caplog.messages))
    return len(shown(caplog)) + sum(int(number.replace(",", "")) for number in more)


def test_nothing_is_reported_that_somebody_may_still_read(caplog: pytest.LogCaptureFixture) -> None:
    """However many errors wait for their reader, none is logged before the context ends, and none that was read then."""

    async def fail(promise: Promise[Any]) -> None:
        raise ValueError

    async def scenario() -> None:
        async with PromisingContext() as context:
            promises = [Promise(fail) for _ in range(3000)]
            await context.aflush_tasks()
            assert not caplog.records
            for promise in promises[1:]:
                with contextlib.suppress(ValueError):
                    await promise
            del promises[1:], promise

    run_virtual(scenario)
    assert counted(caplog) == 1


def test_errors_that_were_read_are_not_held() -> None:
    """A context that lives long keeps no error that somebody has read."""

    async def fail(promise: Promise[Any]) -> None:
        del promise  # the traceback leads here, and from here back to the error: only the garbage collector frees that
        raise ValueError

    async def scenario() -> int:
        async with PromisingContext() as context:
            for _ in range(20):
                with contextlib.suppress(ValueError):
                    await Promise(fail)
            return len(context._unread)

    assert run_virtual(scenario) == 0


def test_orderly_ends_are_not_held() -> None:
    """A context that lives long keeps no end in good order that nobody can read."""
    kept = Kept()
    kept.lose(OrderlyEnd())
    assert len(kept.unread) == 0


def test_errors_that_nobody_can_read_are_told_before_they_fill_the_memory(caplog: pytest.LogCaptureFixture) -> None:
    """Of thousands of errors that nobody can read each is told once, most before the end; what ends programs is kept."""
    kept = Kept()
    kept.lose(KeyboardInterrupt())
    most = 0
    for number in range(3500):
        kept.lose(ValueError(f"number {number}"))
        most = max(most, len(kept.unread))
    assert most <= 1001
    assert counted(caplog) >= 2500
    interrupt = kept.unread.report()
    assert interrupt is not None
    assert isinstance(interrupt.exception, KeyboardInterrupt)
    assert counted(caplog) == 3500
    assert len(set(shown(caplog))) == len(shown(caplog)) <= 20 * 4


def test_those_that_are_told_early_are_those_that_nobody_can_read(caplog: pytest.LogCaptureFixture) -> None:
    """When errors are told before the end, those that somebody may still read are not among them."""
    kept = Kept()
    held = [kept.hold(ValueError("held")) for _ in range(3)]
    for _ in range(1100):
        kept.lose(KeyError("lost"))
    assert counted(caplog) >= 1000
    assert "held" not in caplog.text
    held[0].observed = True
    kept.unread.report()
    assert shown(caplog).count("held") == 2


def test_where_an_error_is_dropped_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Dropping errors, which may happen at any point of any thread, logs nothing; the next error does, or the end."""
    kept = Kept()
    held = [kept.hold(ValueError()) for _ in range(2000)]
    held.clear()
    assert not caplog.records
    kept.lose(ValueError())
    assert counted(caplog) == 2000


def test_errors_are_reported_in_the_order_in_which_they_came(caplog: pytest.LogCaptureFixture) -> None:
    """The errors are logged in the order in which they came, whoever could still read some of them."""
    kept = Kept()
    first = kept.hold(ValueError("1"))
    kept.lose(ValueError("2"))
    third = kept.hold(ValueError("3"))
    del first
    kept.unread.report()
    assert shown(caplog) == ["1", "2", "3"]
    assert not third.observed


def test_of_equal_errors_the_first_are_shown_and_the_rest_counted(caplog: pytest.LogCaptureFixture) -> None:
    """Of many errors of one class and origin a few are shown; the rest are counted, and hide no other error."""
    kept = Kept()
    for number in range(900):
        kept.lose(ValueError(f"v{number}"), "WORKER")
    for _ in range(7):
        kept.lose(KeyError("k"))
    kept.lose(ValueError("rare"), "CHIEF")
    kept.lose(KeyError("other"))
    kept.unread.report()
    assert shown(caplog) == [*(f"v{number}" for number in range(20)), *["'k'"] * 5, "rare", "'other'"]
    assert caplog.messages[-1] == "Nobody read 882 more: ValueError of WORKER (880), KeyError (2)"


def test_five_equal_errors_are_all_shown(caplog: pytest.LogCaptureFixture) -> None:
    """A few equal errors are shown with nothing said of more."""
    kept = Kept()
    for number in range(5):
        kept.lose(ValueError(number))
    kept.unread.report()
    assert len(caplog.records) == len(shown(caplog)) == 5


def test_an_error_that_comes_again_has_readers_again(caplog: pytest.LogCaptureFixture) -> None:
    """An error whose stream was dropped, and which then ends another, is read if it is read there, and told once if not."""
    kept = Kept()
    read, unread = ValueError("read"), ValueError("unread")
    kept.lose(read)
    kept.lose(unread)
    again = [kept.hold(read), kept.hold(unread)]
    again[0].observed = True
    again.clear()
    kept.unread.report()
    assert shown(caplog) == ["unread"]


def test_an_error_that_ends_several_streams_is_one(caplog: pytest.LogCaptureFixture) -> None:
    """One exception that ends several streams is told once, and not at all if it is read in any of them."""
    kept = Kept()
    read, unread = ValueError("read"), ValueError("unread")
    streams = [kept.hold(error) for error in (read, unread, read, unread)]
    streams[0].observed = True
    kept.unread.report()
    assert shown(caplog) == ["unread"]


@pytest.mark.parametrize("held", [True, False])
def test_an_error_that_was_read_and_ends_its_reader_is_told(held: bool, caplog: pytest.LogCaptureFixture) -> None:
    """What somebody has read, and is ended by in turn, is reported if nobody reads that, whichever is dropped first."""
    kept = Kept()
    error = ValueError("passed on")
    first = kept.hold(error)
    first.observed = True
    second = [kept.hold(error)]
    if not held:
        second.clear()
    del first
    kept.unread.report()
    assert shown(caplog) == ["passed on"]


def test_what_was_reported_is_not_held_when_it_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    """An error that outlives its context is reported at its end, and not again when it is dropped."""
    kept = Kept()
    held = [kept.hold(ValueError())]
    kept.unread.report()
    held.clear()
    kept.unread.report()
    assert len(shown(caplog)) == 1


def test_what_is_dropped_while_a_report_is_made_is_in_it(caplog: pytest.LogCaptureFixture) -> None:
    """An error that a thread, or the garbage collector, drops in the middle of a report is in that report."""
    kept = Kept()

    class Slow(Failure):
        __slots__ = ()

        def __getattribute__(self, name: str) -> Any:
            if name == "observed":
                others.clear()
            return super().__getattribute__(name)

    slow = kept.unread.keep(Slow(ValueError("slow")))
    others = [kept.hold(ValueError("dropped"))]
    kept.unread.report()
    assert not slow.observed
    assert shown(caplog) == ["slow", "dropped"]


def test_what_was_reported_does_not_count_in_the_next_life(caplog: pytest.LogCaptureFixture) -> None:
    """A context that is used again has room for as many lost errors as before."""
    kept = Kept()
    for _ in range(999):
        kept.lose(ValueError())
    kept.unread.report()
    assert counted(caplog) == 999
    for _ in range(999):
        kept.lose(ValueError())
    assert counted(caplog) == 999


def test_lost_errors_of_a_context_that_never_ends_are_in_no_cycle() -> None:
    """A context that is dropped without its end is freed by reference counting, with the errors that it holds."""
    gc.collect()
    gc.disable()
    try:
        Kept().lose(ValueError())
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_a_report_made_by_a_finalizer_loses_no_error(caplog: pytest.LogCaptureFixture) -> None:
    """An error that is being collected at the moment of a report is told once, by that or the next."""
    kept = Kept()

    class Collected:
        def __init__(self) -> None:
            self.itself = self
            self.failure = kept.hold(ValueError("collected"))

        def __del__(self) -> None:
            kept.unread.report()

    Collected()
    gc.collect()
    kept.unread.report()
    assert shown(caplog) == ["collected"]
