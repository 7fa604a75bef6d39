"""Which messages Anthropic would refuse, as far as it matters for histories, tools, files and schemas."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from miniagents.testing._checks import TOOL_NAME, is_base64, is_tool_name, is_web_address, loose_end_of
from miniagents.testing._parts import RedactedThinking, signature_of
from miniagents.testing._wire import JSON, Memory, RefusedError, objects_in, text_of

# Blocks of the provider's own tools, which are taken as they are.
_OTHERS = (
    "bash_code_execution_tool_result",
    "code_execution_tool_result",
    "container_upload",
    "search_result",
    "server_tool_use",
    "text_editor_code_execution_tool_result",
    "tool_reference",
    "tool_search_tool_result",
    "web_fetch_tool_result",
    "web_search_tool_result",
)
_IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")


def check_messages(body: JSON, memory: Memory) -> None:
    """Raises `RefusedError` if Anthropic would refuse the request."""
    for name, kind in (("model", str), ("max_tokens", int), ("messages", list)):
        if not isinstance(body.get(name), kind):
            raise RefusedError(f"{name}: Field required")
    if body["max_tokens"] < 1:
        raise RefusedError("max_tokens: Input should be greater than or equal to 1")
    messages = body["messages"]
    for index, message in enumerate(messages):
        _check_message(message, f"messages.{index}", memory, is_last=index == len(messages) - 1)
    turns = _turns(messages)
    _check_calls(turns)
    _check_thinking(body, turns)
    _check_tools(body)
    _check_output_config(body.get("output_config"))


def _check_message(message: object, path: str, memory: Memory, *, is_last: bool) -> None:
    if not isinstance(message, Mapping):
        raise RefusedError(f"{path}: Input should be a valid dictionary")
    role = message.get("role")
    if role == "system":
        raise RefusedError(
            'messages: Unexpected role "system". The Messages API accepts a top-level `system` parameter, not "system" '
            "as an input message role."
        )
    if role not in ("user", "assistant"):
        raise RefusedError(f"{path}.role: Input should be 'user' or 'assistant'")
    content = message.get("content")
    if not isinstance(content, str | list):
        raise RefusedError(f"{path}.content: Input should be a valid list")
    if not content and not (is_last and role == "assistant"):
        raise RefusedError(
            f"{path}: all messages must have non-empty content except for the optional final assistant message"
        )
    if is_last and role == "assistant" and text_of(content) != text_of(content).rstrip():
        raise RefusedError("messages: final assistant content cannot end with trailing whitespace")
    if isinstance(content, str):
        if content and not content.strip():
            raise RefusedError("messages: text content blocks must contain non-whitespace text")
        return
    for index, block in enumerate(content):
        _check_block(block, str(role), f"{path}.content.{index}", memory)


def _check_block(block: object, role: str, path: str, memory: Memory) -> None:
    if not isinstance(block, Mapping) or not isinstance(block.get("type"), str):
        raise RefusedError(f"{path}.type: Field required")
    kind = block["type"]
    if kind in ("tool_use", "thinking", "redacted_thinking") and role != "assistant":
        raise RefusedError(f"{path}: `{kind}` blocks can only be in `assistant` messages")
    if kind in ("tool_result", "image", "document") and role != "user":
        raise RefusedError(f"{path}: `{kind}` blocks can only be in `user` messages")
    match kind:
        case "text":
            _check_text(block.get("text"), path)
        case "image":
            _check_image(block.get("source"), f"{path}.image.source")
        case "document":
            _check_document(block.get("source"), f"{path}.document.source")
        case "thinking":
            _check_signature(block, path, memory)
        case "redacted_thinking":
            data = block.get("data")
            if data != RedactedThinking().data and data not in memory.thinking:
                raise RefusedError(f"{path}: Invalid `data` in `redacted_thinking` block")
        case "tool_use":
            _require(block, ("id", "name"), f"{path}.tool_use")
            if not isinstance(block.get("input"), Mapping):
                raise RefusedError(f"{path}.tool_use.input: Input should be a valid dictionary")
            if not is_tool_name(block["id"]):
                raise RefusedError(f"{path}.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'")
        case "tool_result":
            _require(block, ("tool_use_id",), f"{path}.tool_result")
            content = block.get("content", "")
            if not isinstance(content, str | list):
                raise RefusedError(f"{path}.tool_result.content: Input should be a valid list")
            for index, inner in enumerate(content if isinstance(content, list) else []):
                _check_block(inner, role, f"{path}.tool_result.content.{index}", memory)
        case _ if kind not in _OTHERS:
            known = "'document', 'image', 'redacted_thinking', 'text', 'thinking', 'tool_result', 'tool_use'"
            message = f"{path}: Input tag '{kind}' found using 'type' does not match any of the expected tags: {known}"
            raise RefusedError(message)


def _check_text(text: object, path: str) -> None:
    if not isinstance(text, str):
        raise RefusedError(f"{path}.text.text: Field required")
    if not text:
        raise RefusedError("messages: text content blocks must be non-empty")
    if not text.strip():
        raise RefusedError("messages: text content blocks must contain non-whitespace text")


def _check_signature(block: JSON, path: str, memory: Memory) -> None:
    _require(block, ("thinking", "signature"), f"{path}.thinking")
    signature, text = block["signature"], block["thinking"]
    if memory.thinking.get(signature) == text or signature == signature_of(text):
        return
    if signature in memory.thinking:
        raise RefusedError(
            f"{path}: `thinking` or `redacted_thinking` blocks in the latest assistant message cannot be modified. "
            "These blocks must remain as they were in the original response."
        )
    raise RefusedError(f"{path}: Invalid `signature` in `thinking` block")


def _check_image(source: Any, path: str) -> None:
    match source:
        case {"type": "base64", "media_type": kind, "data": data}:
            if kind not in _IMAGES:
                names = ", ".join(f"'{name}'" for name in _IMAGES[:-1])
                raise RefusedError(f"{path}.base64.media_type: Input should be {names} or '{_IMAGES[-1]}'")
            if not is_base64(data):
                raise RefusedError(f"{path}.base64.data: The image was specified using invalid base64 data.")
        case _:
            _check_reference(source, path)


def _check_document(source: Any, path: str) -> None:
    match source:
        case {"type": "base64", "media_type": "application/pdf", "data": data}:
            if not is_base64(data):
                raise RefusedError(f"{path}.base64.data: The document was specified using invalid base64 data.")
        case {"type": "base64"}:
            raise RefusedError(f"{path}.base64.media_type: Input should be 'application/pdf'")
        case {"type": "text", "media_type": "text/plain", "data": str()} | {
            "type": "content",
            "content": str() | list(),
        }:
            return
        case _:
            _check_reference(source, path)


def _check_reference(source: Any, path: str) -> None:
    match source:
        case {"type": "url", "url": url}:
            if not is_web_address(url):
                raise RefusedError(f"{path}.url.url: Only HTTP and HTTPS URLs are supported")
        case {"type": "file", "file_id": str()}:
            return
        case _:
            raise RefusedError(f"{path}: Field required")


@dataclass
class _Turn:
    """Messages of one role that follow each other: the API takes them for one."""

    role: str
    index: int
    blocks: list[JSON] = field(default_factory=list)

    def ids(self, kind: str, name: str) -> list[str]:
        return [block[name] for block in self.blocks if block["type"] == kind]


def _turns(messages: Sequence[JSON]) -> list[_Turn]:
    turns: list[_Turn] = []
    for index, message in enumerate(messages):
        if not turns or turns[-1].role != message["role"]:
            turns.append(_Turn(message["role"], index))
        content = message["content"]
        turns[-1].blocks += [{"type": "text", "text": content}] if isinstance(content, str) else objects_in(content)
    return turns


def _check_calls(turns: Sequence[_Turn]) -> None:
    seen: set[str] = set()
    open_calls: list[str] = []
    for turn in turns:
        results = turn.ids("tool_result", "tool_use_id")
        for number, block in enumerate(turn.blocks):
            if block["type"] == "tool_result" and block["tool_use_id"] not in open_calls:
                raise RefusedError(
                    f"messages.{turn.index}.content.{number}: unexpected `tool_use_id` found in `tool_result` blocks: "
                    f"{block['tool_use_id']}. Each `tool_result` block must have a corresponding `tool_use` block in "
                    "the previous message."
                )
        twice = next((call for call in results if results.count(call) > 1), None)
        if twice is not None:
            raise RefusedError(
                f"messages.{turn.index}: each tool_use must have a single result. Found multiple `tool_result` blocks "
                f"with id: {twice}"
            )
        # What stands before the results hides them: they must come first.
        at_once = {block["tool_use_id"] for block in turn.blocks[: len(results)] if block["type"] == "tool_result"}
        _refuse_open([call for call in open_calls if call not in at_once], turn.index - 1)
        open_calls = turn.ids("tool_use", "id")
        if seen.intersection(open_calls) or len(set(open_calls)) < len(open_calls):
            raise RefusedError(f"messages.{turn.index}: `tool_use` ids must be unique")
        seen.update(open_calls)
    _refuse_open(open_calls, turns[-1].index if turns else 0)


def _refuse_open(calls: Sequence[str], index: int) -> None:
    if calls:
        raise RefusedError(
            f"messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately after: "
            f"{', '.join(calls)}. Each `tool_use` block must have a corresponding `tool_result` block in the next "
            "message."
        )


def _check_thinking(body: JSON, turns: Sequence[_Turn]) -> None:
    thinking = body.get("thinking")
    if not isinstance(thinking, Mapping) or thinking.get("type") != "enabled":
        return
    budget = thinking.get("budget_tokens")
    if not isinstance(budget, int) or budget < 1024:
        raise RefusedError("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
    if budget >= body["max_tokens"]:
        raise RefusedError("`max_tokens` must be greater than `thinking.budget_tokens`.")
    answers = [turn for turn in turns if turn.role == "assistant"]
    if answers and answers[-1].ids("tool_use", "id"):
        first = answers[-1].blocks[0]["type"]
        if first not in ("thinking", "redacted_thinking"):
            raise RefusedError(
                f"messages.{answers[-1].index}.content.0.type: Expected `thinking` or `redacted_thinking`, but found "
                f"`{first}`. When `thinking` is enabled, a final `assistant` message must start with a thinking block."
            )


def _check_tools(body: JSON) -> None:
    tools = body.get("tools")
    if tools is None:
        tools = []
    if not isinstance(tools, list):
        raise RefusedError("tools: Input should be a valid list")
    names: list[object] = []
    for index, tool in enumerate(tools):
        if not isinstance(tool, Mapping):
            raise RefusedError(f"tools.{index}: Input should be a valid dictionary")
        names.append(tool.get("name"))
        if tool.get("type") not in (None, "custom"):
            continue
        path = f"tools.{index}.custom"
        _require(tool, ("name",), path)
        if not is_tool_name(tool["name"]):
            raise RefusedError(f"{path}.name: String should match pattern '{TOOL_NAME}'")
        schema = tool.get("input_schema")
        if not isinstance(schema, Mapping):
            raise RefusedError(f"{path}.input_schema: Field required")
        if schema.get("type") != "object":
            problem = "Input should be 'object'" if "type" in schema else "Field required"
            raise RefusedError(f"{path}.input_schema.type: {problem}")
    if len(set(map(str, names))) < len(names):
        raise RefusedError("tools: Tool names must be unique.")
    _check_tool_choice(body.get("tool_choice"), names)


def _check_tool_choice(choice: object, names: Sequence[object]) -> None:
    if choice is None:
        return
    kind = choice.get("type") if isinstance(choice, Mapping) else None
    if not isinstance(choice, Mapping) or kind not in ("auto", "any", "tool", "none"):
        known = "'any', 'auto', 'none', 'tool'"
        raise RefusedError(f"tool_choice: Input tag '{kind}' does not match any of the expected tags: {known}")
    if kind in ("any", "tool") and not names:
        raise RefusedError("tool_choice: may only be specified while providing tools")
    if kind == "tool" and choice.get("name") not in names:
        raise RefusedError(f"Tool '{choice.get('name')}' not found in provided tools")


def _check_output_config(config: object) -> None:
    format_ = config.get("format") if isinstance(config, Mapping) else None
    if format_ is None:
        return
    path = "output_config.format"
    if not isinstance(format_, Mapping) or format_.get("type") != "json_schema":
        raise RefusedError(f"{path}.type: Input should be 'json_schema'")
    if not isinstance(format_.get("schema"), Mapping):
        raise RefusedError(f"{path}.schema: Field required")
    if loose_end_of(format_["schema"], all_required=False) is not None:
        raise RefusedError(f"{path}.schema: For 'object' type, 'additionalProperties' must be explicitly set to false")


def _require(block: JSON, names: Sequence[str], path: str) -> None:
    for name in names:
        if not isinstance(block.get(name), str):
            raise RefusedError(f"{path}.{name}: Field required")
