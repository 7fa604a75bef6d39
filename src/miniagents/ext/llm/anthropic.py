"""`anthropic_agent`: models of Anthropic, through the official SDK. `pip install "miniagents[anthropic]"`."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any, ClassVar, Final

from miniagents.agents import InteractionContext, miniagent
from miniagents.ext.llm._body import AnswerParts, parts_of
from miniagents.ext.llm._client import base_url_of, limited_http_client
from miniagents.ext.llm._sdk import error_in_answer
from miniagents.ext.llm._wire import error_in, field, figures, list_field, real_calls, text_field, texts, valid_text
from miniagents.ext.llm.errors import MissingKeyError
from miniagents.ext.llm.llm_common import (
    DEFAULT_MAX_SILENCE,
    AnswerEvent,
    ClientOptions,
    LLMProvider,
    Prompt,
    reply_with_llm,
)
from miniagents.messages import Message

DEFAULT_MODEL: Final = "claude-sonnet-5-5"
"""The model if neither the call nor `ANTHROPIC_MODEL` names one."""
DEFAULT_MAX_TOKENS: Final = 8192
"""The longest answer if the call does not say; the API has no default. All models can write it, whole or streamed."""

# The API takes these, or a model of its may, but the function of the SDK has lost them.
_ONLY_IN_THE_BODY: Final = ("temperature", "top_p", "top_k")

_FINISH_REASONS: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


class AnthropicProvider(LLMProvider):
    """Messages."""

    name: ClassVar[str] = "Anthropic"
    package: ClassVar[str] = "anthropic"
    base_error: ClassVar[str] = "AnthropicError"
    extra: ClassVar[str] = "anthropic"
    model_variable: ClassVar[str | None] = "ANTHROPIC_MODEL"
    default_model: ClassVar[str | None] = DEFAULT_MODEL

    def make_client(self, sdk: Any, options: ClientOptions) -> Any:
        """An `AsyncAnthropic`."""
        client = sdk.AsyncAnthropic(http_client=limited_http_client(sdk, self.extra), **options.given())
        # Without a key the SDK makes a client all the same, and refuses the first request. Besides keys there are
        # tokens, profiles on disk and headers in the environment, so the question is what the client has come to.
        headers = {name.lower() for name in client.default_headers}
        if client.credentials is None and not headers & {"x-api-key", "authorization"}:
            raise MissingKeyError(self.name, "ANTHROPIC_API_KEY")
        _ = client.messages  # loaded when it is first touched, which takes its time
        return client

    def make_request(self, prompt: Prompt, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of `messages.create`."""
        request = {"max_tokens": DEFAULT_MAX_TOKENS, **parameters}
        in_body = {name: request.pop(name) for name in _ONLY_IN_THE_BODY if name in request}
        if in_body:
            request["extra_body"] = {**in_body, **(request.get("extra_body") or {})}
        if prompt.system:
            request["system"] = prompt.system
        # The API refuses a message without a visible character.
        request["messages"] = [
            {"role": turn.role, "content": turn.text} for turn in prompt.turns if not turn.text.isspace() and turn.text
        ]
        return request

    async def open(self, client: Any, request: Mapping[str, Any], opened: AsyncExitStack) -> AsyncIterator[AnswerEvent]:
        """The answer of `messages.create`."""
        answer = await client.messages.create(**request)
        return self._read(
            await parts_of(
                answer,
                opened,
                stream=request["stream"],
                provider=self.name,
                package=self.package,
                url=base_url_of(client),
            )
        )

    async def _read(self, answer: AnswerParts) -> AsyncIterator[AnswerEvent]:
        """The events of a stream, or of a whole message, which is read as a stream."""
        usage: dict[str, Any] = {}
        tool_calls: dict[str, dict[str, str]] = {}
        async for event in answer if answer.is_stream else _as_events(answer):
            if (error := error_in(event, "type")) is not None:
                raise error_in_answer(error, self.name, text_field(event, "request_id"))
            kind = field(event, "type")
            if kind == "content_block_delta":
                delta = field(event, "delta")
                if text := text_field(delta, "text"):
                    yield text
                elif (index := str(field(event, "index"))) in tool_calls:
                    tool_calls[index]["arguments"] += valid_text(text_field(delta, "partial_json"))
            elif kind == "content_block_start":
                block = field(event, "content_block")
                if text := text_field(block, "text"):
                    yield text
                if field(block, "type") == "tool_use":
                    tool_calls[str(field(event, "index"))] = _tool_call(block)
            elif kind == "message_start":
                message = field(event, "message")
                usage = figures(field(message, "usage"))
                yield texts(response_id=text_field(message, "id"), response_model=text_field(message, "model"))
            elif kind == "message_delta":
                usage.update(figures(field(event, "usage")))
                stop_reason = text_field(field(event, "delta"), "stop_reason")
                answer.finish_reason = stop_reason or answer.finish_reason
                yield texts(finish_reason=_FINISH_REASONS.get(stop_reason, stop_reason), stop_reason=stop_reason)
            elif kind == "message_stop":
                answer.is_over = True
        if usage:
            yield {"usage": usage}
        if calls := real_calls(tool_calls.values()):
            yield {"tool_calls": calls}


def _tool_call(block: object) -> dict[str, str]:
    """The call of a tool as it stands at the start of its block: in a stream without its arguments."""
    arguments = field(block, "input")
    return {
        "id": valid_text(text_field(block, "id")),
        "name": valid_text(text_field(block, "name")),
        "arguments": json.dumps(arguments) if arguments else "",
    }


async def _as_events(answer: AnswerParts) -> AsyncIterator[Any]:
    """A whole message as the events of a stream."""
    async for message in answer:
        if (error := error_in(message, "content")) is not None:
            yield {"error": error, "request_id": field(message, "request_id")}
        content = field(message, "content")
        yield {"type": "message_start", "message": message}
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else list_field(message, "content")
        for index, block in enumerate(blocks):
            yield {"type": "content_block_start", "index": index, "content_block": block}
        delta = {"stop_reason": field(message, "stop_reason")}
        yield {"type": "message_delta", "delta": delta, "usage": field(message, "usage")}


@miniagent
async def anthropic_agent(
    ctx: InteractionContext,
    /,
    *,
    model: str | None = None,
    stream: bool | None = None,
    system: str | Message | None = None,
    async_client: Any = None,
    api_key: str | None = None,
    base_url: str | None = None,
    max_retries: int | None = None,
    max_silence: float | None = DEFAULT_MAX_SILENCE,
    max_ahead: float | None = None,
    **parameters: Any,
) -> None:
    """A model of Anthropic. Replies with one message, which streams.

    The arguments, the reply and the errors are those of `openai_agent`, but:

    - `model` is by default that of the environment variable `ANTHROPIC_MODEL`, else `DEFAULT_MODEL`; the SDK finds
      `ANTHROPIC_API_KEY` and `ANTHROPIC_BASE_URL`.
    - All other arguments are parameters of `messages.create`, by their own names. `max_tokens` is `DEFAULT_MAX_TOKENS`
      if not given. `temperature`, `top_p` and `top_k`, which the SDK no longer knows, still reach the API.
    - Messages without a visible character are left out, because the API refuses them.
    - The reply has also `stop_reason`, the finish reason in Anthropic's words.

    >>> from miniagents import MiniAgents
    >>> async def main():
    ...     async with MiniAgents():
    ...         print(*await anthropic_agent.inquire("Hello!", system="Be brief.", temperature=0))
    """
    reply_with_llm(
        ctx,
        AnthropicProvider(),
        model=model,
        stream=stream,
        system=system,
        async_client=async_client,
        api_key=api_key,
        base_url=base_url,
        max_retries=max_retries,
        max_silence=max_silence,
        max_ahead=max_ahead,
        parameters=parameters,
    )
