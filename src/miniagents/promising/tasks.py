"""The tasks of one context: those who work, those who handle what was said, and those who look on.

Invariants
----------
1. A task enters right after its creation and leaves in a done-callback, or, if its coroutine was entered before
   (`FIRST_STEP`), in the `finally` of that.
2. A task is cancelled once: a second time would interrupt its cleaning up.
"""

import asyncio
from collections.abc import Generator
from typing import Any, Final, cast

from miniagents.promising.ending import wait_until_ended
from miniagents.promising.holders import variables_of
from miniagents.promising.observers import Observers, inside_handler
from miniagents.promising.tree import Cancellation, current_branch

CONTEXT_ENDS: Final = Cancellation("its context has ended")


class _FirstStep:
    """What a producer awaits, inside its `try` and before anything else, until its task takes its first step.

    A task that is cancelled before that runs nothing of a coroutine that was not entered, not even its `finally`. (A
    done-callback would see to the rest as well, but until the turn of the loop in which it is called everything that
    the task held would be kept.)
    """

    __slots__ = ()

    def __await__(self) -> Generator[Any, Any, None]:
        # Not a generator: the garbage collector does not look at this, of which each producer that is to start has one.
        return cast("Generator[Any, Any, None]", iter(_ONCE))


_ONCE: Final = range(1)
FIRST_STEP: Final = _FirstStep()


class Tasks:
    """The tasks of one context."""

    __slots__ = ("_asked_to_end", "_ending", "handlers", "observers", "working")

    def __init__(self) -> None:
        self.working: set[asyncio.Task[Any]] = set()
        """The producers, and what was started beside them."""
        self.handlers: set[asyncio.Task[Any]] = set()
        """With what a handler has started, which is part of it."""
        self.observers = Observers()
        self._asked_to_end: set[asyncio.Task[Any]] = set()
        self._ending = False

    def add(self, task: "asyncio.Task[Any]") -> None:
        """`task` was just made."""
        if inside_handler.get():
            self.handlers.add(task)
        else:
            self.working.add(task)
            if self._ending:
                self.cancel(task, CONTEXT_ENDS)

    def forget(self, task: "asyncio.Task[Any]") -> None:
        """It has ended."""
        for registry in (self.working, self.handlers, self._asked_to_end):
            registry.discard(task)

    def cancel(self, task: "asyncio.Task[Any]", why: Cancellation) -> None:
        """Cancel a task, unless that was done before."""
        if task not in self._asked_to_end:
            self._asked_to_end.add(task)
            branch = variables_of(task).get(current_branch)
            if branch is not None and branch.belongs_to(task):
                branch.cancellation = why  # its readers are to know of it, whatever its code makes of the cancellation
            task.cancel(why)

    async def flush(self) -> None:
        """Wait until all have ended, also those that are started meanwhile."""
        await self.observers.find_out()
        while tasks := (*self.working, *self.handlers):
            ended, _ = await asyncio.wait(tasks)
            for task in ended:
                self.forget(task)  # whom Ctrl+C has hit in its last step has not come to it
            await self.observers.find_out()

    async def end(self, grace_period: float | None) -> None:
        """Cancel those who work, and what they start meanwhile; then let the handlers write down what was said."""
        self._ending = True
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            for task in list(self.working):
                self.cancel(task, CONTEXT_ENDS)
            await wait_until_ended(lambda: self.working, grace_period)
            await self.observers.find_out()
            if self.handlers:
                left = grace_period and max(0, grace_period - (loop.time() - began))
                await asyncio.wait(self.handlers, timeout=left)
        finally:
            self._ending = False
            for task in (*self.observers.tasks, *self.handlers):
                task.cancel(CONTEXT_ENDS)
            await wait_until_ended(lambda: (*self.observers.tasks, *self.handlers), grace_period)
