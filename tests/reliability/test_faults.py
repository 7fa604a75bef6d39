"""Faults of the catalogue that no other test shows: readers without patience, agents that fail oddly, loops, threads."""

import ast
import asyncio
import functools
import gc
import logging
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import miniagents
from miniagents import InteractionContext, Message, MiniAgents, miniagent
from miniagents.agents import AgentCall
from miniagents.promising import (
    AppenderClosedError,
    NoActiveContextError,
    Promise,
    PromiseCancelledError,
    PromisingContext,
    StreamAppender,
    StreamedPromise,
    WrongLoopError,
)
from miniagents.testing.virtual_time import explore, run_virtual
from reliability import harness
from reliability.harness import Point
from reliability.scenarios import SCENARIOS
from reliability.sweeps import frozen_heap, run_point

SRC = Path(miniagents.__file__).parent


@miniagent
async def echo(ctx: InteractionContext) -> None:
    ctx.reply(ctx.message_promises)


async def slowly(metadata: dict[str, Any]) -> AsyncIterator[str]:
    for token in ("a", "b", "c"):
        await asyncio.sleep(1)
        yield token


# ---------------------------------------------------------------------- readers without patience


async def resolve_slowly(promise: Promise[Any]) -> str:
    await asyncio.sleep(3)
    return "abc"


WHAT_IS_READ: dict[str, Callable[[], Awaitable[Any]]] = {
    "a promise": lambda: Promise(resolve_slowly),
    "a lazy promise": lambda: Promise(resolve_slowly, start_asap=False),
    "a message": lambda: Message.promise(slowly),
    "a lazy message": lambda: Message.promise(slowly, start_asap=False),
}


async def read_with_timeout(what: Awaitable[Any]) -> str:
    async with asyncio.timeout(1.5):
        return str(await what)


async def read_with_wait_for(what: Awaitable[Any]) -> str:
    return str(await asyncio.wait_for(what, 1.5))


@pytest.mark.parametrize("what", WHAT_IS_READ)
@pytest.mark.parametrize("read", [read_with_timeout, read_with_wait_for], ids=["timeout", "wait_for"])
def test_the_time_limit_of_a_reader_is_its_own(read: Callable[[Any], Awaitable[str]], what: str) -> None:
    """Of two readers one gives up; the other one, and whoever reads it again, get all of it."""

    async def scenario() -> list[str]:
        async with MiniAgents():
            promise = WHAT_IS_READ[what]()

            async def give_up() -> None:
                with pytest.raises(TimeoutError):
                    await read(promise)

            async def read_on() -> str:
                return str(await promise)

            _, other = await asyncio.gather(give_up(), read_on())
            return [other, str(await promise)]

    assert explore(scenario, range(10)) == [["abc", "abc"]] * 10


def test_an_agent_that_gave_up_on_its_input_can_read_it_again() -> None:
    """A time limit on the input loses nothing of it: the second try gets all messages."""

    @miniagent
    async def impatient(ctx: InteractionContext) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5):
                await ctx.message_promises
        ctx.reply(str([str(message) for message in await ctx.message_promises]))

    async def scenario() -> str:
        async with MiniAgents():
            (reply,) = await impatient.inquire(["first", Message.promise(slowly), "last"])
            return str(reply)

    assert run_virtual(scenario) == "['first', 'abc', 'last']"


@pytest.mark.parametrize("start_asap", [True, False], ids=["eager", "lazy"])
def test_a_reader_that_polls_gets_every_token(start_asap: bool) -> None:
    """Asking for the next token with a limit that is too short, again and again, skips none."""

    async def scenario() -> tuple[list[str], int]:
        got: list[str] = []
        timeouts = 0
        async with MiniAgents():
            tokens = aiter(Message.promise(slowly, start_asap=start_asap))
            while True:
                try:
                    got.append(await asyncio.wait_for(anext(tokens), 0.3))
                except TimeoutError:
                    timeouts += 1
                except StopAsyncIteration:
                    return got, timeouts

    got, timeouts = run_virtual(scenario)
    assert got == ["a", "b", "c"]
    assert timeouts >= 9


# ---------------------------------------------------------------------- agents that fail oddly


@pytest.mark.parametrize(
    "run", [miniagents.run, lambda main: asyncio.run(MiniAgents().arun(main))], ids=["run", "arun"]
)
def test_the_status_of_a_program_is_that_which_an_agent_exits_with(run: Callable[[Any], object]) -> None:
    """`SystemExit(3)` of an agent whose reply nobody reads ends the program with status 3."""

    @miniagent
    async def quitter(ctx: InteractionContext) -> None:
        sys.exit(3)

    async def main() -> None:
        quitter.inquire()

    with pytest.raises(SystemExit) as caught:
        run(main())
    assert caught.value.code == 3


def test_an_agent_that_raises_cancelled_error_is_seen_by_a_task_group() -> None:
    """A task that reads it fails, which a `TaskGroup` would not notice of one that looks cancelled."""

    @miniagent
    async def odd(ctx: InteractionContext) -> None:
        raise asyncio.CancelledError

    async def scenario() -> None:
        async def read() -> None:
            await odd.inquire()

        async with MiniAgents(), asyncio.TaskGroup() as group:
            group.create_task(read())

    with pytest.raises(ExceptionGroup) as caught:
        run_virtual(scenario)
    assert [type(error) for error in caught.value.exceptions] == [PromiseCancelledError]


@pytest.mark.parametrize("how", ["a promise", "a task"])
def test_what_fails_in_the_background_of_an_agent_is_reported(how: str, caplog: pytest.LogCaptureFixture) -> None:
    """Work that an agent has started and not awaited is no part of its reply; if it fails, the log says so once."""

    async def fail(_: Any) -> None:
        raise ValueError("in the background")

    @miniagent
    async def careless(ctx: InteractionContext) -> None:
        if how == "a promise":
            Promise(fail)
        else:
            PromisingContext.get_current().start_asap(fail(None))
        ctx.reply("done")

    async def scenario() -> tuple[Message, ...]:
        async with MiniAgents():
            return await careless.inquire()

    assert run_virtual(scenario) == (Message("done"),)
    gc.collect()
    reported = [record for record in caplog.records if record.exc_info]
    assert [str(record.exc_info[1]) for record in reported if record.exc_info] == ["in the background"]


def test_readers_in_trouble_of_their_own_do_not_mix_it() -> None:
    """Of readers that meet one error while each handles another, none finds the trouble of the others in it."""

    async def fail(_: Promise[Any]) -> None:
        await asyncio.sleep(1)
        raise ValueError("shared")

    async def scenario() -> None:
        async with MiniAgents():
            promise = Promise(fail)

            async def read(own: type[Exception]) -> None:
                try:
                    raise own
                except own:
                    with pytest.raises(ValueError, match="shared") as caught:
                        await promise
                    assert caught.value.__context__ is None

            await asyncio.gather(read(KeyError), read(IndexError))
            with pytest.raises(ValueError, match="shared") as caught:
                await promise
            assert caught.value.__context__ is None

    explore(scenario, range(10))


def test_a_reply_that_comes_too_late_is_refused_by_name() -> None:
    """A task that outlives its agent is told whose reply it is that has ended."""

    @miniagent(alias="HASTY")
    async def hasty(ctx: InteractionContext) -> None:
        contexts.append(ctx)

    contexts: list[InteractionContext] = []

    async def scenario() -> None:
        async with MiniAgents():
            await hasty.inquire()
        for reply in (contexts[0].reply, contexts[0].reply_out_of_order):
            with pytest.raises(AppenderClosedError) as caught:
                reply("late")
            assert caught.value.__notes__ == ["The reply is that of HASTY."]

    run_virtual(scenario)


# ---------------------------------------------------------------------- contexts, loops, threads


def test_a_block_that_is_cancelled_leaves_no_context_behind() -> None:
    """The task that was cancelled inside `async with MiniAgents()` has no current context afterwards."""

    async def scenario() -> None:
        async def program() -> None:
            try:
                async with MiniAgents():
                    await asyncio.Event().wait()
            finally:
                with pytest.raises(NoActiveContextError):
                    MiniAgents.get_current()

        task = asyncio.create_task(program())
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    run_virtual(scenario)


def test_a_context_that_nobody_finalizes_does_not_keep_a_program() -> None:
    """`asyncio.run` comes to its end although a context is still active, with agents at work and a stream open."""
    ended: list[str] = []

    @miniagent
    async def waiting(ctx: InteractionContext) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("agent")

    async def main() -> str:
        MiniAgents().activate()
        waiting.inquire()
        stream: StreamedPromise[str, Any] = StreamedPromise(StreamAppender[str]().open())
        reader = asyncio.create_task(stream.aresolve())
        reader.add_done_callback(lambda _: ended.append("reader"))
        for _ in range(3):
            await asyncio.sleep(0)
        return "main has ended"

    assert asyncio.run(main()) == "main has ended"
    assert sorted(ended) == ["agent", "reader"]


def test_a_promise_of_a_closed_loop_is_not_run_in_the_next_one() -> None:
    """What was not started in the loop of its context is refused in another one."""
    made: list[Promise[str]] = []
    started: list[object] = []

    async def resolver(promise: Promise[Any]) -> str:
        started.append(promise)
        return "value"

    async def first() -> None:
        MiniAgents().activate()
        made.append(Promise(resolver, start_asap=False))

    async def second() -> None:
        with pytest.raises(WrongLoopError):
            await made[0]

    asyncio.run(first())
    asyncio.run(second())
    assert not started


def test_a_thread_is_told_how_to_call_an_agent() -> None:
    """A call in a thread beside the loop is refused with the function that does it, and that function does."""

    async def main() -> str:
        async with MiniAgents() as context:
            loop = asyncio.get_running_loop()

            async def in_the_loop() -> str:
                (reply,) = await echo.inquire("from a thread")
                return str(reply)

            def in_a_thread() -> str:
                with pytest.raises(WrongLoopError, match="run_coroutine_threadsafe"):
                    echo.inquire("refused")
                with pytest.raises(WrongLoopError, match="run_coroutine_threadsafe"):
                    context.start_asap(asyncio.sleep(0))
                return asyncio.run_coroutine_threadsafe(in_the_loop(), loop).result()

            return await asyncio.to_thread(in_a_thread)

    assert asyncio.run(main()) == "from a thread"


def test_programs_in_four_threads_share_nothing() -> None:
    """Four loops in four threads run agents at the same time, and each gets its own replies."""
    together = threading.Barrier(4, timeout=15)
    results: dict[int, list[str]] = {}

    async def main(number: int) -> list[str]:
        together.wait()
        replies = [echo.inquire(echo.inquire(f"{number}/{turn}")) for turn in range(50)]
        return [str(message) for reply in replies for message in await reply]

    def program(number: int) -> None:
        results[number] = miniagents.run(main(number))

    threads = [threading.Thread(target=program, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {number: [f"{number}/{turn}" for turn in range(50)] for number in range(4)}


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
def test_everything_works_with_eager_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a loop whose tasks run up to their first wait at once, every scenario of the sweeps ends as it must."""
    eager: Any = vars(asyncio)["eager_task_factory"]
    monkeypatch.setattr(harness, "run_virtual", functools.partial(run_virtual, task_factory=eager))
    with frozen_heap():
        runs = [run_point(Point("schedule", name, "plain", seed)) for name in SCENARIOS for seed in range(3)]
    assert [(str(run.point), run.problems) for run in runs if run.problems] == []


def test_open_calls_that_were_finished_are_forgotten() -> None:
    """A context does not keep the calls that were opened in it and finished by agents."""

    @miniagent
    async def finisher(ctx: InteractionContext, call: AgentCall) -> None:
        ctx.reply(call.send_message("x").reply_sequence())

    async def scenario() -> int:
        async with MiniAgents():
            calls = []
            for _ in range(100):
                call = echo.initiate_inquiry()
                calls.append(weakref.ref(call))
                assert await finisher.inquire(call=call) == (Message("x"),)
                del call
            gc.collect()
            return sum(reference() is not None for reference in calls)

    assert run_virtual(scenario) == 0


def test_an_agent_that_holds_the_loop_is_named_in_debug_mode(caplog: pytest.LogCaptureFixture) -> None:
    """The debug mode of asyncio tells which agent has held up all others, and for how long."""

    @miniagent(alias="BLOCKER")
    async def blocker(ctx: InteractionContext) -> None:
        ctx.reply(str(sum(range(1000))))

    async def main() -> None:
        asyncio.get_running_loop().slow_callback_duration = 0.0  # whatever takes any time at all is too slow
        async with MiniAgents():
            await blocker.inquire()

    with caplog.at_level(logging.WARNING, "asyncio"):
        asyncio.run(main(), debug=True)
    assert any("name='BLOCKER'" in text and "seconds" in text for text in caplog.messages)


# ---------------------------------------------------------------------- what data can do


def test_nothing_in_the_library_runs_what_it_reads() -> None:
    """No module of the library unpickles, evaluates or imports by a name that comes from data."""
    found = []
    for path in SRC.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Import(names=names):
                    used = {name.name.partition(".")[0] for name in names}
                case ast.ImportFrom(module=str(module)):
                    used = {module.partition(".")[0]}
                case ast.Call(func=ast.Name(id=name)):
                    used = {name}
                case _:
                    continue
            found += [(path.name, name) for name in used & {"pickle", "marshal", "shelve", "eval", "exec", "yaml"}]
    assert not found


@pytest.mark.parametrize("name", ["$class", "__class__", "class_", "$type", "lc", "py/object", "model_class"])
def test_no_name_in_data_chooses_a_class(name: str) -> None:
    """A message that is read from JSON is of the class that the reader asks for, whatever the JSON says of itself."""
    read = Message.model_validate_json(f'{{"text": "x", "{name}": "miniagents.promising.Promise", "role": "user"}}')
    assert type(read) is Message
    assert read[name] == "miniagents.promising.Promise"
    assert (read.text, read.role) == ("x", "user")
    assert read.hash_key != Message("x", role="user").hash_key
