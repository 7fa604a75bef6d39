"""The pool: many connections at once, spread evenly, made a few at a time, and all of them closed."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from miniagents.ext.llm._client import limited_http_client
from miniagents.ext.llm._pool import SpreadTransport, spread_transport
from miniagents.testing import LLMServer, VirtualTimeLoop, explore, run_virtual

URL = "http://host.test/"


class Body(httpx2.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"hi"


class Part(httpx2.AsyncBaseTransport):
    """Answers at once, or when it is told to, or not at all."""

    def __init__(self) -> None:
        self.requests = 0
        self.tasks: list[asyncio.Task[Any] | None] = []
        self.error: BaseException | None = None
        self.is_closed = False

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.requests += 1
        self.tasks.append(asyncio.current_task())
        await asyncio.sleep(1)
        if self.error is not None:
            raise self.error
        return httpx2.Response(200, stream=Body(), extensions={"part": self})

    async def aclose(self) -> None:
        self.is_closed = True
        if self.error is not None:
            raise self.error


class Parts:
    """A transport over parts that can be looked at."""

    def __init__(self, most: int = 4) -> None:
        self.made: list[Part] = []
        self.transport = SpreadTransport(self._make, most)

    def _make(self) -> Part:
        self.made.append(Part())
        return self.made[-1]

    @property
    def requests(self) -> list[int]:
        return [part.requests for part in self.made]

    async def send(self) -> httpx2.Response:
        return await self.transport.handle_async_request(httpx2.Request("GET", URL))


def test_requests_one_after_the_other_share_a_part() -> None:
    """Where nothing is simultaneous there is one part, so that the connection of the last request is found."""

    async def main() -> None:
        parts = Parts()
        for _ in range(5):
            response = await parts.send()
            assert await response.aread() == b"hi"
            await response.aclose()
        assert parts.requests == [5]

    run_virtual(main)


def test_simultaneous_requests_are_spread_evenly() -> None:
    """A request counts for its part until its answer is closed, and the next one goes where there are fewest."""

    async def main() -> None:
        parts = Parts()
        responses = await asyncio.gather(*(parts.send() for _ in range(10)))
        assert parts.requests == [3, 3, 2, 2]
        for response in responses:
            if response.extensions["part"] is parts.made[1]:
                await response.aclose()
                await response.aclose()
        await asyncio.gather(*(parts.send() for _ in range(4)))
        assert parts.requests == [3, 6, 3, 2]

    run_virtual(main)


@pytest.mark.parametrize("how", ["failed", "cancelled"])
def test_a_request_without_an_answer_counts_no_longer(how: str) -> None:
    """One that failed or was cancelled does not make its part look busy."""

    async def main() -> None:
        parts = Parts(2)
        requests = [asyncio.create_task(parts.send()) for _ in range(6)]
        await asyncio.sleep(0.5)
        if how == "cancelled":
            for request in requests:
                if request in parts.made[0].tasks:
                    request.cancel()
        else:
            parts.made[0].error = httpx2.ConnectError("no")
        await asyncio.wait(requests)
        parts.made[0].error = None
        await asyncio.gather(*(parts.send() for _ in range(3)))
        assert parts.requests == [6, 3]

    run_virtual(main)


def test_all_parts_are_closed() -> None:
    """Also those behind one that fails to be closed, whose error is raised."""

    async def main() -> None:
        parts = Parts()
        await asyncio.gather(*(parts.send() for _ in range(4)))
        parts.made[2].error = OSError("no")
        with pytest.raises(OSError, match="no"):
            await parts.transport.aclose()
        assert [part.is_closed for part in parts.made] == [True] * 4

    run_virtual(main)


class Connecting(httpx2.AsyncBaseTransport):
    """Makes a connection for each request, and tells of it, as the HTTP client's own transport does."""

    def __init__(self) -> None:
        self.now = 0
        self.most = 0

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        trace = request.extensions["trace"]
        for step in ("connect_tcp", "start_tls"):
            await trace(f"connection.{step}.started", {})
            self.now += 1
            self.most = max(self.most, self.now)
            try:
                await asyncio.sleep(1)
                if request.url.path == "/broken":
                    raise httpx2.ConnectError("no")
            except BaseException as error:
                self.now -= 1
                await trace(f"connection.{step}.failed", {"exception": error})
                raise
            self.now -= 1
            await trace(f"connection.{step}.complete", {"return_value": None})
        if request.url.path == "/moved":
            return httpx2.Response(302, headers={"location": "/"}, stream=Body())
        return httpx2.Response(200, stream=Body())


def test_connections_are_made_a_few_at_a_time() -> None:
    """However many requests come at once, no more than 64 connect; one that fails or is cancelled lets in the next."""

    async def main() -> None:
        server = Connecting()
        async with httpx2.AsyncClient(transport=SpreadTransport(lambda: server), follow_redirects=True) as client:
            for round_number in range(3):  # places that are lost would be missed later
                paths = ["", "broken", "moved", "cancelled"] * 100
                tasks = [asyncio.create_task(client.get(URL + path)) for path in paths]
                await asyncio.sleep(0.5 + round_number)
                for path, task in zip(paths, tasks, strict=True):
                    if path == "cancelled":
                        task.cancel()
                await asyncio.wait(tasks)
                good = [task.result() for task in tasks if not task.cancelled() and not task.exception()]
                assert [response.status_code for response in good] == [200] * 200
                assert (server.now, server.most) == (0, 64)

    run_virtual(main)


@pytest.mark.parametrize(("busy_turns", "starts_at"), [(0, 0), (3, 3), (1000, 20)])
def test_the_time_to_connect_begins_when_the_loop_is_free(busy_turns: int, starts_at: float) -> None:
    """While the event loop is busy with others nobody begins to connect, unless it is always busy."""

    class Busy(VirtualTimeLoop):
        def call_soon(self, *args: Any, **kwargs: Any) -> asyncio.Handle:
            nonlocal busy_turns
            if is_connecting and busy_turns:
                busy_turns -= 1
                self._now += 1  # each turn takes a second
            return super().call_soon(*args, **kwargs)

    is_connecting = False

    async def main() -> None:
        nonlocal is_connecting
        request = httpx2.Request("GET", URL)
        is_connecting = True
        await SpreadTransport(Clock).handle_async_request(request)

    class Clock(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            await request.extensions["trace"]("connection.connect_tcp.started", {})
            assert asyncio.get_running_loop().time() == starts_at
            return httpx2.Response(200, stream=Body())

    with asyncio.Runner(loop_factory=Busy) as runner:
        runner.run(main())


def test_who_is_cancelled_on_its_way_to_connect_lets_in_the_next() -> None:
    """Whenever requests are cancelled, the places of those that were connecting are free again."""

    async def main() -> None:
        server = Connecting()
        transport = SpreadTransport(lambda: server)
        tasks = [asyncio.create_task(transport.handle_async_request(httpx2.Request("GET", URL))) for _ in range(100)]
        for _ in range(100):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await asyncio.gather(*(transport.handle_async_request(httpx2.Request("GET", URL)) for _ in range(64)))
        assert server.most == 64

    explore(main, range(30))


def test_a_caller_may_trace_its_requests() -> None:
    """The trace function that a request has of its own is called as it would be without the pool."""
    seen: list[str] = []

    async def trace(event: str, info: dict[str, Any]) -> None:
        seen.append(event)

    async def main() -> None:
        async with httpx2.AsyncClient(transport=SpreadTransport(Connecting)) as client:
            await client.get(URL, extensions={"trace": trace})

    run_virtual(main)
    steps = ("connect_tcp", "start_tls")
    assert seen == [f"connection.{step}.{what}" for step in steps for what in ("started", "complete")]


PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in PROXY_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.lower(), raising=False)


@pytest.mark.usefixtures("no_proxy")
@pytest.mark.parametrize("sdk", [openai, anthropic], ids=["openai", "anthropic"])
@pytest.mark.parametrize("variable", ["HTTP_PROXY", "all_proxy"])
async def test_a_proxy_of_the_environment_is_used(sdk: Any, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests go to the proxy, but for the hosts of `NO_PROXY`, as they would without the pool."""
    async with LLMServer() as proxy, LLMServer() as server:
        monkeypatch.setenv(variable, proxy.url)
        client = limited_http_client(sdk, "openai")
        await client.get("http://host.test/v1/models")
        assert [request.path for request in proxy.requests] == ["http://host.test/v1/models"]
        await client.aclose()
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        client = limited_http_client(sdk, "openai")
        assert (await client.get(f"{server.url}/v1/models")).status_code == 200
        assert len(proxy.requests) == 1
        await client.aclose()


@pytest.mark.usefixtures("no_proxy")
@pytest.mark.parametrize("sdk", [openai, anthropic], ids=["openai", "anthropic"])
async def test_the_clients_of_the_sdks_use_it(sdk: Any) -> None:
    """The client that is made for an SDK goes on with one connection, and closes it in the end."""
    async with LLMServer() as server:
        client = limited_http_client(sdk, "openai")
        for _ in range(3):
            assert (await client.get(f"{server.url}/v1/models")).json()["data"][0]["id"] == "offline"
        assert server.open_connections == 1
        await client.aclose()
        await server.wait_until(lambda: server.open_connections == 0)
        assert client.timeout.connect == 5


MANY = 1500


class AllAtOnce(asyncio.Protocol):
    """One connection to a server that answers nobody until all are there."""

    arrived = 0
    everybody: "list[AllAtOnce]"

    def __init__(self) -> None:
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        if self.received.endswith(b"\r\n\r\n"):
            AllAtOnce.everybody.append(self)
            if len(AllAtOnce.everybody) == MANY:
                for connection in AllAtOnce.everybody:
                    connection.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")


@pytest.mark.timeout(120)
@pytest.mark.usefixtures("no_proxy")
async def test_very_many_streams_can_be_open_at_once() -> None:
    """1,500 requests of one client are open at the same time, and none fails for want of a connection."""
    AllAtOnce.everybody = []
    server = await asyncio.get_running_loop().create_server(AllAtOnce, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with httpx2.AsyncClient(timeout=None, **spread_transport()) as client:
        responses = await asyncio.gather(*(client.get(url) for _ in range(MANY)))
    assert {response.text for response in responses} == {"hi"}
    server.close()
    await server.wait_closed()
