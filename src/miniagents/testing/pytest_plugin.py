"""Fixtures for pytest, for those who ask for them: `pytest_plugins = ["miniagents.testing.pytest_plugin"]`.

* `llm_server`: an `LLMServer` that runs during the test; the marker `llm_server` has its arguments.
* `llm_environment`: the same, with the variables set by which the official SDKs, LLM agents and other programs find it.
* `llm_recording`: what models answer in this test is replayed from `recordings/<module>/<test>.jsonl` beside it. With
  the option `--record-llm`, or `MINIAGENTS_RECORD=1` in the environment, the models are asked, and the file is made
  anew: if the test passes, for otherwise a recording that is there stays as it was.

They need pytest and pytest-asyncio.

```python
@pytest.mark.llm_server("Fine.", fault="cut")
async def test_a_cut_answer_is_told(llm_environment: LLMServer) -> None:
    async with MiniAgents():
        with pytest.raises(LLMConnectionError):
            await openai_agent.inquire("How are you?", model="any")
```
"""

import os
import re
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from miniagents.ext.llm._recording_file import RecordingFile
from miniagents.ext.llm.errors import LLMRecordingError
from miniagents.ext.llm.recordings import record, replay
from miniagents.testing.llm_server import LLMServer

__all__ = ["llm_environment", "llm_recording", "llm_server"]

_HAS_PASSED: Final = pytest.StashKey[bool]()


class _TestFailedError(Exception):
    """Takes the failure of a test, which fixtures are not told, into the block of a recording."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Called by pytest."""
    parser.addoption(
        "--record-llm", action="store_true", help="ask the models, and record what they answer for `llm_recording`"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Called by pytest."""
    config.addinivalue_line("markers", "llm_server(...): the arguments of the `LLMServer` that a test is given")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Called by pytest."""
    item.stash[_HAS_PASSED] = False
    yield
    item.stash[_HAS_PASSED] = True


@pytest_asyncio.fixture
async def llm_server(request: pytest.FixtureRequest) -> AsyncIterator[LLMServer]:
    """A server that runs during the test, made with the arguments of the marker `llm_server`, if there is one."""
    marker = request.node.get_closest_marker("llm_server")
    args, kwargs = (marker.args, marker.kwargs) if marker is not None else ((), {})
    async with LLMServer(*args, **kwargs) as server:
        yield server


@pytest.fixture
def llm_environment(llm_server: LLMServer, monkeypatch: pytest.MonkeyPatch) -> LLMServer:
    """The server `llm_server`, with the environment variables that lead the SDKs to it instead of to the providers."""
    for name, value in llm_server.environment.items():
        monkeypatch.setenv(name, value)
    return llm_server


@pytest.fixture
def llm_recording(request: pytest.FixtureRequest) -> Iterator[Path]:
    """The file from which this test gets the answers of its models, or in which they are recorded."""
    # The names of parameters may have anything in them.
    name = re.sub(r"[^\w.\[\]-]+", "_", request.node.name)
    path = Path(request.path.parent, "recordings", request.path.stem, f"{name}.jsonl")
    if request.config.getoption("--record-llm") or os.environ.get("MINIAGENTS_RECORD", "") not in ("", "0"):
        yield from _recorded(request.node, path)
    elif path.exists():
        with replay(path):
            yield path
    else:
        raise LLMRecordingError(f"There is no recording {path}: make one with `pytest --record-llm`.")


def _recorded(test: pytest.Item, path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    was_there = path.exists()
    with suppress(_TestFailedError), record(path, replace=True):
        yield path
        if not test.stash.get(_HAS_PASSED, False):
            raise _TestFailedError
        return
    if was_there:
        beside = RecordingFile(path).beside().path
        told = f" What was answered now is in {beside}." if beside.exists() else ""
        test.add_report_section("teardown", "llm_recording", f"The recording {path} is as it was.{told}")
