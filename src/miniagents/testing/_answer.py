"""Sends one answer of `LLMServer`: the parts that a wire format makes, at the pace and with the fault of the test."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn

from miniagents.testing._faults import Fault
from miniagents.testing._http import HTTPResponse
from miniagents.testing._wire import Event, StreamedWire, Wire, dump

JSON_HEADERS = {"content-type": "application/json"}
_SSE_HEADERS = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
_SECONDS_BETWEEN_COMMENTS = 0.01


class Answer:
    """One answer on its way.

    Args:
        response: Where it goes.
        wire: Makes its parts.
        fault: What goes wrong, if anything.
        before_token: Awaited before each token is sent.
    """

    def __init__(
        self,
        response: HTTPResponse,
        wire: Wire,
        fault: Fault | None,
        *,
        before_token: Callable[[], Awaitable[object]],
    ) -> None:
        self._response = response
        self._wire = wire
        self._fault = fault
        self._kind = fault.kind if fault is not None else None
        self._before_token = before_token

    async def send(self, headers: dict[str, str]) -> bool:
        """Sends the answer; returns whether the connection is still good for another one."""
        match self._kind:
            case "close_before_headers":
                await self._response.close()
                return False
            case "hang_before_headers":
                await _hang()
            case "status":
                await self._send_status(headers)
                return True
        if isinstance(self._wire, StreamedWire) and self._wire.is_streamed:
            return await self._send_stream(self._wire, headers)
        return await self._send_whole(headers)

    async def _send_status(self, headers: dict[str, str]) -> None:
        assert self._fault is not None
        if self._fault.retry_after is not None:
            headers = {**headers, "retry-after": f"{self._fault.retry_after:g}"}
        status = self._fault.status
        await send_json(self._response, status, self._wire.error_body(status, f"Planned error {status}"), headers)

    async def _send_stream(self, wire: StreamedWire, headers: dict[str, str]) -> bool:
        await self._response.begin(200, {**_SSE_HEADERS, **headers})
        for event in wire.opening():
            await self._send_event(event)
        tokens_to_come = min(self._fault.at_token, wire.tokens) if self._fault is not None else -1
        for step in wire.body():
            if step is None:
                connection_is_good = await self._strike(wire) if tokens_to_come == 0 else None
                if connection_is_good is not None:
                    return connection_is_good
                continue
            if step.is_token:
                await self._before_token()
                tokens_to_come -= 1
            await self._send_event(step)
        for event in wire.closing():
            await self._send_event(event)
        await self._response.end_chunks()
        return True

    async def _strike(self, wire: StreamedWire) -> bool | None:
        """Lets the fault happen in a stream: None if the stream goes on, else whether the connection is still good."""
        match self._kind:
            case "cut":
                await self._response.cut_chunk()
                await self._response.close()
                return False
            case "reset":
                await self._response.reset()
                return False
            case "silence":
                await _hang()
            case "comments_only":
                while True:
                    await self._response.send_chunk(b": still here\n\n")
                    await asyncio.sleep(_SECONDS_BETWEEN_COMMENTS)
            case "clean_eof":
                await self._response.end_chunks()
                return True
            case "error_event":
                for event in wire.error_events():
                    await self._send_event(event)
                await self._response.end_chunks()
                return True
            case "malformed_json":
                broken = wire.token("broken")
                await self._send_event(Event(broken.data[: len(broken.data) // 2], broken.name))
            case "null_content":
                await self._send_event(wire.empty_token())
        return None

    async def _send_whole(self, headers: dict[str, str]) -> bool:
        for _ in range(self._wire.tokens):
            await self._before_token()
        body = dump(self._wire.error_body(500, "Planned error") if self._kind == "error_event" else self._wire.whole())
        data = body.encode()
        half = data[: len(data) // 2]
        match self._kind:
            case "cut" | "reset" | "silence" | "comments_only":
                await self._response.begin(200, {**JSON_HEADERS, **headers}, length=len(data))
                await self._response.send_plain(half)
                if self._kind == "cut":
                    await self._response.close()
                elif self._kind == "reset":
                    await self._response.reset()
                else:
                    await _hang()
                return False
            case "clean_eof" | "malformed_json":
                data = half
        await self._response.begin(200, {**JSON_HEADERS, **headers}, length=len(data))
        await self._response.send_plain(data)
        return True

    async def _send_event(self, event: Event) -> None:
        await self._response.send_chunk(event.encode(crlf_and_comments=self._kind == "crlf_and_comments"))


async def send_json(response: HTTPResponse, status: int, value: object, headers: dict[str, str]) -> None:
    """Sends `value` as the whole of an answer."""
    data = dump(value).encode()
    await response.begin(status, {**JSON_HEADERS, **headers}, length=len(data))
    await response.send_plain(data)


async def _hang() -> NoReturn:
    # Until the task of the connection is cancelled, because the client has gone or the server is closed.
    while True:
        await asyncio.get_running_loop().create_future()
