"""Recordings at work: between an exchange with a model and the messages that its events become."""

import asyncio
import hashlib
import logging
import threading
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from miniagents.ext.llm._recorded import Recorded, RecordedError, masked
from miniagents.ext.llm._recorded_request import CanonicalRequest, canonical, canonical_json, difference
from miniagents.ext.llm._recording_file import RecordingFile
from miniagents.ext.llm._secrets import Secrets
from miniagents.ext.llm._slots import Slot
from miniagents.ext.llm.errors import LLMRecordingError
from miniagents.ext.llm.prompt import Prompt
from miniagents.ext.llm.provider import AnswerEvent

logger = logging.getLogger(__name__)


class Listener(Protocol):
    """Who is told the events of an answer."""

    @property
    def has_begun(self) -> bool:
        """Whether there is something of the answer."""
        ...

    @property
    def fields(self) -> Mapping[str, Any]:
        """What was told so far of the answer as a whole."""
        ...

    @property
    def length(self) -> int:
        """How many characters it has so far, with thoughts and calls."""
        ...

    def begin(self, slot: Slot | None = None) -> None:
        """An attempt begins, in this slot; nothing of one before it counts."""

    async def write(self, event: AnswerEvent) -> None:
        """The next event. Waits as long as no more is wanted."""


@dataclass(frozen=True, slots=True, repr=False)
class Question:
    """What is asked, and what must not be told of it."""

    provider: str
    prompt: Prompt
    parameters: Mapping[str, Any]
    secrets: Secrets

    def canonical(self) -> CanonicalRequest:
        """As it stands in a recording."""
        return canonical(self.provider, self.prompt, self.parameters, self.secrets.known())


class Recording(ABC):
    """What takes the place of sending a request, or looks on."""

    @abstractmethod
    async def exchange(self, question: Question, answer: Listener, send: Callable[[Listener], Awaitable[None]]) -> None:
        """Tell `answer` the events. `send(listener)` asks the provider."""


# The recording of the block that this runs in; tasks that are started there inherit it.
current_recording: Final[ContextVar[Recording | None]] = ContextVar("miniagents_recording", default=None)


class Recorder(Recording):
    """Writes down what providers answer.

    In a thread, one answer after the other; an answer is complete for its readers when it is on the disk. What cannot
    be written is reported, once, and the answer goes on.
    """

    def __init__(self, file: RecordingFile) -> None:
        file.begin()
        self._file = file
        self._pool = ThreadPoolExecutor(1, "miniagents recording")
        self._has_failed = False

    async def exchange(self, question: Question, answer: Listener, send: Callable[[Listener], Awaitable[None]]) -> None:
        """Ask the provider, and write down what comes."""
        tape = _Tape(answer)
        error: Exception | None = None
        try:
            await send(tape)
        except Exception as raised:
            if not tape.is_running:
                raise  # nothing was sent
            error = raised
        except BaseException:
            if tape.is_running:
                self._pool.submit(self._save, partial(_recorded, question, tape, question.secrets.known(), None, True))
            raise
        known = question.secrets.known()
        make = partial(_recorded, question, tape, known, error, False)
        # Who breaks off now does not wait for the disk, but the answer gets there.
        await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._pool, self._save, make))
        if error is not None:
            raise error

    def flush(self) -> None:
        """Wait for the disk."""
        self._pool.submit(bool).result()  # behind all others

    def move_to(self, path: Path) -> None:
        """Have the recording replace what is at `path`, unless something of it could not be written."""
        if not self._has_failed:
            self._pool.submit(self._file.move_to, path).result()  # an answer that comes late finds its file

    def discard_if_empty(self) -> None:
        """Leave no file without an answer."""
        self._pool.submit(self._file.remove_if_empty).result()

    def _save(self, make: Callable[[], Recorded]) -> None:
        try:
            self._file.append(make())
        except Exception as error:  # whatever it is, the answer is worth more
            if not self._has_failed:
                self._has_failed = True
                reason = getattr(error, "strerror", None) or error
                logger.error(
                    "The recording %s is not complete, an answer could not be written: %s.", self._file.path, reason
                )


class _Tape:
    """Notes the events of one answer on their way, from the latest attempt."""

    def __init__(self, answer: Listener) -> None:
        self._answer = answer
        self._clock = asyncio.get_running_loop().time
        self._began = 0.0
        self.is_running = False
        self.events: list[tuple[float, AnswerEvent]] = []

    @property
    def has_begun(self) -> bool:
        """As the answer has."""
        return self._answer.has_begun

    @property
    def fields(self) -> Mapping[str, Any]:
        """As the answer knows them."""
        return self._answer.fields

    @property
    def length(self) -> int:
        """As the answer has."""
        return self._answer.length

    @property
    def seconds(self) -> float:
        """Since the request."""
        return self._clock() - self._began

    def begin(self, slot: Slot | None = None) -> None:
        """Forget the attempt before."""
        self.is_running = True
        self._began = self._clock()
        self.events = []
        self._answer.begin(slot)

    async def write(self, event: AnswerEvent) -> None:
        """Note the event, and pass it on."""
        self.events.append((self.seconds, event))
        await self._answer.write(event)


def _recorded(question: Question, tape: _Tape, known: list[str], error: Exception | None, broke_off: bool) -> Recorded:
    ended = None if error is None else RecordedError.of(error, known)
    request = canonical(question.provider, question.prompt, question.parameters, known)
    return Recorded(request, masked(tape.events, known), tape.seconds, ended, broke_off)


class Replay(Recording):
    """Gives what was recorded. Equal requests get their answers in the order of the recording."""

    def __init__(self, file: RecordingFile, *, repeat: bool, paced: bool) -> None:
        self._file = file
        self._repeat = repeat
        self._paced = paced
        self._answers: defaultdict[bytes, list[Recorded]] = defaultdict(list)
        for recorded in file.answers():
            self._answers[_key(recorded.request)].append(recorded)
        self._asked: defaultdict[bytes, int] = defaultdict(int)
        self._lock = threading.Lock()

    async def exchange(
        self,
        question: Question,
        answer: Listener,
        send: Callable[[Listener], Awaitable[None]],  # noqa: ARG002 (nothing is sent)
    ) -> None:
        """Tell what was recorded for the question; `LLMRecordingError` if there is nothing. Nothing is sent."""
        recorded = self._next(question.canonical())
        began = asyncio.get_running_loop().time()
        answer.begin()
        for at, event in recorded.events:
            await self._wait_until(began + at)
            await answer.write(event)
        await self._wait_until(began + recorded.seconds)
        if recorded.error is not None:
            raise recorded.error.made()
        if recorded.broke_off:
            raise LLMRecordingError(
                f"The recording {self._file.path} has no more of this answer: when it was made, whoever had asked "
                "broke off here, by a cancellation or a time-out. Do the same, or record again."
            )

    async def _wait_until(self, time: float) -> None:
        if self._paced and (left := time - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(left)

    def _next(self, request: CanonicalRequest) -> Recorded:
        key = _key(request)
        with self._lock:  # agents in several threads may share a recording
            answers = self._answers.get(key)
            if not answers:
                raise self._missing(request)
            place = self._asked[key]
            if place >= len(answers):
                if not self._repeat:
                    raise LLMRecordingError(
                        f"The recording {self._file.path} has {len(answers)} of this request, and it was asked once "
                        "more. Record again, or give the last answer each time: `replay(..., repeat=True)`."
                    )
                return answers[-1]
            self._asked[key] = place + 1
            return answers[place]

    def _missing(self, request: CanonicalRequest) -> LLMRecordingError:
        nearest = difference(request, [answers[0].request for answers in self._answers.values()])
        told = f" The nearest one differs:\n{nearest}" if nearest else " It is empty."
        return LLMRecordingError(
            f"The recording {self._file.path} has no answer to this request. If the request is right, record again "
            f"(delete the file first).{told}"
        )


def _key(request: CanonicalRequest) -> bytes:
    return hashlib.sha256(canonical_json(request).encode()).digest()
