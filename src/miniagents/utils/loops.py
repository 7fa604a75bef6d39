"""Loops of agents: chains that feed each other, turn after turn, and the dialog of two."""

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeAlias

from miniagents.agents import MiniAgent, MiniAgents
from miniagents.messages import EndOfDialog, MessageSequence, MessageSequencePromise, MessageType
from miniagents.promising.context import current_context
from miniagents.promising.runner import interrupted
from miniagents.promising.sentinels import AWAIT, CLEAR, Sentinel

ChainCallable: TypeAlias = Callable[[MessageSequencePromise], MessageType | Awaitable[Any]]
ChainLink: TypeAlias = MiniAgent[...] | ChainCallable | Sentinel | None


async def achain_loop(agents: Iterable[ChainLink], initial_input: MessageType = None) -> None:
    """Let agents talk in a ring, for ever: what one replies is what the next is sent.

    `agents` may hold, besides agents,

    - plain callables, sync or async: they are given the messages and give back those for the next one;
    - `AWAIT`: wait until all that was said so far is there. A ring needs at least one, or it would plan turns for ever
      without any of them being taken: a `ValueError` says so;
    - `CLEAR`: forget the messages, so that the next agent is sent nothing;
    - `None`: nothing, for links that are only sometimes there.

    What an agent keeps for one dialog (`@miniagent(per_dialog=...)`) is made anew for each run of a loop.

    Returns when an agent raises `EndOfDialog` (as `console_user_agent` does when the user types `exit` or presses
    Ctrl+D). Every other error of an agent, `KeyboardInterrupt` among them, is raised here. Opens a `MiniAgents()` of
    its own if none is active.
    """
    links = [link for link in agents if link is not None]
    _check(links)
    # One for each agent, not for each link: an agent that has several turns in the ring is in one dialog.
    agents_here = {link: link.for_dialog() for link in links if isinstance(link, MiniAgent)}
    links = [agents_here[link] if isinstance(link, MiniAgent) else link for link in links]
    context = contextlib.nullcontext() if current_context() is not None else MiniAgents()
    async with context:
        messages = MessageSequence.turn_into_sequence_promise(initial_input)
        try:
            while True:
                for link in links:
                    messages = await _pass_through(link, messages)
        except EndOfDialog:
            return
        except asyncio.CancelledError:
            # At a prompt Ctrl+C is a key, elsewhere it cancels us: to who runs the loop it should be the same.
            if interrupted():
                raise KeyboardInterrupt from None
            raise


async def adialog_loop(user_agent: MiniAgent[...], assistant_agent: MiniAgent[...]) -> None:
    """Let a user and an assistant talk until the user ends it: `achain_loop([user_agent, AWAIT, assistant_agent])`.

    The assistant is called when the user has said all; its tokens reach the user agent while they are made.
    """
    partners: tuple[object, ...] = (user_agent, assistant_agent)
    for partner in partners:
        if not callable(partner):
            raise TypeError(f"A dialog is between two agents, and {partner!r} is none.")
    await achain_loop([user_agent, AWAIT, assistant_agent])


async def _pass_through(link: Any, messages: MessageSequencePromise) -> MessageSequencePromise:
    if link is AWAIT:
        await asyncio.sleep(0)  # what is awaited may be there already, and a ring that never waits would hold the loop
        await messages
        return messages
    if link is CLEAR:
        return MessageSequence.turn_into_sequence_promise(None)
    if isinstance(link, MiniAgent):
        return link.inquire(messages)
    given = link(messages)
    if inspect.isawaitable(given) and not isinstance(given, MessageSequencePromise):
        given = await given
    return MessageSequence.turn_into_sequence_promise(given)


def _check(links: list[Any]) -> None:
    for link in links:
        if link is not AWAIT and link is not CLEAR and not isinstance(link, MiniAgent) and not callable(link):
            raise TypeError(f"A chain is made of agents, callables, AWAIT, CLEAR and None, not of {link!r}.")
    if AWAIT not in links:
        raise ValueError(
            "This chain has no AWAIT, so it would plan turns for ever without any of them being taken. "
            "Put AWAIT behind the agent whose words the next turn depends on: [user, AWAIT, assistant]."
        )
    if all(isinstance(link, Sentinel) for link in links):
        raise ValueError("There is no agent in this chain.")
