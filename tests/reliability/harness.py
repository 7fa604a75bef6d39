"""One run of a scenario in virtual time, with at most one harm done to it, and what must hold afterwards.

A scenario sets streams up and says what their readers must get. The harness reads each of them several times, early and
late; does the harm; and asserts, whatever the harm was: the run ends, no task is left, nothing fails behind the scenes,
all unharmed readers of a stream got the same (the same exception object, with a traceback of the same length), and a
stream that has nothing to do with any of it was undisturbed.
"""

import asyncio
import contextlib
import gc
import logging
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from miniagents.testing.contract import Raised, Transcript, read
from miniagents.testing.virtual_time import VirtualTimeLoop, run_virtual
from reliability.stage import ENDS_PROGRAMS, ERRORS, SETTINGS, Bystander, Read, Scenario, Stage, wait_for

MAX_STEPS = 20_000
MAX_SECONDS = 500.0


@dataclass(frozen=True)
class Point:
    """One run: everything that is needed to repeat it."""

    sweep: str
    """`schedule` (nothing is done), `cancel` (a reader), `kill` (a task), `raise` (in user code), `leave` (the context)."""
    scenario: str
    settings: str = "plain"
    seed: int = 0
    step: int = -1
    """Before which step of a task, or (`raise`) at which checkpoint of user code."""
    victim: str = "0"
    """The number of the reader or task, or the class of the error."""

    def __str__(self) -> str:
        return ":".join(map(str, (self.sweep, self.scenario, self.settings, self.seed, self.step, self.victim)))

    @classmethod
    def parse(cls, text: str) -> "Point":
        """The point that `str` gave this text for."""
        sweep, scenario, settings, seed, step, victim = text.split(":")
        return cls(sweep, scenario, settings, int(seed), int(step), victim)


class Run:
    """One run of a scenario. `problems` says what went wrong, in the order in which it was noticed."""

    def __init__(self, scenario: Scenario, point: Point, *, is_dry: bool = False) -> None:
        self.point = point
        self.problems: list[str] = []
        self.steps: list[dict[str, int]] = []
        """For each step how many tasks there are of each kind, in a dry run, in which nothing is done."""
        self.stage = Stage(
            SETTINGS[point.settings],
            *((point.step, ERRORS[point.victim]) if point.sweep == "raise" else ()),
        )
        self._scenario = scenario
        self._is_dry = is_dry
        self._victim: asyncio.Task[Any] | None = None
        self._program_error: BaseException | None = None
        self._noise: list[str] = []
        self._logged: list[logging.LogRecord] = []
        self._bystander: asyncio.Task[Transcript] | None = None

    def go(self) -> "Run":
        """Run it, and find out what went wrong."""
        with _overheard(self._noise, self._logged):
            try:
                run_virtual(
                    self._main, seed=self.point.seed, on_step=self._on_step, max_steps=MAX_STEPS, timeout=MAX_SECONDS
                )
                self._verify()
            except BaseException as error:
                if not isinstance(error, ENDS_PROGRAMS) and not isinstance(error, Exception):
                    raise
                if not (self.stage.escapes and isinstance(error, ENDS_PROGRAMS)):
                    self.problems.append(f"{type(error).__name__}: {error}")
            self._bystander = None
            gc.collect()  # what was dropped unfinished complains now, and not in the next run
        self.problems += self._noise
        return self

    async def _main(self) -> None:
        loop = _loop()
        loop.set_exception_handler(self._on_loop_error)
        program = asyncio.create_task(self._program(), name="program")
        await asyncio.wait([program])
        await wait_for(self.stage.tasks())
        left = [task.get_name() for task in loop.tasks if task is not asyncio.current_task()]
        if left:
            self.problems.append(f"These tasks were left: {', '.join(left)}.")
        if program.cancelled() and program is not self._victim:
            self.problems.append("The program, which nobody had cancelled, ended as cancelled.")
        elif not program.cancelled():
            program.result()

    async def _program(self) -> None:
        try:
            async with self.stage.context(**self._scenario.options):
                self._bystander = asyncio.create_task(read(Bystander(start_asap=True)), name="bystander")
                await self._scenario.play(self.stage)
                await self.stage.finish()
        except (Exception, *ENDS_PROGRAMS) as error:
            self._program_error = error
        finally:
            if self._bystander is not None:
                await asyncio.wait([self._bystander])

    def _on_step(self, step: int, _: "asyncio.Task[Any]") -> None:
        sweep = self.point.sweep
        if self._is_dry:
            self.steps.append({kind: len(tasks) for kind, tasks in self._victims().items()})
        elif step == self.point.step and sweep not in ("raise", "schedule"):
            self._victim = self._victims()[sweep][int(self.point.victim)]
            self._victim.cancel()

    def _victims(self) -> "dict[str, list[asyncio.Task[Any]]]":
        """The tasks that each sweep may cancel now."""
        kinds: dict[str, list[asyncio.Task[Any]]] = {"cancel": [], "kill": [], "leave": []}
        for task in _loop().tasks:
            name = task.get_name()
            if name == "reader":
                kinds["cancel"].append(task)
            elif name == "program":
                kinds["leave"].append(task)
            elif name not in ("main", "bystander", "Bystander"):
                kinds["kill"].append(task)
        return kinds

    def _on_loop_error(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is None or not self.stage.may_end(Raised(error)):
            self._noise.append(f"The loop complains: {context.get('message')} {error!r}")

    # ------------------------------------------------------------------ what must hold

    def _verify(self) -> None:
        for made in self.stage.reads:
            self._verify_readers(made)
        if any(count > 1 for count in self.stage.told.values()):
            self.problems.append("A handler was told of one promise more than once.")
        if self.point.sweep in ("schedule", "cancel"):
            for number, condition in enumerate(self.stage.checks):
                if not condition():
                    self.problems.append(f"Check {number} of the scenario failed.")
        self._verify_bystander()
        self._verify_program()
        self._verify_reports()

    def _verify_readers(self, made: Read) -> None:
        results: list[Transcript] = []
        for reader in made.readers:
            task = reader.task
            if task is self._victim:
                if not task.cancelled():
                    self.problems.append("A reader swallowed its cancellation.")
            elif task.cancelled():
                self.problems.append("A reader that nobody had cancelled ended as cancelled.")
            elif (error := task.exception()) is not None:
                self.problems.append(f"A reader failed: {error!r}")
            else:
                results.append(task.result())
        is_whole = self.point.sweep in ("schedule", "cancel")
        for got in results:
            if not (made.accepts if is_whole else made.accepts_cut)(got):
                self.problems.append(f"A reader got {got}; {made.whole or 'something else'} is said.")
            if self.point.sweep != "leave":
                self._compare(results[0], got)

    def _compare(self, one: Transcript, other: Transcript) -> None:
        if one != other:
            self.problems.append(f"One reader got {one}, another one {other}.")
            return
        for first, second in zip(one.errors(), other.errors(), strict=True):
            if first.error is not second.error:
                self.problems.append(f"Two readers got two objects for one error: {first}.")
            elif abs(first.frames - second.frames) > 2:
                self.problems.append(f"The traceback of {first} grows: {first.frames} and {second.frames} frames.")

    def _verify_bystander(self) -> None:
        task = self._bystander
        if task is None or self.point.sweep == "leave":
            return
        if task.cancelled() or task.result() != Transcript(range(3)):
            self.problems.append(f"The bystander was disturbed: {task}")

    def _verify_program(self) -> None:
        error = self._program_error
        if error is None or self.point.sweep == "leave":
            return
        if not (error is self.stage.raised and isinstance(error, ENDS_PROGRAMS)):
            self.problems.append(f"The program failed: {error!r}")

    def _verify_reports(self) -> None:
        """An error that nobody read is reported once, and nothing else is."""
        raised = self.stage.raised
        ours = expected = 0
        for record in self._logged:
            error = record.exc_info[1] if record.exc_info else None
            if raised is not None and error is not None and raised in (error, error.__cause__):
                ours += 1
            elif "Nobody read" in record.getMessage() and isinstance(error, ZeroDivisionError):
                expected += 1
            elif error is None or not self.stage.may_end(Raised(error)):
                self.problems.append(f"This was logged: {record.getMessage()} {error!r}")
        if expected != self.stage.unread_errors and self.point.sweep in ("schedule", "cancel"):
            self.problems.append(f"{expected} unread errors were logged, not {self.stage.unread_errors}.")
        ours += self._program_error is raised and raised is not None
        if raised is None or self.stage.handled or self.stage.escapes or isinstance(raised, asyncio.CancelledError):
            return
        was_read = any(
            raised in (got.error, got.error.__cause__)
            for task in self.stage.tasks()
            if not task.cancelled()
            for got in task.result().errors()
            if got.error is not None
        )
        if ours > 1 or not (was_read or ours):
            self.problems.append(f"{raised!r} was {'read' if was_read else 'not read'} and reported {ours} times.")


def _loop() -> VirtualTimeLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    return loop


class _Keeper(logging.Handler):
    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__()
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record)


@contextlib.contextmanager
def _overheard(noise: list[str], logged: list[logging.LogRecord]) -> Iterator[None]:
    """Take down what is logged, and what goes wrong where nobody could catch it."""
    logger = logging.getLogger("miniagents")
    keeper = _Keeper(logged)
    hook, propagate = sys.unraisablehook, logger.propagate
    sys.unraisablehook = lambda told: noise.append(f"Unraisable: {told.err_msg} {told.exc_value!r}")
    logger.addHandler(keeper)
    logger.propagate = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield
    finally:
        logger.removeHandler(keeper)
        logger.propagate = propagate
        sys.unraisablehook = hook
