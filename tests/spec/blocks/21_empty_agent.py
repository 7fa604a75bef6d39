from miniagents import miniagent


@miniagent
async def my_agent(ctx, **kwargs):
# Agent logic here
