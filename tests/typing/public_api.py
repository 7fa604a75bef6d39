"""The types of the public API as a user meets them. mypy and pyright read this file; nothing runs it."""

from typing import assert_type

from miniagents import (
    AgentCall,
    InteractionContext,
    Message,
    MessagePromise,
    MessageSequencePromise,
    MiniAgent,
    MiniAgents,
    join_messages,
    miniagent,
    split_messages,
)


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


async def opens_a_context() -> None:
    async with MiniAgents() as context:
        assert_type(context, MiniAgents)
        assert_type(join_messages(["a", "b"]), MessagePromise)
        assert_type(split_messages("a\n\nb"), MessageSequencePromise)


assert_type(plain, MiniAgent[[]])


@miniagent  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
def not_async(ctx: InteractionContext) -> None: ...


async def calls_that_are_wrong(ctx: InteractionContext) -> None:
    ctx.reply(42)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with_parameters.inquire("hi", lout=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    with_parameters.inquire("hi", loud="very")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
