"""`split_messages`: one text as many messages.

The text arrives in tokens that may end anywhere, also inside a delimiter. The splitter keeps back only the characters
that may be the beginning of a delimiter, so every chunking of a text gives the same parts, and a part streams while it
arrives.
"""

from collections.abc import AsyncIterator
from typing import Any, Final

from miniagents.messages import Message, MessagePromise, MessageSequence, MessageSequencePromise, MessageType
from miniagents.promising import StreamAppender
from miniagents.utils.join import join_messages

_BOUNDARY: Final = None


class Splitter:
    r"""Cuts a text that comes in chunks. `feed` and `finish` give pieces of text, and `None` where a part ends.

    >>> splitter = Splitter("\n\n", "```")
    >>> [*splitter.feed("one\n"), *splitter.feed("\ntwo"), *splitter.finish()]
    ['one', None, 'two']
    """

    def __init__(self, delimiter: str, code_block_delimiter: str | None) -> None:
        if not delimiter:
            raise ValueError("The delimiter is empty: there is no place to split at.")
        self._delimiter = delimiter
        self._fence = code_block_delimiter or None
        self._inside_code = False
        self._held = ""

    def feed(self, chunk: str) -> list[str | None]:
        """The next chunk of the text."""
        return self._cut(self._held + chunk, at_end=False)

    def finish(self) -> list[str | None]:
        """The end of the text: what was kept back is text after all."""
        return self._cut(self._held, at_end=True)

    def _cut(self, text: str, at_end: bool) -> list[str | None]:
        output: list[str | None] = []
        start = 0
        while True:
            # In the order of precedence for marks that begin at the same place.
            marks = [self._fence] if self._inside_code and self._fence else [self._fence, self._delimiter]
            found = [(text.find(mark, start), order, mark) for order, mark in enumerate(marks) if mark]
            place, order, mark = min(
                ((at, order, mark) for at, order, mark in found if at >= 0), default=(len(text), 0, "")
            )
            undecided = len(text) if at_end else self._undecided(text, start, [mark for mark in marks if mark], place)
            if undecided < len(text) and undecided <= place:
                self._held = text[undecided:]
                return [*output, text[start:undecided]] if undecided > start else output
            if not mark:
                self._held = ""
                return [*output, text[start:]] if start < len(text) else output
            end = place + len(mark)
            if mark == self._delimiter and order == len(marks) - 1 and not (self._inside_code and self._fence):
                if place > start:
                    output.append(text[start:place])
                output.append(_BOUNDARY)
            else:
                output.append(text[start:end])
                self._inside_code = not self._inside_code
            start = end

    @staticmethod
    def _undecided(text: str, start: int, marks: list[str], place: int) -> int:
        """Where a mark may have begun that the text, as far as it is known, does not decide. At most at `place`."""
        longest = max(map(len, marks))
        for index in range(max(start, len(text) - longest + 1), min(len(text), place + 1)):
            tail = text[index:]
            if any(len(mark) > len(tail) and mark.startswith(tail) for mark in marks):
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
    async for token in text:
        for piece in splitter.feed(token):
            yield piece
    for piece in splitter.finish():
        yield piece
