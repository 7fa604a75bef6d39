"""Models that call tools: question, answer, results, and the next question, in one reply."""

import asyncio
import contextvars
import logging
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from miniagents import EndOfDialog, Message, MiniAgents, miniagent
from miniagents.ext.llm.errors import LLMConnectionError, LLMParameterError, LLMTurnLimitError, ToolError
from miniagents.ext.llm.messages import AssistantMessage, ToolCallMessage, ToolResultMessage
from miniagents.ext.llm.prompt import Prompt
from miniagents.ext.llm.tools import tool
from miniagents.promising.errors import DeadlineExceededError, PromiseCancelledError
from miniagents.testing import ToolUse, explore, run_virtual
from support.scripted_model import ScriptedModel, check_history, results_in


async def double(number: int) -> int:
    """Twice the number."""
    return 2 * number


async def test_a_reply_has_the_calls_and_results_and_the_answer() -> None:
    """What the model says, each call, each result and the last answer are messages of one reply, in this order."""
    model = ScriptedModel(["Let me see.", ToolUse("double", {"number": 4}, id="c1")], "It is 8.")
    async with MiniAgents():
        said, call, result, answer = await model.agent.inquire("Twice 4?", tools=[double])
    assert [type(message) for message in (said, call, result, answer)] == [
        AssistantMessage,
        ToolCallMessage,
        ToolResultMessage,
        AssistantMessage,
    ]
    assert (call["tool"], str(call)) == ("double", '{"number": 4}')
    assert (str(result), result["call_id"], result["tool"], result["is_error"]) == ("8", "c1", "double", False)
    assert str(answer) == "It is 8."


async def test_the_model_is_told_what_there_is_and_what_came_of_it() -> None:
    """Each question has the tools, and from the second on the answers before it and the results of their calls."""
    model = ScriptedModel(ToolUse("double", {"number": 4}), ToolUse("double", {"number": 8}), "16")
    async with MiniAgents():
        await model.agent.inquire("Four times 4?", tools=[double], system="Be brief.")
    assert [[tool.name for tool in prompt.tools] for prompt in model.prompts] == [["double"]] * 3
    assert [prompt.system for prompt in model.prompts] == ["Be brief."] * 3
    assert [turn.role for turn in model.prompts[-1].turns] == ["user", "assistant", "user", "assistant", "user"]
    assert [results_in(prompt) for prompt in model.prompts] == [[], [("double", "8", False)], [("double", "16", False)]]


def test_calls_of_one_answer_run_at_once_and_keep_their_order() -> None:
    """The calls of one answer run at the same time; their results come in the order of the calls, in any schedule."""

    async def nap(seconds: float) -> str:
        await asyncio.sleep(seconds)
        return f"{seconds}"

    async def scenario() -> tuple[list[str], float]:
        model = ScriptedModel([ToolUse("nap", {"seconds": seconds}) for seconds in (5, 1, 3)], "done")
        async with MiniAgents():
            replies = await model.agent.inquire("?", tools=[nap])
        assert [text for _, text, _ in model.results] == ["5.0", "1.0", "3.0"]
        return [str(reply) for reply in replies[3:6]], asyncio.get_running_loop().time()

    for texts, seconds in explore(scenario, range(20)):
        assert (texts, seconds) == (["5.0", "1.0", "3.0"], 5.0)


def test_a_result_streams() -> None:
    """A reader has each piece of a result when the tool has given it, long before the result is complete."""

    async def count() -> AsyncIterator[int]:
        for number in range(3):
            await asyncio.sleep(1)
            yield number

    async def scenario() -> list[tuple[str, float]]:
        seen = []
        async with MiniAgents():
            async for promise in ScriptedModel(ToolUse("count"), "done").agent.inquire("?", tools=[count]):
                if issubclass(promise.message_class, ToolResultMessage):
                    assert promise.preliminary_metadata["tool"] == "count"
                    async for piece in promise:
                        seen.append((piece, asyncio.get_running_loop().time()))
        return seen

    assert run_virtual(scenario) == [("0", 1.0), ("1", 2.0), ("2", 3.0)]


def test_lazy_contexts_and_readers_that_wait_do_not_hold_up_tools() -> None:
    """Where everything is lazy and held back, the calls of an answer run at once all the same."""

    async def count() -> AsyncIterator[str]:
        for number in range(20):
            await asyncio.sleep(1)
            yield str(number)

    async def scenario() -> tuple[str, float]:
        model = ScriptedModel([ToolUse("count"), ToolUse("count")], "done")
        async with MiniAgents(start_everything_asap_by_default=False, max_ahead_by_default=1):
            answer = str((await model.agent.inquire("?", tools=[count]))[-1])
        return answer, asyncio.get_running_loop().time()

    assert run_virtual(scenario) == ("done", 20.0)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ('{"number": ', "not JSON"),
        ("[1]", "must be a JSON object"),
        ('{"number": NaN}', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("{}", "number: Field required"),
        ('{"number": "many"}', "number: Input should be a valid integer"),
        ('{"number": 1, "base": 2}', "base: Extra inputs are not permitted"),
    ],
    ids=lambda value: value[:20],
)
async def test_wrong_arguments_go_back_to_the_model(arguments: str, complaint: str) -> None:
    """Arguments that are not as the tool wants them are an error that the model can read, and the tool is not run."""
    called = []

    def double(number: int) -> None:
        called.append(number)

    model = ScriptedModel(ToolUse("double", arguments), "I see.")
    async with MiniAgents():
        replies = await model.agent.inquire("?", tools=[double])
    ((name, text, is_error),) = model.results
    assert (name, is_error, called) == ("double", True, [])
    assert complaint in text
    assert str(replies[-1]) == "I see."


async def test_an_unknown_tool_is_an_error_with_the_names_there_are() -> None:
    """A call of a tool that there is not is told the model, with the names of those that there are."""
    model = ScriptedModel(ToolUse("triple", {"number": 3}), "I see.")
    async with MiniAgents():
        await model.agent.inquire("?", tools=[double, tool(double, name="twice")])
    assert model.results == [("triple", "There is no tool named 'triple'. The tools are: double, twice.", True)]


async def test_what_a_tool_raises_can_be_found_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """The traceback of a tool's error is in the log, at the level `INFO`; what it tells the model on purpose is not."""

    def broken() -> None:
        raise KeyError("k")

    def polite() -> None:
        raise ToolError("no")

    caplog.set_level(logging.INFO, "miniagents")
    async with MiniAgents():
        await ScriptedModel([ToolUse("broken"), ToolUse("polite")], "done").agent.inquire("?", tools=[broken, polite])
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (
        logging.WARNING,
        "The tool broken has failed, and the model is told so.",
    )
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], KeyError)


async def test_what_a_tool_raises_is_a_result() -> None:
    """An exception of a tool is told the model behind what was said before; a `ToolError` in its own words."""

    async def half() -> AsyncIterator[str]:
        yield "some"
        raise ValueError("no more")

    def plain() -> None:
        raise KeyError("k")

    def polite() -> None:
        raise ToolError("There is no such city.")

    def odd() -> object:
        return object()

    def stop() -> None:
        raise StopIteration(3)

    tools = [half, plain, polite, odd, stop]
    model = ScriptedModel([ToolUse(tool.__name__) for tool in tools], "I see.")
    async with MiniAgents():
        replies = await model.agent.inquire("?", tools=tools)
    assert [is_error for _, _, is_error in model.results] == [True] * 5
    texts = {name: text for name, text, _ in model.results}
    assert texts["half"] == "some\n\nValueError: no more"
    assert texts["plain"] == "KeyError: 'k'"
    assert texts["polite"] == "There is no such city."
    assert "Unable to serialize" in texts["odd"]
    assert "StopIteration" in texts["stop"]
    assert str(replies[-1]) == "I see."


@pytest.mark.parametrize("in_thread", [False, True])
def test_an_interrupt_in_a_tool_is_none_of_the_models_business(in_thread: bool) -> None:
    """`KeyboardInterrupt` in a tool leaves the program, and the model is not asked again."""

    def blocking() -> None:
        raise KeyboardInterrupt

    async def waiting() -> None:
        raise KeyboardInterrupt

    model = ScriptedModel(ToolUse("it"), "never said")
    function = blocking if in_thread else waiting
    with pytest.raises(KeyboardInterrupt):
        MiniAgents().run(model.agent.inquire("?", tools=[tool(function, name="it")]))
    assert len(model.prompts) == 1


def test_an_interrupt_in_a_tool_is_not_lost_where_nobody_reads() -> None:
    """`KeyboardInterrupt` in a tool leaves the program also if nobody reads the reply."""

    async def interrupted() -> None:
        raise KeyboardInterrupt

    async def main() -> None:
        ScriptedModel(ToolUse("interrupted"), "never said").agent.inquire("?", tools=[interrupted])

    with pytest.raises(KeyboardInterrupt):
        MiniAgents().run(main())


async def test_the_end_of_the_dialog_passes_a_tool() -> None:
    """A user whom a tool asks, and who ends the dialog, ends it."""

    async def ask() -> None:
        raise EndOfDialog

    model = ScriptedModel(ToolUse("ask"), "never said")
    async with MiniAgents():
        with pytest.raises(EndOfDialog):
            await model.agent.inquire("?", tools=[ask])
    assert len(model.prompts) == 1


async def test_a_result_that_somebody_stops_ends_the_reply() -> None:
    """A result that is cancelled ends in its cancellation for all readers, and the model is not asked again."""
    started = asyncio.Event()

    async def for_ever() -> None:
        started.set()
        await asyncio.Event().wait()

    model = ScriptedModel(ToolUse("for_ever"), "never said")
    async with MiniAgents():
        replies = model.agent.inquire("?", tools=[for_ever])
        await started.wait()
        promises = aiter(replies)
        await anext(promises)
        (await anext(promises)).cancel("enough")
        settled = await replies.settled()
    assert [type(one) for one in settled] == [ToolCallMessage, PromiseCancelledError]
    assert len(model.prompts) == 1


async def test_functions_that_block_run_in_threads_with_the_context_variables() -> None:
    """A function that is not async runs in a thread, at the same time as the others, and sees the context variables."""
    barrier = threading.Barrier(2)
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

    def meet(name: str) -> str:
        barrier.wait()  # for ever, if the calls came one after the other
        return f"{name} {variable.get()}"

    variable.set("seen")
    model = ScriptedModel([ToolUse("meet", {"name": "Ada"}), ToolUse("meet", {"name": "Alan"})], "done")
    async with MiniAgents():
        await model.agent.inquire("?", tools=[meet])
    assert [text for _, text, _ in model.results] == ["Ada seen", "Alan seen"]


def test_functions_that_block_work_in_virtual_time() -> None:
    """In an event loop that knows no threads, a function that is not async runs in the loop."""

    def where() -> str:
        return threading.current_thread().name

    async def scenario() -> str:
        model = ScriptedModel(ToolUse("where"), "done")
        async with MiniAgents():
            await model.agent.inquire("?", tools=[where])
        return model.results[0][1]

    assert run_virtual(scenario) == threading.current_thread().name


async def test_a_limited_number_of_calls_runs_at_a_time() -> None:
    """However many calls a model writes, no more than 64 of them run at a time, and all run."""
    running = most = 0

    async def work() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    model = ScriptedModel([ToolUse("work")] * 200, "done")
    async with MiniAgents():
        await model.agent.inquire("?", tools=[work])
    assert (most, len(model.results)) == (64, 200)


# ---------------------------------------------------------------------- limits


async def test_the_number_of_turns_is_limited() -> None:
    """After `max_turns` answers no tool is run: the calls get results that say so, and the reply ends in its error."""
    called = []

    async def more() -> None:
        called.append(True)

    model = ScriptedModel([ToolUse("more"), ToolUse("more")])
    async with MiniAgents():
        replies = model.agent.inquire("?", tools=[more], max_turns=3)
        settled = await replies.settled()
    *said, error = settled
    assert isinstance(error, LLMTurnLimitError)
    assert (len(model.prompts), len(called)) == (3, 4)
    assert [type(message) for message in said] == [
        ToolCallMessage,
        ToolCallMessage,
        ToolResultMessage,
        ToolResultMessage,
    ] * 3
    assert [message.is_error for message in said[-2:]] == [True, True]
    check_history(Prompt.of(said))


async def test_without_a_limit_a_model_may_go_on() -> None:
    """With `max_turns=None` a model may call tools as often as it wants, and by default twenty times."""
    answers = [ToolUse("double", {"number": 1})] * 30
    async with MiniAgents():
        assert str((await ScriptedModel(*answers, "x").agent.inquire("?", tools=[double], max_turns=None))[-1]) == "x"
        model = ScriptedModel(*answers, "x")
        with pytest.raises(LLMTurnLimitError):
            await model.agent.inquire("?", tools=[double])
    assert len(model.prompts) == 20


@pytest.mark.parametrize("turns", [0, -1, 1.5, True, "3"])
async def test_a_number_of_turns_that_is_none_is_refused(turns: Any) -> None:
    """`max_turns` is a whole number from 1, or the error says so before anything is sent."""
    model = ScriptedModel("never said")
    async with MiniAgents():
        with pytest.raises(LLMParameterError, match="max_turns"):
            await model.agent.inquire("?", max_turns=turns)
    assert model.prompts == []


async def test_an_answer_that_breaks_off_runs_nothing() -> None:
    """The calls of an answer that is not complete are not run, and what was said stays."""
    called = []

    async def work() -> None:
        called.append(True)

    model = ScriptedModel(["Well,", ToolUse("work"), LLMConnectionError("gone")])
    async with MiniAgents():
        said, *_, error = await model.agent.inquire("?", tools=[work]).settled()
    assert (str(said), type(error), called) == ("Well,", LLMConnectionError, [])


# ---------------------------------------------------------------------- agents as tools, cancellation


def test_an_agent_as_a_tool_streams_to_the_outer_reader() -> None:
    """What an agent says as a tool reaches the outer reader while it says it, and becomes the tool's result."""

    @miniagent
    async def searcher(ctx) -> None:
        """Searches."""

        async def tokens(_: dict[str, Any]) -> AsyncIterator[str]:
            for token in ("about ", str(await ctx.message_promises)[2:6]):
                await asyncio.sleep(1)
                yield token

        ctx.reply([Message.promise(tokens), "found"])

    async def scenario() -> tuple[list[tuple[str, float]], str]:
        seen = []
        model = ScriptedModel(ToolUse("searcher", {"message": "cats"}), "done")
        async with MiniAgents():
            async for promise in model.agent.inquire("?", tools=[searcher]):
                if issubclass(promise.message_class, ToolResultMessage):
                    seen = [(piece, asyncio.get_running_loop().time()) async for piece in promise]
        return seen, model.results[0][1]

    seen, result = run_virtual(scenario)
    assert seen[0] == ("about ", 1.0)
    assert [time for _, time in seen] == sorted(time for _, time in seen)
    assert result == "".join(piece for piece, _ in seen)
    assert result.endswith("\n\nfound")


async def test_of_an_llm_agent_only_the_answer_is_the_result() -> None:
    """Of an LLM agent as a tool the answers count, and not the calls and results on its way there."""
    inner = ScriptedModel(["Hm.", ToolUse("double", {"number": 2})], "It is 4.")
    outer = ScriptedModel(ToolUse("expert", {"message": "2*2?"}), "done")
    async with MiniAgents():
        expert = inner.agent.fork(alias="EXPERT", tools=[double])
        await outer.agent.inquire("?", tools=[expert])
    assert outer.results == [("expert", "Hm.\n\nIt is 4.", False)]
    assert inner.prompts[0].turns[0].text == "2*2?"


async def test_the_error_of_an_agent_is_the_tools() -> None:
    """What an agent raises as a tool is told the model, and the outer reply goes on."""

    @miniagent
    async def clumsy(ctx) -> None:
        ctx.reply("so far")
        raise ValueError("oops")

    model = ScriptedModel(ToolUse("clumsy", {"message": "x"}), "I see.")
    async with MiniAgents():
        replies = await model.agent.inquire("?", tools=[clumsy])
    assert model.results == [("clumsy", "so far\n\nValueError: oops", True)]
    assert str(replies[-1]) == "I see."


def for_ever_tools(ended: list[str]) -> list[Any]:
    async def for_ever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("function")

    @miniagent
    async def inner(ctx) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("agent")

    @miniagent
    async def sleeper(ctx) -> None:
        ctx.reply(inner.inquire())

    return [for_ever, sleeper]


@pytest.mark.parametrize("how", ["cancel", "deadline"])
def test_tools_end_with_the_reply(how: str) -> None:
    """Cancelling the reply, and its deadline, end the tools and agents below it, and leave a history that is valid."""

    async def scenario() -> None:
        ended: list[str] = []
        model = ScriptedModel([ToolUse("for_ever"), ToolUse("sleeper", {"message": "x"})], "never said")
        async with MiniAgents():
            replies = model.agent.inquire("?", timeout=9 if how == "deadline" else None, tools=for_ever_tools(ended))
            await asyncio.sleep(5)
            if how == "cancel":
                replies.cancel("enough")
            settled = await replies.settled()
            await asyncio.sleep(10)
            assert sorted(ended) == ["agent", "function"]
        errors = [one for one in settled if isinstance(one, BaseException)]
        assert errors
        assert {type(one) for one in errors} == {DeadlineExceededError if how == "deadline" else PromiseCancelledError}
        said = [one for one in settled if isinstance(one, Message)]
        assert [type(one) for one in said] == [ToolCallMessage, ToolCallMessage]
        check_history(Prompt.of([Message("?"), *said, Message("Go on.")]))
        assert len(model.prompts) == 1

    explore(scenario, range(10))


def test_a_reader_that_leaves_changes_nothing() -> None:
    """A reader that breaks off in the midst of a result leaves the tool and the other readers alone."""

    async def count() -> AsyncIterator[str]:
        for number in range(5):
            await asyncio.sleep(1)
            yield str(number)

    async def scenario() -> str:
        model = ScriptedModel(ToolUse("count"), "done")
        async with MiniAgents():
            replies = model.agent.inquire("?", tools=[count])
            async for promise in replies:
                async for _ in promise:
                    break
                break
            await asyncio.wait_for(asyncio.sleep(1), 2)
            *_, result, answer = await replies
            assert str(answer) == "done"
        return str(result)

    assert run_virtual(scenario) == "01234"


async def _broken(_: Any) -> AsyncIterator[str]:
    yield "half"
    raise ValueError("boom")


@pytest.mark.parametrize("errors_as_messages", [False, True])
@pytest.mark.parametrize("what", ["whole", "streamed", "nothing"])
async def test_an_agent_that_fails_is_a_tool_that_fails(what: str, errors_as_messages: bool) -> None:
    """The result has what was said and the error, and is marked as an error, also where errors are messages."""

    @miniagent
    async def helper(ctx) -> None:
        if what == "streamed":
            ctx.reply(Message.promise(_broken))
            return
        if what == "whole":
            ctx.reply("half")
        raise ValueError("boom")

    async def ask_helper() -> Any:
        replies = helper.inquire("?")
        return await anext(aiter(replies)) if what == "streamed" else replies

    model = ScriptedModel([ToolUse("helper", {"message": "?"}), ToolUse("ask_helper")], "done")
    async with MiniAgents(errors_as_messages=errors_as_messages):
        *_, answer = await model.agent.inquire("?", tools=[helper, ask_helper])
    assert str(answer) == "done"
    text = "ValueError: boom" if what == "nothing" else "half\n\nValueError: boom"
    assert model.results == [("helper", text, True), ("ask_helper", text, True)]


async def test_a_call_for_the_caller_ends_the_reply_beside_others_too() -> None:
    """Where one of several calls is for whoever has asked, the others run, and the model is not asked again."""
    theirs = {"type": "function", "function": {"name": "theirs"}}
    model = ScriptedModel([ToolUse("double", {"number": 4}), ToolUse("theirs", {})], "not asked for")
    async with MiniAgents():
        ours, foreign, result = await model.agent.inquire("?", tools=[double, theirs])
    assert (ours["tool"], foreign["tool"], str(result)) == ("double", "theirs", "8")
    assert len(model.prompts) == 1


@pytest.mark.parametrize("given", [iter([double]), (one for one in [double])], ids=["iterator", "generator"])
async def test_tools_that_can_be_read_only_once_are_refused(given: Any) -> None:
    """They would be gone at the second call of a fork, so the first one says that a list is wanted."""
    agent = ScriptedModel("Fine.").agent.fork(tools=given)
    async with MiniAgents():
        for _ in range(2):
            with pytest.raises(LLMParameterError, match="`tools` is a list of tools, not"):
                await agent.inquire("?")
