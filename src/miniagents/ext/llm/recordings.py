"""Recordings: what models have answered, in a file, to be answered again without a model, a key or the network.

```python
with record("answers.jsonl"):           # asks the providers, and writes down what they answer
    run(main())
with replay("answers.jsonl"):           # gives the same answers, and asks nobody
    run(main())
with record_or_replay("answers.jsonl"): # records if there is no recording yet
    run(main())
```

All LLM agents in the block, and in what it starts, take part. An answer comes back as it came: the same pieces of text,
thoughts and calls of tools in the same order, the same metadata, and an error at its place, of its class and with its
fields. A replay makes no client, imports no SDK, needs no key and waits for no limit.

A request is found again by what decides about its answer: provider, model, whether it streams, the prompt with all its
parts, tools, the answer's schema and the parameters. Keys, addresses, headers and time-outs do not count and are not
written; secrets that stand elsewhere are `<secret>`. **What was said is written as it was said**: a file that is shown
to others shows them the dialog.

`no_real_requests()`, or `MINIAGENTS_OFFLINE=1` in the environment, forbids requests that leave this machine.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from miniagents.ext.llm._offline import no_real_requests
from miniagents.ext.llm._recorder import Recorder, Recording, Replay, current_recording
from miniagents.ext.llm._recording_file import RecordingFile
from miniagents.ext.llm.errors import LLMRecordingError

__all__ = ["no_real_requests", "record", "record_or_replay", "replay"]


@contextmanager
def record(path: str | os.PathLike[str], *, append: bool = False, replace: bool = False) -> Iterator[None]:
    """Write down what providers answer in this block, in the file at `path`, which is made for its owner only.

    An answer is complete for its readers when it is on the disk. With several attempts the last one counts. An answer
    that whoever asked has broken off is recorded as far as it came. If the disk fails, that is logged, and the answers
    go on; several programs may write to one file. A block that fails before anything was answered leaves no file.

    With `replace` a recording that is there already is made anew, by one program at a time: what is answered is written
    to `<path>.new`, which takes its place when the block has ended without an exception and all of it could be written.
    Otherwise the recording is as it was, and what was answered stays in `<path>.new`, until the next attempt.

    Raises `LLMRecordingError`, at once, if the file cannot be written, is something else, or has answers already and
    neither `append` nor `replace` says what is to become of them.
    """
    file = RecordingFile(path)
    if append and replace:
        raise LLMRecordingError("A recording is either added to or replaced: give `append` or `replace`.")
    if replace and file.path.exists():
        file.check_replaceable()
        beside = file.beside()
        beside.remove()
        with _recorded_in(beside) as recorder:
            yield
        recorder.move_to(file.path.resolve())
        return
    if not append and file.has_answers():
        raise LLMRecordingError(
            f"There are answers in the recording {file.path} already. To record anew, delete the file, or use "
            "`record(..., replace=True)`; to add to it, use `record(..., append=True)`; to have them, use `replay` or "
            "`record_or_replay`."
        )
    with _recorded_in(file):
        yield


@contextmanager
def replay(path: str | os.PathLike[str], *, repeat: bool = False, paced: bool = False) -> Iterator[None]:
    """Answer the requests of this block from the recording at `path`, which is read at once.

    Equal requests get their answers in the order of the recording, others in any order. A request that is not in it,
    or was recorded less often than it is asked, is an `LLMRecordingError`, which shows what is different in the nearest
    one; with `repeat` the last answer is given again and again. With `paced` the pieces take the time that they took.

    Raises `LLMRecordingError`, at once, if there is no recording, or it is of another version, or damaged.
    """
    with _in_place(Replay(RecordingFile(path), repeat=repeat, paced=paced)):
        yield


@contextmanager
def record_or_replay(path: str | os.PathLike[str], *, repeat: bool = False) -> Iterator[None]:
    """Record if there is no answer in the file at `path`, else replay. Delete the file to record anew."""
    file = RecordingFile(path)
    with replay(path, repeat=repeat) if file.has_answers() else _recorded_in(file):
        yield


@contextmanager
def _recorded_in(file: RecordingFile) -> Iterator[Recorder]:
    is_new = not file.path.exists()
    recorder = Recorder(file)
    try:
        with _in_place(recorder):
            yield recorder
    except BaseException:
        if is_new:
            recorder.discard_if_empty()
        raise
    finally:
        recorder.flush()


@contextmanager
def _in_place(recording: Recording) -> Iterator[None]:
    token = current_recording.set(recording)
    try:
        yield
    finally:
        current_recording.reset(token)
