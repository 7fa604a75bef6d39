"""Agents, their calls, and the context in which they live."""

from miniagents.agents.agent import MiniAgent, miniagent
from miniagents.agents.call import AgentCall
from miniagents.agents.context import MiniAgents, run
from miniagents.agents.interaction import InteractionContext
from miniagents.agents.nodes import AgentCallNode, AgentReplyNode

__all__ = [
    "AgentCall",
    "AgentCallNode",
    "AgentReplyNode",
    "InteractionContext",
    "MiniAgent",
    "MiniAgents",
    "miniagent",
    "run",
]
