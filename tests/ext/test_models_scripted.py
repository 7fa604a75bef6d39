"""`scripted_agent`: what it says, and where it breaks."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniagents import Budget, BudgetExceededError, Message, MessagePromise, MiniAgents, miniagent
from miniagents.ext.llm.errors import LLMConnectionError, LLMTruncatedError
from miniagents.ext.models import ScriptExhaustedError, scripted_agent
from miniagents.promising.errors import PromiseCancelledError
from miniagents.testing import NothingCanMoveError, run_virtual

TEXT = "one two three four"


async def texts_of(*replies: Any) -> list[str]:
    return [str(message) for reply in replies for message in await reply]


async def said_and_error(reply: Any) -> tuple[list[str], BaseException | None]:
    """The tokens of a reply, and what broke it."""
    said: list[str] = []
    try:
        async for promise in reply:
            async for token in promise:
                said.append(token)
    except Exception as error:
        return said, error
    return said, None


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_text_comes_as_it_is(text: str) -> None:
    """Whatever the text, its tokens together are the text."""

    async def scenario() -> str:
        async with MiniAgents():
            promise = await anext(aiter(scripted_agent.inquire(script=text)))
            return "".join([token async for token in promise])

    assert run_virtual(scenario) == text


async def test_a_text_is_said_in_every_call() -> None:
    """A script that is a text never runs out."""
    async with MiniAgents():
        assert await texts_of(*(scripted_agent.inquire(script="again") for _ in range(3))) == ["again"] * 3


async def test_a_list_has_a_reply_for_each_call() -> None:
    """The replies of a list are given in the order of the calls."""
    model = scripted_agent.fork(script=["first", "second"])
    async with MiniAgents():
        assert await texts_of(model.inquire(), model.inquire()) == ["first", "second"]


async def test_a_list_that_is_given_to_each_call_goes_on_as_well() -> None:
    """Calls with equal lists are calls of one script."""
    async with MiniAgents():
        calls = [scripted_agent.inquire(script=["first", "second"]) for _ in range(2)]
        assert await texts_of(*calls) == ["first", "second"]


async def test_forks_do_not_share_their_place_in_a_list() -> None:
    """Each fork starts its own list, also when it is equal to another one's."""
    one, other = (scripted_agent.fork(script=["first", "second"]) for _ in range(2))
    async with MiniAgents():
        assert await texts_of(one.inquire(), other.inquire()) == ["first", "first"]


async def test_a_list_starts_anew_in_each_run() -> None:
    """What one context has used up is there again in the next."""
    model = scripted_agent.fork(script=["only"])
    for _ in range(2):
        async with MiniAgents():
            assert await texts_of(model.inquire()) == ["only"]


async def test_a_nested_context_goes_on_with_the_list() -> None:
    """A context inside another one is part of the same run."""
    model = scripted_agent.fork(script=["first", "second"])
    async with MiniAgents():
        await model.inquire()
        async with MiniAgents():
            assert await texts_of(model.inquire()) == ["second"]


async def test_a_list_that_runs_out_says_so() -> None:
    """The call behind the last reply is an error that names the agent, the script's length and what to do."""
    model = scripted_agent.fork(script=["only"], alias="WRITER")
    async with MiniAgents():
        await model.inquire()
        with pytest.raises(ScriptExhaustedError, match=r"of WRITER has 1 reply, .* number 2\..* a text"):
            await model.inquire()


async def test_tokens_can_be_given() -> None:
    """A reply that is a list is the tokens of a text, as they are."""
    async with MiniAgents():
        assert await said_and_error(scripted_agent.inquire(script=[["Wi", "n", "ter"]])) == (["Wi", "n", "ter"], None)


async def test_a_reply_can_be_an_error() -> None:
    """An exception in the place of a reply is raised by that call, and by no other one."""
    problem = ValueError("today not")
    model = scripted_agent.fork(script=["first", problem, "third"])
    async with MiniAgents():
        outcomes = [await model.inquire().settled() for _ in range(3)]
    assert [str(outcome) for (outcome,) in outcomes] == ["first", "today not", "third"]
    assert outcomes[1] == (problem,)


@pytest.mark.parametrize("is_async", [False, True], ids=["function", "async function"])
async def test_a_function_is_given_the_messages(is_async: bool) -> None:
    """A function, async or not, is called with all messages, the system prompt first, and returns the reply."""

    def describe(messages: tuple[Message, ...]) -> str:
        return "; ".join(f"{message.get('role')}: {message}" for message in messages)

    async def describe_later(messages: tuple[Message, ...]) -> str:
        await asyncio.sleep(0)
        return describe(messages)

    script = describe_later if is_async else describe
    async with MiniAgents():
        replies = scripted_agent.inquire([Message("Hi", role="user"), "you"], script=script, system="Be kind.")
        assert await texts_of(replies) == ["system: Be kind.; user: Hi; None: you"]


async def test_an_error_of_the_function_is_the_error_of_the_reply() -> None:
    """What a script function raises is raised where the reply is read."""
    async with MiniAgents():
        with pytest.raises(ZeroDivisionError):
            await scripted_agent.inquire(script=lambda messages: str(1 // len(messages)))


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        (7, "`script` is a text, a list of replies or a function, not int"),
        ([7], "gave a int; a reply is a text, a list of tokens or an exception"),
        (lambda _: None, "gave a NoneType; a reply is a text"),
        ([["a", 7]], "7"),
    ],
    ids=["script", "reply", "result", "token"],
)
async def test_what_is_no_script_is_refused(script: Any, problem: str) -> None:
    """A script, a reply or a token of the wrong kind is a `TypeError` that says what it should be."""
    async with MiniAgents():
        with pytest.raises(TypeError, match=problem):
            await scripted_agent.inquire(script=script)


async def test_an_answer_breaks_off() -> None:
    """After `fail_after_tokens` the connection breaks; what came before is said, and carried by the error."""
    async with MiniAgents():
        said, error = await said_and_error(scripted_agent.inquire(script=TEXT, fail_after_tokens=2))
    assert said == ["one", " two"]
    assert isinstance(error, LLMConnectionError)
    assert error.partial_text == "one two"


@pytest.mark.parametrize("tokens", [4, 100])
async def test_an_answer_can_break_at_its_end(tokens: int) -> None:
    """An answer that is shorter than `fail_after_tokens` breaks when all of it was said."""
    async with MiniAgents():
        said, error = await said_and_error(scripted_agent.inquire(script=TEXT, fail_after_tokens=tokens))
    assert "".join(said) == TEXT
    assert isinstance(error, LLMConnectionError)


@pytest.mark.parametrize("error", [LLMTruncatedError, KeyError, OSError("no route")], ids=repr)
async def test_the_error_can_be_chosen(error: Any) -> None:
    """`error` is the class of the error, or the error itself."""
    async with MiniAgents():
        _, raised = await said_and_error(scripted_agent.inquire(script=TEXT, fail_after_tokens=0, error=error))
    assert raised is error if isinstance(error, Exception) else type(raised) is error


def test_an_answer_can_stall() -> None:
    """After `stall_after_tokens` nothing comes any more: a reader without a time-out waits for ever."""
    said: list[str] = []

    async def scenario() -> None:
        async with MiniAgents():
            async for token in await anext(aiter(scripted_agent.inquire(script=TEXT, stall_after_tokens=3))):
                said.append(token)

    with pytest.raises(NothingCanMoveError):
        run_virtual(scenario)
    assert said == ["one", " two", " three"]


def test_a_stalled_answer_ends_with_its_context() -> None:
    """A context that is left by an error cancels a model that has stalled, and its readers get an end."""

    stalled: list[MessagePromise] = []

    async def read() -> None:
        async with MiniAgents():
            stalled.append(await anext(aiter(scripted_agent.inquire(script=TEXT, stall_after_tokens=1))))
            await stalled[0]

    async def scenario() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(read(), 60)
        with pytest.raises(PromiseCancelledError):
            await stalled[0]

    run_virtual(scenario)


async def broken_calls(calls: int, **arguments: Any) -> list[int]:
    """Which of so many calls broke."""
    model = scripted_agent.fork(script=TEXT, **arguments)
    async with MiniAgents():
        outcomes = [await said_and_error(model.inquire()) for _ in range(calls)]
    return [number for number, (_, error) in enumerate(outcomes) if error is not None]


async def test_a_part_of_the_calls_breaks() -> None:
    """With `fault_rate` about that part of the calls breaks, and the seed decides which."""
    first, again, other = [await broken_calls(200, fault_rate=0.25, seed=seed) for seed in (1, 1, 2)]
    assert first == again != other
    assert 20 < len(first) < 80


async def test_all_or_no_calls_break() -> None:
    """A rate of 1 breaks each call, and a rate of 0 none."""
    assert await broken_calls(20, fault_rate=1) == list(range(20))
    assert await broken_calls(20, fault_rate=0, fail_after_tokens=1) == []


async def test_the_place_is_drawn_where_none_is_named() -> None:
    """Without `fail_after_tokens` the seed decides where a call breaks: at its start, at its end, or between."""
    model = scripted_agent.fork(script=TEXT, fault_rate=1)
    async with MiniAgents():
        places = {len((await said_and_error(model.inquire()))[0]) for _ in range(60)}
    assert places == {0, 1, 2, 3, 4}


@pytest.mark.parametrize(
    "wrong", [{"fail_after_tokens": -1}, {"stall_after_tokens": 0.5}, {"fault_rate": 1.5}], ids=str
)
async def test_an_impossible_fault_is_refused(wrong: dict[str, Any]) -> None:
    """A fault that cannot be is a `ValueError` that names the argument."""
    async with MiniAgents():
        with pytest.raises(ValueError, match=f"`{next(iter(wrong))}`"):
            await scripted_agent.inquire(script=TEXT, **wrong)


async def test_an_error_that_is_raised_often_does_not_grow() -> None:
    """One exception that breaks many calls has the traceback of one."""
    problem = ValueError("again")
    model = scripted_agent.fork(script=lambda _: problem)

    def length() -> int:
        frames, traceback = 0, problem.__traceback__
        while traceback is not None:
            frames, traceback = frames + 1, traceback.tb_next
        return frames

    lengths: set[int] = set()
    async with MiniAgents():
        for _ in range(3):
            await said_and_error(model.inquire())
            lengths.add(length())
    assert len(lengths) == 1


async def test_offline_models_count_like_real_ones() -> None:
    """Usage and budgets can be tried without a model: each call and its tokens are recorded."""
    async with MiniAgents():
        replies = scripted_agent.inquire("two words", script="one two three")
        await replies
        usage = replies.usage()
        assert (usage.calls, usage.input_tokens, usage.output_tokens, usage.cost) == (1, 2, 3, 0)

        @miniagent
        async def insatiable(ctx) -> None:
            while True:
                ctx.reply(await scripted_agent.inquire("more", script="here"))

        *said, error = await insatiable.inquire(budget=Budget(calls=2)).settled()
    assert [str(message) for message in said] == ["here", "here"]
    assert isinstance(error, BudgetExceededError)
