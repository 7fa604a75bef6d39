"""A second door to the agents: the names of `miniagents.agents` under the path that the first versions had."""

from miniagents.agents import AgentCall, InteractionContext, MiniAgent, MiniAgents, miniagent, run

__all__ = ["AgentCall", "InteractionContext", "MiniAgent", "MiniAgents", "miniagent", "run"]
