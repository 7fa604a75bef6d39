"""Sentinels: values that are nothing but themselves."""

import enum
from typing import Final


class Sentinel(enum.Enum):
    """The sentinels of the library. An enum, because type checkers can tell its members apart with `is`."""

    UNSET = "UNSET"
    """No value was given. In signatures where `None` is a value of its own."""

    END = "END"
    """What a reader finds where a stream has ended."""

    AWAIT = "AWAIT"
    """In a chain of agents: wait here until everything that was said so far is there."""

    CLEAR = "CLEAR"
    """In a chain of agents: forget here what was said so far."""

    def __repr__(self) -> str:
        return self.name


UNSET: Final = Sentinel.UNSET
END: Final = Sentinel.END
AWAIT: Final = Sentinel.AWAIT
CLEAR: Final = Sentinel.CLEAR
