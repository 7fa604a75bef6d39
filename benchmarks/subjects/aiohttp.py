"""aiohttp by hand: the usual client without an SDK."""

import asyncio
import json
import os

import aiohttp

from benchmarks.content import HELLO, expect_all
from benchmarks.meter import Meter


async def llm_plain(meter: Meter, streams: int) -> None:
    url = f"{os.environ['BENCHMARK_LLM_URL']}/chat/completions"
    body = {"model": "offline", "messages": [{"role": "user", "content": HELLO}], "stream": True}

    async def reply(session: aiohttp.ClientSession) -> str:
        found: list[str] = []
        async with session.post(url, json=body) as response:
            async for line in response.content:
                if line.startswith(b"data: {"):
                    choices = json.loads(line[6:])["choices"]
                    if choices and (text := choices[0]["delta"].get("content")):
                        if not found:
                            meter.first()
                        found.append(text)
        return "".join(found)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        with meter:
            tasks = [asyncio.create_task(reply(session)) for _ in range(streams)]
            texts = [await task for task in tasks]
    expect_all(texts, os.environ["BENCHMARK_LLM_REPLY"], streams)
