"""`miniagents doctor`: what is here, and which model `miniagents chat` would use. Of keys it shows the names only."""

import argparse
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Iterator
from typing import Any, Final

from miniagents import __version__
from miniagents.cli.errors import UserError
from miniagents.cli.local_servers import PLACES, LocalServer, find_local_servers
from miniagents.cli.models import HOSTED, choose_model, load_environment_file
from miniagents.ext._terminal import on_one_line
from miniagents.ext.llm.errors import how_to_install

_PACKAGES: Final = ("pydantic", "prompt-toolkit", "rich", "python-dotenv")
# The package that each extra installs.
_EXTRAS: Final = {
    "openai": "openai",
    "anthropic": "anthropic",
    "http": "httpx2",
    "mcp": "mcp",
    "prices": "genai-prices",
}
_VARIABLES: Final = ("MINIAGENTS_MODEL", "OPENAI_MODEL", "OPENAI_BASE_URL", "ANTHROPIC_MODEL", "ANTHROPIC_BASE_URL")
_MOST_MODELS_SHOWN: Final = 5


def run(options: argparse.Namespace) -> int:
    """Print what was found; status 1 if `miniagents chat` could not start."""
    before = set(os.environ)
    load_environment_file()
    findings = _examine(from_file=set(os.environ) - before)
    print(json.dumps(findings, indent=2) if options.json else _as_text(findings))
    return 1 if findings["chat"].get("problem") else 0


def _examine(from_file: set[str]) -> dict[str, Any]:
    """All findings, as JSON data."""
    servers = find_local_servers()
    return {
        "miniagents": __version__,
        "python": f"{platform.python_version()} ({platform.python_implementation()}) at {sys.executable}",
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "extras": {extra: _version(package) for extra, package in _EXTRAS.items()},
        "keys": {hosted.key_variable: _whence(hosted.key_variable, from_file) for hosted in HOSTED},
        "variables": {name: _whence(name, from_file) for name in _VARIABLES if os.environ.get(name)},
        "local_servers": [
            {"name": server.place.title, "base_url": server.place.base_url, "models": server.models}
            for server in servers
        ],
        "chat": _chat(servers),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _whence(variable: str, from_file: set[str]) -> str | None:
    if not os.environ.get(variable, "").strip():
        return None
    return ".env" if variable in from_file else "environment"


def _chat(servers: tuple[LocalServer, ...]) -> dict[str, Any]:
    try:
        choice = choose_model(None, lambda: servers)
    except UserError as error:
        return {"problem": str(error)}
    return {
        "provider": choice.provider,
        "model": choice.model,
        "reason": choice.reason,
        "offline": choice.is_offline,
        "notes": list(choice.notes),
    }


def _as_text(findings: dict[str, Any]) -> str:
    return "\n".join(f"{label:<13} {on_one_line(text)}" for label, text in _lines(findings))


def _lines(findings: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "miniagents", findings["miniagents"]
    yield "Python", findings["python"]
    yield "Platform", findings["platform"]
    yield "Packages", ", ".join(f"{name} {version or 'is missing'}" for name, version in findings["packages"].items())
    for extra, version in findings["extras"].items():
        yield "Extra", f"{extra} {version}" if version else f"{extra} is not installed: {how_to_install(extra)}"
    for name, whence in findings["keys"].items():
        yield "Key", f"{name} is set ({whence})" if whence else f"{name} is not set"
    for name, whence in findings["variables"].items():
        yield "Variable", f"{name} is set ({whence})"
    for server in findings["local_servers"]:
        yield "Local server", f"{server['name']} at {server['base_url']}: {_shown(server['models'])}"
    if not findings["local_servers"]:
        places = ", ".join(f"{place.title} {place.port}" for place in PLACES)
        yield "Local server", f"none answers on 127.0.0.1 ({places})"
    chat = findings["chat"]
    if "problem" in chat:
        yield "Chat", f"cannot start: {chat['problem']}"
        return
    for note in chat["notes"]:
        yield "Note", note
    kind = " (not a language model)" if chat["offline"] else ""
    yield "Chat", f"would use {chat['provider']}, model {chat['model']}{kind}, because {chat['reason']}"


def _shown(models: tuple[str, ...]) -> str:
    more = f" and {len(models) - _MOST_MODELS_SHOWN} more" if len(models) > _MOST_MODELS_SHOWN else ""
    return (", ".join(models[:_MOST_MODELS_SHOWN]) or "no model") + more
