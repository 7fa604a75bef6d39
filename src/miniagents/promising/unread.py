"""Errors that nobody read. Each is reported exactly once, when its context ends: shown, or counted with equal ones.

A failure is held weakly: the streams that it has ended hold it, so while it is alive somebody may still read it, and
nothing is said before the context ends. When the last of them is dropped, nobody can read it any more: it is lost, and
held from then on. When very many are lost, they are reported before the end: a long life does not fill memory.
"""

import logging
import traceback
import weakref
from collections import Counter
from collections.abc import Iterable

from miniagents.promising.errors import OrderlyEnd
from miniagents.promising.log import Failure

logger = logging.getLogger(__name__)

_LOST_AT_MOST = 1000
# Of those of one class and one origin, that say the same and in all: thousands of tracebacks would bury all others.
_EQUAL_SHOWN = 5
_SHOWN_OF_A_KIND = 20


class UnreadErrors:
    """The errors of one context. Those that nobody has read by its end are logged, or raised if they end programs."""

    __slots__ = ("_failures", "_lost", "level")

    def __init__(self, level: int) -> None:
        self.level = level
        # By the identity of the exception, which its failure keeps alive, in the order in which they came. A lost one
        # stands there itself.
        self._failures: dict[int, weakref.ref[Failure] | Failure] = {}
        # How many are lost, or a few less or more: finalizers count in any thread, and only memory depends on it.
        self._lost = 0

    def __len__(self) -> int:
        return len(self._failures)

    def keep(self, failure: Failure) -> Failure:
        """Keep an error until somebody reads it. Gives the failure to be used for it.

        One exception that ends several streams at once is one error, read if it is read anywhere: they share a failure.
        When somebody has read it and is ended by it in turn, it is a new one, since whoever reads those may be nobody.
        """
        key = id(failure.exception)
        known = self._failures.get(key)
        if isinstance(known, weakref.ref) and (shared := known()) is not None and not shared.observed:
            return shared
        if isinstance(known, Failure):
            self._lost -= 1  # it has readers again, by way of this one
        self._failures[key] = weakref.ref(failure)
        failure.dropped = self._dropped
        if self._lost >= _LOST_AT_MOST:
            self._report_lost()
        return failure

    def _dropped(self, failure: Failure) -> None:
        """Nobody can read `failure` any more. Called by a finalizer, at any point of any thread: logs nothing."""
        key = id(failure.exception)
        known = self._failures.get(key)
        if isinstance(known, Failure) or (known is not None and known() not in (None, failure)):
            return  # it was read, and what it has ended in turn failed with the same exception
        if failure.observed or isinstance(failure.exception, OrderlyEnd):
            self._failures.pop(key, None)
        else:
            failure.dropped = None
            self._failures[key] = failure
            self._lost += 1

    def _report_lost(self) -> None:
        self._lost = 0
        lost = [one for one in list(self._failures.values()) if isinstance(one, Failure) and not _ends_program(one)]
        for failure in lost:
            self._failures.pop(id(failure.exception), None)
        self._log(lost)

    def report(self) -> Failure | None:
        """Log the errors that nobody read, and forget all; return the first that must be raised instead."""
        unread: list[Failure] = []
        for key in list(self._failures):  # each looked up when it is its turn: a thread may drop one just now
            known = self._failures.get(key)
            failure = known() if isinstance(known, weakref.ref) else known
            if failure is not None:  # else it was read, or its finalizer is about to put it there
                failure.dropped = None
                self._failures.pop(key, None)
                if not failure.observed and not isinstance(failure.exception, OrderlyEnd):
                    unread.append(failure)
        self._lost = 0
        self._log(failure for failure in unread if not _ends_program(failure))
        return next(filter(_ends_program, unread), None)

    def _log(self, failures: Iterable[Failure]) -> None:
        """Log the first few of each kind with their tracebacks, and how many more there were."""
        shown: Counter[str] = Counter()
        more: Counter[str] = Counter()
        said: Counter[tuple[str, str]] = Counter()
        for failure in failures:
            origin = f" of {failure.origin}" if failure.origin else ""
            kind = f"{type(failure.exception).__name__}{origin}"
            saying = (kind, "".join(traceback.format_exception_only(failure.exception)))
            if said[saying] < _EQUAL_SHOWN and shown[kind] < _SHOWN_OF_A_KIND:
                said[saying] += 1
                shown[kind] += 1
                logger.log(self.level, "Nobody read this error%s", origin, exc_info=failure.exception)
            else:
                more[kind] += 1
        if more:
            listed = ", ".join(f"{kind} ({count:,})" for kind, count in more.items())
            logger.log(self.level, "Nobody read %s more: %s", f"{more.total():,}", listed)


def _ends_program(failure: Failure) -> bool:
    return isinstance(failure.exception, (KeyboardInterrupt, SystemExit))
