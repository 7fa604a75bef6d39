"""Contexts own tasks. Everything that runs was started in some context and does not outlive it.

A context is left in one of two ways. Normally: it waits until all that was started in it is done. By an exception or a
cancellation (Ctrl+C is one): it cancels all of it, waits for it to end, and lets the exception go on.

Invariants
----------
1. A context that is not active starts nothing.
2. An error that nobody read is reported exactly once, when the context ends (see `unread.py`): logged, or raised if it
   is a `KeyboardInterrupt` or a `SystemExit`, because those must never be swallowed.
"""

import asyncio
import contextvars
import functools
import logging
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar

from miniagents.promising.backpressure import Backpressure, HeldBack
from miniagents.promising.deadlock import Waits
from miniagents.promising.errors import (
    ContextClosedError,
    ContextReentryError,
    DeadlockError,
    NoActiveContextError,
    PromiseCancelledError,
    WrongLoopError,
)
from miniagents.promising.log import Failure
from miniagents.promising.observers import HandlerT, as_handlers, call_handler, inside_handler
from miniagents.promising.resources import Close, Resources
from miniagents.promising.runner import interrupted
from miniagents.promising.tasks import CONTEXT_ENDS, Tasks
from miniagents.promising.tree import Abandonable, Branch, Cancellation, Finishable, OwnedTask, current_branch
from miniagents.promising.unread import UnreadErrors

if TYPE_CHECKING:  # the two modules need each other: a promise lives in a context, a context hands promises to handlers
    from miniagents.promising.promise import Promise

T = TypeVar("T")
PromiseResolvedHandler: TypeAlias = Callable[["Promise[Any]", Any], Awaitable[None]]

logger = logging.getLogger(__name__)

_current: contextvars.ContextVar["PromisingContext | None"] = contextvars.ContextVar("miniagents_context", default=None)


class PromisingContext:
    """Owns the tasks of the promises that are made while it is active. An async context manager.

    Made outside any event loop, used again after it has ended; contexts nest, the innermost is the current one.

    - `start_everything_asap_by_default`: producers start at once (`True`) or when they are first read.
    - `appenders_capture_errors_by_default`: what `StreamAppender` does with an exception in its block.
    - `grace_period`: seconds that tasks have to end when they are cancelled because the context is left by an error.
      Then `StuckTasksError` names those that have not, and where they stand. `None`: as long as they want.
    - `max_ahead_by_default`: the `max_ahead` of streams that do not say; `None` for no bound.
    - `log_level_for_errors`: at which level errors that nobody read are logged when the context ends.
    - `on_promise_resolved`: an async callable `(promise, result_or_exception)`, or several, called once for each
      promise made in this context or in one inside it. What a handler raises is logged. Promises that a handler makes
      call no handlers. Also to be used as a decorator: `@context.on_promise_resolved`.

    >>> import asyncio
    >>> async def main():
    ...     async with PromisingContext() as context:
    ...         print(PromisingContext.get_current() is context)
    >>> asyncio.run(main())
    True
    """

    def __init__(
        self,
        start_everything_asap_by_default: bool = True,
        appenders_capture_errors_by_default: bool = False,
        log_level_for_errors: int = logging.ERROR,
        on_promise_resolved: PromiseResolvedHandler | Iterable[PromiseResolvedHandler] = (),
        grace_period: float | None = 5.0,
        max_ahead_by_default: float | None = None,
    ) -> None:
        if grace_period is not None and not grace_period >= 0:
            raise ValueError(f"`grace_period` is a number of seconds or None, not {grace_period!r}.")
        if max_ahead_by_default is not None:
            Backpressure(max_ahead_by_default)  # refuses what is no number of pieces
        self.max_ahead_by_default = max_ahead_by_default
        self.held_back = HeldBack()
        self.grace_period = grace_period
        self.start_everything_asap_by_default = start_everything_asap_by_default
        self.appenders_capture_errors_by_default = appenders_capture_errors_by_default
        self.log_level_for_errors = log_level_for_errors
        self.parent: PromisingContext | None = None  # the one around this one while it is active
        self.account: Any = None  # see `accounts.py`
        self.entered_on: Branch | None = None
        self.entered_in: PromisingContext | None = None
        self._own_handlers: list[PromiseResolvedHandler] = as_handlers(on_promise_resolved)
        self._is_observed = bool(self._own_handlers)
        self._active = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._token: contextvars.Token[PromisingContext | None] | None = None
        self._tasks = Tasks()
        self._unread = UnreadErrors(log_level_for_errors)
        self.open_ends = weakref.WeakKeyDictionary[Abandonable, None]()  # their readers need an end when this one ends
        self._unfinished: dict[Finishable, None] = {}
        self._resources = Resources()
        self.waits = Waits()

    @staticmethod
    def get_current() -> "PromisingContext":
        """The innermost active context; `NoActiveContextError` if there is none."""
        context = current_context()
        if context is None:
            raise NoActiveContextError("This")
        return context

    @property
    def active(self) -> bool:
        """Whether the context was activated and has not ended yet."""
        return self._active

    def activate(self) -> Self:
        """Make this the current context and return it. `async with` does this; by hand, `await afinalize()` ends it."""
        if self._active:
            raise ContextReentryError
        self.parent = current_context()
        self._active = True
        self._loop = asyncio._get_running_loop()
        self.entered_on, self.entered_in = current_branch.get(), self.parent
        if self.parent is not None and self.parent.runs_elsewhere:
            self.parent = None  # in a thread with a loop of its own, which was started from a task of ours
            current_branch.set(None)
        if self.parent is not None:
            self.waits = self.parent.waits  # all that wait in one loop, for what anyone there may have to say
            self.held_back.around = self.parent.held_back
        self._token = _current.set(self)
        return self

    async def afinalize(self) -> None:
        """End this context as leaving `async with` normally does: wait for everything that was started in it."""
        self._refuse_own_task()
        await self.__aexit__(None, None, None)

    async def __aenter__(self) -> Self:
        return self.activate()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if exc is None:
                await self._finish()
            else:
                await self._cancel_tasks()
        finally:
            try:
                await self._resources.close(self.log_level_for_errors, self.grace_period)
            finally:
                self._deactivate()
                interrupt = self._unread.report()
        if interrupt is not None and not isinstance(exc, (KeyboardInterrupt, SystemExit)):
            raise interrupt.exception  # not `throw`: here the error on its way belongs to it, as its context

    async def _finish(self) -> None:
        """Wait for all tasks; if that is interrupted, cancel them."""
        try:
            if not interrupted():  # if Ctrl+C was caught in the block, the user does not want to wait all the same
                for unfinished in list(self._unfinished):
                    unfinished.finish()
                await self.aflush_tasks()
                self._abandon_open()
                await self.aflush_tasks()
        finally:
            # Nothing but observers that wait for what nobody will ever start, unless the waiting was interrupted.
            await self._cancel_tasks()

    async def aflush_tasks(self) -> None:
        """Wait until everything that was started in this context is done, also what is started meanwhile.

        Cancelling it cancels only the waiting. From inside one of these tasks it is a `DeadlockError`.
        """
        self._refuse_own_task()
        with self.held_back.lifted():
            await self._tasks.flush()

    def _refuse_own_task(self) -> None:
        if asyncio.current_task() in self._tasks.working:
            raise DeadlockError("A task cannot wait for all tasks of its context: it is one of them.")

    async def _cancel_tasks(self) -> None:
        """Cancel all producers, and what they start meanwhile; then let the handlers write down what was said."""
        with self.held_back.lifted():
            await self._tasks.end(self.grace_period)

    def cancel_task(self, task: "asyncio.Task[Any]", why: Cancellation) -> None:
        """Cancel a task of this context, unless that was done before."""
        self._tasks.cancel(task, why)

    def _abandon_open(self) -> None:
        for abandoned in filter(None, [ref() for ref in self.open_ends.keyrefs()]):  # nobody is left who could write
            abandoned.abandon(PromiseCancelledError("The producer of this stream", CONTEXT_ENDS.reason))

    def _deactivate(self) -> None:
        self._abandon_open()
        self._unfinished.clear()
        if self.parent is None:
            self.waits.close()
        self.waits, self.held_back = Waits(), HeldBack()
        self._active = False
        self._loop = None
        token, self._token = self._token, None
        if token is not None:
            try:
                _current.reset(token)
            except ValueError:
                if _current.get() is self:  # a copy: left in another task than it was entered in, as fixtures do
                    _current.set(self.parent)

    def start_asap(self, awaitable: Awaitable[T]) -> "asyncio.Task[T]":
        """Run `awaitable` as a task of this context, from the next task switch on, and return the task.

        The context waits for it when it ends. An error that nobody retrieves is logged by asyncio. To share the result
        make a `Promise`: a task is cancelled with whoever awaits it.
        """
        branch = current_branch.get()
        coroutine = awaitable if asyncio.iscoroutine(awaitable) else _as_coroutine(awaitable)
        task = self._make_task(coroutine, branch=branch, forget=True)
        self._tasks.add(task)
        if branch is not None:
            owned = OwnedTask(task, self.cancel_task)
            branch.add(owned)
            task.add_done_callback(lambda _: branch.remove(owned))
        return task

    def spawn_producer(
        self, work: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop, name: str, branch: Branch
    ) -> "asyncio.Task[None]":
        """Make a task of this context, in its `running_loop`, of `work`; what that starts will grow on `branch`.

        The first thing that `work` does is to await `FIRST_STEP`. It calls `forget_task` when it ends.
        """
        work.send(None)
        try:
            task = self._make_task_in(loop, work, name, branch)
        except BaseException:
            work.close()
            raise
        self._tasks.add(task)
        return task

    def forget_task(self, task: "asyncio.Task[Any]") -> None:
        """It has ended, with all that had to be done about it: the context may end when the last one is forgotten."""
        self._tasks.forget(task)

    def _make_task(
        self,
        coroutine: Coroutine[Any, Any, T],
        name: str | None = None,
        branch: Branch | None = None,
        *,
        forget: bool = False,
    ) -> "asyncio.Task[T]":
        try:
            loop = self.running_loop(name or "A task")
        except BaseException:
            coroutine.close()  # or Python warns that it was never awaited, beside the error that says why
            raise
        return self._make_task_in(loop, coroutine, name, branch, forget=forget)

    def _make_task_in(
        self,
        loop: asyncio.AbstractEventLoop,
        coroutine: Coroutine[Any, Any, T],
        name: str | None,
        branch: Branch | None,
        *,
        forget: bool = False,
    ) -> "asyncio.Task[T]":
        variables = contextvars.copy_context()
        variables.run(current_branch.set, branch)
        if _current.get() is not self:  # started late, by a reader who sits in another context
            variables.run(_current.set, self)
        # Not by the task factory of the loop: an eager one would run the task inside the call that starts it.
        task = asyncio.Task(coroutine, loop=loop, name=name, context=variables)
        if forget:
            task.add_done_callback(self.forget_task, context=variables)  # or each callback would have a copy of its own
        return task

    def running_loop(self, what: str) -> asyncio.AbstractEventLoop:
        """The event loop in which `what` can be started.

        `ContextClosedError` if the context is not active, `WrongLoopError` if it runs in another loop than this thread.
        """
        if not self._active:
            raise ContextClosedError(what)
        loop = asyncio._get_running_loop()
        self._loop = self._loop or loop
        if loop is None or self._loop is not loop:
            raise WrongLoopError(what, starting=True)
        return loop

    @property
    def runs_elsewhere(self) -> bool:
        """Whether this context is at work in another event loop than the one that runs in this thread, if any."""
        return self._loop is not None and self._loop is not asyncio._get_running_loop()

    def call_in_loop(self, callback: Callable[..., object], *arguments: Any) -> None:
        """Call `callback` in the event loop of this context: now, or soon if this is another thread."""
        if self._loop is not None and self.runs_elsewhere:
            self._loop.call_soon_threadsafe(callback, *arguments)
        else:
            callback(*arguments)

    def watch_unfinished(self, item: Finishable) -> None:
        """Remember something that was opened in the block of this context and must be finished."""
        self._unfinished[item] = None

    def forget_unfinished(self, item: Finishable) -> None:
        """`item` was finished."""
        self._unfinished.pop(item, None)

    def keep_failure(self, failure: Failure) -> Failure:
        """Keep an error until somebody reads it, or it is reported. Gives the failure to be used for it."""
        return self._unread.keep(failure)

    def resource(self, key: object, make: Callable[[], tuple[T, Close | None]]) -> T:
        """Something that is made once for each `key`, such as a client, for all contexts inside the outermost one.

        `make()` gives it and an async callable that closes it, or `None`. It is closed when all tasks have ended.
        """
        owner = self
        while owner.parent is not None:
            owner = owner.parent
        return owner._resources.get(key, make)

    def on_promise_resolved(self, handler: HandlerT) -> HandlerT:
        """Register `handler` (see the class) and return it, so that this can be used as a decorator."""
        self._own_handlers.append(handler)
        self._is_observed = True
        return handler

    @property
    def has_observers(self) -> bool:
        """Whether anybody wants to know about promises that are made here and now."""
        context: PromisingContext | None = self
        while context is not None:
            if context._is_observed:
                return not inside_handler.get()
            context = context.parent
        return False

    def observe(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a task that looks on. It waits by `observing` only, and the context does not wait for it."""
        self._tasks.observers.add(self._make_task(coroutine, "observer"))

    async def observing(self, promise: "Promise[Any]", seen: int) -> None:
        """Wait, as an observer, until a promise has grown, without starting whoever would let it grow."""
        await self._tasks.observers.wait(promise._log, seen)

    def promise_resolved(self, promise: "Promise[Any]", outcome: object) -> None:
        """Tell the handlers of this context, then those of the contexts around it, each in a task of its own."""
        context: PromisingContext | None = self
        while context is not None:
            for handler in context._own_handlers:
                self.run_handler(functools.partial(handler, promise, outcome))
            context = context.parent

    def run_handler(self, call: Callable[[], Awaitable[None]]) -> None:
        """Call a handler in a task of this context. What it raises is logged."""
        calling = call_handler(call, self.log_level_for_errors)
        self._tasks.handlers.add(self._make_task(calling, "handler", forget=True))


def current_context() -> PromisingContext | None:
    """The innermost active context, or `None`."""
    context = _current.get()
    # A task that outlives the context it was started in lives in the one around that.
    while context is not None and not context._active:
        context = context.parent
    return context


async def _as_coroutine(awaitable: Awaitable[T]) -> T:
    return await awaitable
