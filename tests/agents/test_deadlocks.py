"""Deadlocks speak: a wait that can never end is an error with names and places, and nothing else is."""

import asyncio
import contextvars
import gc
import queue
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from miniagents import InteractionContext, Message, MiniAgents, miniagent
from miniagents.promising import (
    DeadlineExceededError,
    DeadlockError,
    Promise,
    PromiseCancelledError,
    PromisingContext,
    SequencePromise,
    StreamAppender,
    StreamedPromise,
)
from miniagents.testing.virtual_time import explore, run_virtual
from reliability.sweeps import frozen_heap


@pytest.fixture(autouse=True, scope="module")
def _frozen_heap() -> Iterator[None]:
    """A suspicion is looked into by asking who refers to whom: not all that the other tests have left is worth asking."""
    with frozen_heap():
        yield


@pytest.fixture(autouse=True)
def _no_garbage() -> Iterator[None]:
    """Nor is what each test leaves behind."""
    yield
    gc.collect()


Shape = Callable[[], Awaitable[BaseException | None]]
shapes: dict[str, tuple[Shape, list[str]]] = {}


def shape(*names: str) -> Callable[[Shape], Shape]:
    """A deadlock; `names` must stand in the error."""

    def register(function: Shape) -> Shape:
        shapes[function.__name__] = (function, list(names))
        return function

    return register


async def error_of(awaitable: Awaitable[Any]) -> BaseException | None:
    try:
        await awaitable
    except Exception as error:
        return error
    return None


dead_ones_too: dict[str, Shape] = {}


def dead_too(function: Shape) -> Shape:
    """A deadlock of a shape that is listed, in which something stands about that cannot help."""
    dead_ones_too[function.__name__] = function
    return function


def errors_in(outcomes: Any) -> BaseException | None:
    return next((outcome for outcome in outcomes if isinstance(outcome, DeadlockError)), None)


@shape("Promise waits for the Promise")
async def a_promise_that_awaits_itself() -> BaseException | None:
    async def resolver(promise: Promise[Any]) -> Any:
        return await promise

    return await error_of(Promise(resolver))


@shape("StreamedPromise")
async def a_stream_that_reads_itself() -> BaseException | None:
    async def streamer(promise: StreamedPromise[Any, Any]) -> Any:
        async for piece in promise:
            yield piece

    return await error_of(StreamedPromise(streamer))


@shape("Promise")
async def two_promises_that_await_each_other() -> BaseException | None:
    promises: list[Promise[Any]] = []

    async def resolver(other: int) -> Any:
        return await promises[other]

    promises += [Promise(lambda _: resolver(1)), Promise(lambda _: resolver(0))]
    return await error_of(promises[0])


@shape("SELFISH waits for the replies of SELFISH")
async def an_agent_that_awaits_its_own_replies() -> BaseException | None:
    replies: list[Any] = []

    @miniagent
    async def selfish(ctx: InteractionContext) -> None:
        await replies[0]

    replies.append(selfish.inquire())
    return await error_of(replies[0])


@shape("SELFISH")
async def an_agent_that_reads_on_in_its_own_replies() -> BaseException | None:
    replies: list[Any] = []

    @miniagent
    async def selfish(ctx: InteractionContext) -> None:
        ctx.reply("first")
        async for promise in replies[0]:
            await promise

    replies.append(selfish.inquire())
    return await error_of(replies[0])


def _pair(prepare: Callable[[], object] = lambda: None) -> dict[str, Any]:
    """The replies of two agents that await each other, the first of which does something before."""
    replies: dict[str, Any] = {}

    @miniagent
    async def writer(ctx: InteractionContext) -> None:
        prepare()
        await replies["critic"]

    @miniagent
    async def critic(ctx: InteractionContext) -> None:
        ctx.reply(await replies["writer"])

    replies["writer"], replies["critic"] = writer.inquire(), critic.inquire()
    return replies


@shape("WRITER waits for the replies of CRITIC", "CRITIC waits for the replies of WRITER", "test_deadlocks.py:")
async def two_agents_that_await_each_other() -> BaseException | None:
    return await error_of(_pair()["writer"])


@shape("PASSES_ON waits for the replies of")
async def a_caller_and_a_callee_that_is_sent_the_callers_replies() -> BaseException | None:
    replies: list[Any] = []

    @miniagent
    async def callee(ctx: InteractionContext) -> None:
        await ctx.message_promises

    @miniagent
    async def passes_on(ctx: InteractionContext) -> None:
        await callee.inquire(replies[0])

    replies.append(passes_on.inquire())
    return errors_in(await replies[0].settled())


def _ring(size: int) -> Awaitable[BaseException | None]:
    replies: list[Any] = []

    @miniagent
    async def member(ctx: InteractionContext, number: int) -> None:
        await replies[(number + 1) % size]

    replies.extend(member.fork(alias=f"MEMBER_{number}").inquire(number=number) for number in range(size))
    return error_of(replies[0])


@shape("MEMBER_0", "MEMBER_1", "MEMBER_2")
async def a_ring_of_three() -> BaseException | None:
    return await _ring(3)


@shape("MEMBER_0", "MEMBER_59")
async def a_ring_of_sixty() -> BaseException | None:
    return await _ring(60)


@shape("FORWARDS")
async def an_agent_whose_replies_contain_themselves() -> BaseException | None:
    replies: list[Any] = []

    @miniagent
    async def forwards(ctx: InteractionContext) -> None:
        ctx.reply(replies[0])

    replies.append(forwards.inquire())
    return errors_in(await replies[0].settled())


@shape("FORWARDS")
async def an_agent_whose_replies_contain_themselves_out_of_order() -> BaseException | None:
    replies: list[Any] = []

    @miniagent
    async def forwards(ctx: InteractionContext) -> None:
        ctx.reply_out_of_order(replies[0])

    replies.append(forwards.inquire())
    return errors_in(await replies[0].settled())


@shape("contains itself")
async def agents_whose_replies_are_nothing_but_each_others() -> BaseException | None:
    replies: dict[str, Any] = {}

    @miniagent
    async def one(ctx: InteractionContext) -> None:
        ctx.reply(replies["other"])

    @miniagent
    async def other(ctx: InteractionContext) -> None:
        ctx.reply(replies["one"])

    replies["one"], replies["other"] = one.inquire(), other.inquire()
    return await error_of(replies["one"])


@miniagent
async def listener(ctx: InteractionContext) -> None:
    """Waits for all that it is sent."""
    ctx.reply([str(message) for message in await ctx.message_promises])


@shape(
    "LISTENER waits for",
    "opened at",
    "test_deadlocks.py:",
    "never finished",
    "OPENER waits for the replies of LISTENER",
)
async def an_agent_that_awaits_the_replies_of_a_call_it_never_finishes() -> BaseException | None:
    @miniagent
    async def opener(ctx: InteractionContext) -> None:
        call = listener.initiate_inquiry()
        call.send_message("x")
        ctx.reply(await call.reply_sequence(finish_call=False))

    return await error_of(opener.inquire())


@shape("LISTENER", "never finished")
async def a_program_that_awaits_the_replies_of_a_call_it_never_finishes() -> BaseException | None:
    return await error_of(listener.initiate_inquiry().reply_sequence(finish_call=False))


@shape("LISTENER", "never finished")
async def an_open_call_awaited_by_gather() -> BaseException | None:
    replies = listener.initiate_inquiry().reply_sequence(finish_call=False)
    return await error_of(asyncio.gather(replies, replies))


@shape("LISTENER", "never finished")
async def an_open_call_awaited_behind_another_agent() -> BaseException | None:
    @miniagent
    async def relay(ctx: InteractionContext) -> None:
        ctx.reply(await ctx.message_promises)

    @miniagent
    async def opener(ctx: InteractionContext) -> None:
        ctx.reply(await relay.inquire(listener.initiate_inquiry().reply_sequence(finish_call=False)))

    return await error_of(opener.inquire())


@shape("LISTENER", "never finished")
async def an_open_call_awaited_by_a_plain_task_of_the_agent() -> BaseException | None:
    @miniagent
    async def opener(ctx: InteractionContext) -> None:
        replies = listener.initiate_inquiry().reply_sequence(finish_call=False)
        ctx.reply(await asyncio.create_task(_await(replies)))

    return await error_of(opener.inquire())


@dead_too
async def after_a_callback_of_theirs_was_cancelled() -> BaseException | None:
    def prepare() -> None:
        asyncio.get_running_loop().call_later(50, print).cancel()

    return await error_of(_pair(prepare)["writer"])


@dead_too
async def in_whose_variables_something_was_set_that_can_be_reset() -> BaseException | None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable")
    tokens: list[contextvars.Token[int]] = []
    return await error_of(_pair(lambda: tokens.append(variable.set(1)))["writer"])


@dead_too
async def with_a_callback_for_the_end_of_a_task_that_waits_too() -> BaseException | None:
    ended: list[Any] = []

    def prepare() -> None:
        task = asyncio.create_task(_await(replies["critic"]))
        task.add_done_callback(lambda _: ended.append(task))

    replies = _pair(prepare)
    return await error_of(replies["writer"])


@dead_too
async def while_a_handler_that_they_have_called_sleeps() -> BaseException | None:
    async def handler(_: Any, __: Any) -> None:
        await asyncio.sleep(50)

    PromisingContext.get_current().on_promise_resolved(handler)
    return await error_of(_pair(lambda: Promise(prefill_result=1))["writer"])


def _through_tasks(wait: Callable[[Any], Awaitable[Any]]) -> Awaitable[BaseException | None]:
    replies: dict[str, Any] = {}

    @miniagent
    async def gathers(ctx: InteractionContext) -> None:
        await wait([replies["one"], replies["other"]])

    @miniagent
    async def waits(ctx: InteractionContext) -> None:
        await replies["gathers"]

    replies.update(gathers=gathers.inquire(), one=waits.inquire(), other=waits.inquire())
    return error_of(replies["one"])


@dead_too
async def by_way_of_gather() -> BaseException | None:
    error = await _through_tasks(lambda replies: asyncio.gather(*replies))
    for line in ("GATHERS waits for Task-", "waits for the replies of WAITS", "WAITS waits for the replies of GATHERS"):
        assert line in str(error)
    return error


@dead_too
async def by_way_of_wait() -> BaseException | None:
    async def wait_for_all(replies: Any) -> None:
        done, _ = await asyncio.wait([asyncio.create_task(_await(one)) for one in replies])
        for task in done:
            task.result()

    return await _through_tasks(wait_for_all)


@dead_too
async def by_way_of_a_plain_task() -> BaseException | None:
    return await _through_tasks(lambda replies: asyncio.create_task(_await(replies[0])))


@dead_too
async def by_way_of_a_hundred_tasks() -> BaseException | None:
    error = await _through_tasks(lambda replies: asyncio.gather(*[_await(replies[0]) for _ in range(100)]))
    assert ", ... at" in str(error)
    return error


@dead_too
async def gathered_with_tasks_that_await_each_other() -> BaseException | None:
    tasks: list[asyncio.Task[Any]] = []

    async def awaits(other: int) -> None:
        await asyncio.wait([tasks[other]])

    async def gather(replies: Any) -> None:
        tasks.extend(asyncio.create_task(awaits(other)) for other in (1, 0))
        await asyncio.gather(*tasks, *replies)

    return await _through_tasks(gather)


@dead_too
async def gathered_with_what_has_ended() -> BaseException | None:
    over = asyncio.create_task(asyncio.sleep(0))
    await over
    replies = listener.initiate_inquiry().reply_sequence(finish_call=False)
    return await error_of(asyncio.gather(over, replies))


@shape("one of them")
async def a_flush_from_inside_a_promise() -> BaseException | None:
    return await error_of(Promise(lambda _: PromisingContext.get_current().aflush_tasks()))


@shape("one of them")
async def a_flush_from_inside_an_agent() -> BaseException | None:
    @miniagent
    async def flusher(ctx: InteractionContext) -> None:
        await PromisingContext.get_current().aflush_tasks()

    return await error_of(flusher.inquire())


@shape("RESOLVES_BACKWARDS")
async def an_agent_and_a_promise_that_await_each_other() -> BaseException | None:
    replies: list[Any] = []

    @miniagent
    async def resolves_backwards(ctx: InteractionContext) -> None:
        await Promise(lambda _: _await(replies[0]))

    replies.append(resolves_backwards.inquire())
    return await error_of(replies[0])


async def _await(awaitable: Any) -> Any:
    return await awaitable


@pytest.mark.parametrize("name", shapes)
def test_a_deadlock_is_named(name: str) -> None:
    """Each shape of a deadlock is a `DeadlockError` with the names of those in it, within two seconds, in any order."""
    function, names = shapes[name]

    async def scenario() -> float:
        async with MiniAgents():
            error = await function()
            assert isinstance(error, DeadlockError), repr(error)
            for part in names:
                assert part in str(error)
            return asyncio.get_running_loop().time()

    assert max(explore(scenario, seeds=range(15))) <= 2.0


@pytest.mark.parametrize("name", dead_ones_too)
def test_what_cannot_help_hides_no_deadlock(name: str) -> None:
    """A deadlock is told within two seconds, also if there is something about that looks as if it could help."""

    async def scenario() -> float:
        async with MiniAgents():
            assert isinstance(await dead_ones_too[name](), DeadlockError)
            return asyncio.get_running_loop().time()

    assert max(explore(scenario, seeds=range(15))) <= 2.0


def test_who_waits_for_itself_is_told_at_once() -> None:
    """A resolver that awaits its own promise, and a streamer that reads its own stream, need not wait to be told so."""

    async def resolver(promise: Promise[Any]) -> Any:
        return await promise

    async def streamer(stream: StreamedPromise[Any, Any]) -> AsyncIterator[int]:
        yield 1
        async for piece in stream:
            yield piece + 1

    async def scenario() -> float:
        async with PromisingContext():
            with pytest.raises(DeadlockError, match=r"test_deadlocks.py:\d+, and thus for itself"):
                await Promise(resolver)
            stream: StreamedPromise[int, Any] = StreamedPromise(streamer)
            pieces: list[int] = []
            async for piece in stream:
                pieces.append(piece)
                if len(pieces) == 3:
                    break
            assert pieces == [1, 2, 3]  # what it has said already it may read
            stream.cancel()
            return asyncio.get_running_loop().time()

    assert set(explore(scenario, seeds=range(10))) == {0.0}


def test_there_are_twenty_shapes() -> None:
    """The list above is what the documentation counts."""
    assert len(shapes) == 20


# ---------------------------------------------------------------------- no false alarms


helped: dict[str, Callable[[], Awaitable[Any]]] = {}


def helped_scenario(function: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
    """Something that looks like a deadlock and is none."""
    helped[function.__name__] = function
    return function


@helped_scenario
async def a_helper_task_finishes_the_call() -> None:
    @miniagent
    async def opener(ctx: InteractionContext) -> None:
        call = listener.initiate_inquiry()

        async def feed() -> None:
            for _ in range(3):
                await asyncio.sleep(5)
                call.send_message("x")
            call.finish()

        task = asyncio.create_task(feed())
        ctx.reply(await call.reply_sequence(finish_call=False))
        await task

    assert len(await opener.inquire()) == 3


@helped_scenario
async def another_agent_is_handed_the_call() -> None:
    @miniagent
    async def feeder(ctx: InteractionContext, call: Any) -> None:
        await asyncio.sleep(5)
        call.send_message("x").finish()

    @miniagent
    async def opener(ctx: InteractionContext) -> None:
        call = listener.initiate_inquiry()
        feeder.inquire(call=call)
        ctx.reply(await call.reply_sequence(finish_call=False))

    assert await opener.inquire() == (Message("x"),)


@helped_scenario
async def a_timeout_ends_the_wait() -> None:
    @miniagent
    async def opener(ctx: InteractionContext) -> None:
        call = listener.initiate_inquiry()
        replies = call.reply_sequence(finish_call=False)
        try:
            async with asyncio.timeout(10):
                await replies
        except TimeoutError:
            call.finish()
        ctx.reply(await replies)

    assert await opener.inquire() == ()


@helped_scenario
async def a_helper_task_replies_in_a_cycle() -> None:
    replies: dict[str, Any] = {}

    @miniagent
    async def one(ctx: InteractionContext) -> None:
        async def help_out() -> None:
            await asyncio.sleep(5)
            ctx.reply("helped")
            ctx.finish_early()

        task = asyncio.create_task(help_out())
        await replies["other"]
        await task

    @miniagent
    async def other(ctx: InteractionContext) -> None:
        ctx.reply(await replies["one"])

    replies["one"], replies["other"] = one.inquire(), other.inquire()
    assert await replies["other"] == (Message("helped"),)


@helped_scenario
async def an_agent_reads_what_it_has_said_so_far() -> None:
    replies: list[Any] = []

    @miniagent
    async def rereads(ctx: InteractionContext) -> None:
        ctx.reply(["a", "b"])
        reader = aiter(replies[0])
        ctx.reply(f"{await (await anext(reader))}{await (await anext(reader))}")

    replies.append(rereads.inquire())
    assert [str(message) for message in await replies[0]] == ["a", "b", "ab"]


@helped_scenario
async def two_agents_talk_to_each_other() -> None:
    @miniagent
    async def answerer(ctx: InteractionContext) -> None:
        async for promise in ctx.message_promises:
            await asyncio.sleep(2)
            ctx.reply(f"re: {await promise}")

    call = answerer.initiate_inquiry()
    replies = aiter(call.reply_sequence(finish_call=False))
    for number in range(3):
        call.send_message(str(number))
        assert str(await (await anext(replies))) == f"re: {number}"
    call.finish()


@helped_scenario
async def two_agents_read_each_others_replies() -> None:
    replies: dict[str, Any] = {}

    @miniagent
    async def interviewer(ctx: InteractionContext) -> None:
        answers = aiter(replies["answerer"])
        for number in range(5):
            ctx.reply(f"question {number}")
            assert str(await (await anext(answers))) == f"answer to question {number}"

    @miniagent
    async def answerer(ctx: InteractionContext) -> None:
        async for question in replies["interviewer"]:
            await asyncio.sleep(2)
            ctx.reply(f"answer to {await question}")

    replies["interviewer"], replies["answerer"] = interviewer.inquire(), answerer.inquire()
    assert len(await replies["answerer"]) == 5


@helped_scenario
async def the_loop_itself_feeds_the_call() -> None:
    @miniagent
    async def opener(ctx: InteractionContext) -> None:
        call = listener.initiate_inquiry()
        loop = asyncio.get_running_loop()
        loop.call_later(3, call.send_message, "x")
        loop.call_later(4, call.finish)
        ctx.reply(await call.reply_sequence(finish_call=False))

    assert await opener.inquire() == (Message("x"),)


@helped_scenario
async def a_worker_is_handed_the_call_through_a_queue() -> None:
    handed: asyncio.Queue[Any] = asyncio.Queue()

    @miniagent
    async def worker(ctx: InteractionContext) -> None:
        call = await handed.get()
        await asyncio.sleep(5)
        call.send_message("x").finish()

    @miniagent
    async def opener(ctx: InteractionContext) -> None:
        call = listener.initiate_inquiry()
        handed.put_nowait(call)
        ctx.reply(await call.reply_sequence(finish_call=False))

    worker.inquire()
    assert await opener.inquire() == (Message("x"),)


@helped_scenario
async def a_thread_has_the_call_in_a_variable() -> None:
    """What a function has in its variables while it runs is shown to nobody, not to the garbage collector either."""
    given_back: list[Any] = []
    handed: queue.SimpleQueue[Any] = queue.SimpleQueue()
    taken, released = threading.Event(), threading.Event()

    def work() -> None:
        call = handed.get()
        taken.set()
        released.wait(10)
        given_back.append(call)

    def release() -> None:
        released.set()
        thread.join()
        given_back.pop().send_message("x").finish()

    @miniagent
    async def opener(ctx: InteractionContext) -> None:
        call = listener.initiate_inquiry()
        replies = call.reply_sequence(finish_call=False)
        handed.put(call)
        del call
        assert taken.wait(10)
        ctx.reply(await replies)

    thread = threading.Thread(target=work)
    thread.start()
    asyncio.get_running_loop().call_later(5, release)
    assert await opener.inquire() == (Message("x"),)


@helped_scenario
async def one_who_waits_for_a_while_has_the_call() -> None:
    handed: asyncio.Queue[Any] = asyncio.Queue()

    @miniagent
    async def opener(ctx: InteractionContext) -> None:
        call = listener.initiate_inquiry()
        handed.put_nowait(call)
        replies = call.reply_sequence(finish_call=False)
        del call
        ctx.reply(await replies)

    async def patient() -> None:
        call = await handed.get()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await replies
        call.send_message("x").finish()

    helper = asyncio.create_task(patient())
    replies = opener.inquire()
    assert await replies == (Message("x"),)
    await helper


@helped_scenario
async def a_worker_is_handed_the_context_of_an_agent_in_a_cycle() -> None:
    handed: asyncio.Queue[Any] = asyncio.Queue()
    replies: dict[str, Any] = {}

    @miniagent
    async def worker(ctx: InteractionContext) -> None:
        theirs = await handed.get()
        await asyncio.sleep(5)
        theirs.reply("helped")
        theirs.finish_early()

    @miniagent
    async def one(ctx: InteractionContext) -> None:
        handed.put_nowait(ctx)
        await replies["other"]

    @miniagent
    async def other(ctx: InteractionContext) -> None:
        ctx.reply(await replies["one"])

    worker.inquire()
    replies["one"], replies["other"] = one.inquire(), other.inquire()
    assert await replies["other"] == (Message("helped"),)


def _help_by_the_context_variable() -> None:
    InteractionContext.get_current().reply("helped")
    InteractionContext.get_current().finish_early()


async def _both_are_helped(prepare: Callable[[], object]) -> None:
    assert await _pair(prepare)["critic"] == (Message("helped"),)


@helped_scenario
async def a_timer_finds_the_agent_by_the_context_variable() -> None:
    await _both_are_helped(lambda: asyncio.get_running_loop().call_later(5, _help_by_the_context_variable))


@helped_scenario
async def a_timer_has_context_variables_in_which_the_agent_stands() -> None:
    handed: list[contextvars.Context] = []
    asyncio.get_running_loop().call_later(5, lambda: handed[0].run(_help_by_the_context_variable))
    await _both_are_helped(lambda: handed.append(contextvars.copy_context()))


@helped_scenario
async def a_thread_runs_with_the_context_variables_of_the_agent() -> None:
    found: list[InteractionContext] = []
    started, released = threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        released.wait(10)
        found.append(InteractionContext.get_current())

    def prepare() -> None:
        threads.append(threading.Thread(target=contextvars.copy_context().run, args=(work,)))
        threads[0].start()
        assert started.wait(10)

    def reply_and_finish() -> None:
        released.set()
        threads[0].join()
        ctx = found.pop()
        ctx.reply("helped")
        ctx.finish_early()

    threads: list[threading.Thread] = []
    asyncio.get_running_loop().call_later(5, reply_and_finish)
    await _both_are_helped(prepare)


@helped_scenario
async def a_future_whose_callback_finds_the_agent_by_the_context_variable() -> None:
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(5, future.set_result, None)
    await _both_are_helped(lambda: future.add_done_callback(lambda _: _help_by_the_context_variable()))


@helped_scenario
async def a_timer_finds_the_call_by_a_context_variable_of_the_program() -> None:
    current_call: contextvars.ContextVar[Any] = contextvars.ContextVar("current_call")

    @miniagent
    async def opener(ctx: InteractionContext) -> None:
        current_call.set(listener.initiate_inquiry())
        asyncio.get_running_loop().call_later(5, lambda: current_call.get().finish())
        ctx.reply(await current_call.get().reply_sequence(finish_call=False))

    assert await opener.inquire() == ()


@helped_scenario
async def a_timer_cancels_one_of_them_as_timeouts_of_other_libraries_do() -> None:
    def prepare() -> None:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().call_later(5, task.cancel)

    with pytest.raises(PromiseCancelledError):
        await _pair(prepare)["critic"]


@helped_scenario
async def one_of_those_gathered_fails() -> None:
    async def fails() -> None:
        await asyncio.sleep(5)
        raise ValueError("helped")

    error = await _through_tasks(lambda replies: asyncio.gather(*replies, fails()))
    assert isinstance(error, ValueError)


async def _while_a_task_ends(wait: Callable[[Any, Any], Awaitable[Any]], *, by: Exception | None) -> Any:
    """Agents that wait as they do in a cycle, and for a task that ends at the moment when they are looked at."""

    async def ends() -> None:
        await asyncio.sleep(1)
        if by is not None:
            raise by

    task = asyncio.create_task(ends())
    for _ in range(20):
        await asyncio.sleep(0)  # its timer is to be the first
    return await _through_tasks(lambda replies: wait(replies, task))


@helped_scenario
async def one_of_those_gathered_fails_at_the_moment_of_the_look() -> None:
    error = await _while_a_task_ends(lambda replies, task: asyncio.gather(*replies, task), by=ValueError("helped"))
    assert isinstance(error, ValueError)


@helped_scenario
async def the_one_that_is_enough_ends_at_the_moment_of_the_look() -> None:
    async def wait(replies: Any, task: Any) -> None:
        await asyncio.wait([asyncio.create_task(_await(replies[0])), task], return_when=asyncio.FIRST_COMPLETED)

    assert await _while_a_task_ends(wait, by=None) is None


@helped_scenario
async def one_of_those_waited_for_is_enough() -> None:
    async def wait(replies: Any) -> None:
        tasks = [asyncio.create_task(_await(replies[0])), asyncio.create_task(asyncio.sleep(5))]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)

    assert await _through_tasks(wait) is None


@helped_scenario
async def a_timer_cancels_the_listener_as_timeouts_of_other_libraries_do() -> None:
    @miniagent
    async def impatient(ctx: InteractionContext) -> None:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().call_later(5, task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await ctx.message_promises
        task.uncancel()
        ctx.reply("gave up")

    replies = impatient.initiate_inquiry().reply_sequence(finish_call=False)
    assert await replies == (Message("gave up"),)


@helped_scenario
async def a_task_of_theirs_waits_for_something_else_as_well() -> None:
    stopped = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(5, stopped.set_result, None)

    async def helps() -> None:
        other = asyncio.create_task(_await(replies["critic"]))
        await asyncio.wait([other, stopped], return_when=asyncio.FIRST_COMPLETED)
        _help_by_the_context_variable()

    replies = _pair(lambda: asyncio.create_task(helps()))
    assert await replies["critic"] == (Message("helped"),)


@helped_scenario
async def the_listener_has_a_limit_of_its_own() -> None:
    @miniagent
    async def impatient(ctx: InteractionContext) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await ctx.message_promises
        ctx.reply("gave up")

    replies = impatient.initiate_inquiry().reply_sequence(finish_call=False)
    assert await replies == (Message("gave up"),)


@helped_scenario
async def the_call_has_a_deadline() -> None:
    replies = listener.initiate_inquiry(timeout=5).reply_sequence(finish_call=False)
    with pytest.raises(DeadlineExceededError):
        await replies


@helped_scenario
async def the_waiting_has_a_limit() -> None:
    call = listener.initiate_inquiry()
    reading = asyncio.create_task(_await(call.reply_sequence(finish_call=False)))
    done, _ = await asyncio.wait([reading], timeout=5)
    assert not done
    call.send_message("x").finish()
    assert await reading == (Message("x"),)


@helped_scenario
async def a_call_lies_idle_for_long() -> None:
    @miniagent
    async def session(ctx: InteractionContext) -> None:
        call = listener.initiate_inquiry()
        await asyncio.sleep(1000)
        call.send_message("x")
        ctx.reply(await call.reply_sequence())

    assert await session.inquire() == (Message("x"),)


@helped_scenario
async def a_plain_appender_feeds_a_sequence() -> None:
    appender: StreamAppender[Any] = StreamAppender()
    sequence: SequencePromise[Any, Any] = SequencePromise(appender.open())
    asyncio.get_running_loop().call_later(10, appender.append, "late")
    asyncio.get_running_loop().call_later(20, appender.close)
    assert await sequence == ("late",)


@helped_scenario
async def whoever_can_help_waits_for_something_else() -> None:
    @miniagent
    async def opener(ctx: InteractionContext) -> None:
        call, someday = listener.initiate_inquiry(), asyncio.Event()

        async def helps() -> None:
            await someday.wait()
            call.send_message("x").finish()

        task = asyncio.create_task(helps())
        asyncio.get_running_loop().call_later(10, someday.set)
        ctx.reply(await call.reply_sequence(finish_call=False))
        await task

    assert await opener.inquire() == (Message("x"),)


@pytest.mark.parametrize("name", helped)
def test_there_is_no_false_alarm(name: str) -> None:
    """What looks like a deadlock, and in which somebody can still help, goes on, in any order of tasks."""

    async def scenario() -> None:
        async with MiniAgents():
            await helped[name]()

    explore(scenario, seeds=range(40))


async def test_a_deadlock_under_the_timeout_of_a_test_is_named() -> None:
    """A time-out around the whole program, as tests have them, hides no deadlock inside."""
    async with MiniAgents():
        for guarded in (
            asyncio.wait_for(an_agent_that_awaits_the_replies_of_a_call_it_never_finishes(), 15),
            asyncio.wait_for(two_agents_that_await_each_other(), 15),
        ):
            assert isinstance(await guarded, DeadlockError)
        async with asyncio.timeout(15):
            assert isinstance(await two_agents_that_await_each_other(), DeadlockError)
            assert isinstance(await an_agent_that_awaits_the_replies_of_a_call_it_never_finishes(), DeadlockError)


def test_two_deadlocks_at_once_are_both_told() -> None:
    """Each of several open calls that nobody can finish gets its error."""

    async def scenario() -> None:
        async with MiniAgents():
            errors = await asyncio.gather(
                an_agent_that_awaits_the_replies_of_a_call_it_never_finishes(),
                two_agents_that_await_each_other(),
                an_open_call_awaited_behind_another_agent(),
            )
            assert all(isinstance(error, DeadlockError) for error in errors)
            assert asyncio.get_running_loop().time() <= 2.0

    explore(scenario, seeds=range(5))


def test_a_deadlock_that_arises_later_is_found_then() -> None:
    """When whoever might have helped ends without doing so, the deadlock is told."""

    async def scenario() -> BaseException | None:
        async with MiniAgents():

            @miniagent
            async def opener(ctx: InteractionContext) -> None:
                call = listener.initiate_inquiry()

                async def does_not_help(_: Any) -> None:
                    await asyncio.sleep(10)

                task = asyncio.create_task(does_not_help(call))
                ctx.reply(await call.reply_sequence(finish_call=False))
                await task

            return await error_of(opener.inquire())

    assert isinstance(run_virtual(scenario), DeadlockError)


def test_a_deadlock_among_streams_that_were_waited_for_before_is_found() -> None:
    """That all was well with those who waited for the same streams before hides no deadlock."""

    async def scenario() -> BaseException | None:
        async with PromisingContext():

            def copied(other: int) -> StreamedPromise[Any, Any]:
                async def pieces(_: object) -> AsyncIterator[Any]:
                    await asyncio.sleep(10)
                    async for piece in streams[other]:
                        yield piece

                return StreamedPromise(pieces)

            streams = [copied(1), copied(0)]
            return errors_in(await asyncio.gather(*map(error_of, streams)))

    assert isinstance(run_virtual(scenario), DeadlockError)


async def test_each_line_is_the_one_in_which_somebody_waits() -> None:
    """The error names, for each of those in it, the line of their own code."""
    async with MiniAgents():
        error = await two_agents_that_await_each_other()
    places = [line.rpartition(" at ")[2] for line in str(error).splitlines()[1:]]
    assert len(places) == 2
    assert all("test_deadlocks.py:" in place for place in places)


def test_an_error_that_was_kept_hides_no_deadlock() -> None:
    """An agent whose caught errors are kept somewhere is still told that it waits for ever: a traceback helps nobody."""
    kept: list[TypeError] = []

    async def scenario() -> BaseException | None:
        replies: dict[str, Any] = {}

        @miniagent
        async def waits(ctx: InteractionContext, other: str) -> None:
            try:
                ctx.reply(object())  # type: ignore[arg-type]
            except TypeError as error:
                kept.append(error)
            await replies[other]

        async with MiniAgents():
            replies["a"], replies["b"] = waits.inquire(other="b"), waits.inquire(other="a")
            return await error_of(replies["a"])

    assert isinstance(run_virtual(scenario), DeadlockError)
    assert len(kept) == 2


def test_what_was_looked_into_is_left_alone_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that lie idle are looked into less and less often, and not all at once, however many there are."""
    looks: list[float] = []

    def looked(tasks: Any) -> set[Any]:
        looks.append(asyncio.get_running_loop().time())
        return set(tasks)

    monkeypatch.setattr("miniagents.promising.deadlock.with_timeouts", looked)

    async def scenario() -> None:
        async with MiniAgents():
            await asyncio.gather(*[a_call_lies_idle_for_an_hour() for _ in range(25)])

    run_virtual(scenario)
    assert max(Counter(looks).values()) == 10
    assert 25 * 50 < len(looks) < 25 * 75  # in the end one a minute for each


async def a_call_lies_idle_for_an_hour() -> None:
    @miniagent
    async def opener(ctx: InteractionContext) -> None:
        call = listener.initiate_inquiry()
        asyncio.get_running_loop().call_later(3600, call.finish)
        ctx.reply(await call.reply_sequence(finish_call=False))

    assert await opener.inquire() == ()
