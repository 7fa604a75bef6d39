"""`MiniAgents`: the context in which agents live."""

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Iterable, Iterator
from typing import Any, TypeVar

from miniagents.agents.lingering import lingering_told
from miniagents.messages import MessageContext, PersistMessageHandler
from miniagents.promising.context import PromiseResolvedHandler, PromisingContext
from miniagents.promising.runner import run as run_in_new_loop

T = TypeVar("T")


class MiniAgents(MessageContext):
    """The context in which agents live. An async context manager: `async with MiniAgents() as context` binds itself.

    Leaving the block normally waits for everything that was started in it; leaving it by an exception or a cancellation
    cancels all of it first. Contexts nest, the inner one is current. The object is made outside any event loop and can
    be used again after it has ended.

    - `stream_llm_tokens_by_default`: whether LLM agents stream when a call does not say.
    - `on_promise_resolved`, `on_persist_message`: async callables `(promise, result_or_exception)` and
      `(promise, message)`, one or several each; see `PromisingContext` and `MessageContext`. Also decorators.
    - `start_everything_asap_by_default`: agents start when they are called (`True`) or when their replies are read.
    - `appenders_capture_errors_by_default`: see `StreamAppender`.
    - `errors_as_messages`: errors of agents arrive as `ErrorMessage`s instead of being raised.
    - `log_level_for_errors`, `grace_period`: for errors that nobody read and for agents that do not stop; see
      `PromisingContext`.

    >>> from miniagents import miniagent
    >>> @miniagent
    ... async def hello(ctx):
    ...     ctx.reply("Hello!")
    >>> MiniAgents().run(hello.inquire())
    (Message(text='Hello!'),)
    """

    def __init__(
        self,
        *,
        stream_llm_tokens_by_default: bool = True,
        on_promise_resolved: PromiseResolvedHandler | Iterable[PromiseResolvedHandler] = (),
        on_persist_message: PersistMessageHandler | Iterable[PersistMessageHandler] = (),
        start_everything_asap_by_default: bool = True,
        appenders_capture_errors_by_default: bool = False,
        errors_as_messages: bool = False,
        **options: Any,
    ) -> None:
        if options:
            _check_options(type(self), options)
        super().__init__(
            on_promise_resolved=on_promise_resolved,
            on_persist_message=on_persist_message,
            start_everything_asap_by_default=start_everything_asap_by_default,
            appenders_capture_errors_by_default=appenders_capture_errors_by_default,
            errors_as_messages=errors_as_messages,
            **options,
        )
        self.stream_llm_tokens_by_default = stream_llm_tokens_by_default

    async def _finish(self) -> None:
        with lingering_told(self._tasks.working):
            await super()._finish()

    def run(self, awaitable: Awaitable[T]) -> T:
        """Run `awaitable` (a coroutine, or the replies of an agent) in this context and give its result. Blocks.

        Makes an event loop, waits for everything that was started, closes the loop. May be called again. Ctrl+C cancels
        everything and raises `KeyboardInterrupt`. Inside a running loop it raises `RuntimeError`: use `arun` there.
        """
        _check_awaitable(awaitable)
        if asyncio._get_running_loop() is not None:
            _close(awaitable)
            raise RuntimeError("An event loop is running already: use `await MiniAgents().arun(...)` here.")
        return run_in_new_loop(lambda: self.arun(awaitable))

    async def arun(self, awaitable: Awaitable[T]) -> T:
        """Await `awaitable` in this context, wait for everything that was started, and give the result."""
        with _closed_on_failure(awaitable):
            async with self:
                return await awaitable


def _check_options(kind: type[PromisingContext], options: Iterable[str]) -> None:
    known = {
        option
        for one in kind.__mro__[:-1]  # all but `object`
        if (init := vars(one).get("__init__")) is not None
        for option, parameter in inspect.signature(init).parameters.items()
        if option != "self" and parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }
    unknown = [option for option in options if option not in known]
    if unknown:
        listed = ", ".join(sorted(known))
        raise TypeError(f"{kind.__name__} takes no option `{unknown[0]}`; its options are: {listed}.")


def _check_awaitable(value: object) -> None:
    if not inspect.isawaitable(value):
        hint = "; call it first" if callable(value) else ""
        raise TypeError(f"`run` takes a coroutine or a promise, not {type(value).__name__}{hint}.")


def run(awaitable: Awaitable[T], **options: Any) -> T:
    """`MiniAgents(**options).run(awaitable)`: run a program of agents from outside any event loop. Blocks.

    >>> from miniagents import join_messages
    >>> async def main():
    ...     return await join_messages(["Hello", "world"], delimiter=" ")
    >>> print(run(main()))
    Hello world
    """
    with _closed_on_failure(awaitable):
        return MiniAgents(**options).run(awaitable)


@contextlib.contextmanager
def _closed_on_failure(awaitable: object) -> Iterator[None]:
    """Close a coroutine that was not even started, or Python warns about it beside the error that says why."""
    try:
        yield
    except BaseException:
        _close(awaitable)
        raise


def _close(awaitable: object) -> None:
    # One that was started belongs to its task, and may have to end in the loop.
    if inspect.iscoroutine(awaitable) and inspect.getcoroutinestate(awaitable) == inspect.CORO_CREATED:
        awaitable.close()
