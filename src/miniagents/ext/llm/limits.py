"""`Limits`: how much may be asked of one provider at once, and within a minute."""

from dataclasses import dataclass
from typing import Final

from miniagents.ext.llm.errors import LLMParameterError

__all__ = ["DEFAULT_CONCURRENCY", "Limits"]

DEFAULT_CONCURRENCY: Final = 64
"""How many requests to one provider, address and key are open at once if nobody says."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the requests to one provider, at one address, with one key, may be together, in the whole process.

    - `concurrency`: how many may be open at once. A request is open until its answer has been read to the end or is
      given up; one that waits to be repeated is not.
    - `requests_per_minute`: how many may begin within any 60 seconds, the repeated ones included; `None`: any number.
    - `tokens_per_minute`: how many tokens they may have within any 60 seconds: by an estimate when a request begins,
      corrected when its usage is known. One that is larger than the limit waits until it is alone. `None`: any number.

    Limits are a whole: those given last hold, all of them, from the next request on. What is open already goes on. A
    call without limits leaves what there is. They are forgotten when no call uses or waits for the provider and no
    minute in which they counted is left, so give them to each agent, or to the one that the others are forks of.

    Raises `LLMParameterError` for anything but whole numbers from 1.
    """

    concurrency: int = DEFAULT_CONCURRENCY
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None

    def __post_init__(self) -> None:
        _check("concurrency", self.concurrency, "write a large number if there is to be no limit")
        for name in ("requests_per_minute", "tokens_per_minute"):
            if (limit := getattr(self, name)) is not None:
                _check(name, limit, "leave it out, or write None, if there is to be no limit")


def _check(name: str, limit: object, advice: str) -> None:
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise LLMParameterError(f"`{name}` is a whole number from 1, not {limit!r}: {advice}.")
