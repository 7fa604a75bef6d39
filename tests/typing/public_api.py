"""The types of the public API as a user meets them. mypy and pyright read this file; nothing runs it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, assert_type

from miniagents import (
    AWAIT,
    AgentCall,
    InteractionContext,
    Message,
    MessagePromise,
    MessageSequencePromise,
    MiniAgent,
    MiniAgents,
    achain_loop,
    best_of,
    fallback,
    first_of,
    hedge,
    join_messages,
    map_agents,
    miniagent,
    retry,
    split_messages,
)
from miniagents.ext.llm.llm_common import UserMessage
from miniagents.ext.llm.llm_logger import markdown_llm_logger_agent
from miniagents.ext.llm.openai import openai_agent
from miniagents.ext.llm.recordings import no_real_requests, record, record_or_replay, replay
from miniagents.promising import Promise, PromisingContext, StreamAppender
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


async def promises() -> None:
    async def resolver(promise: Promise[Any]) -> int:
        return 42

    async with PromisingContext():
        assert_type(await Promise(resolver), int)
        appender = StreamAppender[str]()
        with appender:
            assert_type(appender.append("x"), StreamAppender[str])


async def recordings_and_logs() -> None:
    with record("run.jsonl", append=True), no_real_requests(allow=["host"]):
        openai_agent.inquire("hi", log_to="logs")
    with replay(Path("run.jsonl"), repeat=True, paced=True), record_or_replay("other.jsonl"):
        openai_agent.inquire("hi", log_to=markdown_llm_logger_agent.fork(directory=Path("logs")))


async def opens_a_context() -> None:
    async with MiniAgents() as context:
        assert_type(context, MiniAgents)
        assert_type(join_messages(["a", "b"]), MessagePromise)
        assert_type(split_messages("a\n\nb"), MessageSequencePromise)


assert_type(plain, MiniAgent[[]])


@miniagent  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
def not_async(ctx: InteractionContext) -> None: ...


async def calls_that_are_wrong(ctx: InteractionContext) -> None:
    ctx.reply(42)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with_parameters.inquire("hi", lout=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    with_parameters.inquire("hi", loud="very")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with_parameters.inquire("hi", timeout="soon")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Message(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Titled(text="x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    fallback(with_parameters).inquire("hi", lout=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    retry(plain, on=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    first_of(judge)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    record(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    replay("run.jsonl", repeat="yes")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    no_real_requests(allow=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await achain_loop([5])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
