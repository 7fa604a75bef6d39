"""`anthropic_agent`: models of Anthropic, through the official SDK. `pip install "miniagents[anthropic]"`."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack
from typing import Any, ClassVar, Final

from miniagents.agents import MiniAgent
from miniagents.ext.llm._anthropic_media import media_block
from miniagents.ext.llm._body import AnswerParts
from miniagents.ext.llm._client import limited_http_client
from miniagents.ext.llm._schemas import for_anthropic
from miniagents.ext.llm._sdk import error_in_answer
from miniagents.ext.llm._sent_calls import call_id, object_of
from miniagents.ext.llm._wire import error_in, field, figures, list_field, text_field, texts
from miniagents.ext.llm.errors import MissingKeyError
from miniagents.ext.llm.llm_common import llm_agent
from miniagents.ext.llm.media import MediaMessage
from miniagents.ext.llm.messages import ThinkingMessage, ToolCallMessage, ToolResultMessage
from miniagents.ext.llm.prompt import Prompt, ToolSchema, Turn
from miniagents.ext.llm.provider import AnswerEvent, ClientOptions, LLMProvider, ThinkingPiece, ToolCallPiece
from miniagents.messages import Message

DEFAULT_MODEL: Final = "claude-sonnet-5-5"
"""The model if neither the call nor `ANTHROPIC_MODEL` names one."""
DEFAULT_MAX_TOKENS: Final = 8192
"""The longest answer if the call does not say; the API has no default. All models can write it, whole or streamed."""

# The API takes these, or a model of its may, but the function of the SDK has lost them.
_ONLY_IN_THE_BODY: Final = ("temperature", "top_p", "top_k")

# To a schema that the API does not take the model is not held, but it can be asked.
_IN_WORDS: Final = "Answer with JSON that this JSON schema describes, and with nothing else, not even a code fence:"

_THOUGHTS: Final = ("thinking", "redacted_thinking")

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
    price_name: ClassVar[str] = "anthropic"
    supports: ClassVar[frozenset[str]] = frozenset({"tools", "answer"})
    key_variable: ClassVar[str] = "ANTHROPIC_API_KEY"
    host: ClassVar[str] = "api.anthropic.com"
    foreign_models: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("gpt-", "chatgpt", "o1", "o3", "o4"), "`openai_agent`"),
        **dict.fromkeys(
            ("gemini", "llama", "mistral", "deepseek", "qwen"), "`openai_compatible_agent` with its address"
        ),
    }
    model_variable: ClassVar[str | None] = "ANTHROPIC_MODEL"
    default_model: ClassVar[str | None] = DEFAULT_MODEL

    def make_client(self, sdk: Any, options: ClientOptions) -> Any:
        """An `AsyncAnthropic`."""
        client = sdk.AsyncAnthropic(http_client=limited_http_client(sdk, self.extra), **options.given())
        # Without a key the SDK makes a client all the same, and refuses the first request. Besides keys there are
        # tokens, profiles on disk and headers in the environment, so the question is what the client has come to.
        headers = {name.lower() for name in client.default_headers}
        if client.credentials is None and not headers & {"x-api-key", "authorization"}:
            raise MissingKeyError(self.name, self.key_variable)
        _ = client.messages  # loaded when it is first touched, which takes its time
        return client

    def make_request(self, prompt: Prompt, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of `messages.create`."""
        request = {"max_tokens": DEFAULT_MAX_TOKENS, **parameters}
        in_body = {name: request.pop(name) for name in _ONLY_IN_THE_BODY if name in request}
        if in_body:
            request["extra_body"] = {**in_body, **(request.get("extra_body") or {})}
        system = [prompt.system] if prompt.system else []
        if prompt.tools:
            request["tools"] = [*parameters.get("tools", ()), *map(_tool, prompt.tools)]
        if prompt.answer is not None:
            schema = for_anthropic(prompt.answer.schema) if prompt.answer.strict else None
            if schema is None:
                system.append(f"{_IN_WORDS}\n\n{json.dumps(prompt.answer.schema, ensure_ascii=False)}")
            else:
                form = {"type": "json_schema", "schema": schema}
                request["output_config"] = {**(request.get("output_config") or {}), "format": form}
        if system:
            request["system"] = "\n\n".join(system)
        request["messages"] = [
            {"role": turn.role, "content": content} for turn in prompt.turns if (content := self._content(turn))
        ]
        self.check_question(request["messages"])
        return request

    def _content(self, turn: Turn) -> str | list[dict[str, Any]]:
        blocks = [block for part in turn.parts for block in self._blocks(part)]
        # The API refuses a turn that ends in a thought, such as that of an answer that was broken off.
        while turn.role == "assistant" and blocks and blocks[-1]["type"] in _THOUGHTS:
            blocks.pop()
        return blocks[0]["text"] if len(blocks) == 1 and blocks[0]["type"] == "text" else blocks

    def _blocks(self, part: Message) -> Iterator[dict[str, Any]]:
        text = str(part)
        if isinstance(part, ToolResultMessage):
            of_call = {"type": "tool_result", "tool_use_id": call_id(part.call_id)}
            yield {**of_call, "content": text, "is_error": part.is_error}
        elif isinstance(part, ToolCallMessage):
            yield {"type": "tool_use", "id": call_id(part.call_id), "name": part.tool, "input": object_of(text)}
        elif isinstance(part, ThinkingMessage):
            if part.signed_by != self.name:
                return  # the API takes none but its own
            if part.redacted:
                yield {"type": "redacted_thinking", "data": part.signature}
            else:
                yield {"type": "thinking", "thinking": text, "signature": part.signature}
        else:
            # The API refuses a text without a visible character.
            if text.strip():
                yield {"type": "text", "text": text}
            if isinstance(part, MediaMessage):
                yield media_block(part)

    async def open(self, client: Any, request: Mapping[str, Any], opened: AsyncExitStack) -> AsyncIterator[AnswerEvent]:
        """The answer of `messages.create`."""
        answer = await client.messages.create(**request)
        return self._read(await self.parts(answer, client, request, opened))

    async def _read(self, answer: AnswerParts) -> AsyncIterator[AnswerEvent]:
        """The events of a stream, or of a whole message, which is read as a stream."""
        usage: dict[str, Any] = {}
        async for event in answer if answer.is_stream else _as_events(answer):
            if (error := error_in(event, "type")) is not None:
                raise error_in_answer(error, self.name, text_field(event, "request_id"))
            kind = field(event, "type")
            if kind == "content_block_delta":
                if (piece := _piece(str(field(event, "index")), field(event, "delta"))) is not None:
                    yield piece
            elif kind == "content_block_start":
                for piece in _first_pieces(str(field(event, "index")), field(event, "content_block")):
                    yield piece
            elif kind == "message_start":
                message = field(event, "message")
                usage = figures(field(message, "usage"))
                yield texts(response_id=text_field(message, "id"), response_model=text_field(message, "model"))
                yield {"usage": usage} if usage else {}
            elif kind == "message_delta":
                usage = {**usage, **figures(field(event, "usage"))}
                stop_reason = text_field(field(event, "delta"), "stop_reason")
                answer.finish_reason = stop_reason or answer.finish_reason
                yield texts(finish_reason=_FINISH_REASONS.get(stop_reason, stop_reason), stop_reason=stop_reason)
            elif kind == "message_stop":
                answer.is_over = True
        if usage:
            yield {"usage": usage}


def _piece(index: str, delta: object) -> AnswerEvent | None:
    """A piece of a block; `None` for what is none of ours, such as a citation."""
    match field(delta, "type"):
        case "thinking_delta":
            return ThinkingPiece(text_field(delta, "thinking"))
        case "signature_delta":
            return ThinkingPiece(signature=text_field(delta, "signature"))
        case "input_json_delta":
            return ToolCallPiece(index, arguments=text_field(delta, "partial_json"))
        case _:
            return text_field(delta, "text") or None


def _first_pieces(index: str, block: object) -> Iterator[AnswerEvent]:
    """What a block begins with; in an answer that is not streamed all of it."""
    match field(block, "type"):
        case "tool_use":
            arguments = field(block, "input")
            yield ToolCallPiece(
                index, text_field(block, "id"), text_field(block, "name"), json.dumps(arguments) if arguments else ""
            )
        case "thinking":
            yield ThinkingPiece(text_field(block, "thinking"), text_field(block, "signature"), starts=True)
        case "redacted_thinking":
            yield ThinkingPiece(signature=text_field(block, "data"), redacted=True, starts=True)
        case _:
            if text := text_field(block, "text"):
                yield text


def _tool(tool: ToolSchema) -> dict[str, Any]:
    return {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}


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


anthropic_agent = MiniAgent(
    llm_agent.function,
    alias="ANTHROPIC_AGENT",
    description="A model of Anthropic.",
    provider=AnthropicProvider(),
)
"""A model of Anthropic: `llm_agent` with this provider.

- The model is by default that of the environment variable `ANTHROPIC_MODEL`, else `DEFAULT_MODEL`; the SDK finds
  `ANTHROPIC_API_KEY` and `ANTHROPIC_BASE_URL`.
- All arguments that `llm_agent` does not know are parameters of `messages.create`, by their own names. `max_tokens` is
  `DEFAULT_MAX_TOKENS` if not given. `temperature`, `top_p` and `top_k`, which the SDK no longer knows, still reach the
  API.
- Texts without a visible character are left out, because the API refuses them.
- The last message of an answer has also `stop_reason`, the finish reason in Anthropic's words.
"""
