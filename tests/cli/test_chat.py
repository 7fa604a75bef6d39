"""`miniagents chat`, in a pipe and on a terminal."""

import sys
from pathlib import Path

import pytest

from miniagents.cli.local_servers import find_local_servers
from miniagents.testing import Fault, LLMServer
from support.commands import interrupted_when_it_says, run_miniagents
from support.llm import environment_for
from support.processes import clean_environment
from support.terminal import AT_ONCE_SECONDS, CTRL_C, CTRL_D, ENTER, Terminal

pytestmark = [pytest.mark.timeout(90), pytest.mark.skipif(sys.platform == "win32", reason="there are no signals")]


def chat(*arguments: str, cwd: Path, **environment: str) -> Terminal:
    return Terminal("-m", "miniagents", "chat", *arguments, cwd=cwd, environment=environment)


# ---------------------------------------------------------------------- in a pipe


async def test_piped_input_is_a_dialog(tmp_path: Path) -> None:
    """Each line of piped input is a turn; the end of the input is the end of the dialog, with status 0."""
    ended = await run_miniagents("chat", "--model", "echo", cwd=tmp_path, stdin="Hello\nHow are you?\n")
    assert (ended.status, ended.stderr) == (0, "")
    assert "\x1b" not in ended.stdout
    assert [line for line in ended.stdout.splitlines() if line.startswith("ECHO: ")] == [
        "ECHO: Hello",
        "ECHO: How are you?",
    ]


@pytest.mark.parametrize("stdin", ["", "exit\n", "\n\n", "hi\nexit\nnever said\n"], ids=repr)
async def test_the_end_of_a_piped_dialog(stdin: str, tmp_path: Path) -> None:
    """The end of the input and `exit` end the dialog in good order, whatever comes behind."""
    ended = await run_miniagents("chat", "--model", "echo", cwd=tmp_path, stdin=stdin)
    assert (ended.status, ended.stderr) == (0, "")
    assert "never said" not in ended.stdout


async def test_without_any_model_it_says_so(tmp_path: Path) -> None:
    """Where nothing is found `eliza` answers, and the first line says plainly that it is no language model."""
    if find_local_servers():
        pytest.skip("a model server runs on this machine")
    ended = await run_miniagents("chat", cwd=tmp_path, stdin="I feel tired\n")
    assert (ended.status, ended.stderr) == (0, "")
    first, second, *_ = ended.stdout.splitlines()
    assert first == "eliza answers, because no model was found. It is an offline program, not a language model."
    assert all(name in second for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "Ollama", "miniagents doctor"))
    assert "tired" in ended.stdout.partition("ELIZA: ")[2]


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
async def test_a_hosted_model_answers(provider: str, tmp_path: Path) -> None:
    """With a key the provider's model answers, is sent the system prompt, and is named in the first line."""
    async with LLMServer() as server:
        ended = await run_miniagents(
            *("chat", "--model", f"{provider}:model-x", "--system", "Be brief."),
            cwd=tmp_path,
            stdin="Hello\nAgain\n",
            environment=environment_for(server),
        )
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.startswith(f"model-x ({provider}) answers, because --model says so.\n")
    assert "MODEL-X: You said: Hello" in ended.stdout
    assert "offline" not in ended.stdout.partition("\n")[0]
    last = server.requests[-1]
    assert last.model == "model-x"
    assert [message["content"] for message in last.messages if message["role"] != "system"] == [
        "Hello",
        "You said: Hello",
        "Again",
    ]
    assert "Be brief." in str(last.body)


async def test_a_key_in_the_environment_is_enough(tmp_path: Path) -> None:
    """Without any option the key decides, and the first line says that it did."""
    async with LLMServer() as server:
        ended = await run_miniagents("chat", cwd=tmp_path, stdin="Hello\n", environment=environment_for(server))
    assert "(openai) answers, because OPENAI_API_KEY is set." in ended.stdout.partition("\n")[0]
    assert "You said: Hello" in ended.stdout


async def test_a_key_in_a_file_is_enough(tmp_path: Path) -> None:
    """Variables in a file `.env` count like those of the environment."""
    async with LLMServer() as server:
        lines = [f"{name}={value}" for name, value in environment_for(server).items()]
        (tmp_path / ".env").write_text("\n".join(lines), encoding="utf-8")
        ended = await run_miniagents("chat", cwd=tmp_path, stdin="Hello\n")
    assert "You said: Hello" in ended.stdout


# ---------------------------------------------------------------------- mistakes, and errors of models


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--model", "gpt-x"], "no provider `gpt-x`"),
        (["--model", "openai"], "OPENAI_API_KEY"),
        (["--model", "echo", "--history", "no such folder/CHAT.md"], "folder does not exist"),
        (["--model", "echo", "--history", "."], "is a folder"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
async def test_a_mistake_is_told_in_one_line(arguments: list[str], problem: str, tmp_path: Path) -> None:
    """What cannot work is told before anything is asked: one line on stderr, status 2."""
    ended = await run_miniagents("chat", *arguments, cwd=tmp_path, stdin="Hello\n")
    assert (ended.status, ended.stdout) == (2, "")
    assert ended.stderr.startswith("miniagents chat: ")
    assert problem in ended.stderr
    assert ended.stderr.count("\n") == 1


async def test_an_unreadable_env_file_is_a_mistake(tmp_path: Path) -> None:
    """A file `.env` that is no text is told, not passed over."""
    (tmp_path / ".env").write_bytes(b"\xff\xfe\x00")
    ended = await run_miniagents("chat", cwd=tmp_path, stdin="Hello\n")
    assert ended.status == 2
    assert ended.stderr.startswith("miniagents chat: the file .env cannot be read")
    assert ended.stderr.count("\n") == 1


async def test_an_error_of_the_model_is_one_line_and_the_dialog_goes_on(tmp_path: Path) -> None:
    """When a turn fails its words stay, the error is one line, and the next turn sends all that was said."""
    fault = Fault("clean_eof", at_token=2, times=1)
    async with LLMServer(fault=fault) as server:
        ended = await run_miniagents(
            *("chat", "--history", "CHAT.md"), cwd=tmp_path, stdin="Hello\nAgain\n", environment=environment_for(server)
        )
    assert (ended.status, ended.stderr) == (0, "")
    errors = [line for line in ended.stdout.splitlines() if line.startswith("ERROR: ")]
    assert len(errors) == 1
    assert errors[0].startswith("ERROR: LLMTruncatedError: ")
    assert "You said: Again" in ended.stdout
    said = [(message["role"], message["content"].strip()) for message in server.requests[-1].messages]
    assert said == [("user", "Hello"), ("assistant", "You said:"), ("user", "Again")]
    assert "LLMTruncatedError" not in (tmp_path / "CHAT.md").read_text(encoding="utf-8")


async def test_a_turn_that_fails_before_its_first_word_leaves_no_message(tmp_path: Path) -> None:
    """An error instead of an answer is shown, and no empty message becomes part of the dialog."""
    async with LLMServer(fault=Fault("status", status=400, times=1)) as server:
        ended = await run_miniagents(
            *("chat", "--history", "CHAT.md"), cwd=tmp_path, stdin="Hello\nAgain\n", environment=environment_for(server)
        )
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.count("ERROR: LLMStatusError: ") == 1
    (said,) = server.requests[-1].messages
    assert [part["text"] for part in said["content"]] == ["Hello", "Again"]


# ---------------------------------------------------------------------- the history


async def test_a_dialog_goes_on_from_its_file(tmp_path: Path) -> None:
    """What was written in one run is sent to the model in the next one."""
    async with LLMServer() as server:
        for said in ("one\n", "two\n"):
            environment = environment_for(server)
            await run_miniagents("chat", "--history", "CHAT.md", cwd=tmp_path, stdin=said, environment=environment)
        contents = [message["content"] for message in server.requests[-1].messages]
    assert contents == ["one", "You said: one", "two"]


# ---------------------------------------------------------------------- on a terminal


async def test_a_dialog_on_a_terminal(tmp_path: Path) -> None:
    """It says who answers and how to end, answers, and ends with Ctrl+D and status 0."""
    async with chat("--model", "eliza", cwd=tmp_path) as terminal:
        await terminal.shows("eliza answers, because --model says so. It is an offline program")
        await terminal.shows("Ctrl+D ends the dialog")
        await terminal.shows("USER:")
        terminal.press("I need a boat", ENTER)
        await terminal.shows("ELIZA:")
        await terminal.shows("a boat")
        await terminal.shows("USER:")
        terminal.press(CTRL_D)
        assert await terminal.ended() == 0


async def test_an_answer_is_shown_while_it_is_made(tmp_path: Path) -> None:
    """Each word of the model is on the screen before the model has said the next one."""
    async with (
        LLMServer(paced=True) as server,
        chat(cwd=tmp_path, **environment_for(server)) as terminal,
    ):
        await terminal.shows("USER:")
        terminal.press("Hello", ENTER)
        for word in ("You", "said:", "Hello"):
            server.release_token()
            await terminal.shows(word)
        await terminal.shows("USER:")
        terminal.press("exit", ENTER)
        assert await terminal.ended() == 0


async def test_escape_sequences_of_a_model_do_not_reach_the_terminal(tmp_path: Path) -> None:
    """What a model says cannot rename the window, not in its text and not in its error."""
    evil = "\x1b]0;evil\x07"
    async with (
        LLMServer(reply=[f"be{evil}fore", " after"], fault=Fault("cut", at_token=2)) as server,
        chat(cwd=tmp_path, **environment_for(server)) as terminal,
    ):
        await terminal.shows("USER:")
        terminal.press("Hello", ENTER)
        await terminal.shows("before after")
        await terminal.shows("ERROR:")
        await terminal.shows("USER:")
        terminal.press(CTRL_D)
        assert await terminal.ended() == 0
    assert "evil" not in terminal._raw


# ---------------------------------------------------------------------- Ctrl+C


async def test_ctrl_c_at_the_prompt(tmp_path: Path) -> None:
    """Ctrl+C at the prompt ends the program with status 130 and without a traceback."""
    async with chat("--model", "echo", cwd=tmp_path) as terminal:
        await terminal.shows("USER:")
        terminal.press("half a line", CTRL_C)
        assert await terminal.ended(within=AT_ONCE_SECONDS) == 130
    assert "Traceback" not in terminal.screen


@pytest.mark.parametrize("tokens", [0, 1], ids=["before the first word", "between two words"])
async def test_ctrl_c_while_the_model_speaks(tokens: int, tmp_path: Path) -> None:
    """Ctrl+C in the midst of an answer ends the program with status 130; what was said is in the history."""
    async with (
        LLMServer(paced=True) as server,
        chat("--history", "CHAT.md", cwd=tmp_path, **environment_for(server)) as terminal,
    ):
        await terminal.shows("USER:")
        terminal.press("Hello", ENTER)
        await server.next_request()
        if tokens:
            server.release_token(tokens)
            await terminal.shows(": You")
        terminal.press(CTRL_C)
        assert await terminal.ended(within=AT_ONCE_SECONDS) == 130
    assert "Traceback" not in terminal.screen
    history = (tmp_path / "CHAT.md").read_text(encoding="utf-8")
    assert "Hello" in history
    assert ("You" in history) is bool(tokens)


async def test_ctrl_c_while_an_sdk_is_imported(tmp_path: Path) -> None:
    """What cannot be cancelled, such as an import in a thread, does not keep the program from ending."""
    package = tmp_path / "stubs" / "openai"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "import threading\nprint('importing', flush=True)\nthreading.Event().wait()\n", encoding="utf-8"
    )
    path = f"{package.parent}:{clean_environment(tmp_path)['PYTHONPATH']}"
    async with chat(cwd=tmp_path, OPENAI_API_KEY="any", PYTHONPATH=path) as terminal:
        await terminal.shows("USER:")
        terminal.press("Hello", ENTER)
        await terminal.shows("importing")
        terminal.press(CTRL_C)
        assert await terminal.ended(within=AT_ONCE_SECONDS) == 130
    assert "Traceback" not in terminal.screen


async def test_ctrl_c_in_a_pipe(tmp_path: Path) -> None:
    """SIGINT while the next line is waited for ends the program with status 130 and nothing on stderr."""
    ended = await interrupted_when_it_says("USER: ", "-m", "miniagents", "chat", "--model", "echo", cwd=tmp_path)
    assert (ended.status, ended.stderr) == (130, "")
