"""Faults of the catalogue that come with size: many agents, readers and messages, and long ones."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from miniagents import InteractionContext, Message, MiniAgents, miniagent
from miniagents.testing.virtual_time import run_virtual


@miniagent
async def echo(ctx: InteractionContext) -> None:
    ctx.reply(ctx.message_promises)


def test_ten_thousand_agents_at_once() -> None:
    """Ten thousand agents that are all at work at the same time each give their reply."""
    at_work = most = 0

    @miniagent
    async def worker(ctx: InteractionContext, number: int) -> None:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        await asyncio.sleep(1)
        at_work -= 1
        ctx.reply(str(number))

    async def main() -> list[str]:
        async with MiniAgents():
            replies = [worker.inquire(number=number) for number in range(10_000)]
            return [str(message) for reply in replies for message in await reply]

    assert run_virtual(main, max_steps=1_000_000) == [str(number) for number in range(10_000)]
    assert most == 10_000


def test_a_reply_of_twenty_thousand_messages_does_not_hold_the_loop() -> None:
    """Others have their turn again and again while such a reply is read."""

    @miniagent
    async def talkative(ctx: InteractionContext) -> None:
        ctx.reply([str(number) for number in range(20_000)])

    async def main() -> None:
        async with MiniAgents():
            replies = echo.inquire(talkative.inquire())
            await anext(aiter(replies))
            reading = asyncio.create_task(replies.aresolve(), name="reader")
            assert [str(message) for message in await reading] == [str(number) for number in range(20_000)]

    steps = Counter[str]()
    run_virtual(main, on_step=lambda _, task: steps.update([task.get_name()]))
    assert steps["reader"] >= 20


def test_a_message_of_fifty_megabytes() -> None:
    """It passes through agents as the object that it is, has a key, and streams as one token."""
    text = "0123456789" * 5_000_000

    async def main() -> None:
        async with MiniAgents():
            (promise,) = [promise async for promise in echo.inquire(echo.inquire(text))]
            assert [token async for token in promise] == [text]
            message = await promise
            assert message.text is text
            assert message.hash_key == Message(text).hash_key
            assert message.hash_key != Message(text[1:]).hash_key

    asyncio.run(main())


def test_what_a_token_costs_a_reader_does_not_grow_with_the_readers() -> None:
    """Each reader of a stream takes one step for a token, whether there are ten of them or a thousand."""

    def steps_of(readers: int, tokens: int) -> int:
        async def streamer(metadata: dict[str, Any]) -> AsyncIterator[str]:
            for _ in range(tokens):
                await asyncio.sleep(1)
                yield "token"

        async def main() -> None:
            async with MiniAgents():
                promise = Message.promise(streamer)

                async def read() -> int:
                    return len([token async for token in promise])

                assert await asyncio.gather(*(read() for _ in range(readers))) == [tokens] * readers

        steps: list[int] = []
        run_virtual(main, on_step=lambda number, task: steps.append(number))
        return len(steps)

    for readers in (10, 1000):
        assert steps_of(readers, 20) - steps_of(readers, 10) == 10 * (readers + 1)
