"""How long an answer may be silent."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import TypeVar

from miniagents.ext.llm.errors import LLMTimeoutError

T = TypeVar("T")


async def never_silent(
    seconds: float | None,
    events: AsyncIterator[T],
    provider: str,
    *,
    first_token_timeout: float | None = None,
    is_token: Callable[[T], bool] | None = None,
) -> AsyncGenerator[T, None]:
    """`events`, and an `LLMTimeoutError` if a token takes longer to come than it may (`None`: any time).

    To the first token that is `first_token_timeout`, if it is given, and from one token to the next `seconds`.
    Tokens are the events for which `is_token` is true, by default all: what is none (a ping, the start of an answer)
    is passed on and gives nobody more time. Nor does the time count in which the reader does not ask for the next one.

    The read timeout of the SDKs does not serve: it starts anew with each attempt, and with each byte, also with those
    of comments that keep a dead stream open.
    """
    clock = asyncio.get_running_loop().time
    name, left, allowed = "max_silence", seconds, seconds
    if first_token_timeout is not None:
        name, left, allowed = "first_token_timeout", first_token_timeout, first_token_timeout
    alarm = _Alarm()
    try:
        while True:
            asked_at = clock()
            limit = asyncio.Timeout(None)
            try:
                async with limit:
                    if left is not None:
                        alarm.set(limit, asked_at + left)
                    event = await anext(events)
            except StopAsyncIteration:
                return
            except TimeoutError as error:
                if not limit.expired():
                    raise
                raise LLMTimeoutError(f"{provider} was silent for longer than `{name}` ({allowed:g} s).") from error
            finally:
                alarm.unset()
            if is_token is None or is_token(event):
                name, left, allowed = "max_silence", seconds, seconds
            elif left is not None:
                left -= clock() - asked_at
            yield event
    finally:
        alarm.close()


class _Alarm:
    """Makes time limits expire, one after the other.

    Most of them are left long before their time, so the timer stays where it is, and what it is for is seen when it
    rings. A timer for each event would cost as much as reading that.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._limit: asyncio.Timeout | None = None
        self._due = 0.0

    def set(self, limit: asyncio.Timeout, due: float) -> None:
        """Let `limit`, which has no time of its own, expire when it is `due`."""
        self._limit, self._due = limit, due
        if self._timer is None or due < self._timer.when():
            self.close()
            self._timer = self._loop.call_at(due, self._ring)

    def unset(self) -> None:
        """The limit was left."""
        self._limit = None

    def close(self) -> None:
        """Ring no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        self._timer = None
        if self._limit is not None:
            self._limit.reschedule(self._due)  # which is now or later
