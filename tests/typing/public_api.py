"""The types of the public API as a user meets them. mypy and pyright read this file; nothing runs it."""

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any, assert_type

from pydantic import BaseModel

from miniagents import (
    AWAIT,
    AgentCall,
    Budget,
    BudgetExceededError,
    InteractionContext,
    Message,
    MessagePromise,
    MessageSequencePromise,
    MiniAgent,
    MiniAgents,
    Usage,
    achain_loop,
    best_of,
    check_budget,
    fallback,
    first_of,
    hedge,
    join_messages,
    map_agents,
    miniagent,
    record_usage,
    retry,
    split_messages,
)
from miniagents.ext.llm.embeddings import EmbeddingMessage
from miniagents.ext.llm.llm_common import UserMessage
from miniagents.ext.llm.llm_logger import markdown_llm_logger_agent
from miniagents.ext.llm.mcp import MCPTools, mcp_tools
from miniagents.ext.llm.media import AudioMessage, DocumentMessage, ImageMessage
from miniagents.ext.llm.openai import openai_agent
from miniagents.ext.llm.openai_embeddings import openai_embedding_agent
from miniagents.ext.llm.openai_responses import openai_responses_agent
from miniagents.ext.llm.recordings import no_real_requests, record, record_or_replay, replay
from miniagents.ext.llm.structured import TypedAnswer, value_of
from miniagents.ext.llm.tools import AgentTool, Tool, ToolLike, tool
from miniagents.promising import Promise, PromisingContext, StreamAppender, StreamedPromise
from miniagents.utils import JudgeRequest


@miniagent
async def plain(ctx: InteractionContext) -> None:
    assert_type(ctx.message_promises, MessageSequencePromise)
    ctx.reply(["text", {"text": "fields"}, Message("whole"), ctx.message_promises, None, ValueError("an error")])


@miniagent(alias="NAMED", description="An agent with parameters.")
async def with_parameters(ctx: InteractionContext, *, loud: bool = False) -> None:
    ctx.reply("HELLO" if loud else "hello")


async def reads_replies() -> None:
    replies = with_parameters.inquire("hi", loud=True)
    assert_type(replies, MessageSequencePromise)
    assert_type(await replies, tuple[Message, ...])
    async for promise in replies:
        assert_type(promise, MessagePromise)
        assert_type(await promise, Message)
        async for token in promise:
            assert_type(token, str)


async def sends_piece_by_piece() -> None:
    call = plain.initiate_inquiry()
    assert_type(call, AgentCall)
    call.send_message("hi")
    assert_type(call.reply_sequence(), MessageSequencePromise)


async def limits_and_binds() -> None:
    async with with_parameters.inquire("hi", timeout=3, loud=True) as replies:
        assert_type(replies, MessageSequencePromise)
        assert_type(await replies.settled(), tuple[Message | BaseException, ...])
    replies.cancel("enough")


async def counts_and_limits() -> None:
    budget = Budget(tokens=10_000, cost=0.5, calls=10, seconds=60)
    replies = with_parameters.inquire("hi", budget=budget, loud=True)
    assert_type(replies.usage(), Usage)
    assert_type(plain.initiate_inquiry(budget=budget), AgentCall)
    try:
        check_budget()
    except BudgetExceededError as error:
        assert_type(error.spent, Usage | None)
    record_usage(Usage(calls=1, input_tokens=5, cost=Decimal("0.1")) + Usage(cost=0.25), model="m")
    assert_type(replies.usage().cost, Decimal | None)
    assert_type(replies.usage().by_model["m"].calls, int)
    assert_type(MiniAgents().usage(), Usage)


@miniagent
async def takes_anything(ctx: InteractionContext, **kwargs: Any) -> None:
    assert_type(ctx.agent_trace, tuple[MiniAgent[...], ...])


async def forks() -> None:
    assert_type(takes_anything.fork(alias="FORK", anything=1), MiniAgent[...])
    assert_type(takes_anything.inquire(None, whatever=2), MessageSequencePromise)
    assert_type(openai_agent.fork(model="m", temperature=0.5).inquire("hi", system="Be brief."), MessageSequencePromise)


async def judge(request: JudgeRequest) -> int:
    assert_type(request.candidates, tuple[tuple[Message, ...], ...])
    return 0


async def combines() -> None:
    """An agent that is made of agents takes what they take."""
    assert_type(fallback(with_parameters, with_parameters, on=(ValueError, OSError)).alias, str)
    fallback(with_parameters, with_parameters).inquire("hi", loud=True)
    assert_type(fallback(plain, plain, whole=True), MiniAgent[[]])
    assert_type(first_of(plain, plain), MiniAgent[[]])
    assert_type(retry(plain, attempts=2, delay=0.5), MiniAgent[[]])
    assert_type(hedge(plain, after=1), MiniAgent[[]])
    assert_type(best_of(2, plain, takes_anything), MiniAgent[[]])
    assert_type(best_of(2, plain, judge), MiniAgent[[]])
    assert_type(best_of(2, plain, lambda request: len(request.candidates) - 1), MiniAgent[[]])
    assert_type(map_agents(plain, ["a", Message("b")], max_concurrency=2), MiniAgent[[]])
    map_agents(retry(hedge(with_parameters, after=1))).inquire(["a", "b"], loud=True)


class Titled(Message):
    title: str


async def streamed(metadata: dict[str, Any]) -> AsyncIterator[str]:
    yield "token"


async def messages() -> None:
    assert_type(Message("text", role="user"), Message)
    assert_type(Message("text").as_promise, MessagePromise)
    assert_type(Titled.promise(streamed, title="t"), MessagePromise)
    assert_type(Titled(text="x", title="t").title, str)
    assert_type(UserMessage("hi").role, str)
    await achain_loop([plain, AWAIT, None, takes_anything, lambda messages: messages])


class Task(BaseModel):
    name: str


async def elements(answer: MessagePromise) -> None:
    replies = plain.inquire()
    assert_type(answer.items(Task), StreamedPromise[Task, tuple[Task, ...]])
    assert_type(replies.items(Task), StreamedPromise[Task, tuple[Task, ...]])
    assert_type(replies.items(dict[str, int]), StreamedPromise[dict[str, int], tuple[dict[str, int], ...]])
    assert_type(replies.items(int | str), StreamedPromise[Any, tuple[Any, ...]])
    assert_type(replies.lines(), StreamedPromise[str, tuple[str, ...]])
    assert_type(replies.sentences(), StreamedPromise[str, tuple[str, ...]])
    async for task in replies.items(Task):
        assert_type(task, Task)
    assert_type(await answer.items(Task), tuple[Task, ...])


async def promises() -> None:
    async def resolver(promise: Promise[Any]) -> int:
        return 42

    async with PromisingContext():
        assert_type(await Promise(resolver), int)
        appender = StreamAppender[str]()
        with appender:
            assert_type(appender.append("x"), StreamAppender[str])


async def recordings_and_logs() -> None:
    with record("run.jsonl", append=True), record("other.jsonl", replace=True), no_real_requests(allow=["host"]):
        openai_agent.inquire("hi", log_to="logs")
    with replay(Path("run.jsonl"), repeat=True, paced=True), record_or_replay("other.jsonl"):
        openai_agent.inquire("hi", log_to=markdown_llm_logger_agent.fork(directory=Path("logs")))


async def opens_a_context() -> None:
    async with MiniAgents() as context:
        assert_type(context, MiniAgents)
        assert_type(join_messages(["a", "b"]), MessagePromise)
        assert_type(split_messages("a\n\nb"), MessageSequencePromise)


class Priced(BaseModel):
    price: int


async def values_of_models() -> None:
    replies = openai_agent.inquire("hi", response_type=Priced, tools=[len], temperature=0)
    assert_type(await value_of(replies, Priced), Priced)
    assert_type(await value_of(replies, list[Priced]), list[Priced])
    assert_type(TypedAnswer[Priced]("{}").value, Priced)


async def vectors_and_files() -> None:
    assert_type(openai_embedding_agent.inquire(["a", "b"], dimensions=8), MessageSequencePromise)
    assert_type(openai_responses_agent.fork(model="m").inquire("hi"), MessageSequencePromise)
    ship, boat = EmbeddingMessage("ship", vector=(1.0, 0.0)), EmbeddingMessage("boat", vector=(0.0, 1.0))
    assert_type(ship.similarity(boat), float)
    assert_type(ship.vector, tuple[float, ...])
    assert_type(ImageMessage.of("a.png", "What is this?"), ImageMessage)
    assert_type(AudioMessage.of(b"OggS", name="a.ogg"), AudioMessage)
    assert_type(DocumentMessage.of(Path("a.pdf")).content, bytes)
    ImageMessage.of(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def models_that_are_asked_wrongly() -> None:
    openai_agent.inquire("hi", max_silence="long")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    openai_agent.inquire("hi", limits=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


assert_type(plain, MiniAgent[[]])


@tool
def add(a: int, b: int = 1) -> float:
    return a + b


@tool(name="other", needs_approval=True)
async def waits(a: int) -> str:
    return str(a)


async def tools(some: Tool) -> None:
    assert_type(add(1, b=2), float)
    assert_type(await waits(1), str)
    assert_type(tool(add.function)(1), float)
    assert_type(tool(waits, name="renamed"), Tool)
    assert_type(tool(some, needs_approval=True), Tool)
    assert_type(tool(plain), AgentTool)
    assert_type(tool(streamed).name, str)
    assert_type(mcp_tools("http://localhost/mcp"), MCPTools)
    openai_agent.inquire("hi", tools=[add, streamed, plain, some, {"type": "function"}], approver=plain, max_turns=None)
    given: list[ToolLike] = [add, len, plain, mcp_tools(["python", "server.py"])]
    openai_agent.inquire("hi", tools=given)
    async with mcp_tools("http://localhost/mcp") as from_server:
        openai_agent.fork(tools=[from_server])


@miniagent  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
def not_async(ctx: InteractionContext) -> None: ...


async def calls_that_are_wrong(ctx: InteractionContext) -> None:
    ctx.reply(42)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with_parameters.inquire("hi", lout=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    with_parameters.inquire("hi", loud="very")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with_parameters.inquire("hi", timeout="soon")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with_parameters.inquire("hi", budget=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Budget(tokens=0.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Usage(1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Message(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Titled(text="x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    fallback(with_parameters).inquire("hi", lout=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    retry(plain, on=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    first_of(judge)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    record(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    replay("run.jsonl", repeat="yes")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    no_real_requests(allow=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await achain_loop([5])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
