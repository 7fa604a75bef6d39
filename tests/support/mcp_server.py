"""An MCP server for tests: in the process of the test, or as a program, over its standard streams or over HTTP."""

import asyncio
import os
import socket
import sys
from pathlib import Path

import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.utilities.types import Image


def tell(path: str) -> None:
    Path(path).touch()


def make_server() -> MCPServer:
    server = MCPServer("test", log_level="CRITICAL")

    @server.tool()
    def add(a: int, b: int) -> int:
        """Adds two numbers."""
        return a + b

    @server.tool(name="list.cities", description="Cities.")
    def cities() -> list[str]:
        return ["Oslo", "Rome"]

    @server.tool()
    def fail() -> str:
        raise ValueError("no such thing")

    @server.tool(structured_output=False)
    def picture() -> list[object]:
        return ["A dot:", Image(data=b"dot", format="png")]

    @server.tool()
    async def die() -> str:
        os._exit(3)

    @server.tool()
    async def hang(started: str, ended: str) -> str:
        tell(started)
        try:
            await asyncio.Event().wait()
        finally:
            tell(ended)
        return "never"

    return server


def serve_http() -> None:
    """On a free port; the first line of output is the URL."""
    listening = socket.create_server(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{listening.getsockname()[1]}/mcp", flush=True)
    app = make_server().streamable_http_app()
    asyncio.run(uvicorn.Server(uvicorn.Config(app, log_level="critical")).serve(sockets=[listening]))


if __name__ == "__main__":
    serve_http() if sys.argv[1:] == ["http"] else make_server().run("stdio")
