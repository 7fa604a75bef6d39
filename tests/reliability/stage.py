"""What a scenario is given: a place to say what is read, and checkpoints where its own code may be made to fail."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from miniagents import MiniAgents
from miniagents.promising import NoActiveContextError, Promise, PromiseCancelledError, StreamedPromise
from miniagents.testing.contract import Raised, Transcript, is_cut_of, read

EARLY_READERS = 3
LATE_SECONDS = 50.0

ERRORS: dict[str, type[BaseException]] = {
    kind.__name__: kind
    for kind in (
        ValueError,
        KeyboardInterrupt,
        SystemExit,
        asyncio.CancelledError,
        StopAsyncIteration,
        MemoryError,
        RecursionError,
    )
}
ENDS_PROGRAMS = (KeyboardInterrupt, SystemExit)

Reading = Callable[[Any], Awaitable[Transcript]]
Accepts = Callable[[Transcript], bool]


@dataclass(frozen=True)
class Settings:
    """Under what conditions a scenario runs."""

    lazy: bool = False
    """Nothing starts before it is read."""
    late: bool = False
    """Readers come when, if it starts by itself, everything is over."""
    twice: bool = False
    """Each reader reads everything once more."""
    observed: bool = False
    """Handlers look on, and make promises of their own."""
    bounded: bool = False
    """Every producer waits for its readers after each piece."""


SETTINGS = {
    "plain": Settings(),
    "lazy": Settings(lazy=True),
    "late": Settings(late=True),
    "twice": Settings(twice=True),
    "observed": Settings(observed=True),
    "bounded": Settings(bounded=True),
    "hostile": Settings(lazy=True, late=True, twice=True, observed=True, bounded=True),
}


@dataclass
class Reader:
    """One reader of a stream. `task` gives what it got."""

    task: "asyncio.Task[Transcript]"
    is_late: bool


@dataclass
class Read:
    """A stream, what its readers must get, and its readers."""

    stream: Any
    whole: Transcript | None
    accepts: Accepts
    accepts_cut: Accepts
    reading: Reading | None
    readers: list[Reader] = field(default_factory=list)


class Bystander(StreamedPromise[int, Any]):
    """A stream that has nothing to do with the scenario, and so must be undisturbed by all that happens there."""

    async def _streamer(self) -> AsyncIterator[int]:
        for number in range(3):
            await asyncio.sleep(0.5)
            yield number


class Stage:
    """What a scenario is given: a place to say what is read, and checkpoints where its own code may be made to fail."""

    def __init__(self, settings: Settings, raise_at: int = -1, error: type[BaseException] | None = None) -> None:
        self.settings = settings
        self.checkpoints = 0
        self.error = None if error is None else error()
        self.raised: BaseException | None = None
        self.escapes = False
        """Whether the error was raised where nobody can keep it from ending the loop: in a task of the user's own."""
        self.handled = False
        """Whether code of the user's has dealt with the error."""
        self.reads: list[Read] = []
        self.told: dict[int, int] = {}
        self.unread_errors = 0
        """How many errors nobody reads on purpose."""
        self.checks: list[Callable[[], bool]] = []
        self.notes: list[str] = []
        """For what agents want to tell the checks; a list that they are given is copied."""
        self._is_observed = False
        self._raise_at = raise_at
        self._kept: list[Any] = []

    def context(self, **options: Any) -> MiniAgents:
        """A context as the settings want it."""
        options.setdefault("start_everything_asap_by_default", not self.settings.lazy)
        options.setdefault("max_ahead_by_default", 1 if self.settings.bounded else None)
        if self.settings.observed and not self._is_observed:  # handlers hear of inner contexts as well
            self._is_observed = True
            options.setdefault("on_promise_resolved", self._on_promise_resolved)
            options.setdefault("on_persist_message", self._on_persist_message)
        return MiniAgents(**options)

    def touch(self, *, escapes: bool = False) -> None:
        """A checkpoint: here the scenario's own code may fail."""
        self.checkpoints += 1
        if self.checkpoints - 1 == self._raise_at and self.error is not None:
            self.raised = self.error
            self.escapes = escapes
            raise self.error

    async def pause(self, seconds: float = 0.0) -> None:
        """A checkpoint, and a wait."""
        self.touch()
        await asyncio.sleep(seconds)

    def read(
        self,
        stream: Any,
        *whole: Any,
        accepts: Accepts | None = None,
        accepts_cut: Accepts | None = None,
        reading: Reading | None = None,
    ) -> None:
        """Have `stream` read, by early readers now and by a late one in the end.

        They must get the transcript `whole`, or what `accepts`; and when a producer was harmed, a cut of `whole` that
        ends in an error, or what `accepts_cut`.
        """
        transcript = Transcript(whole)
        made = Read(
            stream,
            None if accepts else transcript,
            accepts or transcript.__eq__,
            accepts_cut or (lambda got: is_cut_of(got, transcript, self.may_end)),
            reading,
        )
        self.reads.append(made)
        for number in range(EARLY_READERS):
            made.readers.append(self._reader(made, whole_first=number % 2 == 1))

    def check(self, condition: Callable[[], bool]) -> None:
        """Something that must hold at the end unless a producer was harmed."""
        self.checks.append(condition)

    async def finish(self) -> None:
        """Wait for the early readers, then let the late ones read."""
        await wait_for(self.tasks())
        for made in self.reads:
            if not any(reader.is_late for reader in made.readers):
                made.readers.append(self._reader(made, is_late=True))
        await wait_for(self.tasks())

    def tasks(self) -> "list[asyncio.Task[Transcript]]":
        """The tasks of all readers."""
        return [reader.task for made in self.reads for reader in made.readers]

    def may_end(self, raised: Raised) -> bool:
        """Whether the harm that was done explains this error."""
        error = raised.error
        if isinstance(error, (PromiseCancelledError, NoActiveContextError)):
            return True
        return self.raised is not None and error is not None and self.raised in (error, error.__cause__)

    def _reader(self, made: Read, *, is_late: bool = False, whole_first: bool = False) -> Reader:
        reading = self._follow(made, 0.0 if is_late else LATE_SECONDS * self.settings.late, whole_first)
        return Reader(asyncio.create_task(reading, name="reader"), is_late)

    async def _follow(self, made: Read, wait: float, whole_first: bool) -> Transcript:
        if wait:
            await asyncio.sleep(wait)
        if made.reading is not None:
            return await made.reading(made.stream)
        got = await read(made.stream, whole_first=whole_first)
        if self.settings.twice:
            again = await read(made.stream)
            assert again == got, f"the second time {again} was read, the first time {got}"
        return got

    async def _on_promise_resolved(self, promise: Any, outcome: Any) -> None:
        self._kept.append(promise)  # so that no other gets its identity
        self.told[id(promise)] = self.told.get(id(promise), 0) + 1
        await asyncio.sleep(0)
        await Promise(_nothing)

    async def _on_persist_message(self, promise: Any, message: Any) -> None:
        await Promise(_nothing)


async def _nothing(_: object) -> None:
    await asyncio.sleep(0)


async def wait_for(tasks: "list[asyncio.Task[Any]]") -> None:
    """Wait until all have ended, however they do."""
    if tasks:
        await asyncio.wait(tasks)


@dataclass(frozen=True)
class Scenario:
    """A small program: `play(stage)` sets it up in a context with these options."""

    name: str
    play: Callable[[Stage], Awaitable[None]]
    options: dict[str, Any]
