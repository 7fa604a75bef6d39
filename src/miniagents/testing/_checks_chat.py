"""Which chat completions OpenAI would refuse, as far as it matters for histories, tools, files and schemas."""

from collections.abc import Mapping, Sequence

from miniagents.testing._checks import (
    check_functions,
    check_strict_format,
    empty_array,
    is_base64,
    is_data_url,
    is_web_address,
    missing,
    no_such_value,
    wrong_type,
)
from miniagents.testing._wire import JSON, RefusedError

_ROLES = ("system", "assistant", "user", "function", "tool", "developer")
_DETAILS = ("auto", "low", "high", "original")
_PARTS = ("text", "image_url", "input_audio", "refusal", "file")


def check_chat(body: JSON) -> None:
    """Raises `RefusedError` if OpenAI would refuse the request."""
    for name, kind in (("model", str), ("messages", list)):
        if not isinstance(body.get(name), kind):
            raise missing(name)
    messages = body["messages"]
    for index, message in enumerate(messages):
        _check_message(message, f"messages[{index}]")
    _check_calls(messages)
    names = check_functions(body["tools"], "tools", is_nested=True) if body.get("tools") is not None else []
    _check_tool_choice(body, names)
    _check_response_format(body.get("response_format"))


def _check_message(message: object, path: str) -> None:
    if not isinstance(message, Mapping):
        raise wrong_type(path, "an object")
    role = message.get("role")
    if role is None:
        raise missing(f"{path}.role")
    if role not in _ROLES:
        raise no_such_value(role, f"{path}.role", *_ROLES)
    content = message.get("content")
    calls = message.get("tool_calls")
    if role == "assistant":
        _check_tool_calls(calls, path)
    elif calls is not None:
        raise RefusedError(f"Unknown parameter: '{path}.tool_calls'.", f"{path}.tool_calls", "unknown_parameter")
    if role == "tool" and not isinstance(message.get("tool_call_id"), str):
        raise missing(f"{path}.tool_call_id")
    if content is None and role == "assistant" and (calls or message.get("refusal") or message.get("function_call")):
        return
    where = f"{path}.content"
    if isinstance(content, str):
        return
    if not isinstance(content, list):
        got = "null" if content is None else f"a {type(content).__name__}"
        raise RefusedError(f"Invalid value for 'content': expected a string, got {got}.", where, "invalid_type")
    if not content:
        raise empty_array(where)
    for index, part in enumerate(content):
        _check_part(part, str(role), f"{where}[{index}]")


def _check_part(part: object, role: str, path: str) -> None:
    if not isinstance(part, Mapping) or "type" not in part:
        raise missing(f"{path}.type")
    kind = part["type"]
    if kind not in _PARTS:
        raise no_such_value(kind, f"{path}.type", *_PARTS)
    if kind not in ("text", "refusal") and role != "user":
        message = f"Invalid '{path}'. {kind} is only allowed in messages of the role 'user'."
        raise RefusedError(message, path, "invalid_value")
    value = part.get(kind)
    if isinstance(value, Mapping) and kind not in ("text", "refusal"):
        _check_file(kind, value, f"{path}.{kind}")
    elif not isinstance(value, str) or kind not in ("text", "refusal"):
        raise missing(f"{path}.{kind}")


def _check_file(kind: str, value: JSON, path: str) -> None:
    if kind == "image_url":
        _check_image(value, path)
    elif kind == "input_audio":
        if value.get("format") not in ("wav", "mp3") or not is_base64(value.get("data")):
            message = f"Invalid '{path}': expected base64 'data' and a 'format' of 'wav' or 'mp3'."
            raise RefusedError(message, path, "invalid_value")
    else:
        has_data = is_data_url(value.get("file_data"), "") and isinstance(value.get("filename"), str)
        if not has_data and not isinstance(value.get("file_id"), str):
            message = f"Invalid '{path}': expected a 'file_id', or a 'filename' and 'file_data' as a data URL."
            raise RefusedError(message, path, "invalid_value")


def _check_image(image: JSON, path: str) -> None:
    url = image.get("url")
    if isinstance(url, str) and url.startswith("data:"):
        if not is_data_url(url, "image/"):
            message = (
                "You uploaded an unsupported image. Please make sure your image has of one the following formats: "
                "['png', 'jpeg', 'gif', 'webp']."
            )
            raise RefusedError(message, path, "invalid_image_format")
    elif not is_web_address(url):
        message = f"Invalid '{path}.url'. Expected a valid URL, but got a value with an invalid format."
        raise RefusedError(message, f"{path}.url", "invalid_value")
    if image.get("detail", "auto") not in _DETAILS:
        raise no_such_value(image["detail"], f"{path}.detail", *_DETAILS)


def _check_tool_calls(calls: object, path: str) -> None:
    if calls is None:
        return
    where = f"{path}.tool_calls"
    if not isinstance(calls, list):
        raise wrong_type(where, "an array of objects")
    if not calls:
        raise empty_array(where)
    for index, call in enumerate(calls):
        if not isinstance(call, Mapping):
            raise wrong_type(f"{where}[{index}]", "an object")
        function = call.get("function")
        inner = function if isinstance(function, Mapping) else {}
        if not all(isinstance(item, str) for item in (call.get("id"), inner.get("name"), inner.get("arguments"))):
            message = f"Invalid '{where}[{index}]': expected an 'id', and a 'function' with a 'name' and 'arguments'."
            raise RefusedError(message, f"{where}[{index}]", "invalid_type")


def _check_calls(messages: Sequence[JSON]) -> None:
    open_calls: dict[str, None] = {}
    answers_are_allowed = False
    for index, message in enumerate(messages):
        if message["role"] == "tool":
            if not answers_are_allowed:
                raise RefusedError(
                    "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with "
                    "'tool_calls'.",
                    f"messages.[{index}].role",
                )
            if message["tool_call_id"] not in open_calls:
                raise RefusedError(
                    f"Invalid parameter: 'tool_call_id' of '{message['tool_call_id']}' not found in 'tool_calls' of "
                    "previous message.",
                    f"messages.[{index}].tool_call_id",
                )
            del open_calls[message["tool_call_id"]]
            continue
        _refuse_open(open_calls, index)
        open_calls = {call["id"]: None for call in message.get("tool_calls") or []}
        answers_are_allowed = bool(open_calls)
    _refuse_open(open_calls, len(messages))


def _refuse_open(open_calls: Mapping[str, None], index: int) -> None:
    if open_calls:
        raise RefusedError(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            "'tool_call_id'. The following tool_call_ids did not have response messages: " + ", ".join(open_calls),
            f"messages.[{index}].role",
        )


def _check_tool_choice(body: JSON, names: Sequence[str]) -> None:
    choice = body.get("tool_choice")
    if choice is None:
        return
    if not body.get("tools"):
        message = "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified."
        raise RefusedError(message, "tool_choice")
    if isinstance(choice, Mapping) and choice.get("type") == "function":
        function = choice.get("function")
        name = function.get("name") if isinstance(function, Mapping) else None
        if name not in names:
            message = f"Invalid value for 'tool_choice': the tool '{name}' was not specified in the 'tools' parameter."
            raise RefusedError(message, "tool_choice")
    elif not isinstance(choice, Mapping) and choice not in ("none", "auto", "required"):
        raise no_such_value(choice, "tool_choice", "none", "auto", "required")


def _check_response_format(format_: object) -> None:
    if format_ is None:
        return
    kind = format_.get("type") if isinstance(format_, Mapping) else None
    if not isinstance(format_, Mapping) or kind not in ("text", "json_object", "json_schema"):
        raise no_such_value(kind, "response_format.type", "json_object", "json_schema", "text")
    if kind == "json_schema":
        inner = format_.get("json_schema")
        check_strict_format(inner if isinstance(inner, Mapping) else {}, "response_format.json_schema")
