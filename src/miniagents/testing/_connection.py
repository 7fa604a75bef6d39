"""One client's connection to `LLMServer`, and the task that serves it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

from miniagents.testing._answer import send_json
from miniagents.testing._http import BadRequestError, HTTPRequest, HTTPResponse, read_request


class ClientConnection(asyncio.StreamReaderProtocol):
    """Reads one request after another and has each one answered by `answer`, which returns whether to read on.

    Its task is cancelled when the client goes away. A client that closes only its own half, to say that its request is
    complete, counts as gone: HTTP clients do not do that, and it is how one that gives up during an answer is noticed.

    Args:
        answer: Answers a request.
        connections: It is in this set as long as it is open.
        changed: Called after each change of `connections`.
        errors: Gets what `answer` raises, if it is not the client's doing.
    """

    def __init__(
        self,
        answer: Callable[[HTTPRequest, asyncio.StreamWriter], Awaitable[bool]],
        connections: "set[ClientConnection]",
        changed: Callable[[], object],
        errors: list[Exception],
    ) -> None:
        super().__init__(asyncio.StreamReader(), self._start)
        self._answer = answer
        self._connections = connections
        self._changed = changed
        self._errors = errors
        self._task: asyncio.Task[None] | None = None
        self._open_transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._open_transport = cast("asyncio.WriteTransport", transport)  # uvloop's is no subclass of it
        super().connection_made(transport)
        self._connections.add(self)
        self._changed()

    def eof_received(self) -> bool:
        """Called by the event loop."""
        super().eof_received()
        self.abort()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        super().connection_lost(exc)
        if self._task is not None:
            self._task.cancel()
        self._connections.discard(self)
        self._changed()

    def abort(self) -> None:
        """Closes the connection at once and cancels the answer that may be on its way."""
        if self._open_transport is not None:
            self._open_transport.abort()
        if self._task is not None:
            self._task.cancel()

    def _start(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._task = asyncio.get_running_loop().create_task(self._serve(reader, writer))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            try:
                while (request := await read_request(reader)) is not None:
                    if not await self._answer(request, writer):
                        return
            except BadRequestError as error:
                await send_json(HTTPResponse(writer), 400, {"error": {"message": str(error)}}, {"connection": "close"})
        except ConnectionError:
            pass  # the client went away
        except Exception as error:  # a fault of the server itself, which must not look like one that was asked for
            self._errors.append(error)
        finally:
            writer.close()
