"""A text is split into paragraphs, all of them are worked on at once, and the results are joined: all of it streams.

The first paragraph is at work before the second one has been written.

    python examples/split_and_join.py

It prints:

    * THE SEA IS LOUD.
    * THE HILLS ARE QUIET.
    * THE ROAD BETWEEN THEM IS LONG.
"""

import sys

import miniagents
from miniagents import InteractionContext, join_messages, miniagent, split_messages
from miniagents.ext.models import scripted_agent

author = scripted_agent.fork(
    script="The sea is loud.\n\nThe hills are quiet.\n\nThe road between them is long.", tokens_per_second=40
)


@miniagent
async def shouter(ctx: InteractionContext) -> None:
    """Stands for anything that works on a paragraph, such as a translator."""
    async for paragraph in ctx.message_promises:
        ctx.reply(str(await paragraph).upper())


@miniagent
async def pipeline(ctx: InteractionContext) -> None:
    paragraphs = split_messages(author.inquire(ctx.message_promises))
    results = [shouter.inquire(paragraph) async for paragraph in paragraphs]
    ctx.reply(join_messages(results, delimiter="\n* "))


async def main() -> None:
    (message,) = await pipeline.inquire("Write about a landscape.")
    print(f"* {message}")


if __name__ == "__main__":
    try:
        miniagents.run(main())
    except KeyboardInterrupt:
        sys.exit(130)
