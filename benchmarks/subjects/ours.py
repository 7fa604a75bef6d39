"""This project."""

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator, Callable
from typing import Any

from benchmarks.content import ANSWER, BRANCHES, HELLO, TOKEN, expect, expect_all, paragraph, shuffled
from benchmarks.meter import Meter
from miniagents import (
    InteractionContext,
    Message,
    MessagePromise,
    MiniAgent,
    MiniAgents,
    join_messages,
    miniagent,
    split_messages,
)

# ---------------------------------------------------------------------- calls


@miniagent
async def exclaim(ctx: InteractionContext) -> None:
    async for promise in ctx.message_promises:
        ctx.reply(f"{await promise}!")


async def sequential(meter: Meter, calls: int) -> None:
    texts: list[str] = []
    with meter:
        async with MiniAgents():
            for _ in range(calls):
                (message,) = await exclaim.inquire(HELLO)
                texts.append(str(message))
    expect_all(texts, ANSWER, calls)


async def fan_out(meter: Meter, calls: int) -> None:
    texts: list[str] = []
    with meter:
        async with MiniAgents():
            for reply in [exclaim.inquire(HELLO) for _ in range(calls)]:
                (message,) = await reply
                texts.append(str(message))
    expect_all(texts, ANSWER, calls)


@miniagent
async def node(ctx: InteractionContext, depth: int) -> None:
    ctx.reply([node.inquire(depth=depth - 1) for _ in range(BRANCHES)] if depth else HELLO)


async def tree(meter: Meter, depth: int, agents: int) -> None:
    with meter:
        async with MiniAgents():
            texts = [str(message) for message in await node.inquire(depth=depth)]
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
            ctx.reply_out_of_order(waiting.inquire(number=number))

    with meter:
        async with MiniAgents():
            replies = hasty.inquire()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            for number in shuffled(agents):
                gates[number].set()
            texts = [str(message) for message in await replies]
    expect(texts, [str(number) for number in shuffled(agents)])


async def history(meter: Meter, turns: int, calls: int) -> None:
    past = [Message(f"turn {number}", role="user") for number in range(turns)]
    answers: list[str] = []

    @miniagent
    async def counting(ctx: InteractionContext) -> None:
        ctx.reply(str(sum(len(str(message)) > 0 for message in await ctx.message_promises)))

    with meter:
        async with MiniAgents():
            for _ in range(calls):
                (message,) = await counting.inquire(past)
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
            replies = [waiting.inquire(HELLO) for _ in range(agents)]
            await asyncio.sleep(0)
            meter.held()
            gate.set()
            for reply in replies:
                texts += map(str, await reply)
    expect_all(texts, HELLO, agents)


# ---------------------------------------------------------------------- streams


def speech(tokens: int, *, yielding: bool = True) -> Callable[[dict[str, Any]], AsyncIterator[str]]:
    """A streamer of so many tokens."""

    async def streamer(_: dict[str, Any]) -> AsyncIterator[str]:
        for _ in range(tokens):
            if yielding:
                await asyncio.sleep(0)
            yield TOKEN

    return streamer


async def stream(meter: Meter, tokens: int, yielding: bool) -> None:
    with meter:
        async with MiniAgents():
            promise = Message.promise(speech(tokens, yielding=yielding))
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
        ctx.reply(Message.promise(speech(tokens)))

    with meter:
        async with MiniAgents():
            replies = speaker.inquire()
            for _ in range(depth):
                replies = forwarder.inquire(replies)
            async for promise in replies:
                async for token in promise:
                    if not found:
                        meter.first()
                    found.append(token)
    expect_all(found, TOKEN, tokens)


async def forward_messages(meter: Meter, depth: int, messages: int) -> None:
    @miniagent
    async def speaker(ctx: InteractionContext) -> None:
        for _ in range(messages):
            await asyncio.sleep(0)
            ctx.reply(TOKEN)

    with meter:
        async with MiniAgents():
            replies = speaker.inquire()
            for _ in range(depth):
                replies = forwarder.inquire(replies)
            texts = [str(await promise) async for promise in replies]
    expect_all(texts, TOKEN, messages)


async def _count(tokens: AsyncIterable[str]) -> int:
    count = 0
    async for _ in tokens:
        count += 1
    return count


async def live_readers(meter: Meter, readers: int, tokens: int) -> None:
    with meter:
        async with MiniAgents():
            promise = Message.promise(speech(tokens))
            reading = [asyncio.create_task(_count(promise)) for _ in range(readers)]
            counts = [await one for one in reading]
    expect_all(counts, tokens, readers)


async def late_readers(meter: Meter, readers: int, tokens: int) -> None:
    async with MiniAgents():
        promise = Message.promise(speech(tokens))
        await promise
        with meter:
            reading = [asyncio.create_task(_count(promise)) for _ in range(readers)]
            counts = [await one for one in reading]
    expect_all(counts, tokens, readers)


def _numbers(tokens: int, gate: asyncio.Event) -> Callable[[dict[str, Any]], AsyncIterator[str]]:
    async def streamer(_: dict[str, Any]) -> AsyncIterator[str]:
        for number in range(tokens):
            yield f"{number:06}"
        await gate.wait()

    return streamer


async def growing_tokens(meter: Meter, tokens: int) -> None:
    gate = asyncio.Event()
    async with MiniAgents():
        with meter:
            promise = Message.promise(_numbers(tokens, gate))
            reader = aiter(promise)
            for _ in range(tokens):
                await anext(reader)
            meter.held()
            gate.set()
            text = str(await promise)
    expect(len(text), 6 * tokens)


async def kept_tokens(meter: Meter, tokens: int) -> None:
    gate = asyncio.Event()
    gate.set()
    async with MiniAgents():
        with meter:
            promise = Message.promise(_numbers(tokens, gate))
            expect(await _count(promise), tokens)
            text = str(await promise)
            expect(len(text), 6 * tokens)
            meter.held()


async def join(meter: Meter, messages: int) -> None:
    texts = ["".join(paragraph(number)) for number in range(messages)]
    with meter:
        async with MiniAgents():
            whole = "".join([token async for token in join_messages(texts)])
    expect(whole, "\n\n".join(texts))


async def split(meter: Meter, messages: int) -> None:
    async def tokens(_: dict[str, Any]) -> AsyncIterator[str]:
        for number in range(messages):
            for token in (*paragraph(number), "\n\n"):
                yield token

    with meter:
        async with MiniAgents():
            texts = [str(message) for message in await split_messages(Message.promise(tokens))]
    expect(texts, ["".join(paragraph(number)) for number in range(messages)])


# ---------------------------------------------------------------------- messages


def _said(count: int) -> list[Message]:
    return [Message(f"message {number}", role="user") for number in range(count)]


async def build(meter: Meter, messages: int) -> None:
    with meter:
        said = _said(messages)
    expect((len(said), said[-1].text), (messages, f"message {messages - 1}"))


async def hash(meter: Meter, messages: int) -> None:
    with meter:
        keys = [one.hash_key for one in _said(messages)]
    expect((len(set(keys)), len(keys[0])), (messages, 64))


async def copy(meter: Meter, messages: int) -> None:
    said = _said(messages)
    with meter:
        copies = [one.model_copy(update={"role": "assistant"}) for one in said]
    expect_all([one["role"] for one in copies], "assistant", messages)


async def serialise(meter: Meter, messages: int) -> None:
    said = _said(messages)
    with meter:
        texts = [one.model_dump_json() for one in said]
    expect(Message.model_validate_json(texts[-1]), said[-1])


async def load(meter: Meter, messages: int) -> None:
    texts = [one.model_dump_json() for one in _said(messages)]
    with meter:
        said = [Message.model_validate_json(text) for text in texts]
    expect(said, _said(messages))


async def kept_messages(meter: Meter, messages: int) -> None:
    @miniagent
    async def speaker(ctx: InteractionContext) -> None:
        for number in range(messages):
            ctx.reply(Message(f"message {number}", role="user"))

    async with MiniAgents():
        with meter:
            replies = speaker.inquire()
            expect(len(await replies), messages)
            meter.held()


# ---------------------------------------------------------------------- LLM


async def _replies(meter: Meter, streams: int, model: MiniAgent[...]) -> None:
    async def read(promise: MessagePromise) -> str:
        found: list[str] = []
        async for token in promise:
            if not found:
                meter.first()
            found.append(token)
        return "".join(found)

    async def reply() -> list[str]:
        return [await read(promise) async for promise in model.inquire(HELLO)]

    with meter:
        async with MiniAgents():
            texts = [text for task in [asyncio.create_task(reply()) for _ in range(streams)] for text in await task]
    expect_all(texts, os.environ["BENCHMARK_LLM_REPLY"], streams)


async def llm_sdk(meter: Meter, streams: int) -> None:
    from miniagents.ext.llm.openai import openai_agent

    url = os.environ["BENCHMARK_LLM_URL"]
    await _replies(meter, streams, openai_agent.fork(model="offline", base_url=url, api_key="none"))


async def llm_plain(meter: Meter, streams: int) -> None:
    from miniagents.ext.llm.openai_compatible import openai_compatible_agent

    await _replies(
        meter, streams, openai_compatible_agent.fork(model="offline", base_url=os.environ["BENCHMARK_LLM_URL"])
    )
