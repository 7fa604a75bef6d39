"""Keys are kept out of what is told of an error; see also the probes in `tests/reliability`."""

import traceback
from collections.abc import Callable
from typing import Any

import httpx2
import openai
import pytest

from miniagents import MiniAgents
from miniagents.ext.llm._sdk import without_secrets
from miniagents.ext.llm._secrets import Secrets
from miniagents.ext.llm.errors import LLMError, LLMStatusError
from miniagents.ext.llm.openai import openai_agent
from support.llm import answered_in_memory

KEY = "sk-0123456789abcdef"


async def error_of(respond: Callable[[httpx2.Request], httpx2.Response], **arguments: Any) -> LLMStatusError:
    """What comes of a request that is answered by `respond`."""
    http = httpx2.AsyncClient(transport=httpx2.MockTransport(respond))
    with answered_in_memory():
        async with openai.AsyncOpenAI(api_key=KEY, max_retries=0, http_client=http) as client, MiniAgents():
            (error,) = await openai_agent.inquire("hi", async_client=client, **arguments).settled()
    assert isinstance(error, LLMStatusError)
    return error


def shown(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


async def test_a_key_that_a_server_repeats_is_replaced() -> None:
    """The error says what the server has said, but for the key; the SDK's error, which has it too, is left out."""
    error = await error_of(
        lambda _: httpx2.Response(401, json={"error": {"message": f"Wrong key: {KEY}.", "type": KEY}})
    )
    assert str(error) == "OpenAI answered with status 401 (<secret>): Wrong key: <secret>."
    assert error.error_type == "<secret>"
    assert KEY not in shown(error)
    assert (error.__cause__, error.__context__) == (None, None)
    assert any("not shown" in note for note in error.__notes__)


async def test_without_a_key_in_it_the_error_of_the_sdk_is_the_cause() -> None:
    """Nothing is left out of an error that repeats no secret."""
    error = await error_of(lambda _: httpx2.Response(401, json={"error": {"message": "Wrong key."}}))
    assert isinstance(error.__cause__, openai.AuthenticationError)
    assert not any("not shown" in note for note in error.__notes__)


async def test_headers_and_parameters_that_say_so_are_secret() -> None:
    """What is called a key, a token, a password or the like is as secret as the key; all else is not."""

    def respond(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(400, json={"error": {"message": "; ".join(request.headers.values())}})

    headers = {"X-Team-Token": "Bearer team-0123456789", "X-Team": "team-of-writers"}
    error = await error_of(respond, extra_headers=headers)
    assert "team-0123456789" not in shown(error)
    assert "team-of-writers" in str(error)


SECRET_NAMES = [
    "api_key",
    "apikey",
    "apiKey",
    "APIKey",
    "x-api-key",
    "X-Api-Key-2",
    "x-goog-api-key",
    "Ocp-Apim-Subscription-Key",
    "Authorization",
    "Proxy-Authorization",
    "Cookie",
    "Set-Cookie",
    "access_token",
    "accessToken",
    "auth_token",
    "X-Team-Token",
    "oauth2.token",
    "client_secret",
    "clientsecret",
    "password",
    "passwd",
    "DB_PASSWORD",
    "credentials",
    "api_keys",
]
OTHER_NAMES = [
    "author",
    "tokenizer",
    "max_tokens",
    "token_count",
    "tokenLimit",
    "api-version",
    "monkey",
    "keyboard",
    "secretary",
    "model",
]


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_name_with_a_word_for_it_tells_a_secret(name: str) -> None:
    """Whatever way the words of a name are put together, what it names is hidden: in a body and in an address."""
    secrets = Secrets({"extra_body": {name: "abcdefgh12345"}}, f"https://host/v1?a=b&{name}=qrstuvwx67890")
    error = LLMError("no abcdefgh12345, qrstuvwx67890")
    secrets.keep_out_of(error)
    assert str(error) == "No <secret>, <secret>"


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_a_name_with_a_part_of_a_word_tells_nothing(name: str) -> None:
    """What has an ordinary name stays in the error, and so does what has caused it."""
    cause = ValueError("2024-02-01-preview")
    error = LLMError("2024-02-01-preview is not supported")
    error.__cause__ = cause
    secrets = Secrets({"extra_body": {name: "2024-02-01-preview"}}, f"https://host/v1?{name}=2024-02-01-preview")
    secrets.keep_out_of(error)
    assert str(error) == "2024-02-01-preview is not supported"
    assert error.__cause__ is cause


KNOT: dict[str, Any] = {"api_key": KEY}
KNOT["more"] = [KNOT]


@pytest.mark.parametrize(
    "parameters",
    [
        {"extra_body": {"provider": {"api_key": KEY}}},
        {"extra_body": {"providers": [{"name": "a"}, ({"api_key": KEY},)]}},
        {"extra_body": {"auth": {"kind": "basic", "value": [KEY]}}},
        {"extra_body": KNOT},
        {"extra_body": {"safe": (shared := {"value": KEY}), "auth": shared}},
        {"extra_headers": {"X-Api-Key": [KEY]}},
        {"extra_headers": {"X-Api-Key": KEY.encode()}},
        {"extra_headers": {b"X-Api-Key": bytearray(KEY.encode())}},
        {"extra_query": {"password": KEY}},
    ],
    ids=["dict", "list", "in a secret", "in itself", "shared", "list of headers", "bytes", "bytes as name", "query"],
)
def test_a_secret_is_found_wherever_it_stands(parameters: dict[str, Any]) -> None:
    """Parameters are looked through to the bottom, also if they have themselves in them."""
    error = LLMError(f"no {KEY}!")
    Secrets(parameters).keep_out_of(error)
    assert str(error) == "No <secret>!"


def test_a_secret_that_looks_like_an_address_is_hidden_as_a_whole() -> None:
    """Where the name tells, all of the value is secret."""
    error = LLMError("no abcd://efghijkl!")
    Secrets({"extra_body": {"password": "abcd://efghijkl"}}).keep_out_of(error)
    assert str(error) == "No <secret>!"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://host/v1?key=abc%2Fdefghijk", "abc%2Fdefghijk"),
        ("https://host/v1?key=abc%2Fdefghijk", "abc/defghijk"),
        ("https://host/v1?a=b&key=abc+defghijk", "abc defghijk"),
        ("https://host/v1?sk-abcdefgh12345", "sk-abcdefgh12345"),
        ("https://host/v1?a=b&=sk-abcdefgh12345", "sk-abcdefgh12345"),
        ("https://host/v1?YWJjZGVmZ2g=", "YWJjZGVmZ2g="),
        ("https://host/v1?key=YWJjZGVmZ2g=", "YWJjZGVmZ2g="),
        ("https://host/v1#key=sk-abcdefgh12345", "sk-abcdefgh12345"),
        ("https://u:p%40ssword1@host", "p%40ssword1"),
        ("https://u:p%40ssword1@host", "p@ssword1"),
        ("https://u:p%40ssword1@host", "dTpwQHNzd29yZDE="),  # u:p@ssword1, as the header has it
    ],
)
def test_what_is_secret_in_an_address_is_hidden_in_each_form(url: str, said: str) -> None:
    """The user, the password and the query are hidden as they stand in the address and as they are sent."""
    error = LLMError(f"no {said}!")
    Secrets({}, url).keep_out_of(error)
    assert str(error) == "No <secret>!"


def test_an_address_that_cannot_be_sent_hides_no_error() -> None:
    """Half a character in a password, which no header can carry, does not replace the error that is to be told."""
    error = LLMError("no answer")
    Secrets({}, "https://user:abcdefgh\ud800@host").keep_out_of(error)
    assert str(error) == "No answer"


async def test_the_password_in_an_address_is_hidden_in_the_header_too() -> None:
    """The HTTP client sends it in another form, which a server may repeat as well."""
    sent: list[str] = []

    def respond(request: httpx2.Request) -> httpx2.Response:
        sent.append(request.headers["authorization"].removeprefix("Basic "))
        return httpx2.Response(400, json={"error": {"message": f"Who is {sent[0]}?"}})

    http = httpx2.AsyncClient(transport=httpx2.MockTransport(respond))
    url = "https://me:very%20secret@host/v1"
    with answered_in_memory():
        client = openai.AsyncOpenAI(api_key=KEY, base_url=url, max_retries=0, http_client=http)
        async with client, MiniAgents():
            (error,) = await openai_agent.inquire("hi", async_client=client).settled()
    assert isinstance(error, LLMStatusError)
    assert "Who is <secret>?" in str(error)
    assert sent[0] not in shown(error)


async def test_what_a_terminal_would_obey_is_not_in_an_error() -> None:
    """Escape sequences of a server are left out of the error, also where Python shows what has caused it."""
    error = await error_of(lambda _: httpx2.Response(400, text="no\x1b]0;title\a way\x1b[2J"))
    assert "\x1b" not in shown(error)
    assert "\a" not in shown(error)


def test_a_short_word_is_no_secret() -> None:
    """A key of a few letters, as local servers have it, does not tear words out of an error."""
    error = LLMError("There is none on offer.")
    Secrets({}, "none").keep_out_of(error)
    assert str(error) == "There is none on offer."


def test_what_was_said_stays_as_it_is() -> None:
    """The text of the answer, which everybody has read already, is not changed."""
    error = LLMError("broke off", partial_text=f"Your key is {KEY}")
    Secrets({}, KEY).keep_out_of(error)
    assert error.partial_text == f"Your key is {KEY}"


def test_an_odd_client_does_not_hide_the_error() -> None:
    """A client that cannot be asked for its key is not asked again, and the error stays."""

    class Odd:
        @property
        def api_key(self) -> str:
            raise RuntimeError

    secrets = Secrets({"extra_headers": {"X-Api-Key": KEY}})
    secrets.client = Odd()
    error = LLMError(f"no {KEY}")
    secrets.keep_out_of(error)
    assert str(error) == "No <secret>"


@pytest.mark.parametrize(
    ("url", "without"),
    [
        ("https://user:pass@host/v1?key=x#y", "https://host/v1"),
        ("https://user:pa?ss@host/v1", "https://host/v1"),
        ("https://user:pa#ss@host/v1", "https://host/v1"),
        ("https://user:pa\nss@host/v1", "https://host/v1"),
        ("user:pass@host", "host"),
        ("https://host/v1", "https://host/v1"),
    ],
)
def test_an_address_is_shown_without_what_may_be_secret(url: str, without: str) -> None:
    """User, password, query and fragment are left out, also where a password has the signs of another part in it."""
    assert without_secrets(url) == without
