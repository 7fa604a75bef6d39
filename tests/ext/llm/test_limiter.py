"""The limiter: nobody begins too early, nobody overtakes, nothing is lost, and nobody waits longer than the limits say."""

import asyncio
import gc
import logging
import re
import threading
import weakref
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniagents.ext.llm import _limiter
from miniagents.ext.llm._limiter import limiter_for
from miniagents.ext.llm._slots import Limiter
from miniagents.ext.llm.errors import LLMParameterError
from miniagents.ext.llm.limits import Limits
from miniagents.testing import explore, run_virtual

ask = partial(limiter_for, "OpenAI", "https://api.test/v1", "key")


@dataclass(frozen=True)
class Job:
    """A request that comes at a time, is open for some seconds, and has some tokens."""

    comes: float
    lasts: float
    tokens: int = 0


@dataclass
class Log:
    """What has happened."""

    began: dict[int, float] = field(default_factory=dict)
    ended: dict[int, float] = field(default_factory=dict)


async def run_job(number: int, job: Job, limiter: Limiter, log: Log) -> None:
    clock = asyncio.get_running_loop().time
    await asyncio.sleep(job.comes)
    async with limiter.slot(estimated_tokens=job.tokens):
        log.began[number] = clock()
        await asyncio.sleep(job.lasts)
    log.ended[number] = clock()


async def run_jobs(jobs: list[Job], limits: Limits) -> Log:
    log, limiter = Log(), ask(limits)
    await asyncio.gather(*(run_job(number, job, limiter, log) for number, job in enumerate(jobs)))
    assert "0 open, 0 waiting" in repr(limiter)
    return log


def expected_beginnings(jobs: list[Job], limits: Limits) -> list[float]:
    """When each of the jobs, which come one after the other, begins: as early as the rules allow it."""
    beginnings: list[float] = []
    for number, job in enumerate(jobs):
        earlier = list(zip(jobs, beginnings, strict=False))
        soonest = max([job.comes, *beginnings[-1:]])
        moments = {soonest} | {t for other, begin in earlier for t in (begin + other.lasts, begin + 60)}

        def may_begin(t: float, job: Job = job, earlier: list[tuple[Job, float]] = earlier) -> bool:
            still_open = sum(begin + other.lasts > t for other, begin in earlier)
            in_window = [other for other, begin in earlier if begin + 60 > t]
            tokens = sum(other.tokens for other in in_window)
            return (
                still_open < limits.concurrency
                and (limits.requests_per_minute is None or len(in_window) < limits.requests_per_minute)
                and (limits.tokens_per_minute is None or tokens + job.tokens <= limits.tokens_per_minute or not tokens)
            )

        beginnings.append(min(t for t in moments if t >= soonest and may_begin(t)))
        assert len(beginnings) == number + 1
    return beginnings


limits_of_all_kinds = st.builds(
    Limits,
    concurrency=st.integers(1, 5),
    requests_per_minute=st.none() | st.integers(1, 5),
    tokens_per_minute=st.none() | st.integers(1, 100),
)
# Nobody comes at the same moment as another one, whose order would be open.
jobs_one_after_the_other = st.lists(
    st.tuples(st.integers(1, 30), st.integers(0, 100), st.integers(1, 120)), min_size=1, max_size=12
).map(lambda jobs: [Job(sum(gap for gap, _, _ in jobs[: n + 1]), job[1], job[2]) for n, job in enumerate(jobs)])


@given(jobs_one_after_the_other, limits_of_all_kinds, st.integers(0, 100))
def test_everybody_begins_in_turn_and_as_early_as_the_limits_allow(jobs: list[Job], limits: Limits, seed: int) -> None:
    """Requests begin in the order in which they came, each at the first moment at which all limits allow it."""
    log = run_virtual(run_jobs(jobs, limits), seed=seed)
    assert [log.began[number] for number in range(len(jobs))] == expected_beginnings(jobs, limits)


@given(limits_of_all_kinds, st.integers(1, 20), st.integers(0, 100))
def test_a_crowd_stays_within_the_limits(limits: Limits, crowd: int, seed: int) -> None:
    """However many come in one moment, no more are open at once, and begin within any minute, than may."""
    log = run_virtual(run_jobs([Job(0, 7, 10)] * crowd, limits), seed=seed)
    times = [(log.began[number], log.ended[number]) for number in range(crowd)]
    for begin, _ in times:
        assert sum(other <= begin < end for other, end in times) <= limits.concurrency
        in_window = sum(begin <= other < begin + 60 for other, _ in times)
        assert limits.requests_per_minute is None or in_window <= limits.requests_per_minute
        assert limits.tokens_per_minute is None or in_window <= max(1, limits.tokens_per_minute // 10)


SWEPT = [Limits(concurrency=2), Limits(concurrency=3, requests_per_minute=4), Limits(tokens_per_minute=100)]


@pytest.mark.parametrize("limits", SWEPT, ids=str)
@pytest.mark.parametrize("victim", range(6))
def test_who_gives_up_takes_nothing_along(limits: Limits, victim: int) -> None:
    """Whenever one is cancelled, waiting or open, nobody begins later for it, and no limit is broken."""
    jobs = [Job(number, 10, 30) for number in range(6)]

    async def main() -> Log:
        log, limiter = Log(), ask(limits)
        tasks = [asyncio.create_task(run_job(n, job, limiter, log), name=f"job {n}") for n, job in enumerate(jobs)]
        await asyncio.wait(tasks)
        assert "0 open, 0 waiting" in repr(limiter)
        assert all(task.cancelled() or not task.exception() for task in tasks)
        return log

    untouched = run_virtual(main)
    steps = 0

    def count(number: int, task: "asyncio.Task[Any]") -> None:
        nonlocal steps
        steps = number + 1

    run_virtual(main, on_step=count)
    for step in range(steps):

        def cancel(number: int, task: "asyncio.Task[Any]", step: int = step) -> None:
            if number == step:
                for other in asyncio.all_tasks(task.get_loop()):
                    if other.get_name() == f"job {victim}":
                        other.cancel()

        log = run_virtual(main, on_step=cancel)
        others = set(range(6)) - {victim}
        assert log.ended.keys() >= others
        assert all(log.began[number] <= untouched.began[number] for number in others)
        times = [(begin, log.ended.get(number, begin)) for number, begin in log.began.items()]
        for begin, _ in times:
            assert sum(other <= begin < end for other, end in times) <= limits.concurrency
            in_window = sum(begin <= other < begin + 60 for other, _ in times)
            assert in_window <= (limits.requests_per_minute or 6)
            assert 30 * in_window <= (limits.tokens_per_minute or 180)


def test_the_order_holds_in_every_schedule() -> None:
    """Nobody begins before one that came earlier, in whatever order tasks are woken, and whoever gave up between them."""

    async def main() -> None:
        log, limiter = Log(), ask(Limits(concurrency=2))
        tasks = [asyncio.create_task(run_job(n, Job(n / 100, 1), limiter, log)) for n in range(20)]
        await asyncio.sleep(0.5)
        for number in range(5, 20, 3):
            tasks[number].cancel()
        await asyncio.wait(tasks)
        assert log.began.keys() == set(range(20)) - set(range(5, 20, 3))
        times = [log.began[number] for number in sorted(log.began)]
        assert times == sorted(times)

    explore(main, range(50))


def repr_waiting(limiter: Limiter) -> int:
    found = re.search(r"(\d+) waiting", repr(limiter))
    assert found is not None
    return int(found[1])


def test_what_was_really_used_counts() -> None:
    """Less than estimated makes room at once; what is beyond the estimate counts for a minute from when it is told."""

    async def main() -> None:
        limiter, clock = ask(Limits(tokens_per_minute=100)), asyncio.get_running_loop().time
        async with limiter.slot(estimated_tokens=90) as slot:
            slot.used(50)
        async with limiter.slot(estimated_tokens=50):
            assert clock() == 0
        async with limiter.slot(estimated_tokens=40) as slot:
            assert clock() == 60
            await asyncio.sleep(20)
            slot.used(70)
            slot.used(80)
            slot.used(80)
        async with limiter.slot(estimated_tokens=60) as slot:  # 40 of the 80 count until 120, and 40 until 140
            assert clock() == 120
            slot.used(0)
        async with limiter.slot(estimated_tokens=70):
            assert clock() == 140
            slot.used(0)

    run_virtual(main)


def test_who_waits_begins_as_soon_as_there_is_room() -> None:
    """Who waits for tokens is called when an estimate turns out too high, and when the one before it gives up."""

    async def main() -> None:
        limiter, log = ask(Limits(tokens_per_minute=100)), Log()
        jobs = [Job(1, 0, 50), Job(2, 0, 90), Job(3, 0, 10)]
        async with limiter.slot(estimated_tokens=90) as slot:
            tasks = [asyncio.create_task(run_job(number, job, limiter, log)) for number, job in enumerate(jobs)]
            await asyncio.sleep(10)
            slot.used(40)
            await asyncio.sleep(10)
            assert log.began == {0: 10}
            tasks[1].cancel()
            await asyncio.wait(tasks)
        assert log.began == {0: 10, 2: 20}
        assert limiter._alarms == {}

    run_virtual(main)


def test_a_request_without_an_estimate_waits_too() -> None:
    """A minute whose tokens are used up is closed to all."""
    log = run_virtual(run_jobs([Job(0, 1, 100), Job(1, 1, 0)], Limits(tokens_per_minute=100)))
    assert log.began == {0: 0, 1: 60}


def test_one_that_is_larger_than_the_limit_waits_until_it_is_alone() -> None:
    """A request that no minute has room for does not wait for ever."""
    log = run_virtual(run_jobs([Job(0, 1, 10), Job(1, 1, 500), Job(2, 1, 1)], Limits(tokens_per_minute=100)))
    assert log.began == {0: 0, 1: 60, 2: 120}


def test_the_limits_given_last_hold() -> None:
    """New limits hold as a whole and at once, also for those who wait; without limits nothing changes."""

    async def main() -> None:
        limiter, log = ask(Limits(concurrency=1)), Log()
        assert ask() is limiter
        tasks = [asyncio.create_task(run_job(n, Job(n, 10), limiter, log)) for n in range(6)]
        await asyncio.sleep(6)
        assert list(log.began) == [0]
        ask(None)
        assert list(log.began) == [0]
        ask(Limits(concurrency=3))
        await asyncio.sleep(1)
        assert log.began.keys() == {0, 1, 2}
        ask(Limits(concurrency=1))  # three are open: nobody is cut off, and nobody begins until there is none
        await asyncio.gather(*tasks)
        assert log.began == {0: 0, 1: 6, 2: 6, 3: 16, 4: 26, 5: 36}

    run_virtual(main)


def test_a_pause_holds_for_all_and_they_do_not_begin_in_one_moment() -> None:
    """Nobody begins until the pause is over, and then one after the other within about a second."""

    async def main() -> None:
        log, limiter = Log(), ask(Limits(concurrency=50))
        async with limiter.slot() as slot:
            slot.pause(20)
            limiter.pause(5)  # does not shorten it
        await asyncio.gather(*(run_job(number, Job(number / 10, 0), limiter, log) for number in range(50)))
        times = sorted(log.began.values())
        assert 20 <= times[0] <= 21
        assert len(set(times)) == 50
        assert 0.5 < times[-1] - times[0] < 2
        assert times == [log.began[number] for number in range(50)]
        async with limiter.slot():
            pass

    explore(main, range(10))


def test_who_was_called_but_has_not_begun_heeds_a_pause() -> None:
    """A pause also holds for those whose turn had come in the same moment, and they keep their places."""

    async def main() -> None:
        log, limiter = Log(), ask(Limits(concurrency=3, requests_per_minute=20))
        slots = [limiter.slot() for _ in range(3)]
        for slot in slots:
            await slot.__aenter__()
        tasks = [asyncio.create_task(run_job(number, Job(number, 0), limiter, log)) for number in range(10)]
        await asyncio.sleep(20)
        for slot in slots:
            await slot.__aexit__(None, None, None)
        limiter.pause(30)
        await asyncio.gather(*tasks)
        times = [log.began[number] for number in range(10)]
        assert times == sorted(times)
        assert times[0] >= 50

    explore(main, range(20))


def test_requests_that_were_not_sent_do_not_count() -> None:
    """Who is cancelled when its turn has come, and has not begun, leaves the minute as it was."""

    async def main() -> None:
        log, limiter = Log(), ask(Limits(concurrency=1, requests_per_minute=2))
        first = limiter.slot()
        await first.__aenter__()
        waiting = asyncio.create_task(run_job(1, Job(0, 0), limiter, log))
        await asyncio.sleep(1)
        await first.__aexit__(None, None, None)
        waiting.cancel()  # it was called just now
        await asyncio.wait([waiting])
        await run_job(2, Job(0, 0), limiter, log)
        assert log.began == {2: 1}

    explore(main, range(20))


def test_each_key_and_each_address_has_a_limiter_of_its_own() -> None:
    """Provider, address and key together say who shares the limits; a key stands in no text, and is not kept."""

    async def main() -> None:
        places = [("OpenAI", "https://a.test", "k1"), ("OpenAI", "https://a.test", "k2"), ("X", "https://a.test", "k1")]
        places += [("OpenAI", "https://b.test", "k1"), ("OpenAI", "https://user:k3@a.test", "k1")]
        limiters = [limiter_for(*place) for place in places]
        assert len(set(map(id, limiters))) == len(places)
        assert [limiter_for(*place) for place in places] == limiters
        assert limiter_for("OpenAI", "https://a.test", None) is limiter_for("OpenAI", "https://a.test", "")
        seen = " ".join(map(repr, [*limiters, *_limiter._LIMITERS_ELSEWHERE.values(), *map(vars, limiters)]))
        seen += repr([vars(limiters_here) for limiters_here in _limiter._LIMITERS_ELSEWHERE.values()])
        assert "OpenAI at https://a.test" in seen
        assert not re.search("k1|k2|k3", seen)

    run_virtual(main)


def test_a_limiter_lives_as_long_as_it_matters() -> None:
    """What nobody uses is forgotten, unless a minute or a pause is left in which it counts."""

    async def main() -> None:
        clock = asyncio.get_running_loop().time
        for limits in (Limits(concurrency=2), Limits(requests_per_minute=1)):
            async with ask(limits).slot():
                pass
        gone = weakref.ref(limiter_for("OpenAI", "https://b.test", "key", Limits(concurrency=1)))
        assert gone() is None
        async with ask().slot():  # the limit is kept as long as the request of its minute counts
            assert clock() == 60
        ask().pause(10)
        async with ask().slot():
            assert clock() >= 70
        await asyncio.sleep(120)
        limiters = _limiter._limiters_of(asyncio.get_running_loop())
        for number in range(200):  # new ones sweep out the old ones
            limiter_for("OpenAI", f"https://{number}.test", "key").pause(1000 + number)
        assert len(limiters._counting) == 200
        assert ask()._limits == Limits()

    run_virtual(main)


def test_worlds_with_a_time_of_their_own_share_nothing() -> None:
    """A program in virtual time does not wait for what another one has asked, nor is its loop kept."""

    async def main() -> "weakref.ref[object]":
        async with ask(Limits(requests_per_minute=1)).slot():
            assert asyncio.get_running_loop().time() == 0
        return weakref.ref(asyncio.get_running_loop())

    loops = [run_virtual(main), run_virtual(main)]
    gc.collect()
    assert [loop() for loop in loops] == [None, None]


def test_threads_with_loops_of_their_own_share_a_limiter() -> None:
    """What all threads together have open is within the limits, and all of them come to an end."""
    lock, is_open, most, done = threading.Lock(), 0, 0, 0

    async def request() -> None:
        nonlocal is_open, most, done
        async with limiter_for("OpenAI", "https://threads.test", "key", Limits(concurrency=3)).slot():
            with lock:
                is_open += 1
                most = max(most, is_open)
            for _ in range(3):
                await asyncio.sleep(0)
            with lock:
                is_open -= 1
                done += 1

    async def program() -> None:
        await asyncio.gather(*(request() for _ in range(100)))

    threads = [threading.Thread(target=asyncio.run, args=(program(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == 400
    assert most == 3


def run_until_it_waits(limiter: Limiter) -> tuple[asyncio.AbstractEventLoop, Coroutine[Any, Any, Any]]:
    """A loop that is closed while somebody in it waits, with what that one runs."""
    loop = asyncio.new_event_loop()
    request = run_job(0, Job(0, 0, 90), limiter, Log())
    task = loop.create_task(request)
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]

    loop.run_until_complete(asyncio.wait([task], timeout=0))
    loop.close()
    assert repr_waiting(limiter) == 1
    return loop, request


@pytest.mark.parametrize(
    ("limits", "begins"),
    [(Limits(concurrency=1), 5), (Limits(requests_per_minute=1), 60), (Limits(tokens_per_minute=100), 1)],
    ids=["slot", "minute", "tokens"],
)
def test_a_waiter_whose_loop_was_closed_holds_up_nobody(limits: Limits, begins: float) -> None:
    """Who waits in a loop that runs no more is passed over, also if it was first, and may be thrown away later."""
    clock: list[Callable[[], float]] = [lambda: 0.0]
    limiter = Limiter("a model", lambda: clock[0](), lambda _: None, _limiter.random.Random(0))
    limiter.limit(limits)
    log = Log()

    async def main() -> None:
        clock[0] = asyncio.get_running_loop().time
        await run_job(2, Job(1, 1), limiter, log)

    first = limiter.slot(estimated_tokens=20)
    run_virtual(first.__aenter__())
    _, request = run_until_it_waits(limiter)

    async def program() -> None:
        task = asyncio.create_task(main())
        await asyncio.sleep(5)
        await first.__aexit__(None, None, None)
        await task

    run_virtual(program)
    assert log.began[2] == begins
    request.close()
    assert "0 open, 0 waiting" in repr(limiter)


def test_a_slot_that_is_thrown_away_with_its_loop_comes_back() -> None:
    """Also when the garbage collector does it while the same thread is changing the limiter."""

    async def main() -> None:
        limiter = ask(Limits(concurrency=1))
        holder = hold(limiter)
        holder.send(None)
        waiting = asyncio.create_task(run_job(1, Job(0, 1), limiter, Log()))
        await asyncio.sleep(1)
        assert repr_waiting(limiter) == 1
        limiter.do(holder.close)
        await waiting

    async def hold(limiter: Limiter) -> None:
        async with limiter.slot():
            await forever()

    run_virtual(main)


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


def test_an_order_that_comes_at_the_last_moment_is_carried_out() -> None:
    """What another thread wants just when one has done its work, and is still thought to be at it, is not forgotten."""

    class Lock:
        def __init__(self) -> None:
            self.lock = threading.Lock()
            self.acquire = self.lock.acquire

        def release(self) -> None:
            if not done:
                limiter.do(partial(done.append, "late"))
            self.lock.release()

    async def main() -> None:
        limiter.do(lambda: None)

    done: list[str] = []
    limiter = Limiter("a model", lambda: 0.0, lambda _: None, _limiter.random.Random(0))
    limiter._at_work = Lock()  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    run_virtual(main)
    assert done == ["late"]


def test_a_slot_serves_once() -> None:
    """A slot that was used is refused, with what to do."""

    async def main() -> None:
        slot = ask().slot()
        async with slot:
            pass
        with pytest.raises(RuntimeError, match="ask the limiter for another one"):
            await slot.__aenter__()

    run_virtual(main)


def test_who_waits_long_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    """A pause is in the log once, at INFO, and each wait of more than five seconds at DEBUG; no other wait is."""
    caplog.set_level(logging.DEBUG, "miniagents")

    async def main() -> None:
        limiter = ask(Limits(concurrency=1))
        slots = limiter.slot(), limiter.slot()
        await slots[0].__aenter__()
        waiting = asyncio.create_task(run_job(0, Job(0, 0), limiter, Log()))
        await asyncio.sleep(4)
        await slots[0].__aexit__(None, None, None)
        await waiting
        assert "waited" not in caplog.text
        for seconds in (7, 9, 8, 12):
            limiter.pause(seconds)
        await run_job(1, Job(0, 0), limiter, Log())

    run_virtual(main)
    told = [(record.levelname, record.getMessage()) for record in caplog.records]
    (pause,) = [text for level, text in told if level == "INFO"]
    assert pause == "OpenAI at https://api.test/v1 asks to wait for 7 s; until then no request to it begins."
    (wait,) = [text for level, text in told if level == "DEBUG" and "waited" in text]
    assert "has waited for 5 s" in wait


@pytest.mark.parametrize("bad", [0, -1, True, float("nan"), 1.5, "8"], ids=repr)
@pytest.mark.parametrize("name", ["concurrency", "requests_per_minute", "tokens_per_minute"])
def test_limits_that_cannot_be_are_refused_at_once(name: str, bad: Any) -> None:
    """Only whole numbers from 1 are limits, and the error says which one is wrong, and how to have none."""
    with pytest.raises(LLMParameterError, match=f"`{name}` is a whole number from 1, not .*: .* if there is to be no"):
        Limits(**{name: bad})
