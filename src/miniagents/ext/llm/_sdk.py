"""The errors of every SDK, and of the HTTP client below it, as errors of ours."""

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from miniagents.ext._terminal import on_one_line
from miniagents.ext.llm._retry_after import retry_after_of
from miniagents.ext.llm._wire import as_dict, field, text_field
from miniagents.ext.llm.errors import (
    LLMConnectionError,
    LLMError,
    LLMParameterError,
    LLMProtocolError,
    LLMRequestError,
    LLMStatusError,
    LLMTimeoutError,
)

# Proxies answer with whole web pages, whose beginning tells enough.
_SHOWN_OF_A_PAGE: Final = 500
_NOT_FOUND: Final = 404
# Of OpenAI's API, which nearly all who speak it have below `/v1`.
_PATHS_BELOW_V1: Final = ("/chat/completions", "/responses", "/embeddings")


def without_secrets(url: object) -> str:
    """`url` without what may be a secret in it: user, password, query and fragment."""
    # The user first: a password may have a question mark in it, and an address must not end there.
    without_user = re.sub(r"^([A-Za-z][\w+.-]*://)?.*@", r"\1", str(url), flags=re.DOTALL)
    return re.sub(r"[?#].*", "", without_user, flags=re.DOTALL)


@contextmanager
def refusals_explained(provider: str) -> Iterator[None]:
    """Turn what an SDK raises for arguments that it does not take, before it sends anything, into errors of ours."""
    try:
        yield
    except (LLMError, json.JSONDecodeError):
        raise  # ours, or about the answer
    except TypeError as error:
        raise LLMParameterError(
            f"The SDK of {provider} refuses an argument: {error}. A parameter of the API that the SDK does not know "
            "goes through in `extra_body={...}`."
        ) from error
    except ValueError as error:
        # Only what cannot be encoded is of the request; what cannot be decoded has many classes, also the plain one.
        if isinstance(error, UnicodeError) and not isinstance(error, UnicodeEncodeError):
            raise
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
            *(ConnectionError, TimeoutError, json.JSONDecodeError, UnicodeError),
            *classes_named("httpx2", "RequestError", "InvalidURL"),
            *self._named(self.base),
        )

    def explain(self, error: Exception, url: str) -> LLMError:
        """The error of ours for one of theirs; `url` is where the provider is, if that is known."""
        what = _text_of(error)
        where = f"{self.provider} at {url}" if url else self.provider
        timeouts: tuple[type[Exception], ...] = (
            TimeoutError,
            *self._named("APITimeoutError"),
            *classes_named("httpx2", "TimeoutException"),
        )
        breaks: tuple[type[Exception], ...] = (
            ConnectionError,
            *self._named("APIConnectionError"),
            *classes_named("httpx2", "RequestError"),
        )
        if isinstance(error.__cause__, LLMError):  # of ours, raised in the HTTP client
            return LLMProtocolError(str(error.__cause__))
        # The HTTP client counts a body that it cannot unpack among the failures of connections.
        unpacking = classes_named("httpx2", "DecodingError")
        if isinstance(error, unpacking) or isinstance(error.__cause__, unpacking):
            return LLMProtocolError(f"{self.provider} sent something that is not packed as it says ({what}).")
        if isinstance(error, timeouts):
            return LLMTimeoutError(f"The request to {where} has timed out ({what}).")
        if isinstance(error, breaks):
            cause = _innermost(error)
            hint = " Is the server running?" if isinstance(cause, ConnectionRefusedError) and _is_here(url) else ""
            return LLMConnectionError(f"The connection to {where} failed ({_text_of(cause)}).{hint}")
        if isinstance(error, classes_named("httpx2", "InvalidURL")):
            return LLMRequestError(f"The base URL of {self.provider} is no URL ({what}).")
        if isinstance(error, (ValueError, *self._named("APIResponseValidationError"))):
            return LLMProtocolError(f"{self.provider} sent something that is not in its format ({what}).")
        if isinstance(error, self._named("APIError")):
            return _of_api_error(error, self.provider)
        return LLMError(f"The SDK of {self.provider} failed ({what}).")

    def _named(self, name: str) -> tuple[type[Exception], ...]:
        return classes_named(self.package, name)


def classes_named(package: str, *names: str) -> tuple[type[Any], ...]:
    """The classes of these names in a package; those that it does not have, or if it is not loaded, are left out."""
    module = sys.modules.get(package)
    return tuple(found for name in names if (found := getattr(module, name, None)) is not None)


def _text_of(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".removesuffix(": ")


def _innermost(error: BaseException) -> BaseException:
    """What has caused `error` in the first place: the others only say that something has failed.

    Also what a traceback would leave out: the HTTP client hides the operating system's reason in this way.
    """
    while (cause := error.__cause__ or error.__context__) is not None:
        if not isinstance(cause, Exception) or not str(cause):
            break
        error = cause
    return error


def error_in_answer(body: object, provider: str, request_id: str = "") -> LLMStatusError:
    """The error that a provider sends in the midst of an answer; `body` is the object that describes it, or a text."""
    message = text_field(body, "message") or text_field(body, "detail") or str(body)
    return _status_error(provider, message, error_type=_type_of(body), request_id=request_id or None)


def error_of_status(body: bytes, response: Any, provider: str) -> LLMStatusError:
    """The error for a response of the HTTP client with a status that is not good, and this body."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        said = None
    error = as_dict(said).get("error", said)
    message = error if isinstance(error, str) else text_field(error, "message") or text_field(error, "detail")
    return _status_error(
        provider,
        message or body[:_SHOWN_OF_A_PAGE].decode(errors="replace") or response.reason_phrase,
        status=response.status_code,
        error_type=_type_of(error),
        request_id=response.headers.get("x-request-id"),
        hint=_hint_at(response, response.status_code),
        retry_after=retry_after_of(response.headers),
    )


def _of_api_error(error: Exception, provider: str) -> LLMStatusError:
    body = as_dict(field(error, "body"))
    inner = as_dict(body.get("error")) or body
    return _status_error(
        provider,
        text_field(inner, "message") or str(error),
        status=getattr(error, "status_code", 200),
        error_type=_type_of(inner),
        request_id=text_field(error, "request_id") or None,
        hint=_hint_at(field(error, "response"), field(error, "status_code")),
        retry_after=retry_after_of(field(field(error, "response"), "headers") or {}),
    )


def _status_error(
    provider: str, message: str, *, status: int = 200, error_type: str | None, hint: str = "", **details: Any
) -> LLMStatusError:
    how = "sent an error in its answer" if status == 200 else f"answered with status {status}"
    kind = f" ({on_one_line(error_type)})" if error_type else ""
    return LLMStatusError(f"{provider} {how}{kind}: {message}{hint}", status=status, error_type=error_type, **details)


def _hint_at(response: object, status: object) -> str:
    """What may be wrong with the address, where the API was not found."""
    url = without_secrets(field(response, "url") or "")
    if status != _NOT_FOUND or "/v1" in url or not url.endswith(_PATHS_BELOW_V1):
        return ""
    return f" (asked at {url}: is `/v1` missing at the end of `base_url`?)"


def _is_here(url: str) -> bool:
    return (urlsplit(url).hostname or "").startswith(("localhost", "127.", "::1"))


def _type_of(body: object) -> str | None:
    return text_field(body, "type") or text_field(body, "code") or None
