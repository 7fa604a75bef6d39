"""Says which agents were to start when their replies are read, and never did."""

import logging
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from miniagents.promising.context import PromisingContext
from miniagents.promising.resources import Close

REPLIES = TypeVar("REPLIES")
RUN = TypeVar("RUN")

logger = logging.getLogger(__name__)


def counted_until_started(
    context: PromisingContext, alias: str, start: Callable[[REPLIES], RUN]
) -> Callable[[REPLIES], RUN]:
    """`start`, which begins a lazy call. If it is never called, the end of the outermost context says so.

    At the level `INFO`, because a call may be lazy just because it might not be needed. It says "in time", because
    reading the replies of a call that was cancelled comes too late. Kept is a count and no reference, so that a call
    that is dropped is freed.
    """
    waiting = context.resource(counted_until_started, _make_counter)
    waiting[alias] += 1

    def counted(replies: REPLIES) -> RUN:
        waiting[alias] -= 1
        return start(replies)

    return counted


def _make_counter() -> tuple[Counter[str], Close]:
    waiting: Counter[str] = Counter()

    async def tell() -> None:
        left = [f"{alias} ({calls})" for alias, calls in sorted(waiting.items()) if calls > 0]
        if left:
            logger.info("Never started, because nobody read their replies in time: %s", ", ".join(left))

    return waiting, tell
