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
    open_ids: set[int] = set()
    # The collections that are being looked into, and where in each of them. Outermost is one that has `value` alone.
    stack: list[tuple[object, Iterator[Any]]] = [(None, iter((value,)))]
    places = [-1]
    while stack:
        collection, rest = stack[-1]
        for inside in rest:
            places[-1] += 1
            try:
                item = convert(inside)
            except TypeError as error:
                raise TypeError(f"{_place(where, places)} {error}") from None
            if item is EXPAND:
                if id(inside) in open_ids:
                    raise ValueError(f"{_place(where, places)} contains itself.")
                open_ids.add(id(inside))
                stack.append((inside, iter(cast("Iterable[Any]", inside))))
                places.append(-1)
                break
            if item is not SKIP:
                items.append(item)
        else:
            open_ids.discard(id(collection))
            stack.pop()
            places.pop()
    return items


def _place(where: str, places: list[int]) -> str:
    inner = places[1:]
    shown = inner if len(inner) <= 8 else inner[-8:]
    return where + ("…" if len(shown) < len(inner) else "") + "".join(f"[{index}]" for index in shown)
