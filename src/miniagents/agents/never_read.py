"""Says which agents were to start when their replies are read, and never did."""

import logging
from collections import Counter
from collections.abc import Callable

from miniagents.promising.context import PromisingContext
from miniagents.promising.resources import Close

logger = logging.getLogger(__name__)


def count_until_started(context: PromisingContext, alias: str) -> Callable[[], None]:
    """What a lazy call is to call when it starts. If that never comes, the end of the outermost context says so.

    At the level `INFO`, because a call may be lazy just because it might not be needed. It says "in time", because
    reading the replies of a call that was cancelled comes too late. Kept is a count and no reference, so that a call
    that is dropped is freed.
    """
    waiting = context.resource(count_until_started, _make_counter)
    waiting[alias] += 1

    def tell_start() -> None:
        waiting[alias] -= 1

    return tell_start


def _make_counter() -> tuple[Counter[str], Close]:
    waiting: Counter[str] = Counter()

    async def tell() -> None:
        left = [f"{alias} ({calls})" for alias, calls in sorted(waiting.items()) if calls > 0]
        if left:
            logger.info("Never started, because nobody read their replies in time: %s", ", ".join(left))

    return waiting, tell
