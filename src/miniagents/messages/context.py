"""The context of messages: what becomes of errors, and who writes messages down."""

import asyncio
import functools
import inspect
import logging
import math
import weakref
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

from miniagents.messages.usage import Usage, spent
from miniagents.promising.context import PromisingContext
from miniagents.promising.errors import MiniAgentsError, PromiseCancelledError
from miniagents.promising.observers import HandlerT, as_handlers
from miniagents.promising.promise import Promise

if TYPE_CHECKING:  # a message knows this context, which only passes messages on
    from miniagents.messages.message import Message, MessagePromise

logger = logging.getLogger(__name__)

PersistMessageHandler: TypeAlias = Callable[["MessagePromise", "Message"], Awaitable[None]]


class MessageContext(PromisingContext):
    """A `PromisingContext` that knows about messages.

    - `on_persist_message`: an async callable `(promise, message)`, or several, called for each message that is
      resolved in this context or in one inside it: the messages inside it first, each message object once. Also a
      decorator, `@context.on_persist_message`.
    - `persist_retry_delays`: a handler that raises is called again after each of these delays, in seconds. If the last
      call fails as well that is logged, and the message does not count as persisted: it is tried anew when it is
      resolved again.
    - `errors_as_messages`: errors arrive as `ErrorMessage`s instead of being raised where they are read.
    """

    def __init__(
        self,
        *,
        on_persist_message: PersistMessageHandler | Iterable[PersistMessageHandler] = (),
        persist_retry_delays: Iterable[float] = (0.1, 0.5, 2.0),
        errors_as_messages: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.errors_as_messages = errors_as_messages
        self._persist_handlers: list[PersistMessageHandler] = as_handlers(on_persist_message)
        self._is_observed = self._is_observed or bool(self._persist_handlers)
        self._persist_retry_delays = tuple(persist_retry_delays)
        delays: tuple[object, ...] = self._persist_retry_delays
        if not all(isinstance(delay, (int, float)) and 0 <= delay < math.inf for delay in delays):
            raise ValueError(f"`persist_retry_delays` are numbers of seconds, not {delays!r}.")
        # Keyed by identity, because equal messages are different messages. An entry dies with its message.
        self._persisted: weakref.WeakValueDictionary[int, Message] = weakref.WeakValueDictionary()
        self._being_persisted: dict[int, Promise[bool]] = {}

    def on_persist_message(self, handler: HandlerT) -> HandlerT:
        """Register `handler` (see the class) and return it, so that this can be used as a decorator."""
        self._persist_handlers.append(handler)
        self._is_observed = True
        return handler

    def usage(self) -> Usage:
        """What was spent in this context so far, and in those inside it, since the object was made. Never waits."""
        return spent(self.account)

    @property
    def persists(self) -> bool:
        """Whether anybody writes messages down here."""
        return bool(self._persist_handlers)

    async def persist(self, promise: "MessagePromise", message: "Message") -> None:
        """Have the handlers write down `message`, after those inside it, unless they have done so already."""
        failed: set[int] = set()
        for one in (*message.sub_messages(), message):
            if failed and any(id(inner) in failed for inner in one.sub_messages()):
                failed.add(id(one))  # what is written down must not refer to what is not
                logger.log(self.log_level_for_errors, "Not persisted, because of a message inside it: %s", _named(one))
            elif not await self._persist_once(promise if one is message else one.as_promise, one):
                failed.add(id(one))

    async def _persist_once(self, promise: "MessagePromise", message: "Message") -> bool:
        key = id(message)
        while key not in self._persisted:
            attempt = self._being_persisted.get(key)
            if attempt is None:
                attempt = Promise(lambda _: self._call_persist_handlers(promise, message), start_asap=True)
                self._being_persisted[key] = attempt
                return await attempt
            try:
                return await attempt
            except PromiseCancelledError:
                # It was made in a context inside this one, which was left by an error: now it is our turn.
                if self._being_persisted.get(key) is attempt:
                    del self._being_persisted[key]
        return True

    async def _call_persist_handlers(self, promise: "MessagePromise", message: "Message") -> bool:
        try:
            for handler in self._persist_handlers:
                await self._call_until_it_succeeds(handler, promise, message)
            self._persisted[id(message)] = message
        except Exception:  # told here, once for all who wait for this
            logger.log(self.log_level_for_errors, "Could not be persisted: %s", _named(message), exc_info=True)
            return False
        finally:
            # Before that line nothing counts as persisted: a message that failed is tried again when it comes again.
            self._being_persisted.pop(id(message), None)
        return True

    async def _call_until_it_succeeds(
        self, handler: PersistMessageHandler, promise: "MessagePromise", message: "Message"
    ) -> None:
        failed: Exception | None = None
        try:
            for delay in self._persist_retry_delays:
                try:
                    return await _awaitable(handler(promise, message), handler)
                except NotAsyncError:
                    raise  # another try would be no better
                except Exception as error:
                    logger.info("A persist handler failed; it is called again in %g s", delay, exc_info=True)
                    failed = error
                await asyncio.sleep(delay)
            return await _awaitable(handler(promise, message), handler)
        except asyncio.CancelledError:  # the context is being left, and this was the last chance
            if failed is not None:
                logger.log(self.log_level_for_errors, "Could not be persisted: %s", _named(message), exc_info=failed)
            raise
        finally:
            del failed  # or it would be in a cycle with this frame


class NotAsyncError(MiniAgentsError, TypeError):
    """A persist handler has given nothing that can be awaited: it is no `async def`."""


def _awaitable(returned: Awaitable[None], handler: PersistMessageHandler) -> Awaitable[None]:
    if not inspect.isawaitable(returned):
        raise NotAsyncError(f"A persist handler must be an `async def`; {handler!r} is none.")
    return returned


def _named(message: "Message") -> str:
    """Which message it is, for the log, into which its text does not belong."""
    return f"{type(message).__name__} with the key {message.hash_key}"


def message_resolved(context: PromisingContext, promise: "MessagePromise", message: "Message") -> None:
    """Have `message`, resolved in `context`, written down by the handlers there and in the contexts around it."""
    around: PromisingContext | None = context
    while around is not None:
        if isinstance(around, MessageContext) and around.persists:
            context.run_handler(functools.partial(around.persist, promise, message))
        around = around.parent
