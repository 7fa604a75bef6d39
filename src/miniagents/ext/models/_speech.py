"""How the offline models speak: as the LLM agents do, in tokens, at a pace, with the same metadata."""

import asyncio
import math
import random
import re
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from miniagents.agents import InteractionContext, check_budget
from miniagents.ext.llm._spelling import check_spelling
from miniagents.ext.llm.llm_common import AssistantMessage, llm_agent
from miniagents.messages import Message
from miniagents.messages.usage import Usage, record_usage
from miniagents.promising.context import current_context

# A word with the white space before it, as most tokenisers cut; a very long word in several pieces.
_TOKEN: Final = re.compile(r"\s*\S{1,16}|\s+\Z")


@dataclass(frozen=True, slots=True)
class Pace:
    """When tokens come: the pause before the first one, and how many follow in a second. Seconds of the event loop.

    - `time_to_first_token`: seconds from the complete input to the first token.
    - `tokens_per_second`: `None` is as fast as they can be read.
    - `jitter`: by which part of itself each pause may be longer or shorter, from 0 to 1.
    - `seed`: of the jitter; the same one gives the same pauses.
    """

    time_to_first_token: float = 0.0
    tokens_per_second: float | None = None
    jitter: float = 0.0
    seed: object = 0

    def __post_init__(self) -> None:
        if not 0 <= self.time_to_first_token < math.inf:
            raise ValueError(f"`time_to_first_token` is a number of seconds, not {self.time_to_first_token!r}.")
        if self.tokens_per_second is not None and not self.tokens_per_second > 0:
            raise ValueError(f"`tokens_per_second` is a positive number or None, not {self.tokens_per_second!r}.")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"`jitter` is a part from 0 to 1, not {self.jitter!r}.")

    def pauses(self) -> Iterator[float]:
        """The pauses before the first token, the second, and so on without end."""
        chance = random.Random(f"pace/{self.seed}")
        between = 1 / self.tokens_per_second if self.tokens_per_second else 0.0
        pause = self.time_to_first_token
        while True:
            yield pause * (1 + self.jitter * chance.uniform(-1, 1))
            pause = between


def tokens_of(text: str) -> Iterator[str]:
    """`text` in tokens, which together are `text`."""
    return (found.group() for found in _TOKEN.finditer(text))


def reply_as_model(
    ctx: InteractionContext,
    say: Callable[[tuple[Message, ...]], AsyncIterable[str]],
    *,
    model: str,
    stream: bool | None,
    pace: Pace,
    ignored: Iterable[str],
) -> None:
    """Reply like a model: with one message of the assistant. Unlike those of LLM agents, it is there before its text.

    Never waits, and counts what is said, so that usage and budgets can be tried. `ignored` are the names of the other
    arguments, which LLM agents take; a misspelt one is refused, as it is by these.

    `say` makes the tokens of what the agent was sent, when all of that is there. With `stream=False` they come as one,
    when the last of them would have come.
    """

    async def tokens(metadata: dict[str, Any]) -> AsyncIterator[str]:
        messages = await ctx.message_promises
        check_budget()
        record_usage(Usage(calls=1, cost=0), model=model)
        pauses = pace.pauses()
        output_tokens = 0
        async for token in say(messages):
            # Also when it is no pause at all: a stream in which nobody else gets a turn would be no stream.
            await asyncio.sleep(next(pauses))
            output_tokens += 1
            yield token
        input_tokens = sum(map(_count, messages))
        metadata["finish_reason"] = "stop"
        metadata["usage"] = {"input_tokens": input_tokens, "output_tokens": output_tokens}
        record_usage(Usage(input_tokens=input_tokens, output_tokens=output_tokens, cost=0), model=model)

    async def whole(metadata: dict[str, Any]) -> AsyncIterator[str]:
        yield "".join([token async for token in tokens(metadata)])

    check_spelling(ignored, ctx.this_agent.function, llm_agent.function)
    if stream is None:
        stream = getattr(current_context(), "stream_llm_tokens_by_default", True)
    streamer = tokens if stream else whole
    ctx.reply(AssistantMessage.promise(streamer, role="assistant", model=model, agent_alias=ctx.this_agent.alias))


def _count(message: Message) -> int:
    return sum(1 for _ in tokens_of(str(message)))
