"""A message of an answer, written piece by piece by whoever reads the answer."""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from miniagents.ext.llm._slots import Slot
from miniagents.ext.llm._wire import SurrogateFilter
from miniagents.messages import Message, MessagePromise
from miniagents.promising import StreamAppender
from miniagents.promising.backpressure import Backpressure
from miniagents.promising.context import current_context


class AnswerPart(MessagePromise):
    """A message whose writer waits for its readers.

    It has no producer of its own: one loop reads the answer and writes all the messages that are in it, also several at
    a time, because a model may mix the calls of tools.
    """

    __slots__ = ("_appender", "_filter", "_who")

    def __init__(
        self,
        who: str,
        message_class: type[Message],
        known: Mapping[str, Any],
        max_ahead: float | None,
        text_filter: SurrogateFilter,
    ) -> None:
        self._who = who
        self._filter = text_filter
        self._appender: StreamAppender[str] = StreamAppender().begin()
        super().__init__(message_class, self._appender, dict(known))
        context = current_context()
        if max_ahead is None and context is not None:
            max_ahead = context.max_ahead_by_default
        if max_ahead is not None:
            self._backpressure = Backpressure(max_ahead)

    @property
    def is_open(self) -> bool:
        """Whether it goes on."""
        return self._appender.is_open

    @property
    def written(self) -> str:
        """The text so far, as its readers have it."""
        return "".join(piece for piece in self._log.items if isinstance(piece, str))

    def tell(self, **fields: Any) -> None:
        """Set fields of the finished message."""
        self._final_metadata.update(fields)

    def write(self, text: str) -> None:
        """Add to the text."""
        if text := self._filter.feed(text):
            self._appender.append(text)

    async def wait_for_readers(self, slot: Slot | None) -> None:
        """Wait while the text is `max_ahead` pieces ahead of its foremost reader.

        If others wait for the `slot` that this holds up, it may go on without readers.
        """
        bound, made = self._backpressure, len(self._log.items)
        if bound is not None and self._context is not None and bound.is_far_ahead(made):
            with slot.held_back(bound.take_all) if slot is not None else nullcontext():
                await bound.wait_for_readers(made, self._context.held_back)

    def finish(self, fields: Mapping[str, Any]) -> None:
        """End the message, with these fields."""
        if text := self._filter.feed("", final=True):
            self._appender.append(text)
        self.tell(**fields)
        self._appender.close()

    def fail(self, error: BaseException) -> None:
        """End the message with `error`."""
        self._record_error(error)
        self._appender.close()

    def _describe(self) -> str:
        return self._who
