"""Calls of tools in a history as providers take them, whatever a model has written."""

import hashlib
import json
import re
from typing import Any, Final

from miniagents.ext.llm._tool_arguments import read_arguments
from miniagents.ext.llm.errors import ToolError

_TAKEN: Final = re.compile("[a-zA-Z0-9_-]+")
_NOT_TAKEN: Final = re.compile("[^a-zA-Z0-9_-]")
_LONGEST_ID: Final = 40
_DIGEST: Final = 8


def call_id(given: str) -> str:
    """An id that Anthropic and OpenAI take: the given one, or one that is made of it and is always the same."""
    if _TAKEN.fullmatch(given) and len(given) <= _LONGEST_ID:
        return given
    digest = hashlib.sha256(given.encode()).hexdigest()[:_DIGEST]
    return f"{_NOT_TAKEN.sub('_', given)[: _LONGEST_ID - _DIGEST - 1]}_{digest}"


def object_of(arguments: str) -> dict[str, Any]:
    """The arguments of a call as an object, also if the model has not written one."""
    try:
        return read_arguments(arguments)
    except ToolError:
        return {"arguments": arguments}


def object_text(arguments: str) -> str:
    """`object_of` as JSON, in the words of the model if that is what it has written."""
    if not arguments.strip():
        return "{}"
    try:
        read_arguments(arguments)
    except ToolError:
        return json.dumps(object_of(arguments))
    return arguments
