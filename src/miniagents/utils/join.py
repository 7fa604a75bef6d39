"""`join_messages`: many messages as one."""

from collections.abc import AsyncIterator
from typing import Any

from miniagents.messages import Message, MessagePromise, MessageSequence, MessageSequencePromise, MessageType
from miniagents.promising.log import Failure
from miniagents.promising.rope import RopeReader
from miniagents.promising.sentinels import END


def join_messages(
    messages: MessageType,
    delimiter: str = "\n\n",
    strip_leading_newlines: bool = False,
    reference_original_messages: bool = True,
    **metadata: Any,
) -> MessagePromise:
    """One message whose text is that of all `messages` with `delimiter` in between. Streams through, never waits.

    - `strip_leading_newlines`: drop the newlines with which each of them begins.
    - `reference_original_messages`: keep the messages in the field `original_messages` of the joined one.
    - `metadata`: further fields of the joined message.

    Needs a context to be read in. An error among the messages is raised at its place in the text.

    >>> import miniagents
    >>> async def main():
    ...     print(await join_messages(["Hello", "world"], delimiter=", "))
    >>> miniagents.run(main())
    Hello, world
    """
    if not isinstance(delimiter, str):
        raise TypeError(f"The delimiter is a str, not {type(delimiter).__name__}.")
    sequence = MessageSequence.turn_into_sequence_promise(messages)

    def tokens(known_at_end: dict[str, Any]) -> AsyncIterator[str]:
        return _joined(
            sequence, delimiter, strip_leading_newlines, known_at_end if reference_original_messages else None
        )

    return Message.promise(tokens, **metadata)


async def _joined(
    sequence: MessageSequencePromise,
    delimiter: str,
    strip_leading_newlines: bool,
    known_at_end: dict[str, Any] | None,
) -> AsyncIterator[str]:
    originals: list[Message] = []
    item: Any = None
    reader: RopeReader[MessagePromise] = sequence.read_items()
    is_first = True
    try:
        while (item := await reader.next_kept()) is not END:  # of a message that was sent whole, no promise is needed
            if isinstance(item, Failure):
                item.throw()
            if not is_first:
                yield delimiter
            is_first = False
            leading = strip_leading_newlines
            message = item.sent_whole if isinstance(item, MessagePromise) else item
            if message is not None:
                if text := str(message).lstrip("\n") if leading else str(message):
                    yield text
            else:
                async for token in item:
                    text = token.lstrip("\n") if leading else token
                    leading = leading and not text
                    if text:
                        yield text
            if known_at_end is not None:
                originals.append(await item if message is None else message)
        if known_at_end is not None:
            known_at_end["original_messages"] = originals
    finally:
        del sequence, reader, item  # as in `Promise._run_resolver`
