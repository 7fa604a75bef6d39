"""`ChatHistoryMD`: what agents say is in a Markdown file while they say it, and stays there."""

import asyncio
import errno
import io
import os
import re
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miniagents import Message, MessagePromise, MiniAgents, MiniAgentsError
from miniagents.ext import _chat_file
from miniagents.ext.chat_history_md import ChatHistoryError, ChatHistoryMD
from miniagents.ext.llm.llm_common import AssistantMessage, SystemMessage, UserMessage
from support.processes import DEADLINE_SECONDS, clean_environment

if sys.platform != "win32":
    import fcntl

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX files")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "CHAT.md"


class Speaker:
    """A message of which the test says the tokens, one by one."""

    def __init__(self, **metadata: Any) -> None:
        self._said: asyncio.Queue[str | BaseException | None] = asyncio.Queue()
        self.promise: MessagePromise = Message.promise(self._stream, **metadata)

    def say(self, *tokens: str | BaseException | None) -> None:
        """Tokens; an exception, with which the message fails; None, with which it ends."""
        for token in tokens:
            self._said.put_nowait(token)

    async def _stream(self, metadata: dict[str, Any]) -> AsyncIterator[str]:
        while (token := await self._said.get()) is not None:
            if isinstance(token, BaseException):
                raise token
            yield token


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 (a file sets no event)
        await asyncio.sleep(0.001)


def content_of(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


def list_of(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def remove(path: Path) -> None:
    path.unlink()


def save(path: Path, content: str, mode: int = 0o600) -> None:
    """Save as many editors do: a new file takes the place of the old one."""
    new = path.with_name("new")
    new.write_bytes(content.encode())
    new.chmod(mode)
    new.replace(path)


async def test_messages_come_back_in_their_roles(path: Path) -> None:
    """What was logged is loaded by any other history of the file: class, role, model and text."""
    history = ChatHistoryMD(path)
    async with MiniAgents():
        await history.logging_agent.inquire(
            [
                SystemMessage("Be brief."),
                UserMessage("Hi!\n\nsystem\n======\n\n"),
                AssistantMessage("Hello\r\n", model="gpt-5"),
                Message("42", role="tool"),
                Message("No.", role="Critic", model="m"),
                "and a plain text",
            ]
        )
    assert await ChatHistoryMD(path).aload_chat_history() == (
        SystemMessage("Be brief."),
        UserMessage("Hi!\n\nsystem\n======\n\n"),
        AssistantMessage("Hello\r\n", model="gpt-5"),
        Message("42", role="tool"),
        Message("No.", role="Critic", model="m"),
        UserMessage("and a plain text"),
    )


@settings(max_examples=30)
@given(texts=st.lists(st.text(st.characters()) | st.sampled_from(["", "\n", "user\n==", "\ud83d"]), max_size=4))
def test_every_text_comes_back(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    """Any texts, logged one after the other, are the texts that are loaded."""
    history = ChatHistoryMD(tmp_path_factory.mktemp("chat") / "CHAT.md")

    async def log_and_load() -> tuple[Message, ...]:
        for text in texts:
            await history.logging_agent.inquire(AssistantMessage(text))
        return await history.aload_chat_history()

    assert [message.text for message in MiniAgents().run(log_and_load())] == texts


async def test_role_and_model_are_written_before_the_text(path: Path) -> None:
    """A heading names what is known of a message before its text: what was given, and what its class declares."""
    history = ChatHistoryMD(path)
    async with MiniAgents():
        speaker = Speaker(role="assistant", model="gpt-5")
        replies = history.logging_agent.inquire(speaker.promise)
        speaker.say("Once")
        await until(lambda: content_of(path) == "assistant / gpt-5\n=================\n\nOnce")
        speaker.say(None)
        await replies
        await history.logging_agent.inquire(SystemMessage.promise(lambda _: one("Twice")))
    assert "\nsystem\n======\n\nTwice\n" in content_of(path)


async def one(token: str) -> AsyncIterator[str]:
    yield token


async def test_tokens_are_in_the_file_while_the_message_streams(path: Path) -> None:
    """Each token reaches the file before the next one is there."""
    history = ChatHistoryMD(path)
    async with MiniAgents():
        speaker = Speaker(role="assistant")
        history.logging_agent.inquire(speaker.promise)
        for count in range(1, 5):
            speaker.say("word ")
            await until(lambda count=count: content_of(path).endswith("\n\n" + "word " * count))
        speaker.say(None)


async def test_tokens_are_passed_on_while_the_message_streams(path: Path) -> None:
    """Whoever reads the reply of the logging agent has each token before the next one is there."""
    history = ChatHistoryMD(path)
    async with MiniAgents():
        speaker = Speaker(role="assistant")
        async for promise in history.logging_agent.inquire(speaker.promise):
            tokens = aiter(promise)
            for word in ["one", "two"]:
                speaker.say(word)
                assert await anext(tokens) == word
            speaker.say(None)


async def test_a_fast_stream_is_written_in_few_steps(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens that come faster than the disk takes them are written together."""
    writes: list[str] = []
    write = _chat_file._EntryFile.write
    monkeypatch.setattr(_chat_file._EntryFile, "write", lambda self, text: (writes.append(text), write(self, text)))

    async def fast(_: dict[str, Any]) -> AsyncIterator[str]:
        for _ in range(10_000):
            yield "x"

    history = ChatHistoryMD(path)
    async with MiniAgents():
        await history.logging_agent.inquire(Message.promise(fast))
    assert content_of(path) == "user\n====\n\n" + "x" * 10_000 + "\n"
    assert len(writes) < 1000


async def test_an_entry_is_on_disk_before_the_reply_ends(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the logging agent has replied, the disk was asked to keep the whole entry, and the name of the new file."""
    synced: list[str] = []

    def fsync(file: object) -> None:
        synced.append("the folder" if isinstance(file, int) else content_of(path))

    monkeypatch.setattr(os, "fsync", fsync)
    history = ChatHistoryMD(path)
    async with MiniAgents():
        await history.logging_agent.inquire("Hi!")
        assert synced == ["user\n====\n\nHi!\n", *["the folder"] * (sys.platform != "win32")]
        await history.logging_agent.inquire("Bye!")
        assert synced[-1].endswith("\nuser\n====\n\nBye!\n")


@posix_only
async def test_a_new_file_is_private(path: Path) -> None:
    """The file is made for its owner only."""
    async with MiniAgents():
        await ChatHistoryMD(path).logging_agent.inquire("Hi!")
    assert mode_of(path) == 0o600


@posix_only
async def test_an_existing_file_keeps_its_mode(path: Path) -> None:
    """Who may read a file that was there before is not changed."""
    save(path, "", mode=0o644)
    async with MiniAgents():
        await ChatHistoryMD(path).logging_agent.inquire("Hi!")
    assert mode_of(path) == 0o644


async def test_nothing_is_made_before_something_is_said(path: Path) -> None:
    """Without a message there is no file, and a history without a file is empty."""
    assert await ChatHistoryMD(path).aload_chat_history() == ()
    assert list_of(path.parent) == []


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("missing/CHAT.md", "make the folder first"),
        (".", "is a folder: name a file in it"),
        ("file/CHAT.md", "cannot be used"),
        ("null\0character", "null"),
        ("n" * 1000, "too long"),
    ],
)
def test_an_unusable_path_is_refused_at_once(tmp_path: Path, name: str, problem: str) -> None:
    """A history that could never be written says so, and why, when it is made."""
    (tmp_path / "file").touch()
    with pytest.raises(ChatHistoryError, match=problem) as refused:
        ChatHistoryMD(tmp_path / name)
    assert isinstance(refused.value, MiniAgentsError)
    assert isinstance(refused.value, OSError)


@posix_only
@pytest.mark.parametrize("protected", ["CHAT.md", "."])
def test_a_protected_file_or_folder_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protected: str
) -> None:
    """A file that may not be written, or a folder in which none may be made, is found out when the history is made."""
    if protected != ".":
        (tmp_path / protected).touch()
    # The tests may run as a user whom no mode keeps out.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path / protected)
    with pytest.raises(ChatHistoryError, match="may not read and write"):
        ChatHistoryMD(tmp_path / "CHAT.md")


async def test_a_relative_path_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that changes its working directory keeps its history."""
    monkeypatch.chdir(tmp_path)
    history = ChatHistoryMD("CHAT.md")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    async with MiniAgents():
        await history.logging_agent.inquire("Hi!")
    assert (tmp_path / "CHAT.md").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
async def test_a_full_disk_is_an_error_after_the_messages() -> None:
    """The messages are passed on whole; then comes an error that says what to think of."""
    history = ChatHistoryMD("/dev/full")
    async with MiniAgents():
        *messages, error = await history.logging_agent.inquire(["one", "two"]).settled()
    assert messages == [Message("one"), Message("two")]
    assert isinstance(error, ChatHistoryError)
    assert re.search(r"/dev/full could not be written: No space left.* passed on", str(error))
    assert isinstance(error.__cause__, OSError)
    assert error.__cause__.errno == errno.ENOSPC


async def test_a_disk_that_fails_for_one_message_takes_the_next(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry that could not be written whole is an error; the entries around it are not its victims."""
    write = _chat_file._EntryFile.write

    def write_or_fail(self: Any, text: str) -> None:
        if text == "two":
            raise OSError(errno.EIO, "Input/output error")
        write(self, text)

    monkeypatch.setattr(_chat_file._EntryFile, "write", write_or_fail)
    history = ChatHistoryMD(path)
    async with MiniAgents():
        *messages, error = await history.logging_agent.inquire(["one", "two", "three"]).settled()
    assert messages == [Message("one"), Message("two"), Message("three")]
    assert isinstance(error, ChatHistoryError)
    loaded = await history.aload_chat_history()
    assert [message.text for message in loaded if message.text] == ["one", "three"]


async def test_a_failed_fsync_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the disk may not have kept does not count as written."""

    def fsync(_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    async with MiniAgents():
        with pytest.raises(ChatHistoryError, match="Input/output error"):
            await ChatHistoryMD(path).logging_agent.inquire("Hi!")


async def test_a_disk_that_takes_little_at_a_time_gets_all(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that takes only a part of what it is given is followed by one for the rest."""

    class Reluctant(io.FileIO):
        def write(self, data: Any) -> int:
            return super().write(data[:3])

    monkeypatch.setattr(
        _chat_file, "open", lambda path, mode, buffering, opener: Reluctant(path, "a+", opener=opener), raising=False
    )
    history = ChatHistoryMD(path)
    async with MiniAgents():
        await history.logging_agent.inquire("Hello, world!")
    assert content_of(path) == "user\n====\n\nHello, world!\n"


async def test_a_device_is_no_problem() -> None:
    """Where nothing can be kept, such as the null device, nothing is, and that is no error."""
    history = ChatHistoryMD(os.devnull)
    async with MiniAgents():
        assert await history.logging_agent.inquire("Hi!") == (Message("Hi!"),)
    assert await history.aload_chat_history() == ()


async def test_a_slow_disk_keeps_the_order(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens that come while the disk is busy are written after those before them, also at the end of a message."""
    write = _chat_file._EntryFile.write
    busy, free = threading.Event(), threading.Event()

    def write_slowly(self: Any, text: str) -> None:
        if busy.is_set():
            time.sleep(0.2)  # never reached, unless something is written beside the end of the entry
        busy.set()
        assert free.wait(DEADLINE_SECONDS)
        write(self, text)

    monkeypatch.setattr(_chat_file._EntryFile, "write", write_slowly)
    async with MiniAgents():
        speaker = Speaker()
        ChatHistoryMD(path).logging_agent.inquire(speaker.promise)
        speaker.say("one ")
        await until(busy.is_set)
        speaker.say("two ", "three", None)
        await speaker.promise
        asyncio.get_running_loop().call_later(0.01, free.set)
    assert content_of(path) == "user\n====\n\none two three\n"


async def test_a_cancellation_while_the_disk_is_busy_is_not_lost(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelled while an entry is being completed, a history completes it and writes nothing more."""
    finish = _chat_file._EntryFile.finish
    busy, free = threading.Event(), threading.Event()

    def finish_slowly(self: Any, text: str) -> bool:
        busy.set()
        assert free.wait(DEADLINE_SECONDS)
        return finish(self, text)

    monkeypatch.setattr(_chat_file._EntryFile, "finish", finish_slowly)

    async def interrupted() -> None:
        async with MiniAgents():
            ChatHistoryMD(path).logging_agent.inquire(["one", "two"])
            await until(busy.is_set)
            asyncio.get_running_loop().call_soon(free.set)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await interrupted()
    assert content_of(path) == "user\n====\n\none\n"


async def test_a_cancellation_at_the_first_token_does_not_lose_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelled before the heading is on the disk, a history still writes down what had come of the message."""
    begin = _chat_file._EntryFile.begin
    busy, free = threading.Event(), threading.Event()

    def begin_slowly(self: Any) -> bool:
        busy.set()
        assert free.wait(DEADLINE_SECONDS)
        return begin(self)

    monkeypatch.setattr(_chat_file._EntryFile, "begin", begin_slowly)

    async def interrupted() -> None:
        async with MiniAgents():
            speaker = Speaker()
            ChatHistoryMD(path).logging_agent.inquire(speaker.promise)
            speaker.say("one")
            await until(busy.is_set)
            asyncio.get_running_loop().call_soon(free.set)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await interrupted()
    assert content_of(path) == "user\n====\n\none\n"


async def test_a_failing_disk_does_not_stop_a_cancellation(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelled while it writes to a disk that fails, a history ends, and does not go on with the next message."""

    def fsync(_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)

    async def interrupted() -> None:
        async with MiniAgents():
            speaker = Speaker()
            ChatHistoryMD(path).logging_agent.inquire([speaker.promise, "two"])
            speaker.say("one")
            await until(lambda: "one" in content_of(path))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await interrupted()
    assert content_of(path) == "user\n====\n\none\n"


async def test_what_was_said_before_a_failure_stays(path: Path) -> None:
    """Of a message that breaks off the beginning is kept; its error goes to the reader, and to nobody else."""
    history = ChatHistoryMD(path)
    async with MiniAgents():
        broken = Speaker(role="assistant")
        replies = history.logging_agent.inquire([broken.promise, "after"])
        broken.say("Once upon", ConnectionResetError("gone"))
        beginning, after = await replies.settled()
    assert isinstance(beginning, ConnectionResetError)
    assert after == Message("after")
    assert await history.aload_chat_history() == (AssistantMessage("Once upon"), UserMessage("after"))


async def test_a_message_that_fails_before_it_begins_leaves_nothing(path: Path) -> None:
    """Where nothing was said, nothing is written, not even a heading."""
    history = ChatHistoryMD(path)
    async with MiniAgents():
        broken = Speaker(role="assistant")
        broken.say(ConnectionResetError("gone"))
        with pytest.raises(ConnectionResetError):
            await history.logging_agent.inquire(broken.promise)
    assert list_of(path.parent) == []


async def test_an_error_among_the_messages_is_passed_on(path: Path) -> None:
    """An exception in the place of a message is raised for the reader; what came before it is written."""
    history = ChatHistoryMD(path)
    async with MiniAgents():
        with pytest.raises(ZeroDivisionError):
            await history.logging_agent.inquire(["before", ZeroDivisionError()])
    assert await history.aload_chat_history() == (UserMessage("before"),)


async def test_an_empty_message_is_an_entry(path: Path) -> None:
    """A message without any token is a turn with an empty text."""
    history = ChatHistoryMD(path)
    async with MiniAgents():
        silent = Speaker(role="assistant")
        silent.say(None)
        await history.logging_agent.inquire([silent.promise, UserMessage("")])
    assert await history.aload_chat_history() == (AssistantMessage(""), UserMessage(""))


@pytest.mark.parametrize(
    ("contexts", "locks"),
    [(1, True), pytest.param(2, True, marks=posix_only), (1, False)],
    ids=["one context", "two contexts", "a file system without locks"],
)
async def test_writers_do_not_interleave(
    path: Path, monkeypatch: pytest.MonkeyPatch, contexts: int, locks: bool
) -> None:
    """Two histories of one file write one entry after the other, however their tokens come."""
    if not locks:
        monkeypatch.setattr(_chat_file, "_lock", lambda file: True)
    histories = [ChatHistoryMD(path), ChatHistoryMD(path)]

    async def log(history: ChatHistoryMD, speaker: Speaker) -> None:
        await history.logging_agent.inquire(speaker.promise)

    async def log_in_own_context(history: ChatHistoryMD, name: str) -> None:
        async with MiniAgents():
            speaker = Speaker(role=name)
            speakers.append(speaker)
            await log(history, speaker)

    speakers: list[Speaker] = []
    async with asyncio.TaskGroup() as tasks, MiniAgents():
        for history, name in zip(histories, ["assistant", "user"], strict=True):
            if contexts == 2:
                tasks.create_task(log_in_own_context(history, name))
            else:
                speakers.append(Speaker(role=name))
                tasks.create_task(log(history, speakers[-1]))
        await until(lambda: len(speakers) == 2)
        for _ in range(3):
            for speaker in speakers:
                speaker.say("a", "b")
            await until(lambda: path.exists())
        for speaker in speakers:
            speaker.say(None)
    loaded = await ChatHistoryMD(path).aload_chat_history()
    assert sorted(loaded, key=lambda message: type(message).__name__) == [
        AssistantMessage("ababab"),
        UserMessage("ababab"),
    ]


@posix_only
async def test_another_program_completes_its_entry_first(path: Path) -> None:
    """While somebody else holds the lock of the file nothing is written; then everything is."""
    history = ChatHistoryMD(path)
    async with MiniAgents():
        with path.open("ab") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            replies = history.logging_agent.inquire("Hi!")
            async for promise in replies:
                assert str(await promise) == "Hi!"
                break
            assert content_of(path) == ""
        await replies
    assert content_of(path) == "user\n====\n\nHi!\n"


async def test_leaving_by_an_error_keeps_what_was_said(path: Path) -> None:
    """A program that is interrupted while a message streams leaves a complete entry of what has arrived."""
    history = ChatHistoryMD(path)

    async def interrupted() -> None:
        async with MiniAgents():
            speaker = Speaker(role="assistant")
            history.logging_agent.inquire(speaker.promise)
            speaker.say("Once upon a time\n")
            await until(lambda: "time" in content_of(path))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await interrupted()
    assert content_of(path) == "assistant\n=========\n\nOnce upon a time&#10;\n"


@posix_only
async def test_a_history_that_waits_for_another_program_can_be_cancelled(path: Path) -> None:
    """Leaving a context by an error does not wait for the lock of somebody else."""
    history = ChatHistoryMD(path)

    async def interrupted() -> None:
        async with MiniAgents():
            async for promise in history.logging_agent.inquire("Hi!"):
                await promise
                raise KeyboardInterrupt

    with path.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(KeyboardInterrupt):
            await interrupted()
    assert content_of(path) == ""


async def test_a_file_may_be_edited_between_turns(path: Path) -> None:
    """What a person changes is what is loaded, and the next entry begins on a line of its own."""
    history = ChatHistoryMD(path)
    async with MiniAgents():
        await history.logging_agent.inquire("Hi!")
        edited = content_of(path).replace("Hi!", "Hello!") + "\nAssistant\n----\nHow can I help"
        save(path, edited.replace("\n", "\r\n"))
        await history.logging_agent.inquire("Bye!")
    assert await history.aload_chat_history() == (
        UserMessage("Hello!"),
        AssistantMessage("How can I help"),
        UserMessage("Bye!"),
    )


@pytest.mark.parametrize("saved", ["user\n====\n\nHi there!\n", None])
async def test_a_file_that_is_replaced_while_a_message_streams_gets_the_message(path: Path, saved: str | None) -> None:
    """An editor that puts a new file in the place of the old one, or removes it, takes nothing of the message away."""
    history = ChatHistoryMD(path)
    async with MiniAgents():
        await history.logging_agent.inquire("Hi!")
        speaker = Speaker(role="assistant")
        replies = history.logging_agent.inquire(speaker.promise)
        speaker.say("Hel")
        await until(lambda: content_of(path).endswith("Hel"))
        if saved is None:
            remove(path)
        else:
            save(path, saved)
        speaker.say("lo!", None)
        await replies
    before = (UserMessage("Hi there!"),) if saved else ()
    assert await history.aload_chat_history() == (*before, AssistantMessage("Hello!"))


def test_bad_bytes_do_not_make_the_file_unreadable(path: Path) -> None:
    """One byte that is no text costs itself only."""
    path.write_bytes(b"user\n====\n\nHi\xff!\n\nassistant\n===\n\nHello\n")
    loaded = asyncio.run(ChatHistoryMD(path).aload_chat_history())
    assert loaded == (UserMessage("Hi\ufffd!"), AssistantMessage("Hello"))


def test_a_file_that_cannot_be_read_is_a_clear_error(path: Path) -> None:
    """A history whose file has become something else says so when it is loaded."""
    history = ChatHistoryMD(path)
    path.mkdir()
    with pytest.raises(ChatHistoryError, match="could not be read"):
        asyncio.run(history.aload_chat_history())


async def test_one_object_serves_several_runs(path: Path) -> None:
    """A history can be used again in another event loop."""
    history = ChatHistoryMD(path)
    for text in ["one", "two"]:
        await asyncio.to_thread(MiniAgents().run, history.logging_agent.inquire(text))
    assert await history.aload_chat_history() == (UserMessage("one"), UserMessage("two"))


KILLED_PROGRAM = """
import asyncio, sys
from miniagents import Message, MiniAgents
from miniagents.ext.chat_history_md import ChatHistoryMD

async def story(metadata):
    for number in range(1_000_000):
        yield f"{number} "
        await asyncio.sleep(0)
        if number == 100:
            print("streaming", flush=True)

async def main():
    history = ChatHistoryMD(sys.argv[1])
    async with MiniAgents():
        await history.logging_agent.inquire(["one", "two\\n"])
        await history.logging_agent.inquire(Message.promise(story, role="assistant"))

asyncio.run(main())
"""


@posix_only
async def test_a_killed_program_loses_nothing_that_it_had_completed(path: Path) -> None:
    """After a SIGKILL in the middle of a message the entries before it load exactly, and of it a beginning."""
    environment = clean_environment(path.parent)
    source = str(Path(_chat_file.__file__).parents[2])
    environment["PYTHONPATH"] = os.pathsep.join([environment["PYTHONPATH"], source])
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED_PROGRAM, path, env=environment, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert await process.stdout.readline() == b"streaming\n"
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()

    history = ChatHistoryMD(path)
    async with MiniAgents():
        await history.logging_agent.inquire("next")
    first, second, *torn, last = await history.aload_chat_history()
    assert (first, second, last) == (UserMessage("one"), UserMessage("two\n"), UserMessage("next"))
    story = "".join(f"{number} " for number in range(1_000_000))
    assert all(isinstance(message, AssistantMessage) and story.startswith(str(message)) for message in torn)
    assert len(torn) <= 1
