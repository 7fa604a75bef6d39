"""The same programs on every kind of event loop: what they say does not depend on it."""

import asyncio
import contextvars
import gc
import logging
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from loops.conftest import Play
from miniagents import InteractionContext, Message, MiniAgents, miniagent
from miniagents.ext.history_agents import ChatHistoryMD, InMemoryChatHistory
from miniagents.ext.llm.anthropic import anthropic_agent
from miniagents.ext.llm.openai import openai_agent
from miniagents.messages import MessageSequencePromise
from miniagents.promising import Promise, PromisingContext, StreamAppender, StreamedPromise
from miniagents.promising.errors import DeadlineExceededError, DeadlockError, PromiseCancelledError, WrongLoopError
from miniagents.promising.holders import held_by_others
from miniagents.testing import LLMServer

# An upper bound for a machine under load, never a time that a test waits for.
DEADLINE_SECONDS = 10.0


@miniagent
async def echo(ctx: InteractionContext) -> None:
    ctx.reply(ctx.message_promises)


@miniagent
async def endless(ctx: InteractionContext, on_end: Callable[[str], None], depth: int = 2) -> None:
    """Says something at each level, and works until it is stopped."""
    ctx.reply(f"level {depth}")
    if depth:
        ctx.reply(endless.inquire(on_end=on_end, depth=depth - 1))
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0)
        on_end(f"level {depth}")


EVERY_LEVEL = ["level 0", "level 1", "level 2"]


async def tokens_of(replies: Any) -> list[list[str]]:
    return [[token async for token in promise] async for promise in replies]


# ---------------------------------------------------------------------- promises and streams


def test_readers_share_a_promise(play: Play) -> None:
    """Every reader gets the one value, or the one error, of a promise; a reader that is cancelled disturbs no other."""
    calls: list[str] = []

    async def main() -> list[Any]:
        gate = asyncio.Event()

        async def good(_: Any) -> str:
            calls.append("good")
            await gate.wait()
            return "value"

        async def bad(_: Any) -> str:
            await gate.wait()
            raise ValueError("bad")

        async with PromisingContext():
            first, lazy, failing = Promise(good), Promise(good, start_asap=False), Promise(bad)
            readers = [asyncio.ensure_future(promise.aresolve()) for promise in (first, first, failing, failing)]
            await asyncio.sleep(0)
            readers[0].cancel()
            await asyncio.wait([readers[0]])
            gate.set()
            outcomes = await asyncio.gather(*readers[1:], lazy, failing, return_exceptions=True)
            assert readers[0].cancelled()
        return outcomes

    value, error, same_error, lazy_value, late_error = play(main)
    assert (value, lazy_value, calls) == ("value", "value", ["good", "good"])
    assert isinstance(error, ValueError)
    assert error is same_error is late_error


def test_a_stream_is_read_while_it_is_made(play: Play) -> None:
    """A reader has each piece before the next one is made; one that comes late gets all, and so does one after an error."""

    async def main() -> tuple[list[int], list[int], str]:
        wanted = asyncio.Semaphore(0)

        async def count(_: Any) -> AsyncIterator[int]:
            for number in range(3):
                await wanted.acquire()
                yield number
            raise ValueError("broken off")

        async def read(stream: StreamedPromise[int, Any], ask: bool) -> tuple[list[int], str]:
            got: list[int] = []
            pieces = aiter(stream)
            try:
                while True:
                    if ask:
                        wanted.release()
                    got.append(await anext(pieces))
            except ValueError as error:
                return got, str(error)

        async with PromisingContext():
            stream: StreamedPromise[int, Any] = StreamedPromise(count)
            early, error = await read(stream, ask=True)
            late, same_error = await read(stream, ask=False)
            assert error == same_error
            return early, late, error

    assert play(main) == ([0, 1, 2], [0, 1, 2], "broken off")


def test_tokens_pass_through_agents(play: Play) -> None:
    """Tokens come through a chain of agents while they are made, in their messages and their order."""

    async def main() -> list[list[str]]:
        heard = asyncio.Event()

        async def tokens(_: dict[str, Any]) -> AsyncIterator[str]:
            yield "one "
            await heard.wait()  # the reader behind all the agents has the token before there is another
            yield "two"

        @miniagent
        async def speaker(ctx: InteractionContext) -> None:
            ctx.reply(["before", [Message.promise(tokens)]])

        async with MiniAgents():
            replies = speaker.inquire()
            for _ in range(10):
                replies = echo.inquire(replies)
            messages = aiter(replies)
            assert str(await (await anext(messages))) == "before"
            assert await anext(aiter(await anext(messages))) == "one "
            heard.set()
            return await tokens_of(replies)

    assert play(main) == [["before"], ["one ", "two"]]


def test_out_of_order_means_as_it_arrives(play: Play) -> None:
    """What is there first is delivered first, whatever was replied before it."""

    async def main() -> tuple[str, ...]:
        turns = {name: asyncio.Event() for name in ("slow", "fast")}

        @miniagent
        async def waits(ctx: InteractionContext, name: str) -> None:
            await turns[name].wait()
            ctx.reply(name)

        @miniagent
        async def collects(ctx: InteractionContext) -> None:
            ctx.reply_out_of_order(waits.inquire(name="slow"))
            ctx.reply_out_of_order(waits.inquire(name="fast"))

        async with MiniAgents():
            replies = aiter(collects.inquire())
            turns["fast"].set()
            first = await (await anext(replies))
            turns["slow"].set()
            return str(first), *[str(await promise) async for promise in replies]

    assert play(main) == ("fast", "slow")


def test_a_call_is_a_conversation(play: Play) -> None:
    """An open call takes questions and gives answers in turns, and ends when it is finished."""

    @miniagent
    async def answers(ctx: InteractionContext) -> None:
        async for promise in ctx.message_promises:
            ctx.reply(f"{await promise}!")

    async def main() -> list[str]:
        async with MiniAgents():
            call = answers.initiate_inquiry()
            call.send_message("one")
            replies = aiter(call.reply_sequence(finish_call=False))
            heard = [str(await (await anext(replies)))]
            call.send_message("two")
            heard.append(str(await (await anext(replies))))
            call.finish()
            return heard + [str(await promise) async for promise in replies]

    assert play(main) == ["one!", "two!"]


# ---------------------------------------------------------------------- ends


@pytest.mark.parametrize("how", ["cancel", "block"])
def test_a_call_is_stopped_with_all_below_it(play: Play, how: str) -> None:
    """A cancelled call, and one whose block ends, end on every level, behind what they have said."""
    ended: list[str] = []

    async def main() -> tuple[Message | BaseException, ...]:
        async with MiniAgents():
            replies = endless.inquire(on_end=ended.append)
            messages = aiter(replies)
            for level in reversed(EVERY_LEVEL):
                assert str(await (await anext(messages))) == level
            if how == "block":
                async with replies:
                    pass
                assert sorted(ended) == EVERY_LEVEL
            else:
                replies.cancel("enough")
            return await replies.settled()

    *said, _, _, error = play(main)
    assert [str(message) for message in said] == [*reversed(EVERY_LEVEL)]
    assert isinstance(error, PromiseCancelledError)
    assert sorted(ended) == EVERY_LEVEL


def test_a_deadline_ends_a_call_with_all_below_it(play: Play) -> None:
    """When the time of a call is over all that were at work below it end, and the tail is an error that says so."""
    ended: list[str] = []

    async def main() -> tuple[Message | BaseException, ...]:
        async with MiniAgents():
            return await endless.inquire(on_end=ended.append, timeout=0.01).settled()

    outcomes = play(main)
    said = [str(outcome) for outcome in outcomes if isinstance(outcome, Message)]
    errors = [outcome for outcome in outcomes if not isinstance(outcome, Message)]
    assert sorted(ended) == sorted(said)  # how far they come in that time is not promised
    assert errors
    assert all(isinstance(error, DeadlineExceededError) for error in errors)


@pytest.mark.parametrize("leave_by", [KeyError, asyncio.CancelledError, KeyboardInterrupt])
def test_a_context_that_is_left_leaves_nothing(play: Play, leave_by: type[BaseException]) -> None:
    """A context that is left by an error has ended all its agents, and the error goes on."""
    ended: list[str] = []

    async def main() -> None:
        with pytest.raises(leave_by):
            async with MiniAgents():
                assert str(await (await anext(aiter(endless.inquire(on_end=ended.append))))) == "level 2"
                raise leave_by

    play(main)
    assert set(ended) <= set(EVERY_LEVEL)
    assert "level 2" in ended


def test_a_deadlock_is_named_and_a_wait_with_a_timeout_is_none(play: Play) -> None:
    """Agents that wait for each other are told so; those that a timeout will free are left to it."""

    async def main() -> list[BaseException]:
        replies: dict[str, Any] = {}
        told = asyncio.Event()

        @miniagent
        async def waits(ctx: InteractionContext, other: str) -> None:
            await replies[other]

        @miniagent
        async def patient(ctx: InteractionContext, other: str) -> None:
            async with asyncio.timeout(3600) as patience:
                told_first = asyncio.create_task(told.wait())
                told_first.add_done_callback(lambda _: patience.reschedule(0))
                await replies[other]

        async with MiniAgents():
            for agent, alias, other in ((waits, "A", "B"), (waits, "B", "A"), (patient, "C", "D"), (waits, "D", "C")):
                replies[alias] = agent.fork(alias=alias).inquire(other=other)
            errors = [error for name in "AB" for error in await replies[name].settled()]
            told.set()
            return errors + [error for name in "CD" for error in await replies[name].settled()]

    first, second, timeout, passed_on = play(main)
    assert isinstance(first, DeadlockError)
    assert first is second
    assert "A waits for the replies of B" in str(first)
    assert isinstance(timeout, TimeoutError)
    assert timeout is passed_on


def await_each_other(prepare: Callable[[], Awaitable[object]]) -> MessageSequencePromise:
    """What one of two agents replies that await each other. The other one prepares something before."""
    replies: dict[str, MessageSequencePromise] = {}

    @miniagent
    async def prepared(ctx: InteractionContext) -> None:
        await prepare()
        await replies["waits"]

    @miniagent
    async def waits(ctx: InteractionContext) -> None:
        ctx.reply(await replies["prepared"])

    replies["waits"], replies["prepared"] = waits.inquire(), prepared.inquire()
    return replies["waits"]


class Helper:
    """Something that an agent starts, and that finds this agent by nothing but the context variable."""

    def __init__(self) -> None:
        self.looked = threading.Event()
        self.port = 0
        self.near, self.far = socket.socketpair()
        self.kept: list[Any] = []

    def help_out(self) -> None:
        InteractionContext.get_current().reply("helped")
        InteractionContext.get_current().finish_early()

    async def timer(self) -> None:
        loop = asyncio.get_running_loop()

        def tick() -> None:
            if self.looked.is_set():
                self.help_out()
            else:
                loop.call_later(0.001, tick)

        tick()

    async def executor(self) -> None:
        loop = asyncio.get_running_loop()
        self.kept.append(loop.run_in_executor(None, contextvars.copy_context().run, self._work, loop))

    async def thread(self) -> None:
        loop = asyncio.get_running_loop()
        self.kept.append(threading.Thread(target=contextvars.copy_context().run, args=(self._work, loop)))
        self.kept[0].start()

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        self.looked.wait(DEADLINE_SECONDS)
        loop.call_soon_threadsafe(self.help_out)

    async def reader(self) -> None:
        loop = asyncio.get_running_loop()

        def read() -> None:
            loop.remove_reader(self.near)
            self.help_out()

        loop.add_reader(self.near, read)

    async def server(self) -> None:
        async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.help_out()
            server.close()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]

    async def begin(self) -> None:
        """From outside: what sets a reader or a server going, once there was a look at the agents."""
        await asyncio.to_thread(self.looked.wait, DEADLINE_SECONDS)
        self.far.send(b"x")
        if self.port:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.close()
            await writer.wait_closed()


@pytest.mark.parametrize("how", ["timer", "executor", "thread", "reader", "server"])
def test_whoever_has_the_context_variables_of_an_agent_may_help(
    play: Play, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """A callback, a thread or a server that finds an agent by the context variable alone is not taken for a deadlock."""
    helper = Helper()

    def look(*arguments: Any) -> bool:
        held = held_by_others(*arguments)
        helper.looked.set()
        return held

    monkeypatch.setattr("miniagents.promising.deadlock._LOOK_AFTER", 0.01)
    monkeypatch.setattr("miniagents.promising.deadlock.held_by_others", look)

    async def main() -> Any:
        async with MiniAgents():
            replies = await_each_other(getattr(helper, how))
            await helper.begin()
            return await replies.settled()

    with helper.near, helper.far:
        assert play(main) == (Message("helped"),)


def test_a_thread_may_hand_on_what_it_has_at_that_moment(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that gives its help to the loop, and ends, while it is looked for, is not overlooked."""
    monkeypatch.setattr("miniagents.promising.deadlock._LOOK_AFTER", 0.01)
    helper = Helper()
    get_objects = gc.get_objects

    def objects_of_just_before() -> list[Any]:
        objects = get_objects()
        helper.looked.set()
        helper.kept[0].join(DEADLINE_SECONDS)
        return objects

    monkeypatch.setattr(gc, "get_objects", objects_of_just_before)

    async def main() -> Any:
        async with MiniAgents():
            return await await_each_other(helper.thread).settled()

    with helper.near, helper.far:
        assert play(main) == (Message("helped"),)


def test_a_connection_that_is_open_hides_no_deadlock(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    """Agents that wait for each other are told so, also if one of them has opened a connection, which lies idle."""
    monkeypatch.setattr("miniagents.promising.deadlock._LOOK_AFTER", 0.01)

    async def main() -> Any:
        near, far = socket.socketpair()
        opened: list[asyncio.StreamWriter] = []

        async def connect() -> None:
            _, writer = await asyncio.open_connection(sock=near)
            opened.append(writer)

        with far:
            async with asyncio.timeout(DEADLINE_SECONDS), MiniAgents():
                (error,) = await await_each_other(connect).settled()
            opened[0].close()
            await opened[0].wait_closed()
        return error

    assert isinstance(play(main), DeadlockError)


def test_an_error_that_nobody_reads_is_told_once(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    """The log has an error that nobody has read, once, and none that somebody has."""

    @miniagent
    async def fails(ctx: InteractionContext, what: str) -> None:
        raise ValueError(what)

    async def main() -> None:
        async with MiniAgents():
            fails.inquire(what="unread")
            with pytest.raises(ValueError, match="was read"):
                await fails.inquire(what="was read")

    with caplog.at_level(logging.ERROR):
        play(main)
    assert caplog.text.count("ValueError: unread") == 1
    assert "was read" not in caplog.text


# ---------------------------------------------------------------------- loops and threads


def test_nothing_belongs_to_a_loop_before_it_must(play: Play, tmp_path: Path) -> None:
    """Contexts, agents, histories, appenders, messages and calls that are made outside work in one loop after the other."""
    context = MiniAgents()
    appender: StreamAppender[str] = StreamAppender()
    streamed = Message.promise(appender)
    call = echo.inquire(["said ", streamed])
    in_memory, on_disk = InMemoryChatHistory(), ChatHistoryMD(tmp_path / "CHAT.md")

    async def main() -> list[Any]:
        async with context:
            if not streamed.resolved:
                with appender:
                    appender.append("outside")
            for history in (in_memory, on_disk):
                await history.logging_agent.inquire(call)
            return [
                [str(message) for message in await call],
                *[len(await history.aload_chat_history()) for history in (in_memory, on_disk)],
            ]

    assert play(main) == [["said ", "outside"], 2, 2]
    assert play(main) == [["said ", "outside"], 4, 4]


def test_a_reply_from_a_thread_is_heard_at_once(play: Play) -> None:
    """What a thread replies, in order or not, wakes its reader and is written down while the thread goes on."""
    persisted: list[str | None] = []

    async def persist(_: Any, message: Message) -> None:
        persisted.append(message.text)

    async def main() -> list[str]:
        said, written = [], asyncio.Event()

        @miniagent
        async def measures(ctx: InteractionContext, pending: Any) -> None:
            def in_thread() -> None:
                for reply, message in ((ctx.reply, "one"), (ctx.reply_out_of_order, "two"), (ctx.reply, "three")):
                    heard.clear()
                    reply(message)
                    assert heard.wait(DEADLINE_SECONDS)
                ctx.reply_out_of_order(pending)

            await asyncio.to_thread(in_thread)

        async with MiniAgents(on_persist_message=persist):
            heard, last = threading.Event(), StreamAppender[str]()
            async for promise in measures.inquire(pending=Message.promise(last)):
                said.append(str(await promise))
                heard.set()
                if said[-1] == "three":
                    with last:
                        last.append("four")
            written.set()
        return said

    assert play(main) == ["one", "two", "three", "four"]
    assert [text for text in persisted if text is not None] == ["one", "two", "three", "four"]


def test_a_stream_is_filled_and_cancelled_from_threads(play: Play) -> None:
    """A thread that knows of no context fills a stream and stops an agent, and the loop wakes for both at once."""

    async def main() -> list[str]:
        ended: list[str] = []
        heard = threading.Event()

        def in_thread() -> None:
            appender.append("piece")
            assert heard.wait(DEADLINE_SECONDS)
            replies.cancel("from a thread")

        async with MiniAgents():
            appender: StreamAppender[str] = StreamAppender().open()
            replies = endless.inquire(on_end=ended.append, depth=0)
            pieces: AsyncIterator[str] = aiter(StreamedPromise(appender))
            thread = threading.Thread(target=in_thread)
            thread.start()
            ended.append(await anext(pieces))
            heard.set()
            with pytest.raises(PromiseCancelledError, match="from a thread"):
                await replies
            thread.join()
            appender.close()
        return ended

    assert play(main) == ["piece", "level 0"]


def test_another_loop_is_refused(play: Play) -> None:
    """What is still growing is not read in another loop, nor is an agent started there; the error says what to call."""

    async def main() -> None:
        async with MiniAgents():
            appender: StreamAppender[str] = StreamAppender().open()
            gate = asyncio.Event()

            @miniagent
            async def waits(ctx: InteractionContext) -> None:
                await gate.wait()

            async def read(promise: Any) -> Any:
                return await promise

            replies = waits.inquire()
            for growing in (replies, Message.promise(appender)):
                with pytest.raises(WrongLoopError, match=r"run_coroutine_threadsafe\(promise\.aresolve\(\), loop\)"):
                    await asyncio.to_thread(play.elsewhere, read(growing))
            with pytest.raises(WrongLoopError, match=r"WAITS cannot start here: .*asyncio\.run_coroutine_threadsafe"):
                await asyncio.to_thread(waits.inquire)
            appender.append("there").close()
            reading = asyncio.run_coroutine_threadsafe(replies.aresolve(), asyncio.get_running_loop())
            gate.set()
            assert await asyncio.to_thread(reading.result) == ()
            assert await asyncio.to_thread(play.elsewhere, read(replies)) == ()

    play(main)


# ---------------------------------------------------------------------- LLMs


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_model_is_heard_token_by_token(play: Play, provider: str) -> None:
    """Each token of a model is there before the next one is made, and cancelling the call closes its connection."""

    async def main() -> list[str]:
        async with LLMServer(reply=["Once ", "upon ", "a time"], paced=True) as server, MiniAgents():
            agent = (
                openai_agent.fork(base_url=f"{server.url}/v1", api_key="key")
                if provider == "openai"
                else anthropic_agent.fork(base_url=server.url, api_key="key")
            )
            replies = agent.inquire("Tell", model="m")
            request = await server.next_request()
            request.release_token()
            tokens = aiter(await anext(aiter(replies)))
            heard = [await anext(tokens)]
            request.release_token()
            heard.append(await anext(tokens))
            replies.cancel("heard enough")
            with pytest.raises(PromiseCancelledError):
                await anext(tokens)
            await server.wait_until(lambda: server.open_connections == 0)
            return heard

    assert play(main) == ["Once ", "upon "]
