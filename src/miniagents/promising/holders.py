"""Who holds what: questions that only the garbage collector can answer. For suspicions, not for every day."""

import asyncio
import contextvars
import gc
import sys
import types
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, Final

_OURS: Final = "miniagents."
# To an object in the list of holders, while it is looked at: from the list, the variable, and the argument of the call.
_REFERENCES_HERE: Final = 3


def variables_of(task: "asyncio.Task[Any]") -> contextvars.Context:
    """The context variables that a task runs with."""
    # `task.get_context()` came with 3.12.
    found = (one for one in gc.get_referents(task) if isinstance(one, contextvars.Context))
    return next(found, contextvars.Context())


def with_timeouts(tasks: "Collection[asyncio.Task[Any]]") -> "set[asyncio.Task[Any]]":
    """Those of `tasks` whose wait will be ended by an `asyncio.timeout`; since 3.12 `wait_for` uses one too."""
    # By who refers to the tasks, because not every event loop shows its timers.
    timeouts = [
        holder
        for holder in _holders_of(tasks)
        if isinstance(holder, asyncio.Timeout) or (type(holder) is dict and "_timeout_handler" in holder)
    ]
    return {held for held in gc.get_referents(*timeouts) if isinstance(held, asyncio.Task)}.intersection(tasks)


def _holders_of(objects: Collection[Any]) -> list[Any]:
    holders = gc.get_referrers(*objects)
    # Some versions of Python list the tuple of the arguments as well. Nobody but this function holds that one any more.
    return [holder for holder in holders if type(holder) is not tuple or sys.getrefcount(holder) > _REFERENCES_HERE]


def held_by_others(write_ends: Sequence[object], insiders: Collection[int]) -> bool:
    """Whether anybody but the coroutines in `insiders` (by identity) can reach one of `write_ends`.

    Objects of this library are looked through: whoever holds those that hold it can reach it. Not counted are promises,
    which are read with, the context variables of tasks, which their callees inherit, and what a callee knows of its
    caller. All are asked for at once, because the collector looks at everything there is each time.
    """
    seen = {id(one) for one in write_ends}
    level = list(write_ends)
    hidden_here = _hidden_references([object()])[0]  # that are made by looking
    while level:
        if any(hidden > hidden_here for hidden in _hidden_references(level)):
            return True
        holders = _holders_of(level)
        held = {id(one) for one in level}
        unclear = [
            holder
            for holder in holders
            if holder is not level
            and holder is not write_ends
            and id(holder) not in insiders
            and id(holder) not in seen
            and not _cannot_write(holder, held)
        ]
        registries = [holder for holder in unclear if type(holder) is dict]
        ours = [holder for holder in unclear if type(holder).__module__.startswith(_OURS)]
        if len(registries) + len(ours) < len(unclear) or not _belong_to_us(registries):
            return True
        seen.update(map(id, unclear))
        del holders, unclear
        level = ours
    return False


def _hidden_references(level: list[Any]) -> list[int]:
    """How many references there are to each of these that the collector does not see, such as those of running threads.

    What a function has in its variables while it runs is shown to nobody.
    """
    ids = [id(one) for one in level]
    shown = Counter(
        id(one) for holder in gc.get_referrers(*level) for one in gc.get_referents(holder) if id(one) in ids
    )
    return [sys.getrefcount(level[index]) - shown[ids[index]] for index in range(len(level))]


def _cannot_write(holder: Any, held: Collection[int]) -> bool:
    # A frame has ended (such as one in a traceback that is kept), or its coroutine holds the same and is looked at.
    if isinstance(holder, (types.FrameType, contextvars.Context)) or type(holder).__name__.startswith("hamt"):
        return True
    if hasattr(holder, "_log") and hasattr(holder, "_producer"):
        return True
    return id(getattr(holder, "_parent", None)) in held


def _belong_to_us(registries: list[Any]) -> bool:
    """Whether each of these dicts is held by an object of this library, such as the calls that an agent has opened."""
    if not registries:
        return True
    owners = _holders_of(registries)
    # The attributes of an object that has many of them are in a dict, which then is what holds the registry.
    attributes = [owner for owner in owners if type(owner) is dict]
    owned = {
        id(inside)
        for owner in (*owners, *(_holders_of(attributes) if attributes else ()))
        if type(owner).__module__.startswith(_OURS)
        for inside in gc.get_referents(owner)
    }
    owned.update(id(value) for one in attributes if id(one) in owned for value in one.values())
    return all(id(registry) in owned for registry in registries)
