"""`best_of` and `map_agents`: many calls, one answer or all of them."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniagents import ErrorMessage, InteractionContext, Message, MiniAgents, best_of, map_agents, miniagent
from miniagents.messages import MessageSequence
from miniagents.testing import run_virtual, scripted_agent
from miniagents.utils import AllFailedError, JudgeError, JudgeRequest
from support.actors import CONTEXTS, Stage, heard, now, play

BUSY = ConnectionError("busy")
BROKEN = ValueError("broken")

every_context = pytest.mark.parametrize("options", CONTEXTS.values(), ids=CONTEXTS)
any_order = pytest.mark.parametrize("seed", range(10))


def numbered(answers: list[Any]) -> Any:
    """An agent whose first call gives the first answer, and so on; an exception is raised behind the word `half`."""
    left = list(answers)

    @miniagent
    async def answering(ctx: InteractionContext) -> None:
        answer = left.pop(0)
        if isinstance(answer, BaseException):
            ctx.reply("half")
            raise answer
        ctx.reply(answer)

    return answering


def longest(request: JudgeRequest) -> int:
    lengths = [sum(len(str(message)) for message in messages) for messages in request.candidates]
    return lengths.index(max(lengths))


async def longest_found_slowly(request: JudgeRequest) -> int:
    await asyncio.sleep(5)
    return longest(request)


def longest_in_text(messages: tuple[Message, ...]) -> str:
    """What a model would say that has read the text."""
    answers = json.loads(str(messages[0]).partition("\n\n")[2])["answers"]
    return str(answers.index(max(answers, key=len)))


@miniagent
async def longest_answer(ctx: InteractionContext) -> None:
    """A judge that is no model: it looks at the messages and not at the text."""
    (request,) = await ctx.message_promises
    assert isinstance(request, JudgeRequest)
    ctx.reply("I have thought about it.")
    ctx.reply(f" {longest(request)}\n")


@every_context
@any_order
@pytest.mark.parametrize(
    "judge", [longest, longest_found_slowly, longest_answer, scripted_agent.fork(script=longest_in_text)]
)
def test_the_judge_chooses(judge: Any, options: Any, seed: int) -> None:
    """The reply is the answer that a callable, async or not, or an agent has chosen by its index, with all its messages."""
    agent = best_of(2, numbered(["one", ["two ", "and more"]]), judge)
    assert [str(message) for message in play(lambda: agent.inquire("?"), seed, **options)] == ["two ", "and more"]


@every_context
@any_order
def test_the_answers_are_made_at_once(options: Any, seed: int) -> None:
    """All calls run at the same time, and the reply comes when the last answer is there and chosen."""
    stage = Stage()
    agent = best_of(3, stage.actor("A", "a1", "a2", begins=[1, 7, 3]), longest_found_slowly)
    assert play(lambda: heard(agent.inquire()), seed, **options) == [(13, "a1"), (13, "a2")]
    assert stage.asked == {"A": [0, 0, 0]}


@pytest.mark.parametrize(
    ("verdict", "shown"),
    [(2, "2"), (-1, "-1"), (True, "True"), (None, "None"), ("1", "'1'"), (1.0, "1.0")]
    + [([text], repr(text)) for text in ("2", "-1", "", "1.", "the second", "1 or 0", "\u0661", "+1", "1\n0", "0" * 7)],
)
def test_a_judge_that_names_no_answer_is_an_error(verdict: Any, shown: str) -> None:
    """What is no index of an answer is a `JudgeError` that shows it, and has the answers that were paid for."""
    judge = scripted_agent.fork(script=verdict) if isinstance(verdict, list) else lambda request: verdict
    ((_, error),) = play(lambda: heard(best_of(2, numbered(["one", "two"]), judge).inquire()))
    assert isinstance(error, JudgeError)
    assert "0 to 1" in str(error)
    assert shown in str(error)
    assert {str(message) for messages in error.candidates for message in messages} == {"one", "two"}


def test_what_a_judge_says_is_shown_shortened() -> None:
    """A judge that explains itself at length does not fill the error with that."""
    ((_, error),) = play(
        lambda: heard(best_of(2, numbered(["1", "2"]), scripted_agent.fork(script="so " * 9999)).inquire())
    )
    assert isinstance(error, JudgeError)
    assert len(str(error)) < 500


def test_the_rest_of_an_answer_that_fails_is_cancelled() -> None:
    """What an agent still does whose answer has failed is cancelled when that is left out."""
    stage = Stage()
    agents = [stage.actor("A", error=BUSY, works_on=99), stage.actor("B", "b")]

    @miniagent
    async def either(ctx: InteractionContext) -> None:
        ctx.reply(agents.pop().inquire())

    assert len(play(lambda: best_of(2, either, longest).inquire())) == 1
    assert stage.ended["A at work"] == ["cancelled"]


@pytest.mark.parametrize("agent_as_judge", [False, True])
def test_the_error_of_a_judge_is_the_error_of_the_reply(agent_as_judge: bool) -> None:
    """A judge that fails makes the reply fail with the same error, and nothing that it has said is part of the reply."""

    def failing(request: JudgeRequest) -> int:
        raise BROKEN

    judge = Stage().actor("J", "0", error=BROKEN) if agent_as_judge else failing
    found = play(lambda: heard(best_of(2, numbered(["one", "two"]), judge).inquire()))
    assert [what for _, what in found] == [BROKEN]
    agent = best_of(2, numbered(["one", "two"]), judge)
    (message,) = play(lambda: agent.inquire(), errors_as_messages=True)
    assert isinstance(message, ErrorMessage)
    assert message.error_type == "ValueError"


@pytest.mark.parametrize("options", [{}, {"errors_as_messages": True}], ids=["raised", "as messages"])
def test_answers_that_fail_are_left_out(options: Any) -> None:
    """The judge sees complete answers only; if one is left nobody is asked, and if none is, all errors are the reply."""
    seen: list[list[str]] = []

    def judge(request: JudgeRequest) -> int:
        seen.append([str(message) for messages in request.candidates for message in messages])
        return seen[-1].index("two")

    two_left = best_of(4, numbered([BUSY, "one", BROKEN, "two"]), judge)
    assert [str(message) for message in play(lambda: two_left.inquire(), **options)] == ["two"]
    assert [sorted(texts) for texts in seen] == [["one", "two"]]
    one_left = best_of(3, numbered([BUSY, "one", BROKEN]), judge)
    assert [str(message) for message in play(lambda: one_left.inquire(), **options)] == ["one"]
    assert len(seen) == 1
    (outcome,) = play(lambda: best_of(2, numbered([BUSY, BROKEN]), judge).inquire().settled(), **options)
    if isinstance(outcome, ErrorMessage):
        assert outcome.error_type == "AllFailedError"
    else:
        assert isinstance(outcome, AllFailedError)
        assert outcome.exceptions == (BUSY, BROKEN)


@pytest.mark.parametrize("ends", [KeyboardInterrupt(), SystemExit(3)], ids=lambda error: type(error).__name__)
def test_what_ends_programs_is_no_failed_answer(ends: BaseException) -> None:
    """What ends programs reaches the reader of the reply, whatever the other answers are."""
    found = play(lambda: heard(best_of(2, numbered(["one", ends]), lambda request: 0).inquire()))
    assert [what for _, what in found] == [ends]


@given(asked=st.lists(st.text(max_size=20), max_size=3), answers=st.lists(st.text(max_size=20), min_size=2, max_size=4))
def test_no_answer_can_pass_for_another_one(asked: list[str], answers: list[str]) -> None:
    """What a judge reads is JSON with exactly what was asked and the answers, whatever stands in them."""
    requests: list[str] = []

    def read(messages: tuple[Message, ...]) -> str:
        requests.append(str(messages[0]))
        return "0"

    play(lambda: best_of(len(answers), numbered(answers), scripted_agent.fork(script=read)).inquire(asked))
    _, _, data = requests[0].partition("\n\n")
    read_from_it = json.loads(data)
    assert read_from_it["asked"] == asked
    assert sorted(read_from_it["answers"]) == sorted(answers)  # which call is the first to be run is open


# ---------------------------------------------------------------------- map_agents


@miniagent
async def repeating(ctx: InteractionContext, times: int = 1) -> None:
    """Replies with what it is sent, one second for each word."""
    said = " ".join([str(message) for message in await ctx.message_promises])
    await asyncio.sleep(len(said.split()))
    ctx.reply([said] * times)


@every_context
@any_order
@pytest.mark.parametrize("limit", [None, 1, 2, 9])
def test_the_replies_come_in_the_order_of_the_items(limit: int | None, options: Any, seed: int) -> None:
    """Each item is sent to a call of its own behind what was sent, all at once or so many at a time; order is kept."""
    agent = map_agents(repeating, ["a b c", "d", "e f"], max_concurrency=limit)

    async def scene() -> tuple[list[str], float]:
        return [str(message) for message in await agent.inquire("to", times=2)], now()

    said, took = play(scene, seed, **options)
    assert said == ["to a b c", "to a b c", "to d", "to d", "to e f", "to e f"]
    assert took == {None: 4, 1: 9, 2: 5, 9: 4}[limit]


@every_context
@any_order
def test_the_replies_come_as_they_are_there_if_that_is_wanted(options: Any, seed: int) -> None:
    """With `in_order=False` each message is delivered as soon as it begins."""
    agent = map_agents(repeating, ["a b c", "d", "e f"], in_order=False)
    assert play(lambda: heard(agent.inquire()), seed, **options) == [(1, "d"), (2, "e f"), (3, "a b c")]


@every_context
@any_order
def test_without_items_each_message_is_one_and_its_call_starts_when_it_begins(options: Any, seed: int) -> None:
    """The call for a message is made while that message, and what comes behind it, is still being written."""
    stage = Stage()
    began: list[float] = []

    @miniagent
    async def worker(ctx: InteractionContext) -> None:
        began.append(now())
        ctx.reply(ctx.message_promises)

    @miniagent
    async def planner(ctx: InteractionContext) -> None:
        for number in range(3):
            ctx.reply(Message.promise(number_tokens, start_asap=True, number=number))
            await asyncio.sleep(10)

    async def number_tokens(metadata: dict[str, Any]) -> Any:
        yield "first "
        await asyncio.sleep(5)
        yield "then"

    replies = play(lambda: map_agents(worker).inquire(planner.inquire()), seed, **options)
    assert [(str(message), message.number) for message in replies] == [("first then", number) for number in range(3)]
    assert began == [0, 10, 20]
    assert stage.asked == {}


@any_order
@pytest.mark.parametrize("in_order", [True, False])
def test_no_more_calls_than_the_limit_run_at_a_time(in_order: bool, seed: int) -> None:
    """At no moment do more than `max_concurrency` calls run, counted with the streams that they have begun."""
    running = 0
    most = 0

    async def tokens(metadata: dict[str, Any]) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(3):
            await asyncio.sleep(1)
            yield "."
        running -= 1

    @miniagent
    async def worker(ctx: InteractionContext) -> None:
        ctx.reply(Message.promise(tokens))

    agent = map_agents(worker, range_of_texts(7), max_concurrency=3, in_order=in_order)
    assert len(play(lambda: agent.inquire(), seed)) == 7
    assert (running, most) == (0, 3)


def range_of_texts(size: int) -> list[str]:
    return [str(number) for number in range(size)]


@pytest.mark.parametrize("as_messages", [False, True])
def test_many_items_do_not_hold_the_event_loop(as_messages: bool) -> None:
    """The calls for thousands of items are made in many steps, between which other tasks get their turns."""
    items = range_of_texts(2000)
    agent = map_agents(repeating) if as_messages else map_agents(repeating, items)
    steps: list[str] = []

    async def main() -> None:
        async with MiniAgents():
            assert len(await agent.inquire(items if as_messages else None)) == len(items)

    run_virtual(main, on_step=lambda number, task: steps.append(task.get_name()))
    assert steps.count(agent.alias) >= 20


@every_context
@pytest.mark.parametrize("limit", [None, 1])
def test_an_error_of_one_call_takes_nothing_from_the_others(limit: int | None, options: Any) -> None:
    """The error stands in its place among the replies, and the calls behind it are made all the same."""

    @miniagent
    async def picky(ctx: InteractionContext) -> None:
        if str((await ctx.message_promises)[-1]) == "bad":
            raise BROKEN
        ctx.reply(ctx.message_promises)

    agent = map_agents(picky, ["good", "bad", "better"], max_concurrency=limit)
    first, error, last = play(lambda: agent.inquire().settled(), **options)
    assert (str(first), error, str(last)) == ("good", BROKEN, "better")


def test_an_error_that_nobody_has_read_is_reported_under_a_limit_too(caplog: pytest.LogCaptureFixture) -> None:
    """That the calls are counted does not make their errors count as read."""

    async def scene() -> None:
        map_agents(Stage().actor("A", error=BROKEN), ["x"], max_concurrency=1).inquire()

    play(scene)
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [BROKEN]


def test_items_can_be_used_again_and_may_be_a_sequence() -> None:
    """Items from an iterator, async iterables among them, and a sequence of messages serve every call of the agent."""

    async def late() -> Any:
        yield "x"
        yield "y"

    async def scene() -> list[list[str]]:
        sequence = MessageSequence.turn_into_sequence_promise(["a", "b"])
        agents = [map_agents(repeating, iter(["one", late()])), map_agents(repeating, sequence)]
        return [[str(message) for message in await agent.inquire()] for agent in agents for _ in range(2)]

    assert play(scene) == [["one", "x y"], ["one", "x y"], ["a", "b"], ["a", "b"]]


@pytest.mark.parametrize(
    ("items", "complaint"),
    [
        ("text", "write \\[item"),
        ({"text": "x"}, "write \\[item"),
        (5, "write \\[item"),
        (Message("x"), "write \\[item"),
        ([5], "items\\[0\\]"),
        (["x", ["y", 5]], "items\\[1\\], messages\\[1\\]"),
    ],
)
def test_what_is_no_list_of_items_is_refused_at_once(items: Any, complaint: str) -> None:
    """What cannot be sent, and one text or message in place of a list of them, is a `TypeError` that says where."""
    with pytest.raises(TypeError, match=complaint):
        map_agents(repeating, items)


class Thought(Message):
    """No answer."""

    is_answer = False


def test_a_judge_reads_the_answers_and_no_thoughts() -> None:
    """The text of a request has what is said in each answer; its `candidates` have the thoughts as well."""
    seen: list[JudgeRequest] = []

    def judge(request: JudgeRequest) -> int:
        seen.append(request)
        return 1

    def answer(word: str) -> list[Message]:
        return [Thought("secret plan"), Message(f"{word} 1"), Thought("more of it"), Message(f"{word} 2")]

    poet = best_of(2, numbered([answer("one"), answer("two")]), judge)

    async def main() -> list[str]:
        async with MiniAgents():
            return [str(message) for message in await poet.inquire("?")]

    said = run_virtual(main)
    (request,) = seen
    assert said == [str(message) for message in request.candidates[1]]
    assert sorted(json.loads(str(request).partition("\n\n")[2])["answers"]) == ["one 1\n\none 2", "two 1\n\ntwo 2"]
    assert [len(messages) for messages in request.candidates] == [4, 4]


@pytest.mark.parametrize("as_items", [False, True])
def test_what_is_no_answer_is_no_item(as_items: bool) -> None:
    """Thoughts and the like in what was sent, or in a reply that is the items, are not worked on."""

    @miniagent
    async def planner(ctx: InteractionContext) -> None:
        ctx.reply([Thought("two will do"), "one", Thought("and"), "two"])

    @miniagent
    async def worker(ctx: InteractionContext) -> None:
        ctx.reply([f"{message} done" for message in await ctx.message_promises])

    async def main() -> list[str]:
        async with MiniAgents():
            plan = planner.inquire()
            replies = map_agents(worker, plan).inquire() if as_items else map_agents(worker).inquire(plan)
            return [str(message) for message in await replies]

    assert run_virtual(main) == ["one done", "two done"]
