"""What `import miniagents` gives, and what it leaves alone."""

from importlib import import_module
from pathlib import Path

import pytest

from support.processes import run_python

# Which names every one of these modules must have.
PUBLIC_NAMES = (
    (
        ("MiniAgents", "miniagent", "InteractionContext", "MiniAgent", "AgentCall", "run"),
        ("miniagents", "miniagents.miniagents"),
    ),
    (
        ("Message", "MessagePromise", "MessageSequence", "MessageSequencePromise", "MessageType", "Frozen"),
        ("miniagents", "miniagents.messages"),
    ),
    (
        ("Promise", "StreamedPromise", "StreamAppender", "PromisingContext", "FlatSequence"),
        ("miniagents.promising",),
    ),
    (("AWAIT", "CLEAR"), ("miniagents", "miniagents.promising.sentinels")),
    (("join_messages", "split_messages", "adialog_loop", "achain_loop"), ("miniagents", "miniagents.utils")),
    (
        ("fallback", "retry", "first_of", "hedge", "best_of", "map_agents"),
        ("miniagents", "miniagents.utils"),
    ),
    (("ChatHistory", "InMemoryChatHistory"), ("miniagents", "miniagents.ext.history_agents")),
    (("ChatHistoryMD",), ("miniagents.ext.history_agents", "miniagents.ext.chat_history_md")),
    (("console_user_agent",), ("miniagents.ext.misc_agents", "miniagents.ext.console_user_agent")),
    (("openai_agent",), ("miniagents.ext.llm.openai",)),
    (("anthropic_agent",), ("miniagents.ext.llm.anthropic",)),
    (("UserMessage", "SystemMessage", "AssistantMessage"), ("miniagents.ext.llm.llm_common",)),
)


@pytest.mark.parametrize(
    ("name", "modules"), [pytest.param(name, modules, id=name) for names, modules in PUBLIC_NAMES for name in names]
)
def test_one_object_stands_behind_every_path(name: str, modules: tuple[str, ...]) -> None:
    """A public name can be imported from each of its modules and is the same object in all of them."""
    assert len({id(getattr(import_module(module), name)) for module in modules}) == 1


def test_the_list_of_public_names_is_true() -> None:
    """Every name of `miniagents.__all__` is there and visible to `dir`."""
    package = import_module("miniagents")
    assert {name for name in package.__all__ if not hasattr(package, name)} == set()
    assert set(package.__all__) <= set(dir(package))


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A name that the package does not have is the error that Python gives for any module."""
    with pytest.raises(AttributeError, match="no_such_name"):
        import_module("miniagents").no_such_name  # noqa: B018  the lookup is the test


HEAVY = ("openai", "anthropic", "rich", "prompt_toolkit")

LOADED_BY_THE_PUBLIC_NAMES = f"""
import sys
import miniagents
for name in miniagents.__all__:
    getattr(miniagents, name)
print([name for name in {HEAVY!r} if name in sys.modules])
"""

LOADED_BY_THE_LLM_AGENTS = f"""
import sys
from miniagents.ext.llm.anthropic import anthropic_agent
from miniagents.ext.llm.openai import openai_agent
print([name for name in {HEAVY!r} if name in sys.modules])
"""


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "program", [LOADED_BY_THE_PUBLIC_NAMES, LOADED_BY_THE_LLM_AGENTS], ids=["public names", "LLM agents"]
)
async def test_importing_loads_no_sdk_and_no_terminal_library(program: str, tmp_path: Path) -> None:
    """No public name, and no LLM agent before its first call, costs the import of an SDK or of a terminal library."""
    ended = await run_python("-c", program, cwd=tmp_path)
    assert (ended.stdout, ended.stderr) == ("[]\n", "")


CHANGED_BY_IMPORTING = """
import logging, signal, sys, warnings
import asyncio, pydantic  # what others change when they are imported is not ours
def settings():
    return (
        list(logging.root.handlers), logging.root.level, list(warnings.filters), sys.excepthook, sys.displayhook,
        signal.getsignal(signal.SIGINT), asyncio.get_event_loop_policy() if sys.version_info < (3, 14) else None,
    )
before = settings()
import miniagents
for name in miniagents.__all__:
    getattr(miniagents, name)
assert settings() == before, (before, settings())
ours = [logger for name, logger in logging.root.manager.loggerDict.items()
        if name.split(".")[0] == "miniagents" and isinstance(logger, logging.Logger)]
assert ours
for logger in ours:
    assert all(isinstance(handler, logging.NullHandler) for handler in logger.handlers), logger
    assert logger.level == logging.NOTSET and logger.propagate, logger
"""


@pytest.mark.timeout(60)
async def test_importing_changes_no_settings(tmp_path: Path) -> None:
    """Importing every public name leaves logging, warning filters, hooks and signal handlers as they were."""
    ended = await run_python("-c", CHANGED_BY_IMPORTING, cwd=tmp_path)
    assert (ended.status, ended.stdout, ended.stderr) == (0, "", "")
