"""The smallest program: an agent is an async function that is sent messages and replies with messages.

    python examples/hello.py

It prints:

    Good morning, Ada!
    Good morning, Alan!
"""

import sys

import miniagents
from miniagents import InteractionContext, miniagent


@miniagent
async def greeter(ctx: InteractionContext, greeting: str = "Hello") -> None:
    async for message in ctx.message_promises:
        ctx.reply(f"{greeting}, {await message}!")


async def main() -> None:
    async for message in greeter.inquire(["Ada", "Alan"], greeting="Good morning"):
        print(await message)


if __name__ == "__main__":
    try:
        miniagents.run(main())
    except KeyboardInterrupt:
        sys.exit(130)
