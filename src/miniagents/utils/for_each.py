"""`map_agents`: one call for each item."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Final, ParamSpec

from pydantic import BaseModel

from miniagents.agents import InteractionContext, MiniAgent
from miniagents.messages import MessageSequence, MessageSequencePromise, MessageType
from miniagents.promising import PromisingContext
from miniagents.utils.combined import Asked, check_agents, check_count, combine

P = ParamSpec("P")

# How many calls are made in one stretch before other tasks get a turn. A few milliseconds.
_CALLS_PER_TURN: Final = 100


def map_agents(
    agent: MiniAgent[P],
    items: Iterable[MessageType] | MessageSequencePromise | None = None,
    *,
    max_concurrency: int | None = None,
    in_order: bool = True,
) -> MiniAgent[P]:
    """An agent that calls `agent` once for each item and replies with all that they say.

    - `items`: what to send, one call each, behind the messages that the new agent is sent itself. Without it each of
      those messages is an item, and its call starts when the message begins: a planner's items are worked on while it
      plans. Of those messages, and of the replies of an agent that are given as `items`, what is no answer is no item:
      thoughts, calls and results of tools (`Message.is_answer`).
    - `max_concurrency`: so many calls run at a time, of one call of the new agent; by default all at once. The calls
      start in the order of the items, the next one when one has said all.
    - `in_order`: whether the replies come in the order of the items, however long each takes, or each message as soon
      as its first token is there.

    The calls run at once even where agents are lazy. An error of one call takes its place among the replies; the others
    go on (`await replies.settled()` gives everything). The keyword arguments go to each call.

    >>> import miniagents
    >>> from miniagents import miniagent
    >>> @miniagent
    ... async def shouter(ctx):
    ...     async for message in ctx.message_promises:
    ...         ctx.reply(f"{(await message).text.upper()}!")
    >>> print(*miniagents.run(map_agents(shouter).inquire(["one", "two"])))
    ONE! TWO!
    """
    check_agents((agent,), "map_agents")
    if max_concurrency is not None:
        check_count(max_concurrency, "max_concurrency")
    kept = items if items is None or isinstance(items, MessageSequencePromise) else _checked(items)

    async def body(ctx: InteractionContext, asked: tuple[Asked, ...]) -> None:
        (one,) = asked
        context = PromisingContext.get_current()
        gate = None if max_concurrency is None else asyncio.Semaphore(max_concurrency)
        reply = ctx.reply if in_order else ctx.reply_out_of_order
        reads = gate is not None or not context.start_everything_asap_by_default

        made = 0

        async def call(messages: MessageType) -> None:
            nonlocal made
            made += 1
            if not made % _CALLS_PER_TURN:
                await asyncio.sleep(0)
            if gate is not None:
                await gate.acquire()
            replies = one.inquire(messages)
            reply(replies)
            if reads:  # to the end: that makes lazy agents go on, and tells when the next one may start
                reading = context.start_asap(replies.outcomes())
                if gate is not None:
                    free = gate.release
                    reading.add_done_callback(lambda _: free())  # also if the task never runs

        if kept is None:
            async for promise in ctx.message_promises:
                if promise.message_class.is_answer:
                    await call(promise)
        elif isinstance(kept, MessageSequencePromise):
            async for promise in kept:
                if promise.message_class.is_answer:
                    await call([ctx.message_promises, promise])
        else:
            for item in kept:
                await call([ctx.message_promises, item])

    return combine((agent,), body, name="map_agents", alias=f"{agent.alias}_FOR_EACH", description=agent.description)


def _checked(items: Any) -> tuple[MessageSequencePromise, ...]:
    """The items, each in a form that can be sent any number of times."""
    if isinstance(items, (str, bytes, Mapping, BaseModel, BaseException)) or not isinstance(items, Iterable):
        raise TypeError(
            f"The items of `map_agents` are a list or another iterable, and {items!r} is none: write [item, ...]. "
            "To call the agent for each message that is sent to it, leave them out."
        )
    kept: list[MessageSequencePromise] = []
    for item in items:
        try:
            kept.append(MessageSequence.turn_into_sequence_promise(item))
        except TypeError as error:
            raise TypeError(f"In items[{len(kept)}], {error}") from None
    return tuple(kept)
