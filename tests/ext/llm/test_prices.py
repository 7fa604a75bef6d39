"""What answers cost, by the table of `genai-prices`."""

import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from miniagents import Budget, InteractionContext, MiniAgents, Usage, miniagent
from miniagents.ext.llm._prices import cost_of, load_prices, require_prices
from miniagents.ext.llm.errors import LLMRequestError, MissingExtraError
from support.processes import run_python

MILLION = 1_000_000


@pytest.mark.parametrize(
    ("provider", "model", "usage", "written", "dollars"),
    [
        ("openai", "gpt-4o", Usage(input_tokens=MILLION, output_tokens=MILLION), 0, "12.5"),
        ("OpenAI", "gpt-4o-2024-11-20", Usage(input_tokens=MILLION, cached_input_tokens=MILLION), 0, "1.25"),
        ("Anthropic", "claude-sonnet-4-5", Usage(input_tokens=1000, output_tokens=100), 0, "0.0045"),
        ("anthropic", "claude-sonnet-4-5", Usage(input_tokens=1000, cached_input_tokens=500), 100, "0.001725"),
        ("https://api.openai.com/v1", "gpt-4o", Usage(output_tokens=1), 0, "0.00001"),
    ],
)
def test_an_answer_costs_what_the_provider_asks(
    provider: str, model: str, usage: Usage, written: int, dollars: str
) -> None:
    """The cost is that of the price list, with its own price for what was read from a cache and written to it."""
    assert cost_of(provider, model, usage, cache_write_tokens=written) == Decimal(dollars)


@pytest.mark.parametrize(
    ("provider", "model", "usage"),
    [
        ("openai", "no-such-model", Usage(input_tokens=1)),
        ("no such provider", "gpt-4o", Usage(input_tokens=1)),
        ("http://localhost:11434/v1", "llama3", Usage(input_tokens=1)),
        ("anthropic", "claude-sonnet-4-5", Usage(input_tokens=1, cached_input_tokens=2)),
    ],
)
def test_what_is_not_known_costs_no_guess(provider: str, model: str, usage: Usage) -> None:
    """For an unknown model, provider or address, and for figures that contradict each other, there is no cost."""
    assert cost_of(provider, model, usage) is None


@pytest.fixture
def _no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    monkeypatch.delitem(sys.modules, "genai_prices.data", raising=False)


@pytest.mark.usefixtures("_no_package")
async def test_without_the_package_no_price_is_known() -> None:
    """Where the package is not installed there is no cost, and `load_prices` says so."""
    assert cost_of("openai", "gpt-4o", Usage(input_tokens=1)) is None
    assert not await load_prices()


async def test_the_table_is_loaded_beforehand() -> None:
    """`load_prices` tells that the package is there."""
    assert await load_prices()
    assert await load_prices()


@miniagent
async def asker(ctx: InteractionContext, provider: str = "openai", model: str = "gpt-4o") -> None:
    await require_prices(provider, model)
    ctx.reply("may be asked")


@miniagent
async def boss(ctx: InteractionContext, **kwargs: Any) -> None:
    ctx.reply(asker.inquire(**kwargs))


@pytest.mark.usefixtures("_no_package")
async def test_a_budget_of_money_needs_prices() -> None:
    """Where a cost is limited, the missing package is an error that says how to install it; elsewhere it is none."""
    async with MiniAgents():
        assert [str(one) for one in await boss.inquire(budget=Budget(tokens=5))] == ["may be asked"]
        (error,) = await boss.inquire(budget=Budget(cost=5)).settled()
    assert isinstance(error, MissingExtraError)
    assert "/path/to/miniagents[prices]" in str(error)


async def test_a_budget_of_money_needs_the_price_of_the_model() -> None:
    """Where a cost is limited, a model of unknown price is refused before it is asked, with what to do instead."""
    async with MiniAgents():
        assert [str(one) for one in await boss.inquire(budget=Budget(cost=5))] == ["may be asked"]
        assert [str(one) for one in await boss.inquire(model="no-such-model")] == ["may be asked"]
        (error,) = await boss.inquire(model="no-such-model", budget=Budget(cost=5)).settled()
    assert isinstance(error, LLMRequestError)
    assert "no-such-model" in str(error)
    assert "`tokens` or `calls`" in str(error)


PROGRAM = """
import asyncio, socket, threading

def refuse(*_, **__):
    print("the network was asked for something")
    raise OSError

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse

from miniagents import Usage
from miniagents.ext.llm._prices import cost_of, load_prices

print(asyncio.run(load_prices()), cost_of("openai", "gpt-4o", Usage(output_tokens=1)))
print([thread.name for thread in threading.enumerate() if "prices" in thread.name])
"""


async def test_prices_come_from_no_network(tmp_path: Path) -> None:
    """Looking up a price connects to nothing, and starts no thread that would."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    ended = await run_python(program, cwd=tmp_path)
    assert (ended.stdout, ended.stderr) == ("True 0.00001\n[]\n", "")
