"""What an answer has cost, for the call that asked and for all above it."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from miniagents.ext.llm._prices import cost_of, load_prices, require_prices
from miniagents.messages.usage import Usage, record_usage


class Meter:
    """Records what one question to a model costs. `provider` is what the table of prices knows it by."""

    def __init__(self, provider: str, model: str) -> None:
        self._provider = provider
        self._model = model

    async def prepare(self) -> None:
        """To be awaited before the first request. Raises if there is a budget of money and the price is not known."""
        await require_prices(self._provider, self._model)
        await load_prices()

    def sent(self) -> None:
        """A request is sent."""
        record_usage(Usage(calls=1, cost=Decimal(0)), model=self._model)

    def answered(self, fields: Mapping[str, Any]) -> int:
        """An answer has ended, or broken off, and this is what the provider has told of it. Gives its tokens."""
        figures = fields.get("usage")
        if not figures:
            return 0
        usage = self._usage_of(figures)
        record_usage(usage, model=self._model)
        return usage.tokens

    def _usage_of(self, figures: Mapping[str, Any]) -> Usage:
        details = figures.get("prompt_tokens_details") or figures.get("input_tokens_details") or {}
        # Anthropic counts the input tokens apart that were read from a cache or written to one.
        read, written = _count(figures, "cache_read_input_tokens"), _count(figures, "cache_creation_input_tokens")
        tokens = Usage(
            input_tokens=_count(figures, "input_tokens") + read + written,
            output_tokens=_count(figures, "output_tokens"),
            cached_input_tokens=read or _count(details, "cached_tokens"),
        )
        cost = cost_of(self._provider, self._model, tokens, cache_write_tokens=written)
        return Usage(
            input_tokens=tokens.input_tokens,
            output_tokens=tokens.output_tokens,
            cached_input_tokens=tokens.cached_input_tokens,
            cost=cost,
        )


def _count(figures: Mapping[str, Any], name: str) -> int:
    value = figures.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
