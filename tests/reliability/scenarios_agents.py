"""The scenarios of agents: replies, ropes, open calls, cancellation, deadlines, errors, handlers."""

import asyncio
import contextlib
from typing import Any

from miniagents import InteractionContext, Message, miniagent
from miniagents.promising import DeadlineExceededError, NoActiveContextError, PromiseCancelledError, PromisingContext
from miniagents.testing.contract import Raised, Transcript
from reliability.scenarios import said, scenario, tokens
from reliability.stage import ENDS_PROGRAMS, Stage


@miniagent
async def speaker(ctx: InteractionContext, stage: Stage) -> None:
    """Says two messages, the second one token by token."""
    await stage.pause()
    ctx.reply("one")
    await stage.pause()
    ctx.reply(Message.promise(tokens(stage, "t", "wo")))
    stage.touch()


@miniagent
async def forwarder(ctx: InteractionContext, stage: Stage, depth: int) -> None:
    """Says its depth, and what is said further below."""
    ctx.reply(f"depth {depth}")
    await stage.pause()
    below = forwarder.inquire(ctx.message_promises, stage=stage, depth=depth - 1) if depth else ctx.message_promises
    ctx.reply(below)


@miniagent
async def worker(ctx: InteractionContext, stage: Stage, depth: int = 1) -> None:
    """Works for ever, and so do those that it has called."""
    ctx.reply(f"depth {depth}")
    if depth:
        ctx.reply(worker.inquire(stage=stage, depth=depth - 1, start_asap=True))
    try:
        await asyncio.sleep(1000)
    finally:
        stage.notes.append(f"depth {depth}")


SAID = said("one", ("t", "wo"))


@scenario()
async def agent(stage: Stage) -> None:
    stage.read(speaker.inquire(stage=stage), *SAID)


@scenario()
async def lazy_agent(stage: Stage) -> None:
    stage.read(speaker.inquire(stage=stage, start_asap=False), *SAID)


@scenario()
async def rope(stage: Stage) -> None:
    """Through three agents, down to what the first was sent."""
    sent = [Message.promise(tokens(stage, "x", "y")), "z"]
    whole = said("depth 2", "depth 1", "depth 0", ("x", "y"), "z")
    stage.read(forwarder.inquire(sent, stage=stage, depth=2), *whole)


@scenario()
async def fan_out(stage: Stage) -> None:
    """One input for two agents, both replies in one."""

    @miniagent
    async def team(ctx: InteractionContext) -> None:
        ctx.reply(forwarder.inquire(ctx.message_promises, stage=stage, depth=0))
        ctx.reply([speaker.inquire(stage=stage), forwarder.inquire(ctx.message_promises, stage=stage, depth=0)])

    stage.read(team.inquire("x"), *said("depth 0", "x"), *SAID, *said("depth 0", "x"))


@scenario()
async def working_with_replies(stage: Stage) -> None:
    """An agent that waits for two others and says what became of them."""

    @miniagent
    async def counter(ctx: InteractionContext) -> None:
        first, second = speaker.inquire(stage=stage), speaker.inquire(stage=stage)
        words = [str(message) for message in [*(await first), *(await second)]]
        ctx.reply(" ".join(words))

    stage.read(counter.inquire(), *said("one two one two"))


@scenario()
async def out_of_order(stage: Stage) -> None:
    @miniagent
    async def slow(ctx: InteractionContext, seconds: float) -> None:
        await stage.pause(seconds)
        ctx.reply(f"{seconds}")

    @miniagent
    async def team(ctx: InteractionContext) -> None:
        for seconds in (3, 1, 2):
            ctx.reply_out_of_order(slow.inquire(seconds=seconds, start_asap=True))
        ctx.reply_out_of_order([Message.promise(tokens(stage, "now")), "first"])
        await stage.pause()

    whole = sorted(said("3", "1", "2", "now", "first"))

    def accepts(got: Transcript) -> bool:
        return sorted(got) == whole

    def accepts_cut(got: Transcript) -> bool:
        rest = list(whole)
        for number, item in enumerate(got):
            if isinstance(item, Raised):
                return stage.may_end(item) and number == len(got) - 1
            if any(isinstance(part, Raised) for part in item):
                if not all(stage.may_end(error) for error in item.errors()):
                    return False
            elif item not in rest:
                return False
            else:
                rest.remove(item)
        return not rest or any(got.errors())

    stage.read(team.inquire(), accepts=accepts, accepts_cut=accepts_cut)


@scenario()
async def open_call(stage: Stage) -> None:
    """Messages are sent while replies are read."""

    @miniagent
    async def echo(ctx: InteractionContext) -> None:
        async for promise in ctx.message_promises:
            await stage.pause()
            ctx.reply(["heard", promise])

    call = echo.initiate_inquiry()
    stage.read(call.reply_sequence(finish_call=False), *said("heard", "a", "heard", ("b", "c")))
    call.send_message("a")
    await asyncio.sleep(1)
    call.send_message(Message.promise(tokens(stage, "b", "c")))
    call.finish()


@scenario()
async def call_left_open(stage: Stage) -> None:
    """A call that an agent leaves open is finished with the agent."""

    @miniagent
    async def opener(ctx: InteractionContext) -> None:
        call = forwarder.initiate_inquiry(stage=stage, depth=0)
        ctx.reply(call.reply_sequence(finish_call=False))
        call.send_message("a")
        await stage.pause()

    stage.read(opener.inquire(), *said("depth 0", "a"))


@scenario()
async def nested_agents_context(stage: Stage) -> None:
    """An agent with a context of its own."""

    @miniagent
    async def host(ctx: InteractionContext) -> None:
        async with stage.context():
            ctx.reply(await speaker.inquire(stage=stage))
        ctx.reply("closed")

    whole = said("one", "two", "closed")
    stage.read(host.inquire(), *whole)


@scenario()
async def failing_agent(stage: Stage) -> None:
    @miniagent
    async def failing(ctx: InteractionContext) -> None:
        ctx.reply("one")
        await stage.pause()
        ctx.reply(Message.promise(tokens(stage, "t", "wo")))
        raise ZeroDivisionError

    @miniagent
    async def above(ctx: InteractionContext) -> None:
        ctx.reply(failing.inquire())

    stage.read(above.inquire(), *SAID, Raised(ZeroDivisionError))


@scenario()
async def caught_failure(stage: Stage) -> None:
    """An agent that makes up for the failure of another one."""

    @miniagent
    async def failing(ctx: InteractionContext) -> None:
        await stage.pause()
        raise ZeroDivisionError

    @miniagent
    async def careful(ctx: InteractionContext) -> None:
        try:
            ctx.reply(await failing.inquire())
        except (Exception, *ENDS_PROGRAMS) as error:
            stage.handled = True
            is_known = isinstance(error, ZeroDivisionError) or stage.may_end(Raised(error))
            ctx.reply("sorry" if is_known else "what?")

    stage.read(careful.inquire(), *said("sorry"))


@scenario()
async def settled(stage: Stage) -> None:
    """All that was said and all that went wrong, side by side."""

    @miniagent
    async def failing(ctx: InteractionContext) -> None:
        await stage.pause()
        raise ZeroDivisionError

    @miniagent
    async def team(ctx: InteractionContext) -> None:
        ctx.reply([failing.inquire(), speaker.inquire(stage=stage), failing.inquire(), "end"])

    async def settle(replies: Any) -> Transcript:
        try:
            outcomes = await replies.settled()
        except NoActiveContextError as error:  # the agent had not begun when the context was left
            return Transcript((Raised(error),))
        return Transcript(Raised(item) if isinstance(item, BaseException) else str(item) for item in outcomes)

    failed = Raised(ZeroDivisionError)

    def accepts_cut(got: Transcript) -> bool:
        rest = [failed, "one", "two", failed, "end"]
        for item in got:
            if item in rest:
                rest.remove(item)
            elif not (isinstance(item, Raised) and stage.may_end(item)):
                return False
        return not rest or any(stage.may_end(error) for error in got.errors())

    whole = (failed, "one", "two", failed, "end")
    stage.read(team.inquire(), *whole, reading=settle, accepts_cut=accepts_cut)


@scenario(errors_as_messages=True)
async def errors_as_messages(stage: Stage) -> None:
    @miniagent
    async def failing(ctx: InteractionContext) -> None:
        ctx.reply("one")
        await stage.pause()
        raise ZeroDivisionError("at last")

    async def texts(replies: Any) -> Transcript:
        found = []
        try:
            async for promise in replies:
                found.append(str(await promise))
        except (Exception, *ENDS_PROGRAMS) as error:
            found.append(Raised(error))
        return Transcript(found)

    def accepts_cut(got: Transcript) -> bool:
        stage.handled = True  # an error is a message here
        return len(got) > 0 and (got[0] == "one" or isinstance(got[0], Raised) or "Error" in got[0]) and len(got) <= 2

    stage.read(failing.inquire(), "one", "ZeroDivisionError: at last", reading=texts, accepts_cut=accepts_cut)


@scenario()
async def handlers(stage: Stage) -> None:
    """Handlers that look on, read what they are told of, make promises, and fail."""
    context = PromisingContext.get_current()
    told: list[Any] = []

    @context.on_promise_resolved
    async def look(promise: Any, outcome: Any) -> None:
        told.append(promise)
        with contextlib.suppress(Exception, *ENDS_PROGRAMS):
            await promise
        speaker.inquire(stage=Stage(stage.settings))
        stage.touch(escapes=True)

    @context.on_promise_resolved
    async def look_slowly(promise: Any, outcome: Any) -> None:
        await asyncio.sleep(1)

    stage.read(speaker.inquire(stage=stage), *SAID)
    stage.check(lambda: len({id(promise) for promise in told}) == len(told) > 0)


@scenario()
async def persisting(stage: Stage) -> None:
    """Every message that is said is written down, once."""
    written: list[str] = []
    context: Any = PromisingContext.get_current()

    @context.on_persist_message
    async def persist(_: Any, message: Message) -> None:
        await asyncio.sleep(1)
        if message.text in ("one", "two"):
            written.append(message.text)

    stage.read(speaker.inquire(stage=stage), *SAID)
    stage.check(lambda: sorted(written) == ["one", "two"])


@scenario()
async def cancelled_call(stage: Stage) -> None:
    """What was said stays; all that was started below has ended."""
    replies = worker.inquire(stage=stage, start_asap=True)
    cancelled = Raised(PromiseCancelledError)

    def accepts(got: Transcript) -> bool:
        return got == (*said("depth 1", "depth 0"), cancelled)

    stage.read(replies, accepts=accepts, accepts_cut=lambda got: any(stage.may_end(error) for error in got.errors()))
    await asyncio.sleep(1)
    replies.cancel("enough")
    await asyncio.sleep(1)
    was_ended = sorted(stage.notes)
    stage.check(lambda: was_ended == ["depth 0", "depth 1"])


@scenario()
async def deadline(stage: Stage) -> None:
    """Time that is up is up for all that was called."""
    over = Raised(DeadlineExceededError)
    replies = worker.inquire(timeout=3, stage=stage, start_asap=True)
    stage.read(
        replies,
        *said("depth 1", "depth 0", over),
        accepts_cut=lambda got: all(stage.may_end(error) for error in got.errors()) and any(got.errors()),
    )
    stage.read(speaker.inquire(timeout=100, stage=stage, start_asap=True), *SAID)
    stage.check(lambda: len(stage.notes) == 2)


@scenario()
async def block(stage: Stage) -> None:
    """The work has ended with the block that it was bound to."""
    async with worker.inquire(stage=stage, start_asap=True) as replies:
        stage.read(
            replies,
            *said("depth 1", "depth 0", Raised(PromiseCancelledError)),
            accepts_cut=lambda got: all(stage.may_end(error) for error in got.errors()) and any(got.errors()),
        )
        await asyncio.sleep(1)
    was_ended = sorted(stage.notes)
    stage.check(lambda: was_ended == ["depth 0", "depth 1"])


@scenario()
async def finishing_early(stage: Stage) -> None:
    """The reply ends before the agent does, and the agent is waited for all the same."""
    done: list[str] = []

    @miniagent
    async def diligent(ctx: InteractionContext) -> None:
        ctx.reply("said")
        ctx.finish_early()
        await asyncio.sleep(5)
        stage.touch()
        done.append("done")

    stage.read(diligent.inquire(start_asap=True), *said("said"))
    stage.check(lambda: done == ["done"])


@scenario()
async def detached_agent(stage: Stage) -> None:
    """Replies that nobody reads are no reason not to finish them."""
    done: list[str] = []

    @miniagent
    async def diligent(ctx: InteractionContext) -> None:
        await asyncio.sleep(5)
        ctx.reply("unheard")
        stage.touch()
        done.append("done")

    diligent.inquire(start_asap=True)
    stage.read(speaker.inquire(stage=stage), *SAID)
    stage.check(lambda: done == ["done"])


@scenario()
async def background_of_an_agent(stage: Stage) -> None:
    """A task that an agent has started is waited for by the context, not by the readers of the agent."""
    done: list[str] = []

    @miniagent
    async def starter(ctx: InteractionContext) -> None:
        async def background() -> None:
            await asyncio.sleep(5)
            await speaker.inquire(stage=Stage(stage.settings), start_asap=True)
            done.append("done")

        PromisingContext.get_current().start_asap(background())
        await stage.pause()
        ctx.reply("said")

    stage.read(starter.inquire(), *said("said"))
    stage.check(lambda: done == ["done"])
