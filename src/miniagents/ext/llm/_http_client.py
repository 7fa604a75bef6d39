"""Providers that are asked over plain HTTP, without an SDK. Imported with the HTTP client, when one is first asked."""

from contextlib import AsyncExitStack
from typing import Any, Final

import httpx2

from miniagents.ext.llm import _pool, _sizes
from miniagents.ext.llm._http import limit_body
from miniagents.ext.llm._json_body import json_of
from miniagents.ext.llm._sdk import error_of_status
from miniagents.ext.llm.errors import LLMParameterError

# As the SDKs: long for the answer, short for the connection. How long a model may be silent is limited elsewhere.
_TIMEOUT: Final = httpx2.Timeout(600, connect=5)
# What the SDKs take beside the parameters of the API, and so every agent does.
_EXTRAS: Final = ("extra_headers", "extra_query", "extra_body", "timeout")


class HTTPClient:
    """An HTTP client for one server, with its key."""

    def __init__(self, base_url: str, headers: dict[str, str], api_key: str | None = None) -> None:
        self.base_url = base_url
        self.api_key = api_key
        self.default_headers = headers
        self._urls: dict[str, httpx2.URL] = {}
        self._http = httpx2.AsyncClient(
            headers=headers,
            timeout=_TIMEOUT,
            follow_redirects=True,
            event_hooks={"response": [limit_body]},
            **_pool.spread_transport(),
        )

    async def post(self, path: str, request: dict[str, Any], opened: AsyncExitStack, provider: str) -> httpx2.Response:
        """The response to a request, whose body is still to be read; `opened` closes it.

        Raises `LLMStatusError` for a bad status, and `LLMParameterError` for what is no JSON.
        """
        body, options = _split(request)
        try:
            content = await json_of(body)
        except (TypeError, ValueError, RecursionError) as error:
            raise LLMParameterError(f"The request to {provider} cannot be written as JSON: {error}") from error
        headers = {"content-type": "application/json", **(options.get("extra_headers") or {})}
        timeout = {"timeout": options["timeout"]} if "timeout" in options else {}
        url = self._url_of(path)
        if query := options.get("extra_query"):
            url = url.copy_merge_params(query)
        sent = self._http.build_request("POST", url, content=content, headers=headers, **timeout)
        response = await self._http.send(sent, stream=True)
        opened.push_async_callback(response.aclose)
        if not response.is_success:
            raise error_of_status(await _sizes.body_of_whole(response, provider), response, provider)
        return response

    def _url_of(self, path: str) -> httpx2.URL:
        """Where `path` is: behind that of the base URL, and before what that has behind a `?`."""
        if path not in self._urls:  # there are few, and to make one takes as long as to read three tokens
            url = httpx2.URL(self.base_url)
            base, mark, query = url.raw_path.partition(b"?")
            self._urls[path] = url.copy_with(raw_path=base.rstrip(b"/") + b"/" + path.encode() + mark + query)
        return self._urls[path]

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()


def _split(request: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is said to the API, and how."""
    options: dict[str, Any] = {name: request[name] for name in _EXTRAS if name in request}
    body = {name: value for name, value in request.items() if name not in options}
    return {**body, **(options.get("extra_body") or {})}, options
