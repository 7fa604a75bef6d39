from miniagents import MiniAgents

async with MiniAgents():
# Your code here
