"""The console user agent where standard input and output are no terminal: plain lines."""

import asyncio
import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from miniagents import (
    EndOfDialog,
    InMemoryChatHistory,
    InteractionContext,
    Message,
    MiniAgents,
    adialog_loop,
    miniagent,
    run,
)
from miniagents.ext.console_user_agent import console_user_agent
from miniagents.ext.llm.media import ImageMessage
from miniagents.ext.llm.messages import ThinkingMessage, ToolCallMessage, ToolResultMessage
from support.processes import clean_environment, run_python


class Keyboard:
    """The other end of standard input, and what is left in it."""

    def __init__(self, reading_end: int, writing_end: int) -> None:
        self._reading_end = reading_end
        self._writing_end = writing_end

    def type(self, text: str | bytes) -> None:
        os.write(self._writing_end, text.encode() if isinstance(text, str) else text)

    def end(self) -> None:
        os.close(self._writing_end)
        self._writing_end = -1

    def rest(self) -> bytes:
        """What nobody has read, up to the end."""
        self.end()
        return os.read(self._reading_end, 65536)

    def close(self) -> None:
        if self._writing_end >= 0:
            self.end()


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Keyboard]:
    """Standard input is a pipe."""
    reading_end, writing_end = os.pipe()
    with os.fdopen(reading_end, encoding="utf-8") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        keyboard = Keyboard(reading_end, writing_end)
        yield keyboard
        keyboard.close()


@miniagent
async def assistant(ctx: InteractionContext) -> None:
    """Tells how many messages it was sent."""
    ctx.reply(f"I see {len(await ctx.message_promises)}.")


# ---------------------------------------------------------------------- what is shown and asked


def test_what_is_not_said_is_told_apart(keyboard: Keyboard, capsys: pytest.CaptureFixture[str]) -> None:
    """Thoughts, calls and results of tools, and files, say what they are, and no name in them reaches the terminal raw."""
    keyboard.type("Go on\n")
    call = ToolCallMessage('{"a": 1}', tool="look\x1b[2J", agent_alias="GPT")
    thought, file = ThinkingMessage("hm", agent_alias="GPT"), ImageMessage.of(b"GIF89a", "See", name="a.gif")
    run(console_user_agent.inquire([thought, call, ToolResultMessage("a cat", tool="look"), file]))
    shown = capsys.readouterr().out
    for said in ("GPT (thinking): hm\n", ': {"a": 1}\n', "result of look: a cat\n", "USER (a.gif): See\n"):
        assert said in shown
    assert "GPT calls look" in shown
    assert "\x1b" not in shown


def test_the_output_is_the_whole_dialog(keyboard: Keyboard, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal every line is in the output, also what the user said, each message apart from the next."""
    keyboard.type("Hello!\nAnd now?\nexit\n")
    run(adialog_loop(console_user_agent, assistant))
    assert capsys.readouterr().out == (
        "USER: Hello!\n\nASSISTANT: I see 1.\n\nUSER: And now?\n\nASSISTANT: I see 3.\n\nUSER: exit\n"
    )


@pytest.mark.parametrize("typed", ["exit\n", "  EXIT \r\n", "exit", ""])
def test_the_user_ends_the_dialog(typed: str, keyboard: Keyboard) -> None:
    """`exit` in any case, and the end of the input, end the loop, which returns; nobody is asked any more."""

    @miniagent
    async def never_asked(ctx: InteractionContext) -> None:
        raise AssertionError

    keyboard.type(typed)
    keyboard.end()
    run(adialog_loop(console_user_agent, never_asked))


def test_the_end_of_the_dialog_is_an_error_to_others(keyboard: Keyboard) -> None:
    """Whoever calls the agent without a loop sees `EndOfDialog`."""
    keyboard.end()
    with pytest.raises(EndOfDialog):
        run(console_user_agent.inquire())


def test_nothing_said_is_asked_again(keyboard: Keyboard, capsys: pytest.CaptureFixture[str]) -> None:
    """Blank lines are no answer."""
    keyboard.type("\n  \t\nwell\n")
    (message,) = run(console_user_agent.inquire())
    assert (message.text, message["role"]) == ("well", "user")
    assert capsys.readouterr().out.count("USER: ") == 3


def test_the_last_line_needs_no_line_feed(keyboard: Keyboard) -> None:
    """What stands before the end of the input is said."""
    keyboard.type("unfinished")
    keyboard.end()
    assert [message.text for message in run(console_user_agent.inquire())] == ["unfinished"]


def test_what_is_no_text_costs_nothing_but_itself(keyboard: Keyboard) -> None:
    """Bytes that are no UTF-8 become U+FFFD each."""
    keyboard.type(b"caf\xe9 \xc3\xa9\n")
    assert [message.text for message in run(console_user_agent.inquire())] == ["caf\ufffd \u00e9"]


def test_what_comes_after_the_dialog_is_left_to_others(keyboard: Keyboard) -> None:
    """Not a byte behind the last line of the dialog is read."""
    keyboard.type("Hello!\nexit\nfor somebody else\n")
    run(adialog_loop(console_user_agent, assistant))
    assert keyboard.rest() == b"for somebody else\n"


async def test_waiting_holds_nobody_up(keyboard: Keyboard) -> None:
    """While the user is asked, the event loop goes on with other work: here with that of typing the answer."""
    async with MiniAgents():
        replies = console_user_agent.inquire()
        keyboard.type("first half, ")
        await asyncio.sleep(0)
        keyboard.type("second half\n")
        assert [message.text for message in await replies] == ["first half, second half"]


async def test_a_cancelled_question_reads_nothing(keyboard: Keyboard, capsys: pytest.CaptureFixture[str]) -> None:
    """When the asking is cancelled its thread ends, and what is typed later is there for the next one who asks."""
    with contextlib.suppress(ZeroDivisionError):
        async with MiniAgents():
            console_user_agent.inquire()
            while not line_readers():  # noqa: ASYNC110  a thread that starts sets no event
                await asyncio.sleep(0)
            raise ZeroDivisionError
    for thread in line_readers():
        await asyncio.to_thread(thread.join, timeout=10)
    assert line_readers() == []
    keyboard.type("later\n")
    assert keyboard.rest() == b"later\n"


def line_readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "line reader"]


async def test_those_who_ask_at_once_take_turns(keyboard: Keyboard, capsys: pytest.CaptureFixture[str]) -> None:
    """There is one keyboard: the second question is asked when the first one is answered."""
    keyboard.type("one\ntwo\n")
    async with MiniAgents():
        first, second = console_user_agent.inquire(), console_user_agent.inquire()
        assert [message.text for message in (*await first, *await second)] == ["one", "two"]
    assert capsys.readouterr().out == "USER: one\n\nUSER: two\n\n"


# ---------------------------------------------------------------------- odd streams


@pytest.mark.parametrize("stdin", [None, "closed"])
def test_without_an_input_the_dialog_ends(stdin: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A standard input that is missing or closed is at its end."""
    stream = stdin and io.StringIO()
    if stream:
        stream.close()
    monkeypatch.setattr(sys, "stdin", stream)
    run(adialog_loop(console_user_agent, assistant))


def test_an_input_that_only_looks_like_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any object with lines can stand in for standard input."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("Hello!\n"))
    assert [message.text for message in run(console_user_agent.inquire())] == ["Hello!"]


def test_without_an_output_the_dialog_goes_on(keyboard: Keyboard, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program without a console can still be sent lines."""
    monkeypatch.setattr(sys, "stdout", None)
    keyboard.type("Hello!\n")
    assert [message.text for message in run(console_user_agent.inquire("Hm?"))] == ["Hm?", "Hello!"]


def test_an_output_that_cannot_show_everything(keyboard: Keyboard, monkeypatch: pytest.MonkeyPatch) -> None:
    """A character that the output's encoding does not have is shown by its number."""
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="ascii"))
    keyboard.type("Hello!\n")
    run(console_user_agent.inquire("caf\u00e9"))
    assert b"ASSISTANT: caf\\xe9\n" in shown.getvalue()


def test_nothing_can_control_the_terminal(keyboard: Keyboard, capsys: pytest.CaptureFixture[str]) -> None:
    """Escape sequences are dropped, cut or not, and other control characters made visible, wherever they come from."""

    async def tokens(metadata: dict[str, Any]) -> AsyncIterator[str]:
        for token in ("a\x1b", "[31mb\x1b]0;title", "\x07c\u202ed\r", "\ne"):
            yield token

    keyboard.type("x\x1b[2Jy\b\n")
    run(console_user_agent.inquire(Message.promise(tokens, agent_alias="\x1b[1mWHO\n")))
    assert capsys.readouterr().out == "WHO: abc<U+202E>d\ne\n\nUSER: xy<U+0008>\n\n"


# ---------------------------------------------------------------------- the history


async def test_the_reply_is_the_history(keyboard: Keyboard) -> None:
    """All that was said goes back, also what was said before the dialog began."""
    history = InMemoryChatHistory()
    keyboard.type("three\n")
    async with MiniAgents():
        await history.logging_agent.inquire(Message("one", role="system"))
        said = await console_user_agent.inquire(Message("two", role="assistant"), chat_history=history)
    assert [(message["role"], message.text) for message in said] == [
        ("system", "one"),
        ("assistant", "two"),
        ("user", "three"),
    ]
    assert said == await history.aload_chat_history()


async def test_who_says_nothing_of_a_role_is_the_assistant(keyboard: Keyboard) -> None:
    """A message without a role is written down as the assistant's, with all else that is known of it."""

    async def tokens(metadata: dict[str, Any]) -> AsyncIterator[str]:
        yield "Hm"
        metadata["usage"] = 1

    keyboard.type("well\n")
    async with MiniAgents():
        heard, plain, _ = await console_user_agent.inquire([Message.promise(tokens, model="m"), "Hello!"])
    assert heard == Message("Hm", model="m", role="assistant", usage=1)
    assert plain == Message("Hello!", role="assistant")


class Witness(Message):
    role: str = "tool"


async def test_a_role_stays(keyboard: Keyboard) -> None:
    """A role that is said, by the message or by its class, is not touched."""
    keyboard.type("well\n")
    async with MiniAgents():
        heard, seen, _ = await console_user_agent.inquire([{"text": "a", "role": "system"}, Witness("b")])
    assert heard == Message("a", role="system")
    assert seen == Witness("b")


def test_two_dialogs_share_nothing(keyboard: Keyboard, capsys: pytest.CaptureFixture[str]) -> None:
    """A second dialog in the same program, and in the same context, knows nothing of the first."""
    keyboard.type("Hello!\nAgain!\nexit\n" * 2)

    async def main() -> None:
        await adialog_loop(console_user_agent, assistant)
        capsys.readouterr()
        await adialog_loop(console_user_agent, assistant)

    run(main())
    assert "ASSISTANT: I see 1.\n" in capsys.readouterr().out


def test_two_calls_outside_a_loop_share_nothing(keyboard: Keyboard) -> None:
    """Without a loop and without a history, each call is a dialog of its own."""
    keyboard.type("one\ntwo\n")

    async def main() -> tuple[Message, ...]:
        async with MiniAgents():
            await console_user_agent.inquire()
            return await console_user_agent.inquire()

    assert [message.text for message in run(main())] == ["two"]


def test_the_end_of_an_earlier_dialog_is_shown(keyboard: Keyboard, capsys: pytest.CaptureFixture[str]) -> None:
    """Where a history is gone on with, the user is reminded of its last messages, safely and briefly."""
    history = InMemoryChatHistory()
    earlier = [Message(text, role=role) for role, text in (("user", "a"), ("assistant", "b"), ("user", "c\x1b[1m"))]
    run(history.logging_agent.inquire([*earlier, Message("d" * 100_000, role="assistant")]))
    keyboard.type("exit\n")
    run(adialog_loop(console_user_agent.fork(chat_history=history), assistant))
    shown = capsys.readouterr().out
    assert shown.startswith("(The dialog so far: 4 messages; the last 2)\n\nUSER: c\n\nASSISTANT: ddd")
    assert shown.endswith("ddd...\n\nUSER: exit\n")
    assert len(shown) < 2_000


async def test_an_error_comes_after_what_was_said(keyboard: Keyboard, capsys: pytest.CaptureFixture[str]) -> None:
    """When the assistant fails, all that it said is shown and remembered; then whoever runs the loop gets the error."""
    error = ValueError("broken")

    async def tokens(metadata: dict[str, Any]) -> AsyncIterator[str]:
        yield "I was "
        raise error

    @miniagent
    async def failing(ctx: InteractionContext) -> None:
        ctx.reply("Whole.")
        ctx.reply(Message.promise(tokens))

    history = InMemoryChatHistory()
    keyboard.type("Hello!\n")
    with pytest.raises(ValueError, match="broken") as raised:
        await adialog_loop(console_user_agent.fork(chat_history=history), failing)
    assert raised.value is error
    assert capsys.readouterr().out == "USER: Hello!\n\nASSISTANT: Whole.\n\nASSISTANT: I was \n\n"
    assert [message.text for message in await history.aload_chat_history()] == ["Hello!", "Whole.", "I was "]


# ---------------------------------------------------------------------- programs


async def test_importing_touches_no_terminal(tmp_path: Path) -> None:
    """Importing the agent writes nothing and needs neither standard input nor a terminal."""
    program = "import sys; sys.stdin = None; import miniagents.ext.misc_agents"
    ended = await run_python("-c", program, cwd=tmp_path)
    assert (ended.status, ended.stdout, ended.stderr) == (0, "", "")


ASK_FOR_EVER = """
import asyncio, io, sys, threading
import miniagents
from miniagents.ext.console_user_agent import console_user_agent
from miniagents.ext.llm.media import ImageMessage
from miniagents.ext.llm.messages import ThinkingMessage, ToolCallMessage, ToolResultMessage

class NoFile(io.StringIO):
    def readline(self, *_):
        threading.Event().wait()

async def main():
    if sys.argv[2] == "object":
        sys.stdin = NoFile()
    async with miniagents.MiniAgents():
        console_user_agent.inquire()
        while not any(thread.name == "line reader" for thread in threading.enumerate()):
            await asyncio.sleep(0)
        print("asking", flush=True)
        await console_user_agent.inquire()

if sys.argv[1] == "asyncio.run":
    asyncio.run(main())
else:
    miniagents.run(main())
"""


@pytest.mark.timeout(60)
@pytest.mark.parametrize("runner", ["asyncio.run", "miniagents.run"])
@pytest.mark.parametrize("stdin", ["pipe", "object"])
async def test_a_program_ends_although_its_input_is_open(runner: str, stdin: str, tmp_path: Path) -> None:
    """Ctrl+C ends a program that waits for a line which never comes."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ASK_FOR_EVER, runner, stdin),
        env=clean_environment(tmp_path),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    async with asyncio.timeout(30):
        while b"asking" not in await process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        said = await process.stderr.read()
        assert await process.wait() == -signal.SIGINT
    assert said.rstrip().endswith(b"KeyboardInterrupt")
    assert b"Fatal" not in said
