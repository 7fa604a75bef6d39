"""`split_messages`: one text as many messages.

The text arrives in tokens that may end anywhere, also inside a delimiter. The splitter keeps back only the characters
that may be the beginning of a delimiter, so every chunking of a text gives the same parts, and a part streams while it
arrives. What is there already is cut at once, and a part that is there as a whole is sent whole.
"""

import itertools
import re
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

from miniagents.messages import Message, MessagePromise, MessageSequence, MessageSequencePromise, MessageType
from miniagents.messages.stretches import Stretches
from miniagents.promising import StreamAppender


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
        self._fence = code_block_delimiter or None
        # What may come next, in the order of precedence for marks that begin at the same place.
        self._outside = _Marks(delimiter) if self._fence is None else _Marks(self._fence, delimiter)
        self._inside_code = _Marks(self._fence or delimiter)
        self._marks = self._outside
        self._held = ""

    def feed(self, chunk: str) -> Iterator[str | None]:
        """The next chunk of the text. To be read to its end before the next call."""
        return self._cut(self._held + chunk, at_end=False)

    def finish(self) -> Iterator[str | None]:
        """The end of the text: what was kept back is text after all."""
        return self._cut(self._held, at_end=True)

    def _cut(self, text: str, at_end: bool) -> Iterator[str | None]:
        start = 0
        while True:
            marks = self._marks
            found = marks.pattern.search(text, start)
            undecided = len(text) if at_end else marks.undecided(text, start, found)
            if found is None or undecided < len(text):
                self._held = text[undecided:]
                if undecided > start:
                    yield text[start:undecided]
                return
            place, end = found.span()
            if found.group() == self._fence:
                self._marks = self._inside_code if marks is self._outside else self._outside
                yield text[start:end]
            else:
                if place > start:
                    yield text[start:place]
                yield None
            start = end


class _Marks:
    """The marks that may come next, and how to find the first of them."""

    def __init__(self, *marks: str) -> None:
        self._marks = marks
        self._longest = max(map(len, marks))
        self.pattern = re.compile("|".join(map(re.escape, marks)))

    def undecided(self, text: str, start: int, found: re.Match[str] | None) -> int:
        """Where a mark may have begun, not behind `found`, that the text, as far as it is known, does not decide."""
        last = len(text) if found is None else found.start() + 1
        for index in range(max(start, len(text) - self._longest + 1), last):
            tail = text[index:]
            if any(len(mark) > len(tail) and mark.startswith(tail) for mark in self._marks):
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
    part. How the text was cut into tokens makes no difference: what is there of a part at once is one token of it.
    Needs a context to be read in. An error in the text is raised at its place: the part that it interrupts ends with
    it, and so does the sequence.

    >>> import miniagents
    >>> async def main():
    ...     print(await split_messages("Hello\n\nworld"))
    >>> miniagents.run(main())
    (Message(text='Hello'), Message(text='world'))
    """
    if "text" in metadata:
        raise TypeError("The texts of the parts come from the text that is split; `text` cannot be given beside it.")
    parts = _Parts(Splitter(delimiter, code_block_delimiter), metadata)
    sequence = MessageSequence.turn_into_sequence_promise(messages)

    return MessageSequence(incoming_streamer=lambda _: _split(sequence, delimiter, parts)).sequence_promise


async def _split(sequence: MessageSequencePromise, delimiter: str, parts: "_Parts") -> AsyncIterator[MessagePromise]:
    stretches = Stretches(aiter(sequence))
    is_first = True
    part: MessagePromise | None = None
    try:
        while await stretches.next_text():
            if not is_first:
                for part in parts.feed(delimiter):
                    yield part
            is_first = False
            async for stretch in stretches:
                for part in parts.feed(stretch):
                    yield part
        for part in parts.finish():
            yield part
    except BaseException as error:
        parts.fail(error)
        raise
    finally:
        del sequence, stretches, parts, part  # as in `Promise._run_resolver`


class _Parts:
    """Makes messages of the pieces that a splitter gives."""

    def __init__(self, splitter: Splitter, metadata: dict[str, Any]) -> None:
        self._splitter = splitter
        self._metadata = metadata
        # The part that is not complete yet, of which its readers have what was said so far.
        self._part: StreamAppender[str] | None = None

    def feed(self, text: str) -> Iterator[MessagePromise]:
        """The next chunk of the text. Gives the parts that begin in it."""
        return self._made_of(self._splitter.feed(text))

    def finish(self) -> Iterator[MessagePromise]:
        """The end of the text."""
        yield from self._made_of(itertools.chain(self._splitter.finish(), (None,)))

    def fail(self, error: BaseException) -> None:
        """The text breaks off with an error, and so does the part that is not complete."""
        if self._part is not None:
            self._part.fail(error, "split_messages")
            self._part.close()

    def _made_of(self, pieces: Iterable[str | None]) -> Iterator[MessagePromise]:
        said = ""
        for piece in pieces:
            if piece is not None:
                said += piece
            elif self._part is not None:
                if said:
                    self._part.append(said)
                self._part.close()
                self._part = None
                said = ""
            elif said:
                yield MessagePromise(Message(said, **self._metadata))
                said = ""
        if said:
            if self._part is None:
                self._part = StreamAppender[str]().begin()
                yield Message.promise(self._part, **self._metadata)
            self._part.append(said)
