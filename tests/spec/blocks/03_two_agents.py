from miniagents import miniagent, MiniAgents, InteractionContext


@miniagent
async def agent1(ctx: InteractionContext):
    ctx.reply("Hello from Agent 1!")


@miniagent
async def agent2(ctx: InteractionContext):
    message = await ctx.message_promises
    ctx.reply(f"Agent 2 received: {message[0].text}")


async def main():
    async with MiniAgents():
        agent2_replies = agent2.inquire(agent1.inquire())
        print(await agent2_replies)


asyncio.run(main())
