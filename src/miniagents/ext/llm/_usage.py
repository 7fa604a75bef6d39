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

    def answered(self, fields: Mapping[str, Any], estimate: Usage, *, is_complete: bool = True) -> int:
        """An answer has ended, or broken off, and this is what the provider has told of it. Gives its tokens.

        `estimate` has the tokens that it will have had, none if there was no answer. They count where the provider has
        told none, and those of an answer that has broken off behind the figures; their price is not known.
        """
        figures = fields.get("usage")
        usage = self._usage_of(figures) if figures else Usage()
        if not usage.tokens:
            usage = estimate
        elif not is_complete and estimate.output_tokens > usage.output_tokens:
            usage = Usage(
                input_tokens=usage.input_tokens,
                output_tokens=estimate.output_tokens,
                cached_input_tokens=usage.cached_input_tokens,
                cost=usage.cost,
                unpriced_calls=1,
            )
        if usage.tokens:
            record_usage(usage, model=self._model)
        return usage.tokens

    def _usage_of(self, figures: Mapping[str, Any]) -> Usage:
        details = figures.get("prompt_tokens_details") or figures.get("input_tokens_details") or {}
        read, written = _count(figures, "cache_read_input_tokens"), _count(figures, "cache_creation_input_tokens")
        # Anthropic counts the input tokens apart that were read from a cache or written to one. Whoever tells the same
        # in OpenAI's words, such as LiteLLM, has them in `prompt_tokens` already.
        apart = 0 if "prompt_tokens" in figures else read + written
        tokens = Usage(
            input_tokens=_count(figures, "input_tokens") + apart,
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


def tokens_in(characters: int) -> int:
    """About how many tokens a text of so many characters has: four characters are one."""
    return -(-characters // 4)


def _count(figures: Mapping[str, Any], name: str) -> int:
    value = figures.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
