"""What language models were asked for, and what it has cost: a value, and how it is recorded."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Context, Decimal
from types import MappingProxyType
from typing import Any, Final

from miniagents.promising.accounts import adding, spend

# Not the context of the program, which may round.
_EXACTLY: Final = Context(prec=50)
_NO_MODELS: Final[Mapping[str, "Usage"]] = MappingProxyType({})
_COUNTS: Final = ("calls", "input_tokens", "output_tokens", "cached_input_tokens")


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Usage:
    """What models were asked for, and what it has cost as far as that is known. Adds up with `+`.

    - `calls`: requests to models.
    - `input_tokens`, `output_tokens`: what they read and wrote. `cached_input_tokens` are those of the input tokens
      that a provider had kept from before.
    - `cost`: US dollars, for that part of which the price is known; `None` if there is no such part.
    - `unpriced_calls`: how many calls are not in the cost. If it is not given: none if there is a `cost`, else all.
    - `by_model`: the same for each model, by its name, as far as `record_usage` was told one.

    Raises `TypeError` for what is no number and `ValueError` for a negative one.

    >>> print(Usage(calls=1, input_tokens=1200, output_tokens=80, cost=0.004) + Usage(calls=1, input_tokens=50))
    2 calls, 1,250 input tokens, 80 output tokens, $0.004 (and 1 call of unknown price)
    """

    calls: int
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int
    cost: Decimal | None
    unpriced_calls: int
    by_model: Mapping[str, "Usage"] = field(hash=False)

    def __init__(
        self,
        *,
        calls: int = 0,
        input_tokens: int = 0,
        output_tokens: int = 0,
        cached_input_tokens: int = 0,
        cost: Decimal | float | None = None,
        unpriced_calls: int | None = None,
        by_model: Mapping[str, "Usage"] = _NO_MODELS,
    ) -> None:
        if unpriced_calls is None:
            # A request and the tokens of its answer may be recorded one after the other.
            unpriced_calls = 0 if cost is not None else calls or int(bool(input_tokens or output_tokens))
        counts = (calls, input_tokens, output_tokens, cached_input_tokens)
        for name, count in zip((*_COUNTS, "unpriced_calls"), (*counts, unpriced_calls), strict=True):
            _check_count(name, count)
        values = (*counts, None if cost is None else dollars(cost), unpriced_calls, MappingProxyType(dict(by_model)))
        for name, value in zip(self.__slots__, values, strict=True):
            object.__setattr__(self, name, value)

    @property
    def tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: "Usage") -> "Usage":
        if not isinstance(other, Usage):
            return NotImplemented
        account = UsageAccount()
        account.add(self)
        account.add(other)
        return account.total

    def __reduce__(self) -> tuple[Any, ...]:
        values = {name: getattr(self, name) for name in self.__slots__}
        return _restore, ({**values, "by_model": dict(self.by_model)},)

    def __repr__(self) -> str:
        values = {name: getattr(self, name) for name in self.__slots__} | {"by_model": dict(self.by_model)}
        shown = (f"{name}={value!r}" for name, value in values.items() if value not in (0, None, {}))
        return f"Usage({', '.join(shown)})"

    def __str__(self) -> str:
        cached = f" ({self.cached_input_tokens:,} of them cached)" if self.cached_input_tokens else ""
        parts = [
            counted(self.calls, "call"),
            f"{counted(self.input_tokens, 'input token')}{cached}",
            counted(self.output_tokens, "output token"),
        ]
        unknown = f"{counted(self.unpriced_calls, 'call')} of unknown price"
        if self.cost is not None:
            parts.append(f"${self.cost.normalize():f}" + (f" (and {unknown})" if self.unpriced_calls else ""))
        elif self.unpriced_calls:
            parts.append(unknown)
        return ", ".join(parts)


def record_usage(usage: Usage, *, model: str | None = None) -> None:
    """Record what a model was asked for, where it was asked: by the agent, or another producer, that runs here.

    It counts for this call and for all above it in the call tree, and for the contexts around; with a `model` also in
    their `by_model`. If a budget above is passed, the call that has it is cancelled with all below it: this function
    returns nevertheless, and the next `await` raises. May be called from a thread that `asyncio.to_thread` has started.

    LLM agents call it themselves. Call it where you ask a model with a client of your own. To have the number of
    parallel requests right at every moment, record `Usage(calls=1, cost=0)` before the request is sent, and tokens and
    cost when the answer is there: what is recorded adds up.
    """
    given: object = usage
    if not isinstance(given, Usage):
        raise TypeError(f"`record_usage` takes a `Usage`, such as `Usage(calls=1)`, not {type(given).__name__}.")
    if model is not None:
        usage += Usage(by_model={model: usage})
    spend(usage, UsageAccount)


class UsageAccount:
    """What was spent in one place of the call tree: a usage that grows."""

    __slots__ = ("_cached", "_calls", "_cost", "_input", "_models", "_output", "_unpriced")

    def __init__(self) -> None:
        self._calls = self._input = self._output = self._cached = self._unpriced = 0
        self._cost: Decimal | None = None
        self._models: dict[str, UsageAccount] = {}

    def add(self, amount: Usage) -> Any:
        """So much more was spent."""
        self._calls += amount.calls
        self._input += amount.input_tokens
        self._output += amount.output_tokens
        self._cached += amount.cached_input_tokens
        self._unpriced += amount.unpriced_calls
        if amount.cost is not None:
            self._cost = amount.cost if self._cost is None else _EXACTLY.add(self._cost, amount.cost)
        for model, usage in amount.by_model.items():
            if model not in self._models:
                self._models[model] = UsageAccount()
            self._models[model].add(usage)

    @property
    def total(self) -> Usage:
        """All of it."""
        return Usage(
            calls=self._calls,
            input_tokens=self._input,
            output_tokens=self._output,
            cached_input_tokens=self._cached,
            cost=self._cost,
            unpriced_calls=self._unpriced,
            by_model={model: account.total for model, account in self._models.items()},
        )


def spent(account: object) -> Usage:
    """What is on an account, if there is one."""
    with adding:
        return account.total if isinstance(account, UsageAccount) else Usage()


def _check_count(name: str, count: object) -> None:
    if not isinstance(count, int) or isinstance(count, bool):
        raise TypeError(f"`{name}` is a whole number, not {count!r}.")
    if count < 0:
        raise ValueError(f"`{name}` is not negative, unlike {count!r}.")


def dollars(cost: object) -> Decimal:
    """An amount as it is written, without what a float adds."""
    if not isinstance(cost, (int, float, Decimal)) or isinstance(cost, bool):
        raise TypeError(f"`cost` is a number of US dollars, or None if it is not known, not {cost!r}.")
    if not (math.isfinite(cost) and cost >= 0):
        raise ValueError(f"`cost` is a number of US dollars that is not negative, not {cost!r}.")
    return Decimal(repr(cost)) if isinstance(cost, float) else Decimal(cost)


def _restore(values: dict[str, Any]) -> Usage:
    return Usage(**values)


def counted(number: int, noun: str) -> str:
    """So many of them, for people."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
