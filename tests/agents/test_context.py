"""`MiniAgents`: running programs, errors of agents, and who is told of messages."""

import asyncio
import contextlib
import inspect
import itertools
import logging
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import miniagents
from miniagents import ErrorMessage, InteractionContext, Message, MiniAgents, miniagent
from miniagents.agents import AgentCallNode, AgentReplyNode
from miniagents.messages import MessageContext
from miniagents.promising import Promise, PromisingContext, StreamAppender
from miniagents.testing.virtual_time import run_virtual


@miniagent
async def echo(ctx: InteractionContext) -> None:
    ctx.reply(ctx.message_promises)


@miniagent
async def failing(ctx: InteractionContext) -> None:
    ctx.reply("said before")
    await asyncio.sleep(0)
    raise ValueError("of the agent")


@miniagent
async def sleeping(ctx: InteractionContext) -> None:
    await asyncio.sleep(1000)
    ctx.reply("slept")


# ---------------------------------------------------------------------- running


def test_run_runs_coroutines_and_replies_and_can_be_called_again() -> None:
    """`run` takes a coroutine or the replies of an agent, gives the result, closes its loop, and may be called again."""
    mini_agents = MiniAgents()
    loops = []

    async def main() -> str:
        assert MiniAgents.get_current() is mini_agents
        loops.append(asyncio.get_running_loop())
        return "result"

    assert mini_agents.run(main()) == "result"
    assert mini_agents.run(echo.inquire("hi")) == (Message("hi"),)
    assert loops[0].is_closed()
    assert miniagents.run(main_with_options(), errors_as_messages=True) is True


async def main_with_options() -> bool:
    context = MiniAgents.get_current()
    assert isinstance(context, MiniAgents)
    return context.errors_as_messages


async def test_run_inside_a_loop_is_refused_and_arun_works_there() -> None:
    """Inside a running loop `run` says to use `arun`, which awaits in the context and waits for what was started."""
    done = []

    async def late(promise: Promise[Any]) -> None:
        await asyncio.sleep(0)
        done.append("late")

    async def main() -> str:
        Promise(late)
        return "result"

    with pytest.raises(RuntimeError, match="arun"):
        MiniAgents().run(main())
    assert await MiniAgents().arun(main()) == "result"
    assert done == ["late"]


def test_run_of_something_else_is_refused() -> None:
    """A coroutine function passed by mistake gets the hint to call it."""
    with pytest.raises(TypeError, match="call it"):
        MiniAgents().run(main_with_options)  # type: ignore[arg-type]


def test_an_option_that_there_is_not_is_refused() -> None:
    """A misspelt option is an error that names the class that was called, that option, and those that there are."""
    options: dict[str, Any] = {"grace_period": 1, "error_as_messages": True}
    with pytest.raises(TypeError, match=r"^MiniAgents takes no option `error_as_messages`;") as refused:
        miniagents.run(echo.inquire(), **options)
    for option in ("errors_as_messages", "grace_period", "persist_retry_delays", "stream_llm_tokens_by_default"):
        assert option in str(refused.value)
    assert " options," not in str(refused.value)


async def test_the_block_binds_the_context() -> None:
    """`async with MiniAgents() as context` binds the object itself, and it is the current one."""
    mini_agents = MiniAgents()
    async with mini_agents as context:
        assert context is mini_agents is MiniAgents.get_current()


PROGRAMS = {
    "a loop that waits": """
import asyncio, miniagents
from miniagents import miniagent
@miniagent
async def agent(ctx):
    print("ready", flush=True)
    await asyncio.sleep(1000)
async def main():
    await agent.inquire()
RUN
""",
    "a blocking call that holds the loop": """
import miniagents
from miniagents import miniagent
@miniagent
async def agent(ctx):
    print("ready", flush=True)
    input()
async def main():
    await agent.inquire()
miniagents.run(main())
""",
    "an agent that cleans up": """
import asyncio, miniagents
from miniagents import miniagent
@miniagent
async def agent(ctx):
    try:
        print("ready", flush=True)
        await asyncio.sleep(1000)
    finally:
        await asyncio.sleep(0)
        print("cleaned up", flush=True)
async def main():
    agent.inquire()
RUN
""",
}


@pytest.mark.parametrize("how", ["miniagents.run(main())", "asyncio.run(miniagents.MiniAgents().arun(main()))"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_one_interrupt_ends_a_program(program: str, how: str, tmp_path: Path) -> None:
    """One SIGINT ends a program as `KeyboardInterrupt`: it does not hang, and agents clean up."""
    script = tmp_path / "program.py"
    script.write_text(PROGRAMS[program].replace("RUN", how))
    process = subprocess.Popen(
        [sys.executable, script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        output = process.stdout.read()
        assert process.wait() == -signal.SIGINT
        assert process.stderr is not None
        errors = process.stderr.read()
    finally:
        process.kill()
        process.communicate()
    assert output == ("cleaned up\n" if "cleans up" in program else "")
    assert "KeyboardInterrupt" in errors
    assert "destroyed" not in errors
    assert "never retrieved" not in errors


# ---------------------------------------------------------------------- errors


def test_an_error_of_an_agent_is_an_item_of_its_reply() -> None:
    """What an agent said before it failed is delivered; then its exception is raised, the same for every reader."""

    async def scenario() -> None:
        async with MiniAgents():
            replies = failing.inquire()
            errors = []
            for _ in range(2):
                said = []
                with pytest.raises(ValueError, match="of the agent") as caught:
                    async for promise in replies:
                        said.append(str(await promise))
                assert said == ["said before"]
                errors.append(caught.value)
            with pytest.raises(ValueError, match="of the agent") as caught:
                await replies
            assert errors == [caught.value] * 2

    run_virtual(scenario)


def test_an_error_passes_through_agents_that_forward_it() -> None:
    """An error deep in the tree is raised for the outermost reader, and the siblings' work is kept."""

    @miniagent
    async def forwarding(ctx: InteractionContext) -> None:
        ctx.reply([echo.inquire("left"), failing.inquire(), echo.inquire("right")])

    async def scenario() -> None:
        async with MiniAgents():
            replies = forwarding.inquire()
            with pytest.raises(ValueError, match="of the agent"):
                await replies
            settled = await replies.settled()
            assert [str(outcome) for outcome in settled] == ["left", "said before", "of the agent", "right"]
            assert isinstance(settled[2], ValueError)

    run_virtual(scenario)


def test_errors_as_messages() -> None:
    """With `errors_as_messages` an error arrives as an `ErrorMessage` at its place, and what follows is delivered."""

    @miniagent
    async def forwarding(ctx: InteractionContext) -> None:
        ctx.reply([failing.inquire(), "after"])

    replies = MiniAgents(errors_as_messages=True).run(forwarding.inquire())
    assert replies == (
        Message("said before"),
        ErrorMessage(text="ValueError: of the agent", error_type="ValueError"),
        Message("after"),
    )


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("read", [True, False])
def test_what_ends_programs_is_never_swallowed(kind: type[BaseException], read: bool) -> None:
    """A `KeyboardInterrupt` or `SystemExit` of an agent reaches its reader, or else the end of the context."""

    @miniagent
    async def quitter(ctx: InteractionContext) -> None:
        raise kind

    async def main() -> None:
        replies = quitter.inquire()
        if read:
            await replies

    with pytest.raises(kind):
        run_virtual(lambda: MiniAgents(errors_as_messages=True).arun(main()))


async def test_an_error_nobody_read_is_logged_once_with_its_trace(caplog: pytest.LogCaptureFixture) -> None:
    """An unread error is logged once, with the agents that led to it, although it passed through several of them."""

    @miniagent
    async def caller(ctx: InteractionContext) -> None:
        await failing.inquire()

    async with MiniAgents():
        caller.inquire()
    records = [record for record in caplog.records if record.exc_info]
    assert len(records) == 1
    assert "FAILING <- CALLER" in caplog.text


@pytest.mark.parametrize("way", ["settled", "gather"])
async def test_errors_that_wait_for_their_reader_are_not_reported(way: str, caplog: pytest.LogCaptureFixture) -> None:
    """Of however many agents fail, nothing is logged if all their errors are read when all have failed."""

    @miniagent
    async def team(ctx: InteractionContext) -> None:
        for _ in range(1200):
            ctx.reply(failing.inquire())

    async with MiniAgents():
        if way == "settled":
            outcomes: Any = await team.inquire().settled()
        else:
            outcomes = await asyncio.gather(*(failing.inquire() for _ in range(1200)), return_exceptions=True)
    assert sum(isinstance(outcome, ValueError) for outcome in outcomes) == 1200
    assert not caplog.records


def test_leaving_by_an_error_ends_the_agents() -> None:
    """An exception in the block cancels the agents and leaves at once; their readers get an error of its own class."""

    async def scenario() -> float:
        with pytest.raises(KeyError):
            async with MiniAgents():
                replies = sleeping.inquire()
                await asyncio.sleep(1)
                raise KeyError
        (error,) = await replies.settled()
        assert isinstance(error, miniagents.MiniAgentsError)
        assert "SLEEPING" in str(error)
        return asyncio.get_running_loop().time()

    assert run_virtual(scenario) == 1.0


def test_other_agents_go_on_when_one_fails() -> None:
    """An agent that fails takes nobody with it."""

    async def scenario() -> Any:
        async with MiniAgents():
            failed, fine = failing.inquire(), sleeping.inquire()
            with pytest.raises(ValueError, match="of the agent"):
                await failed
            return await fine

    assert run_virtual(scenario) == (Message("slept"),)


# ---------------------------------------------------------------------- who is told


@pytest.mark.parametrize("agents", [1, 30])
def test_the_end_of_a_block_tells_for_whom_it_waits(agents: int, caplog: pytest.LogCaptureFixture) -> None:
    """Who wonders why a program does not end finds in the log, once, the agents at work and the lines they are in."""

    async def scenario() -> None:
        async with MiniAgents():
            for _ in range(agents):
                sleeping.inquire()

    with caplog.at_level(logging.INFO, "miniagents"):
        run_virtual(scenario)
    (told,) = caplog.messages
    line = inspect.getsourcelines(sleeping.function)[1] + 2
    assert told.count(f"SLEEPING at {__file__}:{line}") == min(agents, 20)
    assert ("and 10 more" in told) == (agents == 30)


def test_a_block_that_ends_soon_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is logged about agents that end within seconds."""

    @miniagent
    async def quick(ctx: InteractionContext) -> None:
        await asyncio.sleep(5)

    async def scenario() -> None:
        async with MiniAgents():
            quick.inquire()
        await asyncio.sleep(100)

    with caplog.at_level(logging.INFO, "miniagents"):
        run_virtual(scenario)
    assert not caplog.messages


def test_each_message_is_persisted_once_and_inner_ones_first() -> None:
    """`on_persist_message` is called once for each message object that is resolved, those inside it before it."""
    persisted: list[Message] = []

    async def persist(promise: Any, message: Message) -> None:
        assert (await promise) is message
        persisted.append(message)

    inner = Message("inner")
    outer = Message("outer", parts=[inner])

    async def scenario() -> None:
        persisted.clear()
        async with MiniAgents(on_persist_message=persist):
            await echo.inquire([outer, inner, outer])
            await echo.inquire(outer)

    run_virtual(scenario)
    ours = [message for message in persisted if not isinstance(message, (AgentCallNode, AgentReplyNode))]
    assert len(ours) == 2
    assert ours[0] is inner
    assert ours[1] is outer
    positions = {id(message): index for index, message in enumerate(persisted)}
    assert len(positions) == len(persisted)
    for message in persisted:
        assert all(positions[id(sub)] < positions[id(message)] for sub in message.sub_messages())


def test_equal_messages_are_persisted_each() -> None:
    """Two equal messages are two message objects."""
    persisted: list[str] = []

    async def scenario() -> None:
        mini_agents = MiniAgents()

        @mini_agents.on_persist_message
        async def persist(promise: Any, message: Message) -> None:
            if message.text:
                persisted.append(message.text)

        async with mini_agents:
            echo.inquire(["same", "same"])

    run_virtual(scenario)
    assert persisted == ["same", "same"]


@pytest.mark.parametrize("failures", [0, 1, 3])
def test_a_persist_handler_that_fails_is_called_again(failures: int, caplog: pytest.LogCaptureFixture) -> None:
    """A handler that fails for a while is called again until it succeeds, and those that succeeded are not."""
    calls: list[float] = []
    others: list[Message] = []
    message = Message("x")

    async def persist(promise: Any, persisted: Message) -> None:
        if persisted is message:
            calls.append(asyncio.get_running_loop().time())
            if len(calls) <= failures:
                raise OSError("disk full")

    async def steady(promise: Any, persisted: Message) -> None:
        if persisted is message:
            others.append(persisted)

    async def scenario() -> None:
        async with MiniAgents(on_persist_message=[steady, persist], persist_retry_delays=[1, 2, 4]):
            echo.inquire(message)

    run_virtual(scenario)
    assert [later - earlier for earlier, later in itertools.pairwise(calls)] == [1, 2, 4][:failures]
    assert others == [message]
    assert not caplog.text


def test_a_persist_handler_that_is_not_async_is_told_so_at_once(caplog: pytest.LogCaptureFixture) -> None:
    """A handler that is a plain function is called once for a message, and the log says what it must be."""
    calls: list[Message] = []

    def persist(promise: Any, persisted: Message) -> None:
        calls.append(persisted)

    async def scenario() -> None:
        async with MiniAgents(on_persist_message=persist):  # type: ignore[arg-type]
            _ = Message("x").as_promise

    run_virtual(scenario)
    assert len(calls) == 1
    assert "must be an `async def`" in caplog.text


def test_a_handler_that_could_not_be_called_again_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    """A context that is left while a failed persist handler waits for another try reports what had failed."""

    async def persist(promise: Any, persisted: Message) -> None:
        raise OSError("disk full")

    async def scenario() -> None:
        async with MiniAgents(on_persist_message=persist, persist_retry_delays=[1000]):
            echo.inquire("x")
            await asyncio.sleep(1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_virtual(scenario)
    assert "disk full" in caplog.text


def test_a_failure_is_reported_also_if_the_next_try_was_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    """What a persist handler has raised is reported when the context is left while it is called again."""
    calls: list[str] = []

    async def persist(promise: Any, persisted: Message) -> None:
        calls.append("call")
        if len(calls) == 1:
            raise OSError("disk full")
        await asyncio.sleep(1000)

    async def scenario() -> None:
        async with MiniAgents(on_persist_message=persist, persist_retry_delays=[1]):
            _ = Message("x").as_promise
            await asyncio.sleep(2)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_virtual(scenario)
    assert len(calls) == 2
    assert "disk full" in caplog.text


def test_a_failure_is_reported_once_for_all_who_brought_the_message(caplog: pytest.LogCaptureFixture) -> None:
    """A message that several promises have, and that cannot be persisted, is one failure."""

    async def persist(promise: Any, persisted: Message) -> None:
        raise OSError("disk full")

    async def scenario() -> None:
        message = Message("x")
        async with MiniAgents(on_persist_message=persist, persist_retry_delays=[1]):
            _ = message.as_promise, message.as_promise, message.as_promise

    run_virtual(scenario)
    assert caplog.text.count("Could not be persisted") == 1


def test_a_message_inside_that_cannot_be_persisted_keeps_the_outer_one_back(caplog: pytest.LogCaptureFixture) -> None:
    """What is written down never refers to a message that is not."""
    written: list[Message] = []
    inner = Message("inner")

    async def persist(promise: Any, persisted: Message) -> None:
        if persisted is inner:
            raise OSError("disk full")
        written.append(persisted)

    async def scenario() -> None:
        async with MiniAgents(on_persist_message=persist, persist_retry_delays=()):
            _ = Message("outer", inner=inner).as_promise

    run_virtual(scenario)
    assert not written
    assert caplog.text.count("Could not be persisted") == 1


def test_a_message_that_cannot_be_persisted_does_not_keep_its_neighbours_back(caplog: pytest.LogCaptureFixture) -> None:
    """Each message is offered, whatever became of those beside it; the log names those that were left out."""
    written: list[str] = []

    async def persist(promise: Any, persisted: Message) -> None:
        if persisted.text == "bad":
            raise OSError("disk full")
        written.append(str(persisted.text))

    outer = Message("outer", parts=[Message("before"), Message("bad"), Message("behind", inner=Message("inner"))])

    async def scenario() -> None:
        async with MiniAgents(on_persist_message=persist, persist_retry_delays=()):
            _ = outer.as_promise

    run_virtual(scenario)
    assert written == ["before", "inner", "behind"]
    assert f"Could not be persisted: Message with the key {Message('bad').hash_key}" in caplog.text
    assert f"because of a message inside it: Message with the key {outer.hash_key}" in caplog.text


def test_a_context_inside_that_is_left_does_not_take_the_message_of_others_with_it() -> None:
    """A message that was being written down for a context that is left is then written down for the next one."""
    written: list[Message] = []
    message = Message("x")
    attempts: list[float] = []

    async def persist(promise: Any, persisted: Message) -> None:
        attempts.append(1)
        if len(attempts) == 1:
            raise OSError("busy")
        written.append(persisted)

    async def left() -> None:
        with contextlib.suppress(ZeroDivisionError):
            async with MiniAgents(grace_period=0.5):
                _ = message.as_promise
                await asyncio.sleep(2)
                raise ZeroDivisionError

    async def scenario() -> None:
        async with MiniAgents(on_persist_message=persist, persist_retry_delays=[10]):
            leaving = asyncio.create_task(left())
            await asyncio.sleep(1)
            _ = message.as_promise
            await leaving

    run_virtual(scenario)
    assert written == [message]


@pytest.mark.parametrize("delays", [[-1], ["soon"], [math.inf], [math.nan]])
def test_delays_that_are_none_are_refused(delays: list[Any]) -> None:
    """What is no number of seconds is refused when the context is made."""
    with pytest.raises(ValueError, match="persist_retry_delays"):
        MiniAgents(persist_retry_delays=delays)


def test_a_message_whose_handler_failed_is_persisted_when_it_comes_again(caplog: pytest.LogCaptureFixture) -> None:
    """A handler that fails to the last is logged, and its message does not count as persisted."""
    attempts: list[Message] = []
    message = Message("x")

    async def persist(promise: Any, persisted: Message) -> None:
        if persisted is message:
            attempts.append(persisted)
            if len(attempts) == 1:
                raise OSError("disk full")

    async def scenario() -> None:
        async with MiniAgents(on_persist_message=persist, persist_retry_delays=()) as context:
            echo.inquire(message)
            await context.aflush_tasks()
            echo.inquire(message)
            await context.aflush_tasks()
            echo.inquire(message)

    run_virtual(scenario)
    assert len(attempts) == 2
    assert "disk full" in caplog.text


def test_calls_and_replies_are_messages_to_those_who_observe() -> None:
    """Observers see a call node and a reply node for each call, with what was sent and said; arguments stay private."""
    nodes: list[Message] = []

    async def persist(promise: Any, message: Message) -> None:
        if isinstance(message, (AgentCallNode, AgentReplyNode)):
            nodes.append(message)

    @miniagent
    async def secretive(ctx: InteractionContext, api_key: str) -> None:
        ctx.reply(failing.inquire(ctx.message_promises))

    async def scenario() -> None:
        nodes.clear()
        async with MiniAgents(on_persist_message=persist):
            await secretive.inquire("question", api_key="SECRET").settled()

    run_virtual(scenario)
    by_alias = {(type(node).__name__, node["agent_alias"]): node for node in nodes}
    assert len(by_alias) == len(nodes) == 4
    call, reply = by_alias["AgentCallNode", "SECRETIVE"], by_alias["AgentReplyNode", "SECRETIVE"]
    assert call["messages"] == (Message("question"),)
    assert reply["call"] == call
    assert reply["messages"] == (Message("said before"),)
    assert reply["errors"] == ("ValueError",)
    assert not any("SECRET" in node.model_dump_json().replace("SECRETIVE", "") for node in nodes)


def test_nothing_is_made_for_observers_when_nobody_observes() -> None:
    """Without handlers a call makes one task and no nodes."""
    steps: set[str] = set()

    async def scenario() -> None:
        async with MiniAgents():
            await echo.inquire("x")

    run_virtual(scenario, on_step=lambda number, task: steps.add(task.get_name()))
    assert steps == {"main", "ECHO"}


# ---------------------------------------------------------------------- what goes wrong on the way of what goes wrong


class OddError(Exception):
    """An exception whose text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize("errors_as_messages", [True, False])
def test_an_odd_exception_does_not_get_lost(errors_as_messages: bool) -> None:
    """An exception that cannot even be described is an item of the reply like any other."""

    @miniagent
    async def odd(ctx: InteractionContext) -> None:
        ctx.reply("before")
        raise OddError

    said, error = run_virtual(lambda: MiniAgents(errors_as_messages=errors_as_messages).arun(odd.inquire().settled()))
    assert said == Message("before")
    assert (
        error == ErrorMessage(text="OddError", error_type="OddError")
        if errors_as_messages
        else isinstance(error, OddError)
    )


@pytest.mark.parametrize("leaving_by", [ValueError, TimeoutError])
def test_what_ends_programs_is_raised_also_beside_another_error(leaving_by: type[Exception]) -> None:
    """An unread `SystemExit` is not hidden by the exception by which the block is left."""

    @miniagent
    async def quitter(ctx: InteractionContext) -> None:
        raise SystemExit(3)

    async def main() -> None:
        async with MiniAgents():
            quitter.inquire()
            await asyncio.sleep(1)
            raise leaving_by

    with pytest.raises(SystemExit) as caught:
        run_virtual(main)
    assert caught.value.code == 3
    assert isinstance(caught.value.__context__, leaving_by)


async def test_an_error_that_was_read_once_is_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    """An error that ends several streams at once is one error: read in one of them, it is not reported for the others."""
    async with MiniAgents():
        with pytest.raises(ValueError, match="of the agent"):
            await miniagents.split_messages(failing.inquire())
    assert not caplog.records


def test_a_second_cancellation_does_not_leave_tasks_behind() -> None:
    """A block that is cancelled again while it waits for its agents to clean up still waits for them."""
    cleaned_up = []

    @miniagent
    async def careful(ctx: InteractionContext) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(4)
            cleaned_up.append(asyncio.get_running_loop().time())

    async def block() -> None:
        async with MiniAgents():
            careful.inquire()
            await asyncio.sleep(1000)

    async def main() -> None:
        task = asyncio.create_task(block())
        for _ in range(3):
            await asyncio.sleep(1)
            task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    run_virtual(main)
    assert cleaned_up == [5.0]


def test_observing_starts_nothing_and_delays_nothing() -> None:
    """Handlers do not start what is lazy, and what nobody ever starts does not keep the context from ending."""
    resolved: list[Any] = []
    started: list[str] = []

    async def handler(promise: Any, outcome: Any) -> None:
        resolved.append(outcome)

    async def streamer(metadata: dict[str, Any]) -> Any:
        started.append("started")
        yield "token"

    async def scenario() -> None:
        async with MiniAgents(on_promise_resolved=handler):
            unread = echo.inquire(Message.promise(streamer, start_asap=False))
            await asyncio.sleep(10)
            assert not started
            assert isinstance(unread, miniagents.MessageSequencePromise)
            read = echo.inquire(Message.promise(streamer, start_asap=False))
            await read
            StreamAppender[str]().open()
        assert started == ["started"]
        assert (Message("token"),) in resolved

    run_virtual(scenario)


async def test_messages_of_a_bare_context_inside_are_persisted() -> None:
    """A message that is resolved in a bare `PromisingContext` inside is written down by the handlers around it."""
    persisted: list[Any] = []

    async def persist(promise: Any, message: Message) -> None:
        persisted.append(message)

    async with MiniAgents(on_persist_message=persist), PromisingContext():
        _ = Message("inside").as_promise
    assert persisted == [Message("inside")]


async def test_a_task_that_outlives_its_context_can_still_make_messages() -> None:
    """After its context has ended a task lives in the one around it, or in none; whole messages need none."""
    outlived = asyncio.Event()

    async def outliving() -> str:
        await outlived.wait()
        return str(await Message("x").as_promise)

    async with MiniAgents(on_promise_resolved=nothing):
        task = asyncio.create_task(outliving())
    outlived.set()
    assert await task == "x"


async def nothing(promise: Any, outcome: Any) -> None: ...


async def test_a_failed_call_leaves_no_reference_cycles() -> None:
    """An agent or a stream that fails is freed by reference counting as well, with the error and its traceback."""
    import gc

    async def breaking(metadata: dict[str, Any]) -> Any:
        yield "x"
        raise ConnectionError

    @miniagent
    async def failing_stream(ctx: InteractionContext) -> None:
        ctx.reply(Message.promise(breaking))

    async def fail(agent: Any) -> None:
        with contextlib.suppress(ValueError, ConnectionError):
            await agent.inquire()

    async with MiniAgents() as context:
        gc.collect()
        gc.disable()
        try:
            for _ in range(50):
                await fail(failing)
                await fail(failing_stream)
            context._unread.report()
            assert gc.collect() == 0
        finally:
            gc.enable()


async def test_the_end_of_a_dialog_is_no_error_to_report(caplog: pytest.LogCaptureFixture) -> None:
    """An `EndOfDialog` that nobody reads is not logged: nothing went wrong."""

    @miniagent
    async def leaving(ctx: InteractionContext) -> None:
        raise miniagents.EndOfDialog

    async with MiniAgents():
        leaving.inquire()
    assert not caplog.records


def test_options_of_classes_beside_it_are_taken() -> None:
    """A class that stands beside `MiniAgents` takes options of its own; what nobody takes is refused with all that there are."""

    class Stored(MessageContext):
        def __init__(self, *, database: str = "", **options: Any) -> None:
            super().__init__(**options)
            self.database = database

    class Mine(MiniAgents, Stored):
        pass

    assert Mine(database="here", grace_period=1).database == "here"
    with pytest.raises(TypeError, match=r"Mine takes no option `databas`; its options are: .*database.*grace_period"):
        Mine(databas="there")
