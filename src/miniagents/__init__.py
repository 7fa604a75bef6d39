"""MiniAgents: systems of LLM agents as plain procedural async code.

An agent is an `async def` that is sent a sequence of messages and replies with one. Agents call each other with
`inquire`; everything runs at once and streams token by token to whoever reads, early, late, once or many times.

The names are loaded when they are first used, so that importing the package costs next to nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from miniagents.agents import AgentCall as AgentCall
    from miniagents.agents import Budget as Budget
    from miniagents.agents import BudgetExceededError as BudgetExceededError
    from miniagents.agents import InteractionContext as InteractionContext
    from miniagents.agents import MiniAgent as MiniAgent
    from miniagents.agents import MiniAgents as MiniAgents
    from miniagents.agents import Usage as Usage
    from miniagents.agents import check_budget as check_budget
    from miniagents.agents import miniagent as miniagent
    from miniagents.agents import record_usage as record_usage
    from miniagents.agents import run as run
    from miniagents.ext.history_agents import ChatHistory as ChatHistory
    from miniagents.ext.history_agents import InMemoryChatHistory as InMemoryChatHistory
    from miniagents.messages import EndOfDialog as EndOfDialog
    from miniagents.messages import ErrorMessage as ErrorMessage
    from miniagents.messages import Frozen as Frozen
    from miniagents.messages import Message as Message
    from miniagents.messages import MessagePromise as MessagePromise
    from miniagents.messages import MessageSequence as MessageSequence
    from miniagents.messages import MessageSequencePromise as MessageSequencePromise
    from miniagents.messages import MessageType as MessageType
    from miniagents.promising import AWAIT as AWAIT
    from miniagents.promising import CLEAR as CLEAR
    from miniagents.promising import MiniAgentsError as MiniAgentsError
    from miniagents.utils import achain_loop as achain_loop
    from miniagents.utils import adialog_loop as adialog_loop
    from miniagents.utils import best_of as best_of
    from miniagents.utils import fallback as fallback
    from miniagents.utils import first_of as first_of
    from miniagents.utils import hedge as hedge
    from miniagents.utils import join_messages as join_messages
    from miniagents.utils import map_agents as map_agents
    from miniagents.utils import retry as retry
    from miniagents.utils import split_messages as split_messages

__version__ = "0.1.0"

_HOMES: Final = {
    "AgentCall": "agents",
    "Budget": "agents",
    "BudgetExceededError": "agents",
    "InteractionContext": "agents",
    "MiniAgent": "agents",
    "MiniAgents": "agents",
    "Usage": "agents",
    "check_budget": "agents",
    "miniagent": "agents",
    "record_usage": "agents",
    "run": "agents",
    "ChatHistory": "ext.history_agents",
    "InMemoryChatHistory": "ext.history_agents",
    "EndOfDialog": "messages",
    "ErrorMessage": "messages",
    "Frozen": "messages",
    "Message": "messages",
    "MessagePromise": "messages",
    "MessageSequence": "messages",
    "MessageSequencePromise": "messages",
    "MessageType": "messages",
    "AWAIT": "promising",
    "CLEAR": "promising",
    "MiniAgentsError": "promising",
    "achain_loop": "utils",
    "adialog_loop": "utils",
    "best_of": "utils",
    "fallback": "utils",
    "first_of": "utils",
    "hedge": "utils",
    "join_messages": "utils",
    "map_agents": "utils",
    "retry": "utils",
    "split_messages": "utils",
}

__all__ = [
    "AWAIT",
    "CLEAR",
    "AgentCall",
    "Budget",
    "BudgetExceededError",
    "ChatHistory",
    "EndOfDialog",
    "ErrorMessage",
    "Frozen",
    "InMemoryChatHistory",
    "InteractionContext",
    "Message",
    "MessagePromise",
    "MessageSequence",
    "MessageSequencePromise",
    "MessageType",
    "MiniAgent",
    "MiniAgents",
    "MiniAgentsError",
    "Usage",
    "__version__",
    "achain_loop",
    "adialog_loop",
    "best_of",
    "check_budget",
    "fallback",
    "first_of",
    "hedge",
    "join_messages",
    "map_agents",
    "miniagent",
    "record_usage",
    "retry",
    "run",
    "split_messages",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
