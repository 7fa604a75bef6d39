"""A server on this machine that speaks like the LLM providers, answers what a test wants, and breaks on request.

```python
async with LLMServer(reply="Hello, world") as server:
    client = openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="any")     # or
    client = anthropic.AsyncAnthropic(base_url=server.url, api_key="any")
    ...
    assert server.requests[0].messages == [{"role": "user", "content": "Hi"}]
```

It is a real HTTP server on 127.0.0.1, so the official SDKs work with it unchanged:

* `POST /v1/chat/completions` and `POST /v1/responses`, streamed and whole, `POST /v1/embeddings` and `GET /v1/models`
  in the wire formats of OpenAI;
* `POST /v1/messages`, streamed and whole, and `GET /v1/models` (with the header `anthropic-version`) in Anthropic's.

It needs no key and accepts any. A reply may think and call tools, and look at the results that come back:

```python
def reply(request):
    if not request.tool_results:
        return [Thinking("I must look."), ToolUse("weather", {"city": "Oslo"})]
    return f"It is {request.tool_results[0].text} there."
```

Requests that the providers would refuse are refused likewise: calls of tools without results and results without calls,
thinking whose signature is not its own, names and schemas of tools, files that are none. What a request asks of the
sampling, and several choices, are accepted and ignored.

For programs in other processes: `python -m miniagents.testing.llm_server [--port N] [--reply TEXT] [--fault KIND]`
prints its URL as its first line and serves until SIGINT or SIGTERM.
"""

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import get_args

from miniagents.testing import _wire_anthropic, _wire_openai
from miniagents.testing._answer import Answer, send_json
from miniagents.testing._connection import ClientConnection
from miniagents.testing._embeddings import EmbeddingFunction, EmbeddingsWire
from miniagents.testing._faults import Fault, FaultKind
from miniagents.testing._http import BadRequestError, HTTPRequest, HTTPResponse
from miniagents.testing._llm_request import LLMRequest, ToolResult
from miniagents.testing._parts import Part, RedactedThinking, ReplyPart, Thinking, ToolUse, parts_of
from miniagents.testing._wire import Exchange, Memory, RefusedError, Wire
from miniagents.testing._wire_responses import ResponsesWire

__all__ = [
    "Fault",
    "FaultChoice",
    "FaultKind",
    "LLMRequest",
    "LLMServer",
    "RedactedThinking",
    "Reply",
    "ReplyPart",
    "Thinking",
    "ToolResult",
    "ToolUse",
]

ReplyContent = ReplyPart | Sequence[ReplyPart]
"""A text, the tokens of one, thinking, a call of a tool, or a sequence of these."""

Reply = ReplyContent | Callable[[LLMRequest], ReplyContent | Awaitable[ReplyContent]]
"""What to answer: this, or a function (async or not) that makes it from the request."""

FaultChoice = FaultKind | Fault | None
"""What goes wrong with an answer: the name of a fault, a `Fault` with its details, or nothing."""

_WIRES: Mapping[str, Callable[[Exchange], Wire]] = {
    "/v1/chat/completions": _wire_openai.OpenAIWire,
    "/v1/responses": ResponsesWire,
    "/v1/messages": _wire_anthropic.AnthropicWire,
}
_EMBEDDINGS = "/v1/embeddings"
_FAULTS_WITHOUT_TEXT = frozenset({"status", "close_before_headers", "hang_before_headers", "no_content"})


class LLMServer:
    """A server that speaks the wire formats of OpenAI and Anthropic; see the module for an example.

    Args:
        reply: What it answers. A text is sent word by word, a list token by token; a list may also have `Thinking` and
            `ToolUse` in it. What a reply says is sent, also if the request did not ask for it. By default `You said: `
            and the last text of the user.
        fault: What goes wrong: the name of a fault, a `Fault` with its details, or a function that chooses for each
            request. The table in `Fault` tells what there is.
        paced: If true, each token waits for a `release_token`, so that a test decides what is there when. What is not
            a token (the start and the end of a stream) does not wait; an answer that is not streamed waits for all of
            its tokens.
        models: The names in the list of models; requests may ask for any other.
        port: The port on 127.0.0.1; any free one if not given.
        embedding: Makes the vector of a text. By default the vector tells which words the text has, so that texts with
            the same words are near each other.
        rate_limit: Called for each request. If it returns seconds, the request is answered with status 429 and told to
            come back after these (`Retry-After`).

    Use it as an async context manager. Leaving the block closes every connection, also those in the midst of an
    answer, and raises what one of the functions has raised, if the block itself did not fail.

    Raises:
        OSError: On entering: the port is taken.
        RuntimeError: On entering: it is running already.
        ValueError: An unknown fault.
    """

    def __init__(
        self,
        reply: Reply | None = None,
        *,
        fault: FaultChoice | Callable[[LLMRequest], FaultChoice] = None,
        paced: bool = False,
        models: Sequence[str] = ("offline",),
        port: int = 0,
        embedding: EmbeddingFunction | None = None,
        rate_limit: Callable[[LLMRequest], float | None] | None = None,
    ) -> None:
        self.requests: list[LLMRequest] = []
        """All requests so far, in the order in which they arrived."""
        self._reply: Reply = _say_it_back if reply is None else reply
        self._fault = fault if callable(fault) else _as_fault(fault)
        self._faults_so_far = 0
        self._paced = paced
        self._models = tuple(models)
        self._port = port
        self._wires = {**_WIRES, _EMBEDDINGS: lambda exchange: EmbeddingsWire(exchange, embedding)}
        self._rate_limit = rate_limit
        self._server: asyncio.Server | None = None
        self._is_closing = False
        self._connections: set[ClientConnection] = set()
        self._handed_out = 0
        self._early_releases = 0
        self._changed = asyncio.Event()
        self._errors: list[Exception] = []
        self._memory = Memory()

    async def __aenter__(self) -> "LLMServer":
        def accept() -> ClientConnection:
            return ClientConnection(self._answer, self._connections, self._connections_changed, self._errors)

        if self._server is not None:
            raise RuntimeError("This server is running already; make a second one.")
        self._is_closing = False
        self._server = await asyncio.get_running_loop().create_server(accept, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self._is_closing = True
        self._connections_changed()
        await self.wait_until(lambda: not self._connections)
        await self._server.wait_closed()
        self._server = None
        self._notify()
        if error is None and self._errors:
            raise self._errors[0]

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`, which is Anthropic's base URL; OpenAI's has `/v1` behind it."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables with which the official SDKs find this server instead of their providers."""
        return {
            "OPENAI_API_KEY": "offline",
            "OPENAI_BASE_URL": f"{self.url}/v1",
            "ANTHROPIC_API_KEY": "offline",
            "ANTHROPIC_BASE_URL": self.url,
        }

    @property
    def open_connections(self) -> int:
        """How many connections clients hold open, idle ones included."""
        return len(self._connections)

    async def next_request(self) -> LLMRequest:
        """Waits for a request that no earlier call has returned; each request is returned once, in order.

        Raises:
            RuntimeError: The server is not running.
        """
        await self.wait_until(lambda: len(self.requests) > self._handed_out)
        self._handed_out += 1
        return self.requests[self._handed_out - 1]

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Waits until `condition()` is true; it is asked whenever a request, a token or a connection comes or ends.

        Example: `await server.wait_until(lambda: server.open_connections == 0)`.

        Raises:
            RuntimeError: The server is not running, so that nothing would change.
        """
        while not condition():
            if self._server is None:
                raise RuntimeError("The server is not running: use `async with LLMServer() as server:`.")
            await self._changed.wait()

    def release_token(self, count: int = 1) -> None:
        """Lets a server that is `paced` send `count` more tokens of the first answer that is not finished.

        If there is none, of the next one. With several requests at once, `LLMRequest.release_token` chooses.
        """
        for request in self.requests:
            if not request.is_finished:
                request.release_token(count)
                return
        self._early_releases += count

    def _connections_changed(self) -> None:
        # A connection can still be on its way in when the server is closed already.
        if self._is_closing:
            for connection in self._connections:
                connection.abort()
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _answer(self, http_request: HTTPRequest, writer: asyncio.StreamWriter) -> bool:
        request = self._record(http_request)
        headers = {"x-request-id": f"req_{request.number}", "request-id": f"req_{request.number}"}
        try:
            if request.method == "POST" and request.path in self._wires:
                return await self._answer_model(request, self._wires[request.path], writer, headers)
            await self._answer_other(request, writer, headers)
            return True
        finally:
            request.is_finished = True
            self._notify()

    def _record(self, http_request: HTTPRequest) -> LLMRequest:
        try:
            body = json.loads(http_request.body or b"{}")
        except ValueError as error:
            raise BadRequestError("The body of the request is not JSON.") from error
        if not isinstance(body, dict):
            raise BadRequestError("The body of the request is not a JSON object.")
        request = LLMRequest(len(self.requests), http_request.method, http_request.path, http_request.headers, body)
        self.requests.append(request)
        request.release_token(self._early_releases)
        self._early_releases = 0
        self._notify()
        return request

    async def _answer_other(self, request: LLMRequest, writer: asyncio.StreamWriter, headers: dict[str, str]) -> None:
        if (request.method, request.path) == ("GET", "/v1/models"):
            provider = _wire_anthropic if "anthropic-version" in request.headers else _wire_openai
            await send_json(HTTPResponse(writer), 200, provider.model_list(self._models), headers)
            return
        message = f"There is no {request.method} {request.path} on this server."
        error = {"error": {"message": message, "type": "not_found_error"}}
        await send_json(HTTPResponse(writer), 404, error, headers)

    async def _answer_model(
        self,
        request: LLMRequest,
        make_wire: Callable[[Exchange], Wire],
        writer: asyncio.StreamWriter,
        headers: dict[str, str],
    ) -> bool:
        wire = make_wire(Exchange(request.number, request.body, memory=self._memory))
        try:
            wire.check()
        except RefusedError as refusal:
            await send_json(HTTPResponse(writer), 400, wire.refusal_body(refusal), headers)
            return True
        try:
            fault = self._next_fault(request)
            kind = fault.kind if fault is not None else None
            has_text = request.path != _EMBEDDINGS and kind not in _FAULTS_WITHOUT_TEXT
            parts = await self._parts_for(request) if has_text else ()
            wire = make_wire(Exchange(request.number, request.body, parts, kind, self._memory))
            wire.prepare()
        except Exception as error:  # from a test's own function; raised again when the server ends
            self._errors.append(error)
            message = f"The function that decides on this answer failed: {error!r}"
            await send_json(HTTPResponse(writer), 500, wire.error_body(500, message), headers)
            return True
        self._memory.thinking.update((part.signature, part.text) for part in parts if part.signature)
        response = HTTPResponse(writer, every_byte=kind == "split_bytes")
        answer = Answer(response, wire, fault, before_token=lambda: self._before_token(request))
        return await answer.send(headers)

    def _next_fault(self, request: LLMRequest) -> Fault | None:
        seconds = self._rate_limit(request) if self._rate_limit is not None else None
        if seconds is not None:
            return Fault("status", status=429, retry_after=seconds)
        fault = _as_fault(self._fault(request)) if callable(self._fault) else self._fault
        if fault is None or (fault.times is not None and self._faults_so_far >= fault.times):
            return None
        self._faults_so_far += 1
        return fault

    async def _parts_for(self, request: LLMRequest) -> Sequence[Part]:
        reply = self._reply(request) if callable(self._reply) else self._reply
        if isinstance(reply, Awaitable):
            reply = await reply
        return parts_of(reply)

    async def _before_token(self, request: LLMRequest) -> None:
        if self._paced:
            await request.wait_for_release()
        # Counted before it is sent, so that whoever has read a token finds it counted.
        request.tokens_sent += 1
        self._notify()


def _say_it_back(request: LLMRequest) -> str:
    return f"You said: {request.last_user_text}"


def _as_fault(choice: FaultChoice) -> Fault | None:
    return choice if choice is None or isinstance(choice, Fault) else Fault(choice)


async def _serve_until_stopped(port: int, reply: str | None, fault: FaultKind | None) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Windows has no signal handlers in event loops; Ctrl+C raises KeyboardInterrupt there.
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stopped.set)
    async with LLMServer(reply, fault=fault, port=port) as server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        await stopped.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: prints the URL of a server and serves until SIGINT or SIGTERM; the exit status is returned."""
    parser = argparse.ArgumentParser(
        prog="python -m miniagents.testing.llm_server",
        description="A server on 127.0.0.1 that speaks the wire formats of OpenAI and Anthropic, for tests.",
    )
    parser.add_argument("--port", type=int, default=0, help="any free port if not given")
    parser.add_argument("--reply", help="what it answers; by default it says back what it was told")
    parser.add_argument("--fault", choices=get_args(FaultKind), help="what goes wrong with every answer")
    options = parser.parse_args(arguments)
    try:
        asyncio.run(_serve_until_stopped(options.port, options.reply, options.fault))
    except KeyboardInterrupt:
        pass  # before the handler was there, or on Windows
    except (OSError, OverflowError) as error:
        parser.exit(1, f"Cannot listen on port {options.port}: {error}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
