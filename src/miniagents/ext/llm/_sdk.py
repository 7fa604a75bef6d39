"""What is done with every SDK: loading it, keeping one client, closing streams, naming errors."""

import asyncio
import importlib
import inspect
import json
import math
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from miniagents.ext.llm._wire import as_dict, field, text_field
from miniagents.ext.llm.errors import (
    LLMConnectionError,
    LLMError,
    LLMParameterError,
    LLMProtocolError,
    LLMRequestError,
    LLMStatusError,
    LLMTimeoutError,
    MissingExtraError,
)
from miniagents.promising import PromisingContext

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """How a client is made. What is `None` is left to the SDK, which looks into its environment variables."""

    api_key: str | None = None
    base_url: str | None = None
    max_retries: int | None = None

    def given(self) -> dict[str, Any]:
        """The options that are not left to the SDK, as keyword arguments."""
        options = {"api_key": self.api_key, "base_url": self.base_url, "max_retries": self.max_retries}
        return {name: value for name, value in options.items() if value is not None}


class ClientKeeper:
    """Makes a client when it is first wanted, in a thread, because importing an SDK takes seconds."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._client: Any = None
        self._lock = asyncio.Lock()

    async def get(self) -> Any:
        """The client, the same one each time."""
        async with self._lock:
            if self._client is None:
                self._client = await asyncio.to_thread(self._make)
        return self._client

    async def close(self) -> None:
        """Close the client, if there is one."""
        if self._client is not None:
            await self._client.close()


async def shared_client(key: object, make: Callable[[], Any]) -> Any:
    """The one client for `key` in the running event loop, closed when the outermost context ends."""

    def make_keeper() -> tuple[ClientKeeper, Callable[[], Awaitable[object]]]:
        keeper = ClientKeeper(make)
        return keeper, keeper.close

    return await PromisingContext.get_current().resource(key, make_keeper).get()


def load(package: str, extra: str) -> Any:
    """The SDK. Blocks for seconds when it is loaded for the first time. Raises `MissingExtraError`."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingExtraError(package, extra) from error


def close_with(opened: AsyncExitStack, stream: Any) -> None:
    """Close `stream` when `opened` is left. SDK streams have `close`, generators `aclose`, fakes maybe none."""
    close = getattr(stream, "aclose", None) or getattr(stream, "close", None)

    async def close_stream() -> None:
        closed = close() if close is not None else None
        if inspect.isawaitable(closed):
            await closed

    opened.push_async_callback(close_stream)


async def never_silent(seconds: float | None, events: AsyncIterator[T]) -> AsyncIterator[T]:
    """`events`, and a `TimeoutError` if one takes longer than `seconds` (`None`: any time) to come.

    The read timeout of the SDKs does not serve: it starts anew with each byte, also with those of comments that keep
    a dead stream open.
    """
    while True:
        try:
            async with asyncio.timeout(seconds):
                event = await anext(events)
        except StopAsyncIteration:
            return
        yield event


@contextmanager
def refusals_explained(provider: str) -> Iterator[None]:
    """Turn what an SDK raises for arguments that it does not take, before it sends anything, into errors of ours."""
    try:
        yield
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise  # these are about the answer
    except TypeError as error:
        raise LLMParameterError(
            f"The SDK of {provider} refuses an argument: {error}. A parameter of the API that the SDK does not know "
            "goes through in `extra_body={...}`."
        ) from error
    except ValueError as error:
        raise LLMRequestError(f"The SDK of {provider} refuses the request: {error}") from error


@dataclass(frozen=True, slots=True)
class SDKErrors:
    """The errors of a provider's SDK, and of the HTTP client below it, which are the same for each.

    Nothing is imported for this: an error of a package that is not loaded cannot have been raised.
    """

    provider: str
    package: str
    base: str
    """The name of the class that all errors of the SDK inherit."""

    def classes(self) -> tuple[type[Exception], ...]:
        """All errors that `explain` can explain."""
        return (
            *(ConnectionError, TimeoutError, json.JSONDecodeError, UnicodeDecodeError),
            *_classes("httpx2", "RequestError"),
            *_classes(self.package, self.base),
        )

    def explain(self, error: Exception) -> LLMError:
        """The error of ours for one of theirs."""
        what = f"{type(error).__name__}: {error}".removesuffix(": ")
        if isinstance(error, (TimeoutError, *self._named("APITimeoutError"), *_classes("httpx2", "TimeoutException"))):
            return LLMTimeoutError(f"{self.provider} was silent for longer than `max_silence` allows ({what}).")
        if isinstance(
            error, (ConnectionError, *self._named("APIConnectionError"), *_classes("httpx2", "RequestError"))
        ):
            return LLMConnectionError(f"The connection to {self.provider} failed ({what}).")
        if isinstance(error, (ValueError, *self._named("APIResponseValidationError"))):
            return LLMProtocolError(f"{self.provider} sent something that is not in its format ({what}).")
        if isinstance(error, self._named("APIError")):
            return _of_api_error(error, self.provider)
        return LLMError(f"The SDK of {self.provider} failed ({what}).")

    def _named(self, name: str) -> tuple[type[Exception], ...]:
        return _classes(self.package, name)


def _classes(package: str, name: str) -> tuple[type[Exception], ...]:
    found = getattr(sys.modules.get(package), name, None)
    return () if found is None else (found,)


def error_in_answer(body: object, provider: str) -> LLMStatusError:
    """The error that a provider sends in the midst of an answer; `body` is the object that describes it, or a text."""
    message = text_field(body, "message") or str(body)
    return _status_error(provider, message, error_type=_type_of(body))


def _of_api_error(error: Exception, provider: str) -> LLMStatusError:
    body = as_dict(field(error, "body"))
    inner = as_dict(body.get("error")) or body
    return _status_error(
        provider,
        text_field(inner, "message") or str(error),
        status=getattr(error, "status_code", 200),
        error_type=_type_of(inner),
        request_id=text_field(error, "request_id") or None,
        retry_after=_retry_after(field(error, "response")),
    )


def _status_error(
    provider: str, message: str, *, status: int = 200, error_type: str | None, **details: Any
) -> LLMStatusError:
    how = "sent an error in its answer" if status == 200 else f"answered with status {status}"
    kind = f" ({error_type})" if error_type else ""
    return LLMStatusError(f"{provider} {how}{kind}: {message}", status=status, error_type=error_type, **details)


def _type_of(body: object) -> str | None:
    return text_field(body, "type") or text_field(body, "code") or None


def _retry_after(response: object) -> float | None:
    headers = field(response, "headers") or {}
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:  # missing, or a date, which servers of models do not send
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
