"""Budgets: how much a call may spend with everything that it calls."""

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from miniagents.messages.usage import Usage, UsageAccount, counted, dollars
from miniagents.promising.accounts import name_of_spender, payers
from miniagents.promising.errors import PromiseCancelledError
from miniagents.promising.tree import Branch, Cancellation


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much a call may spend with everything that it calls: `agent.inquire(messages, budget=Budget(tokens=5000))`.

    - `tokens`: read and written by models, together.
    - `cost`: US dollars. Only what is recorded with a cost counts.
    - `calls`: requests to models.
    - `seconds`: a deadline, from the start of the call; the same as `timeout`.

    At least one of them. Raises `ValueError` for a limit that nothing fits into, and for none at all; `TypeError` for
    what is no number.
    """

    tokens: int | None = None
    cost: Decimal | float | None = None
    calls: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        limits = {name: getattr(self, name) for name in ("tokens", "cost", "calls", "seconds")}
        given = {name: limit for name, limit in limits.items() if limit is not None}
        if not given:
            raise ValueError("A budget needs a limit: `tokens`, `cost`, `calls` or `seconds`. For none, leave it out.")
        for name, limit in given.items():
            _check_limit(name, limit)

    def passed_by(self, usage: Usage) -> str | None:
        """Which of the limits `usage` is beyond, if any."""
        return next((name for name, limit, used in self._compared(usage) if used > limit), None)

    def used_up_by(self, usage: Usage) -> str | None:
        """Of which of the limits `usage` leaves nothing, if any."""
        return next((name for name, limit, used in self._compared(usage) if used >= limit), None)

    def _compared(self, usage: Usage) -> Iterator[tuple[str, Decimal | float, Decimal | int]]:
        if self.tokens is not None:
            yield "tokens", self.tokens, usage.tokens
        if self.cost is not None:
            yield "cost", dollars(self.cost), usage.cost or 0
        if self.calls is not None:
            yield "calls", self.calls, usage.calls


class BudgetExceededError(PromiseCancelledError):
    """The producer was cancelled because its budget, or that of somebody who called it, was used up.

    `limit` is the one that was: `tokens`, `cost` or `calls`. `holder` is the alias of the agent that had the `budget`,
    `spent` what was recorded for it until then, and `spender` the alias of the agent that spent last, or wanted to.
    """

    def __init__(
        self,
        who: str = "The producer of this promise",
        reason: str = "",
        *,
        limit: str = "",
        budget: Budget | None = None,
        spent: Usage | None = None,
        holder: str = "",
        spender: str = "",
    ) -> None:
        super().__init__(who, reason)
        self.limit = limit
        self.budget = budget
        self.spent = spent
        self.holder = holder
        self.spender = spender


class BudgetAccount(UsageAccount):
    """What a call with a budget has spent."""

    __slots__ = ("_end", "budget", "holder")

    def __init__(self, budget: Budget, holder: str) -> None:
        super().__init__()
        self.budget = budget
        self.holder = holder
        self._end: Cancellation | None = None

    def add(self, amount: Usage) -> Cancellation | None:
        """So much more was spent. Tells why the call is to be cancelled, if it is."""
        super().add(amount)
        limit = self.budget.passed_by(self.total)
        return None if limit is None else self.end(limit)

    def end(self, limit: str) -> Cancellation:
        """Why the call that has the budget is cancelled; the same each time."""
        if self._end is None:
            spender = name_of_spender()
            allowed = _shown(limit, getattr(self.budget, limit))
            used = _shown(limit, self.total.cost or 0 if limit == "cost" else getattr(self.total, limit))
            reason = f"the budget of {allowed} that {self.holder} had is used up: {used} spent"
            self._end = Cancellation(
                f"{reason}, the last by {spender}" if spender else reason,
                functools.partial(
                    BudgetExceededError,
                    limit=limit,
                    budget=self.budget,
                    spent=self.total,
                    holder=self.holder,
                    spender=spender,
                ),
            )
        return self._end


def check_budget() -> None:
    """Raise `BudgetExceededError` if a budget of the call that runs here, or of one above it, leaves nothing to spend.

    To be called before a request is sent. The call that has the budget is cancelled then, with all below it, because it
    wants more than it may have.
    """
    for branch, account in _budgets():
        limit = account.budget.used_up_by(account.total)
        if limit is not None:
            why = account.end(limit)
            branch.cancel(why)
            raise why.error(name_of_spender(), why.reason)


def cost_is_limited() -> bool:
    """Whether a budget of the call that runs here, or of one above it, limits the cost, so that it must be known."""
    return any(account.budget.cost is not None for _, account in _budgets())


def check_is_budget(budget: object) -> None:
    """Raise `TypeError` for what is no budget."""
    if not isinstance(budget, Budget):
        # A figure says what was meant; anything else may have what nobody should read in it.
        given = repr(budget) if isinstance(budget, (int, float)) else f"of type {type(budget).__name__}"
        raise TypeError(
            f"`budget` is a `Budget`, such as `Budget(tokens=10_000)`, not {given}. "
            "(All but the messages is given by keyword.)"
        )


def _budgets() -> Iterator[tuple[Branch, BudgetAccount]]:
    for payer in payers():
        if isinstance(payer, Branch) and isinstance(payer.account, BudgetAccount):
            yield payer, payer.account


def _shown(limit: str, amount: Any) -> str:
    return f"${dollars(amount).normalize():,f}" if limit == "cost" else counted(amount, limit.removesuffix("s"))


def _check_limit(name: str, limit: Any) -> None:
    kinds: tuple[type, ...] = {"cost": (int, float, Decimal), "seconds": (int, float)}.get(name, (int,))
    if type(limit) is bool or not issubclass(type(limit), kinds):
        noun = "a whole number" if kinds == (int,) else "a number"
        raise TypeError(f"`{name}` of a budget is {noun}, not {limit!r}.")
    if not (math.isfinite(limit) and limit > 0):
        raise ValueError(f"`{name}` of a budget is a positive number, not {limit!r}. For no limit, leave it out.")
