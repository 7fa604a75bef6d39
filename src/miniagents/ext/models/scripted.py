"""`scripted_agent`: a model that says what it is told to say, as fast as it is told to, and breaks where it should."""

import asyncio
import copy
import inspect
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from miniagents.agents import InteractionContext, miniagent
from miniagents.ext.llm.errors import LLMConnectionError, LLMError
from miniagents.ext.llm.llm_common import SystemMessage
from miniagents.ext.models._speech import Pace, reply_as_model, tokens_of
from miniagents.messages import Message
from miniagents.promising.context import PromisingContext
from miniagents.promising.errors import MiniAgentsError

Reply: TypeAlias = str | Sequence[str] | BaseException
"""What a scripted model answers: a text, the tokens of a text, or an exception, which it raises."""

Script: TypeAlias = str | Sequence[Reply] | Callable[[tuple[Message, ...]], Reply | Awaitable[Reply]]
"""One text for every call, a list with a reply for each call, or a function (async or not) of the messages."""


class ScriptExhaustedError(MiniAgentsError, IndexError):
    """A scripted model was called more often than its script has replies."""

    def __init__(self, alias: str, replies: int) -> None:
        super().__init__(
            f"The script of {alias} has {replies} {'reply' if replies == 1 else 'replies'}, and this is call number "
            f"{replies + 1}. Give it another reply, or a text or a function, which never run out."
        )


@miniagent
async def scripted_agent(
    ctx: InteractionContext,
    /,
    *,
    script: Script,
    model: str = "scripted",
    system: str | Message | None = None,
    stream: bool | None = None,
    time_to_first_token: float = 0.0,
    tokens_per_second: float | None = None,
    jitter: float = 0.0,
    fail_after_tokens: int | None = None,
    stall_after_tokens: int | None = None,
    error: BaseException | type[BaseException] = LLMConnectionError,
    fault_rate: float | None = None,
    seed: object = 0,
    **ignored: Any,
) -> None:
    """Says what its script says. For demos, and for the tests of those who build agents.

    What it says, `script`:

    - a text: the same for every call. It is cut into tokens of about a word;
    - a list with one reply for each call, in the order of the calls. Each agent (each `fork`) has its own place in its
      list and starts it anew in every outermost `MiniAgents`. Behind the end there is a `ScriptExhaustedError`;
    - a function, async or not, that is given the tuple of messages (the `system` prompt first) and returns a reply.

    A reply is a text, a list of tokens, or an exception, which is raised.

    How fast, in seconds of the event loop, so that tests in virtual time do not wait:

    - `time_to_first_token`: from the complete input to the first token;
    - `tokens_per_second`: after that; `None` is as fast as they can be read;
    - `jitter`: by which part of itself (0 to 1) each pause is longer or shorter.

    What goes wrong:

    - `fail_after_tokens`: after so many tokens `error` is raised: an exception, or a class of exceptions. An `LLMError`
      carries the `partial_text`, as with a real model;
    - `stall_after_tokens`: after so many tokens nothing comes any more, until the call is cancelled;
    - `fault_rate`: the part of the calls (0 to 1) that this happens to; by default all. Which ones is drawn from the
      `seed`, and so is the place, if none is named.

    The same calls with the same `seed` take the same time and break at the same places. All other arguments of the LLM
    agents (`temperature`, ...) are accepted and ignored; a misspelt one is refused.

    >>> import miniagents
    >>> assistant = scripted_agent.fork(script=["Hello!", "Bye!"])
    >>> async def main():
    ...     print(*await assistant.inquire("Hi"), *await assistant.inquire("See you"))
    >>> miniagents.run(main())
    Hello! Bye!
    """
    number = _number_of_call(ctx, script)
    faults = _Faults(fail_after_tokens, stall_after_tokens, error, fault_rate, random.Random(f"faults/{seed}/{number}"))
    pace = Pace(time_to_first_token, tokens_per_second, jitter, seed=f"{seed}/{number}")

    async def say(messages: tuple[Message, ...]) -> AsyncIterator[str]:
        if system is not None:
            messages = (SystemMessage(text=str(system)), *messages)
        reply = await _reply_to(messages, script, number, ctx.this_agent.alias)
        if isinstance(reply, BaseException):
            raise reply.with_traceback(None)
        async for token in faults.applied_to(reply):
            yield token

    reply_as_model(ctx, say, model=model, stream=stream, pace=pace, ignored=ignored)


def _number_of_call(ctx: InteractionContext, script: Script) -> int:
    """How many calls with this script the agent has had before in this context: one run knows nothing of another."""
    if not (isinstance(script, Sequence) or callable(script)):
        raise TypeError(f"`script` is a text, a list of replies or a function, not {type(script).__name__}.")
    # A list by its content, since each `inquire` that is given one hands over another copy of it.
    content = None if isinstance(script, str) or callable(script) else repr(script)
    counter = PromisingContext.get_current().resource(
        (scripted_agent, ctx.this_agent, content), lambda: (itertools.count(), None)
    )
    return next(counter)


async def _reply_to(
    messages: tuple[Message, ...], script: Script, number: int, alias: str
) -> Sequence[str] | BaseException:
    """The tokens of the reply that the script has for this call, or an exception."""
    if callable(script):
        made = script(messages)
        reply = await made if inspect.isawaitable(made) else made
    elif isinstance(script, str):
        reply = script
    elif number < len(script):
        reply = script[number]
    else:
        raise ScriptExhaustedError(alias, len(script))
    if isinstance(reply, str):
        return list(tokens_of(reply))
    if isinstance(reply, (Sequence, BaseException)):
        return reply
    raise TypeError(
        f"The script of {alias} gave a {type(reply).__name__}; a reply is a text, a list of tokens or an exception."
    )


@dataclass(frozen=True, slots=True)
class _Faults:
    """What goes wrong in one call."""

    fail_after_tokens: int | None
    stall_after_tokens: int | None
    error: BaseException | type[BaseException]
    rate: float | None
    chance: random.Random

    def __post_init__(self) -> None:
        for name in ("fail_after_tokens", "stall_after_tokens"):
            tokens = getattr(self, name)
            if tokens is not None and not (isinstance(tokens, int) and tokens >= 0):
                raise ValueError(f"`{name}` is a number of tokens, not {tokens!r}.")
        if isinstance(self.error, type):
            try:
                self.error("text")
            except TypeError:
                name = self.error.__name__
                raise TypeError(f"`error={name}` cannot be made of a text alone: give an instance of it.") from None
        if self.rate is not None and not 0 <= self.rate <= 1:
            raise ValueError(f"`fault_rate` is a part of the calls, from 0 to 1, not {self.rate!r}.")

    async def applied_to(self, tokens: Sequence[str]) -> AsyncIterator[str]:
        """The tokens, as far as they come."""
        broken_at = self._place(len(tokens))
        for token in tokens[:broken_at]:
            yield token
        if broken_at is not None:
            if broken_at == self.stall_after_tokens:
                await asyncio.get_running_loop().create_future()
            raise self._made_error("".join(tokens[:broken_at]))

    def _place(self, length: int) -> int | None:
        """After how many tokens it breaks; `None` if it does not."""
        named = [tokens for tokens in (self.fail_after_tokens, self.stall_after_tokens) if tokens is not None]
        rate = self.rate if self.rate is not None else 1.0 if named else 0.0
        if self.chance.random() >= rate:
            return None
        return min(named) if named else self.chance.randint(0, length)

    def _made_error(self, said: str) -> BaseException:
        if isinstance(self.error, LLMError):
            error: BaseException = copy.copy(self.error)  # each call has a `partial_text` of its own
        elif isinstance(self.error, BaseException):
            error = self.error.with_traceback(None)  # raised in many calls, it must not collect the traces of all
        else:
            error = self.error("The script of this model says that its answer breaks off here.")
        if isinstance(error, LLMError):
            error.partial_text = said
        return error
