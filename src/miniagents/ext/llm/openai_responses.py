"""`openai_responses_agent`: OpenAI's responses, through the official SDK. `pip install "miniagents[openai]"`."""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack
from typing import Any, ClassVar, Final

from miniagents.agents import MiniAgent
from miniagents.ext.llm._body import AnswerParts
from miniagents.ext.llm._openai_parts import response_parts
from miniagents.ext.llm._openai_sdk import OpenAISDK
from miniagents.ext.llm._sdk import error_in_answer
from miniagents.ext.llm._sent_calls import call_id, object_text
from miniagents.ext.llm._wire import as_dict, error_in, field, figures, list_field, text_field, texts
from miniagents.ext.llm.errors import LLMParameterError
from miniagents.ext.llm.llm_common import llm_agent
from miniagents.ext.llm.media import MediaMessage
from miniagents.ext.llm.messages import ThinkingMessage, ToolCallMessage, ToolResultMessage
from miniagents.ext.llm.prompt import Prompt, ToolSchema
from miniagents.ext.llm.provider import AnswerEvent, LLMProvider, ThinkingPiece, ToolCallPiece
from miniagents.messages import Message

_ENCRYPTED: Final = "reasoning.encrypted_content"
# They do not reason, and refuse to be asked for what they do not have.
_WITHOUT_REASONING: Final = ("gpt-3", "gpt-4", "chatgpt-4")

_INCOMPLETE: Final = {"max_output_tokens": "length", "content_filter": "content_filter"}
_LAST_EVENTS: Final = ("response.completed", "response.incomplete", "response.failed")


class OpenAIResponsesProvider(OpenAISDK, LLMProvider):
    """Responses, whose history is ours: the provider keeps nothing, and gets its encrypted thoughts back from us."""

    supports: ClassVar[frozenset[str]] = frozenset({"tools", "answer"})

    def warm_up(self, client: Any) -> None:
        """Load the responses."""
        _ = client.responses

    def make_request(self, prompt: Prompt, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of `responses.create`."""
        self.check_question(prompt.turns)
        request: dict[str, Any] = {"store": False, **parameters}
        if "include" not in request and not str(request.get("model")).startswith(_WITHOUT_REASONING):
            request["include"] = [_ENCRYPTED]
        if prompt.system:
            if request.get("instructions") is not None:
                raise LLMParameterError("`instructions` are the system prompt: give `system`, or them, not both.")
            request["instructions"] = prompt.system
        if prompt.tools:
            request["tools"] = [*parameters.get("tools", ()), *map(_tool, prompt.tools)]
        if prompt.answer is not None:
            schema = {"name": prompt.answer.name, "schema": prompt.answer.schema, "strict": prompt.answer.strict}
            request["text"] = {**(request.get("text") or {}), "format": {"type": "json_schema", **schema}}
        request["input"] = [
            item
            for turn in prompt.turns
            for item in (self._of_model(turn.parts) if turn.role == "assistant" else _of_user(turn.parts))
        ]
        return request

    def _of_model(self, parts: Iterable[Message]) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        for part in parts:
            text = str(part)
            if isinstance(part, ToolCallMessage):
                call = {"call_id": call_id(part.call_id), "name": part.tool, "arguments": object_text(text)}
                items.append({"type": "function_call", **call})
            elif not isinstance(part, ThinkingMessage):
                items.append({"role": "assistant", "content": text})
            elif part.signature and part.signed_by == self.name:
                items.append(_thought(text, part.signature))
        # The API refuses a thought that nothing has come of.
        while items and items[-1].get("type") == "reasoning":
            items.pop()
        return items

    async def open(self, client: Any, request: Mapping[str, Any], opened: AsyncExitStack) -> AsyncIterator[AnswerEvent]:
        """The answer of `responses.create`."""
        answer = await client.responses.create(**request)
        return self._read(await self.parts(answer, client, request, opened))

    async def _read(self, answer: AnswerParts) -> AsyncIterator[AnswerEvent]:
        """The events of a stream, or of a whole response, which is read as the last event of one."""
        items = _Items()
        async for event in answer if answer.is_stream else _as_event(answer):
            kind = text_field(event, "type")
            response = field(event, "response")
            if (error := _error_in(event, kind, response)) is not None:
                raise error_in_answer(error, self.name)
            if kind in ("response.output_text.delta", "response.refusal.delta"):
                yield items.text(field(event, "output_index"), text_field(event, "delta"))
            elif kind in ("response.created", *_LAST_EVENTS):
                yield texts(response_id=text_field(response, "id"), response_model=text_field(response, "model"))
            else:
                for piece in items.pieces(kind, event):
                    yield piece
            if kind in _LAST_EVENTS:
                for piece in items.rest_of(response):
                    yield piece
                answer.finish_reason = items.finish_reason(response)
                answer.is_over = True
                if usage := figures(field(response, "usage")):
                    yield {"usage": usage}
                yield texts(finish_reason=answer.finish_reason)


class _Items:
    """The items of an output, on their way to the pieces of an answer."""

    def __init__(self) -> None:
        self._told: set[Any] = set()
        """The items of which something has been told, by their index."""
        self._has_calls = False
        self._part_of_thought: Any = None

    def text(self, index: Any, text: str) -> str:
        """A piece of what is said."""
        if text:
            self._tell(index)
        return text

    def pieces(self, kind: str, event: Any) -> Iterator[AnswerEvent]:
        """What an event tells that is no text."""
        index, item = field(event, "output_index"), field(event, "item")
        match kind:
            case "response.output_item.added" if text_field(item, "type") == "function_call":
                self._has_calls = True
                yield _call(index, item)
            case "response.function_call_arguments.delta":
                if arguments := text_field(event, "delta"):
                    self._tell(index)
                    yield ToolCallPiece(str(index), arguments=arguments)
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                part = (field(event, "summary_index"), field(event, "content_index"))
                if text := text_field(event, "delta"):
                    is_new = self._tell(index)
                    gap = "" if is_new or part == self._part_of_thought else "\n\n"
                    self._part_of_thought = part
                    yield ThinkingPiece(gap + text, starts=is_new)
            case "response.output_item.done":
                yield from self._done(index, item)

    def rest_of(self, response: Any) -> Iterator[AnswerEvent]:
        """What only the last event has told: all of it in an answer that is not streamed."""
        if not self._told:
            for index, item in enumerate(list_field(response, "output")):
                yield from self._done(index, item)

    def finish_reason(self, response: Any) -> str:
        """Why the answer has ended, in the words that all providers have in common."""
        reason = text_field(field(response, "incomplete_details"), "reason")
        if reason:
            return _INCOMPLETE.get(reason, reason)
        status = text_field(response, "status") or "completed"
        if status != "completed":
            return status
        return "tool_calls" if self._has_calls else "stop"

    def _done(self, index: Any, item: Any) -> Iterator[AnswerEvent]:
        is_new = self._tell(index)
        match text_field(item, "type"):
            case "function_call" if is_new:
                self._has_calls = True
                yield _call(index, item, text_field(item, "arguments"))
            case "message" if is_new:
                for part in list_field(item, "content"):
                    yield text_field(part, "text") or text_field(part, "refusal")
            case "reasoning":
                thought = _text_of_thought(item) if is_new else ""
                signature = _signature_of(item)
                if thought or signature:
                    is_hidden = is_new and not thought
                    yield ThinkingPiece(thought, signature, redacted=is_hidden, starts=is_new)

    def _tell(self, index: Any) -> bool:
        """Whether nothing has been told of this item yet."""
        is_new = str(index) not in self._told
        self._told.add(str(index))
        return is_new


def _call(index: Any, item: Any, arguments: str = "") -> ToolCallPiece:
    return ToolCallPiece(str(index), text_field(item, "call_id"), text_field(item, "name"), arguments)


def _text_of_thought(item: Any) -> str:
    parts = [*list_field(item, "summary"), *list_field(item, "content")]
    return "\n\n".join(text for part in parts if (text := text_field(part, "text")))


def _signature_of(item: Any) -> str:
    """The id and the encrypted content, in one text: the API wants both back."""
    encrypted = text_field(item, "encrypted_content")
    return f"{text_field(item, 'id')} {encrypted}" if encrypted else ""


def _thought(text: str, signature: str) -> dict[str, Any]:
    item_id, _, encrypted = signature.partition(" ")
    summary = [{"type": "summary_text", "text": text}] if text else []
    return {"type": "reasoning", "id": item_id, "summary": summary, "encrypted_content": encrypted}


def _error_in(event: Any, kind: str, response: Any) -> object:
    """What tells of an error: an event that is one, or a response that has failed."""
    if (error := error_in(event, "type")) is not None:
        return error
    if kind == "error":
        return {name: value for name, value in as_dict(event).items() if name != "type"}
    if kind == "response.failed" or text_field(response, "status") == "failed":
        return field(response, "error") or {"message": "The response has failed."}
    return None


async def _as_event(answer: AnswerParts) -> AsyncIterator[Any]:
    """A whole response as the last event of a stream."""
    async for response in answer:
        if (error := error_in(response, "output")) is not None:
            yield {"error": error}
        yield {"type": "response.completed", "response": response}


def _of_user(parts: Iterable[Message]) -> list[dict[str, Any]]:
    """The items that a turn of the user is: one for each result of a tool, and one for all else."""
    items: list[dict[str, Any]] = []
    said: list[Message] = []
    for part in parts:
        if isinstance(part, ToolResultMessage):
            items.append({"type": "function_call_output", "call_id": call_id(part.call_id), "output": str(part)})
        else:
            said.append(part)
    if len(said) == 1 and not isinstance(said[0], MediaMessage):
        items.append({"role": "user", "content": str(said[0])})
    elif said:
        items.append({"role": "user", "content": [part for message in said for part in response_parts(message)] or ""})
    return items


def _tool(tool: ToolSchema) -> dict[str, Any]:
    # The API is strict if nobody says, and then refuses each schema with an argument that may be left out.
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters, "strict": False}
    return {"type": "function", **function}


openai_responses_agent = MiniAgent(
    llm_agent.function,
    alias="OPENAI_RESPONSES_AGENT",
    description="A model of OpenAI, through its responses.",
    provider=OpenAIResponsesProvider(),
)
"""A model of OpenAI, through its responses: `llm_agent` with this provider.

- The model is by default that of the environment variable `OPENAI_MODEL`, else `DEFAULT_MODEL` of
  `miniagents.ext.llm.openai`; the SDK finds `OPENAI_API_KEY` and `OPENAI_BASE_URL`.
- All arguments that `llm_agent` does not know are parameters of `responses.create`, by their own names
  (`reasoning={"effort": "low", "summary": "auto"}`, `max_output_tokens`, ...).
- OpenAI keeps nothing (`store=False`): the messages are the whole history. What a model has thought comes encrypted,
  as the `signature` of a `ThinkingMessage`, and is sent back with it.
"""
