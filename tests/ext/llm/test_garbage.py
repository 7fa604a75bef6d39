"""What goes wrong with a model or a tool leaves nothing to the garbage collector."""

import gc
import logging
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from miniagents import MiniAgents
from miniagents.ext.llm.errors import LLMAnswerError, LLMTruncatedError
from miniagents.ext.llm.openai import openai_agent


class BrokenError(Exception):
    """Tells where it can be found, as long as there is one."""

    def __init__(self, found: list[weakref.ref[Exception]]) -> None:
        super().__init__("broken")
        found.append(weakref.ref(self))


def client_that_says(*answers: list[dict[str, Any]]) -> Any:
    """A client that answers with these chunks, one list after the other."""
    left = iter(answers)

    async def create(**_: Any) -> AsyncIterator[Any]:
        chunks = next(left)

        async def stream() -> AsyncIterator[Any]:
            for chunk in chunks:
                yield chunk

        return stream()

    return SimpleNamespace(chat=SimpleNamespace(completions=SimpleNamespace(create=create)))


def chunk(finish_reason: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}


@contextmanager
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def freed_error(expected: type[Exception], client: Any, **arguments: Any) -> weakref.ref[Exception]:
    async with MiniAgents():
        try:
            await openai_agent.inquire("hi", async_client=client, **arguments)
        except expected as error:
            return weakref.ref(error)
    raise AssertionError("no error")


@pytest.mark.parametrize(
    ("expected", "answers", "arguments"),
    [
        (LLMTruncatedError, [[chunk(content="half")]], {}),
        (LLMAnswerError, [[chunk(content="no"), chunk("stop")]] * 2, {"response_type": list[int]}),
    ],
    ids=["an answer that breaks off", "an answer that is not repaired"],
)
async def test_an_error_of_an_answer_is_freed_at_once(
    expected: type[Exception], answers: list[list[dict[str, Any]]], arguments: dict[str, Any]
) -> None:
    """When nobody holds the error any more it is gone, with the messages and frames that it led to."""
    await freed_error(expected, client_that_says(*answers), **arguments)  # what is loaded the first time
    with without_collector():
        error = await freed_error(expected, client_that_says(*answers), **arguments)
        assert error() is None


async def test_what_a_tool_raises_is_freed_at_once(caplog: pytest.LogCaptureFixture) -> None:
    """The exception of a tool is told to the model, and then it is gone."""
    caplog.set_level(logging.ERROR, "miniagents")  # what the runner of the tests captures it keeps
    raised: list[weakref.ref[Exception]] = []

    def broken() -> str:
        raise BrokenError(raised)

    call = {"index": 0, "id": "c", "function": {"name": "broken", "arguments": "{}"}}
    answers = ([chunk(tool_calls=[call]), chunk("tool_calls")], [chunk(content="So it is."), chunk("stop")])
    for _ in range(2):
        with without_collector():
            async with MiniAgents():
                await openai_agent.inquire("hi", async_client=client_that_says(*answers), tools=[broken])
    assert raised[-1]() is None
