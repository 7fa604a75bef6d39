"""Which model `miniagents chat` talks to."""

import difflib
import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dotenv import load_dotenv

from miniagents import MiniAgent
from miniagents.cli.errors import UserError
from miniagents.cli.local_servers import PLACES, LocalServer
from miniagents.ext._terminal import on_one_line
from miniagents.ext.llm.anthropic import AnthropicProvider, anthropic_agent
from miniagents.ext.llm.errors import how_to_install
from miniagents.ext.llm.llm_common import LLMProvider
from miniagents.ext.llm.openai import OpenAIProvider, openai_agent
from miniagents.ext.llm.openai_compatible import OpenAICompatibleProvider, openai_compatible_agent
from miniagents.ext.models import echo_agent, eliza_agent

FindServers = Callable[[], Sequence[LocalServer]]


@dataclass(frozen=True, slots=True)
class Choice:
    """A model, and why it was chosen."""

    provider: str
    model: str
    agent: MiniAgent[...]
    reason: str
    """A clause that can stand behind "because"."""
    is_offline: bool = False
    """Whether it is no language model at all."""
    is_fallback: bool = False
    """Whether nobody has asked for it, and nothing better was found."""
    notes: tuple[str, ...] = ()
    """What would have been chosen before it, and why it could not be."""


@dataclass(frozen=True, slots=True)
class Hosted:
    """A provider that wants a key and has a package of its own."""

    name: str
    key_variable: str
    provider: type[LLMProvider]
    agent: MiniAgent[...]

    def obstacle(self, environment: Mapping[str, str]) -> str | None:
        """Why it cannot be used here, and what to do; `None` if it can."""
        if not environment.get(self.key_variable, "").strip():
            return f"there is no key: set {self.key_variable}, in the environment or in a file `.env`"
        if importlib.util.find_spec(self.provider.package) is None:
            return f"its package is not installed: {how_to_install(self.provider.extra)}"
        return None

    def choice(self, model: str | None, environment: Mapping[str, str], reason: str, *notes: str) -> Choice:
        """This provider with `model`, else with the one of its variable, else with its default."""
        variable = self.provider.model_variable
        chosen = model or (variable and environment.get(variable)) or self.provider.default_model or ""
        return Choice(self.name, chosen, self.agent.fork(model=chosen), reason, notes=notes)


HOSTED: Final = (
    Hosted("openai", "OPENAI_API_KEY", OpenAIProvider, openai_agent),
    Hosted("anthropic", "ANTHROPIC_API_KEY", AnthropicProvider, anthropic_agent),
)
_OFFLINE: Final[dict[str, MiniAgent[...]]] = {"eliza": eliza_agent, "echo": echo_agent}
_LOCAL: Final = "local"
_NAMES: Final = (*(hosted.name for hosted in HOSTED), *(place.provider for place in PLACES), _LOCAL, *_OFFLINE)


def load_environment_file() -> None:
    """Add the variables of the file `.env` in the current folder, if there is one, to those that are not set."""
    path = Path(".env")
    if path.is_file():
        try:
            load_dotenv(path)
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"the file .env cannot be read: {error}") from error


def choose_model(asked: str | None, find_servers: FindServers, environment: Mapping[str, str] = os.environ) -> Choice:
    """The model that was asked for, or else the first of those that are there.

    Raises `UserError` if the one that was asked for, here or by MINIAGENTS_MODEL, is not there. What is found without
    being asked for falls back, down to `eliza`, and the choice says so.
    """
    if asked is not None:
        return _asked_for(asked, "--model", find_servers, environment)
    if environment.get("MINIAGENTS_MODEL"):
        return _asked_for(environment["MINIAGENTS_MODEL"], "MINIAGENTS_MODEL", find_servers, environment)
    notes: list[str] = []
    for hosted in HOSTED:
        if environment.get(hosted.key_variable, "").strip():
            obstacle = hosted.obstacle(environment)
            if obstacle is None:
                return hosted.choice(None, environment, f"{hosted.key_variable} is set", *notes)
            notes.append(f"{hosted.key_variable} is set, but {obstacle}")
    for server in find_servers():
        obstacle = _obstacle_to(server)
        if obstacle is None:
            return _choice_of(server, server.models[0], f"{server.place.title} runs on this machine", *notes)
        notes.append(f"{server.place.title} runs on this machine, but {obstacle}")
    return Choice("eliza", "eliza", eliza_agent, "no model was found", True, True, tuple(notes))


def _asked_for(asked: str, by: str, find_servers: FindServers, environment: Mapping[str, str]) -> Choice:
    name, colon, model = asked.partition(":")
    name, model = name.strip().lower(), model.strip()
    reason = f"{by} says so"
    if colon and not model:
        raise UserError(
            f"{by} names no model behind the colon: write `{on_one_line(name)}:name`, or leave the colon out"
        )
    for hosted in HOSTED:
        if name == hosted.name:
            obstacle = hosted.obstacle(environment)
            if obstacle is not None:
                raise UserError(f"{by} asks for {hosted.provider.name}, but {obstacle}")
            return hosted.choice(model or None, environment, reason)
    if name in _OFFLINE:
        if model:
            raise UserError(f"{by} asks for a model of `{name}`, which has none: write just `{name}`")
        return Choice(name, name, _OFFLINE[name], reason, is_offline=True)
    if name == _LOCAL or any(name == place.provider for place in PLACES):
        return _local_asked_for(name, model, by, find_servers())
    raise UserError(f"{by}: {_unknown(name)}")


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, _NAMES, 1)
    hint = f" (did you mean `{close[0]}`?)" if close else ""
    return (
        f"there is no provider `{on_one_line(name)}`{hint}: write `provider:model` or a provider alone, "
        f"one of {', '.join(_NAMES)}"
    )


def _local_asked_for(name: str, model: str, by: str, servers: Sequence[LocalServer]) -> Choice:
    wanted = [place for place in PLACES if name in (_LOCAL, place.provider)]
    found = [server for server in servers if server.place in wanted]
    if not found:
        where = ", ".join(f"{place.title} at {place.base_url}" for place in wanted)
        raise UserError(f"{by} asks for `{name}`, but no server answers there ({where}): start it first")
    # Ollama lists `llama3.2` as `llama3.2:latest`.
    wanted_models = {model, f"{model}:latest"}
    for server in found:
        for listed in server.models:
            if not model or listed in wanted_models:
                obstacle = _obstacle_to(server)
                if obstacle is not None:
                    raise UserError(f"{by} asks for `{name}`, but {obstacle}")
                return _choice_of(server, listed, f"{by} says so")
    offered = ", ".join(on_one_line(listed) for server in found for listed in server.models)
    raise UserError(
        f"{by} asks for `{on_one_line(model or name)}`, but "
        + (
            f"there are only these models: {offered}"
            if offered
            else f"{found[0].place.title} has no model: get one first"
        )
    )


def _obstacle_to(server: LocalServer) -> str | None:
    if not server.models:
        return "it has no model: get one first"
    if importlib.util.find_spec(OpenAICompatibleProvider.package) is None:
        return f"the package that speaks to it is not installed: {how_to_install(OpenAICompatibleProvider.extra)}"
    return None


def _choice_of(server: LocalServer, model: str, reason: str, *notes: str) -> Choice:
    agent = openai_compatible_agent.fork(base_url=server.place.base_url, model=model)
    return Choice(server.place.provider, model, agent, f"{reason}, at {server.place.base_url}", notes=notes)
