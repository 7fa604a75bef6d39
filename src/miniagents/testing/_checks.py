"""What the providers check alike: files as data, names of tools, schemas of answers."""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any

from miniagents.testing._wire import JSON, RefusedError, objects_in

TOOL_NAME = r"^[a-zA-Z0-9_-]{1,64}$"


def is_tool_name(name: object) -> bool:
    """Whether a tool may have this name."""
    return isinstance(name, str) and re.fullmatch(TOOL_NAME.strip("^$"), name) is not None


def is_base64(data: object) -> bool:
    """Whether it is a text that is base64 of something."""
    if not isinstance(data, str) or not data:
        return False
    try:
        base64.b64decode(data, validate=True)
    except binascii.Error:
        return False
    return True


def is_web_address(url: object) -> bool:
    """Whether it is the address of a page or file on the web."""
    return isinstance(url, str) and re.match(r"https?://[^\s/]", url) is not None


def is_data_url(url: object, kind: str) -> bool:
    """Whether it is a `data:` URL with base64 of this kind of file, such as `image/`."""
    if not isinstance(url, str) or not url.startswith(f"data:{kind}"):
        return False
    head, _, data = url.partition(",")
    return head.endswith(";base64") and is_base64(data)


def missing(path: str) -> RefusedError:
    """What OpenAI says of a field that is not there."""
    return RefusedError(f"Missing required parameter: '{path}'.", path, "missing_required_parameter")


def no_such_value(value: object, path: str, *known: str) -> RefusedError:
    """What OpenAI says of a value that is none of those that it knows."""
    names = ", ".join(f"'{name}'" for name in known[:-1])
    message = f"Invalid value: '{value}'. Supported values are: {names}, and '{known[-1]}'."
    return RefusedError(message, path, "invalid_value")


def wrong_type(path: str, expected: str) -> RefusedError:
    """What OpenAI says of a value of another type than it expects."""
    return RefusedError(f"Invalid type for '{path}': expected {expected}.", path, "invalid_type")


def empty_array(path: str) -> RefusedError:
    """What OpenAI says of a list that has nothing in it."""
    expected = "Expected an array with minimum length 1, but got an empty array instead."
    return RefusedError(f"Invalid '{path}': empty array. {expected}", path, "empty_array")


def loose_end_of(schema: object, *, all_required: bool, path: str = "") -> str | None:
    """Why a schema is not strict: an object in it that is open, or in which a property may be missing.

    Returns:
        A sentence, which tells the place in the schema; None if the schema is strict.
    """
    if not isinstance(schema, Mapping):
        return None
    kinds = schema.get("type")
    if kinds == "object" or (isinstance(kinds, list) and "object" in kinds):
        context = f"In context=({path.removeprefix(', ')})"
        if schema.get("additionalProperties") is not False:
            return f"{context}, 'additionalProperties' is required to be supplied and to be false."
        absent = [name for name in _mapping(schema.get("properties")) if name not in (schema.get("required") or [])]
        if all_required and absent:
            return (
                f"{context}, 'required' is required to be supplied and to be an array including every key in "
                f"properties. Missing '{absent[0]}'."
            )
    for place, inner in _schemas_in(schema):
        problem = loose_end_of(inner, all_required=all_required, path=f"{path}, {place}")
        if problem is not None:
            return problem
    return None


def _schemas_in(schema: JSON) -> Iterator[tuple[str, object]]:
    for keyword in ("properties", "$defs", "definitions"):
        yield from ((f"'{keyword}', '{name}'", inner) for name, inner in _mapping(schema.get(keyword)).items())
    for keyword in ("anyOf", "allOf", "oneOf", "prefixItems"):
        yield from ((f"'{keyword}', '{index}'", inner) for index, inner in enumerate(objects_in(schema.get(keyword))))
    yield "'items'", schema.get("items")


def check_strict_format(format_: JSON, field: str) -> None:
    """Refuses a `json_schema` format of OpenAI that has no name or no schema, or is strict with a loose schema."""
    if not is_tool_name(format_.get("name")):
        raise missing(f"{field}.name")
    schema = format_.get("schema")
    if not isinstance(schema, Mapping):
        raise missing(f"{field}.schema")
    problem = loose_end_of(schema, all_required=True) if format_.get("strict") else None
    if problem is not None:
        where = field.partition(".")[0]
        message = f"Invalid schema for {where} '{format_['name']}': {problem}"
        raise RefusedError(message, where, "invalid_json_schema")


def check_functions(tools: Any, where: str, *, is_nested: bool) -> list[str]:
    """Refuses tools that OpenAI would refuse; returns the names of the functions.

    Args:
        tools: The list from the request.
        where: Its name in messages.
        is_nested: Whether a function is inside `function`, as in chat completions.
    """
    if not isinstance(tools, list) or not all(isinstance(tool, Mapping) for tool in tools):
        raise wrong_type(where, "an array of objects")
    names: list[str] = []
    for index, tool in enumerate(tools):
        path = f"{where}[{index}]"
        if "type" not in tool:
            raise missing(f"{path}.type")
        if tool["type"] != "function":
            if is_nested and tool["type"] != "custom":
                raise no_such_value(tool["type"], f"{path}.type", "function", "custom")
            continue
        function = tool.get("function") if is_nested else tool
        if not isinstance(function, Mapping):
            raise missing(f"{path}.function")
        _check_function(function, f"{path}.function" if is_nested else path)
        if function["name"] in names:
            message = f"Invalid '{where}': duplicate function name '{function['name']}'."
            raise RefusedError(message, where, "invalid_value")
        names.append(function["name"])
    return names


def _check_function(function: JSON, path: str) -> None:
    name = function.get("name")
    if not name:
        raise missing(f"{path}.name")
    if not is_tool_name(name):
        message = f"Invalid '{path}.name': string does not match pattern. Expected a string that matches the pattern "
        raise RefusedError(f"{message}'{TOOL_NAME}'.", f"{path}.name", "invalid_value")
    parameters = function.get("parameters")
    if parameters is None:
        return
    if not isinstance(parameters, Mapping) or parameters.get("type") != "object":
        kind = parameters.get("type") if isinstance(parameters, Mapping) else parameters
        message = f"""schema must be a JSON Schema of 'type: "object"', got 'type: "{kind}"'."""
        raise RefusedError(f"Invalid schema for function '{name}': {message}", path, "invalid_function_parameters")
    problem = loose_end_of(parameters, all_required=True) if function.get("strict") else None
    if problem is not None:
        raise RefusedError(f"Invalid schema for function '{name}': {problem}", path, "invalid_function_parameters")


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
