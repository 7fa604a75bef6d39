"""The switch that forbids real requests: nothing leaves this machine, and the error says what to do."""

from types import SimpleNamespace
from typing import Any

import pytest

from miniagents import MiniAgents, miniagent
from miniagents.ext.llm._offline import check_allowed
from miniagents.ext.llm.anthropic import anthropic_agent
from miniagents.ext.llm.errors import LLMOfflineError, LLMRequestError
from miniagents.ext.llm.openai import openai_agent
from miniagents.ext.llm.recordings import no_real_requests
from miniagents.testing import LLMServer

REAL = [
    "https://api.openai.com/v1/",
    "http://10.0.0.1",
    "http://localhost.evil.example",
    "http://127.0.0.1.evil.example",
    "http://localhost@evil.example",
    "http://[2001:db8::1]/v1",
    "http://0x7f.1",
]
LOOPBACK = [
    "http://localhost:11434/v1",
    "http://LOCALHOST",
    "http://127.0.0.1:1",
    "http://127.9.9.9",
    "http://[::1]:80/",
]


def client(url: object) -> Any:
    return SimpleNamespace(base_url=url)


@pytest.mark.parametrize("url", REAL)
def test_other_machines_may_not_be_asked(url: str) -> None:
    """An address is forbidden unless it is certain that it is this machine."""
    with no_real_requests(), pytest.raises(LLMOfflineError, match="is forbidden here") as refused:
        check_allowed(client(url), "OpenAI")
    for hint in ("MINIAGENTS_OFFLINE", "Replay a recording", "LLMServer", "no_real_requests(allow=["):
        assert hint in str(refused.value)
    assert isinstance(refused.value, LLMRequestError)


@pytest.mark.parametrize("url", [*LOOPBACK, "", None])
def test_this_machine_and_fakes_may_be_asked(url: object) -> None:
    """Servers on this machine stay allowed, and clients that tell no address."""
    with no_real_requests():
        check_allowed(client(url), "OpenAI")
        check_allowed(object(), "OpenAI")


@pytest.mark.parametrize(("value", "is_on"), [("1", True), ("true", True), ("", False), ("0", False), ("no", False)])
def test_the_variable_is_the_switch_of_a_process(monkeypatch: pytest.MonkeyPatch, value: str, is_on: bool) -> None:
    """`MINIAGENTS_OFFLINE` forbids them everywhere, unless it says no."""
    monkeypatch.setenv("MINIAGENTS_OFFLINE", value)
    try:
        check_allowed(client(REAL[0]), "OpenAI")
        was_refused = False
    except LLMOfflineError:
        was_refused = True
    assert was_refused == is_on


def test_a_block_can_allow_hosts_and_the_innermost_decides() -> None:
    """Hosts that are named may be asked, in this block only."""
    with no_real_requests(allow=["API.openai.com"]):
        check_allowed(client(REAL[0]), "OpenAI")
        with pytest.raises(LLMOfflineError):
            check_allowed(client(REAL[1]), "OpenAI")
        with no_real_requests(), pytest.raises(LLMOfflineError):
            check_allowed(client(REAL[0]), "OpenAI")
    with pytest.raises(TypeError, match=r"\['api'\]"), no_real_requests(allow="api"):
        pytest.fail("a text is no list of hosts")


@pytest.mark.parametrize("agent", [openai_agent, anthropic_agent], ids=["openai", "anthropic"])
async def test_an_agent_refuses_before_it_sends(agent: Any) -> None:
    """The tests of this library run with the switch: an agent with a key and no other address asks nobody."""
    async with MiniAgents():
        with pytest.raises(LLMOfflineError):
            await agent.inquire("Hi", api_key="k")


async def test_what_is_started_in_the_block_is_offline_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Agents of agents inherit the rule, and a loopback server still answers them."""
    monkeypatch.delenv("MINIAGENTS_OFFLINE")

    @miniagent
    async def outer(ctx: Any, **arguments: Any) -> None:
        ctx.reply(openai_agent.inquire("Hi", api_key="k", model="m", **arguments))

    async with LLMServer("Fine.") as server, MiniAgents():
        with no_real_requests():
            refused = outer.inquire()
            answered = outer.inquire(base_url=f"{server.url}/v1")
        with pytest.raises(LLMOfflineError):
            await refused
        assert [str(message) for message in await answered] == ["Fine."]
