"""A dialog that goes on when the model fails."""

import asyncio
from typing import Any

import pytest

from miniagents import ErrorMessage, InMemoryChatHistory, Message, MiniAgents
from miniagents.cli.chat_errors import HistoryWithoutErrors, patient_assistant
from miniagents.ext.llm.llm_common import AssistantMessage
from miniagents.ext.models import scripted_agent
from miniagents.testing import run_virtual

TEXT = "one two three"


async def replies_to(question: str = "Hi", **script: Any) -> tuple[Message, ...]:
    async with MiniAgents():
        return await patient_assistant.inquire(question, assistant=scripted_agent.fork(script=TEXT, **script))


async def test_an_answer_stays_what_it_is() -> None:
    """An answer without an error is passed on with its class and all that is known of it."""
    async with MiniAgents():
        expected = await scripted_agent.inquire("Hi", script=TEXT)
    assert await replies_to() == expected


async def test_an_error_stands_behind_what_was_said() -> None:
    """An answer that breaks off is a message of the assistant, and behind it is one line about the error."""
    said, error = await replies_to(fail_after_tokens=2, error=OSError("the line\n  is \x1b[31mdead"))
    assert (type(said), str(said)) == (AssistantMessage, "one two")
    assert (type(error), str(error)) == (ErrorMessage, "OSError: the line is dead")


async def test_an_error_before_the_first_word_stands_alone() -> None:
    """A turn in which nothing was said has no message of the assistant."""
    assert [type(message) for message in await replies_to(fail_after_tokens=0)] == [ErrorMessage]


async def test_ctrl_c_is_not_an_error_of_the_model() -> None:
    """What ends programs is not turned into a message."""
    with pytest.raises(KeyboardInterrupt):
        await replies_to(fail_after_tokens=1, error=KeyboardInterrupt())


def test_words_are_passed_on_while_they_are_made() -> None:
    """A token is there when the model has said it, and not only when all of them are there."""
    times: list[float] = []

    async def scenario() -> None:
        async with MiniAgents():
            assistant = scripted_agent.fork(script=TEXT, tokens_per_second=1)
            async for promise in patient_assistant.inquire("Hi", assistant=assistant):
                async for _ in promise:
                    times.append(asyncio.get_running_loop().time())

    run_virtual(scenario)
    assert times == [0, 1, 2]


async def test_errors_are_shown_and_not_remembered() -> None:
    """The logging agent passes on all messages in their order, and only the errors are not written down."""
    history = InMemoryChatHistory()
    messages = [Message("question"), ErrorMessage(text="broken"), AssistantMessage(text="answer")]
    without_errors = HistoryWithoutErrors(history)
    async with MiniAgents():
        assert [*await without_errors.logging_agent.inquire(messages)] == messages
        assert [*await without_errors.aload_chat_history()] == [messages[0], messages[2]]
