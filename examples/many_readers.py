"""A stream is a value: any number of readers, early or late, and each gets all of it from the first token on.

    python examples/many_readers.py

It prints:

    Once there was a stream that everybody could read.
    Another reader has counted 9 tokens, and one has left after 'Once'.
    A late reader gets the same: Once ther...
"""

import asyncio
import sys

import miniagents
from miniagents import MessageSequencePromise
from miniagents.ext.models import scripted_agent

narrator = scripted_agent.fork(script="Once there was a stream that everybody could read.", tokens_per_second=20)


async def show(replies: MessageSequencePromise) -> None:
    async for message in replies:
        async for token in message:
            print(token, end="", flush=True)
    print()


async def count(replies: MessageSequencePromise) -> int:
    return len([token async for message in replies async for token in message])


async def give_up(replies: MessageSequencePromise) -> str:
    async for message in replies:
        async for token in message:
            return token  # leaving in the middle changes nothing for the others
    return ""


async def main() -> None:
    replies = narrator.inquire("Tell me a story.")
    _, tokens, first = await asyncio.gather(show(replies), count(replies), give_up(replies))
    print(f"Another reader has counted {tokens} tokens, and one has left after {first!r}.")
    (message,) = await replies
    print(f"A late reader gets the same: {str(message)[:9]}...")


if __name__ == "__main__":
    try:
        miniagents.run(main())
    except KeyboardInterrupt:
        sys.exit(130)
