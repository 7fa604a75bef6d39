"""Things that are made once and closed with a context, such as clients."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")
Close: TypeAlias = Callable[[], Awaitable[object]]

logger = logging.getLogger(__name__)


class Resources:
    """What a context keeps for those who work in it, by key."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: dict[object, tuple[Any, Close | None]] = {}

    def get(self, key: object, make: Callable[[], tuple[T, Close | None]]) -> T:
        """The thing with this key; if there is none yet, `make()` gives it, and how to close it if it must be."""
        if key not in self._kept:
            self._kept[key] = make()
        thing: T = self._kept[key][0]
        return thing

    async def close(self, level: int, patience: float | None) -> None:
        """Close all, the last one first, each within `patience` seconds. What goes wrong is logged at `level`."""
        while self._kept:
            _, (_, close) = self._kept.popitem()
            try:
                if close is not None:
                    async with asyncio.timeout(patience):
                        await close()
            except Exception:
                logger.log(level, "A resource could not be closed", exc_info=True)
