import asyncio
from miniagents.miniagents import MiniAgents, miniagent, InteractionContext


@miniagent
async def simple_agent(ctx: InteractionContext) -> None:
    print("Agent is running")
    ctx.reply("Hello from the agent!")


async def main() -> None:
    async with MiniAgents():
        await simple_agent.inquire()


if __name__ == "__main__":
    asyncio.run(main())
