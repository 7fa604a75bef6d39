"""Answers of LLM providers, cut at every byte: the real SDKs read them from memory, in virtual time."""

import asyncio
import functools
import gc
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from unittest.mock import patch

import anthropic
import httpx2
import openai

from miniagents import Message, MiniAgents
from miniagents.ext.llm import _pool
from miniagents.ext.llm.anthropic import AnthropicProvider, anthropic_agent
from miniagents.ext.llm.errors import LLMError
from miniagents.ext.llm.llm_common import AssistantMessage, ClientOptions, ThinkingMessage, ToolCallMessage
from miniagents.ext.llm.openai import OpenAIProvider, openai_agent
from miniagents.ext.llm.openai_compatible import OpenAICompatibleProvider, openai_compatible_agent
from miniagents.ext.llm.openai_responses import OpenAIResponsesProvider, openai_responses_agent
from miniagents.testing import run_virtual
from reliability.wire_bodies import ENDINGS, Ending, Outcome, Scenario, Stream
from reliability.wire_scenarios import scenarios
from support.llm import answered_in_memory

# What a broken connection may look like; which of these it is, the number of the byte decides.
_BREAKS = (
    lambda: httpx2.RemoteProtocolError("peer closed connection without sending complete message body"),
    lambda: httpx2.ReadError(""),
)


class Case(NamedTuple):
    """One run: something happens at one byte of the body of one scenario."""

    scenario: str
    ending: Ending
    byte: int

    def __str__(self) -> str:
        return ":".join(map(str, self))

    @classmethod
    def parse(cls, name: str) -> "Case":
        """The case that was printed as `name`."""
        scenario, ending, byte = name.split(":")
        sent = scenarios().get(scenario)
        if ending not in ENDINGS or sent is None or not 0 <= int(byte) <= len(sent.wire):
            raise ValueError(name)
        return cls(scenario, ending, int(byte))


class _Body(httpx2.AsyncByteStream):
    """A body on its way, from memory."""

    def __init__(self, raw: bytes, ending: Ending, byte: int) -> None:
        self._raw, self._ending, self._byte = raw, ending, byte
        self.is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._raw[: self._byte]
        if self._ending == "split":
            yield self._raw[self._byte :]
        elif self._ending == "break":
            raise _BREAKS[self._byte % len(_BREAKS)]()
        elif self._ending == "stall":
            await asyncio.Event().wait()

    async def aclose(self) -> None:
        self.is_closed = True


class _Transport(httpx2.AsyncBaseTransport):
    """Answers every request as the present case says."""

    def __init__(self, scenario: Scenario, case: Case) -> None:
        self.scenario, self.case = scenario, case
        self.bodies: list[_Body] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        scenario = self.scenario
        self.bodies.append(_Body(scenario.wire, self.case.ending, self.case.byte))
        headers = [("content-type", scenario.content_type)] if scenario.content_type else []
        return httpx2.Response(scenario.status, headers=[*headers, *scenario.headers], stream=self.bodies[-1])


_PROVIDERS: dict[str, Any] = {
    "openai": OpenAIProvider,
    "responses": OpenAIResponsesProvider,
    "compatible": OpenAICompatibleProvider,
    "anthropic": AnthropicProvider,
}
_OPTIONS = ClientOptions(api_key="key", base_url="http://wire.test/v1")
_AGENTS: dict[str, Any] = {
    "openai": openai_agent,
    "responses": openai_responses_agent,
    "compatible": openai_compatible_agent.fork(base_url=None, model="llama"),
    "anthropic": anthropic_agent,
}


def _client(adapter: str, transport: _Transport) -> Any:
    """What the adapter makes of the real SDK, but for the connections."""
    sdk = anthropic if adapter == "anthropic" else openai
    with patch.object(_pool, "spread_transport", lambda: {"transport": transport}):
        return _PROVIDERS[adapter]().make_client(sdk, _OPTIONS)


@dataclass
class Run:
    """What came of a case."""

    case: Case
    expected: Outcome
    got: Outcome
    problems: list[str] = field(default_factory=list)
    """What is wrong besides."""

    @property
    def is_good(self) -> bool:
        return self.got == self.expected and not self.problems

    @property
    def is_silent_truncation(self) -> bool:
        """Whether an answer of which something is missing was taken for a whole one."""
        return self.got.error is None and (self.expected.error is not None or self.got.said != self.expected.said)

    @property
    def is_undocumented(self) -> bool:
        """Whether an error came out that is none of ours."""
        return self.got.error is not None and not issubclass(self.got.error, LLMError)

    def __str__(self) -> str:
        lines = [f"{self.case}", f"got {self.got}", f"not {self.expected}", *self.problems]
        return "\n    ".join([*lines, f"again: uv run python scripts/reliability.py --wire {self.case}"])


class Wires:
    """The clients of all adapters, over connections that are in memory."""

    def __init__(self) -> None:
        self._scenarios = scenarios()
        self._clients: dict[str, tuple[_Transport, Any]] = {}

    def run(self, case: Case) -> Run:
        """Run one case."""
        scenario = self._scenarios[case.scenario]
        adapter = case.scenario.partition("/")[0]
        transport, client = self._connected(adapter)
        transport.scenario, transport.case, transport.bodies = scenario, case, []
        run = Run(case, scenario.expected(case.byte, case.ending), Outcome())
        try:
            run_virtual(functools.partial(_ask, _AGENTS[adapter], client, run, stream=scenario.stream))
        except (Exception, asyncio.CancelledError) as error:  # among them those of the loop, if nothing moves any more
            run.got = Outcome(error=type(error))
            run.problems.append(f"{error!r}")
        if not all(body.is_closed for body in transport.bodies):
            run.problems.append("a connection was left open")
        if isinstance(scenario.body, Stream) and len(transport.bodies) > 1:
            run.problems.append("it was asked for again after it had begun")
        return run

    def cases(self, step: int) -> Iterator[Case]:
        """A case for every ending at each byte, or each `step`th one, beginning with another one each time."""
        for number, (name, scenario) in enumerate(self._scenarios.items()):
            for which, ending in enumerate(ENDINGS):
                for byte in range((number + 5 * which) % step, len(scenario.wire) + 1, step):
                    yield Case(name, ending, byte)

    def _connected(self, adapter: str) -> tuple[_Transport, Any]:
        if adapter not in self._clients:
            name = f"{adapter}/plain"
            scenario = self._scenarios[name]
            transport = _Transport(scenario, Case(name, "split", 0))
            self._clients[adapter] = transport, _client(adapter, transport)
            # The SDKs ask a thread, once, on which system they are; threads have no virtual time.
            run = Run(transport.case, Outcome(), Outcome())
            asyncio.run(_ask(_AGENTS[adapter], self._clients[adapter][1], run, stream=True))
        return self._clients[adapter]

    async def close(self) -> None:
        """Close the clients."""
        for _, client in self._clients.values():
            await client.close()


@contextmanager
def wires() -> Iterator[Wires]:
    """The clients, closed in the end."""
    made = Wires()
    try:
        yield made
    finally:
        asyncio.run(made.close())


async def _ask(agent: Any, client: Any, run: Run, *, stream: bool) -> None:
    """What a reader gets, token by token and as a whole."""
    said: list[str] = []
    with answered_in_memory():
        await _read(agent, client, run, said, stream=stream)


async def _read(agent: Any, client: Any, run: Run, said: list[str], *, stream: bool) -> None:
    async with MiniAgents():
        replies = agent.inquire("hi", async_client=client, stream=stream)
        try:
            async for promise in replies:
                async for token in promise:
                    if promise.message_class is AssistantMessage:
                        said.append(token)
        except LLMError as error:
            run.got = _failed(error, "".join(said))
            if error.partial_text != run.got.said:
                run.problems.append(f"the error has the text {error.partial_text!r}")
        try:
            messages = await replies
        except LLMError as error:
            if run.got != _failed(error, "".join(said)):
                run.problems.append(f"the messages are another error than their tokens: {error!r}")
        else:
            run.got = _told(messages)
            if "".join(said) != run.got.said:
                run.problems.append(f"the tokens were {said!r}")
            if not all(
                isinstance(message, (AssistantMessage, ToolCallMessage, ThinkingMessage)) for message in messages
            ):
                run.problems.append(f"the messages are {messages!r}")


def _failed(error: LLMError, said: str) -> Outcome:
    return Outcome(said, type(error), getattr(error, "status", None), getattr(error, "error_type", None))


def _told(messages: tuple[Message, ...]) -> Outcome:
    said = "".join(str(message) for message in messages if isinstance(message, AssistantMessage))
    calls = tuple((message.tool, str(message)) for message in messages if isinstance(message, ToolCallMessage))
    last = messages[-1]
    return Outcome(
        said, reason=last.get("finish_reason"), tokens=last.get("usage", {}).get("output_tokens"), calls=calls
    )


@dataclass
class Findings:
    """What a sweep has found."""

    scenarios: set[str] = field(default_factory=set)
    tried: int = 0
    bad: list[Run] = field(default_factory=list)

    @property
    def silent_truncations(self) -> int:
        return sum(run.is_silent_truncation for run in self.bad)

    @property
    def undocumented(self) -> int:
        return sum(run.is_undocumented for run in self.bad)

    def add(self, runs: Iterable[Run]) -> "Findings":
        """Count these in."""
        for run in runs:
            self.tried += 1
            self.scenarios.add(run.case.scenario)
            if not run.is_good:
                self.bad.append(run)
        return self


def sweep(step: int) -> Findings:
    """Run all cases at each `step`th byte."""
    gc.freeze()  # what is there already is not looked at again and again
    try:
        with wires() as made:
            return Findings().add(map(made.run, made.cases(step)))
    finally:
        gc.unfreeze()
