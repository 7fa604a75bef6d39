"""Clients: how one is made, kept and closed."""

import asyncio
import concurrent.futures
import importlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import urlsplit

from miniagents.ext._threads import in_daemon_thread
from miniagents.ext.llm._sdk import without_secrets
from miniagents.ext.llm.errors import LLMParameterError, MissingExtraError
from miniagents.promising import PromisingContext

# What a header can carry, and no white space, which is never a part of a key but often comes with it from a file.
_KEY: Final = re.compile("[!-~]+")


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """How a client is made. What is `None` is left to the SDK, which looks into its environment variables.

    Raises `LLMParameterError` for what no client can be made with. Neither the key nor the address, which may have a
    password in it, is in the `repr`.
    """

    api_key: str | None = field(default=None, repr=False)
    base_url: str | None = field(default=None, repr=False)
    max_retries: int | None = None

    def __post_init__(self) -> None:
        retries: object = self.max_retries
        if retries is not None and (not isinstance(retries, int) or isinstance(retries, bool) or retries < 0):
            raise LLMParameterError(
                f"`max_retries` is a whole number from 0, or None for the default, not {retries!r}."
            )
        if self.base_url is not None:
            _check_url(self.base_url)

    def given(self) -> dict[str, Any]:
        """The options of a client that are not left to the SDK, as keyword arguments. It is not to retry by itself."""
        options = {"api_key": self.api_key, "base_url": self.base_url}
        return {"max_retries": 0, **{name: value for name, value in options.items() if value is not None}}

    def check_own_client(self, async_client: object) -> None:
        """Raise `LLMParameterError` if these are the options of a client that the caller has made."""
        names = [name for name in ("api_key", "base_url", "max_retries") if getattr(self, name) is not None]
        if async_client is not None and names:
            raise LLMParameterError(
                f"`async_client` has its own {' and '.join(f'`{name}`' for name in names)}: give these to the client "
                "when you make it, or leave out `async_client`."
            )

    def of_client(self) -> "ClientOptions":
        """Those options in which clients differ."""
        return replace(self, max_retries=None)


def base_url_of(client: object) -> str:
    """Where a client sends its requests, without secrets; empty if it does not tell."""
    url = getattr(client, "base_url", None)
    return "" if url is None else without_secrets(url)


def check_client(client: object, provider: str) -> None:
    """Raise `LLMParameterError` if an address or a key that the SDK has found cannot be right; nothing is sent yet."""
    if (url := getattr(client, "base_url", None)) is not None:
        _check_url(url)
    for key in (getattr(client, name, None) for name in ("api_key", "auth_token")):
        check_key(key, provider)


def check_key(key: object, provider: str) -> None:
    """Raise `LLMParameterError` if no header can carry the key; `None` is no key."""
    if isinstance(key, str) and not _KEY.fullmatch(key):
        raise LLMParameterError(
            f"The key for {provider} has a character in it that no key has, such as an end of line or a space. "
            "Was it copied with what stands around it?"
        )


def _check_url(url: object) -> None:
    try:
        parts = urlsplit(str(url))
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good:
        raise LLMParameterError(
            f"`base_url` must begin with http:// or https:// and name a host, unlike {without_secrets(url)!r}."
        )


class ClientKeeper:
    """Makes a client when it is first wanted, in a thread, because importing an SDK takes seconds."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._made: concurrent.futures.Future[Any] | None = None
        self._lock = asyncio.Lock()

    async def get(self) -> Any:
        """The client, the same one each time. Cancelling it leaves the client, once it is made, to the next call."""
        if self._made is not None and self._made.done() and self._made.exception() is None:
            return self._made.result()
        async with self._lock:
            if self._made is None:
                self._made = in_daemon_thread(self._make, "client maker")
            try:
                return await asyncio.wrap_future(self._made)
            except Exception:
                self._made = None  # the next call tries again, and has an error of its own
                raise

    async def close(self) -> None:
        """Close the client, if there is one. One that is still being made is not waited for, and is closed later."""
        if self._made is None:
            return
        if not self._made.done():
            self._made.add_done_callback(_close_unused)
        elif self._made.exception() is None:
            await self._made.result().close()


def _close_unused(made: concurrent.futures.Future[Any]) -> None:
    """Close a client that came too late. It has no connections, so it belongs to no event loop."""
    if made.exception() is None:
        # A thread, because this one may be that of the event loop, if the client came just now.
        in_daemon_thread(lambda: asyncio.run(made.result().close()), "client closer")


async def shared_client(key: object, make: Callable[[], Any]) -> Any:
    """The client for `key`: one in each outermost context, which closes it in the end."""

    def make_keeper() -> tuple[ClientKeeper, Callable[[], Awaitable[object]]]:
        keeper = ClientKeeper(make)
        return keeper, keeper.close

    return await PromisingContext.get_current().resource(key, make_keeper).get()


def limited_http_client(sdk: Any, extra: str) -> Any:
    """The HTTP client that the SDK would make itself, with a limit to what it reads, and for many streams at once."""
    http = load("miniagents.ext.llm._http", extra)
    pool = load("miniagents.ext.llm._pool", extra)
    return sdk.DefaultAsyncHttpxClient(event_hooks={"response": [http.limit_body]}, **pool.spread_transport())


def load(package: str, extra: str) -> Any:
    """The SDK. Blocks for seconds when it is loaded for the first time. Raises `MissingExtraError`."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingExtraError(package, extra) from error
