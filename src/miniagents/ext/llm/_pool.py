"""Many connections at once: the pool of the HTTP client, cut into parts. Loaded with an SDK, which brings that client.

At each beginning and end of a request a pool looks at all of its connections, so the time for N simultaneous requests
grows by the square of N. Sixteen small pools cost a sixteenth.

Connections are made a few at a time. If a thousand knock at once, most are not heard the first time, by a server whose
queue for them is full, or by this program, which is busy with all the others; and then their time to connect is over.
"""

import asyncio
import socket
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Final

import httpx2

_PARTS: Final = 16
# As many idle connections as the SDKs keep. How many may be open is not for the pool to say: the limiter does, and who
# waits here, behind it, would be waiting on the time of the model.
_IDLE_CONNECTIONS: Final = 100
# Below the length of the shortest queues of servers.
_CONNECTING_AT_ONCE: Final = 64
# A turn of the event loop that takes longer than these seconds is one of a crowd; after so many turns it is the rule.
_LONG_TURN: Final = 0.1
_MOST_TURNS: Final = 20

# So that a connection that has died without a word is noticed within minutes, also while nothing is expected from it.
_KEEP_ALIVE: Final = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 60, "TCP_KEEPCNT": 5}

_STEPS: Final = ("connection.connect_tcp", "connection.start_tls")
_CONNECTING: Final = frozenset(f"{step}.started" for step in _STEPS)
_CONNECTED: Final = frozenset(f"{step}.{end}" for step in _STEPS for end in ("complete", "failed"))


class SpreadTransport(httpx2.AsyncBaseTransport):
    """A transport that spreads its requests over up to `parts` others, made by `make`, each to the least busy one."""

    def __init__(self, make: Callable[[], httpx2.AsyncBaseTransport], parts: int = _PARTS) -> None:
        self._make = make
        self._most = parts
        self._parts: list[_Part] = []
        self._gate = asyncio.Semaphore(_CONNECTING_AT_ONCE)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send the request. It counts for its part until the body of the response is closed."""
        part = self._least_busy()
        part.requests += 1
        # A copy: one of a redirection would have the extensions of this one, and pass the gate twice.
        extensions = {**request.extensions, "trace": partial(self._trace, request.extensions.get("trace"))}
        copy = httpx2.Request(
            request.method, request.url, headers=request.headers, stream=request.stream, extensions=extensions
        )
        try:
            response = await part.transport.handle_async_request(copy)
        except BaseException:
            part.requests -= 1
            raise
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _CountedBody(response.stream, part)
        return response

    async def aclose(self) -> None:
        """Close all parts, also those behind one that fails."""
        async with AsyncExitStack() as closing:
            for part in self._parts:
                closing.push_async_callback(part.transport.aclose)

    async def _trace(self, inner: Any, event: str, info: dict[str, Any]) -> None:
        # The HTTP client waits for this, and the time that it has to connect begins behind it.
        if event in _CONNECTED:
            self._gate.release()
        if inner is not None:
            await inner(event, info)
        if event in _CONNECTING:
            await self._gate.acquire()
            try:
                await _calm()
            except BaseException:
                self._gate.release()
                raise

    def _least_busy(self) -> "_Part":
        # The first of them: one request after the other finds the connection of the one before.
        part = min(self._parts, key=lambda part: part.requests, default=None)
        if part is None or (part.requests and len(self._parts) < self._most):
            part = _Part(self._make())
            self._parts.append(part)
        return part


async def _calm() -> None:
    """Wait for a short turn of the event loop: while a thousand requests are made, nobody sees who has connected."""
    clock = asyncio.get_running_loop().time
    for _ in range(_MOST_TURNS):
        before = clock()
        await asyncio.sleep(0)
        if clock() - before < _LONG_TURN:
            return


class _Part:
    def __init__(self, transport: httpx2.AsyncBaseTransport) -> None:
        self.transport = transport
        self.requests = 0


class _CountedBody(httpx2.AsyncByteStream):
    def __init__(self, body: httpx2.AsyncByteStream, part: _Part) -> None:
        self._body = body
        self._part: _Part | None = part

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._body:
            yield piece

    async def aclose(self) -> None:
        part, self._part = self._part, None
        if part is not None:
            part.requests -= 1
        await self._body.aclose()


def spread_transport() -> dict[str, Any]:
    """The arguments with which an HTTP client spreads its connections.

    None at all where the environment names a proxy: only if it makes its transports itself does the HTTP client obey
    `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`.
    """
    if set(urllib.request.getproxies()) & {"http", "https", "all"}:
        return {}
    # Here, in the thread that makes the client, and one for all: it takes tens of milliseconds.
    context = httpx2.create_ssl_context()
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=_IDLE_CONNECTIONS // _PARTS)
    options = [
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        *(
            (socket.IPPROTO_TCP, getattr(socket, name), value)
            for name, value in _KEEP_ALIVE.items()
            if hasattr(socket, name)
        ),
    ]
    return {
        "transport": SpreadTransport(
            lambda: httpx2.AsyncHTTPTransport(verify=context, limits=limits, socket_options=options)
        )
    }
