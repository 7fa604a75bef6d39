"""What this library tests itself with, for the tests of those who build on it.

* `run_virtual`, `explore`, `VirtualTimeLoop`: tests in virtual time, with seeded task order, that cannot hang.
* `check_promise`, `check_stream`, `check_sequence`: hold what is your own to the contract of this library's streams.
* `LLMServer`: a server on this machine that speaks the wire formats of OpenAI and Anthropic and breaks on request.
* `scripted_agent`, `echo_agent`, `eliza_agent`: agents that stand in for LLM agents.

Nothing here needs a key or the network, and nothing is loaded before it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from miniagents.ext.models import ScriptExhaustedError, echo_agent, eliza_agent, scripted_agent
    from miniagents.testing.contract import ContractBrokenError, check_promise, check_sequence, check_stream
    from miniagents.testing.llm_server import (
        Fault,
        FaultKind,
        LLMRequest,
        LLMServer,
        RedactedThinking,
        Thinking,
        ToolResult,
        ToolUse,
    )
    from miniagents.testing.virtual_time import (
        NothingCanMoveError,
        NotSimulatedError,
        SimulationStuckError,
        StepHook,
        StepLimitError,
        VirtualTimeLoop,
        VirtualTimeoutError,
        WaitingTask,
        explore,
        run_virtual,
    )

__all__ = [
    "ContractBrokenError",
    "Fault",
    "FaultKind",
    "LLMRequest",
    "LLMServer",
    "NotSimulatedError",
    "NothingCanMoveError",
    "RedactedThinking",
    "ScriptExhaustedError",
    "SimulationStuckError",
    "StepHook",
    "StepLimitError",
    "Thinking",
    "ToolResult",
    "ToolUse",
    "VirtualTimeLoop",
    "VirtualTimeoutError",
    "WaitingTask",
    "check_promise",
    "check_sequence",
    "check_stream",
    "echo_agent",
    "eliza_agent",
    "explore",
    "run_virtual",
    "scripted_agent",
]

# Lazy, because `python -m miniagents.testing.llm_server` would otherwise load that module twice.
_MODULE_OF = {
    **dict.fromkeys(
        ["ContractBrokenError", "check_promise", "check_sequence", "check_stream"], "miniagents.testing.contract"
    ),
    **dict.fromkeys(
        ["Fault", "FaultKind", "LLMRequest", "LLMServer", "RedactedThinking", "Thinking", "ToolResult", "ToolUse"],
        "miniagents.testing.llm_server",
    ),
    **dict.fromkeys(["ScriptExhaustedError", "echo_agent", "eliza_agent", "scripted_agent"], "miniagents.ext.models"),
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF.get(name, "miniagents.testing.virtual_time")), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
