"""`fallback` and `retry`: one call after another, until one has succeeded."""

import asyncio
import logging
from typing import ParamSpec

from miniagents.agents import InteractionContext, MiniAgent
from miniagents.utils.combined import Asked, check_agents, check_count, check_number, combine
from miniagents.utils.success import (
    AllFailedError,
    ErrorClasses,
    Wrong,
    check_error_classes,
    deliver,
    describe,
    is_handled,
    retry_after,
    what_is_wrong,
)

P = ParamSpec("P")

logger = logging.getLogger(__name__)

_REPLACED = "it has failed, and somebody else is asked"


def fallback(*agents: MiniAgent[P], on: ErrorClasses = Exception, whole: bool = False) -> MiniAgent[P]:
    """An agent that asks the first of `agents`; if that fails before its first token, the next; and so on.

    From the first token on the answer is passed on live, and an error in it is raised at its place: two half answers
    never mix, and no reader sees anything of one that was replaced. With `whole` an answer is passed on when all of it
    is there, and one that fails anywhere is replaced; tokens then come all at once.

    - `on`: the classes of errors that make it ask the next one. Any other is the reply's error.

    If all fail, the reply is an `AllFailedError` with the errors in order. What an agent is still doing when it is
    replaced is cancelled. The keyword arguments go to each of the agents. Each replacement is logged at level `INFO`.

    >>> import miniagents
    >>> from miniagents import miniagent
    >>> @miniagent
    ... async def busy(ctx):
    ...     raise TimeoutError("too busy")
    >>> @miniagent
    ... async def free(ctx):
    ...     ctx.reply("I can do that.")
    >>> print(*miniagents.run(fallback(busy, free).inquire("Who can help?")))
    I can do that.
    """
    check_agents(agents, "fallback")
    check_error_classes(on, "fallback")

    async def body(ctx: InteractionContext, asked: tuple[Asked, ...]) -> None:
        failed: list[tuple[str, Wrong]] = []
        for one in asked:
            replies = one.inquire(ctx.message_promises)
            wrong = await what_is_wrong(replies, whole)
            if wrong is None or not is_handled(wrong, on):
                deliver(ctx, replies, wrong, whole)
                return
            replies.cancel(_REPLACED)
            failed.append((one.alias, wrong))
            logger.info("%s: %s has failed: %s", ctx.this_agent.alias, one.alias, describe(wrong))
        ctx.reply(AllFailedError.of(failed))

    return combine(
        agents,
        body,
        name="fallback",
        alias="_OR_".join(agent.alias for agent in agents),
        description=agents[0].description,
    )


def retry(
    agent: MiniAgent[P],
    *,
    attempts: int = 3,
    delay: float = 1.0,
    backoff: float = 2.0,
    max_delay: float = 60.0,
    on: ErrorClasses = Exception,
    whole: bool = False,
) -> MiniAgent[P]:
    """An agent that asks `agent` again if it fails before its first token, up to `attempts` times in all.

    What readers see, and `on` and `whole`, are as in `fallback`; if all attempts fail, they get the last one.

    Between two attempts it waits `delay` seconds, `backoff` times as long each time. An error with an attribute
    `retry_after`, a number of seconds, makes it wait at least so long. No pause is longer than `max_delay`: if more
    than that is asked for, the error is passed on at once.
    """
    check_agents((agent,), "retry")
    check_count(attempts, "attempts")
    check_number(delay, "delay")
    check_number(backoff, "backoff", at_least=1)
    check_number(max_delay, "max_delay")
    check_error_classes(on, "retry")

    async def body(ctx: InteractionContext, asked: tuple[Asked, ...]) -> None:
        (one,) = asked
        pause = min(delay, max_delay)
        for attempt in range(1, attempts + 1):
            replies = one.inquire(ctx.message_promises)
            wrong = await what_is_wrong(replies, whole)
            wanted = retry_after(wrong)
            if wrong is None or attempt == attempts or wanted > max_delay or not is_handled(wrong, on):
                deliver(ctx, replies, wrong, whole)
                return
            replies.cancel(_REPLACED)
            logger.info("%s: attempt %d of %d has failed: %s", one.alias, attempt, attempts, describe(wrong))
            del replies, wrong  # not to be kept through the pause
            await asyncio.sleep(max(pause, wanted))
            pause = min(pause * backoff, max_delay)

    return combine((agent,), body, name="retry", alias=f"{agent.alias}_RETRIED", description=agent.description)
