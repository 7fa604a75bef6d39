"""`llm_agent`: what all LLM agents are, whatever their provider."""

import os
from collections.abc import Iterable
from typing import Any, Final

from miniagents.agents import InteractionContext, MiniAgent
from miniagents.ext.llm._client import ClientOptions
from miniagents.ext.llm._exchange import Exchange, Patience
from miniagents.ext.llm._spelling import check_spelling
from miniagents.ext.llm._tool_calls import ToolCalls
from miniagents.ext.llm._toolbox import Toolbox
from miniagents.ext.llm._turns import take_turns
from miniagents.ext.llm.errors import LLMParameterError
from miniagents.ext.llm.limits import Limits
from miniagents.ext.llm.llm_logger import log_agent
from miniagents.ext.llm.messages import (
    Approval,
    ApprovalRequest,
    AssistantMessage,
    SystemMessage,
    ThinkingMessage,
    ToolCallMessage,
    ToolResultMessage,
    UserMessage,
)
from miniagents.ext.llm.prompt import Prompt, Turn
from miniagents.ext.llm.provider import AnswerEvent, LLMProvider, ThinkingPiece, ToolCallPiece
from miniagents.ext.llm.structured import WantedAnswer
from miniagents.ext.llm.tools import ToolLike
from miniagents.messages import Message
from miniagents.promising.context import current_context

__all__ = [
    "DEFAULT_MAX_SILENCE",
    "DEFAULT_MAX_TURNS",
    "AnswerEvent",
    "Approval",
    "ApprovalRequest",
    "AssistantMessage",
    "ClientOptions",
    "LLMProvider",
    "Prompt",
    "SystemMessage",
    "ThinkingMessage",
    "ThinkingPiece",
    "ToolCallMessage",
    "ToolCallPiece",
    "ToolResultMessage",
    "Turn",
    "UserMessage",
    "llm_agent",
]

DEFAULT_MAX_SILENCE: Final = 600.0
"""Seconds that a model may be silent if the call does not say: as long as the SDKs wait."""

DEFAULT_MAX_TURNS: Final = 20
"""How often a model is asked if the call does not say."""


async def _llm_agent(
    ctx: InteractionContext,
    /,
    *,
    provider: LLMProvider | None = None,
    model: str | None = None,
    stream: bool | None = None,
    system: str | Message | None = None,
    tools: Iterable[ToolLike] | None = None,
    max_turns: int | None = DEFAULT_MAX_TURNS,
    approver: MiniAgent[...] | None = None,
    response_type: Any = None,
    async_client: Any = None,
    api_key: str | None = None,
    base_url: str | None = None,
    max_retries: int | None = None,
    max_silence: float | None = DEFAULT_MAX_SILENCE,
    first_token_timeout: float | None = None,
    max_ahead: float | None = None,
    limits: Limits | None = None,
    log_to: str | os.PathLike[str] | MiniAgent[...] | None = None,
    **parameters: Any,
) -> None:
    """A model of a provider. Replies with its answer, message by message, each of which streams.

    What it says is an `AssistantMessage`, what it tells of its thoughts before that a `ThinkingMessage`, and each call
    of a tool a `ToolCallMessage`. Each message is there with its first token; it has `role`, `model` and `agent_alias`
    from the start, and at its end `response_id` and `response_model`. The last message of the answer also has what the
    provider tells of `finish_reason` (in OpenAI's words: `stop`, `length`, `content_filter`, `tool_calls`) and `usage`
    (`input_tokens`, `output_tokens` and the provider's own figures).

    - `provider`: whose model it is. `openai_agent`, `anthropic_agent` and others are this agent with a provider.
    - `model`: by default that of the provider's environment variable, else the provider's default.
    - `stream`: whether the tokens come while they are made; by default what `stream_llm_tokens_by_default` of the
      `MiniAgents` context says.
    - `system`: the system prompt. Messages with the role `system` are added to it.
    - `tools`: what the model may call: functions, agents, and what `miniagents.ext.llm.tools` makes of them. The calls
      of an answer run at the same time, each as a `ToolResultMessage` of the reply, which streams; then the model is
      asked again, until an answer calls no tool. What a tool raises, and what is wrong with a call, is told to the
      model as the result. Dicts are tools in the provider's own format: a call of one of them ends the reply, and
      whoever has asked runs it.
    - `max_turns`: how often the model is asked; `None` for no limit. If it still calls tools then, these are not run,
      and the reply ends in an `LLMTurnLimitError`.
    - `approver`: the agent that is sent an `ApprovalRequest` before a tool that `needs_approval` is called, such as
      `console_user_agent`. Its last message decides: an `Approval`, or the text `yes` or `y`, without regard to case.
      All else refuses, and is told to the model.
    - `response_type`: what the answer is to be: a pydantic model, or any type that has a JSON schema. It then is a
      `TypedAnswer`, whose text is JSON and whose `value` is validated. One that is not valid is repaired once: the
      model is told what is wrong and answers again, in one more message; then the reply ends in an `LLMAnswerError`.
    - `api_key`, `base_url`: of the client; by default what the SDK finds in the environment. There is one client for
      each outermost context and choice of these; it is closed with that context.
    - `async_client`: a client of your own, with its own key, address and retries, which stays open.
    - `max_retries`: how often a request is sent again that got no answer (2 by default), after a pause that grows, or
      that the provider has asked for. An answer that has begun is never asked for again. A client of your own retries
      by itself.
    - `max_silence`: seconds that may pass without any word from the model, from the request to the first word and
      between words; an answer that is not streamed is one word. `None` for no limit. `first_token_timeout`: the same
      for the first word alone. The time that a request waits for its turn does not count. `timeout`, as of every agent,
      limits the whole.
    - `limits`: how much may be asked of this provider, at this address, with this key, at once and within a minute, by
      the whole process (see `Limits`). Without it what others have set holds, at first 64 requests at once.
    - `max_ahead`: how many tokens what the model says may be ahead of its foremost reader (see `StreamedPromise`); then
      nothing more is taken from the connection until that one goes on. Thoughts and calls of tools, which many do not
      read, are not held back. By default as the context says.
    - `log_to`: a directory, in which each request gets a Markdown file (`markdown_llm_logger_agent`), or an agent that
      logs. The reply ends when that is done; what goes wrong there is reported and changes nothing else.
    - all others: parameters of the API, by their own names (`temperature`, ...).

    What goes wrong in the midst of a message is an `LLMError` at its place among the tokens, and what goes wrong before
    there is a message is raised where the reply is read: `miniagents.ext.llm.errors` has the classes. An error in the
    input is raised as it is, and then nothing is sent. Cancelling the reply, or leaving the context by an error, closes
    the connection; a single message of an answer cannot be cancelled by itself. An argument that cannot be right is a
    `TypeError` or a `ValueError` before anything is sent.

    >>> from miniagents import MiniAgents
    >>> from miniagents.ext.llm.openai import openai_agent
    >>> async def main():
    ...     async with MiniAgents():
    ...         async for reply in openai_agent.inquire("Hello!", system="Be brief.", temperature=0):
    ...             async for token in reply:
    ...                 print(token, end="")
    """
    if provider is None:
        raise LLMParameterError("`provider` is missing: use `openai_agent` or the like, or name an `LLMProvider`.")
    if isinstance(provider, type):
        raise LLMParameterError(f"`provider` is an object, not its class: write `provider={provider.__name__}()`.")
    check_spelling(parameters, _llm_agent)
    if system is not None and not isinstance(system, (str, Message)):
        raise TypeError(f"`system` is a text or a message, not {type(system).__name__}.")
    patience = Patience(max_silence, first_token_timeout)
    if limits is not None and not isinstance(limits, Limits):
        raise LLMParameterError(f"`limits` are `Limits(...)`, not {limits!r}.")
    if model is None and provider.model_variable is not None:
        model = os.environ.get(provider.model_variable) or provider.default_model
    if model is not None and not isinstance(model, str):
        raise LLMParameterError(f"`model` is the name of a model, a text, not {type(model).__name__}.")
    if stream is not None and not isinstance(stream, bool):
        raise LLMParameterError(f"`stream` is True, False or None, not {stream!r}.")
    if stream is None:
        stream = getattr(current_context(), "stream_llm_tokens_by_default", True)
    # The SDKs know it as `timeout`, which for every agent is the time that a whole call may take.
    request_timeout = {} if max_silence == DEFAULT_MAX_SILENCE else {"timeout": max_silence}
    if max_turns is not None:
        _check_turns(max_turns)
    wanted = WantedAnswer.of(response_type)
    toolbox = await Toolbox.of(tools)
    calls = ToolCalls(toolbox, approver)
    exchange = Exchange(
        ctx,
        provider,
        async_client,
        ClientOptions(api_key or None, base_url or None, max_retries),
        patience,
        max_ahead,
        limits,
        log_agent(log_to),
        {"model": model, "stream": stream, **request_timeout, **toolbox.of_provider(), **parameters},
    )
    await take_turns(exchange, await ctx.message_promises, system, calls, max_turns, wanted)


# Not by the decorator: with a `**parameters: Any` mypy would not know the other parameters any more.
llm_agent: Final = MiniAgent(_llm_agent, alias="LLM_AGENT")


def _check_turns(turns: object) -> None:
    if not isinstance(turns, int) or isinstance(turns, bool) or turns < 1:
        raise LLMParameterError(f"`max_turns` is a whole number from 1, or None for no limit, not {turns!r}.")
