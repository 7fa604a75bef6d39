"""The fixtures for pytest, in a project of somebody else."""

import re
from pathlib import Path

import pytest

from miniagents.testing import LLMServer
from support.docs_blocks import blocks_of
from support.processes import run_python

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "testing.md"
TESTS = """
import os
import openai
import pytest
from miniagents.testing import LLMServer

async def ask() -> str:
    async with openai.AsyncOpenAI(max_retries=0) as client:
        messages = [{"role": "user", "content": "Hi"}]
        completion = await client.chat.completions.create(model="m", messages=messages)
    return completion.choices[0].message.content

@pytest.mark.asyncio
async def test_a_server(llm_server: LLMServer) -> None:
    assert "OPENAI_BASE_URL" not in os.environ
    async with openai.AsyncOpenAI(base_url=f"{llm_server.url}/v1", api_key="k") as client:
        assert [model.id async for model in client.models.list()] == ["offline"]

@pytest.mark.asyncio
@pytest.mark.llm_server("Fine.")
async def test_the_environment(llm_environment: LLMServer) -> None:
    assert await ask() == "Fine."
    assert len(llm_environment.requests) == 1

@pytest.mark.asyncio
@pytest.mark.llm_server(fault="close_before_headers")
async def test_a_fault(llm_environment: LLMServer) -> None:
    with pytest.raises(openai.APIConnectionError):
        await ask()

def test_the_environment_is_as_it_was() -> None:
    assert "OPENAI_BASE_URL" not in os.environ
"""
OPTIONS = ("-m", "pytest", "-q", "--strict-markers", "-p", "no:cacheprovider", "-W", "error")


async def test_the_fixtures_give_a_server_that_runs(tmp_path: Path) -> None:
    """A project that names the plugin gets servers made as its markers say, found by the SDKs, and clean afterwards."""
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["miniagents.testing.pytest_plugin"]\n')
    (tmp_path / "test_it.py").write_text(TESTS)
    ended = await run_python(*OPTIONS, cwd=tmp_path)
    assert ended.stdout.splitlines()[-1].startswith("4 passed"), ended.stdout
    assert ended.status == 0


RECORDED = """
import os
from pathlib import Path
import pytest
from miniagents import MiniAgents
from miniagents.ext.llm.openai import openai_agent

@pytest.mark.asyncio
@pytest.mark.parametrize("question", ["What?", "../Why?"])
async def test_it(llm_recording: Path, question: str) -> None:
    async with MiniAgents():
        assert [str(m) for m in await openai_agent.inquire(question, model="m", max_retries=0)] == ["Fine."]
"""


@pytest.mark.parametrize("how", ["option", "variable"])
async def test_a_test_is_recorded_once_and_then_asks_nobody(tmp_path: Path, how: str) -> None:
    """With the option, or the variable, a test asks its model and makes a file beside itself; without, it needs neither."""
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["miniagents.testing.pytest_plugin"]\n')
    (tmp_path / "test_it.py").write_text(RECORDED)
    options = ("--record-llm",) if how == "option" else ()
    variables = {} if how == "option" else {"MINIAGENTS_RECORD": "1"}
    async with LLMServer("Fine.") as server:
        for _ in range(2):  # a file that is there is made anew
            ended = await run_python(*OPTIONS, *options, cwd=tmp_path, environment={**server.environment, **variables})
            assert ended.stdout.splitlines()[-1].startswith("2 passed"), ended.stdout
        assert len(server.requests) == 4
    files = sorted((tmp_path / "recordings" / "test_it").iterdir())
    assert [file.name for file in files] == ["test_it[.._Why_].jsonl", "test_it[What_].jsonl"]
    ended = await run_python(*OPTIONS, cwd=tmp_path)
    assert ended.stdout.splitlines()[-1].startswith("2 passed"), ended.stdout
    files[0].unlink()
    ended = await run_python(*OPTIONS, cwd=tmp_path)
    assert "1 passed, 1 error" in ended.stdout.splitlines()[-1]
    assert "There is no recording" in ended.stdout
    assert "make one with `pytest --record-llm`" in ended.stdout


@pytest.mark.timeout(60)
async def test_a_failed_test_leaves_its_recording_as_it_was(tmp_path: Path) -> None:
    """To record anew without a key, or with answers that fail the test, changes nothing, and says where the answers are."""
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["miniagents.testing.pytest_plugin"]\n')
    (tmp_path / "test_it.py").write_text(RECORDED)
    folder = tmp_path / "recordings" / "test_it"
    ended = await run_python(*OPTIONS, "--record-llm", cwd=tmp_path)  # no server, no key
    assert ended.stdout.splitlines()[-1].startswith("2 failed"), ended.stdout
    assert list(folder.iterdir()) == []
    async with LLMServer("Fine.") as server:
        await run_python(*OPTIONS, "--record-llm", cwd=tmp_path, environment=server.environment)
    good = {file: file.read_bytes() for file in folder.iterdir()}
    assert len(good) == 2
    ended = await run_python(*OPTIONS, "--record-llm", cwd=tmp_path)
    assert ended.stdout.splitlines()[-1].startswith("2 failed"), ended.stdout
    assert f"The recording {folder / 'test_it[What_].jsonl'} is as it was.\n" in ended.stdout
    assert {file: file.read_bytes() for file in folder.iterdir()} == good
    async with LLMServer("Bad.") as server:
        ended = await run_python(*OPTIONS, "--record-llm", cwd=tmp_path, environment=server.environment)
    assert f"What was answered now is in {folder / 'test_it[What_].jsonl.new'}." in ended.stdout
    assert {file: file.read_bytes() for file in folder.glob("*.jsonl")} == good
    assert [b"Bad" in file.read_bytes() for file in folder.glob("*.new")] == [True, True]


@pytest.mark.timeout(60)
async def test_the_tests_of_the_page_run_as_they_stand_there(tmp_path: Path) -> None:
    """What the page on testing shows of pytest is collected, with the settings that it names, and passes."""
    tests = [block for block in blocks_of(PAGE) if "@pytest." in block.code or "llm_recording" in block.code]
    (plugins,) = (block for block in blocks_of(PAGE) if block.code.startswith("pytest_plugins"))
    (settings,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "pyproject.toml").write_text(settings)
    (tmp_path / "conftest.py").write_text(plugins.code)
    for number, block in enumerate(tests):
        (tmp_path / f"test_{number}.py").write_text(block.code)
    async with LLMServer("4") as server:
        ended = await run_python(*OPTIONS, "--record-llm", cwd=tmp_path, environment=server.environment)
    assert ended.stdout.splitlines()[-1].startswith("2 passed"), ended.stdout
    ended = await run_python(*OPTIONS, cwd=tmp_path)  # from the recording
    assert ended.stdout.splitlines()[-1].startswith("2 passed"), ended.stdout


async def test_pytest_is_loaded_by_the_plugin_alone(tmp_path: Path) -> None:
    """Neither the package nor its testing tools need pytest."""
    program = "import sys, miniagents.testing as t; [getattr(t, n) for n in t.__all__]; print('pytest' in sys.modules)"
    ended = await run_python("-c", program, cwd=tmp_path)
    assert (ended.stdout, ended.status) == ("False\n", 0)
