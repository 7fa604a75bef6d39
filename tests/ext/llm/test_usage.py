"""What LLM agents spend is counted for all who have asked, and budgets hold for it."""

import asyncio
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from miniagents import Budget, BudgetExceededError, MiniAgents, miniagent
from miniagents.ext.llm.anthropic import anthropic_agent
from miniagents.ext.llm.errors import LLMConnectionError, LLMError, LLMRequestError
from miniagents.ext.llm.limits import Limits
from miniagents.ext.llm.openai import openai_agent
from miniagents.testing import run_virtual
from miniagents.testing.llm_server import Fault, LLMServer
from support.scripted_model import TellingModel

STREAMED = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])


@STREAMED
async def test_a_call_counts_what_its_answer_has_cost(way, stream: bool) -> None:
    """The usage of a call has its requests and tokens, by model too."""
    async with LLMServer(reply="one two three") as server, MiniAgents() as context:
        replies = way.agent(server).inquire("four words of question", stream=stream, model="m-1")
        await replies
        usage = replies.usage()
        assert (usage.calls, usage.input_tokens, usage.output_tokens) == (1, 4, 3)
        assert set(usage.by_model) == {"m-1"}
        assert context.usage() == usage


async def test_an_agent_counts_what_all_below_it_have_asked(way) -> None:
    """The total of a call has the requests of the agents that it has called."""
    async with LLMServer(reply="one two") as server, MiniAgents():
        model = way.agent(server)

        @miniagent
        async def both(ctx) -> None:
            ctx.reply([model.inquire("a"), model.inquire("b c")])

        replies = both.inquire()
        await replies
        usage = replies.usage()
    assert (usage.calls, usage.input_tokens, usage.output_tokens) == (2, 3, 4)


async def test_every_attempt_is_a_call() -> None:
    """A request that was sent again counts twice."""
    fault = Fault("status", status=503, retry_after=0.001, times=1)
    async with LLMServer(reply="one", fault=fault) as server, MiniAgents():
        replies = openai_agent.inquire("a", base_url=f"{server.url}/v1", api_key="key")
        await replies
        assert replies.usage().calls == len(server.requests) == 2


async def test_an_answer_that_breaks_off_has_cost_its_input() -> None:
    """What a provider tells of the input before it answers counts, also if the answer never ends."""
    async with LLMServer(reply=["one ", "two"], fault="cut") as server, MiniAgents():
        replies = anthropic_agent.inquire("three little words", base_url=server.url, api_key="key")
        with pytest.raises(LLMError):
            await replies
        assert replies.usage().input_tokens == 3


async def test_a_known_model_has_a_price() -> None:
    """The cost is that of the table of prices, in dollars."""
    async with LLMServer(reply="one two") as server, MiniAgents():
        replies = openai_agent.inquire("a", base_url=f"{server.url}/v1", api_key="key", model="gpt-4o")
        await replies
    cost = replies.usage().cost
    assert cost is not None
    assert Decimal(0) < cost < Decimal("0.001")
    assert replies.usage().unpriced_calls == 0


async def test_a_budget_of_calls_lets_no_more_be_sent(way) -> None:
    """Behind the last request that a budget allows nothing is sent, and the reply says why it ends."""
    async with LLMServer(reply="one") as server, MiniAgents():
        model = way.agent(server)

        @miniagent
        async def insatiable(ctx) -> None:
            while True:
                ctx.reply(await model.inquire("more"))

        replies = insatiable.inquire(budget=Budget(calls=2))
        *said, error = await replies.settled()
    assert [str(message) for message in said] == ["one", "one"]
    assert isinstance(error, BudgetExceededError)
    assert len(server.requests) == 2


async def test_a_budget_of_money_needs_a_price(way) -> None:
    """A model whose price is not known is not asked where money is limited, and the error says what to do."""
    async with LLMServer() as server, MiniAgents():
        replies = way.agent(server).inquire("a", model="nobody-knows", budget=Budget(cost=1))
        with pytest.raises(LLMRequestError, match="price of nobody-knows"):
            await replies
    assert server.requests == []


BROKEN = LLMConnectionError("It broke.")


def figures(**tokens: int) -> dict[str, Any]:
    return {"usage": tokens}


@pytest.mark.parametrize(
    ("events", "tokens", "unpriced_calls"),
    [
        (["y" * 20, {"finish_reason": "stop"}], (10, 5), 1),
        (["y" * 20, figures(input_tokens=0, output_tokens=0)], (10, 5), 1),
        (["y" * 20, BROKEN], (10, 5), 1),
        ([figures(input_tokens=7, output_tokens=1), "y" * 20, BROKEN], (7, 5), 1),
        ([figures(input_tokens=7, output_tokens=9), "y" * 20, BROKEN], (7, 9), 1),
        (["y" * 20, figures(input_tokens=7, output_tokens=2)], (7, 2), 1),
        ([BROKEN], (0, 0), 0),
    ],
    ids=["no figures", "zeros", "broken off", "broken off behind figures", "all told", "told", "not begun"],
)
async def test_what_was_not_told_is_estimated(events: list[Any], tokens: tuple[int, int], unpriced_calls: int) -> None:
    """An answer without figures, or behind them, counts a token for each four characters, as a call without a price."""
    async with MiniAgents():
        replies = TellingModel(events).agent.inquire("x" * 40, max_retries=0)
        await replies.settled()
        usage = replies.usage()
    assert (usage.calls, usage.input_tokens, usage.output_tokens) == (1, *tokens)
    assert (usage.cost, usage.unpriced_calls) == (0, unpriced_calls)


async def test_an_answer_that_broke_off_has_a_known_and_an_unknown_part() -> None:
    """The cost is that of the figures that were told; the call is also one whose cost is not known."""
    async with LLMServer(reply=["word " * 40, "two"], fault=Fault("cut", at_token=1)) as server, MiniAgents():
        replies = anthropic_agent.inquire("a", base_url=server.url, api_key="key", model="claude-haiku-4-5")
        await replies.settled()
        usage = replies.usage()
    assert usage.output_tokens == 50
    assert usage.cost
    assert usage.unpriced_calls == 1


@pytest.mark.parametrize("answer", [["y" * 20], ["y" * 20, BROKEN]], ids=["no figures", "broken off"])
async def test_a_budget_of_tokens_holds_without_figures(answer: list[Any]) -> None:
    """What was estimated is spent: the call ends when the estimates are beyond its budget."""
    model = TellingModel(answer)

    @miniagent
    async def insatiable(ctx) -> None:
        for _ in range(100):
            await model.agent.inquire("x" * 40, max_retries=0).settled()

    async with MiniAgents():
        *_, error = await insatiable.inquire(budget=Budget(tokens=40)).settled()
    assert isinstance(error, BudgetExceededError)
    assert len(model.prompts) == 3


async def test_input_that_was_read_from_a_cache_counts_once() -> None:
    """Where `prompt_tokens` are told, which are all of the input, those of the cache are among them."""
    usage = {
        "prompt_tokens": 1000,
        "completion_tokens": 5,
        "cache_read_input_tokens": 800,
        "cache_creation_input_tokens": 100,
    }
    whole = {"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}], "usage": usage}

    async def create(**_: Any) -> Any:
        return whole

    client = SimpleNamespace(chat=SimpleNamespace(completions=SimpleNamespace(create=create)))
    async with MiniAgents():
        replies = openai_agent.inquire("a", async_client=client, stream=False)
        await replies
        counted = replies.usage()
    assert (counted.input_tokens, counted.cached_input_tokens, counted.output_tokens) == (1000, 800, 5)


def test_a_budget_of_calls_is_looked_at_before_each_attempt() -> None:
    """Requests that are sent again are counted like others: what is not left of a budget is not sent, nor counted."""

    async def scenario() -> tuple[int, int, object]:
        model = TellingModel([BROKEN])
        async with MiniAgents():
            replies = model.agent.inquire("?", max_retries=5, budget=Budget(calls=2))
            *_, error = await replies.settled()
            return len(model.prompts), replies.usage().calls, error

    sent, counted, error = run_virtual(scenario)
    assert (sent, counted) == (2, 2)
    assert isinstance(error, BudgetExceededError)


def test_what_an_attempt_has_told_counts_once() -> None:
    """The figures of an attempt that failed are not those of the next one, which has none."""

    async def scenario() -> tuple[int, int]:
        model = TellingModel([figures(input_tokens=7), BROKEN], ["y" * 20])
        async with MiniAgents():
            replies = model.agent.inquire("x" * 40)
            await replies
            return replies.usage().input_tokens, replies.usage().output_tokens

    assert run_virtual(scenario) == (7 + 10, 5)


@pytest.mark.parametrize(("used", "begins"), [(50, 0), (51, 60), (100, 60)])
def test_the_limit_of_tokens_counts_what_was_used(used: int, begins: int) -> None:
    """A request that had more tokens than could be known leaves less to the others, until a minute is over."""

    async def scenario() -> float:
        model = TellingModel(["y", figures(input_tokens=used)])
        async with MiniAgents():
            await model.agent.inquire("x" * 40, limits=Limits(tokens_per_minute=60))
            await model.agent.inquire("x" * 40)
            return asyncio.get_running_loop().time()

    assert run_virtual(scenario) == begins
