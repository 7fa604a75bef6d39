"""Agents made of agents: what all combinators have in common.

A combinator is an agent like any other. It takes the keyword arguments that all of its agents take, and passes on what
it is given. Its calls of them are its own: they are cancelled with it, and `achain_loop` gives each of its agents what
that keeps for one dialog.
"""

import functools
import inspect
import math
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NamedTuple, ParamSpec, TypeAlias

from miniagents.agents import InteractionContext, MiniAgent
from miniagents.messages import MessageSequencePromise, MessageType

P = ParamSpec("P")


class Asked(NamedTuple):
    """One of the agents, with the keyword arguments of this call."""

    alias: str
    inquire: Callable[[MessageType], MessageSequencePromise]


Body: TypeAlias = Callable[[InteractionContext, tuple[Asked, ...]], Awaitable[None]]


def combine(agents: tuple[MiniAgent[P], ...], body: Body, *, name: str, alias: str, description: str) -> MiniAgent[P]:
    """An agent that does `body` with `agents`. `name` is that of the combinator, for those who read an error."""

    async def combined(
        ctx: InteractionContext, /, *, _agents: tuple[MiniAgent[...], ...] = agents, **kwargs: Any
    ) -> None:
        await body(ctx, tuple(Asked(agent.alias, functools.partial(agent.inquire, **kwargs)) for agent in _agents))

    function: Any = combined
    function.__name__ = name
    function.__signature__ = _common_signature(agents, name)
    made: MiniAgent[P] = MiniAgent(
        function,
        alias=alias,
        description=description,
        per_dialog={"_agents": lambda: tuple(agent.for_dialog() for agent in agents)},
    )
    return made


def check_agents(agents: tuple[Any, ...], name: str) -> None:
    """Raise an error that says what to write if these are no agents, or none at all."""
    if not agents:
        raise ValueError(f"`{name}` needs an agent: write `{name}(agent, ...)`.")
    for agent in agents:
        if not isinstance(agent, MiniAgent):
            hint = f"; write `{name}(first, second, ...)`" if isinstance(agent, (list, tuple)) else ""
            raise TypeError(f"`{name}` takes agents, made by `@miniagent`, and {agent!r} is none{hint}.")


def check_count(value: object, what: str) -> None:
    """Raise an error if `value` is no number of calls."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"`{what}` is a whole number, not {value!r}.")
    if value < 1:
        raise ValueError(f"`{what}` is at least 1, not {value!r}.")


def check_number(value: object, what: str, at_least: float = 0) -> None:
    """Raise an error if `value` is no finite number, or a smaller one."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"`{what}` is a number, not {value!r}.")
    if not at_least <= value < math.inf:
        raise ValueError(f"`{what}` is a finite number and at least {at_least:g}, not {value!r}.")


def _common_signature(agents: tuple[MiniAgent[...], ...], name: str) -> inspect.Signature:
    """What all of `agents` can be called with; needed is what one of them needs and has no preset for."""
    taken: dict[str, inspect.Parameter] = {}
    needed_by: dict[str, MiniAgent[...]] = {}
    everything = inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD)
    open_to_any = True
    for agent in agents:
        own = {parameter.name: parameter for parameter in _parameters_of(agent)}
        takes_any = everything.kind in {parameter.kind for parameter in own.values()}
        own = {key: parameter for key, parameter in own.items() if parameter.kind is not everything.kind}
        needed_by.update((key, agent) for key, parameter in own.items() if parameter.default is parameter.empty)
        fresh = own if open_to_any else {}
        taken = {key: parameter for key, parameter in taken.items() if takes_any or key in own} | {
            key: parameter for key, parameter in fresh.items() if key not in taken
        }
        open_to_any = open_to_any and takes_any
    for key, agent in needed_by.items():
        if key not in taken and not open_to_any:
            others = ", ".join(other.alias for other in agents if other is not agent)
            raise TypeError(
                f"`{name}` passes the same arguments to all of its agents. {agent.alias} needs `{key}`, which is no "
                f"argument of each of the others ({others}): give it a preset, `fork({key}=...)`."
            )
    parameters = [
        inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_ONLY),
        *(
            parameter.replace(
                kind=inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if key in needed_by else parameter.default,
            )
            for key, parameter in taken.items()
        ),
        inspect.Parameter("_agents", inspect.Parameter.KEYWORD_ONLY, default=None),
    ]
    return inspect.Signature([*parameters, *([everything] if open_to_any else [])])


def _parameters_of(agent: MiniAgent[...]) -> Iterator[inspect.Parameter]:
    """The parameters of an agent beside its context, with its presets as defaults."""
    for parameter in list(inspect.signature(agent.function).parameters.values())[1:]:
        if parameter.name == "_agents" or parameter.kind in (
            inspect.Parameter.POSITIONAL_ONLY,
            inspect.Parameter.VAR_POSITIONAL,
        ):
            continue
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD:
            yield parameter.replace(default=agent.presets.get(parameter.name, parameter.default))
        else:
            yield parameter
