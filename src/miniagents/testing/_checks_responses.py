"""Which requests for responses OpenAI would refuse, as far as it matters for histories, tools, files and schemas."""

from collections.abc import Mapping, Sequence
from typing import Any

from miniagents.testing._checks import (
    check_functions,
    check_strict_format,
    is_base64,
    is_data_url,
    is_web_address,
    missing,
    no_such_value,
    wrong_type,
)
from miniagents.testing._parts import RedactedThinking, signature_of
from miniagents.testing._wire import JSON, Memory, RefusedError, messages_of, objects_in

_ROLES = ("assistant", "system", "developer", "user")
_PARTS = ("input_text", "input_image", "output_text", "refusal", "input_file", "input_audio")
# Items of the provider's own tools, which are taken as they are.
_OTHERS = (
    *("additional_tools", "apply_patch_call", "apply_patch_call_output", "code_interpreter_call", "compaction"),
    *("compaction_trigger", "computer_call", "computer_call_output", "configuration_update", "custom_tool_call"),
    *("custom_tool_call_output", "file_search_call", "image_generation_call", "local_shell_call"),
    *("local_shell_call_output", "mcp_approval_request", "mcp_approval_response", "mcp_call", "mcp_list_tools"),
    *("program", "program_output", "shell_call", "shell_call_output", "tool_search_call", "tool_search_output"),
    "web_search_call",
)
_ITEMS = ("message", "function_call", "function_call_output", "reasoning", "item_reference")
_MOVED = {"messages": "input", "response_format": "text.format", "max_tokens": "max_output_tokens"}


def check_response(body: JSON, memory: Memory) -> None:
    """Raises `RefusedError` if OpenAI would refuse the request."""
    for name, new_name in _MOVED.items():
        if name in body:
            message = (
                f"Unsupported parameter: '{name}'. In the Responses API, this parameter has moved to '{new_name}'."
            )
            raise RefusedError(message, name, "unsupported_parameter")
    if not isinstance(body.get("model"), str):
        raise missing("model")
    if not isinstance(body.get("input"), str | list):
        raise missing("input")
    for name, kind in (("reasoning", Mapping), ("text", Mapping), ("metadata", Mapping), ("include", list)):
        if not isinstance(body.get(name), kind | None):
            raise wrong_type(name, "an array" if kind is list else "an object")
    previous = body.get("previous_response_id")
    if previous is not None and previous not in memory.responses:
        message = f"Previous response with id '{previous}' not found."
        raise RefusedError(message, "previous_response_id", "previous_response_not_found")
    items = body["input"] if isinstance(body["input"], list) else []
    for index, item in enumerate(items):
        _check_item(item, f"input[{index}]", body, memory)
    _check_calls(input_items(body, memory))
    limit = body.get("max_output_tokens")
    if isinstance(limit, int) and limit < 16:
        name = "max_output_tokens"
        message = f"Invalid '{name}': integer below minimum value. Expected a value >= 16, but got {limit} instead."
        raise RefusedError(message, name, "integer_below_min_value")
    names = check_functions(body["tools"], "tools", is_nested=False) if body.get("tools") is not None else []
    _check_tool_choice(body.get("tool_choice"), names)
    _check_text_format(body.get("text"))


def input_items(body: JSON, memory: Memory) -> list[JSON]:
    """All that the model is given: the items of the response before, if there is one, and those of the request."""
    before = memory.responses.get(str(body.get("previous_response_id")), ())
    referred = [
        memory.items.get(str(item.get("id")), item) if item.get("type") == "item_reference" else item
        for item in messages_of(body)
    ]
    return [*before, *referred]


def _check_item(item: object, path: str, body: JSON, memory: Memory) -> None:
    if not isinstance(item, Mapping):
        raise wrong_type(path, "an object")
    match item.get("type", "message"):
        case "message":
            _check_message(item, path)
        case "function_call":
            _require_texts(item, path, "call_id", "name", "arguments")
        case "function_call_output":
            _require_texts(item, path, "call_id")
            output = item.get("output")
            if isinstance(output, list):
                _check_parts(output, f"{path}.output", is_answer=False)
            elif not isinstance(output, str):
                raise missing(f"{path}.output")
        case "reasoning":
            _check_reasoning(item, path, body, memory)
        case "item_reference":
            _check_stored(item, path, body, memory)
        case kind if kind not in _OTHERS:
            raise no_such_value(kind, path, *_ITEMS, *_OTHERS)


def _check_message(item: JSON, path: str) -> None:
    role, content = item.get("role"), item.get("content")
    if role not in _ROLES:
        raise no_such_value(role, path, *_ROLES)
    if isinstance(content, list):
        _check_parts(content, f"{path}.content", is_answer=role == "assistant")
    elif not isinstance(content, str):
        raise missing(f"{path}.content")


def _check_parts(parts: Sequence[Any], path: str, *, is_answer: bool) -> None:
    known = ("output_text", "refusal") if is_answer else tuple(kind for kind in _PARTS if kind.startswith("input"))
    for index, part in enumerate(parts):
        where = f"{path}[{index}]"
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind not in known:
            raise no_such_value(kind, where, *known)
        match kind:
            case "input_text" | "output_text":
                _require_texts(part, where, "text")
            case "refusal":
                _require_texts(part, where, "refusal")
            case "input_image":
                url = part.get("image_url")
                if not (isinstance(part.get("file_id"), str) or is_web_address(url) or is_data_url(url, "image/")):
                    message = (
                        f"Invalid '{where}.image_url'. Expected a valid URL, but got a value with an invalid format."
                    )
                    raise RefusedError(message, f"{where}.image_url", "invalid_value")
            case "input_file":
                data = part.get("file_data")
                has_data = isinstance(part.get("filename"), str) and is_data_url(data, "")
                if not (isinstance(part.get("file_id"), str) or is_web_address(part.get("file_url")) or has_data):
                    message = f"Invalid '{where}': expected a 'file_id', a 'file_url', or a 'filename' and 'file_data'."
                    raise RefusedError(message, where, "invalid_value")
            case "input_audio":
                audio = part.get("input_audio") or {}
                if audio.get("format") not in ("wav", "mp3") or not is_base64(audio.get("data")):
                    message = f"Invalid '{where}.input_audio': expected base64 'data' and a 'format' of 'wav' or 'mp3'."
                    raise RefusedError(message, f"{where}.input_audio", "invalid_value")


def _check_reasoning(item: JSON, path: str, body: JSON, memory: Memory) -> None:
    if not isinstance(item.get("summary"), list):
        raise missing(f"{path}.summary")
    encrypted = item.get("encrypted_content")
    if encrypted is None:
        _check_stored(item, path, body, memory)
        return
    text = "".join(str(part.get("text")) for part in objects_in(item["summary"]))
    if encrypted not in memory.thinking and encrypted not in (signature_of(text), RedactedThinking().data):
        message = f"The encrypted content for item {item.get('id')} could not be verified."
        raise RefusedError(message, path, "invalid_encrypted_content")


def _check_stored(item: JSON, path: str, body: JSON, memory: Memory) -> None:
    item_id = item.get("id")
    if body.get("store", True) is False or item_id not in memory.items:
        message = (
            f"Item with id '{item_id}' not found. Items are not persisted when `store` is set to false. Try again with "
            "`store` set to true, or remove this item from your input."
        )
        raise RefusedError(message, path)


def _check_calls(items: Sequence[JSON]) -> None:
    calls = {item["call_id"] for item in items if item.get("type") == "function_call"}
    outputs = [item["call_id"] for item in items if item.get("type") == "function_call_output"]
    for call_id in outputs:
        if call_id not in calls:
            raise RefusedError(f"No tool call found for function call output with call_id {call_id}.", "input")
    for item in items:
        if item.get("type") == "function_call" and item["call_id"] not in outputs:
            raise RefusedError(f"No tool output found for function call {item['call_id']}.", "input")
    for item, following in zip(items, [*items[1:], {}], strict=True):
        is_of_the_model = following.get("role") == "assistant" or following.get("type") in (
            "function_call",
            "reasoning",
        )
        if item.get("type") == "reasoning" and not is_of_the_model:
            message = f"Item '{item.get('id')}' of type 'reasoning' was provided without its required following item."
            raise RefusedError(message, "input")


def _check_tool_choice(choice: object, names: Sequence[str]) -> None:
    if isinstance(choice, str) and choice not in ("none", "auto", "required"):
        raise no_such_value(choice, "tool_choice", "none", "auto", "required")
    if isinstance(choice, Mapping) and choice.get("type") == "function" and choice.get("name") not in names:
        raise RefusedError(
            f"Tool choice 'function' not found in 'tools' parameter: '{choice.get('name')}'.", "tool_choice"
        )


def _check_text_format(text: object) -> None:
    format_ = text.get("format") if isinstance(text, Mapping) else None
    if format_ is None:
        return
    kind = format_.get("type") if isinstance(format_, Mapping) else None
    if not isinstance(format_, Mapping) or kind not in ("text", "json_object", "json_schema"):
        raise no_such_value(kind, "text.format.type", "json_object", "json_schema", "text")
    if kind == "json_schema":
        check_strict_format(format_, "text.format")


def _require_texts(item: JSON, path: str, *names: str) -> None:
    for name in names:
        if not isinstance(item.get(name), str):
            raise missing(f"{path}.{name}")
