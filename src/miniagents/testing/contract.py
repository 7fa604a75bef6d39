"""The contract of promises, streams and sequences, as checks to be run on any of them, your own ones too.

```python
from miniagents.testing.contract import check_sequence

def test_my_agent_keeps_the_contract() -> None:
    check_sequence(lambda: my_agent.inquire("hello"))
```

Each check makes the promise again and again, in virtual time, and does it another harm each time:

* **schedules**: the order of ready tasks is drawn from a seed. Every reader must get the same.
* **a reader is cancelled**, before each of the steps that the program takes. The others, and those who come later, must
  get what they would have got; the cancelled one ends with its cancellation.
* **a task is killed**, each at each step. Every reader must still get an end: what was said, then an `Exception`, never
  a bare `CancelledError`. All readers must get the same.
* **the context is left** by a cancellation, at each step. Readers get an end, and no task is left.

Readers read twice, early and late, piece by piece and as a whole, and what they get must fit together. A check returns
the number of runs, and raises `ContractBrokenError`, which says what was done in which run, at the first one that went
wrong. What is made must do the same in every run: no wall-clock time, no randomness, no network.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, NamedTuple

from miniagents.agents import MiniAgents
from miniagents.messages import MessagePromise
from miniagents.promising import MiniAgentsError, NoActiveContextError, Promise, SequencePromise, StreamedPromise
from miniagents.testing.virtual_time import VirtualTimeLoop, run_virtual

__all__ = [
    "ContractBrokenError",
    "Make",
    "Raised",
    "Transcript",
    "check_promise",
    "check_sequence",
    "check_stream",
    "is_cut_of",
    "read",
]

Make = Callable[[], Promise[Any]]
"""Makes a promise. Called in an active context, once for each run."""

_READERS = 2
_MAX_STEPS = 100_000
_DEFAULT_SEEDS = range(3)
_DEFAULT_POINTS = 300


class ContractBrokenError(MiniAgentsError, AssertionError):
    """A promise did to a reader what no promise may do. The message says what, and in which run."""


class Raised:
    """An error that a reader met. Equal to any other of the same class: two runs raise different objects."""

    __slots__ = ("error", "frames", "kind")

    def __init__(self, error: BaseException | type[BaseException]) -> None:
        self.error = error if isinstance(error, BaseException) else None
        self.kind = type(error) if isinstance(error, BaseException) else error
        self.frames = 0
        """How long the traceback was when the reader had it."""
        traceback = error.__traceback__ if isinstance(error, BaseException) else None
        while traceback is not None:
            self.frames += 1
            traceback = traceback.tb_next

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Raised) and self.kind is other.kind

    def __hash__(self) -> int:
        return hash(self.kind)

    def __repr__(self) -> str:
        return f"Raised({self.kind.__name__})"


class Transcript(tuple[Any, ...]):
    """What one reader got, in order: pieces, the transcripts of streams among the pieces, at the end perhaps `Raised`.

    The transcript of a plain promise has one item, its value.
    """

    __slots__ = ()

    def errors(self) -> Iterator[Raised]:
        """All errors in it, in order."""
        for item in self:
            if isinstance(item, Raised):
                yield item
            elif isinstance(item, Transcript):
                yield from item.errors()


async def read(promise: Promise[Any], *, whole_first: bool = False) -> Transcript:
    """Read all of a promise and give what was found; its errors too, except the cancellation of whoever calls this.

    A stream is read piece by piece and awaited (in the other order if `whole_first`), and the two must fit together:
    `ContractBrokenError` otherwise.
    """
    if not isinstance(promise, StreamedPromise):
        return Transcript((await _outcome(promise),))
    whole = await _outcome(promise) if whole_first else None
    pieces: list[Any] = []
    try:
        async for piece in promise:
            pieces.append(await read(piece) if isinstance(piece, Promise) else piece)
    except BaseException as error:
        _raise_if_own(error)
        pieces.append(Raised(error))
    said = Transcript(pieces)
    _check_whole(promise, said, whole or await _outcome(promise))
    return said


async def _outcome(awaitable: Awaitable[Any]) -> Any:
    try:
        return await awaitable
    except BaseException as error:
        _raise_if_own(error)
        return Raised(error)


def _raise_if_own(error: BaseException) -> None:
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
        raise error


def _check_whole(promise: StreamedPromise[Any, Any], said: Transcript, whole: Any) -> None:
    """The whole must be what the pieces say; what a resolver of its own makes of them is its own affair."""
    error = next(said.errors(), None)
    if not isinstance(promise, (SequencePromise, MessagePromise)):
        return
    if isinstance(whole, Raised):
        is_said = error is not None and not issubclass(error.kind, NoActiveContextError)  # a refusal is no part of it
        if error is not None and is_said and whole.error is not error.error:
            raise ContractBrokenError(f"{promise!r} raised {error} piece by piece and {whole} as a whole.")
    elif isinstance(promise, SequencePromise):
        if error is None and len(whole) != len(said):
            raise ContractBrokenError(f"{promise!r} gave {len(said)} items and is a whole of {len(whole)}.")
    elif error is None and str(whole) != "".join(said):
        raise ContractBrokenError(f"{promise!r} gave the tokens {said} and the text {str(whole)!r}.")


def is_cut_of(got: object, whole: object, may_end: Callable[[Raised], bool]) -> bool:
    """Whether `got` is the transcript `whole`, or a part of it from its beginning, then an error that `may_end` it.

    Streams among the pieces may each be cut off for themselves.
    """
    if not isinstance(got, Transcript) or not isinstance(whole, Transcript):
        return bool(got == whole)
    for index, item in enumerate(got):
        expected = whole[index] if index < len(whole) else None
        if isinstance(item, Raised) and item != expected:
            return may_end(item) and index == len(got) - 1
        if index >= len(whole) or not is_cut_of(item, expected, may_end):
            return False
    return len(got) == len(whole)


class _Harm(NamedTuple):
    """What is done in one run: at `step`, the task number `victim` among those of its `kind` is cancelled."""

    kind: str = "nothing"
    step: int = -1
    victim: int = 0

    def __str__(self) -> str:
        return {
            "nothing": "nothing was done",
            "reader": f"reader {self.victim} was cancelled at step {self.step}",
            "task": f"task {self.victim} was killed at step {self.step}",
            "context": f"the context was left at step {self.step}",
        }[self.kind]


class _Run:
    """One run of a program that makes a promise and reads it."""

    def __init__(self, make: Make, kind: type[Promise[Any]], harm: _Harm) -> None:
        self._make = make
        self._kind = kind
        self._harm = harm
        self._victim: asyncio.Task[Any] | None = None
        self.points: list[_Harm] = []
        """What harm could be done, found out by a run in which none is."""
        self.readers: list[asyncio.Task[Transcript]] = []
        self.late: Transcript | None = None

    def go(self, seed: int) -> None:
        run_virtual(self._main, seed=seed, on_step=self._on_step, max_steps=_MAX_STEPS)

    async def _main(self) -> None:
        program = asyncio.create_task(self._program(), name="program")
        await asyncio.wait([program])
        if self.readers:
            await asyncio.wait(self.readers)
        if not program.cancelled():
            program.result()
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        left = [task.get_name() for task in loop.tasks if task is not asyncio.current_task()]
        if left:
            raise ContractBrokenError(f"These tasks were left: {', '.join(left)}.")

    async def _program(self) -> None:
        async with MiniAgents():
            promise = self._make()
            if not isinstance(promise, self._kind):
                raise TypeError(f"A {self._kind.__name__} was to be made, not a {type(promise).__name__}.")
            for number in range(_READERS):
                reading = read(promise, whole_first=number % 2 == 1)
                self.readers.append(asyncio.create_task(reading, name=f"reader {number}"))
            await asyncio.wait(self.readers)
            self.late = await read(promise)

    def _on_step(self, step: int, _: "asyncio.Task[Any]") -> None:
        if self._harm.kind != "nothing" and step != self._harm.step:
            return
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        kinds: dict[str, list[asyncio.Task[Any]]] = {"reader": [], "task": [], "context": []}
        for task in loop.tasks:
            kinds[_kind_of(task)].append(task)
        kinds["context"] = kinds["context"][1:]  # the first is the program around the context
        if self._harm.kind == "nothing":
            self.points += [_Harm(kind, step, index) for kind, tasks in kinds.items() for index in range(len(tasks))]
        else:
            self._victim = kinds[self._harm.kind][self._harm.victim]
            self._victim.cancel()

    def verify(self, reference: "_Run") -> None:
        """Raise `ContractBrokenError` if a reader did not get what it must."""
        expected = reference.late
        found = [task for task in self.readers if task is not self._victim or not task.cancelled()]
        got = [] if self.late is None else [self.late]
        for task in found:
            if task.cancelled():
                raise ContractBrokenError(f"{task.get_name()}, which nobody had cancelled, ended as cancelled.")
            if self._victim is task:
                raise ContractBrokenError(f"{task.get_name()} swallowed its cancellation.")
            got.append(task.result())
        for transcript in got:
            if self._harm.kind in ("nothing", "reader"):
                is_right = transcript == expected
            else:
                is_right = is_cut_of(transcript, expected, _may_end)
            if not is_right:
                raise ContractBrokenError(f"A reader got {transcript} where {expected} is said.")
            if self._harm.kind != "context" and transcript != got[0]:
                raise ContractBrokenError(f"One reader got {got[0]}, another one {transcript}.")


def _kind_of(task: "asyncio.Task[Any]") -> str:
    name = task.get_name()
    return "context" if name in ("main", "program") else "reader" if name.startswith("reader ") else "task"


def _may_end(raised: Raised) -> bool:
    return issubclass(raised.kind, Exception)


def _check(make: Make, kind: type[Promise[Any]], seeds: Iterable[int], points: int) -> int:
    runs = 0
    reference: _Run | None = None
    for seed in seeds:
        dry = _try(make, kind, _Harm(), seed, reference)
        reference = reference or dry
        chosen = dry.points
        if len(chosen) > points:
            chosen = random.Random(seed).sample(chosen, points)
        for harm in chosen:
            _try(make, kind, harm, seed, reference)
        runs += 1 + len(chosen)
    if reference is None:
        raise ValueError("There are no seeds, so nothing was checked.")
    return runs


def _try(make: Make, kind: type[Promise[Any]], harm: _Harm, seed: int, reference: _Run | None) -> _Run:
    run = _Run(make, kind, harm)
    try:
        run.go(seed)
        run.verify(reference or run)
    except (TypeError, ValueError):  # what was given cannot be checked at all
        raise
    except Exception as error:
        raise ContractBrokenError(f"With seed {seed}, when {harm}: {error}") from error
    return run


def check_promise(make: Make, *, seeds: Iterable[int] = _DEFAULT_SEEDS, points: int = _DEFAULT_POINTS) -> int:
    """Check that what `make()` gives keeps the contract of a `Promise`. Returns the number of runs.

    - `make`: called without arguments in an active context, once for each run.
    - `seeds`: each is one order of tasks.
    - `points`: how much harm is done for each seed, at most; drawn evenly from all that is possible.

    Blocks, for a second or so. Raises `ContractBrokenError` at the first run that went wrong, `TypeError` if what
    `make` gives is no `Promise`, `ValueError` if there are no seeds. Not to be called inside a running event loop.

    >>> from miniagents.promising import Promise
    >>> async def answer(promise):
    ...     return 42
    >>> check_promise(lambda: Promise(answer), seeds=[0]) > 10
    True
    """
    return _check(make, Promise, seeds, points)


def check_stream(make: Make, *, seeds: Iterable[int] = _DEFAULT_SEEDS, points: int = _DEFAULT_POINTS) -> int:
    """Check that what `make()` gives keeps the contract of a `StreamedPromise`; see `check_promise`.

    Beside all that, its pieces are the same for every reader, and its whole fits to them.

    >>> from miniagents import Message
    >>> async def tokens(metadata):
    ...     yield "Hello"
    >>> check_stream(lambda: Message.promise(tokens), seeds=[0]) > 10
    True
    """
    return _check(make, StreamedPromise, seeds, points)


def check_sequence(make: Make, *, seeds: Iterable[int] = _DEFAULT_SEEDS, points: int = _DEFAULT_POINTS) -> int:
    """Check that what `make()` gives, such as the replies of an agent, keeps the contract of a sequence.

    See `check_promise`. Beside all that, the streams in it are read as well.

    >>> from miniagents import miniagent
    >>> @miniagent
    ... async def echo(ctx):
    ...     ctx.reply(ctx.message_promises)
    >>> check_sequence(lambda: echo.inquire("Hello"), seeds=[0]) > 10
    True
    """
    return _check(make, SequencePromise, seeds, points)
