"""langgraph: an agent is a graph of one node, and what calls others is a node that invokes a graph."""

import asyncio
import os
from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph

from benchmarks.content import ANSWER, BRANCHES, HELLO, TOKEN, expect, expect_all
from benchmarks.meter import Meter


class State(TypedDict, total=False):
    """What goes through a graph."""

    text: str
    depth: int


def _graph(node: Any) -> Any:
    builder = StateGraph(State)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    builder.add_edge("node", END)
    return builder.compile()


async def _exclaim(state: State) -> State:
    return {"text": f"{state['text']}!"}


async def sequential(meter: Meter, calls: int) -> None:
    graph = _graph(_exclaim)
    with meter:
        texts = [(await asyncio.create_task(graph.ainvoke({"text": HELLO})))["text"] for _ in range(calls)]
    expect_all(texts, ANSWER, calls)


async def fan_out(meter: Meter, calls: int) -> None:
    graph = _graph(_exclaim)
    with meter:
        tasks = [asyncio.create_task(graph.ainvoke({"text": HELLO})) for _ in range(calls)]
        texts = [(await task)["text"] for task in tasks]
    expect_all(texts, ANSWER, calls)


async def tree(meter: Meter, depth: int, agents: int) -> None:
    async def node(state: State) -> State:
        if not state["depth"]:
            return {"text": HELLO}
        tasks = [asyncio.create_task(graph.ainvoke({"depth": state["depth"] - 1})) for _ in range(BRANCHES)]
        return {"text": " ".join([(await task)["text"] for task in tasks])}

    graph = _graph(node)
    with meter:
        text = (await graph.ainvoke({"depth": depth}))["text"]
    expect_all(text.split(), HELLO, BRANCHES**depth)


async def stream(meter: Meter, tokens: int, yielding: bool) -> None:
    from langgraph.types import StreamWriter

    async def node(state: State, writer: StreamWriter) -> State:
        for _ in range(tokens):
            if yielding:
                await asyncio.sleep(0)
            writer(TOKEN)
        return {"text": ""}

    graph = _graph(node)
    with meter:
        text = "".join([token async for token in graph.astream({"text": HELLO}, stream_mode="custom")])
    expect(text, TOKEN * tokens)


async def llm_sdk(meter: Meter, streams: int) -> None:
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model="offline", base_url=os.environ["BENCHMARK_LLM_URL"], api_key="none")  # type: ignore[arg-type]

    async def node(state: State) -> State:
        return {"text": str((await model.ainvoke(state["text"])).content)}

    graph = _graph(node)

    async def reply() -> str:
        found: list[str] = []
        async for chunk, _ in graph.astream({"text": HELLO}, stream_mode="messages"):
            if chunk.content:
                if not found:
                    meter.first()
                found.append(chunk.content)
        return "".join(found)

    with meter:
        tasks = [asyncio.create_task(reply()) for _ in range(streams)]
        texts = [await task for task in tasks]
    expect_all(texts, os.environ["BENCHMARK_LLM_REPLY"], streams)
