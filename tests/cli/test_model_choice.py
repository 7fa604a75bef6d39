"""Which model `miniagents chat` talks to."""

import asyncio
import importlib.util
from collections.abc import Sequence

import pytest

from miniagents.cli.errors import UserError
from miniagents.cli.local_servers import PLACES, LocalServer, Place, find_local_servers
from miniagents.cli.models import Choice, choose_model
from miniagents.testing import LLMServer

OLLAMA, LM_STUDIO, LLAMA_CPP, VLLM = PLACES
KEYS = {"OPENAI_API_KEY": "secret", "ANTHROPIC_API_KEY": "secret"}


def server(place: Place, *models: str) -> LocalServer:
    return LocalServer(place, models)


def choose(asked: str | None = None, servers: Sequence[LocalServer] = (), **environment: str) -> Choice:
    return choose_model(asked, lambda: servers, environment)


@pytest.fixture
def no_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation without extras."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)


@pytest.mark.parametrize(
    ("asked", "servers", "environment", "provider", "model"),
    [
        ("echo", [server(OLLAMA, "llama")], KEYS | {"MINIAGENTS_MODEL": "eliza"}, "echo", "echo"),
        (None, [server(OLLAMA, "llama")], KEYS | {"MINIAGENTS_MODEL": "eliza"}, "eliza", "eliza"),
        (None, [server(OLLAMA, "llama")], KEYS | {"OPENAI_MODEL": "gpt-x"}, "openai", "gpt-x"),
        (
            None,
            [server(OLLAMA, "llama")],
            {"ANTHROPIC_API_KEY": "k", "ANTHROPIC_MODEL": "claude-x"},
            "anthropic",
            "claude-x",
        ),
        (None, [server(LM_STUDIO, "m"), server(VLLM, "n")], {}, "lmstudio", "m"),
        (None, [], {"OPENAI_API_KEY": " ", "MINIAGENTS_MODEL": ""}, "eliza", "eliza"),
    ],
    ids=["the flag", "the variable", "OpenAI's key", "Anthropic's key", "a server here", "nothing"],
)
def test_the_order(
    asked: str | None, servers: list[LocalServer], environment: dict[str, str], provider: str, model: str
) -> None:
    """The flag comes first, then the variable, OpenAI's key, Anthropic's key, a local server, and `eliza` at last."""
    choice = choose(asked, servers, **environment)
    assert (choice.provider, choice.model) == (provider, model)


def test_servers_are_not_asked_for_where_they_do_not_count() -> None:
    """With a key, or with an offline model, no port is knocked at."""

    def fail() -> Sequence[LocalServer]:
        raise AssertionError

    assert choose_model(None, fail, KEYS).provider == "openai"
    assert choose_model("eliza", fail, {}).provider == "eliza"


def test_falling_back_is_said() -> None:
    """Only the choice of `eliza` that nobody asked for is a fallback."""
    assert choose().is_fallback
    assert not choose("eliza").is_fallback
    assert choose("eliza").is_offline
    assert not choose(**KEYS).is_offline


@pytest.mark.usefixtures("no_packages")
def test_a_key_without_its_package_is_passed_over_with_a_note() -> None:
    """A key alone is of no use; the note says what to install, and never what the key is."""
    choice = choose(**KEYS)
    assert choice.provider == "eliza"
    assert ["openai" in choice.notes[0], "anthropic" in choice.notes[1]] == [True, True]
    assert all("pip install" in note and "secret" not in note for note in choice.notes)


@pytest.mark.usefixtures("no_packages")
def test_a_server_without_the_package_is_passed_over_with_a_note() -> None:
    """A server on this machine needs the package that speaks its protocol, and the note says so."""
    choice = choose(None, [server(OLLAMA, "llama")])
    assert choice.provider == "eliza"
    assert "Ollama" in choice.notes[0]
    assert 'pip install "/path/to/miniagents[http]"' in choice.notes[0]


def test_a_server_without_a_model_is_passed_over_with_a_note() -> None:
    """A server that has no model is named, and the next one is taken."""
    choice = choose(None, [server(OLLAMA), server(VLLM, "qwen")])
    assert (choice.provider, choice.model) == ("vllm", "qwen")
    assert "Ollama" in choice.notes[0]


@pytest.mark.parametrize(
    ("asked", "provider", "model"),
    [
        ("openai:gpt-x", "openai", "gpt-x"),
        ("OpenAI : gpt-x", "openai", "gpt-x"),
        ("anthropic:claude-x", "anthropic", "claude-x"),
        ("ollama", "ollama", "llama3.2:3b"),
        ("ollama:llama3.2:3b", "ollama", "llama3.2:3b"),
        ("ollama:mistral", "ollama", "mistral:latest"),
        ("local", "ollama", "llama3.2:3b"),
        ("local:qwen", "vllm", "qwen"),
        ("echo", "echo", "echo"),
    ],
)
def test_what_is_asked_for_is_chosen(asked: str, provider: str, model: str) -> None:
    """`provider:model`, or a provider alone, by the flag as by the variable."""
    servers = [server(OLLAMA, "llama3.2:3b", "mistral:latest"), server(VLLM, "qwen")]
    choices = choose(asked, servers, **KEYS), choose(None, servers, **KEYS, MINIAGENTS_MODEL=asked)
    assert [(choice.provider, choice.model) for choice in choices] == [(provider, model)] * 2


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ("gpt-x", "no provider `gpt-x`.*provider:model"),
        ("opnai:gpt-x", "did you mean `openai`"),
        ("", "no provider ``"),
        ("openai:", "no model behind the colon"),
        ("openai", "no key.*OPENAI_API_KEY"),
        ("anthropic:claude-x", "no key.*ANTHROPIC_API_KEY"),
        ("eliza:large", "write just `eliza`"),
        ("lmstudio", "no server answers.*http://127.0.0.1:1234/v1"),
        ("ollama:mistral", "only these models: llama"),
        ("vllm", "no model"),
        ("\x1b[31mred", "no provider `red`"),
    ],
)
def test_what_is_not_there_is_a_mistake(asked: str, problem: str) -> None:
    """A model that was asked for and is not there is never replaced: the error says what is missing."""
    with pytest.raises(UserError, match=problem):
        choose(asked, [server(OLLAMA, "llama"), server(VLLM)])


@pytest.mark.usefixtures("no_packages")
@pytest.mark.parametrize("asked", ["openai", "anthropic", "ollama"])
def test_a_missing_package_is_a_mistake(asked: str) -> None:
    """A model that was asked for and whose package is missing is an error that tells how to install it."""
    with pytest.raises(UserError, match="pip install"):
        choose(asked, [server(OLLAMA, "llama")], **KEYS)


# ---------------------------------------------------------------------- servers on this machine


def place_of(url: str) -> Place:
    return Place("ollama", "Ollama", int(url.rpartition(":")[2]))


async def free_port() -> int:
    listener = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port: int = listener.sockets[0].getsockname()[1]
    listener.close()
    return port


async def found(*places: Place) -> tuple[LocalServer, ...]:
    return await asyncio.to_thread(find_local_servers, places)


async def test_servers_that_answer_are_found_with_their_models() -> None:
    """All servers that answer are found, in the order of their places; models that only embed are left out."""
    async with LLMServer(models=["a", "b"]) as one, LLMServer(models=["nomic-embed-text", "c"]) as other:
        places = [place_of(one.url), Place("vllm", "vLLM", await free_port()), place_of(other.url)]
        servers = await found(*places)
    assert servers == (LocalServer(places[0], ("a", "b")), LocalServer(places[2], ("c",)))


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n<html>hi</html>",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{"data": 10}',
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n" + b"[" * 99_999,
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\xff\xfe",
        b"",
    ],
    ids=["404", "a web site", "another JSON", "no list", "cut off", "deep", "another protocol", "bytes", "silence"],
)
async def test_whatever_else_listens_there_is_left_alone(answer: bytes) -> None:
    """Something that is no model server, or does not answer in time, is as good as nothing."""
    silence = asyncio.Event()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        if not answer:
            await silence.wait()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        assert await found(Place("vllm", "vLLM", port)) == ()
        silence.set()


async def test_strange_models_are_left_out() -> None:
    """Entries of the list that have no name are no models."""
    body = b'{"data": [{"id": "good"}, {"id": 7}, {"id": ""}, {}, "bad", null]}'

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener:
        place = Place("vllm", "vLLM", listener.sockets[0].getsockname()[1])
        assert await found(place) == (LocalServer(place, ("good",)),)
