"""Tests of concurrent code in which time is virtual, task order is drawn from a seed, and nothing can hang.

```python
from miniagents.testing import explore, run_virtual

async def scenario() -> None:
    ...                                         # asyncio.sleep(3600) takes no real time here

def test_scenario_in_any_order() -> None:
    explore(scenario, seeds=range(200))         # a failure names its seed
    run_virtual(scenario, seed=17)              # and this runs that one again
```

What holds in such a run:

* **Order.** Whenever several tasks are ready, the seed decides which one takes the next step, so code that relies on
  an order that asyncio does not promise fails for some seed. Plain callbacks (`call_soon`, timers, done callbacks) keep
  the order in which they became ready among themselves, and a task takes its own steps in order.
* **Time** stands still while anything is ready, and then jumps exactly to the next timer. `loop.time()` starts at 0.
* **The end.** When nothing is ready and no timer is set, nothing can ever move again: `NothingCanMoveError` names the
  tasks that wait and the lines where they do. Endless loops run into `max_steps`, or into `timeout` (virtual seconds).
* **Repetition.** The same seed gives the same steps, as long as the program itself does the same when it is repeated:
  no wall-clock time, no unseeded randomness, no order of sets. Another version of Python may take other steps.

Not simulated: threads, sockets, processes, signals. Asking for one raises `NotSimulatedError` at once.

A sweep, here a program whose tasks are cancelled before each of their steps in turn:

```python
steps: list[int] = []
run_virtual(scenario, on_step=lambda number, task: steps.append(number))
for step in steps:
    run_virtual(scenario, on_step=lambda number, task: number == step and task.cancel())
```
"""

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from miniagents.promising.waiting import WaitingTask
from miniagents.testing._virtual_loop import MAX_STEPS, ONE_DAY, StepHook, VirtualTimeLoop
from miniagents.testing._waiting import (
    NothingCanMoveError,
    NotSimulatedError,
    SimulationStuckError,
    StepLimitError,
    VirtualTimeoutError,
)

__all__ = [
    "NotSimulatedError",
    "NothingCanMoveError",
    "SimulationStuckError",
    "StepHook",
    "StepLimitError",
    "VirtualTimeLoop",
    "VirtualTimeoutError",
    "WaitingTask",
    "explore",
    "run_virtual",
]

T = TypeVar("T")


def run_virtual(
    main: Callable[[], Awaitable[T]] | Awaitable[T],
    *,
    seed: int = 0,
    timeout: float = ONE_DAY,
    on_step: StepHook | None = None,
    max_steps: int = MAX_STEPS,
    task_factory: Any = None,
) -> T:
    """Runs `main` in a new `VirtualTimeLoop` and returns its result, like `asyncio.run` but in virtual time.

    Afterwards it cleans up like `asyncio.run`: tasks that are left are cancelled and waited for, async generators are
    closed, the loop is closed. Unlike there, a task that does not end when it is cancelled makes an error, not a hang.

    Args:
        main: An async function without parameters, or something to await.
        seed: Decides the order of the tasks.
        timeout: Virtual seconds after which `VirtualTimeoutError` is raised; a day if not given.
        on_step: Called as `on_step(number, task)` before each step of each task, except while it cleans up. It may
            cancel tasks (one that is cancelled before its own step sees it in that step); what it raises ends the run.
        max_steps: How many steps and callbacks may run before `StepLimitError` is raised.
        task_factory: Handed to `loop.set_task_factory`, for example `asyncio.eager_task_factory`.

    Raises:
        NothingCanMoveError: Nothing is ready and no timer is set; it names the tasks that wait, and where. Also if
            `main` has ended but a task that it left behind does not end when it is cancelled.
        VirtualTimeoutError, StepLimitError: It took too long, or too many steps.
        RuntimeError: Called inside a running event loop.
        BaseException: Whatever `main` raises.
    """
    _refuse_inside_a_loop(main)
    awaitable = main() if callable(main) else main
    if not inspect.isawaitable(awaitable):
        raise TypeError(f"Expected an async function without parameters, or something to await; got {main!r}.")
    loop = VirtualTimeLoop(seed, on_step=on_step, timeout=timeout, max_steps=max_steps)
    loop.set_task_factory(task_factory)
    task = loop.create_task(awaitable if inspect.iscoroutine(awaitable) else _wait_for(awaitable), name="main")
    try:
        result: T = loop.run_until_complete(task)
    except BaseException as error:
        problem = _clean_up(loop)
        if problem is not None and problem is not error:
            error.add_note(f"Cleaning up failed as well: {problem}")
        raise
    problem = _clean_up(loop)
    if problem is not None:
        raise problem
    return result


def explore(
    function: Callable[[], Awaitable[T]],
    seeds: Iterable[int] = range(100),
    *,
    timeout: float = ONE_DAY,
    max_steps: int = MAX_STEPS,
    task_factory: Any = None,
) -> list[T]:
    """Runs `function()` once for each seed, each time in a new loop, and returns the results in the order of the seeds.

    The first failure ends it: the error of that run is raised as it is, with a note that tells its seed and how to run
    it again. Example: `assert set(explore(scenario)) == {"done"}`. The other arguments are those of `run_virtual`.
    """
    results: list[T] = []
    for seed in seeds:
        try:
            results.append(
                run_virtual(function, seed=seed, timeout=timeout, max_steps=max_steps, task_factory=task_factory)
            )
        except BaseException as error:
            name = getattr(function, "__qualname__", repr(function))
            error.add_note(f"It failed with seed {seed}; to run that again: run_virtual({name}, seed={seed})")
            raise
    if not results:
        raise ValueError("There are no seeds, so nothing was run.")
    return results


def _clean_up(loop: VirtualTimeLoop) -> BaseException | None:
    """Ends what is left of the program and closes the loop; returns what went wrong with that."""
    problem: BaseException | None = None
    loop.on_step = None
    loop.renew_limits()
    while (leftovers := loop.tasks) and not isinstance(problem, SimulationStuckError):
        for task in leftovers:
            task.cancel()
        problem = _finish(loop, asyncio.gather(*leftovers, return_exceptions=True)) or problem
        _report_errors(loop, leftovers)
    if not isinstance(problem, SimulationStuckError):
        problem = _finish(loop, loop.shutdown_asyncgens()) or problem
    if isinstance(problem, SimulationStuckError):
        problem.add_note("That was at the end, when the tasks that were left had been cancelled.")
        _abandon_tasks(loop)
    loop.close()
    return problem


def _finish(loop: VirtualTimeLoop, awaitable: Awaitable[object]) -> BaseException | None:
    try:
        loop.run_until_complete(awaitable)
    except BaseException as error:
        return error  # whatever it is, the clean-up goes on; the caller raises it at the end
    return None


def _report_errors(loop: VirtualTimeLoop, tasks: Iterable["asyncio.Task[Any]"]) -> None:
    for task in tasks:
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            loop.call_exception_handler(
                {"message": "A task failed while it was cancelled at the end", "exception": error, "task": task}
            )


def _abandon_tasks(loop: VirtualTimeLoop) -> None:
    for task in loop.tasks:
        # The error that is raised names these tasks; a second complaint when they are collected would say nothing new.
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
        coroutine = task.get_coro()
        if inspect.iscoroutine(coroutine):
            with contextlib.suppress(Exception):
                coroutine.close()


def _refuse_inside_a_loop(main: object) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    if inspect.iscoroutine(main):
        main.close()
    raise RuntimeError(
        "A virtual-time run is a whole program with an event loop of its own, and cannot start inside another one: "
        "call it from a plain function (`def test_...`, not `async def`)."
    )


async def _wait_for(awaitable: Awaitable[T]) -> T:
    return await awaitable
