"""Fixtures for pytest, for those who ask for them: `pytest_plugins = ["miniagents.testing.pytest_plugin"]`.

* `llm_server`: an `LLMServer` that runs during the test; the marker `llm_server` has its arguments.
* `llm_environment`: the same, with the variables set by which the official SDKs, LLM agents and other programs find it.

They need pytest and pytest-asyncio.

```python
@pytest.mark.llm_server("Fine.", fault="cut")
async def test_a_cut_answer_is_told(llm_environment: LLMServer) -> None:
    with pytest.raises(LLMConnectionError):
        await openai_agent.inquire("How are you?", model="any")
```
"""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from miniagents.testing.llm_server import LLMServer

__all__ = ["llm_environment", "llm_server"]


def pytest_configure(config: pytest.Config) -> None:
    """Called by pytest."""
    config.addinivalue_line("markers", "llm_server(...): the arguments of the `LLMServer` that a test is given")


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
