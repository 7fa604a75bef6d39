"""autogen-core: an agent is a `RoutedAgent` in a single-threaded runtime."""

import asyncio
from dataclasses import dataclass
from typing import Any

from autogen_core import AgentId, MessageContext, RoutedAgent, SingleThreadedAgentRuntime, message_handler

from benchmarks.content import ANSWER, BRANCHES, HELLO, expect_all
from benchmarks.meter import Meter


@dataclass
class Said:
    """A message."""

    text: str


class Exclaiming(RoutedAgent):
    """Answers with an exclamation mark."""

    def __init__(self) -> None:
        super().__init__("exclaiming")

    @message_handler
    async def answer(self, message: Said, ctx: MessageContext) -> Said:
        return Said(f"{message.text}!")


class Node(RoutedAgent):
    """Calls others, down to a depth."""

    def __init__(self) -> None:
        super().__init__("node")

    @message_handler
    async def answer(self, message: Said, ctx: MessageContext) -> Said:
        if message.text == "0":
            return Said(HELLO)
        said = Said(str(int(message.text) - 1))
        tasks = [asyncio.create_task(self.send_message(said, AgentId("node", "node"))) for _ in range(BRANCHES)]
        return Said(" ".join([(await task).text for task in tasks]))


async def _runtime(name: str, factory: Any) -> SingleThreadedAgentRuntime:
    runtime = SingleThreadedAgentRuntime()
    await factory.register(runtime, name, factory)
    runtime.start()
    return runtime


async def sequential(meter: Meter, calls: int) -> None:
    runtime = await _runtime("exclaiming", Exclaiming)
    agent = AgentId("exclaiming", "one")
    with meter:
        texts = [(await asyncio.create_task(runtime.send_message(Said(HELLO), agent))).text for _ in range(calls)]
    await runtime.stop_when_idle()
    expect_all(texts, ANSWER, calls)


async def fan_out(meter: Meter, calls: int) -> None:
    runtime = await _runtime("exclaiming", Exclaiming)
    agent = AgentId("exclaiming", "one")
    with meter:
        tasks = [asyncio.create_task(runtime.send_message(Said(HELLO), agent)) for _ in range(calls)]
        texts = [(await task).text for task in tasks]
    await runtime.stop_when_idle()
    expect_all(texts, ANSWER, calls)


async def tree(meter: Meter, depth: int, agents: int) -> None:
    runtime = await _runtime("node", Node)
    with meter:
        text = (await runtime.send_message(Said(str(depth)), AgentId("node", "node"))).text
    await runtime.stop_when_idle()
    expect_all(text.split(), HELLO, BRANCHES**depth)
