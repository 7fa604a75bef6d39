"""Who holds what: questions that only the garbage collector can answer. For suspicions, not for every day."""

import asyncio
import contextvars
import gc
import sys
import types
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Final

from miniagents.promising.waiting import coroutines_of

_OURS: Final = "miniagents."
_ASYNCIO: Final = "asyncio."
_HOLD_VARIABLES: Final = (contextvars.Context, asyncio.Future, asyncio.Handle, contextvars.Token)
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


def held_by_others(
    write_ends: Sequence[object], insiders: "Collection[asyncio.Task[Any]]", marks: Iterable[object]
) -> bool:
    """Whether anybody but the tasks in `insiders`, all of which wait, can reach one of `write_ends`.

    Objects of this library are looked through: whoever holds those that hold it can reach it. So can whoever is to run
    with context variables in which one of these stands, or one of `marks`: a callback, or a thread. Not counted are
    promises, which are read with, the context variables of tasks, which their callees inherit, and what a callee knows
    of its caller. All are asked for at once, because the collector looks at everything there is each time.
    """
    reach = _reach(write_ends, {id(one) for task in insiders for one in coroutines_of(task)})
    return reach is None or _stand_in_loose_variables(reach.union(map(id, marks)), insiders)


def _reach(write_ends: Sequence[object], insiders: Collection[int]) -> set[int] | None:
    """By identity, those through which `write_ends` can be reached; `None` if somebody beside `insiders` holds one."""
    seen = {id(one) for one in write_ends}
    level = list(write_ends)
    hidden_here = _hidden_references([object()])[0]  # that are made by looking
    while level:
        if any(hidden > hidden_here for hidden in _hidden_references(level)):
            return None
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
            return None
        seen.update(map(id, unclear))
        del holders, unclear
        level = ours
    return seen


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
    # Context variables, which are kept in nodes of a tree, are asked for by themselves.
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


def _stand_in_loose_variables(ids: set[int], insiders: "Collection[asyncio.Task[Any]]") -> bool:
    """Whether one of these objects, by identity, is the value of a context variable for anybody who is no task.

    It is the references that are counted, for some of those who hold them no collector sees, such as a thread that runs
    with these variables at this moment.
    """
    objects = gc.get_objects()
    kinds = {kind for kind in set(map(type, objects)) if issubclass(kind, _HOLD_VARIABLES) or _is_transport(kind)}
    holders = [one for one in objects if type(one) in kinds]
    del objects
    everywhere = [one for one in holders if type(one) is contextvars.Context]
    suspects = [one for one in everywhere if not ids.isdisjoint(map(id, one.values()))]
    holders = [one for one in holders if type(one) is not contextvars.Context]
    del everywhere
    counted, (made_by_looking,) = _references(suspects), _references([contextvars.Context()])
    harmless = Counter(map(id, _held_without_harm(holders, insiders)))
    return any(
        count - made_by_looking > harmless[id(variables)] for count, variables in zip(counted, suspects, strict=True)
    )


def _is_transport(kind: type[Any]) -> bool:
    # Those of other loops hold the variables themselves, and are no `asyncio.BaseTransport`. Looked up in this way, no
    # code of a foreign class is run.
    return any("get_protocol" in vars(base) for base in kind.__mro__)


def _references(objects: Iterable[object]) -> list[int]:
    return [sys.getrefcount(one) for one in objects]


def _held_without_harm(
    holders: Iterable[Any], insiders: "Collection[asyncio.Task[Any]]"
) -> Iterator[contextvars.Context]:
    """The context variables that these hold, once for each time, without anybody's code being run with them."""
    for holder in holders:
        if isinstance(holder, asyncio.Future):
            if isinstance(holder, asyncio.Task):
                yield variables_of(holder)
            for callback, variables in holder._callbacks or ():
                if holder in insiders or isinstance(callback, types.BuiltinFunctionType) or _only_wakes(callback):
                    yield variables
        elif (
            not isinstance(holder, asyncio.Handle) or holder.cancelled() or _only_wakes(getattr(holder, "_callback", 0))
        ):
            # Also a token, made when one of the variables was set; a transport, which tells a protocol what has come.
            yield from (one for one in gc.get_referents(holder) if isinstance(one, contextvars.Context))


def _only_wakes(callback: Any) -> bool:
    """Whether a callback is one of those by which asyncio or this library wakes a task, or the step of one."""
    if isinstance(getattr(callback, "__self__", None), asyncio.AbstractEventLoop):
        return False  # it may accept a connection, and that starts something
    module = str(getattr(callback, "__module__", ""))
    return module.startswith((_ASYNCIO, _OURS)) or task_of_step(callback) is not None


def task_of_step(callback: Any) -> "asyncio.Task[Any] | None":
    """The task whose next step `callback` is; `None` for every other callback, `task.cancel` among them."""
    task = getattr(callback, "__self__", None)
    if isinstance(task, asyncio.Task) and not hasattr(task, getattr(callback, "__name__", "")):
        return task
    return None
