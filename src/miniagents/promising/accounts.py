"""Accounts: what is spent by a producer counts for everybody above it in the call tree, and for the contexts around.

What is spent is of no concern here: an account takes amounts, and may have a limit beyond which its branch is
cancelled. Accounts are made when the first amount comes, so that nothing is kept where nothing is spent.

Invariant: an amount is added exactly once to each account on the way up, also if its producer has been cancelled or has
ended meanwhile, and from any thread.
"""

import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

from miniagents.promising.context import PromisingContext, _current
from miniagents.promising.tree import Account, Branch, Cancellation, current_branch

adding: Final = threading.RLock()
"""Held while amounts are added, and by whoever reads figures that belong together.

One for all, because an amount goes into many accounts. Reentrant, because a finalizer may spend as well.
"""


def spend(amount: Any, make_account: Callable[[], Account]) -> None:
    """Add `amount` to all accounts that what runs here counts for, and cancel the branches whose limit that passes."""
    beyond: list[tuple[Branch, Cancellation]] = []
    with adding:
        for payer in payers():
            if payer.account is None:
                payer.account = make_account()
            why = payer.account.add(amount)
            if why is not None and isinstance(payer, Branch):
                beyond.append((payer, why))
    for branch, why in beyond:
        branch.cancel(why)


def payers() -> "Iterator[Branch | PromisingContext]":
    """Whom it counts for what is spent here: the producer that runs, those above it, and the contexts around."""
    branch = current_branch.get()
    context = _current.get()  # also one that has ended: a thread may not have noticed
    while context is not None:  # there is no branch without one
        if branch is not None:
            yield from branch.lineage()
        yield context
        # With an event loop of its own, in a thread, it has no parent; it counts for those who have started the thread.
        branch = context.entered_on if context.parent is None else None
        context = context.parent or context.entered_in


def name_of_spender() -> str:
    """Who spends here, for people: the producer that runs, or the nearest above it that has a name."""
    branch = current_branch.get()
    return next((one.name for one in branch.lineage() if one.name), "") if branch is not None else ""
