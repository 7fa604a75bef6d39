"""As much of an HTTP/1.1 server as `LLMServer` needs, and ways to break off an answer that a real one does not have."""

import asyncio
import os
import socket
import struct
from dataclasses import dataclass
from http import HTTPStatus

_OVERLOADED = 529  # Anthropic's own status, unknown to `HTTPStatus`


class BadRequestError(Exception):
    """What arrived is no request that this server can read; the text is the answer's."""


@dataclass(frozen=True)
class HTTPRequest:
    """A request as it was read; names of headers are in lower case, the query is not part of `path`."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


async def read_request(reader: asyncio.StreamReader) -> HTTPRequest | None:
    """Waits for the next request; None when the client has closed the connection instead."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    except asyncio.LimitOverrunError as error:
        raise BadRequestError("The head of the request is too long.") from error
    request_line, *header_lines = head.removesuffix("\r\n\r\n").split("\r\n")
    headers: dict[str, str] = {}
    for line in header_lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    length = headers.get("content-length", "0")
    if request_line.count(" ") != 2 or "transfer-encoding" in headers or not (length.isascii() and length.isdigit()):
        raise BadRequestError("Expected an HTTP/1.1 request with a Content-Length.")
    method, target, _ = request_line.split(" ")
    try:
        body = await reader.readexactly(int(length))
    except asyncio.IncompleteReadError:
        return None
    return HTTPRequest(method, target.partition("?")[0], headers, body)


class HTTPResponse:
    """Writes one answer. With `every_byte` each byte of the body is sent by itself, as a chunk if it is chunked."""

    def __init__(self, writer: asyncio.StreamWriter, *, every_byte: bool = False) -> None:
        self._writer = writer
        self._every_byte = every_byte

    async def begin(self, status: int, headers: dict[str, str], *, length: int | None = None) -> None:
        """Sends the head; without `length` the body is chunked."""
        if status == _OVERLOADED:
            phrase = "Overloaded"
        else:
            phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else "Unknown"
        framing = {"transfer-encoding": "chunked"} if length is None else {"content-length": str(length)}
        lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in {**headers, **framing}.items())]
        await self._send("\r\n".join([*lines, "", ""]).encode("latin-1"))

    async def send_chunk(self, data: bytes) -> None:
        """Sends a part of a chunked body."""
        for part in self._parts(data):
            await self._send(b"%x\r\n%s\r\n" % (len(part), part))

    async def send_plain(self, data: bytes) -> None:
        """Sends a part of a body with a length."""
        for part in self._parts(data):
            await self._send(part)

    async def end_chunks(self) -> None:
        """Ends a chunked body as HTTP asks for."""
        await self._send(b"0\r\n\r\n")

    async def cut_chunk(self) -> None:
        """Begins a chunk, of which the rest will never come."""
        await self._send(b'40\r\ndata: {"')

    async def close(self) -> None:
        """Closes the connection in good order, whatever was promised."""
        self._writer.close()

    async def reset(self) -> None:
        """Closes the connection with a TCP reset."""
        # To linger for no time means that the socket is not shut down but reset when it is closed.
        linger = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._writer.transport.abort()

    def _parts(self, data: bytes) -> list[bytes]:
        return [data[index : index + 1] for index in range(len(data))] if self._every_byte else [data]

    async def _send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()
