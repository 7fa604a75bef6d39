"""The errors of virtual time.

```
MiniAgentsError
├── SimulationStuckError (RuntimeError)      a run in virtual time could not go on; names the tasks that were waiting
│   ├── NothingCanMoveError                  everything waits for something that nobody is left to do
│   ├── StepLimitError                       it moves, but does not end: a busy loop
│   └── VirtualTimeoutError (TimeoutError)   it would go on, but not within the virtual seconds that it was given
└── NotSimulatedError (NotImplementedError)  a thread, socket, process or signal, which virtual time does not have
```
"""

from collections.abc import Sequence

from miniagents.promising.errors import MiniAgentsError
from miniagents.promising.waiting import WaitingTask

_MAX_TASKS_SHOWN = 20


class SimulationStuckError(MiniAgentsError, RuntimeError):
    """A program in virtual time could not go on. `waiting` names its tasks, `at` is the virtual time in seconds."""

    def __init__(self, what: str, waiting: Sequence[WaitingTask], at: float) -> None:
        self.waiting = tuple(waiting)
        self.at = at
        lines = [f"{what} Waiting at {at:g} virtual seconds: {len(self.waiting)} task(s)."]
        lines += [str(task) for task in self.waiting[:_MAX_TASKS_SHOWN]]
        if len(self.waiting) > _MAX_TASKS_SHOWN:
            lines.append(f"... and {len(self.waiting) - _MAX_TASKS_SHOWN} more")
        super().__init__("\n".join(lines))


class NothingCanMoveError(SimulationStuckError):
    """Nothing can ever move again: no task is ready and no timer is set, so every wait would last for ever."""

    def __init__(self, waiting: Sequence[WaitingTask], at: float) -> None:
        super().__init__("Nothing can ever move again: no task is ready and no timer is set.", waiting, at)


class StepLimitError(SimulationStuckError):
    """The program took more steps than it was allowed to: most likely a loop that never lets time pass."""

    def __init__(self, max_steps: int, waiting: Sequence[WaitingTask], at: float) -> None:
        super().__init__(
            f"The program did not end within {max_steps} steps and callbacks: look for a loop that never waits, "
            "or raise `max_steps`.",
            waiting,
            at,
        )


class VirtualTimeoutError(SimulationStuckError, TimeoutError):
    """The program had not ended when its virtual time was up."""

    def __init__(self, timeout: float, waiting: Sequence[WaitingTask], at: float) -> None:
        super().__init__(
            f"The program did not end within {timeout:g} virtual seconds: if it is meant to take longer, "
            "raise `timeout`.",
            waiting,
            at,
        )


class NotSimulatedError(MiniAgentsError, NotImplementedError):
    """The program asked a virtual-time loop for a thread, a socket, a process or a signal."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} needs threads, sockets, processes or signals, and a virtual-time loop has none: it could not tell "
            "when nothing can move any more. Give the code under test a stand-in, or test it on a real event loop."
        )
