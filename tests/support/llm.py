"""A loopback server in the place of the LLM providers, for programs that use the real SDKs."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar
from unittest.mock import patch

import httpx2

from miniagents.testing.llm_server import LLMRequest, LLMServer

T = TypeVar("T")

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


def client_with_transport(make: Callable[..., T], transport: httpx2.AsyncBaseTransport) -> Callable[..., T]:
    """`make`, an HTTP client's class, for clients that send their requests to `transport`, whatever else they are told."""
    return lambda **options: make(**{**options, "transport": transport})


@contextmanager
def answered_in_memory() -> Iterator[None]:
    """Any address may be asked in this block, because its clients send to transports that have no network."""
    with patch.dict(os.environ, {"MINIAGENTS_OFFLINE": ""}):
        yield
