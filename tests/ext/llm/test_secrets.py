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

KEY = "sk-0123456789abcdef"


async def error_of(respond: Callable[[httpx2.Request], httpx2.Response], **arguments: Any) -> LLMStatusError:
    """What comes of a request that is answered by `respond`."""
    http = httpx2.AsyncClient(transport=httpx2.MockTransport(respond))
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
