"""The one layer of retries: a request that got no answer is sent again, and one whose answer has begun never is."""

import asyncio
import logging
from types import TracebackType
from typing import Final

from miniagents.ext.llm._slots import Limiter, Slot
from miniagents.ext.llm.errors import LLMConnectionError, LLMError, LLMStatusError, LLMTimeoutError, LLMTruncatedError

__all__ = ["DEFAULT_MAX_RETRIES", "MAX_RETRY_AFTER", "Attempt", "Attempts", "is_retryable"]

logger = logging.getLogger(__name__)

DEFAULT_MAX_RETRIES: Final = 2
MAX_RETRY_AFTER: Final = 60.0
"""Seconds: who wants to be asked again later than that is not waited for. Whoever asked should know, and decide."""

_FIRST_DELAY: Final = 0.5
_LONGEST_DELAY: Final = 8.0
_JITTER: Final = 0.25  # the part of a delay that is drawn

_RETRYABLE_STATUSES: Final = frozenset({408, 409, 429})
# What a provider says about all requests, when it says when it wants to be asked again.
_STATUSES_FOR_ALL: Final = frozenset({429, 503, 529})
# The same as a status from 500 or 429, but said in an answer that had begun with 200, before its first token.
_RETRYABLE_TYPES: Final = frozenset(
    {"api_error", "overloaded_error", "rate_limit_error", "rate_limit_exceeded", "server_error"}
)
# With a 429 like any other, but there will not be more in a moment.
_FINAL_TYPES: Final = frozenset({"insufficient_quota"})


def is_retryable(error: BaseException) -> bool:
    """Whether the same request may succeed in a moment."""
    if isinstance(error, LLMStatusError):
        if error.error_type in _FINAL_TYPES:
            return False
        if error.status == 200:
            return error.error_type in _RETRYABLE_TYPES
        return error.status in _RETRYABLE_STATUSES or error.status >= 500
    return isinstance(error, (LLMConnectionError, LLMTimeoutError, LLMTruncatedError))


class Attempts:
    """The attempts at one request, each with a slot of its own, so that who waits to try again holds up nobody.

    ```python
    async for attempt in Attempts(limiter, max_retries=2, estimated_tokens=500):
        async with attempt as slot:
            events = await send()
            async for event in events:
                attempt.has_answered()      # at the first token: from here on an error is final
                ...
    ```

    The loop ends with the first attempt that does not fail. An error that is final leaves the block as it is: one that
    is not retryable, one after the answer has begun, and the last of `1 + max_retries`. Only errors of ours count, so
    those of an SDK have to be translated inside the block.

    Before the next attempt it waits for 0.5 s, then 1 s and so on up to 8 s, each a little less at random, or for as
    long as the provider has asked for. With the statuses 429, 503 and 529 that is a pause for all.
    """

    def __init__(self, limiter: Limiter, *, max_retries: int = DEFAULT_MAX_RETRIES, estimated_tokens: int = 0) -> None:
        self._limiter = limiter
        self._max_retries = max_retries
        self._estimated_tokens = estimated_tokens
        self._made = 0
        self._delay: float | None = 0.0
        """Seconds until the next attempt; `None` if there is to be none."""

    def __aiter__(self) -> "Attempts":
        return self

    async def __anext__(self) -> "Attempt":
        delay, self._delay = self._delay, None
        if delay is None:
            raise StopAsyncIteration
        if delay:
            await asyncio.sleep(delay)
        self._made += 1
        return Attempt(self, self._limiter.slot(estimated_tokens=self._estimated_tokens))

    def failed(self, error: LLMError) -> bool:
        """Whether there is another attempt after this error."""
        if not is_retryable(error):
            return False
        status, retry_after = (error.status, error.retry_after) if isinstance(error, LLMStatusError) else (None, None)
        if retry_after and retry_after > MAX_RETRY_AFTER:
            error.add_note(f"Not tried again: it may wait {MAX_RETRY_AFTER:g} s, and was asked for {retry_after:g} s.")
            return False
        is_for_all = retry_after and status in _STATUSES_FOR_ALL
        if is_for_all:
            self._limiter.pause(retry_after or 0.0)
        if self._made > self._max_retries:
            if self._made > 1:
                error.add_note(f"Tried {self._made} times.")
            return False
        # After a pause for all the next slot comes when it is over.
        self._delay = 0.0 if is_for_all else retry_after or self._backoff()
        # Without its text, in which there may be a key.
        what = type(error).__name__ if status is None else f"status {status}"
        logger.info(
            "%s: %s; attempt %d of %d follows in %.3g s.",
            *(self._limiter.name, what, self._made + 1, self._max_retries + 1, retry_after or self._delay),
        )
        return True

    def _backoff(self) -> float:
        longest = min(_FIRST_DELAY * 2 ** min(self._made - 1, 10), _LONGEST_DELAY)
        return float(longest * (1 - _JITTER * self._limiter.rng.random()))


class Attempt:
    """One attempt. To enter it waits for a slot."""

    def __init__(self, attempts: Attempts, slot: Slot) -> None:
        self._attempts = attempts
        self._slot = slot
        self._has_answered = False

    def has_answered(self) -> None:
        """Tell that the first token is there. May be told again."""
        self._has_answered = True

    async def __aenter__(self) -> Slot:
        return await self._slot.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        try:
            return isinstance(error, LLMError) and not self._has_answered and self._attempts.failed(error)
        finally:
            # Last: who is let in by this slot must know of the pause.
            await self._slot.__aexit__(kind, error, traceback)
