"""The console user agent on a pseudo-terminal, with an assistant that stands in for a model."""

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from support.terminal import AT_ONCE_SECONDS, CTRL_C, CTRL_D, CTRL_SPACE, ENTER, Terminal

pytestmark = pytest.mark.timeout(60)

UP = "\x1b[A"

# Asked to `hesitate`, the assistant says a word and never the next one. What is written into `news` is printed.
PROGRAM = """
import asyncio, os, sys
import miniagents
from miniagents.ext.misc_agents import console_user_agent

@miniagents.miniagent
async def assistant(ctx):
    said = str((await ctx.message_promises)[-1])
    if said == "hesitate":
        ctx.reply(miniagents.Message.promise(hesitating))
    else:
        ctx.reply(f"You said {said!r}.")

async def hesitating(metadata):
    yield "Well, "
    await asyncio.get_running_loop().create_future()

async def main():
    os.mkfifo("news")
    news = os.open("news", os.O_RDWR | os.O_NONBLOCK)
    asyncio.get_running_loop().add_reader(news, lambda: print(os.read(news, 100).decode()))
    try:
        await miniagents.adialog_loop(console_user_agent, assistant)
    except KeyboardInterrupt:
        print("caught")

{"asyncio.run": asyncio.run, "miniagents.run": miniagents.run}[sys.argv[1]](main())
"""


@asynccontextmanager
async def dialog(folder: Path, runner: str = "miniagents.run") -> AsyncIterator[Terminal]:
    """The program in `folder`, waiting for its first input."""
    async with Terminal("-c", PROGRAM, runner, cwd=folder) as terminal:
        await terminal.shows("USER:")
        yield terminal


async def test_what_is_said_is_shown_while_it_is_made(tmp_path: Path) -> None:
    """The first word is on the screen although the second one never comes."""
    async with dialog(tmp_path) as terminal:
        terminal.press("hesitate", ENTER)
        await terminal.shows("ASSISTANT: Well,")


@pytest.mark.parametrize("keys", [("exit", ENTER), (CTRL_D,)], ids=["exit", "Ctrl+D"])
async def test_the_user_ends_the_dialog(keys: tuple[str, ...], tmp_path: Path) -> None:
    """`exit` and Ctrl+D end the loop normally."""
    async with dialog(tmp_path) as terminal:
        terminal.press(*keys)
        assert await terminal.ended() == 0
        assert "caught" not in terminal.screen


async def test_enter_sends_and_ctrl_space_makes_a_line(tmp_path: Path) -> None:
    """What is sent with Enter has the lines that were made with Ctrl+Space."""
    async with dialog(tmp_path) as terminal:
        terminal.press("one", CTRL_SPACE, "two", ENTER)
        await terminal.shows(r"You said 'one\ntwo'.")


async def test_enter_alone_asks_again(tmp_path: Path) -> None:
    """An empty answer is not sent."""
    async with dialog(tmp_path) as terminal:
        terminal.press(ENTER)
        await terminal.shows("USER:")
        terminal.press("well", ENTER)
        await terminal.shows("You said 'well'.")


async def test_the_arrow_key_brings_back_what_was_said(tmp_path: Path) -> None:
    """The user's earlier answers can be sent again."""
    async with dialog(tmp_path) as terminal:
        terminal.press("first", ENTER)
        await terminal.shows("You said 'first'.")
        await terminal.shows("USER:")
        terminal.press(UP, ENTER)
        await terminal.shows("You said 'first'.")


async def test_what_others_print_does_not_disturb_the_prompt(tmp_path: Path) -> None:
    """A line that another agent prints while the user is typing appears above the prompt, which loses nothing."""
    async with dialog(tmp_path) as terminal:
        terminal.press("half a sen")
        await terminal.shows("half a sen")
        (tmp_path / "news").write_text("something happens")
        await terminal.shows("something happens\n")
        await terminal.shows("half a sen")
        terminal.press("tence", ENTER)
        await terminal.shows("You said 'half a sentence'.")


where = pytest.mark.parametrize("streaming", [False, True], ids=["at the prompt", "while the assistant speaks"])
how = pytest.mark.parametrize("key", [True, False], ids=["Ctrl+C", "kill -INT"])


async def interrupt(terminal: Terminal, *, streaming: bool, key: bool) -> None:
    if streaming:
        terminal.press("hesitate", ENTER)
        await terminal.shows("Well,")
    await terminal.waits_for_keys()
    if key:
        terminal.press(CTRL_C)
    else:
        terminal.signal(signal.SIGINT)


@where
@how
async def test_ctrl_c_is_raised_out_of_the_loop(streaming: bool, key: bool, tmp_path: Path) -> None:
    """`KeyboardInterrupt` can be caught around the loop, wherever it is, and nothing that still runs is waited for."""
    async with dialog(tmp_path) as terminal:
        await interrupt(terminal, streaming=streaming, key=key)
        assert await terminal.ended(within=AT_ONCE_SECONDS) == 0
        assert "caught" in terminal.screen
        assert "Traceback" not in terminal.screen


@where
@how
async def test_ctrl_c_ends_a_plain_asyncio_program(streaming: bool, key: bool, tmp_path: Path) -> None:
    """`asyncio.run` answers a signal in its own way, and is left at once as well; at a prompt the key is no signal."""
    async with dialog(tmp_path, "asyncio.run") as terminal:
        await interrupt(terminal, streaming=streaming, key=key)
        caught = key and not streaming
        assert await terminal.ended(within=AT_ONCE_SECONDS) == (0 if caught else -signal.SIGINT)
        assert ("caught" in terminal.screen) is caught


@where
@how
async def test_ctrl_c_leaves_the_terminal_as_it_was(streaming: bool, key: bool, tmp_path: Path) -> None:
    """After it the terminal shows what is typed again, and Ctrl+C is a signal again."""
    async with Terminal("-c", PROGRAM, "miniagents.run", cwd=tmp_path) as terminal:
        before = terminal.settings
        await terminal.shows("USER:")
        await interrupt(terminal, streaming=streaming, key=key)
        await terminal.ended()
        assert terminal.settings == before
