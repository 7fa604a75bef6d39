"""Agents that play a part in the tests of combinators, and the stage that knows what has become of each."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from miniagents import InteractionContext, Message, MessageSequencePromise, MiniAgent, MiniAgents, miniagent
from miniagents.testing import run_virtual

T = TypeVar("T")

CONTEXTS: dict[str, dict[str, Any]] = {"eager": {}, "lazy": {"start_everything_asap_by_default": False}}


class Stage:
    """`asked` has the moments at which each actor was asked, `ended` how each of its calls has ended."""

    def __init__(self) -> None:
        self.asked: dict[str, list[float]] = {}
        self.ended: dict[str, list[str]] = {}

    def actor(
        self,
        name: str,
        *says: str,
        begins: float | list[float] = 1,
        pause: float = 1,
        error: BaseException | None = None,
        works_on: float = 0,
    ) -> MiniAgent[[]]:
        """Streams the tokens `says`, `pause` seconds after each other, and then fails with `error` if there is one.

        It `begins` after so many seconds, or, of a list, the first call after the first number of seconds, and so on.

        Beside that it works for `works_on` seconds, having replied.
        """

        async def tokens(wait: float) -> AsyncIterator[str]:
            how = "cancelled"
            try:
                await asyncio.sleep(wait)
                for number, token in enumerate(says):
                    if number:
                        await asyncio.sleep(pause)
                    yield token
                if error is not None:
                    how = "failed"
                    raise error.with_traceback(None)
                how = "done"
            finally:
                self.ended.setdefault(name, []).append(how)

        async def act(ctx: InteractionContext) -> None:
            self.asked.setdefault(name, []).append(now())
            wait = begins[len(self.asked[name]) - 1] if isinstance(begins, list) else begins
            ctx.reply(Message.promise(lambda metadata: tokens(wait), by=name))
            if works_on:
                try:
                    await asyncio.sleep(works_on)
                except asyncio.CancelledError:
                    self.ended.setdefault(f"{name} at work", []).append("cancelled")
                    raise

        act.__doc__ = f"What {name} can do."
        return miniagent(alias=name)(act)


def now() -> float:
    return asyncio.get_running_loop().time()


def play(scene: Callable[[], Awaitable[T]], seed: int = 0, **options: Any) -> T:
    """Run an async function in a `MiniAgents` in virtual time; no task may be left when that has ended."""

    async def main() -> T:
        async with MiniAgents(**options):
            result = await scene()
        assert {task.get_name() for task in asyncio.all_tasks()} == {"main"}
        return result

    return run_virtual(main, seed=seed)


async def heard(replies: MessageSequencePromise) -> list[tuple[float, str | BaseException]]:
    """What a reader gets and when: tokens, and the errors inside and between messages."""
    found: list[tuple[float, str | BaseException]] = []
    try:
        async for promise in replies:
            try:
                async for token in promise:
                    found.append((now(), token))
            except BaseException as error:
                found.append((now(), error))
    except BaseException as error:
        found.append((now(), error))
    return found
