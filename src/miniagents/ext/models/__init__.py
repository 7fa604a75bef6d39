"""Models that need no network and no key, as ordinary agents.

They take the arguments of the LLM agents (`model`, `system`, `stream`, `temperature`, ...), so that either can stand
where the other stood. For demos, examples, and the tests of those who build agents.
"""

from miniagents.ext.models.echo import echo_agent
from miniagents.ext.models.eliza import eliza_agent
from miniagents.ext.models.scripted import Reply, Script, ScriptExhaustedError, scripted_agent

__all__ = ["Reply", "Script", "ScriptExhaustedError", "echo_agent", "eliza_agent", "scripted_agent"]
