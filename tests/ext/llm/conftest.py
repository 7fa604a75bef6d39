"""Every way to reach a model: each agent, with a client of its own and with one that the caller has made."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import anthropic
import openai
import pytest

from miniagents import MiniAgent
from miniagents.ext.llm.anthropic import anthropic_agent
from miniagents.ext.llm.openai import openai_agent
from miniagents.ext.llm.openai_compatible import openai_compatible_agent
from miniagents.ext.llm.openai_responses import openai_responses_agent
from support.llm_ways import WAYS


class Server(Protocol):
    """What a way leads to."""

    @property
    def url(self) -> str: ...


@dataclass(frozen=True)
class Way:
    """One way to reach a model: `agent(server)` asks `server`, and never retries."""

    name: str
    agent: Callable[[Server], MiniAgent[...]]

    @property
    def is_anthropic(self) -> bool:
        return self.name.startswith("anthropic")

    @property
    def is_of_responses(self) -> bool:
        return self.name.startswith("responses")


@pytest.fixture(params=WAYS)
async def way(request: pytest.FixtureRequest) -> AsyncIterator[Way]:
    async with AsyncExitStack() as clients:

        def lent(client: Any) -> Any:
            clients.push_async_callback(client.close)
            return client

        agents: dict[str, Callable[[Server], MiniAgent[...]]] = {
            "openai": lambda server: openai_agent.fork(base_url=f"{server.url}/v1", api_key="key", max_retries=0),
            "openai, caller's client": lambda server: openai_agent.fork(
                async_client=lent(openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="key", max_retries=0))
            ),
            "responses": lambda server: openai_responses_agent.fork(
                base_url=f"{server.url}/v1", api_key="key", max_retries=0
            ),
            "responses, caller's client": lambda server: openai_responses_agent.fork(
                async_client=lent(openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="key", max_retries=0))
            ),
            "anthropic": lambda server: anthropic_agent.fork(base_url=server.url, api_key="key", max_retries=0),
            "anthropic, caller's client": lambda server: anthropic_agent.fork(
                async_client=lent(anthropic.AsyncAnthropic(base_url=server.url, api_key="key", max_retries=0))
            ),
            "compatible": lambda server: openai_compatible_agent.fork(
                base_url=f"{server.url}/v1", model="llama", max_retries=0
            ),
        }
        yield Way(request.param, agents[request.param])


@pytest.fixture
def no_anthropic_profile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The SDK also finds credentials on disk; whoever runs the tests may have some."""
    for variable in ("HOME", "XDG_CONFIG_HOME", "APPDATA"):
        monkeypatch.setenv(variable, str(tmp_path))
