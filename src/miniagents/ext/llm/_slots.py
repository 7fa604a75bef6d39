"""Slots: who may send a request when, so that all of them together stay within the limits.

How they are used, and where the limiters come from, is told in `_limiter.py`.
"""

import asyncio
import contextlib
import logging
import math
import random
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from functools import partial
from types import TracebackType
from typing import Final

from miniagents.ext.llm._rates import Charge, RateWindow
from miniagents.ext.llm.limits import Limits

logger = logging.getLogger(__name__)

# Seconds after which somebody who waits is named in the log.
_LONG_WAIT: Final = 5.0
# Seconds over which as many requests as may be open at once begin after a pause. All in one moment would be refused
# again.
_SPREAD: Final = 1.0
# A pause is longer than it was asked for by up to this part of it, but no more seconds than that: other processes with
# the same key have been told the same moment.
_LONGER: Final = 0.1
_LONGER_AT_MOST: Final = 1.0


class Slot:
    """The right to have one request open: `async with`. Made by `Limiter.slot`, and used once.

    To enter it waits for its turn. Whoever is cancelled there loses nothing that others are waiting for.
    """

    def __init__(self, limiter: "Limiter", estimated_tokens: int) -> None:
        self.estimated_tokens = estimated_tokens
        self.charge: Charge | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        # A ticket is the right to begin. To pop it is atomic, so the waiter and a pause cannot both have it.
        self.tickets: deque[None] = deque()
        self._limiter = limiter
        self._woken: asyncio.Future[None] | None = None

    async def __aenter__(self) -> "Slot":
        if self.loop is not None:
            raise RuntimeError("A slot is for one request: ask the limiter for another one.")
        self.loop = loop = asyncio.get_running_loop()
        limiter = self._limiter
        limiter.do(partial(limiter.enqueue, self))
        reminder: asyncio.TimerHandle | None = None
        try:
            while True:
                # Before the look at the ticket: who brings one later finds the future.
                self._woken = loop.create_future()
                if self.take_ticket():
                    limiter.do(partial(limiter.begun, self))
                    return self
                reminder = reminder or loop.call_later(_LONG_WAIT, limiter.tell_of_long_wait, loop.time())
                await self._woken
        except BaseException:  # also when the coroutine is thrown away with its closed loop
            limiter.do(partial(limiter.give_up, self))
            raise
        finally:
            self._woken = None
            if reminder is not None:
                reminder.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._limiter.do(self._limiter.end)

    def used(self, tokens: int) -> None:
        """Tell how many tokens the request has really had, in the place of the estimate. May be told again."""
        self._limiter.do(partial(self._limiter.correct, self, tokens))

    def pause(self, seconds: float) -> None:
        """Let nobody begin for so long; see `Limiter.pause`."""
        self._limiter.pause(seconds)

    @contextlib.contextmanager
    def held_back(self, lift: Callable[[], None]) -> Iterator[None]:
        """For as long as the request is open only because its answer is ahead of its readers.

        `lift` lets it go on. It is called, in this event loop, if somebody waits for a slot and all that are open are
        held back: the readers may be among those who wait.
        """
        self._limiter.do(partial(self._limiter.hold, self, lift))
        try:
            yield
        finally:
            self._limiter.do(partial(self._limiter.let_go, self))

    def take_ticket(self) -> bool:
        """Whether there was a ticket. It is gone then."""
        try:
            self.tickets.pop()
        except IndexError:
            return False
        return True

    def wake(self) -> None:
        """Let the waiter look for its ticket. Called in its event loop."""
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)


class _Alarm:
    """Rings in one event loop, in which somebody waits, when the next one may begin."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.waiters = 0
        self.at = math.inf
        self._timer: asyncio.TimerHandle | None = None

    def set(self, seconds: float, ring: Callable[[], object]) -> None:
        """Ring in `seconds`, or earlier if that is set already. Called in the event loop."""
        at = self.loop.time() + seconds
        # Orders of other threads may come here later than one that was given after them.
        if self.waiters and (self._timer is None or at < self._timer.when()):
            self.stop()
            self._timer = self.loop.call_at(at, self._ring, ring)

    def stop(self) -> None:
        """Do not ring. Called in the event loop."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self, ring: Callable[[], object]) -> None:
        self._timer = None
        ring()


class Limiter:
    """Lets requests begin in the order in which they were asked for, when the limits allow it.

    Strictly in that order: a small one does not overtake a large one, which might otherwise wait for ever.

    Any thread and event loop may use it. What changes its state is an order (`do`), and orders are carried out one
    after another, by whichever thread is there. No lock is ever waited for: a slot may be given up by the garbage
    collector, in the midst of an order of the same thread.
    """

    def __init__(
        self, name: str, clock: Callable[[], float], keep: "Callable[[Limiter], object]", rng: random.Random
    ) -> None:
        self.name = name
        self.rng = rng
        """Where its jitter is drawn from, and that of the retries."""
        self._clock = clock
        self._keep = keep
        self._limits = Limits()
        self._orders: deque[Callable[[], None]] = deque()
        self._at_work = threading.Lock()
        self._waiting: OrderedDict[Slot, None] = OrderedDict()
        self._called: dict[Slot, None] = {}  # who may begin, and has not done so yet
        self._held: dict[Slot, Callable[[], None]] = {}  # open, and held back by readers, in the order of their coming
        self._open = 0  # those who were called included
        self._rates = RateWindow()
        self._paused_until = -math.inf
        self._spread_until = -math.inf
        self._not_before = -math.inf
        self._alarms: dict[asyncio.AbstractEventLoop, _Alarm] = {}

    def __repr__(self) -> str:
        return f"<Limiter of {self.name}: {self._open} open, {len(self._waiting)} waiting>"

    @property
    def counts_until(self) -> float:
        """When the last pause, and the last minute in which something counts, is over."""
        return max(self._rates.until, self._paused_until)

    def slot(self, *, estimated_tokens: int = 0) -> Slot:
        """What one request needs: `async with limiter.slot() as slot`."""
        return Slot(self, estimated_tokens)

    def limit(self, limits: Limits) -> None:
        """Let these limits hold from now on. What is open goes on."""
        self.do(partial(self._limit, limits))

    def pause(self, seconds: float) -> None:
        """Let nobody begin within the next `seconds`, or a little longer, and then not all in one moment.

        A pause is never shortened by another one. What is open goes on.
        """
        self.do(partial(self._pause, seconds))

    def do(self, order: Callable[[], None]) -> None:
        """Carry out an order, here and now, or leave it to the thread that is just carrying out another one."""
        self._orders.append(order)
        # Whoever has been at work looks again after its end, so an order that came in between is not forgotten.
        while self._orders and self._at_work.acquire(blocking=False):
            try:
                while self._orders:
                    self._orders.popleft()()
            finally:
                self._at_work.release()

    def tell_of_long_wait(self, since: float) -> None:
        """Write into the log that somebody waits."""
        logger.debug(
            "%s: a request has waited for %g s to begin; %d wait, %d are open, %s.",
            *(self.name, asyncio.get_running_loop().time() - since, len(self._waiting), self._open, self._limits),
        )

    # The orders.

    def enqueue(self, slot: Slot) -> None:
        """Order: the slot waits from now on."""
        assert slot.loop is not None
        alarm = self._alarms.get(slot.loop)
        is_first_there = alarm is None
        if alarm is None:
            alarm = self._alarms[slot.loop] = _Alarm(slot.loop)
        alarm.waiters += 1
        self._waiting[slot] = None
        # Behind others nothing changes for anybody, unless nobody would be woken in its loop.
        if len(self._waiting) == 1 or is_first_there:
            self._admit()

    def begun(self, slot: Slot) -> None:
        """Order: the slot has taken its ticket."""
        del self._called[slot]
        self._no_longer_waits(slot)

    def give_up(self, slot: Slot) -> None:
        """Order: the slot does not wait any more, and has not begun."""
        if slot in self._called:
            slot.take_ticket()
            self._recall(slot)
        elif slot in self._waiting:
            del self._waiting[slot]
        else:
            return  # its loop was closed, and somebody has noticed before it did
        self._no_longer_waits(slot)
        self._admit()

    def end(self) -> None:
        """Order: a request is over."""
        self._open -= 1
        self._admit()

    def hold(self, slot: Slot, lift: Callable[[], None]) -> None:
        """Order: an open slot is held back by the readers of its answer."""
        self._held[slot] = lift
        self._admit()

    def let_go(self, slot: Slot) -> None:
        """Order: the slot is held back no more."""
        self._held.pop(slot, None)

    def correct(self, slot: Slot, tokens: int) -> None:
        """Order: this is what the request has had."""
        if slot.charge is not None:
            self._rates.correct(self._clock(), slot.charge, tokens)
            self._admit()

    def _limit(self, limits: Limits) -> None:
        if limits != self._limits:
            logger.debug("%s: %s from now on.", self.name, limits)
            self._limits = limits
            self._admit()

    def _pause(self, seconds: float) -> None:
        now = self._clock()
        until = now + seconds + self.rng.random() * min(seconds * _LONGER, _LONGER_AT_MOST)
        if until <= max(now, self._paused_until):
            return
        if now >= self._paused_until:
            logger.info("%s asks to wait for %.3g s; until then no request to it begins.", self.name, seconds)
        self._paused_until = until
        self._spread_until = until + 2 * _SPREAD
        self._keep(self)
        for slot in reversed(list(self._called)):
            if slot.take_ticket():
                self._recall(slot)
                self._waiting[slot] = None
                self._waiting.move_to_end(slot, last=False)
        self._admit()

    # What the orders do.

    def _admit(self) -> None:
        """Call all whose turn it is, and see that somebody looks again when it is the next one's."""
        now = self._clock()
        while self._waiting:
            slot = next(iter(self._waiting))
            assert slot.loop is not None
            # One whose loop is closed is called at once, in vain, or it would hold up the others until its time comes.
            at = now if slot.loop.is_closed() else self._open_at(slot, now)
            if at > now:
                if at < math.inf:
                    self._set_alarms(now, at)
                else:
                    self._lift_one()
                return
            del self._waiting[slot]
            if not self._call(slot, now):
                self._no_longer_waits(slot)

    def _open_at(self, slot: Slot, now: float) -> float:
        if self._open >= self._limits.concurrency:
            return math.inf
        return max(self._paused_until, self._not_before, self._rates.open_at(now, slot.estimated_tokens, self._limits))

    def _lift_one(self) -> None:
        """Let the one that is held back for the longest go on, if nobody else can give up a slot."""
        if self._held and len(self._held) >= self._open:
            slot, lift = next(iter(self._held.items()))
            del self._held[slot]
            logger.debug("%s: an answer goes on ahead of its readers, because others wait for its slot.", self.name)
            assert slot.loop is not None
            _in_loop(slot.loop, lift)

    def _call(self, slot: Slot, now: float) -> bool:
        """Whether the slot could be told that it may begin."""
        self._open += 1
        self._called[slot] = None
        limits = self._limits
        if limits.requests_per_minute is not None or limits.tokens_per_minute is not None:
            slot.charge = self._rates.charge(now, slot.estimated_tokens)
            self._keep(self)
        slot.tickets.append(None)
        assert slot.loop is not None
        if not _in_loop(slot.loop, slot.wake):
            self._recall(slot)
            return False
        if now < self._spread_until:
            self._not_before = now + self.rng.random() * 2 * _SPREAD / limits.concurrency
        return True

    def _recall(self, slot: Slot) -> None:
        del self._called[slot]
        self._open -= 1
        if slot.charge is not None:
            self._rates.undo(slot.charge)
            slot.charge = None

    def _no_longer_waits(self, slot: Slot) -> None:
        assert slot.loop is not None
        alarm = self._alarms[slot.loop]
        alarm.waiters -= 1
        if not alarm.waiters:
            del self._alarms[slot.loop]
            _in_loop(alarm.loop, alarm.stop)

    def _set_alarms(self, now: float, at: float) -> None:
        # In each loop in which somebody waits, because the one of who is next may be closed before it rings.
        for alarm in self._alarms.values():
            if at < alarm.at:
                alarm.at = at
                _in_loop(alarm.loop, partial(alarm.set, at - now, partial(self.do, partial(self._rang, alarm))))

    def _rang(self, alarm: _Alarm) -> None:
        alarm.at = math.inf
        self._admit()


def _in_loop(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> bool:
    """Whether `call` was called, or will be, in the thread of the event loop."""
    if _running_loop() is loop:
        call()
        return True
    try:
        loop.call_soon_threadsafe(call)
    except RuntimeError:  # it is closed
        return False
    return True


def _running_loop() -> asyncio.AbstractEventLoop | None:
    with contextlib.suppress(RuntimeError):
        return asyncio.get_running_loop()
    return None
