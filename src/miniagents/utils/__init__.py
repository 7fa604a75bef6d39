"""Utilities: plain users of the layers below."""

from miniagents.utils.at_once import first_of, hedge
from miniagents.utils.best_of import JudgeError, JudgeRequest, best_of
from miniagents.utils.for_each import map_agents
from miniagents.utils.in_turn import fallback, retry
from miniagents.utils.join import join_messages
from miniagents.utils.loops import achain_loop, adialog_loop
from miniagents.utils.split import split_messages
from miniagents.utils.success import AllFailedError

__all__ = [
    "AllFailedError",
    "JudgeError",
    "JudgeRequest",
    "achain_loop",
    "adialog_loop",
    "best_of",
    "fallback",
    "first_of",
    "hedge",
    "join_messages",
    "map_agents",
    "retry",
    "split_messages",
]
