"""What counts against the limits per minute: a window of 60 seconds that slides, so that any 60 seconds are within."""

import math
from collections import deque
from typing import Final

from miniagents.ext.llm.limits import Limits

MINUTE: Final = 60.0


class Charge:
    """What one request counts for, until it has left the window."""

    __slots__ = ("requests", "tokens", "told", "until")

    def __init__(self, until: float, requests: int, tokens: int) -> None:
        self.until = until
        self.requests = requests
        self.tokens = tokens
        self.told = tokens
        """All tokens of the request that were counted so far, here or in charges that came later."""


class RateWindow:
    """The requests and tokens of the last minute. The times that it is given never go back."""

    def __init__(self) -> None:
        # Invariant: in the order of their ends, because each lasts a minute from when it was added.
        self._charges: deque[Charge] = deque()
        self._requests = 0
        self._tokens = 0

    @property
    def until(self) -> float:
        """When the last of what counts now has left."""
        return self._charges[-1].until if self._charges else -math.inf

    def charge(self, now: float, tokens: int) -> Charge:
        """Count a request that begins now."""
        return self._add(now, 1, tokens)

    def correct(self, now: float, charge: Charge, tokens: int) -> None:
        """Count `tokens` for a request in the place of what was counted for it so far.

        What it has used beyond that counts from now on: when it was used is not known, only that it was not later.
        """
        more = tokens - charge.told
        charge.told = tokens
        if more > 0:
            self._add(now, 0, more)
        else:
            self._take(charge, 0, min(-more, charge.tokens))

    def undo(self, charge: Charge) -> None:
        """Count nothing for a request that was not sent."""
        self._take(charge, charge.requests, charge.tokens)

    def open_at(self, now: float, tokens: int, limits: Limits) -> float:
        """The first moment, from now on, at which a request with so many tokens is within the limits."""
        while self._charges and self._charges[0].until <= now:
            gone = self._charges.popleft()
            self._take(gone, gone.requests, gone.tokens)
        requests_over = tokens_over = 0
        if limits.requests_per_minute is not None:
            requests_over = self._requests + 1 - limits.requests_per_minute
        if limits.tokens_per_minute is not None:
            # At least one, or a full minute would be open to whoever has no estimate. One that is larger than the limit
            # is within it when nothing else is left.
            tokens_over = self._tokens + max(tokens, 1) - limits.tokens_per_minute
        at = now
        for charge in self._charges:
            if requests_over <= 0 and tokens_over <= 0:
                break
            requests_over -= charge.requests
            tokens_over -= charge.tokens
            at = charge.until
        return at

    def _add(self, now: float, requests: int, tokens: int) -> Charge:
        charge = Charge(now + MINUTE, requests, tokens)
        self._charges.append(charge)
        self._requests += requests
        self._tokens += tokens
        return charge

    def _take(self, charge: Charge, requests: int, tokens: int) -> None:
        # From the charge too, so that what has left the window is not taken away from it a second time.
        charge.requests -= requests
        charge.tokens -= tokens
        self._requests -= requests
        self._tokens -= tokens
