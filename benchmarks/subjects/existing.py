"""The package `miniagents` 0.0.35, through its public interface."""

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator, Callable
from typing import Any

from benchmarks.content import ANSWER, BRANCHES, HELLO, TOKEN, expect, expect_all, shuffled
from benchmarks.meter import Meter
from miniagents import InteractionContext, MessagePromise, MiniAgents, TextMessage, TextToken, miniagent


@miniagent
async def exclaim(ctx: InteractionContext) -> None:
    async for promise in ctx.message_promises:
        ctx.reply(f"{await promise}!")


async def sequential(meter: Meter, calls: int) -> None:
    texts: list[str] = []
    with meter:
        async with MiniAgents():
            for _ in range(calls):
                (message,) = await exclaim.trigger(HELLO)
                texts.append(str(message))
    expect_all(texts, ANSWER, calls)


async def fan_out(meter: Meter, calls: int) -> None:
    texts: list[str] = []
    with meter:
        async with MiniAgents():
            for reply in [exclaim.trigger(HELLO) for _ in range(calls)]:
                (message,) = await reply
                texts.append(str(message))
    expect_all(texts, ANSWER, calls)


@miniagent
async def node(ctx: InteractionContext, depth: int) -> None:
    ctx.reply([node.trigger(depth=depth - 1) for _ in range(BRANCHES)] if depth else HELLO)


async def tree(meter: Meter, depth: int, agents: int) -> None:
    with meter:
        async with MiniAgents():
            texts = [str(message) for message in await node.trigger(depth=depth)]
    expect_all(texts, HELLO, BRANCHES**depth)


async def out_of_order(meter: Meter, agents: int) -> None:
    gates = [asyncio.Event() for _ in range(agents)]

    @miniagent
    async def waiting(ctx: InteractionContext, number: int) -> None:
        await gates[number].wait()
        ctx.reply(str(number))

    @miniagent
    async def hasty(ctx: InteractionContext) -> None:
        for number in range(agents):
            ctx.reply_out_of_order(waiting.trigger(number=number))

    with meter:
        async with MiniAgents():
            replies = hasty.trigger()
            for _ in range(20):
                await asyncio.sleep(0)
            for number in shuffled(agents):
                gates[number].set()
            texts = [str(message) for message in await replies]
    expect(sorted(texts), sorted(map(str, range(agents))))


async def history(meter: Meter, turns: int, calls: int) -> None:
    past = [TextMessage(f"turn {number}", role="user") for number in range(turns)]
    answers: list[str] = []

    @miniagent
    async def counting(ctx: InteractionContext) -> None:
        ctx.reply(str(sum(len(str(message)) > 0 for message in await ctx.message_promises)))

    with meter:
        async with MiniAgents():
            for _ in range(calls):
                (message,) = await counting.trigger(past)
                answers.append(str(message))
    expect_all(answers, str(turns), calls)


async def idle_agents(meter: Meter, agents: int) -> None:
    gate = asyncio.Event()
    texts: list[str] = []

    @miniagent
    async def waiting(ctx: InteractionContext) -> None:
        await gate.wait()
        ctx.reply(ctx.message_promises)

    async with MiniAgents():
        with meter:
            replies = [waiting.trigger(HELLO) for _ in range(agents)]
            for _ in range(20):
                await asyncio.sleep(0)
            meter.held()
            gate.set()
            for reply in replies:
                texts += map(str, await reply)
    expect_all(texts, HELLO, agents)


# ---------------------------------------------------------------------- streams


def speech(tokens: int, *, yielding: bool = True) -> Callable[[dict[str, Any]], AsyncIterator[TextToken]]:
    async def streamer(_: dict[str, Any]) -> AsyncIterator[TextToken]:
        for _ in range(tokens):
            if yielding:
                await asyncio.sleep(0)
            yield TextToken(TOKEN)

    return streamer


async def stream(meter: Meter, tokens: int, yielding: bool) -> None:
    with meter:
        async with MiniAgents():
            promise = TextMessage.promise(message_token_streamer=speech(tokens, yielding=yielding))
            count = await _count(promise)
            text = str(await promise)
    expect((count, text), (tokens, TOKEN * tokens))


@miniagent
async def forwarder(ctx: InteractionContext) -> None:
    ctx.reply(ctx.message_promises)


async def forward(meter: Meter, depth: int, tokens: int) -> None:
    found: list[str] = []

    @miniagent
    async def speaker(ctx: InteractionContext) -> None:
        ctx.reply(TextMessage.promise(message_token_streamer=speech(tokens)))

    with meter:
        async with MiniAgents():
            replies = speaker.trigger()
            for _ in range(depth):
                replies = forwarder.trigger(replies)
            async for promise in replies:
                async for token in promise:
                    if not found:
                        meter.first()
                    found.append(str(token))
    expect_all(found, TOKEN, tokens)


async def forward_messages(meter: Meter, depth: int, messages: int) -> None:
    @miniagent
    async def speaker(ctx: InteractionContext) -> None:
        for _ in range(messages):
            await asyncio.sleep(0)
            ctx.reply(TOKEN)

    with meter:
        async with MiniAgents():
            replies = speaker.trigger()
            for _ in range(depth):
                replies = forwarder.trigger(replies)
            texts = [str(await promise) async for promise in replies]
    expect_all(texts, TOKEN, messages)


async def _count(tokens: AsyncIterable[Any]) -> int:
    count = 0
    async for _ in tokens:
        count += 1
    return count


async def live_readers(meter: Meter, readers: int, tokens: int) -> None:
    with meter:
        async with MiniAgents():
            promise = TextMessage.promise(message_token_streamer=speech(tokens))
            reading = [asyncio.create_task(_count(promise)) for _ in range(readers)]
            counts = [await one for one in reading]
    expect_all(counts, tokens, readers)


async def late_readers(meter: Meter, readers: int, tokens: int) -> None:
    async with MiniAgents():
        promise = TextMessage.promise(message_token_streamer=speech(tokens))
        await promise
        with meter:
            reading = [asyncio.create_task(_count(promise)) for _ in range(readers)]
            counts = [await one for one in reading]
    expect_all(counts, tokens, readers)


async def kept_tokens(meter: Meter, tokens: int) -> None:
    async def streamer(_: dict[str, Any]) -> AsyncIterator[TextToken]:
        for number in range(tokens):
            yield TextToken(f"{number:06}")

    async with MiniAgents():
        with meter:
            promise = TextMessage.promise(message_token_streamer=streamer)
            expect(await _count(promise), tokens)
            text = str(await promise)
            expect(len(text), 6 * tokens)
            meter.held()


# ---------------------------------------------------------------------- messages


def _said(count: int) -> list[TextMessage]:
    return [TextMessage(f"message {number}", role="user") for number in range(count)]


async def build(meter: Meter, messages: int) -> None:
    with meter:
        said = _said(messages)
    expect((len(said), str(said[-1])), (messages, f"message {messages - 1}"))


async def hash(meter: Meter, messages: int) -> None:
    with meter:
        keys = [one.hash_key for one in _said(messages)]
    expect(len(set(keys)), messages)


async def kept_messages(meter: Meter, messages: int) -> None:
    @miniagent
    async def speaker(ctx: InteractionContext) -> None:
        for number in range(messages):
            ctx.reply(TextMessage(f"message {number}", role="user"))

    async with MiniAgents():
        with meter:
            replies = speaker.trigger()
            expect(len(await replies), messages)
            meter.held()


# ---------------------------------------------------------------------- LLM


async def llm_sdk(meter: Meter, streams: int) -> None:
    os.environ["OPENAI_BASE_URL"] = os.environ["BENCHMARK_LLM_URL"]  # its agent makes the client itself
    from miniagents.ext.llms import OpenAIAgent

    async def read(promise: MessagePromise) -> str:
        found: list[str] = []
        async for token in promise:
            if not found:
                meter.first()
            found.append(str(token))
        return "".join(found)

    async def reply() -> list[str]:
        return [await read(promise) async for promise in OpenAIAgent.trigger(HELLO, model="offline")]

    with meter:
        async with MiniAgents():
            tasks = [asyncio.create_task(reply()) for _ in range(streams)]
            texts = [text for task in tasks for text in await task]
    expect_all(texts, os.environ["BENCHMARK_LLM_REPLY"], streams)
