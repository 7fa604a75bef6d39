"""Two agents talk to each other: a chain loop passes on what one says to the other, turn after turn.

    python examples/self_play.py

It prints:

    Ada: What part do machines play in what you want to talk about?
    Alan: I am a small set of rules, not a mind. Does that bother you?
    Ada: How long have you been a small set of rules?
    Alan: What answer would you like best?
    Ada: What would you think if I did?
    Alan: Perhaps. What made you ask?
"""

import itertools
import sys

import miniagents
from miniagents import AWAIT, EndOfDialog, MessageSequencePromise, achain_loop
from miniagents.ext.models import eliza_agent

TURNS = 6

ada = eliza_agent.fork(alias="Ada", seed=1, tokens_per_second=40)
alan = eliza_agent.fork(alias="Alan", seed=2, tokens_per_second=40)
turns = itertools.count(1)


async def listen(messages: MessageSequencePromise) -> MessageSequencePromise:
    """A link of the chain that is no agent: shows what is passed on while it is being said, and ends the talk."""
    async for message in messages:
        print(f"{message.preliminary_metadata['agent_alias']}:", end="", flush=True)
        async for token in message:
            print(f" {token.strip()}", end="", flush=True)
        print()
    if next(turns) == TURNS:
        raise EndOfDialog
    return messages


async def main() -> None:
    await achain_loop([ada, listen, AWAIT, alan, listen, AWAIT], initial_input="My computer wants to be a poet.")


if __name__ == "__main__":
    try:
        miniagents.run(main())
    except KeyboardInterrupt:
        sys.exit(130)
