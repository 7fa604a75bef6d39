"""`HTTPProvider`: a provider that is asked over plain HTTP, without an SDK. `pip install "miniagents[http]"`."""

import os
from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any, ClassVar

from miniagents.ext.llm._body import AnswerParts, parts_of_response
from miniagents.ext.llm._client import check_key, load
from miniagents.ext.llm.errors import LLMParameterError, MissingKeyError
from miniagents.ext.llm.provider import AnswerEvent, ClientOptions, LLMProvider, Provider

__all__ = ["AnswerParts", "HTTPProvider", "OverHTTP"]


class OverHTTP(Provider):
    """How a provider is reached that has no SDK."""

    package: ClassVar[str] = "httpx2"
    base_error: ClassVar[str] = "HTTPError"
    extra: ClassVar[str] = "http"
    default_base_url: ClassVar[str | None] = None
    """Where it is if the call does not say."""
    path: ClassVar[str]
    """What is behind the base URL, such as `chat/completions`."""

    def headers(self, api_key: str | None) -> dict[str, str]:
        """The headers of each request: by default `Authorization: Bearer KEY`, if there is a key."""
        return {"authorization": f"Bearer {api_key}"} if api_key else {}

    def make_client(self, sdk: Any, options: ClientOptions) -> Any:  # noqa: ARG002 (the HTTP client is behind ours)
        """A client that tells others nothing of an account with OpenAI or anybody else."""
        base_url = options.base_url or self.default_base_url
        if base_url is None:
            raise LLMParameterError(
                "`base_url` is empty: it is where the server is, such as http://localhost:11434/v1."
            )
        api_key = options.api_key
        if self.key_variable:
            api_key = api_key or os.environ.get(self.key_variable)
            if not api_key:
                raise MissingKeyError(self.name, self.key_variable)
        check_key(api_key, self.name)
        http = load("miniagents.ext.llm._http_client", self.extra)
        return http.HTTPClient(base_url, self.headers(api_key), api_key)

    async def post(self, client: Any, request: Mapping[str, Any], opened: AsyncExitStack) -> AnswerParts:
        """The parts of the answer to `request`, sent to `path`: the objects of a stream, or one that is all of it."""
        response = await client.post(self.path, dict(request), opened, self.name)
        return await parts_of_response(response, opened, provider=self.name)


class HTTPProvider(OverHTTP, LLMProvider):
    """Whoever sends JSON, streamed as server-sent events or whole. Subclasses say what is asked, and read the answer.

    Connections, limits, retries, time-outs, and errors with the text so far are taken care of.
    """

    async def open(self, client: Any, request: Mapping[str, Any], opened: AsyncExitStack) -> AsyncIterator[AnswerEvent]:
        """The answer of `path`."""
        return self.read(await self.post(client, request, opened))

    @abstractmethod
    def read(self, answer: AnswerParts) -> AsyncIterator[AnswerEvent]:
        """The events that the parts of an answer make: an async generator.

        It sets `answer.finish_reason` when a part tells why the answer ends, or `answer.is_over` when one says that it
        has. A stream that ends with neither of them (and without `[DONE]`) raises `LLMTruncatedError`.
        """
