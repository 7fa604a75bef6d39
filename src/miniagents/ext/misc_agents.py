"""The spec's second path to `console_user_agent`."""

from miniagents.ext.console_user_agent import console_user_agent

__all__ = ["console_user_agent"]
