"""Agents, their calls, and the context in which they live."""

from miniagents.agents.agent import MiniAgent, miniagent
from miniagents.agents.budget import Budget, BudgetExceededError, check_budget
from miniagents.agents.call import AgentCall
from miniagents.agents.context import MiniAgents, run
from miniagents.agents.interaction import InteractionContext
from miniagents.agents.nodes import AgentCallNode, AgentReplyNode
from miniagents.messages.usage import Usage, record_usage

__all__ = [
    "AgentCall",
    "AgentCallNode",
    "AgentReplyNode",
    "Budget",
    "BudgetExceededError",
    "InteractionContext",
    "MiniAgent",
    "MiniAgents",
    "Usage",
    "check_budget",
    "miniagent",
    "record_usage",
    "run",
]
