"""How a provider is reached, whatever is asked of it: its client, its limits, its retries and its errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from miniagents.ext.llm._client import ClientOptions, base_url_of, check_client, load, shared_client
from miniagents.ext.llm._limiter import limiter_for
from miniagents.ext.llm._offline import check_allowed
from miniagents.ext.llm._retry import DEFAULT_MAX_RETRIES, Attempts
from miniagents.ext.llm._sdk import SDKErrors
from miniagents.ext.llm.errors import LLMError
from miniagents.ext.llm.limits import Limits
from miniagents.ext.llm.provider import Provider


@dataclass(frozen=True, slots=True, repr=False)
class Access:
    """The way to a provider. Without a `repr`: there may be keys in the options."""

    provider: Provider
    async_client: Any
    options: ClientOptions
    limits: Limits | None

    def __post_init__(self) -> None:
        self.options.check_own_client(self.async_client)

    async def client(self) -> Any:
        """The caller's client, or the one that all calls with these options share."""
        client = self.async_client if self.async_client is not None else await self._own_client()
        check_allowed(client, self.provider.name)
        return client

    async def _own_client(self) -> Any:
        provider, options = self.provider, self.options
        with self.errors_explained():
            client = await shared_client(
                # Not one for all that a provider has: each loads its own part of the SDK with its client, in a thread.
                (type(provider), options.of_client()),
                lambda: provider.make_client(load(provider.package, provider.extra), options),
            )
        check_client(client, provider.name)
        return client

    def attempts(self, client: Any, estimated_tokens: int) -> Attempts:
        """The attempts at one request, which wait for their turn among all that this process asks the provider."""
        key = getattr(client, "api_key", None) or getattr(client, "auth_token", None)
        limiter = limiter_for(
            self.provider.name, str(getattr(client, "base_url", "")), key if isinstance(key, str) else None, self.limits
        )
        # There is one layer of retries: a client of the caller's has its own.
        retries = 0 if self.async_client is not None else self.options.max_retries
        return Attempts(
            limiter,
            max_retries=DEFAULT_MAX_RETRIES if retries is None else retries,
            estimated_tokens=estimated_tokens,
        )

    @contextmanager
    def errors_explained(self, client: object = None) -> Iterator[None]:
        """All errors of the SDK are errors of ours."""
        provider = self.provider
        sdk_errors = SDKErrors(provider.name, provider.package, provider.base_error)
        try:
            yield
        except LLMError:
            raise
        except sdk_errors.classes() as error:
            raise sdk_errors.explain(error, base_url_of(client)) from error
