"""The specification's blocks that talk with a person, each on a pseudo-terminal of its own."""

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from miniagents.testing.llm_server import LLMServer
from support.llm import environment_for, next_request
from support.spec_programs import IMPORT_ASYNCIO, block, write_program
from support.terminal import AT_ONCE_SECONDS, CTRL_C, CTRL_D, ENTER, Terminal

pytestmark = pytest.mark.timeout(60)

INTERRUPTED = -signal.SIGINT


@asynccontextmanager
async def console(number: int, folder: Path, server: LLMServer) -> AsyncIterator[Terminal]:
    """The block with this number, running in `folder` and waiting for its first input."""
    program = write_program(folder, IMPORT_ASYNCIO, block(number))
    async with Terminal(program, cwd=folder, environment=environment_for(server)) as terminal:
        await terminal.shows("USER:")
        yield terminal


both_dialogs = pytest.mark.parametrize("number", [8, 9], ids=["block 08", "block 09"])


@both_dialogs
async def test_a_dialog_shows_the_answer_while_it_is_made(number: int, tmp_path: Path) -> None:
    """A token is on the screen before the model has made the next one."""
    async with (
        LLMServer(reply=["Good ", "morning", "!"], paced=True) as server,
        console(number, tmp_path, server) as it,
    ):
        it.press("hi there", ENTER)
        request = await next_request(server)
        assert request.last_user_text == "hi there"
        request.release_token()
        await it.shows("Good")
        request.release_token()
        await it.shows("morning")
        request.release_token()
        await it.shows("!")
        await it.shows("USER:")
        it.press("exit", ENTER)
        assert await it.ended() == 0


@both_dialogs
async def test_a_dialog_remembers_what_was_said(number: int, tmp_path: Path) -> None:
    """The second question reaches the model together with the first one and its answer."""
    async with LLMServer(reply="Good morning!") as server, console(number, tmp_path, server) as it:
        it.press("hi there", ENTER)
        await it.shows("Good morning!")
        await it.shows("USER:")
        it.press("and now?", ENTER)
        await it.shows("Good morning!")
        said = [(message["role"], message["content"]) for message in server.requests[1].messages]
        assert said == [("user", "hi there"), ("assistant", "Good morning!"), ("user", "and now?")]


@both_dialogs
async def test_typing_exit_ends_a_dialog(number: int, tmp_path: Path) -> None:
    """`exit` ends the loop, which returns as if all was done; no model is asked."""
    async with LLMServer() as server, console(number, tmp_path, server) as it:
        it.press("exit", ENTER)
        assert await it.ended() == 0
        assert "Traceback" not in it.screen
    assert server.requests == []


@both_dialogs
async def test_end_of_input_ends_a_dialog(number: int, tmp_path: Path) -> None:
    """Ctrl+D ends the loop like `exit`."""
    async with LLMServer() as server, console(number, tmp_path, server) as it:
        it.press(CTRL_D)
        assert await it.ended() == 0
        assert "Traceback" not in it.screen
    assert server.requests == []


async def test_block_08_ctrl_c_at_the_prompt_is_a_keyboard_interrupt(tmp_path: Path) -> None:
    """Ctrl+C at the prompt ends a program that does not catch it as it ends any Python program."""
    async with LLMServer() as server, console(8, tmp_path, server) as it:
        it.press(CTRL_C)
        assert await it.ended(within=AT_ONCE_SECONDS) == INTERRUPTED
        assert "KeyboardInterrupt" in it.screen


async def test_block_09_ctrl_c_at_the_prompt_is_caught_where_the_loop_was_called(tmp_path: Path) -> None:
    """`KeyboardInterrupt` is raised out of the loop, where this block catches it, and nothing hangs after it."""
    async with LLMServer() as server, console(9, tmp_path, server) as it:
        it.press(CTRL_C)
        assert await it.ended(within=AT_ONCE_SECONDS) == 0
        assert "Traceback" not in it.screen


@both_dialogs
async def test_ctrl_c_in_the_middle_of_an_answer_ends_a_dialog(number: int, tmp_path: Path) -> None:
    """Ctrl+C while the model is still answering ends the program, and nothing hangs after it."""
    async with LLMServer(reply=["Good ", "morning"], paced=True) as server, console(number, tmp_path, server) as it:
        it.press("hi there", ENTER)
        (await next_request(server)).release_token()
        await it.shows("Good")
        it.press(CTRL_C)
        assert await it.ended(within=AT_ONCE_SECONDS) in (0, INTERRUPTED)


async def test_block_09_writes_the_dialog_into_a_file(tmp_path: Path) -> None:
    """`CHAT.md` has each message under an underlined heading with its role and, for a model, the model's name."""
    async with LLMServer(reply="Good morning!") as server, console(9, tmp_path, server) as it:
        it.press("hi there", ENTER)
        await it.shows("Good morning!")
        await it.shows("USER:")
        it.press(CTRL_D)
        assert await it.ended() == 0
    lines = (tmp_path / "CHAT.md").read_text(encoding="utf-8").splitlines()
    for heading, text in (("user", "hi there"), ("assistant / gpt-4o-2024-05-13", "Good morning!")):
        at = lines.index(heading)
        assert set(lines[at + 1]) in ({"="}, {"-"})
        assert next(line for line in lines[at + 2 :] if line) == text


async def test_block_09_keeps_what_was_said_before_ctrl_c(tmp_path: Path) -> None:
    """What the user asked and what had arrived of the answer is in the file after Ctrl+C."""
    async with LLMServer(reply=["Good ", "morning"], paced=True) as server, console(9, tmp_path, server) as it:
        it.press("hi there", ENTER)
        (await next_request(server)).release_token()
        await it.shows("Good")
        it.press(CTRL_C)
        await it.ended(within=AT_ONCE_SECONDS)
    written = (tmp_path / "CHAT.md").read_text(encoding="utf-8")
    assert "hi there" in written
    assert "Good" in written


async def test_block_09_goes_on_with_an_earlier_dialog(tmp_path: Path) -> None:
    """A second run starts from what the first one has left in the file."""
    async with LLMServer(reply="Good morning!") as server:
        async with console(9, tmp_path, server) as first:
            first.press("hi there", ENTER)
            await first.shows("Good morning!")
            await first.shows("USER:")
            first.press("exit", ENTER)
            assert await first.ended() == 0
        async with console(9, tmp_path, server) as second:
            second.press("and now?", ENTER)
            await next_request(server)
            request = await next_request(server)
    said = [(message["role"], message["content"]) for message in request.messages]
    assert said == [("user", "hi there"), ("assistant", "Good morning!"), ("user", "and now?")]


async def test_block_13_lets_two_agents_take_turns(tmp_path: Path) -> None:
    """Each agent prints what the other one said; the user's comes first, before anything was said."""
    async with LLMServer() as server, console(13, tmp_path, server) as it:
        it.press("hi there", ENTER)
        await it.shows("hi there\n")  # the terminal shows what is typed
        await it.shows("hi there\n")  # the assistant prints what it is sent
        await it.shows("Hello, how can I assist you?\n")
        await it.shows("USER:")


async def test_block_13_sees_its_own_end_of_file(tmp_path: Path) -> None:
    """`input` at the end of input raises `EOFError`, which reaches whoever runs the loop."""
    async with LLMServer() as server, console(13, tmp_path, server) as it:
        it.press(CTRL_D)
        assert await it.ended() == 1
        assert "\nEOFError" in it.screen


async def test_block_13_ctrl_c_ends_it_while_it_waits_for_input(tmp_path: Path) -> None:
    """Ctrl+C ends the program at once although `input` holds the event loop."""
    async with LLMServer() as server, console(13, tmp_path, server) as it:
        await it.waits_for_keys()
        it.press(CTRL_C)
        assert await it.ended(within=AT_ONCE_SECONDS) == INTERRUPTED
