"""`openai_agent`: models of OpenAI, through the official SDK. `pip install "miniagents[openai]"`."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any, ClassVar, Final

from miniagents.agents import InteractionContext, miniagent
from miniagents.ext.llm._body import AnswerParts, parts_of
from miniagents.ext.llm._client import base_url_of, limited_http_client
from miniagents.ext.llm._sdk import error_in_answer
from miniagents.ext.llm._wire import (
    error_in,
    field,
    figures,
    list_field,
    real_calls,
    text_field,
    text_of,
    texts,
    valid_text,
)
from miniagents.ext.llm.errors import LLMRequestError, MissingKeyError
from miniagents.ext.llm.llm_common import (
    DEFAULT_MAX_SILENCE,
    AnswerEvent,
    ClientOptions,
    LLMProvider,
    Prompt,
    reply_with_llm,
)
from miniagents.messages import Message

DEFAULT_MODEL: Final = "gpt-5.5"
"""The model if neither the call nor `OPENAI_MODEL` names one."""


class OpenAIProvider(LLMProvider):
    """Chat completions."""

    name: ClassVar[str] = "OpenAI"
    package: ClassVar[str] = "openai"
    base_error: ClassVar[str] = "OpenAIError"
    extra: ClassVar[str] = "openai"
    model_variable: ClassVar[str | None] = "OPENAI_MODEL"
    default_model: ClassVar[str | None] = DEFAULT_MODEL

    def make_client(self, sdk: Any, options: ClientOptions) -> Any:
        """An `AsyncOpenAI`."""
        # The SDK itself would refuse as well, but also be content with an admin key, which no model accepts.
        if not (options.api_key or os.environ.get("OPENAI_API_KEY")):
            raise MissingKeyError(self.name, "OPENAI_API_KEY")
        return with_completions_loaded(
            sdk.AsyncOpenAI(http_client=limited_http_client(sdk, self.extra), **options.given())
        )

    def make_request(self, prompt: Prompt, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of `chat.completions.create`."""
        choices = parameters.get("n")
        if isinstance(choices, int) and choices > 1:
            raise LLMRequestError(
                f"A reply is one message, so `n` cannot be {choices}: inquire {choices} times instead."
            )
        messages = [{"role": turn.role, "content": turn.text} for turn in prompt.turns]
        if prompt.system:
            messages.insert(0, {"role": "system", "content": prompt.system})
        request = {**parameters, "messages": messages}
        if request["stream"]:
            request.setdefault("stream_options", {"include_usage": True})
        return request

    async def open(self, client: Any, request: Mapping[str, Any], opened: AsyncExitStack) -> AsyncIterator[AnswerEvent]:
        """The answer of `chat.completions.create`."""
        answer = await client.chat.completions.create(**request)
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
        """The events of a stream of chunks, or of a whole completion, which is read as a stream of one."""
        response_id = ""
        tool_calls: dict[int, dict[str, str]] = {}
        async for chunk in answer:
            if (error := error_in(chunk, "choices")) is not None:
                raise error_in_answer(error, self.name)
            if not response_id and (response_id := text_field(chunk, "id")):
                yield texts(response_id=response_id, response_model=text_field(chunk, "model"))
            if usage := figures(field(chunk, "usage")):
                yield {"usage": _with_common_names(usage)}
            for choice in list_field(chunk, "choices"):
                if field(choice, "index"):
                    continue  # a choice that nobody asked for
                delta = field(choice, "delta" if answer.is_stream else "message")
                # A refusal comes in the place of the content: it is what the model has to say.
                if text := text_of(field(delta, "content")) or text_field(delta, "refusal"):
                    yield text
                _collect_tool_calls(list_field(delta, "tool_calls"), tool_calls)
                answer.finish_reason = text_field(choice, "finish_reason") or answer.finish_reason
        yield texts(finish_reason=answer.finish_reason)
        if calls := real_calls(tool_calls.values()):
            yield {"tool_calls": calls}


def with_completions_loaded(client: Any) -> Any:
    """`client`, after the SDK has loaded what is behind `chat.completions`, which it does only when that is touched."""
    _ = client.chat.completions
    return client


def _with_common_names(usage: dict[str, Any]) -> dict[str, Any]:
    """`usage`, also under the names that all providers have in common."""
    common = {"input_tokens": usage.get("prompt_tokens"), "output_tokens": usage.get("completion_tokens")}
    return {**{name: count for name, count in common.items() if count is not None}, **usage}


def _collect_tool_calls(parts: list[Any], calls: dict[int, dict[str, str]]) -> None:
    """Add to `calls` what has come of them: of a stream the arguments come in pieces, with the index of their call."""
    for position, part in enumerate(parts):
        index = field(part, "index")
        call = calls.setdefault(index if isinstance(index, int) else position, {"id": "", "name": "", "arguments": ""})
        function = field(part, "function")
        call["id"] = call["id"] or valid_text(text_field(part, "id"))
        call["name"] = call["name"] or valid_text(text_field(function, "name"))
        call["arguments"] += valid_text(text_field(function, "arguments"))


@miniagent
async def openai_agent(
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
    """A model of OpenAI, through its chat completions. Replies with one message, which streams.

    - `model`: by default that of the environment variable `OPENAI_MODEL`, else `DEFAULT_MODEL`.
    - `stream`: whether the tokens come while they are made; by default what `stream_llm_tokens_by_default` of the
      `MiniAgents` context says.
    - `system`: the system prompt. Messages with the role `system` are added to it.
    - `api_key`, `base_url`, `max_retries`: of the client; by default what the SDK finds (`OPENAI_API_KEY`,
      `OPENAI_BASE_URL`). There is one client for each outermost context and choice of these; it is closed with that
      context.
    - `async_client`: a client of your own, which stays open.
    - `max_silence`: seconds that may pass without any word from the model, from the request (with all its retries) to
      the first word and between words; an answer that is not streamed is one word. `None` for no limit.
    - `max_ahead`: how many tokens the answer may be ahead of its foremost reader (see `StreamedPromise`); then nothing
      more is taken from the connection until that one goes on. By default as the context says.
    - all others: parameters of `chat.completions.create`, by their own names (`temperature`, `max_completion_tokens`,
      `tools`, ...).

    `reply_with_llm` tells what is in the reply, and `miniagents.ext.llm.errors` what can be raised where it is read.
    Leaving the context by an error or a cancellation closes the connection.

    >>> from miniagents import MiniAgents
    >>> async def main():
    ...     async with MiniAgents():
    ...         async for reply in openai_agent.inquire("Hello!", system="Be brief.", temperature=0):
    ...             async for token in reply:
    ...                 print(token, end="")
    """
    reply_with_llm(
        ctx,
        OpenAIProvider(),
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
