"""What a docstring says: of the whole, and of each parameter."""

import inspect
import re
from collections.abc import Collection
from typing import Final

_ARGUMENTS: Final = re.compile(r"(args|arguments|parameters|keyword args|keyword arguments):\s*", re.IGNORECASE)
# `name: ...` or `name (type): ...` under `Args:`, and `- name: ...` or "- `name`: ..." anywhere.
_ENTRY: Final = re.compile(r"\**(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)")
_BULLET: Final = re.compile(r"[-*] ((?:`\w+`|\w+)(?:, (?:`\w+`|\w+))*)(?: \([^)]*\))?:\s*(.*)")


def read_docstring(docstring: str | None, parameters: Collection[str]) -> tuple[str, dict[str, str]]:
    """The text without what it says of `parameters`, and that, by name.

    Known are sections `Args:`, as Google writes them, and lists of the form `- name: what it is`.
    """
    rest: list[str] = []
    said: dict[str, list[str]] = {}
    section: int | None = None
    """How far the heading is indented in whose section the line is."""
    current: tuple[int, list[str]] | None = None
    """How far the entry is indented that a line may go on with, and its lines."""
    for line in inspect.cleandoc(docstring or "").splitlines():
        text = line.strip()
        indent = len(line) - len(line.lstrip())
        if _ARGUMENTS.fullmatch(text):
            section, current = indent, None
            continue
        if section is not None and text and indent <= section:
            section = None
        if current is not None and text and indent > current[0]:
            current[1].append(text)
            continue
        names, first = _entry(text, is_in_section=section is not None)
        if names and set(names) <= set(parameters):
            current = (indent, [first])
            said.update((name, current[1]) for name in names)
        elif section is None:
            current = None
            rest.append(line)
    description = re.sub(r"\n{3,}", "\n\n", "\n".join(rest)).strip()
    return description, {name: " ".join(lines).strip() for name, lines in said.items()}


def _entry(text: str, *, is_in_section: bool) -> tuple[list[str], str]:
    """The names that a line tells of, none if it is no such line, and what it says."""
    if bullet := _BULLET.fullmatch(text):
        return re.findall(r"\w+", bullet[1]), bullet[2]
    if is_in_section and (entry := _ENTRY.fullmatch(text)):
        return [entry[1]], entry[2]
    return [], ""
