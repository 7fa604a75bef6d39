"""Says which agents were to start when their replies are read, and never did."""

import logging
from collections import Counter

from miniagents.promising.context import PromisingContext
from miniagents.promising.resources import Close

logger = logging.getLogger(__name__)


class NeverRead:
    """Counts, for a context, the lazy calls of each agent that have not started.

    What is left at the end is logged at the level `INFO`: a call may be lazy just because it might not be needed.
    Counts and no references, so that a call that is dropped is freed.
    """

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        self._calls: Counter[str] = Counter()

    @classmethod
    def of(cls, context: PromisingContext) -> "NeverRead":
        """The one of a context and those around it. It tells when the outermost ends."""

        def make() -> tuple[NeverRead, Close]:
            made = cls()
            return made, made._tell

        return context.resource(cls, make)

    def called(self, alias: str) -> None:
        """A lazy call was made."""
        self._calls[alias] += 1

    def started(self, alias: str) -> None:
        """Its reply is read."""
        self._calls[alias] -= 1

    async def _tell(self) -> None:
        left = [f"{alias} ({calls})" for alias, calls in sorted(self._calls.items()) if calls > 0]
        if left:
            logger.info("Never started, because nobody read their replies: %s", ", ".join(left))
