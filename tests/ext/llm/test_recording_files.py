"""The file of a recording: whole lines, whoever writes and however programs end, and a sentence for what is none."""

import asyncio
import fcntl
import json
import logging
import os
import resource
import signal
import stat
from pathlib import Path
from typing import Any

import pytest

from miniagents import MiniAgents
from miniagents.ext.llm import _recording_file
from miniagents.ext.llm._recorded import Recorded
from miniagents.ext.llm._recording_file import RecordingFile
from miniagents.ext.llm.errors import LLMRecordingError
from miniagents.ext.llm.llm_common import llm_agent
from miniagents.ext.llm.recordings import record, record_or_replay, replay
from support.processes import run_python
from support.recorded import Scripted, told

HEADER = '{"miniagents_recording":1}\n'


def recorded(number: int = 1, text: str = "Fine.") -> Recorded:
    return Recorded({"number": number}, [(0.5, text)], 1.0)


def made(path: Path, *answers: Recorded) -> RecordingFile:
    file = RecordingFile(path)
    file.begin()
    for answer in answers:
        file.append(answer)
    return file


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    """Others may neither read nor write a recording, whatever the process allows by default."""
    before = os.umask(0)
    try:
        made(tmp_path / "run.jsonl", recorded())
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "run.jsonl").stat().st_mode) == 0o600


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_torn_last_line_is_left_out_and_overwritten(
    tmp_path: Path, cut: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Wherever a crash has cut the last line: the others are read, a warning tells of it, and the next answer follows."""
    file = made(tmp_path / "run.jsonl", recorded(1), recorded(2))
    file.path.write_bytes(file.path.read_bytes()[:-cut])
    assert file.answers() == [recorded(1)]
    (warning,) = caplog.records
    assert warning.levelno == logging.WARNING
    assert "is not complete, and is left out" in warning.getMessage()
    file.append(recorded(3))
    assert file.answers() == [recorded(1), recorded(3)]


def test_a_torn_first_line_is_an_empty_recording(tmp_path: Path) -> None:
    """A program that ended while it began a recording leaves one that another can begin."""
    path = tmp_path / "run.jsonl"
    path.write_text(HEADER[:9])
    assert not RecordingFile(path).has_answers()
    assert made(path, recorded()).answers() == [recorded()]


FOREIGN = {
    "a text": b"Dear diary",
    "a text with lines": b"Dear\ndiary\n",
    "JSON": b'{"a": 1}\n{"b": 2}\n',
    "a list": b"[]\n",
    "bytes": b"\x00\xff\n",
    "a deep one": b"[" * 100_000 + b"\n",
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_what_is_no_recording_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    """A file that is something else is neither read nor written, whichever way it is opened."""
    path = tmp_path / "diary.txt"
    path.write_bytes(content)
    for opened in (record(path), record(path, append=True), record_or_replay(path), replay(path)):
        with pytest.raises(LLMRecordingError, match="is no recording of MiniAgents"), opened:
            pytest.fail("it was opened")
    with pytest.raises(LLMRecordingError, match="is no recording of MiniAgents"):
        RecordingFile(path).append(recorded())
    assert path.read_bytes() == content


def test_a_recording_of_another_version_says_what_to_do(tmp_path: Path) -> None:
    """What a later version has written is not guessed at, and not added to."""
    path = tmp_path / "run.jsonl"
    path.write_text('{"miniagents_recording":2}\n{"anything":1}\n')
    for opened in (replay(path), record(path, append=True), record_or_replay(path)):
        with pytest.raises(LLMRecordingError, match=r"is of version 2, .* knows version 1: record it again"), opened:
            pytest.fail("it was opened")


BROKEN = {
    "no JSON": "{",
    "no object": "7",
    "a text": '"x"',
    "no events": '{"request":{},"seconds":1}',
    "a request that is none": '{"request":[],"events":[],"seconds":1}',
    "an unknown event": '{"request":{},"events":[[0,{"song":"la"}]],"seconds":1}',
    "a number as an event": '{"request":{},"events":[[0,7]],"seconds":1}',
    "an event without a time": '{"request":{},"events":["x"],"seconds":1}',
    "a piece with another field": '{"request":{},"events":[[0,{"thinking":{"x":1}}]],"seconds":1}',
    "a piece with a number": '{"request":{},"events":[[0,{"thinking":{"text":1}}]],"seconds":1}',
    "a call without its number": '{"request":{},"events":[[0,{"tool_call":{"tool":"x"}}]],"seconds":1}',
    "an error of another class": '{"request":{},"events":[],"seconds":1,"error":{"kind":"SystemExit","text":"0"}}',
    "an error with other fields": '{"request":{},"events":[],"seconds":1,"error":{"kind":"LLMError","text":"","x":1}}',
    "an error without words": '{"request":{},"events":[],"seconds":1,"error":{"kind":"LLMError","text":5}}',
    "a deep one": "[" * 100_000,
}


@pytest.mark.parametrize("line", BROKEN.values(), ids=BROKEN)
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    """A line that was edited into something else is an error with its number, before anything is asked."""
    path = tmp_path / "run.jsonl"
    path.write_text(f"{HEADER}{json.dumps(recorded().to_json())}\n{line}\n")
    with pytest.raises(LLMRecordingError, match=r"Line 3 of the recording .*run\.jsonl cannot be read"), replay(path):
        pytest.fail("it was opened")


def test_a_replay_of_nothing_says_what_to_do(tmp_path: Path) -> None:
    """Without a file there is an error with its path, and no file is made."""
    words = r"There is no recording .*run\.jsonl: make one with `record`"
    with pytest.raises(LLMRecordingError, match=words), replay(tmp_path / "run.jsonl"):
        pytest.fail("it was opened")
    assert not list(tmp_path.iterdir())


def test_answers_are_not_overwritten(tmp_path: Path) -> None:
    """Who records where there are answers already is told so, and `append` adds to them."""
    path = tmp_path / "run.jsonl"
    file = made(path, recorded(1))
    with pytest.raises(LLMRecordingError, match="There are answers in the recording"), record(path):
        pytest.fail("it was opened")
    with record(path, append=True):
        file.append(recorded(2))
    assert file.answers() == [recorded(1), recorded(2)]


def asked(answer: str) -> None:
    asyncio.run(told(llm_agent, provider=Scripted([answer]), model="m"))


def test_a_recording_is_replaced_when_its_block_has_ended_well(tmp_path: Path) -> None:
    """Until the block ends the recording is as it was; then it has the new answers only, also behind a link."""
    (tmp_path / "real").mkdir()
    file = made(tmp_path / "real" / "run.jsonl", recorded(1), recorded(2))
    link = tmp_path / "link.jsonl"
    link.symlink_to(file.path)
    with record(link, replace=True):
        asked("new")
        assert file.answers() == [recorded(1), recorded(2)]
    assert link.is_symlink()
    assert [answer.events[0][1] for answer in file.answers()] == ["new"]
    assert list(file.path.parent.iterdir()) == [file.path]


def test_a_block_that_fails_leaves_the_recording_that_it_was_to_replace(tmp_path: Path) -> None:
    """The old answers stay, those that came before the failure are beside them, and the next attempt begins anew."""
    path = tmp_path / "run.jsonl"
    file = made(path, recorded(1))
    with pytest.raises(ZeroDivisionError), record(path, replace=True):
        asked("half")
        raise ZeroDivisionError
    assert file.answers() == [recorded(1)]
    assert [answer.events[0][1] for answer in RecordingFile(tmp_path / "run.jsonl.new").answers()] == ["half"]
    with pytest.raises(ZeroDivisionError), record(path, replace=True):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == [path]


def test_a_recording_that_is_not_complete_replaces_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If an answer could not be written the old recording stays, however the block ends."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    file = made(tmp_path / "run.jsonl", recorded(1))
    with record(file.path, replace=True):
        with monkeypatch.context() as patched:
            patched.setattr(RecordingFile, "append", full)
            asked("lost")
        asked("kept")
    assert file.answers() == [recorded(1)]


def test_an_answer_that_comes_after_the_block_is_in_the_new_recording(tmp_path: Path) -> None:
    """What was asked in the block and is answered behind it is not lost."""
    path = made(tmp_path / "run.jsonl", recorded(1)).path

    async def main() -> None:
        async with MiniAgents():
            with record(path, replace=True):
                replies = llm_agent.inquire("Hi", provider=Scripted(["late"]), model="m")
            await replies

    asyncio.run(main())
    assert [answer.events[0][1] for answer in RecordingFile(path).answers()] == ["late"]
    assert list(tmp_path.iterdir()) == [path]


def test_only_recordings_are_replaced(tmp_path: Path) -> None:
    """One of another version is; what is something else, there or beside it, is left alone; `append` contradicts."""
    path, beside = tmp_path / "run.jsonl", tmp_path / "run.jsonl.new"
    path.write_text("Dear diary")
    with pytest.raises(LLMRecordingError, match="is no recording of MiniAgents"), record(path, replace=True):
        pytest.fail("it was opened")
    path.write_text('{"miniagents_recording":2}\n{"anything":1}\n')
    beside.write_text("Dear diary")
    with pytest.raises(LLMRecordingError, match=r"new is no recording of MiniAgents"), record(path, replace=True):
        pytest.fail("it was opened")
    assert beside.read_text() == "Dear diary"
    beside.unlink()
    with pytest.raises(LLMRecordingError, match="either"), record(path, replace=True, append=True):
        pytest.fail("it was opened")
    with record(path, replace=True):
        asked("new")
    assert [answer.events[0][1] for answer in RecordingFile(path).answers()] == ["new"]


@pytest.mark.parametrize("opened", [record, record_or_replay])
def test_a_first_recording_that_fails_leaves_no_empty_file(tmp_path: Path, opened: Any) -> None:
    """Who fails before a model has answered leaves nothing, who fails later leaves what was answered."""
    path = tmp_path / "run.jsonl"
    with pytest.raises(ZeroDivisionError), opened(path):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ZeroDivisionError), opened(path):
        asked("first")
        raise ZeroDivisionError
    assert [answer.events[0][1] for answer in RecordingFile(path).answers()] == ["first"]


@pytest.mark.parametrize("place", ["folder", "missing/run.jsonl", "folder/../pipe"])
def test_a_place_that_cannot_be_written_is_told_at_once(tmp_path: Path, place: str) -> None:
    """A folder, a file in a folder that is not there, and a pipe are refused before anything is asked."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(LLMRecordingError, match=r"cannot be used|is no file"), record(tmp_path / place):
        pytest.fail("it was opened")


def test_a_full_disk_leaves_the_lines_before_it(tmp_path: Path) -> None:
    """An answer that does not fit is not there at all, and what comes later, when there is room, is."""
    file = made(tmp_path / "run.jsonl", recorded(1))
    size = file.path.stat().st_size
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            file.append(recorded(2, "x" * 5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert file.path.stat().st_size == size
    file.append(recorded(3))
    assert file.answers() == [recorded(1), recorded(3)]


def test_a_line_is_written_under_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one program writes, no other one can take the lock of the file."""
    file = made(tmp_path / "run.jsonl")
    write = _recording_file._write
    refused: list[bool] = []

    def looked_at(descriptor: int, line: bytes) -> None:
        with file.path.open("rb") as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        refused.append(True)
        write(descriptor, line)

    monkeypatch.setattr(_recording_file, "_write", looked_at)
    file.append(recorded())
    assert refused == [True]


WRITER = """
import sys
from miniagents.ext.llm._recorded import Recorded
from miniagents.ext.llm.recordings import record
from miniagents.ext.llm._recording_file import RecordingFile
with record(sys.argv[1], append=True):
    for number in range(50):
        RecordingFile(sys.argv[1]).append(Recorded({"who": sys.argv[2], "number": number}, [(0.0, "x" * 20_000)], 1.0))
"""


async def test_two_programs_write_to_one_file(tmp_path: Path) -> None:
    """All answers of both are there, whole, each program's in order."""

    path = tmp_path / "run.jsonl"
    ended = await asyncio.gather(*(run_python("-c", WRITER, path, who, cwd=tmp_path) for who in "ab"))
    assert [one.status for one in ended] == [0, 0], ended
    answers = RecordingFile(path).answers()
    for who in "ab":
        assert [one.request["number"] for one in answers if one.request["who"] == who] == list(range(50))


CRASHER = """
import asyncio, os, sys
sys.path[:0] = [sys.argv[2]]
from support.recorded import Scripted
from miniagents import MiniAgents
from miniagents.ext.llm.llm_common import llm_agent
from miniagents.ext.llm.recordings import record

async def main():
    async with MiniAgents():
        with record(sys.argv[1], replace=True):
            await llm_agent.inquire("Hi", provider=Scripted(["Fine."]), model="m")
            os.kill(os.getpid(), 9)

asyncio.run(main())
"""


async def test_an_answer_that_somebody_has_is_on_the_disk(tmp_path: Path) -> None:
    """A program that is killed right behind a complete answer leaves that answer in the recording."""
    path = tmp_path / "run.jsonl"
    tests = Path(__file__).parents[2]
    ended = await run_python("-c", CRASHER, path, tests, cwd=tmp_path)
    assert ended.status == -9, ended
    assert [event for _, event in RecordingFile(path).answers()[0].events] == ["Fine."]


async def test_a_crash_destroys_neither_the_old_answers_nor_the_new_ones(tmp_path: Path) -> None:
    """A program that is killed while it records anew leaves the recording as it was, and its answers beside it."""
    file = made(tmp_path / "run.jsonl", recorded(1))
    ended = await run_python("-c", CRASHER, file.path, Path(__file__).parents[2], cwd=tmp_path)
    assert ended.status == -9, ended
    assert file.answers() == [recorded(1)]
    assert [event for _, event in file.beside().answers()[0].events] == ["Fine."]
