"""Tools of MCP servers. `pip install "miniagents[mcp]"`.

```python
openai_agent.inquire("What is new?", tools=[mcp_tools("http://localhost:8000/mcp")])
```
"""

import re
from collections.abc import AsyncIterator, Collection, Sequence
from typing import Any, Final, Self

from pydantic_core import to_json

from miniagents.ext.llm._mcp_connection import MCPConnection, shown
from miniagents.ext.llm.errors import LLMParameterError, ToolError
from miniagents.ext.llm.tools import Tool, ToolSource
from miniagents.promising import PromisingContext

__all__ = ["DEFAULT_TIMEOUT", "MCPTool", "MCPTools", "mcp_tools"]

DEFAULT_TIMEOUT: Final = 600.0
"""Seconds that a server has for each answer if nobody says."""


class MCPTool(Tool):
    """A tool of an MCP server."""

    def __init__(self, connection: MCPConnection, told: Any, *, prefix: str, needs_approval: bool) -> None:
        self._connection = connection
        self._name_there: str = told.name
        # Servers may use dots and more, which the providers of models refuse.
        name = re.sub("[^a-zA-Z0-9_-]", "_", prefix + told.name)
        description = told.description or told.title or ""
        super().__init__(name, description, told.input_schema, needs_approval=needs_approval)

    async def run(self, arguments: dict[str, Any]) -> AsyncIterator[str]:
        """What the server gives."""
        result = await self._connection.call_tool(self._name_there, arguments)
        text = "\n\n".join(map(_as_text, result.content))
        if not result.content and result.structured_content is not None:
            text = to_json(result.structured_content).decode()
        if result.is_error:
            raise ToolError(text or "The tool has failed.")
        yield text


class MCPTools(ToolSource):
    """The tools of an MCP server. Made by `mcp_tools`."""

    def __init__(
        self,
        server: Any,
        *,
        only: Collection[str] | None,
        prefix: str,
        needs_approval: bool | Collection[str],
        timeout: float | None,
    ) -> None:
        if isinstance(only, str) or isinstance(needs_approval, str):
            raise LLMParameterError("`only` and `needs_approval` take a list of names.")
        if isinstance(server, str) and not server.startswith(("http://", "https://")):
            raise LLMParameterError(
                "A text is the URL of an MCP server, http://... or https://...; a command is a list: "
                '`mcp_tools(["python", "server.py"])`.'
            )
        self._server = server
        self._only = only
        self._prefix = prefix
        self._needs_approval = needs_approval
        self._timeout = timeout
        self._own: MCPConnection | None = None
        """The connection of a block, if this stands in an `async with`."""

    async def tools(self) -> Sequence[Tool]:
        """The tools that the server has now. Raises `ToolSourceError` if it cannot be asked."""
        connection = self._own
        if connection is None:
            connection = PromisingContext.get_current().resource(self, self._shared)
        told = await connection.list_tools()
        known = {one.name for one in told}
        wanted = known if self._only is None else set(self._only)
        approved_each = set() if isinstance(self._needs_approval, bool) else set(self._needs_approval)
        if unknown := sorted((wanted | approved_each) - known):
            raise LLMParameterError(
                f"{shown(self._server)} has no tool named {', '.join(unknown)}, but {', '.join(sorted(known))}."
            )
        return [
            MCPTool(
                connection,
                one,
                prefix=self._prefix,
                needs_approval=self._needs_approval is True or one.name in approved_each,
            )
            for one in told
            if one.name in wanted
        ]

    async def __aenter__(self) -> Self:
        if self._own is not None:
            raise LLMParameterError("These tools are in use by a block already: make others by `mcp_tools`.")
        self._own = MCPConnection(self._server, self._timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        own, self._own = self._own, None
        if own is not None:
            await own.close()

    def _shared(self) -> tuple[MCPConnection, Any]:
        connection = MCPConnection(self._server, self._timeout)
        return connection, connection.close


def mcp_tools(
    server: Any,
    *,
    only: Collection[str] | None = None,
    prefix: str = "",
    needs_approval: bool | Collection[str] = False,
    timeout: float | None = DEFAULT_TIMEOUT,
) -> MCPTools:
    """The tools of an MCP server, to stand in `tools=[...]`.

    The connection is opened when a model is first to be told of the tools, is shared by all agents, and is closed with
    the outermost context; in `async with mcp_tools(...) as tools`, with the block. One that was lost is opened again
    for the next call. The list of tools is asked for anew for each call of an agent.

    - `server`: the URL of a server; its command, such as `["python", "server.py"]`; whatever else `mcp.Client` takes,
      such as a server in this process; or a function that makes any of these or a client, for what can be used once,
      such as a transport with headers of your own.
    - `only`: the names of the tools that the model gets, as the server has them; by default all.
    - `prefix`: what is put before each name, where two servers have tools of the same name.
    - `needs_approval`: whether somebody is asked before each call, or the names of the tools for which that is so.
    - `timeout`: seconds that the server has for each answer; `None` for no limit.

    A server is somebody else's program: what it says of its tools, and what they give, is text for the model, which
    chooses nothing here. Pictures and other data in results are only named.
    """
    return MCPTools(server, only=only, prefix=prefix, needs_approval=needs_approval, timeout=timeout)


def _as_text(block: Any) -> str:
    match block.type:
        case "text":
            return str(block.text)
        case "image" | "audio":
            return f"[{block.type} of type {block.mime_type}, which is not shown]"
        case "resource":
            text = getattr(block.resource, "text", None)
            return f"[resource {block.resource.uri}, which is not shown]" if text is None else str(text)
        case "resource_link":
            return f"[{block.name}: {block.uri}]"
        case _:
            return f"[{block.type}, which is not shown]"
