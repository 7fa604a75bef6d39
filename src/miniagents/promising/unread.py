"""Errors that nobody read. Each is reported exactly once, when its context ends."""

import logging

from miniagents.promising.errors import OrderlyEnd
from miniagents.promising.log import Failure

logger = logging.getLogger(__name__)

# What was read meanwhile is dropped when there are so many, and what was not is told: a long life does not fill memory.
_KEPT_AT_MOST = 1000


class UnreadErrors:
    """The errors of one context. Those that nobody has read by its end are logged, or raised if they end programs."""

    __slots__ = ("_failures", "level")

    def __init__(self, level: int) -> None:
        self.level = level
        # By the identity of the exception, which its failure keeps alive.
        self._failures: dict[int, Failure] = {}

    def __len__(self) -> int:
        return len(self._failures)

    def keep(self, failure: Failure) -> Failure:
        """Keep an error until somebody reads it. Gives the failure to be used for it.

        One exception that ends several streams at once is one error, read if it is read anywhere: they share a failure.
        When somebody has read it and is ended by it in turn, it is a new one, since whoever reads those may be nobody.
        """
        key = id(failure.exception)
        known = self._failures.get(key)
        if known is not None and not known.observed:
            return known
        self._failures[key] = failure
        if len(self._failures) >= _KEPT_AT_MOST:
            self._failures = {key: failure for key, failure in self._failures.items() if not failure.observed}
            if len(self._failures) > _KEPT_AT_MOST // 2:  # nobody seems to read any: those of long ago are told now
                for oldest in list(self._failures)[: _KEPT_AT_MOST // 4]:
                    if not isinstance(self._failures[oldest].exception, (KeyboardInterrupt, SystemExit)):
                        self._log(self._failures.pop(oldest))
        return failure

    def report(self) -> Failure | None:
        """Log each error that nobody read, and forget all; return the first that must be raised instead."""
        failures, self._failures = self._failures, {}
        interrupt: Failure | None = None
        for failure in failures.values():
            if failure.observed or isinstance(failure.exception, OrderlyEnd):
                continue
            if isinstance(failure.exception, (KeyboardInterrupt, SystemExit)):
                interrupt = interrupt or failure
                continue
            self._log(failure)
        return interrupt

    def _log(self, failure: Failure) -> None:
        origin = f" of {failure.origin}" if failure.origin else ""
        logger.log(self.level, "Nobody read this error%s", origin, exc_info=failure.exception)
