"""`first_of` and `hedge`: several calls at once, of which one wins and the others are cancelled."""

import asyncio
from collections.abc import Iterator
from typing import Final, ParamSpec

from miniagents.agents import InteractionContext, MiniAgent
from miniagents.messages import MessageSequencePromise, MessageType
from miniagents.promising import PromisingContext
from miniagents.promising.log import as_failure
from miniagents.utils.combined import Asked, check_agents, check_count, check_number, combine
from miniagents.utils.success import AllFailedError, Wrong, deliver, deliver_error, is_handled, what_is_wrong

P = ParamSpec("P")

NOT_NEEDED: Final = "its answer is not needed any more"


class Calls:
    """Calls that run at once, each with a task that waits for what becomes of it. To be used with `with`.

    At the end of the block those are cancelled that were not taken.
    """

    def __init__(self, messages: MessageType, whole: bool) -> None:
        self._messages = messages
        self._whole = whole
        self._running: dict[asyncio.Task[Wrong | None], tuple[str, MessageSequencePromise]] = {}

    def __enter__(self) -> "Calls":
        return self

    def __exit__(self, *_: object) -> None:
        for task, (_alias, replies) in self._running.items():
            task.cancel()
            replies.cancel(NOT_NEEDED)
        self._running.clear()

    def __len__(self) -> int:
        return len(self._running)

    def ask(self, one: Asked) -> None:
        """Start a call."""
        replies = one.inquire(self._messages)
        task = PromisingContext.get_current().start_asap(_look(replies, self._whole))
        self._running[task] = (one.alias, replies)

    async def wait(self, seconds: float | None = None, *, for_all: bool = False) -> None:
        """Wait until one of them, or all, have succeeded or failed, but no longer than that."""
        until = asyncio.ALL_COMPLETED if for_all else asyncio.FIRST_COMPLETED
        await asyncio.wait(self._running, timeout=seconds, return_when=until)

    def take_decided(self) -> Iterator[tuple[str, MessageSequencePromise, Wrong | None]]:
        """Those that have succeeded or failed, in the order in which they were started."""
        for task in [task for task in self._running if task.done()]:
            alias, replies = self._running[task]
            wrong = task.result()
            del self._running[task]
            yield alias, replies, wrong


async def _look(replies: MessageSequencePromise, whole: bool) -> Wrong | None:
    """What is wrong; that nobody looks any more, if this is cancelled."""
    try:
        return await what_is_wrong(replies, whole)
    except asyncio.CancelledError as error:
        # It ends here, or the task, which the frame of a waiting reader knows, would be in a cycle with its own error.
        return as_failure(error, "The wait for an answer")


async def _race(
    ctx: InteractionContext, asked: tuple[Asked, ...], whole: bool, after: float | None
) -> list[tuple[str, Wrong]]:
    """Reply with the first success, which gives an empty list. If there is none, give what was wrong with each.

    `after`: start one, and the next each time that so many seconds have passed; all at once if it is `None`.
    """
    clock = asyncio.get_running_loop().time
    waiting = list(reversed(asked))
    failed: list[tuple[str, Wrong]] = []
    with Calls(ctx.message_promises, whole) as calls:
        calls.ask(waiting.pop())
        while waiting and after is None:
            calls.ask(waiting.pop())
        next_at = clock() + (after or 0)
        while len(calls):
            await calls.wait(max(0, next_at - clock()) if waiting else None)
            for alias, replies, wrong in calls.take_decided():
                if wrong is None or not is_handled(wrong, Exception):
                    deliver(ctx, replies, wrong, whole)
                    return []
                replies.cancel(NOT_NEEDED)
                failed.append((alias, wrong))
            if waiting and len(calls) and clock() >= next_at:
                calls.ask(waiting.pop())
                next_at = clock() + (after or 0)
    return failed


def first_of(*agents: MiniAgent[P], whole: bool = True) -> MiniAgent[P]:
    """An agent that asks all of `agents` at once and replies with the first success; the others are cancelled.

    Whether an answer is a success is known when all of it is there, so that is what it waits for, and the tokens come
    all at once. With `whole=False` the winner is who has the first token: it streams live, and if it breaks off later
    there is nobody left to take over; the error is raised at its place.

    If all fail, the reply is an `AllFailedError`. Of two that succeed at the same moment the one that is named first
    wins. The keyword arguments go to each of the agents.
    """
    check_agents(agents, "first_of")

    async def body(ctx: InteractionContext, asked: tuple[Asked, ...]) -> None:
        if failed := await _race(ctx, asked, whole, after=None):
            ctx.reply(AllFailedError.of(failed))

    alias = "FIRST_OF_" + "_".join(agent.alias for agent in agents)
    return combine(agents, body, name="first_of", alias=alias, description=agents[0].description)


def hedge(agent: MiniAgent[P], after: float, *, attempts: int = 2) -> MiniAgent[P]:
    """An agent that asks `agent`, and once more if no token is there `after` so many seconds, up to `attempts` times.

    Whoever has the first token wins and streams live; the others are cancelled. It is meant against slowness and not
    against errors: a call that fails is out of the race, and if nobody is left in it, the reply is the error of the
    last one. `hedge(retry(agent), after=...)` is for both.
    """
    check_agents((agent,), "hedge")
    check_number(after, "after")
    check_count(attempts, "attempts")

    async def body(ctx: InteractionContext, asked: tuple[Asked, ...]) -> None:
        if failed := await _race(ctx, asked * attempts, whole=False, after=after):
            deliver_error(ctx, failed[-1][1])

    return combine((agent,), body, name="hedge", alias=f"{agent.alias}_HEDGED", description=agent.description)
