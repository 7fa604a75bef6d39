"""A real model in the place of an offline one: an agent like any other, so one line decides.

The library never falls back by itself; this program does, and says so.

    python examples/real_model.py                                    # offline
    OPENAI_API_KEY=... python examples/real_model.py                 # needs: pip install "miniagents[openai]"

It prints:

    No OPENAI_API_KEY, so `eliza_agent` answers.
    Did you ever imagine a garden on the roof while you were awake?
"""

import os
import sys

import miniagents
from miniagents import InteractionContext, miniagent
from miniagents.ext.llm.openai import openai_agent
from miniagents.ext.models import eliza_agent

model = openai_agent if os.environ.get("OPENAI_API_KEY") else eliza_agent


@miniagent
async def counsellor(ctx: InteractionContext) -> None:
    """Knows nothing of which model it uses."""
    ctx.reply(model.inquire(ctx.message_promises, system="Answer with one short question.", max_tokens=200))


async def main() -> None:
    print("A model of OpenAI answers." if model is openai_agent else "No OPENAI_API_KEY, so `eliza_agent` answers.")
    async for message in counsellor.inquire("I dream of a garden on the roof."):
        async for token in message:
            print(token, end="", flush=True)
        print()


if __name__ == "__main__":
    try:
        miniagents.run(main())
    except KeyboardInterrupt:
        sys.exit(130)
