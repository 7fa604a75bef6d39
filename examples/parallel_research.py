"""One question, three experts at once, one answer: plain procedural code, nothing waits that does not have to.

The models are scripted, so this runs offline; any LLM agent can stand in their place.

    python examples/parallel_research.py

It prints:

    Why do bees matter? For 3 reasons:
    - They carry the pollen that many crops need.
    - They make of nectar what hardly spoils.
    - Their wax and honey have been used for nine thousand years.
"""

import sys

import miniagents
from miniagents import InteractionContext, Message, miniagent
from miniagents.ext.models import scripted_agent

model = scripted_agent.fork(time_to_first_token=0.3, tokens_per_second=30)
EXPERTS = {
    "biologist": model.fork(script="They carry the pollen that many crops need."),
    "chemist": model.fork(script="They make of nectar what hardly spoils."),
    "historian": model.fork(script="Their wax and honey have been used for nine thousand years."),
}


def sum_up(messages: tuple[Message, ...]) -> str:
    question, *opinions = messages
    return f"{question} For {len(opinions)} reasons:\n" + "\n".join(f"- {opinion}" for opinion in opinions)


editor = model.fork(script=sum_up)


@miniagent
async def panel(ctx: InteractionContext) -> None:
    """Asks all experts at the same time and has their opinions summed up."""
    opinions = [expert.inquire(ctx.message_promises) for expert in EXPERTS.values()]
    ctx.reply(editor.inquire([ctx.message_promises, opinions]))


async def main() -> None:
    async for message in panel.inquire("Why do bees matter?"):
        async for token in message:
            print(token, end="", flush=True)
        print()


if __name__ == "__main__":
    try:
        miniagents.run(main())
    except KeyboardInterrupt:
        sys.exit(130)
