"""What an answer of a model costs, by the table of the package `genai-prices`: `pip install "miniagents[prices]"`.

The table is the one that the package was installed with: nothing is ever fetched, unless the program itself starts the
`UpdatePrices` of that package.
"""

import importlib
import sys
from decimal import Decimal
from typing import Any, Final

from miniagents.agents.budget import cost_is_limited
from miniagents.ext._threads import beside_the_loop
from miniagents.ext.llm.errors import LLMRequestError, MissingExtraError
from miniagents.messages.usage import Usage

_PACKAGE: Final = "genai_prices"
_TABLE: Final = "genai_prices.data"


def cost_of(provider: str, model: str, usage: Usage, *, cache_write_tokens: int = 0) -> Decimal | None:
    """What `usage` of a model costs, in US dollars; `None` if the price, or the package, is not known here.

    `provider` is its name, such as `anthropic`, or the address that is asked, such as `https://api.groq.com/openai/v1`.
    Of the input tokens, `usage.cached_input_tokens` were read from a cache of the provider, and `cache_write_tokens`
    written to it. The first call takes half a second, unless `load_prices` has been awaited.
    """
    try:
        prices = importlib.import_module(_PACKAGE)
    except ImportError:
        return None
    where = {"provider_api_url" if "://" in provider else "provider_id": provider}
    counts = {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_tokens": usage.cached_input_tokens,
        "cache_write_tokens": cache_write_tokens,
    }
    try:
        # A zero may stand for a price that the model does not have.
        price: Any = prices.calc_price(prices.Usage(**{name: n for name, n in counts.items() if n}), model, **where)
    except (LookupError, ValueError):  # a model that it does not know, figures that contradict each other
        return None
    return Decimal(price.total_price)


async def load_prices() -> bool:
    """Load the table, if it was not yet, in a thread: it is large. Tells whether the package is there."""
    if _TABLE not in sys.modules:
        await beside_the_loop(_load, "price loader")
    return _TABLE in sys.modules


async def require_prices(provider: str, model: str) -> None:
    """To be awaited before a request: sees to it that a budget with a `cost` does not hold in name only.

    Where no cost is limited it does nothing. Else it raises `MissingExtraError` if the package is not installed, and
    `LLMRequestError` if the price of the model is not known.
    """
    if not cost_is_limited():
        return
    if not await load_prices():
        raise MissingExtraError("genai-prices", "prices")
    if cost_of(provider, model, Usage(input_tokens=1, output_tokens=1)) is None:
        raise LLMRequestError(
            f"The price of {model} of {provider} is not known, so a budget with a `cost` cannot hold for it: "
            "limit `tokens` or `calls` instead, or take a newer version of the package `genai-prices`."
        )


def _load() -> None:
    cost_of("openai", "gpt-4o", Usage())  # any model: the table is loaded with the first price
