"""`echo_agent`: says what it was told."""

from collections.abc import AsyncIterator
from typing import Any

from miniagents.agents import InteractionContext, miniagent
from miniagents.ext.models._speech import Pace, reply_as_model, tokens_of
from miniagents.messages import Message, MessagePromise
from miniagents.utils import join_messages


@miniagent
async def echo_agent(
    ctx: InteractionContext,
    /,
    *,
    model: str = "echo",
    stream: bool | None = None,
    time_to_first_token: float = 0.0,
    tokens_per_second: float | None = None,
    jitter: float = 0.0,
    seed: int = 0,
    **ignored: Any,
) -> None:
    """Says back what it was sent since an assistant last spoke, in the same tokens; a long one is cut into words.

    Several messages come back as one, with empty lines between them. `time_to_first_token`, `tokens_per_second`,
    `jitter` and `seed` are those of `scripted_agent`; all other arguments of the LLM agents (`system`, `temperature`,
    ...) are accepted and ignored; a misspelt one is refused.

    >>> import miniagents
    >>> print(*miniagents.run(echo_agent.inquire("Hello!")))
    Hello!
    """
    pace = Pace(time_to_first_token, tokens_per_second, jitter, seed=seed)

    async def say(messages: tuple[Message, ...]) -> AsyncIterator[str]:
        new: list[MessagePromise] = []
        promises = [promise async for promise in ctx.message_promises]
        for promise, message in zip(promises, messages, strict=True):
            is_assistant = message.get("role") == "assistant"
            if is_assistant:
                new.clear()
            if not is_assistant or promise is promises[-1]:
                new.append(promise)
        async for token in join_messages(new, reference_original_messages=False):
            for part in tokens_of(token):
                yield part

    reply_as_model(ctx, say, model=model, stream=stream, pace=pace, ignored=ignored)
