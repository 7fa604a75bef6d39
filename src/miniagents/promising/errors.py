"""The errors of the engine, and the base of every error of the library.

```
MiniAgentsError
├── OrderlyEnd                                 something was ended, and nothing is wrong
├── NoActiveContextError (RuntimeError)        no context where one is needed
│   └── ContextClosedError                     there was one, and it has ended
├── ContextReentryError (RuntimeError)         one context object entered twice at once
├── WrongLoopError (RuntimeError)              read or started in another event loop than its own
├── UnresolvedPromiseError (RuntimeError)      a value was asked for, without waiting, before it was there
├── PromiseCancelledError (RuntimeError)       the producer was cancelled: what was said stays, nothing more comes
│   └── DeadlineExceededError (TimeoutError)   because its time was up
├── StuckTasksError (RuntimeError)             tasks that were cancelled and do not end
├── DeadlockError (RuntimeError)               a wait that can never end
└── AppenderError (RuntimeError)
    ├── AppenderNotOpenError                   not opened yet: open it first
    └── AppenderClosedError                    already closed: nothing can be added any more
```

The upper layers add theirs below the same base (`BudgetExceededError` below `PromiseCancelledError`); every class also
inherits the nearest builtin, so that code which knows nothing of this library still catches it.
"""


class MiniAgentsError(Exception):
    """The base of all errors of this library."""


class OrderlyEnd(MiniAgentsError):  # noqa: N818 (it is no error that something ends)
    """The base of what is raised to end something in good order. Nobody is told of it if nobody reads it."""


class NoActiveContextError(MiniAgentsError, RuntimeError):
    """Something needs a context and there is none: run it in `async with MiniAgents():` or by `miniagents.run(...)`."""

    def __init__(self, what: str = "This") -> None:
        super().__init__(
            f"{what} needs an active context: run it inside `async with MiniAgents():` (or a bare "
            "`async with PromisingContext():`), or pass it to `miniagents.run(...)`."
        )


class ContextClosedError(NoActiveContextError):
    """The context that owns this is not active: it has ended, or was never entered."""

    def __init__(self, what: str) -> None:
        MiniAgentsError.__init__(
            self,
            f"{what} cannot start: the context that it belongs to is not active. "
            "Read it before the `async with` block of its context is left.",
        )


class ContextReentryError(MiniAgentsError, RuntimeError):
    """One context object was entered while it was already active; make a second object for a nested context."""

    def __init__(self) -> None:
        super().__init__(
            "This context is active already. It can be used again after it has ended; "
            "for a context inside a context make a second object."
        )


class WrongLoopError(MiniAgentsError, RuntimeError):
    """A promise that is still growing was read, or something was started, in another event loop than its own."""

    def __init__(self, what: str, *, starting: bool = False) -> None:
        if starting:
            super().__init__(
                f"{what} cannot start here: its context is at work in another event loop. Start it in that loop, by a "
                "coroutine (from a thread: `asyncio.run_coroutine_threadsafe(coroutine(), loop)`), or in a context of "
                "this thread: `miniagents.run(coroutine())`, where it is the coroutine that makes the call."
            )
        else:
            super().__init__(
                f"{what} is filled in another event loop. Read it in that loop (from a thread: "
                "`asyncio.run_coroutine_threadsafe(promise.aresolve(), loop)`), or wait until it is complete."
            )


class UnresolvedPromiseError(MiniAgentsError, RuntimeError):
    """The value of a promise was asked for without waiting, before it was there."""

    def __init__(self, what: str, state: str = "is not there yet") -> None:
        super().__init__(f"{what} {state}: `await` it first, then use the result.")


class PromiseCancelledError(MiniAgentsError, RuntimeError):
    """The producer was cancelled before it had finished. What it had said until then stays readable.

    `who` was cancelled (the alias, if it is an agent), and the `reason` for it, if one was given.
    """

    def __init__(self, who: str = "The producer of this promise", reason: str = "") -> None:
        super().__init__(f"{who} was cancelled before it had finished{': ' if reason else ''}{reason}.")
        self.who = who
        self.reason = reason


class DeadlineExceededError(PromiseCancelledError, TimeoutError):
    """The producer was cancelled because its time, or that of somebody who called it, was up."""


class StuckTasksError(MiniAgentsError, RuntimeError):
    """Tasks were cancelled and have not ended within the grace period. The message says where they stand."""


class DeadlockError(MiniAgentsError, RuntimeError):
    """A wait that can never end, with the names of those who wait and the lines where they do; see `deadlock.py`."""


class AppenderError(MiniAgentsError, RuntimeError):
    """An appender was used out of turn."""


class AppenderNotOpenError(AppenderError):
    """The appender was not opened yet."""

    def __init__(self) -> None:
        super().__init__(
            "This appender is not open yet: use it inside `with appender:` or call `appender.open()` first."
        )


class AppenderClosedError(AppenderError):
    """The appender was closed: its stream is complete and nothing can be added."""

    def __init__(self) -> None:
        super().__init__(
            "This stream, or reply, is finished: its appender is closed, and nothing can be added any more."
        )
