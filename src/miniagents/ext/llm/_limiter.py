"""The limiters: one for each provider, address and key, and all that this process asks them goes through it.

```python
async with limiter_for("OpenAI", url, key, Limits(concurrency=8)).slot(estimated_tokens=500) as slot:
    ...                         # the request is sent here, and its answer read to the end
    slot.used(tokens)           # what it has really had
    slot.pause(seconds)         # the provider has asked all to wait
```

**Hold a slot only while a request is open.** An agent that keeps one while it runs a tool, or asks another agent, waits
for slots that those who wait for it may hold, and with enough of them nobody can go on. A reader who holds back the
stream (`max_ahead`) keeps the request open, and so its slot, for as long as it does not read; `Slot.held_back` tells
the limiter, which lets one of them go on when nobody else can.

To wait for a slot is not the silence of a model: what limits that begins inside of the block.
"""

import asyncio
import hashlib
import math
import random
import secrets
import threading
import time
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from miniagents.ext.llm._sdk import without_secrets
from miniagents.ext.llm._slots import Limiter
from miniagents.ext.llm.limits import Limits

__all__ = ["limiter_for"]

_FIRST_SWEEP: Final = 64


class _Limiters:
    """The limiters of all event loops whose clocks agree."""

    def __init__(self, clock: Callable[[], float], rng: random.Random) -> None:
        self._clock = clock
        self._rng = rng
        # Whoever uses or waits for one holds it; so do these as long as its pause or a minute of its counts.
        self._used: weakref.WeakValueDictionary[tuple[str, str, bytes], Limiter] = weakref.WeakValueDictionary()
        self._counting: set[Limiter] = set()
        self._next_sweep = _FIRST_SWEEP
        self._lock = threading.RLock()

    def get(self, identity: tuple[str, str, bytes]) -> Limiter:
        """The one for `identity`."""
        with self._lock:
            limiter = self._used.get(identity)
            if limiter is None:
                self._sweep()
                provider, address, _ = identity
                name = f"{provider} at {address}" if address else provider
                limiter = self._used[identity] = Limiter(name, self._clock, self._counting.add, self._rng)
            return limiter

    def _sweep(self) -> None:
        # Not each time: there may be a key for each customer.
        if len(self._counting) >= self._next_sweep:
            now = self._clock()
            for limiter in list(self._counting):
                if limiter.counts_until <= now:
                    self._counting.discard(limiter)
            self._next_sweep = max(_FIRST_SWEEP, 2 * len(self._counting))


# The only state of the library that belongs to the process: a provider counts what comes with one key, from whichever
# context, event loop or thread, and one limiter for each of them would let all of it through.
_LIMITERS: Final = _Limiters(time.monotonic, random.Random())
# Loops whose time is not that of the world, as in tests, share nothing with others, or one test would wait for another.
_LIMITERS_ELSEWHERE: Final[weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Limiters]] = (
    weakref.WeakKeyDictionary()
)
# With it a digest in memory tells nothing of the key to who does not have all of that memory.
_SALT: Final = secrets.token_bytes(16)


def limiter_for(provider: str, address: str, key: str | None, limits: Limits | None = None) -> Limiter:
    """The limiter for all requests to `provider` at `address` with `key`. Called in an event loop; never waits.

    `limits` hold for all of them from now on; `None` leaves those that there are. Neither the key nor a password in
    the address is kept, only a digest of them.
    """
    digest = hashlib.blake2b(f"{address}\0{key or ''}".encode("utf-8", "surrogatepass"), key=_SALT).digest()
    limiter = _limiters_of(asyncio.get_running_loop()).get((provider, without_secrets(address), digest))
    if limits is not None:
        limiter.limit(limits)
    return limiter


def _limiters_of(loop: asyncio.AbstractEventLoop) -> _Limiters:
    if not isinstance(loop, asyncio.BaseEventLoop) or type(loop).time is asyncio.BaseEventLoop.time:
        return _LIMITERS
    limiters = _LIMITERS_ELSEWHERE.get(loop)
    if limiters is None:
        # Weak, or the loop would live as long as what the dictionary has for it, which is for ever.
        clock = partial(_time_of, weakref.ref(loop))
        # Seeded: what runs twice in virtual time must do the same twice.
        limiters = _LIMITERS_ELSEWHERE[loop] = _Limiters(clock, random.Random(0))
    return limiters


def _time_of(loop: Callable[[], Any]) -> float:
    found = loop()
    return math.inf if found is None else float(found.time())
