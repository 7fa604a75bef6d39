"""Schemas of answers in the forms that providers hold a model to. What is lost in one, pydantic checks all the same."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any, Final

# OpenAI knows no other way to say what a value is, and refuses a place where nothing is said.
_SAY_WHAT: Final = frozenset({"type", "anyOf", "$ref", "enum", "const"})
_NOT_STRICT: Final = frozenset({"prefixItems", "oneOf", "allOf", "patternProperties"})

# What Anthropic takes.
_KEYWORDS: Final = frozenset(
    {"$defs", "$ref", "type", "anyOf", "allOf", "enum", "const", "title", "description", "properties", "required"}
    | {"additionalProperties", "items", "format", "minItems"}
)
_FORMATS: Final = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)


def close(schema: dict[str, Any]) -> bool:
    """Bring a schema into the form that providers hold a model to. False if it is not possible.

    Every object has exactly its fields, which are all required; a reference stands alone; nothing has a default; what
    is one of several is any of them.
    """
    is_closed = True
    for node in _nodes(schema):
        node.pop("default", None)
        node.pop("discriminator", None)
        if "oneOf" in node and "anyOf" not in node:
            node["anyOf"] = node.pop("oneOf")
        if "$ref" in node and len(node) > 1:
            node["anyOf"] = [{"$ref": node.pop("$ref")}]
        if node.keys() & _NOT_STRICT or not node.keys() & _SAY_WHAT:
            is_closed = False
        if node.get("type") == "object":
            if node.setdefault("additionalProperties", False) is not False:
                is_closed = False
            if "properties" in node:
                node["required"] = list(node["properties"])
    return is_closed


def for_anthropic(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """A closed schema as Anthropic takes it: what it does not know is told in words. `None` for a recursive one."""
    if _is_recursive(schema):
        return None
    taken = copy.deepcopy(dict(schema))
    for node in _nodes(taken):
        told = {name: value for name, value in node.items() if not _is_taken(name, value)}
        for name in told:
            del node[name]
        if told:
            words = "{" + ", ".join(f"{name}: {value}" for name, value in told.items()) + "}"
            node["description"] = f"{node['description']}\n\n{words}" if "description" in node else words
    return taken


def _is_taken(name: str, value: Any) -> bool:
    if name == "minItems":
        return value in (0, 1)
    return value in _FORMATS if name == "format" else name in _KEYWORDS


def _is_recursive(schema: Mapping[str, Any]) -> bool:
    needs = {
        f"#/$defs/{name}": {inner["$ref"] for inner in _nodes(node) if "$ref" in inner}
        for name, node in schema.get("$defs", {}).items()
    }
    while found := [name for name, needed in needs.items() if not needed & needs.keys()]:
        for name in found:
            del needs[name]
    return bool(needs)


def _nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """All schemas in a schema, each before those in it, which may be changed until then."""
    waiting: list[Any] = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        if isinstance(node, dict):
            yield node
            for name in ("properties", "$defs"):  # whose keys are names, and no words of the schema
                waiting += node.get(name, {}).values()
            waiting += [node[name] for name in ("items", "prefixItems", "anyOf", "oneOf", "allOf") if name in node]
