"""`openai_agent`: models of OpenAI, through the official SDK. `pip install "miniagents[openai]"`."""

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack
from typing import Any, ClassVar

from miniagents.agents import MiniAgent
from miniagents.ext.llm._body import AnswerParts
from miniagents.ext.llm._openai_parts import chat_parts
from miniagents.ext.llm._openai_sdk import DEFAULT_MODEL, OpenAISDK
from miniagents.ext.llm._sdk import error_in_answer
from miniagents.ext.llm._sent_calls import call_id, object_text
from miniagents.ext.llm._wire import as_dict, error_in, field, figures, list_field, text_field, text_of, texts
from miniagents.ext.llm.errors import LLMRequestError
from miniagents.ext.llm.llm_common import llm_agent
from miniagents.ext.llm.media import MediaMessage
from miniagents.ext.llm.messages import ThinkingMessage, ToolCallMessage, ToolResultMessage
from miniagents.ext.llm.prompt import Prompt, ToolSchema
from miniagents.ext.llm.provider import AnswerEvent, LLMProvider, ThinkingPiece, ToolCallPiece
from miniagents.messages import Message

__all__ = ["DEFAULT_MODEL", "OpenAIProvider", "openai_agent"]


class OpenAIProvider(OpenAISDK, LLMProvider):
    """Chat completions."""

    supports: ClassVar[frozenset[str]] = frozenset({"tools", "answer"})
    wants_thoughts: ClassVar[bool] = False
    """Whether thoughts that came with a call of a tool go back with it. OpenAI's API has no place for them."""

    def warm_up(self, client: Any) -> None:
        """Load the chat completions."""
        _ = client.chat.completions

    def sent_id(self, given: str) -> str:
        """The id of a call as the API takes it."""
        return call_id(given)

    def make_request(self, prompt: Prompt, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of `chat.completions.create`."""
        choices = parameters.get("n")
        if isinstance(choices, int) and choices > 1:
            raise LLMRequestError(f"An answer is one, so `n` cannot be {choices}: inquire {choices} times instead.")
        messages = [{"role": "system", "content": prompt.system}] if prompt.system else []
        self.check_question(prompt.turns)
        model = parameters.get("model")
        for turn in prompt.turns:
            messages += self._of_model(turn.parts, model) if turn.role == "assistant" else self._of_user(turn.parts)
        request = {**parameters, "messages": messages}
        if prompt.tools:
            request["tools"] = [*parameters.get("tools", ()), *map(_tool, prompt.tools)]
        if prompt.answer is not None:
            schema = {"name": prompt.answer.name, "schema": prompt.answer.schema, "strict": prompt.answer.strict}
            request["response_format"] = {"type": "json_schema", "json_schema": schema}
        if request["stream"]:
            request.setdefault("stream_options", {"include_usage": True})
        return request

    async def open(self, client: Any, request: Mapping[str, Any], opened: AsyncExitStack) -> AsyncIterator[AnswerEvent]:
        """The answer of `chat.completions.create`."""
        answer = await client.chat.completions.create(**request)
        return self._read(await self.parts(answer, client, request, opened))

    async def _read(self, answer: AnswerParts) -> AsyncIterator[AnswerEvent]:
        """The events of a stream of chunks, or of a whole completion, which is read as a stream of one."""
        response_id = ""
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
                if thought := text_field(delta, "reasoning_content"):
                    yield ThinkingPiece(thought, goes_back=self.wants_thoughts)
                elif thought := text_field(delta, "reasoning"):
                    yield ThinkingPiece(thought)
                # A refusal comes in the place of the content: it is what the model has to say.
                if text := text_of(field(delta, "content")) or text_field(delta, "refusal"):
                    yield text
                for position, call in enumerate(list_field(delta, "tool_calls")):
                    yield _call_piece(position, call)
                answer.finish_reason = text_field(choice, "finish_reason") or answer.finish_reason
        yield texts(finish_reason=answer.finish_reason)

    def _of_user(self, parts: Iterable[Message]) -> list[dict[str, Any]]:
        """The messages that a turn of the user is: one for each result of a tool, and one for all else."""
        messages: list[dict[str, Any]] = []
        contents: list[Message] = []
        for part in parts:
            if isinstance(part, ToolResultMessage):
                messages.append({"role": "tool", "tool_call_id": self.sent_id(part.call_id), "content": str(part)})
            else:
                contents.append(part)
        if contents:
            messages.append({"role": "user", "content": _content(contents)})
        return messages

    def _of_model(self, parts: Iterable[Message], model: object) -> list[dict[str, Any]]:
        """The message that a turn of the model is."""
        message: dict[str, Any] = {"role": "assistant"}
        said: list[Message] = []
        thoughts: list[str] = []
        for part in parts:
            # Behind one name there may be many servers, but each has models of its own.
            is_back = self.wants_thoughts and part.get("signed_by") == self.name and part.get("model") == model
            if isinstance(part, ToolCallMessage):
                function = {"name": part.tool, "arguments": object_text(str(part))}
                call = {"id": self.sent_id(part.call_id), "type": "function", "function": function}
                if is_back and (extra := _extra_content(part.signature)):
                    call["extra_content"] = extra
                message.setdefault("tool_calls", []).append(call)
            elif not isinstance(part, ThinkingMessage):
                said.append(part)
            elif is_back:
                thoughts.append(str(part))
        if said:
            message["content"] = _content(said)
        # Without a call some servers refuse the thoughts that they refuse to miss with one.
        if thoughts and "tool_calls" in message:
            message["reasoning_content"] = "".join(thoughts)
        return [message] if len(message) > 1 else []


def _with_common_names(usage: dict[str, Any]) -> dict[str, Any]:
    """`usage`, also under the names that all providers have in common."""
    common = {"input_tokens": usage.get("prompt_tokens"), "output_tokens": usage.get("completion_tokens")}
    return {**{name: count for name, count in common.items() if count is not None}, **usage}


def _call_piece(position: int, call: object) -> ToolCallPiece:
    """A piece of the call of a tool: in a stream with the index of its call."""
    index = field(call, "index")
    function = field(call, "function")
    return ToolCallPiece(
        index if isinstance(index, int) else position,
        text_field(call, "id"),
        text_field(function, "name"),
        text_field(function, "arguments"),
        json.dumps(extra) if (extra := as_dict(field(call, "extra_content"))) else "",
    )


def _extra_content(signature: str | None) -> dict[str, Any]:
    """What `_call_piece` has made a signature of."""
    try:
        return as_dict(json.loads(signature or "{}"))
    except ValueError:
        return {}


def _content(said: list[Message]) -> str | list[dict[str, Any]]:
    if len(said) == 1 and not isinstance(said[0], MediaMessage):  # the form that every server knows
        return str(said[0])
    return [part for message in said for part in chat_parts(message)] or ""


def _tool(tool: ToolSchema) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


openai_agent = MiniAgent(
    llm_agent.function,
    alias="OPENAI_AGENT",
    description="A model of OpenAI, through its chat completions.",
    provider=OpenAIProvider(),
)
"""A model of OpenAI, through its chat completions: `llm_agent` with this provider.

- The model is by default that of the environment variable `OPENAI_MODEL`, else `DEFAULT_MODEL`; the SDK finds
  `OPENAI_API_KEY` and `OPENAI_BASE_URL`.
- All arguments that `llm_agent` does not know are parameters of `chat.completions.create`, by their own names
  (`temperature`, `max_completion_tokens`, ...).
"""
