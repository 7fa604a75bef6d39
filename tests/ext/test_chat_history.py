"""Histories in memory."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from miniagents import InMemoryChatHistory, Message, MiniAgents
from miniagents.testing.virtual_time import run_virtual


async def breaking(metadata: dict[str, Any]) -> AsyncIterator[str]:
    yield "said "
    await asyncio.sleep(1)
    yield "before"
    raise ConnectionError("cut")


def test_what_is_logged_is_passed_on_and_loaded() -> None:
    """The logging agent replies with what it was sent, while it comes, and all of it is loaded in order."""

    async def scenario() -> None:
        history = InMemoryChatHistory()
        async with MiniAgents():
            for text in ("a", "b"):
                assert await history.logging_agent.inquire([Message(text, role="user"), "x"]) == (
                    Message(text, role="user"),
                    Message("x"),
                )
            assert [str(message) for message in await history.aload_chat_history()] == ["a", "x", "b", "x"]

    run_virtual(scenario)


def test_two_histories_share_nothing() -> None:
    """Each history holds only what was written to it."""

    async def scenario() -> None:
        first, second = InMemoryChatHistory(), InMemoryChatHistory()
        async with MiniAgents():
            await first.logging_agent.inquire("for the first")
        assert await second.aload_chat_history() == ()

    run_virtual(scenario)


def test_of_a_message_that_breaks_off_what_was_said_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    """The error goes to the reader of the reply, once; the text so far and what came after it are remembered."""

    async def scenario() -> Any:
        history = InMemoryChatHistory()
        async with MiniAgents():
            replies = history.logging_agent.inquire(
                [Message.promise(breaking, role="assistant"), ValueError(), "after"]
            )
            with pytest.raises(ConnectionError):
                await replies
            await replies.settled()
        return await history.aload_chat_history()

    assert run_virtual(scenario) == (Message("said before", role="assistant"), Message("after"))
    assert not caplog.records
