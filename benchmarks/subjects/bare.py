"""Plain asyncio and pydantic, written by hand for each work: the floor."""

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterable, AsyncIterator
from functools import partial
from typing import Any

from pydantic import BaseModel, ConfigDict

from benchmarks.content import ANSWER, BRANCHES, HELLO, TOKEN, expect, expect_all, paragraph, shuffled
from benchmarks.meter import Meter

# ---------------------------------------------------------------------- calls


async def _exclaim(text: str) -> str:
    return f"{text}!"


async def sequential(meter: Meter, calls: int) -> None:
    with meter:
        texts = [await asyncio.create_task(_exclaim(HELLO)) for _ in range(calls)]
    expect_all(texts, ANSWER, calls)


async def fan_out(meter: Meter, calls: int) -> None:
    with meter:
        tasks = [asyncio.create_task(_exclaim(HELLO)) for _ in range(calls)]
        texts = [await task for task in tasks]
    expect_all(texts, ANSWER, calls)


async def _node(depth: int) -> list[str]:
    if not depth:
        return [HELLO]
    children = [asyncio.create_task(_node(depth - 1)) for _ in range(BRANCHES)]
    return [text for child in children for text in await child]


async def tree(meter: Meter, depth: int, agents: int) -> None:
    with meter:
        texts = await asyncio.create_task(_node(depth))
    expect_all(texts, HELLO, BRANCHES**depth)


async def out_of_order(meter: Meter, agents: int) -> None:
    gates = [asyncio.Event() for _ in range(agents)]

    async def agent(number: int) -> str:
        await gates[number].wait()
        return str(number)

    with meter:
        arrived: asyncio.Queue[asyncio.Task[str]] = asyncio.Queue()
        tasks = [asyncio.create_task(agent(number)) for number in range(agents)]
        for task in tasks:
            task.add_done_callback(arrived.put_nowait)
        await asyncio.sleep(0)
        for number in shuffled(agents):
            gates[number].set()
        texts = [(await arrived.get()).result() for _ in range(agents)]
    expect(texts, [str(number) for number in shuffled(agents)])


async def history(meter: Meter, turns: int, calls: int) -> None:
    past = [Said(text=f"turn {number}", role="user") for number in range(turns)]

    async def agent(messages: list[Said]) -> str:
        return str(sum(len(message.text) > 0 for message in messages))

    with meter:
        answers = [await asyncio.create_task(agent([*past])) for _ in range(calls)]
    expect_all(answers, str(turns), calls)


async def idle_agents(meter: Meter, agents: int) -> None:
    gate = asyncio.Event()

    async def agent() -> str:
        await gate.wait()
        return HELLO

    with meter:
        tasks = [asyncio.create_task(agent()) for _ in range(agents)]
        await asyncio.sleep(0)
        meter.held()
        gate.set()
        texts = [await task for task in tasks]
    expect_all(texts, HELLO, agents)


# ---------------------------------------------------------------------- streams of one reader

Tokens = asyncio.Queue[str | None]


async def _produce(queue: Tokens, tokens: int, yielding: bool) -> None:
    for _ in range(tokens):
        if yielding:
            await asyncio.sleep(0)
        queue.put_nowait(TOKEN)
    queue.put_nowait(None)


async def _read(queue: Tokens) -> list[str]:
    found: list[str] = []
    while (token := await queue.get()) is not None:
        found.append(token)
    return found


async def stream(meter: Meter, tokens: int, yielding: bool) -> None:
    with meter:
        queue: Tokens = asyncio.Queue()
        producer = asyncio.create_task(_produce(queue, tokens, yielding))
        text = "".join(await _read(queue))
        await producer
    expect(text, TOKEN * tokens)


async def _forward_tokens(meter: Meter, depth: int, tokens: int) -> list[str]:
    producers: list[asyncio.Task[None]] = []

    async def speaker() -> Tokens:
        queue: Tokens = asyncio.Queue()
        producers.append(asyncio.create_task(_produce(queue, tokens, yielding=True)))
        return queue

    async def forwarder(below: asyncio.Task[Tokens]) -> Tokens:
        return await below

    with meter:
        task = asyncio.create_task(speaker())
        for _ in range(depth):
            task = asyncio.create_task(forwarder(task))
        queue = await task
        first = await queue.get()
        meter.first()
        return [first or "", *await _read(queue)]


async def forward(meter: Meter, depth: int, tokens: int) -> None:
    expect_all(await _forward_tokens(meter, depth, tokens), TOKEN, tokens)


async def forward_messages(meter: Meter, depth: int, messages: int) -> None:
    expect_all(await _forward_tokens(meter, depth, messages), TOKEN, messages)


# ---------------------------------------------------------------------- streams of many readers


class Growing:
    """A list that grows, for any number of readers: a future that all who wait share, and nothing else."""

    def __init__(self) -> None:
        self.items: list[str] = []
        self.ended = False
        self._grown: asyncio.Future[None] | None = None

    def append(self, item: str) -> None:
        self.items.append(item)
        self._wake()

    def end(self) -> None:
        self.ended = True
        self._wake()

    def _wake(self) -> None:
        if self._grown is not None:
            self._grown.set_result(None)
            self._grown = None

    async def __aiter__(self) -> AsyncIterator[str]:
        items = self.items
        seen = 0
        while True:
            while seen < len(items):
                yield items[seen]
                seen += 1
            if self.ended:
                return
            if self._grown is None:
                self._grown = asyncio.get_running_loop().create_future()
            await self._grown


async def _grow(growing: Growing, tokens: int) -> None:
    for _ in range(tokens):
        await asyncio.sleep(0)
        growing.append(TOKEN)
    growing.end()


async def _count(tokens: AsyncIterable[str]) -> int:
    count = 0
    async for _ in tokens:
        count += 1
    return count


async def live_readers(meter: Meter, readers: int, tokens: int) -> None:
    with meter:
        growing = Growing()
        reading = [asyncio.create_task(_count(growing)) for _ in range(readers)]
        await asyncio.create_task(_grow(growing, tokens))
        counts = [await one for one in reading]
    expect_all(counts, tokens, readers)


async def late_readers(meter: Meter, readers: int, tokens: int) -> None:
    growing = Growing()
    await _grow(growing, tokens)
    with meter:
        reading = [asyncio.create_task(_count(growing)) for _ in range(readers)]
        counts = [await one for one in reading]
    expect_all(counts, tokens, readers)


async def growing_tokens(meter: Meter, tokens: int) -> None:
    with meter:
        growing = Growing()
        for number in range(tokens):
            growing.append(f"{number:06}")
        meter.held()
        growing.end()
        expect(await _count(growing), tokens)


async def kept_tokens(meter: Meter, tokens: int) -> None:
    with meter:
        text = "".join([f"{number:06}" for number in range(tokens)])
        meter.held()
    expect(len(text), 6 * tokens)


async def join(meter: Meter, messages: int) -> None:
    async def one(text: str) -> AsyncIterator[str]:
        yield text

    async def joined(texts: list[AsyncIterator[str]]) -> AsyncIterator[str]:
        for number, text in enumerate(texts):
            if number:
                yield "\n\n"
            async for token in text:
                yield token

    texts = ["".join(paragraph(number)) for number in range(messages)]
    with meter:
        whole = "".join([token async for token in joined([one(text) for text in texts])])
    expect(whole, "\n\n".join(texts))


async def split(meter: Meter, messages: int) -> None:
    async def tokens() -> AsyncIterator[str]:
        for number in range(messages):
            for token in (*paragraph(number), "\n\n"):
                yield token

    async def parts() -> AsyncIterator[str]:
        held = ""
        async for token in tokens():
            held += token
            while (place := held.find("\n\n")) >= 0:
                yield held[:place]
                held = held[place + 2 :]
        if held:
            yield held

    with meter:
        texts = [part async for part in parts()]
    expect(texts, ["".join(paragraph(number)) for number in range(messages)])


# ---------------------------------------------------------------------- messages


class Said(BaseModel):
    """A message with declared fields."""

    model_config = ConfigDict(frozen=True)

    text: str
    role: str


def _said(count: int) -> list[Said]:
    return [Said(text=f"message {number}", role="user") for number in range(count)]


async def build(meter: Meter, messages: int) -> None:
    with meter:
        said = _said(messages)
    expect((len(said), said[-1].text), (messages, f"message {messages - 1}"))


async def hash(meter: Meter, messages: int) -> None:
    with meter:
        keys = [hashlib.sha256(one.model_dump_json().encode()).hexdigest() for one in _said(messages)]
    expect((len(set(keys)), len(keys[0])), (messages, 64))


async def copy(meter: Meter, messages: int) -> None:
    said = _said(messages)
    with meter:
        copies = [one.model_copy(update={"role": "assistant"}) for one in said]
    expect_all([one.role for one in copies], "assistant", messages)


async def serialise(meter: Meter, messages: int) -> None:
    said = _said(messages)
    with meter:
        texts = [one.model_dump_json() for one in said]
    expect(json.loads(texts[-1]), {"text": f"message {messages - 1}", "role": "user"})


async def load(meter: Meter, messages: int) -> None:
    texts = [one.model_dump_json() for one in _said(messages)]
    with meter:
        said = [Said.model_validate_json(text) for text in texts]
    expect(said, _said(messages))


async def kept_messages(meter: Meter, messages: int) -> None:
    with meter:
        said = _said(messages)
        meter.held()
    expect(len(said), messages)


# ---------------------------------------------------------------------- LLM


async def _all_at_once(meter: Meter, streams: int, reply: Any) -> None:
    with meter:
        tasks = [asyncio.create_task(reply()) for _ in range(streams)]
        texts = [await task for task in tasks]
    expect_all(texts, os.environ["BENCHMARK_LLM_REPLY"], streams)


async def llm_sdk(meter: Meter, streams: int) -> None:
    import openai

    async def reply(client: openai.AsyncOpenAI) -> str:
        answer = await client.chat.completions.create(
            model="offline", messages=[{"role": "user", "content": HELLO}], stream=True
        )
        found: list[str] = []
        async for chunk in answer:
            if chunk.choices and (text := chunk.choices[0].delta.content):
                if not found:
                    meter.first()
                found.append(text)
        return "".join(found)

    async with openai.AsyncOpenAI(base_url=os.environ["BENCHMARK_LLM_URL"], api_key="none") as client:
        await _all_at_once(meter, streams, partial(reply, client))


async def llm_plain(meter: Meter, streams: int) -> None:
    host, port = os.environ["BENCHMARK_LLM_URL"].removeprefix("http://").removesuffix("/v1").split(":")
    body = json.dumps({"model": "offline", "messages": [{"role": "user", "content": HELLO}], "stream": True}).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode()

    async def reply() -> str:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(head + body)
        found: list[str] = []
        # The server ends each event with its chunk, so the lines with data are whole in spite of the chunks around.
        async for line in reader:
            if line.startswith(b"data: [DONE]"):
                break
            if line.startswith(b"data: {"):
                choices = json.loads(line[6:])["choices"]
                if choices and (text := choices[0]["delta"].get("content")):
                    if not found:
                        meter.first()
                    found.append(text)
        writer.close()
        return "".join(found)

    await _all_at_once(meter, streams, reply)
