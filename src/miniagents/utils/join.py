"""`join_messages`: many messages as one."""

from collections.abc import AsyncIterator
from typing import Any

from miniagents.messages import Message, MessagePromise, MessageSequence, MessageType


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

    async def tokens(known_at_end: dict[str, Any]) -> AsyncIterator[str]:
        originals: list[Message] = []
        first = True
        async for promise in sequence:
            if not first:
                yield delimiter
            first = False
            leading = strip_leading_newlines
            async for token in promise:
                text = token.lstrip("\n") if leading else token
                leading = leading and not text
                if text:
                    yield text
            if reference_original_messages:
                originals.append(await promise)
        if reference_original_messages:
            known_at_end["original_messages"] = originals

    return Message.promise(tokens, **metadata)
