"""Utilities: plain users of the layers below."""

from miniagents.utils.join import join_messages
from miniagents.utils.loops import achain_loop, adialog_loop
from miniagents.utils.split import split_messages

__all__ = ["achain_loop", "adialog_loop", "join_messages", "split_messages"]
