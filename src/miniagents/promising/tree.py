"""The call tree: who was started by whom, so that what was begun can be ended with all that it began.

Each producer has a branch. What is made while a producer runs, by it or by the plain tasks that it starts, belongs to
its branch from the moment it is started to the moment when it, and everything on its own branch, has ended. So a branch
lives on after its producer if the producer has forwarded what others are still saying.

Invariants
----------
1. A branch holds only what has not ended: a tree of finished producers is empty, and holds nothing alive but the
   branches that it has grown on, which have to know what is spent late, by a thread or by a producer that starts late.
2. Ending a branch walks it with an explicit stack: its depth is no special case.
"""

import asyncio
import contextvars
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from miniagents.promising.errors import PromiseCancelledError

# The branch of the producer that is running here. Handlers and observers run on no branch: they outlive what they see.
current_branch: contextvars.ContextVar["Branch | None"] = contextvars.ContextVar("miniagents_branch", default=None)


class Cancellable(Protocol):
    """What can grow on a branch: a task, or the promise of a producer."""

    def cancel(self, msg: Any = None) -> object:
        """Ask it to end."""


class Abandonable(Protocol):
    """Something that somebody must close, and that gets an error as its end when its context ends and nobody did."""

    @property
    def is_open(self) -> bool:
        """Whether it still has to be closed."""
        ...

    def abandon(self, reason: BaseException) -> None:
        """Give the readers `reason` as the end."""


class Finishable(Protocol):
    """Something that whoever opened it must finish, and that is finished for them when they end."""

    def finish(self) -> None:
        """Say that nothing more will come."""


class Account(Protocol):
    """What a branch, or a context, has spent with everything below it. See `accounts.py`."""

    def add(self, amount: Any) -> "Cancellation | None":
        """So much more was spent. Tells why the branch is to be cancelled now, if it is."""
        ...


class OwnedTask:
    """A task on a branch that is no producer: one that was started with `start_asap`."""

    __slots__ = ("_cancel", "task")

    def __init__(self, task: "asyncio.Task[Any]", cancel: "Callable[[asyncio.Task[Any], Cancellation], None]") -> None:
        self._cancel = cancel
        self.task = task

    def cancel(self, msg: Any = None) -> None:
        """Cancel it, in the way of its context."""
        self._cancel(self.task, msg)


class Cancellation:
    """Why something is cancelled. The message of the `CancelledError`, on its way to the error that readers get.

    `error` makes that one, of who was cancelled and the reason.
    """

    __slots__ = ("error", "reason")

    def __init__(self, reason: str, error: Callable[[str, str], PromiseCancelledError] = PromiseCancelledError) -> None:
        self.reason = reason
        self.error = error


def raise_if_cancelled() -> None:
    """Raise the `CancelledError` that the producer which runs here has swallowed: its readers are to know of it."""
    branch = current_branch.get()
    assert branch is not None  # each producer has one
    if branch.cancellation is not None:
        raise asyncio.CancelledError(branch.cancellation)


class Branch:
    """What one producer has started and what has not ended yet."""

    __slots__ = (
        "_children",
        "_deadline",
        "_ended",
        "_open_ends",
        "_owner",
        "_parent",
        "account",
        "cancellation",
        "name",
    )

    def __init__(self, parent: "Branch | None", owner: Cancellable, name: str = "") -> None:
        self.name = name
        """Who grows here, in the traces of errors; empty for what is not worth a mention."""
        self.cancellation: Cancellation | None = None
        """Why this branch was cancelled, if it was: nothing that belongs to it is started any more."""
        self.account: Account | None = None
        """What was spent here. There is none before something is, or has a limit."""
        self._parent = parent
        # Weak when all has ended: whoever holds a branch that has grown on this one does not hold what was said here.
        self._owner: Cancellable | weakref.ref[Cancellable] = owner
        self._children: dict[Cancellable, None] | None = None
        self._ended = False
        self._deadline: Any = None
        self._open_ends: weakref.WeakSet[Abandonable] | None = None
        if parent is not None:
            parent.add(owner)

    @property
    def has_deadline(self) -> bool:
        """Whether a timer will cancel this branch."""
        return self._deadline is not None

    def belongs_to(self, task: "asyncio.Task[Any] | None") -> bool:
        """Whether `task` is that of the producer itself, and not one that it has started."""
        return getattr(self._owner, "_task", None) is task

    def lineage(self) -> "Iterator[Branch]":
        """This branch, the one it has grown on, and so on to the root."""
        branch: Branch | None = self
        while branch is not None:
            yield branch
            branch = branch._parent

    def add(self, child: Cancellable) -> None:
        """`child` was started here."""
        if self._children is None:
            self._children = {}
        self._children[child] = None
        if self._ended:
            self._revive()

    def children(self) -> list[Cancellable]:
        """What has been started here and has not ended."""
        return list(self._children or ())

    def watch_open(self, item: Abandonable) -> None:
        """`item` was opened here, and if that was by the producer itself it is to close it."""
        if asyncio._get_running_loop() is None or not self.belongs_to(asyncio.current_task()):
            return
        if self._open_ends is None:
            self._open_ends = weakref.WeakSet()
        self._open_ends.add(item)

    def abandon_open(self, reason: BaseException) -> None:
        """The producer has failed, and will not close what it has opened.

        Nor would that ever be dropped: it is in the variables that the traceback of the error keeps.
        """
        if self._children:
            return  # what it has started lives on, and may have been given it
        for item in tuple(self._open_ends or ()):
            if item.is_open:
                item.abandon(reason)

    def limit(self, deadline: Any) -> None:
        """Keep the timer that will cancel this branch, until it has ended by itself."""
        self._deadline = deadline

    def end(self) -> None:
        """The producer has ended; its branch does when everything on it has."""
        self._ended = True
        self._prune()

    def remove(self, child: Cancellable) -> None:
        """`child` has ended, with everything on its own branch."""
        assert self._children is not None  # `child` was added
        self._children.pop(child, None)
        self._prune()

    def cancel(self, why: Cancellation) -> None:
        """Cancel the producer, or if it is gone what still grows on its branch, and let nothing more be started."""
        self.cancellation = why
        owner = self._owner() if isinstance(self._owner, weakref.ref) else self._owner
        for one in self.children() if owner is None else (owner,):
            one.cancel(why)

    def _revive(self) -> None:
        """All may have ended before something was read that was to start when it is: those above have to know of it."""
        branch = self
        while isinstance(branch._owner, weakref.ref) and (owner := branch._owner()) is not None:
            branch._owner = owner
            if branch._parent is None:
                return
            branch = branch._parent
            assert branch._children is not None  # that was there before
            branch._children[owner] = None

    def _prune(self) -> None:
        branch: Branch | None = self
        while branch is not None and branch._ended and not branch._children:
            owner = branch._owner
            if isinstance(owner, weakref.ref):
                return  # it was done before
            if branch._deadline is not None:
                branch._deadline.cancel()
                branch._deadline = None
            branch._owner = weakref.ref(owner)
            branch = branch._parent
            if branch is not None:
                assert branch._children is not None  # `owner` was added
                branch._children.pop(owner, None)
