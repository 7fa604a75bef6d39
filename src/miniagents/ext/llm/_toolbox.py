"""The tools of one call of an LLM agent."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from miniagents.ext.llm.errors import LLMParameterError
from miniagents.ext.llm.prompt import ToolSchema
from miniagents.ext.llm.tools import Tool, ToolLike, ToolSource, tool


@dataclass(frozen=True, slots=True)
class Toolbox:
    """What a model may call."""

    tools: dict[str, Tool] = field(default_factory=dict)
    """Those that are run here, by name."""
    foreign: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """Those in the provider's own format, which whoever asks the agent runs, by name."""

    @classmethod
    async def of(cls, given: Iterable[ToolLike] | None) -> "Toolbox":
        """The tools that `tools=` names. Raises `LLMParameterError` for two of one name and for what is no tool."""
        box = cls()
        if given is None:
            return box
        # An iterator would be empty at the next call of a forked agent.
        if isinstance(given, (str, Mapping, Iterator)) or not isinstance(given, Iterable):
            raise LLMParameterError(f"`tools` is a list of tools, not {type(given).__name__}.")
        for one in given:
            if isinstance(one, Mapping):
                name = _name_of(one) or f"{one.get('type')} {len(box.foreign)}"
                box._check_new(name)
                box.foreign[name] = one
                continue
            for found in await one.tools() if isinstance(one, ToolSource) else [await _as_tool(one)]:
                box._check_new(found.name)
                box.tools[found.name] = found
        return box

    @property
    def schemas(self) -> tuple[ToolSchema, ...]:
        """What the model is told of the tools that are run here."""
        return tuple(tool.schema for tool in self.tools.values())

    def of_provider(self) -> dict[str, Any]:
        """The parameter of the API for the tools in the provider's own format, if there are any."""
        return {"tools": list(self.foreign.values())} if self.foreign else {}

    def is_run_here(self, name: str) -> bool:
        """Whether a call of this tool has its result from here, if only that there is no such tool."""
        return bool(self.tools) and name not in self.foreign

    def _check_new(self, name: str) -> None:
        if name in self.tools or name in self.foreign:
            raise LLMParameterError(
                f'Two of the tools are named {name!r}: give one another name by `tool(..., name="...")`, or '
                "those of an MCP server by `mcp_tools(..., prefix=...)`."
            )


async def _as_tool(one: Any) -> Tool:
    if isinstance(one, Tool):
        return one
    await asyncio.sleep(0)  # to make a schema takes a millisecond or two, and there may be many
    made: Tool = tool(one)
    return made


def _name_of(foreign: Mapping[str, Any]) -> str:
    """The name of a tool in a provider's format: of OpenAI's chat, or of the others."""
    function = foreign.get("function")
    name = function.get("name") if isinstance(function, Mapping) else foreign.get("name")
    return name if isinstance(name, str) else ""
