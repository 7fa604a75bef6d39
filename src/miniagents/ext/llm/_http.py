"""Our own HTTP client's limit. Loaded with an SDK, which brings the HTTP client that is imported here."""

from collections.abc import AsyncIterator
from contextlib import aclosing

import httpx2

from miniagents.ext.llm import _sizes


class LimitedBody(httpx2.AsyncByteStream):
    """The body of a response, unpacked here, because a small one may be packed that fills the memory."""

    def __init__(self, response: httpx2.Response) -> None:
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        self._packed = response.stream
        self._unpacking = httpx2.Response(response.status_code, headers=response.headers, stream=response.stream)
        self.limit = _sizes.MAX_PIECE
        """How many bytes it may have: as many as can be read at once, unless the reader of a stream allows for more."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        is_packed = "content-encoding" in self._unpacking.headers
        unpacked = self._unpacking.aiter_bytes() if is_packed else self._unpacking.aiter_raw()
        async with aclosing(unpacked):
            async for piece in _sizes.within(self.limit, unpacked, "The answer of the server"):
                yield piece

    async def aclose(self) -> None:
        """Close the connection, or give it back."""
        await self._packed.aclose()


async def limit_body(response: httpx2.Response) -> None:
    """Called by the HTTP client for each response, also of a redirection, before its body is read."""
    response.stream = LimitedBody(response)
    response.headers.pop("content-encoding", None)
