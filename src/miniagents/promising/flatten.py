"""Turning nested collections into flat lists, of any depth."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, cast


class _Answer:
    """What a conversion may answer instead of an item."""


# What a conversion answers when the value is not an item but a collection of items, or nothing at all.
EXPAND: Final = _Answer()
SKIP: Final = _Answer()


def flatten(value: object, convert: Callable[[Any], Any], where: str) -> list[Any]:
    """Turn nested collections into the flat list of their items, without recursion.

    `convert` gives the item for a value, or `EXPAND` for a collection to look into, or `SKIP`. A `TypeError` that it
    raises gets the place in front, such as `messages[2][0]`. A collection that contains itself is a `ValueError`.
    """
    items: list[Any] = []
    stack: list[tuple[object, Iterator[Any]]] = []
    places: list[int] = []
    open_ids: set[int] = set()
    while True:
        try:
            item = convert(value)
        except TypeError as error:
            raise TypeError(f"{_place(where, places)} {error}") from None
        if item is EXPAND:
            if id(value) in open_ids:
                raise ValueError(f"{_place(where, places)} contains itself.")
            open_ids.add(id(value))
            stack.append((value, iter(cast("Iterable[Any]", value))))
            places.append(-1)
        elif item is not SKIP:
            items.append(item)
        while stack:
            try:
                value = next(stack[-1][1])
            except StopIteration:
                open_ids.discard(id(stack.pop()[0]))
                places.pop()
            else:
                places[-1] += 1
                break
        else:
            return items


def _place(where: str, places: list[int]) -> str:
    shown = places if len(places) <= 8 else places[-8:]
    return where + ("…" if len(shown) < len(places) else "") + "".join(f"[{index}]" for index in shown)
