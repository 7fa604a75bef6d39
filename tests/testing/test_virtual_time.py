"""The virtual-time loop: order from a seed, exact time, an end to every run."""

import asyncio
import contextlib
import gc
import inspect
import itertools
import logging
import math
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miniagents.promising.errors import MiniAgentsError
from miniagents.testing import (
    NothingCanMoveError,
    NotSimulatedError,
    StepLimitError,
    VirtualTimeLoop,
    VirtualTimeoutError,
    explore,
    run_virtual,
)


@pytest.fixture(autouse=True, scope="module")
def _only_new_garbage() -> Iterator[None]:
    """Makes `gc.collect()` look at the objects of these tests alone, not at all that others have imported."""
    gc.freeze()
    yield
    gc.unfreeze()


def line_of(function: Callable[..., object], text: str) -> str:
    """`file:line` of the one line of `function` that contains `text`."""
    lines, first = inspect.getsourcelines(function)
    (number,) = (first + offset for offset, line in enumerate(lines) if text in line)
    return f"{inspect.getsourcefile(function)}:{number}"


async def order_of_three() -> str:
    order: list[str] = []

    async def worker(name: str) -> None:
        order.append(name)

    await asyncio.gather(*(worker(name) for name in "abc"))
    return "".join(order)


async def trace_of_a_busy_program() -> tuple[tuple[str, float], ...]:
    loop = asyncio.get_running_loop()
    trace: list[tuple[str, float]] = []
    queue: asyncio.Queue[int] = asyncio.Queue(maxsize=2)

    async def producer(start: int) -> None:
        for number in range(start, start + 3):
            await queue.put(number)
            trace.append((f"put {number}", loop.time()))
            await asyncio.sleep(number % 3 * 0.1)

    async def consumer(name: str) -> None:
        while True:
            trace.append((f"{name} got {await queue.get()}", loop.time()))
            queue.task_done()

    consumers = [asyncio.create_task(consumer(name)) for name in ("x", "y")]
    async with asyncio.TaskGroup() as group:
        for start in (0, 10, 20):
            group.create_task(producer(start))
    await queue.join()
    for task in consumers:
        task.cancel()
    return tuple(trace)


# --- order ----------------------------------------------------------------------------------------------------------


def test_every_order_of_ready_tasks_comes_up() -> None:
    """Over enough seeds, tasks that are ready together run in every possible order."""
    assert set(explore(order_of_three, range(100))) == {"".join(order) for order in itertools.permutations("abc")}


@given(seed=st.integers())
@settings(max_examples=30)
def test_a_seed_repeats_its_run(seed: int) -> None:
    """The same seed gives the same steps at the same times, whatever ran before."""
    first = run_virtual(trace_of_a_busy_program, seed=seed)
    run_virtual(order_of_three, seed=seed + 1)
    assert run_virtual(trace_of_a_busy_program, seed=seed) == first


def test_seeds_differ() -> None:
    """Different seeds give many different runs of a program with choices."""
    assert len(set(explore(trace_of_a_busy_program, range(50)))) > 40


def test_a_task_keeps_the_order_of_its_own_steps() -> None:
    """However tasks are interleaved, each one takes its own steps in order."""

    async def main() -> None:
        steps: dict[str, list[int]] = {"a": [], "b": [], "c": []}

        async def worker(name: str) -> None:
            for number in range(5):
                steps[name].append(number)
                await asyncio.sleep(0)

        await asyncio.gather(*map(worker, steps))
        assert list(steps.values()) == [[0, 1, 2, 3, 4]] * 3

    explore(main, range(50))


def test_plain_callbacks_keep_their_order() -> None:
    """Callbacks run in the order in which they were scheduled, also `task.cancel` and also among shuffled tasks."""

    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        order: list[int] = []
        others = [asyncio.create_task(asyncio.sleep(0)) for _ in range(5)]
        victim = asyncio.create_task(asyncio.sleep(math.inf))
        await asyncio.sleep(1)
        for number in range(5):
            loop.call_soon(order.append, number)
        loop.call_soon(victim.cancel)
        loop.call_soon(lambda: order.append(victim.cancelling()))
        await asyncio.wait([victim, *others])
        return order

    assert all(order == [0, 1, 2, 3, 4, 1] for order in explore(main, range(50)))


def test_timers_of_the_same_time_keep_their_order() -> None:
    """Timers that are due at the same time run in the order in which they were set."""

    async def main() -> list[int]:
        order: list[int] = []
        for number in range(20):
            asyncio.get_running_loop().call_later(1, order.append, number)
        await asyncio.sleep(2)
        return order

    assert run_virtual(main) == list(range(20))


def test_tasks_are_named_by_their_order_in_the_loop() -> None:
    """Default task names are the same in every run, so that traces of different runs can be compared."""

    async def main() -> list[str]:
        tasks = [asyncio.create_task(asyncio.sleep(0)) for _ in range(2)]
        await asyncio.wait(tasks)
        return [task.get_name() for task in tasks]

    assert explore(main, range(3)) == [["Task-1", "Task-2"]] * 3


# --- time -----------------------------------------------------------------------------------------------------------


@given(delays=st.lists(st.floats(min_value=0, max_value=1000), min_size=1, max_size=10), seed=st.integers())
@settings(max_examples=50)
def test_time_is_exact(delays: list[float], seed: int) -> None:
    """A sleeper wakes exactly when its delay is over, not an instant earlier or later."""

    async def main() -> list[float]:
        async def sleeper(delay: float) -> float:
            await asyncio.sleep(delay)
            return asyncio.get_running_loop().time()

        return await asyncio.gather(*map(sleeper, delays))

    assert run_virtual(main, seed=seed) == delays


def test_a_due_timer_does_not_wait_until_nothing_else_is_ready() -> None:
    """A timer of no delay fires although other tasks never stop being ready."""

    async def main() -> None:
        busy = asyncio.create_task(keep_busy())
        asyncio.get_running_loop().call_later(0, busy.cancel)
        await asyncio.wait([busy])

    async def keep_busy() -> None:
        for _ in itertools.count():
            await asyncio.sleep(0)

    run_virtual(main)


def test_a_cancelled_timer_moves_nothing() -> None:
    """Time does not jump to a timer that was cancelled, and such a timer does not count as something to wait for."""

    async def main() -> None:
        asyncio.get_running_loop().call_later(50, print).cancel()
        await asyncio.sleep(1)
        await asyncio.Event().wait()

    with pytest.raises(NothingCanMoveError) as caught:
        run_virtual(main)
    assert caught.value.at == 1


def test_cancelled_timers_do_not_pile_up() -> None:
    """A program that sets and cancels time-outs for ever keeps few of them in memory."""

    async def main() -> int:
        timers: weakref.WeakSet[asyncio.TimerHandle] = weakref.WeakSet()
        for _ in range(2_000):
            timer = asyncio.get_running_loop().call_later(600, print)
            timers.add(timer)
            timer.cancel()
        return len(timers)

    assert run_virtual(main) < 500


def test_timeouts_and_task_groups_work() -> None:
    """`asyncio.timeout`, `wait_for` and `TaskGroup` do in virtual time what they do in real time."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(10):
                await asyncio.sleep(3600)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 5)
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(1))
            group.create_task(asyncio.sleep(0.5))
        return loop.time()

    assert explore(main, range(20)) == [16.0] * 20


# --- when nothing can move ------------------------------------------------------------------------------------------


def test_a_deadlock_names_every_waiting_task_and_line() -> None:
    """When nothing can move, the error has the name, the coroutine and the line of each waiting task."""

    async def wait_for_ever(event: asyncio.Event) -> None:
        await event.wait()  # the line

    async def main() -> None:
        await asyncio.create_task(wait_for_ever(asyncio.Event()), name="writer")

    with pytest.raises(NothingCanMoveError) as caught:
        run_virtual(main)
    main_task, writer = caught.value.waiting
    assert (main_task.name, main_task.waits_for_task) == ("main", "writer")
    assert writer.place == line_of(wait_for_ever, "# the line")
    assert writer.coroutine.endswith("wait_for_ever")
    assert f"'writer' ({writer.coroutine}) waits at {writer.place}" in str(caught.value)


def test_a_wait_at_the_bottom_of_many_calls_is_shown_in_short() -> None:
    """Of a long chain of awaits the innermost ten are shown, and how many there are outside of them."""

    async def down(left: int) -> None:
        await (down(left - 1) if left else asyncio.Event().wait())

    with pytest.raises(NothingCanMoveError, match=r"\.\.\. 7 outer frames") as caught:
        run_virtual(lambda: down(15))
    assert str(caught.value).count(" in ") == 10


def test_tasks_made_without_the_loop_are_named_too() -> None:
    """A task that was made by `asyncio.Task(...)`, and not by the loop, is listed and cleaned up like the others."""
    ended: list[str] = []

    async def wait_for_ever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("direct")

    async def main() -> None:
        await asyncio.Task(wait_for_ever(), loop=asyncio.get_running_loop(), name="direct")

    with pytest.raises(NothingCanMoveError) as caught:
        run_virtual(main)
    assert [task.name for task in caught.value.waiting] == ["main", "direct"]
    assert ended == ["direct"]


def test_a_wait_inside_an_async_generator_is_found() -> None:
    """The line is found through async generators and objects with an `__await__` of their own."""

    class Wait:
        def __await__(self) -> object:
            return asyncio.Event().wait().__await__()

    async def generate() -> AsyncIterator[int]:
        await Wait()  # the line
        yield 1

    async def main() -> None:
        async for _ in generate():
            pass

    with pytest.raises(NothingCanMoveError) as caught:
        run_virtual(main)
    (task,) = caught.value.waiting
    assert task.place == line_of(generate, "# the line")
    assert len(task.stack) == 3


def test_a_deadlock_is_an_error_of_the_library_and_a_runtime_error() -> None:
    """The error can be caught as `MiniAgentsError` and as `RuntimeError`."""
    assert issubclass(NothingCanMoveError, MiniAgentsError)
    assert issubclass(NothingCanMoveError, RuntimeError)
    assert issubclass(VirtualTimeoutError, TimeoutError)


def test_sleeping_for_ever_is_a_deadlock() -> None:
    """A sleep of infinite length is not something that can end."""
    with pytest.raises(NothingCanMoveError):
        run_virtual(asyncio.sleep(math.inf))


def test_a_deadlock_of_thousands_is_reported_in_short() -> None:
    """The message names some of very many waiting tasks and counts the rest; the error has them all."""

    async def main() -> None:
        await asyncio.gather(*(asyncio.Event().wait() for _ in range(1_000)))

    with pytest.raises(NothingCanMoveError, match="and 981 more") as caught:
        run_virtual(main)
    assert len(caught.value.waiting) == 1_001
    assert len(str(caught.value).splitlines()) < 100


def test_a_run_that_lasts_too_long_is_ended() -> None:
    """After `timeout` virtual seconds a run is ended with an error that names what was waiting."""
    with pytest.raises(VirtualTimeoutError, match=r"within 10 virtual seconds[^$]*'main'") as caught:
        run_virtual(asyncio.sleep(11), timeout=10)
    assert caught.value.at == 10


def test_a_run_that_lasts_just_as_long_as_allowed_succeeds() -> None:
    """`timeout` is the last allowed moment."""
    assert run_virtual(asyncio.sleep(10, "done"), timeout=10) == "done"


@pytest.mark.parametrize("step_maker", ["task", "callback"])
def test_a_busy_loop_is_ended(step_maker: str) -> None:
    """A program that never lets time pass is ended after `max_steps`, be it tasks or callbacks that keep it busy."""

    async def main() -> None:
        def again() -> None:
            asyncio.get_running_loop().call_soon(again)

        if step_maker == "callback":
            again()
            await asyncio.Event().wait()
        for _ in itertools.count():
            await asyncio.sleep(0)

    with pytest.raises(StepLimitError, match="500 steps"):
        run_virtual(main, max_steps=500)


# --- leaving nothing behind -----------------------------------------------------------------------------------------


async def deadlock() -> None:
    await asyncio.Event().wait()


async def failure() -> None:
    raise ValueError("planned")


async def success() -> None:
    await asyncio.sleep(0)


async def endless() -> None:
    await asyncio.sleep(1_000_000)


@pytest.mark.parametrize("ending", [success, failure, deadlock, endless])
def test_a_run_leaves_nothing_behind(
    ending: Callable[[], object], caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    """However a run ends, its tasks are cancelled, its generators closed, its loop closed, and nobody complains."""
    cleaned: list[str] = []

    async def generate() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await asyncio.sleep(1)
            cleaned.append("generator")

    async def forgotten() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(1)
            cleaned.append("task")

    async def main() -> None:
        kept.append(asyncio.get_running_loop())
        kept.append(asyncio.create_task(forgotten()))
        kept.append(generator := generate())
        await anext(generator)
        await asyncio.sleep(1)
        await ending()

    kept: list[object] = []
    with contextlib.suppress(ValueError, NothingCanMoveError, VirtualTimeoutError):
        run_virtual(main)
    assert sorted(cleaned) == ["generator", "task"]
    assert isinstance(kept[0], VirtualTimeLoop)
    assert kept[0].is_closed()
    kept.clear()
    gc.collect()
    assert not caplog.records
    assert not recwarn.list


def test_a_task_that_does_not_end_when_cancelled_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    """A task that outlives its cancellation, which would make `asyncio.run` hang, is named in an error."""

    async def stubborn() -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue

    async def main() -> None:
        asyncio.create_task(stubborn(), name="mule")  # noqa: RUF006
        await asyncio.sleep(1)

    with pytest.raises(NothingCanMoveError, match="'mule'"):
        run_virtual(main)
    gc.collect()
    assert not caplog.records


def test_the_error_of_the_program_goes_before_the_error_of_the_clean_up() -> None:
    """If the program failed and the clean-up too, the error of the program is raised, with a note about the other."""

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.Event().wait()

    async def main() -> None:
        asyncio.create_task(stubborn(), name="mule")  # noqa: RUF006
        await asyncio.sleep(1)
        raise ValueError("planned")

    with pytest.raises(ValueError, match="planned") as caught:
        run_virtual(main)
    assert "'mule'" in "".join(caught.value.__notes__)


def test_tasks_that_start_during_the_clean_up_are_ended_too() -> None:
    """A task which starts another one while it is cancelled does not smuggle it past the end of the run."""
    ended: list[str] = []

    async def second() -> None:
        try:
            await asyncio.sleep(math.inf)
        finally:
            ended.append("second")

    async def first() -> None:
        try:
            await asyncio.sleep(math.inf)
        finally:
            late.append(asyncio.create_task(second()))
            await asyncio.sleep(0)

    async def main() -> None:
        late.append(asyncio.create_task(first()))
        await asyncio.sleep(1)

    late: list[object] = []
    for seed in range(20):
        ended.clear()
        run_virtual(main, seed=seed)
        assert all(isinstance(task, asyncio.Task) and task.done() for task in late)


def test_a_failure_during_the_clean_up_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """An error that a left-over task raises when it is cancelled is reported where asyncio reports such errors."""

    async def forgotten() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("planned")

    async def main() -> None:
        asyncio.create_task(forgotten())  # noqa: RUF006
        await asyncio.sleep(1)

    with caplog.at_level(logging.ERROR, "asyncio"):
        run_virtual(main)
    (record,) = caplog.records
    assert record.exc_info is not None
    assert "planned" in str(record.exc_info[1])


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_exits_pass_through(error: type[BaseException], caplog: pytest.LogCaptureFixture) -> None:
    """`KeyboardInterrupt` and `SystemExit` leave the run, after the clean-up, and nothing is logged."""
    cleaned: list[int] = []

    async def main() -> None:
        async def other() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cleaned.append(1)

        tasks.append(asyncio.create_task(other()))
        await asyncio.sleep(1)
        raise error

    tasks: list[object] = []
    raised = False
    try:
        run_virtual(main)
    except error:  # not `pytest.raises`, which would keep the task alive that must not complain when it is collected
        raised = True
    assert raised
    gc.collect()
    assert cleaned
    assert not caplog.records


def test_the_loop_keeps_no_task_alive(caplog: pytest.LogCaptureFixture) -> None:
    """A task that nobody holds vanishes when garbage is collected, as it would in any loop of asyncio."""

    async def main() -> tuple[int, int]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        asyncio.create_task(deadlock(), name="lost")  # noqa: RUF006
        await asyncio.sleep(1)
        before = len(loop.tasks)
        gc.collect()
        return before, len(loop.tasks)

    assert run_virtual(main) == (2, 1)
    assert "Task was destroyed but it is pending" in caplog.text


# --- steps ----------------------------------------------------------------------------------------------------------


def test_every_step_is_announced() -> None:
    """`on_step` sees each step with its number, from 0, and the task that takes it."""
    seen: list[tuple[int, str]] = []

    async def main() -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    run_virtual(main, on_step=lambda number, task: seen.append((number, task.get_name())))
    assert seen == [(0, "main"), (1, "main"), (2, "main")]


def test_a_cancel_sweep_reaches_every_step() -> None:
    """A task that the hook cancels before a step sees the cancellation in that very step."""
    reached: list[int] = []

    async def main() -> None:
        for number in range(3):
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                reached.append(number)
                raise

    for step in range(4):
        with pytest.raises(asyncio.CancelledError):
            run_virtual(main, on_step=lambda number, task, step=step: number == step and task.cancel())
    assert reached == [0, 1, 2]  # before step 0 nothing of it has run


def test_the_hook_finds_other_tasks_in_a_known_order() -> None:
    """The loop lists the live tasks in the order of their creation, so that a hook can pick its victim."""
    picked: list[list[str]] = []

    def hook(number: int, task: "asyncio.Task[object]") -> None:
        loop = task.get_loop()
        assert isinstance(loop, VirtualTimeLoop)
        picked.append([other.get_name() for other in loop.tasks])

    async def main() -> None:
        await asyncio.gather(*(asyncio.sleep(number) for number in (3, 2, 1)))

    run_virtual(main, on_step=hook, seed=5)
    assert picked[0] == ["main"]
    assert picked[1] == ["main", "Task-1", "Task-2", "Task-3"]
    assert picked[-1] == ["main"]


def test_an_error_of_the_hook_ends_the_run() -> None:
    """What the hook raises leaves the run, and the task that was about to move is ended like all others."""

    def hook(number: int, task: object) -> None:
        if number == 1:
            raise ValueError("planned")

    async def main() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            ended.append(1)

    ended: list[int] = []
    with pytest.raises(ValueError, match="planned") as caught:
        run_virtual(main, on_step=hook)
    assert ended
    assert not hasattr(caught.value, "__notes__")


# --- explore --------------------------------------------------------------------------------------------------------


def test_exploring_finds_a_lost_update_and_tells_the_seed() -> None:
    """A race is found by some seed; the note of the error tells it, and that seed alone shows the race again."""

    async def lost_update() -> None:
        balance = 0

        async def deposit() -> None:
            nonlocal balance
            before = balance
            await asyncio.sleep(0)
            balance = before + 1

        await asyncio.gather(deposit(), deposit())
        assert balance == 2

    with pytest.raises(AssertionError) as caught:
        explore(lost_update, range(200))
    (note,) = caught.value.__notes__
    seed = int(note.rpartition("seed=")[2].rstrip(")"))
    assert f"It failed with seed {seed}; to run that again: run_virtual(" in note
    with pytest.raises(AssertionError):
        run_virtual(lost_update, seed=seed)
    if seed:
        assert len(explore(lost_update, range(seed))) == seed


def test_exploring_nothing_is_refused() -> None:
    """An empty range of seeds, which would test nothing, is an error."""
    with pytest.raises(ValueError, match="no seeds"):
        explore(success, [])


# --- the edges ------------------------------------------------------------------------------------------------------


def test_a_function_a_coroutine_and_an_awaitable_can_be_run() -> None:
    """`run_virtual` takes an async function, a coroutine, or any object with `__await__`."""

    class Answer:
        def __await__(self) -> object:
            return asyncio.sleep(1, "awaitable").__await__()

    async def function() -> str:
        return "function"

    assert run_virtual(function) == "function"
    assert run_virtual(function()) == "function"
    assert run_virtual(Answer()) == "awaitable"


def test_what_cannot_be_run_is_refused() -> None:
    """A function that is not async is refused with a hint."""
    with pytest.raises(TypeError, match="Expected an async function"):
        run_virtual(lambda: 42)


def test_a_run_inside_a_loop_is_refused() -> None:
    """Inside a running event loop `run_virtual` says what to do, and leaves no coroutine that was never awaited."""

    async def main() -> None:
        with pytest.raises(RuntimeError, match="call it from a plain function"):
            run_virtual(success())

    run_virtual(main)


def test_the_loop_works_with_a_runner() -> None:
    """`asyncio.Runner` accepts the loop, several times over."""
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(3)) as runner:
        runner.run(asyncio.sleep(100))
        runner.run(asyncio.sleep(100))
        assert runner.get_loop().time() == 200


def test_call_soon_threadsafe_works_in_the_own_thread() -> None:
    """`call_soon_threadsafe` is an ordinary `call_soon` when it comes from the thread of the loop."""

    async def main() -> None:
        event = asyncio.Event()
        asyncio.get_running_loop().call_soon_threadsafe(event.set)
        await event.wait()

    run_virtual(main)


def test_other_threads_are_refused() -> None:
    """A call from another thread fails there at once, and is not lost in silence."""
    errors: list[BaseException] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def intrude() -> None:
            try:
                loop.call_soon_threadsafe(print)
            except NotSimulatedError as error:
                errors.append(error)

        thread = threading.Thread(target=intrude)
        thread.start()
        thread.join()

    run_virtual(main)
    assert "from another thread" in str(errors[0])


@pytest.mark.parametrize(
    ("use", "named"),
    [
        (lambda: asyncio.to_thread(print), "to_thread"),
        (lambda: asyncio.open_connection("127.0.0.1", 1), "create_connection"),
        (lambda: asyncio.start_server(print, "127.0.0.1", 0), "create_server"),
        (lambda: asyncio.create_subprocess_exec("true"), "subprocess_exec"),
    ],
)
def test_what_is_not_simulated_is_refused(use: Callable[[], object], named: str) -> None:
    """Threads, sockets and processes are refused with an error that names what was asked for."""

    async def main() -> None:
        await use()

    with pytest.raises(NotSimulatedError, match=named):
        run_virtual(main)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
def test_eager_tasks_work() -> None:
    """With the eager task factory, tasks run up to their first wait at once, and are cleaned up like others."""

    async def main() -> str:
        task = asyncio.create_task(asyncio.sleep(0, "eager"))
        asyncio.create_task(asyncio.Event().wait())  # noqa: RUF006
        return await task

    assert explore(main, range(10), task_factory=asyncio.eager_task_factory) == ["eager"] * 10
