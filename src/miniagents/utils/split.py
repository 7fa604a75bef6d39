"""`split_messages`: one text as many messages.

The text arrives in tokens that may end anywhere, also inside a delimiter. The splitter keeps back only the characters
that may be the beginning of a delimiter, so every chunking of a text gives the same parts, and a part streams while it
arrives.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

from miniagents.messages import Message, MessagePromise, MessageSequence, MessageSequencePromise, MessageType
from miniagents.promising import StreamAppender
from miniagents.utils.join import join_messages

_BOUNDARY: Final = None

# How many pieces are cut off in one stretch before other tasks get a turn.
_PIECES_PER_TURN: Final = 500


class Splitter:
    r"""Cuts a text that comes in chunks. `feed` and `finish` give pieces of text, and `None` where a part ends.

    >>> splitter = Splitter("\n\n", "```")
    >>> [*splitter.feed("one\n"), *splitter.feed("\ntwo"), *splitter.finish()]
    ['one', None, 'two']
    """

    def __init__(self, delimiter: str, code_block_delimiter: str | None) -> None:
        marks: tuple[object, ...] = (delimiter,) if code_block_delimiter is None else (delimiter, code_block_delimiter)
        for mark in marks:
            if not isinstance(mark, str):
                raise TypeError(f"A delimiter is a str, not {type(mark).__name__}.")
        if not delimiter:
            raise ValueError("The delimiter is empty: there is no place to split at.")
        self._delimiter = delimiter
        self._fence = code_block_delimiter or None
        self._beginnings = {mark[0] for mark in (delimiter, self._fence) if mark}
        self._inside_code = False
        self._held = ""

    def feed(self, chunk: str) -> Iterator[str | None]:
        """The next chunk of the text. To be read to its end before the next call."""
        if not self._held and self._beginnings.isdisjoint(chunk):
            return iter((chunk,) if chunk else ())  # as most tokens are: there is nothing to look for
        return self._cut(self._held + chunk, at_end=False)

    def finish(self) -> Iterator[str | None]:
        """The end of the text: what was kept back is text after all."""
        return self._cut(self._held, at_end=True)

    def _cut(self, text: str, at_end: bool) -> Iterator[str | None]:
        start = 0
        ahead: dict[str, int] = {}
        while True:
            place, mark = self._next_mark(text, start, ahead)
            undecided = len(text) if at_end else self._undecided(text, start, place)
            if undecided < len(text) or not mark:
                self._held = text[undecided:]
                if undecided > start:
                    yield text[start:undecided]
                return
            end = place + len(mark)
            if mark == self._fence:
                self._inside_code = not self._inside_code
                yield text[start:end]
            else:
                if place > start:
                    yield text[start:place]
                yield _BOUNDARY
            start = end

    def _marks(self) -> tuple[str, ...]:
        """What may come next, in the order of precedence for marks that begin at the same place."""
        if self._fence is None:
            return (self._delimiter,)
        return (self._fence,) if self._inside_code else (self._fence, self._delimiter)

    def _next_mark(self, text: str, start: int, ahead: dict[str, int]) -> tuple[int, str]:
        """Where the next mark is, and which; the end of the text if there is none.

        `ahead` remembers where each mark was found, so that no stretch of text is searched twice for it.
        """
        for mark in self._marks():
            if ahead.get(mark, -1) < start:
                found = text.find(mark, start)
                ahead[mark] = len(text) if found < 0 else found
        first = min(self._marks(), key=lambda mark: ahead[mark])
        return (ahead[first], first) if ahead[first] < len(text) else (len(text), "")

    def _undecided(self, text: str, start: int, place: int) -> int:
        """Where a mark may have begun, at `place` or before, that the text, as far as it is known, does not decide."""
        longest = max(map(len, self._marks()))
        for index in range(max(start, len(text) - longest + 1), min(len(text), place + 1)):
            tail = text[index:]
            if any(len(mark) > len(tail) and mark.startswith(tail) for mark in self._marks()):
                return index
        return len(text)


def split_messages(
    messages: MessageType,
    delimiter: str = "\n\n",
    code_block_delimiter: str | None = "```",
    **metadata: Any,
) -> MessageSequencePromise:
    r"""The parts of the text of `messages` between the delimiters, each as a message that streams while it arrives.

    Several messages are joined by the delimiter first. Between two `code_block_delimiter`s (`None` for none) nothing is
    split, so a fenced code block stays in one message. Empty parts are left out. `metadata` becomes fields of each
    part. How the text was cut into tokens makes no difference. Needs a context to be read in. An error in the text is
    raised at its place: the part that it interrupts ends with it, and so does the sequence.

    >>> import miniagents
    >>> async def main():
    ...     print(await split_messages("Hello\n\nworld"))
    >>> miniagents.run(main())
    (Message(text='Hello'), Message(text='world'))
    """
    if "text" in metadata:
        raise TypeError("The texts of the parts come from the text that is split; `text` cannot be given beside it.")
    splitter = Splitter(delimiter, code_block_delimiter)
    text = join_messages(messages, delimiter, reference_original_messages=False)

    async def parts(_: MessageSequencePromise) -> AsyncIterator[MessagePromise]:
        part: StreamAppender[str] | None = None
        try:
            async for piece in _pieces(splitter, text):
                if piece is _BOUNDARY:
                    if part is not None:
                        part.close()
                    part = None
                    continue
                if part is None:
                    part = StreamAppender[str]().begin()
                    yield Message.promise(part, **metadata)
                part.append(piece or "")
        except BaseException as error:
            if part is not None:
                part.fail(error, "split_messages")
            raise
        finally:
            if part is not None:
                part.close()

    return MessageSequence(incoming_streamer=parts).sequence_promise


async def _pieces(splitter: Splitter, text: MessagePromise) -> AsyncIterator[str | None]:
    count = 0
    async for token in text:
        for piece in splitter.feed(token):
            yield piece
            count += 1
            if not count % _PIECES_PER_TURN:
                await asyncio.sleep(0)
    for piece in splitter.finish():
        yield piece
