"""The specification's blocks that ask a model, through the real SDKs, against a server on this machine."""

from pathlib import Path

import pytest

from miniagents.testing.llm_server import LLMServer
from support.llm import environment_for, next_request
from support.processes import Ended, run_python
from support.spec_programs import IMPORT_ASYNCIO, MINI_AGENTS, block, write_program
from support.terminal import Terminal

pytestmark = pytest.mark.timeout(60)


async def run(server: LLMServer, folder: Path, *parts: str) -> Ended:
    return await run_python(write_program(folder, *parts), cwd=folder, environment=environment_for(server))


async def test_block_07_passes_parameters_to_openai(tmp_path: Path) -> None:
    """The forked model, the system prompt and the parameters reach the provider; the reply prints as its text."""
    async with LLMServer(reply="Fine, thank you.") as server:
        ended = await run(server, tmp_path, block(5), block(6), block(7))
    assert ended == Ended(0, "Hello, I am an agent!\nFine, thank you.\n", "")
    (request,) = server.requests
    assert request.path == "/v1/chat/completions"
    assert request.body["model"] == "gpt-3.5-turbo"
    assert (request.body["max_tokens"], request.body["temperature"]) == (50, 0.7)
    assert [message["role"] for message in request.messages] == ["system", "user"]
    assert request.messages[0]["content"] == "You are a helpful assistant."
    assert request.last_user_text == "Hello, how are you?"


async def test_block_10_runs_the_openai_agent(tmp_path: Path) -> None:
    """An inquiry made outside any context runs when it is given to `MiniAgents().run`."""
    async with LLMServer() as server:
        ended = await run(server, tmp_path, MINI_AGENTS, block(10))
    assert ended == Ended(0, "", "")
    (request,) = server.requests
    assert request.path == "/v1/chat/completions"
    assert request.last_user_text == "Hello, OpenAI!"


async def test_block_11_runs_the_anthropic_agent(tmp_path: Path) -> None:
    """The Anthropic agent is called like the OpenAI one, and needs no `max_tokens`."""
    async with LLMServer() as server:
        ended = await run(server, tmp_path, MINI_AGENTS, block(11))
    assert ended == Ended(0, "", "")
    (request,) = server.requests
    assert request.path == "/v1/messages"
    assert request.last_user_text == "Hello, Anthropic!"


async def test_block_12_prints_tokens_while_they_are_made(tmp_path: Path) -> None:
    """A token is on the screen before the model has made the next one."""
    async with LLMServer(reply=["Quite ", "well", "."], paced=True) as server:
        program = write_program(tmp_path, IMPORT_ASYNCIO, block(12))
        async with Terminal(program, cwd=tmp_path, environment=environment_for(server)) as terminal:
            request = await next_request(server)
            for token in ("Quite ", "well", ".\n"):
                request.release_token()
                await terminal.shows(token)
            assert await terminal.ended() == 0
            assert terminal.screen == "Quite well.\n"
    assert request.body["model"] == "gpt-4o-2024-05-13"
    assert (request.body["max_tokens"], request.body["temperature"]) == (1000, 0.0)
