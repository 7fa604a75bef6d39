"""A loopback server in the place of the LLM providers, for programs that use the real SDKs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from miniagents.testing.llm_server import LLMRequest, LLMServer

# An upper bound for a machine under load, never a time that a test waits for.
DEADLINE_SECONDS = 15.0


def environment_for(server: LLMServer) -> dict[str, str]:
    """The variables with which the official SDKs talk to `server` instead of to their providers."""
    return server.environment


@asynccontextmanager
async def llm_environment() -> AsyncIterator[dict[str, str]]:
    """The variables that lead to a server of its own, which answers until the block is left."""
    async with LLMServer() as server:
        yield environment_for(server)


async def next_request(server: LLMServer) -> LLMRequest:
    """Wait for a program's next request to `server`; a program that never sends one fails."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        return await server.next_request()
