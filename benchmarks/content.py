"""What is said in the works, the same by every subject."""

from collections.abc import Iterable
from typing import Final

TOKEN: Final = "token "
HELLO: Final = "hello"
ANSWER: Final = "hello!"
BRANCHES: Final = 4
"""How many agents each agent of the tree calls."""


def shuffled(count: int) -> list[int]:
    """The numbers below `count` in an order that looks random and is always the same."""
    return sorted(range(count), key=lambda number: number * 2654435761 % 2**32)


def paragraph(number: int) -> list[str]:
    """The tokens of one paragraph, without the blank line behind it."""
    return ["the ", "number ", "of ", "this ", f"is {number}"]


def expect(found: object, wanted: object) -> None:
    """Raise `AssertionError` if the result of a work is wrong."""
    if found != wanted:
        raise AssertionError(f"The result is {str(found)[:200]}, and should be {str(wanted)[:200]}.")


def expect_all(found: Iterable[object], wanted: object, count: int) -> None:
    """Raise `AssertionError` unless `wanted` was found so many times, and nothing else."""
    expect(list(found), [wanted] * count)
