"""A planner whose tasks are worked on while it still plans: `items` gives each one as soon as it is written.

The planner is scripted, so this runs offline; any LLM agent that answers in JSON can stand in its place.

    python examples/planner.py

It prints:

    planned: Pitch the tent
    done: Pitch the tent (in 20 minutes)
    planned: Light a fire
    done: Light a fire (in 10 minutes)
    planned: Cook the soup
    The plan is complete: 3 tasks, 70 minutes.
    done: Cook the soup (in 40 minutes)
"""

import sys

import miniagents
from miniagents import InteractionContext, Message, miniagent
from miniagents.ext.models import scripted_agent


class Task(Message):
    title: str
    minutes: int


planner = scripted_agent.fork(
    script="""Here is the plan:
[{"title": "Pitch the tent", "minutes": 20},
 {"title": "Light a fire", "minutes": 10},
 {"title": "Cook the soup", "minutes": 40}]""",
    tokens_per_second=40,
)
worker = scripted_agent.fork(script=lambda messages: f"done: {messages[0].title} (in {messages[0].minutes} minutes)")


@miniagent
async def camp(ctx: InteractionContext) -> None:
    plan = planner.inquire(ctx.message_promises).items(Task)
    async for task in plan:
        ctx.reply(f"planned: {task.title}")
        ctx.reply_out_of_order(worker.inquire(task))
    ctx.reply(f"The plan is complete: {len(await plan)} tasks, {sum(task.minutes for task in await plan)} minutes.")


async def main() -> None:
    async for message in camp.inquire("We want to camp."):
        print(await message)


if __name__ == "__main__":
    try:
        miniagents.run(main())
    except KeyboardInterrupt:
        sys.exit(130)
