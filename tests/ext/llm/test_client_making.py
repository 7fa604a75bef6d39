"""A client that takes its time to be made: nobody waits for it who does not want it, and it is never lost."""

import asyncio
import signal
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from miniagents import MiniAgents
from miniagents.ext.llm.errors import LLMError
from miniagents.ext.llm.openai import openai_agent
from support.processes import clean_environment

PROGRAM = """
from miniagents import MiniAgents
from miniagents.ext.llm.openai import openai_agent

MiniAgents().run(openai_agent.inquire("hi", base_url="http://127.0.0.1:1", api_key="key"))
"""

ENDLESS_IMPORT = """
import threading
print("importing", flush=True)
threading.Event().wait()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
async def test_ctrl_c_does_not_wait_for_an_import(tmp_path: Path) -> None:
    """A program that is interrupted while an SDK is being imported ends, however long the import would take."""
    sdk = tmp_path / "sdk"
    sdk.mkdir()
    (sdk / "openai.py").write_text(ENDLESS_IMPORT)
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        program,
        cwd=tmp_path,
        env=clean_environment(tmp_path, PYTHONPATH=str(sdk)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"importing\n"
        process.send_signal(signal.SIGINT)
        _, stderr = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == -signal.SIGINT
    assert stderr.endswith(b"KeyboardInterrupt\n")


class SlowSDK(ModuleType):
    """An SDK whose clients are made when `go` is set, and who know whether they were closed."""

    OpenAIError = RuntimeError

    def __init__(self) -> None:
        super().__init__("openai")
        self.clients: list[Client] = []
        self.failures: list[Exception] = []
        self.begun = threading.Event()
        self.go = threading.Event()
        self.has_closed = threading.Event()

    def DefaultAsyncHttpxClient(self, **_: Any) -> None:  # noqa: N802  the SDK's name
        """Nobody asks it."""

    def AsyncOpenAI(self, **_: Any) -> "Client":  # noqa: N802  the SDK's name
        self.begun.set()
        self.go.wait()
        if self.failures:
            raise self.failures.pop()
        self.clients.append(Client(self))
        return self.clients[-1]


class Client:
    """Answers "hi"."""

    def __init__(self, sdk: SlowSDK) -> None:
        self._sdk = sdk
        self.is_closed = False
        self.chat = self
        self.completions = self

    async def create(self, **_: Any) -> Any:
        return {"choices": [{"message": {"content": "hi"}}]}

    async def close(self) -> None:
        self.is_closed = True
        self._sdk.has_closed.set()


@pytest.fixture
def sdk(monkeypatch: pytest.MonkeyPatch) -> SlowSDK:
    sdk = SlowSDK()
    monkeypatch.setitem(sys.modules, "openai", sdk)
    return sdk


agent = openai_agent.fork(base_url="http://127.0.0.1:1", api_key="key", model="m", stream=False)


async def cancelled_while_making(sdk: SlowSDK) -> None:
    """A call that is cancelled when the making has begun."""

    async def program() -> None:
        async with MiniAgents():
            await agent.inquire("hi")

    task = asyncio.create_task(program())
    await asyncio.to_thread(sdk.begun.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_client_whose_call_gave_up_serves_the_next_one(sdk: SlowSDK) -> None:
    """A client is made once, also if the call that wanted it first is over when it is there, and closed in the end."""
    async with MiniAgents():
        await cancelled_while_making(sdk)
        sdk.go.set()
        (message,) = await agent.inquire("hi")
        assert message.text == "hi"
        (client,) = sdk.clients
        assert not client.is_closed
    assert client.is_closed


async def test_a_client_that_comes_too_late_is_closed(sdk: SlowSDK) -> None:
    """The context does not wait for a client that nobody wants any more; it is closed when it is there."""
    async with MiniAgents():
        await cancelled_while_making(sdk)
    assert sdk.clients == []
    sdk.go.set()
    await asyncio.to_thread(sdk.has_closed.wait)
    assert len(sdk.clients) == 1


async def test_each_call_has_an_error_of_its_own(sdk: SlowSDK) -> None:
    """When no client can be made, the next call tries again."""
    sdk.go.set()
    sdk.failures.append(RuntimeError("not today"))
    async with MiniAgents():
        replies = agent.inquire("hi")
        with pytest.raises(LLMError, match="not today"):
            await replies
        assert len(await agent.inquire("hi")) == 1


async def test_an_error_that_came_too_late_ends_one_call(sdk: SlowSDK) -> None:
    """When the making fails after its call gave up, the next call gets the error, and the one after it tries again."""
    sdk.failures.append(RuntimeError("not today"))
    async with MiniAgents():
        await cancelled_while_making(sdk)
        sdk.go.set()
        for maker in [thread for thread in threading.enumerate() if thread.name == "client maker"]:
            await asyncio.to_thread(maker.join)
        with pytest.raises(LLMError, match="not today"):
            await agent.inquire("hi")
        assert len(await agent.inquire("hi")) == 1


async def test_sibling_contexts_have_clients_of_their_own(sdk: SlowSDK) -> None:
    """Each outermost context makes its client and closes it, also if others run at the same time in the same loop."""
    sdk.go.set()

    async def program() -> None:
        async with MiniAgents():
            await agent.inquire("hi")

    await asyncio.gather(program(), program())
    assert [client.is_closed for client in sdk.clients] == [True, True]
