"""Secrets: a key does not come out of a request, whatever fails and whoever repeats it, nor out of a call or a report."""

import contextlib
import json
import logging
import os
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import anthropic
import httpx2
import openai

from miniagents import Message, MiniAgent, MiniAgents
from miniagents.ext.chat_history_md import ChatHistoryMD
from miniagents.ext.llm import _client, _pool, _sdk
from miniagents.ext.llm._client import ClientOptions
from miniagents.ext.llm._secrets import Secrets
from miniagents.ext.llm.anthropic import anthropic_agent
from miniagents.ext.llm.openai import openai_agent
from miniagents.ext.llm.openai_compatible import openai_compatible_agent
from miniagents.ext.llm.recordings import record
from reliability.probes import Expect, PlantedHole, Probes, all_of
from support.llm import answered_in_memory, client_with_transport

SECRETS = Probes("secrets")

CANARY = "canary-0123456789abcdef"


def no_canary(expect: Expect, where: str, text: str) -> None:
    expect(CANARY not in text, f"{where}: {text[max(0, text.find(CANARY) - 200) :][:500]}")


# ---------------------------------------------------------------------- where a key comes from


@dataclass(frozen=True)
class Source:
    """A way to give a secret to an agent: what it is called with, and what is in the environment."""

    agent: MiniAgent[...]
    arguments: dict[str, Any]
    environment: dict[str, str]
    client: Callable[[Any], Any] | None = None
    """Makes a client of the caller's own, which is given the HTTP client."""


def _source(
    agent: MiniAgent[...], environment: dict[str, str] | None = None, client: Any = None, **arguments: Any
) -> Source:
    return Source(agent, arguments, environment or {}, client)


URL = "http://host.example/v1"
SOURCES: dict[str, Source] = {
    "the key of OpenAI": _source(openai_agent, api_key=CANARY),
    "the key of Anthropic": _source(anthropic_agent, api_key=CANARY),
    "the key of a compatible server": _source(openai_compatible_agent, base_url=URL, api_key=CANARY),
    "OPENAI_API_KEY": _source(openai_agent, {"OPENAI_API_KEY": CANARY}),
    "ANTHROPIC_API_KEY": _source(anthropic_agent, {"ANTHROPIC_API_KEY": CANARY}),
    "ANTHROPIC_AUTH_TOKEN": _source(anthropic_agent, {"ANTHROPIC_AUTH_TOKEN": CANARY}),
    "a password in the address": _source(openai_agent, api_key="k", base_url=f"http://user:{CANARY}@host.example/v1"),
    "a user in the address": _source(openai_agent, api_key="k", base_url=f"http://{CANARY}@host.example/v1"),
    "a query in the address": _source(openai_agent, api_key="k", base_url=f"http://host.example/v1?key={CANARY}"),
    "a query without a name": _source(openai_agent, api_key="k", base_url=f"http://host.example/v1?{CANARY}"),
    "OPENAI_BASE_URL": _source(
        openai_agent, {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": f"http://u:{CANARY}@h.example"}
    ),
    "a header of a call": _source(openai_agent, api_key="k", extra_headers={"X-Api-Key": CANARY}),
    "a header with a word before": _source(
        anthropic_agent, api_key="k", extra_headers={"Proxy-Authorization": f"Bearer {CANARY}"}
    ),
    "a parameter in the body": _source(openai_agent, api_key="k", extra_body={"proxy_password": CANARY}),
    "a parameter inside of others": _source(
        openai_agent, api_key="k", extra_body={"provider": {"order": [{"name": "a", "apiKey": CANARY}]}}
    ),
    "a parameter inside of a secret": _source(openai_agent, api_key="k", extra_body={"auth": {"value": [CANARY]}}),
    "the caller's client": _source(
        openai_agent, client=lambda http: openai.AsyncOpenAI(api_key=CANARY, http_client=http)
    ),
    "the caller's client of Anthropic": _source(
        anthropic_agent, client=lambda http: anthropic.AsyncAnthropic(api_key=CANARY, http_client=http)
    ),
    "a header of the caller's client": _source(
        openai_agent,
        client=lambda http: openai.AsyncOpenAI(api_key="k", default_headers={"Cookie": CANARY}, http_client=http),
    ),
}

# ---------------------------------------------------------------------- what goes wrong


def _request_of(request: httpx2.Request) -> str:
    """All that was sent, as a careless proxy would show it."""
    headers = "\n".join(f"{name}: {value}" for name, value in request.headers.items())
    return f"{request.method} {request.url}\n{headers}\n\n{request.content.decode()} {CANARY}"


def _status(status: int, body: Callable[[httpx2.Request], Any]) -> Callable[[httpx2.Request], httpx2.Response]:
    def respond(request: httpx2.Request) -> httpx2.Response:
        said = body(request)
        return httpx2.Response(status, text=said) if isinstance(said, str) else httpx2.Response(status, json=said)

    return respond


def _events(*data: str) -> Callable[[httpx2.Request], httpx2.Response]:
    body = "".join(f"data: {one}\n\n" for one in data)
    return lambda request: httpx2.Response(200, text=body, headers={"content-type": "text/event-stream"})


def _raises(error: type[Exception]) -> Callable[[httpx2.Request], httpx2.Response]:
    def respond(request: httpx2.Request) -> httpx2.Response:
        raise error(f"failed at {_request_of(request)}")

    return respond


FAILURES: dict[str, Callable[[httpx2.Request], httpx2.Response]] = {
    "401, with the key in the message": _status(401, lambda _: {"error": {"message": f"Wrong key: {CANARY}"}}),
    "403, with the key in the type": _status(403, lambda _: {"error": {"message": "No.", "type": f"no {CANARY}"}}),
    "422, with the request as a detail": _status(422, lambda request: {"detail": _request_of(request)}),
    "502, with the request as a page": _status(502, _request_of),
    "200, with the request as a page": _status(200, _request_of),
    "200, with the request as JSON": _status(200, lambda request: {"message": _request_of(request)}),
    "an error in the stream": _events(json.dumps({"error": {"message": f"Wrong key: {CANARY}", "type": CANARY}})),
    "a stream that is no JSON": _events(f"{{{CANARY}"),
    "a stream that is no object": _events(f'["{CANARY}"]'),
    "a redirection": lambda request: httpx2.Response(301, headers={"location": f"http://evil.example/{CANARY}"}),
    "no connection": _raises(httpx2.ConnectError),
    "a connection that breaks": _raises(httpx2.RemoteProtocolError),
    "a timeout": _raises(httpx2.ReadTimeout),
    "a header that is refused": _raises(httpx2.LocalProtocolError),
}

# ---------------------------------------------------------------------- where it could come out


class _Keeper(logging.Handler):
    """What is logged, as a file of logs would have it."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text += f"{self.format(record)}\n{record.args!r}\n"


@contextlib.contextmanager
def logged() -> Iterator[_Keeper]:
    logger, keeper = logging.getLogger("miniagents"), _Keeper()
    propagates = logger.propagate
    logger.addHandler(keeper)
    logger.propagate = False
    try:
        yield keeper
    finally:
        logger.removeHandler(keeper)
        logger.propagate = propagates


def all_of_an_error(error: BaseException) -> str:
    """Everything that anybody shows of an error: its text, its repr, its fields, its causes, its traceback."""
    told = [str(error), repr(error), str(vars(error)), "".join(traceback.format_exception(error))]
    told += [all_of_an_error(cause) for cause in (error.__cause__, error.__context__) if cause is not None]
    return "\n".join(told)


async def _raised(expect: Expect, agent: MiniAgent[...]) -> None:
    async with MiniAgents():
        outcome = await agent.inquire("hi").settled()
    errors = [one for one in outcome if isinstance(one, BaseException)]
    expect(bool(errors), f"nothing went wrong: {outcome!r}")
    for error in errors:
        no_canary(expect, "the error", all_of_an_error(error))


async def _as_a_message(expect: Expect, agent: MiniAgent[...]) -> None:
    """Into a message, what is known of a call, and a history that is sent to the next model."""
    kept: list[str] = []

    async def keep(_: Any, message: Message) -> None:
        kept.append(f"{message} {message!r} {message.serialize()}")

    with tempfile.TemporaryDirectory() as folder:
        history = ChatHistoryMD(Path(folder, "CHAT.md"))
        async with MiniAgents(errors_as_messages=True, on_persist_message=keep):
            replies = await history.logging_agent.inquire(agent.inquire("hi"))
        kept.append(history.path.read_text(encoding="utf-8"))
    expect(any(type(reply).__name__ == "ErrorMessage" for reply in replies), f"no error: {replies!r}")
    expect(any("AgentReplyNode" in one for one in kept), "nobody was told of the call")
    no_canary(expect, "what was kept", "\n".join([*kept, *map(str, replies), *map(repr, replies)]))


async def _unread(expect: Expect, agent: MiniAgent[...]) -> None:
    with logged() as keeper:
        async with MiniAgents():
            agent.inquire("hi")
    expect("Nobody read" in keeper.text, f"nothing was logged: {keeper.text}")
    no_canary(expect, "the log", keeper.text)


def _all_in(folder: Path) -> str:
    return "\n".join(f"{path}\n{path.read_text(encoding='utf-8')}" for path in folder.rglob("*") if path.is_file())


async def _as_files(expect: Expect, agent: MiniAgent[...]) -> None:
    """Into a recording, and into the log of the request."""
    with tempfile.TemporaryDirectory() as folder:
        async with MiniAgents():
            with record(Path(folder, "run.jsonl")):
                outcome = await agent.inquire("hi", log_to=Path(folder, "logs")).settled()
        kept = _all_in(Path(folder))
    expect(
        '"miniagents_recording"' in kept and "@outcome" in kept and "Error: " in kept,
        f"nothing was kept: {kept} {outcome!r}",
    )
    no_canary(expect, "what was kept", kept)


SINKS = {
    "a recording and a log": _as_files,
    "an error": _raised,
    "what is kept of an error": _as_a_message,
    "the log of an error": _unread,
}


@contextlib.contextmanager
def _served(respond: Callable[[httpx2.Request], httpx2.Response], source: Source) -> Iterator[MiniAgent[...]]:
    """An agent with the real SDK, whose requests are answered without a network."""
    http = client_with_transport(httpx2.AsyncClient, httpx2.MockTransport(respond))
    arguments = {"model": "m", **source.arguments}
    if source.client is None:
        arguments["max_retries"] = 0
    else:
        arguments["async_client"] = source.client(http()).with_options(max_retries=0)
    with all_of(
        [
            answered_in_memory(),
            patch.dict(os.environ, {"HOME": "/nowhere", "XDG_CONFIG_HOME": "/nowhere", **source.environment}),
            patch.object(_pool, "spread_transport", lambda: {"transport": httpx2.MockTransport(respond)}),
        ]
    ):
        yield source.agent.fork(**arguments)


def _failing(source: Source, sink: Callable[[Expect, Any], Any]) -> Callable[[Expect, Any], Any]:
    async def check(expect: Expect, respond: Callable[[httpx2.Request], httpx2.Response]) -> None:
        with _served(respond, source) as agent:
            await sink(expect, agent)

    return check


for _sink_name, _sink in SINKS.items():
    for _source_name, _one in SOURCES.items():
        SECRETS.table(f"{_sink_name}: {_source_name}", FAILURES, _failing(_one, _sink))

# ---------------------------------------------------------------------- what is refused before anything is sent

BAD_URLS: dict[str, str] = {
    "a scheme that there is not": f"ftp://user:{CANARY}@host",
    "no scheme": f"user:{CANARY}@host",
    "no host": f"http://user:{CANARY}@",
    "a port that is no number": f"http://user:{CANARY}@host:port",
    "port 0": f"http://user:{CANARY}@host:0",
    "a line feed in the password": f"ftp://user:\n{CANARY}\n@host",
    "a question mark before the password": f"ftp://user:?{CANARY}@host",
    "a hash before the password": f"http://user:#{CANARY}@host",
    "a question mark behind the password": f"http://user:{CANARY}?@host",
    "a slash behind the password": f"http://user:{CANARY}/x@host",
    "an at sign behind the password": f"ftp://user:{CANARY}@@host",
    "brackets": f"http://user:{CANARY}@[host",
    "a query": f"ftp://host?key={CANARY}",
    "a fragment": f"ftp://host#{CANARY}",
    "a query of several lines": f"ftp://host?\nkey={CANARY}\n",
}


def _bad_url(expect: Expect, url: str) -> None:
    try:
        options = ClientOptions(CANARY, url)
    except ValueError as error:
        no_canary(expect, "the error", all_of_an_error(error))
    else:
        expect(CANARY not in _sdk.without_secrets(url), _sdk.without_secrets(url))
        no_canary(expect, "the options", repr(options))


BAD_KEYS: dict[str, str] = {
    "a line feed at the end": f"{CANARY}\n",
    "a line feed inside": f"{CANARY}\n{CANARY}",
    "a header behind it": f"{CANARY}\r\nX-Evil: 1",
    "a blank before it": f" {CANARY}",
    "quotes of a word processor": f"\u201c{CANARY}\u201d",
    "a null": f"{CANARY}\0",
    "a letter that no header has": f"{CANARY}\u0394",
    "half a surrogate pair": f"{CANARY}\ud800",
}


def _bad_key(make: Callable[[str], Source]) -> Callable[[Expect, str], Any]:
    async def check(expect: Expect, key: str) -> None:
        def respond(request: httpx2.Request) -> httpx2.Response:
            return httpx2.Response(400, text=_request_of(request))

        with _served(respond, make(key)) as agent:
            await _raised(expect, agent)

    return check


SECRETS.table("an address that is refused", BAD_URLS, _bad_url)
SECRETS.table("a key that is refused", BAD_KEYS, _bad_key(lambda key: _source(openai_agent, api_key=key)))
SECRETS.table(
    "a key of Anthropic that is refused", BAD_KEYS, _bad_key(lambda key: _source(anthropic_agent, api_key=key))
)
SECRETS.table(
    "a key of the caller's client that is refused",
    BAD_KEYS,
    _bad_key(lambda key: _source(openai_agent, client=lambda http: openai.AsyncOpenAI(api_key=key, http_client=http))),
)
SECRETS.table(
    "a header that is refused",
    BAD_KEYS,
    _bad_key(lambda key: _source(openai_agent, api_key="k", extra_headers={"X-Token": key})),
)

# ---------------------------------------------------------------------- mistakes that must be found


HOLES = [
    PlantedHole(
        "secrets",
        "an error: the key of OpenAI",
        "what a server says is repeated",
        lambda: patch.object(Secrets, "keep_out_of", lambda self, error: None),
    ),
    PlantedHole(
        "secrets",
        "an address that is refused",
        "an address is shown as it is",
        lambda: patch.object(_client, "without_secrets", str),
    ),
]
