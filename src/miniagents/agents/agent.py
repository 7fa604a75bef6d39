"""`MiniAgent`: an async function that is sent messages and replies with messages."""

import copy
import inspect
import sys
import weakref
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Concatenate, Final, Generic, NoReturn, ParamSpec, Protocol, overload

from miniagents.agents.budget import Budget, check_is_budget
from miniagents.agents.call import AgentCall
from miniagents.agents.interaction import InteractionContext, current_interaction
from miniagents.messages import MessageAppender, MessageSequence, MessageSequencePromise, MessageType
from miniagents.promising.context import PromisingContext, current_context
from miniagents.promising.deadlock import Feed

P = ParamSpec("P")

_RESERVED_PARAMETERS: Final = ("messages", "start_asap", "timeout", "budget")
_CONTAINERS: Final = frozenset((dict, list, set, tuple))
_CONTAINER_CLASSES: Final = (dict, list, set, deque)


class MiniAgent(Generic[P]):
    """An agent: an async function `(ctx, **kwargs)` that is called with messages, from anywhere. Made by `@miniagent`.

    `alias` and `description` say who it is; `{AGENT_ALIAS}` in the description is replaced by the alias.
    """

    def __init__(
        self,
        function: Callable[Concatenate[InteractionContext, P], Awaitable[None]],
        /,
        *,
        alias: str | None = None,
        description: str | None = None,
        per_dialog: Mapping[str, Callable[[], Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        name = _name_of(function)
        parameters = _Parameters(name, function)
        self.function = function
        self.alias = name.upper() if alias is None else alias
        if description is None:
            description = " ".join((function.__doc__ or "").split())
        self._description_template = description
        self.description = description.replace("{AGENT_ALIAS}", self.alias)
        self._parameters = parameters
        self._kwargs = {name: snapshot(value) for name, value in kwargs.items()}
        self._per_dialog = dict(per_dialog or {})
        self._parameters.check_names(self.alias, {**self._kwargs, **self._per_dialog})
        # Of one function several agents may be made, which are called what they are.
        self.__name__ = self.alias.lower() if self.alias.isidentifier() else name
        self.__doc__ = function.__doc__
        self.__wrapped__ = function

    @property
    def presets(self) -> Mapping[str, Any]:
        """The keyword arguments that calls get unless they say otherwise: those of the decorator and of `fork`."""
        return MappingProxyType(self._kwargs)

    def inquire(
        self,
        /,
        messages: MessageType = None,
        start_asap: bool | None = None,
        timeout: float | None = None,
        budget: Budget | None = None,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> MessageSequencePromise:
        """Call the agent with `messages` and get its replies, a sequence that is still growing. Never waits.

        The agent starts at the next task switch, in the current context (with `start_asap=False`, when its replies are
        first read). With a `timeout`, in seconds from its start, the call and everything that it calls is cancelled
        when the time is over, and the tail of its replies is a `DeadlineExceededError`. A `budget` limits what the call
        and everything that it calls may spend on models; when it is passed the tail is a `BudgetExceededError`.

        The keyword arguments reach the function as they are, except that lists, dicts and sets are copied, so that a
        change the caller makes later is not seen. What the agent raises is raised where the replies are read. Made
        outside any context, the call starts when its replies are first read inside one, and never if they are not.

        The replies may be dropped: the agent goes on (detach). `replies.cancel()` stops it and all that it has started;
        `async with agent.inquire(...) as replies:` does so when the block ends.

        Raises `TypeError`, at once, for what is no message and for arguments that the function does not take.

        >>> import asyncio
        >>> from miniagents import MiniAgents, miniagent
        >>> @miniagent
        ... async def greeter(ctx, greeting="Hello"):
        ...     async for message in ctx.message_promises:
        ...         ctx.reply(f"{greeting}, {await message}!")
        >>> async def main():
        ...     async with MiniAgents():
        ...         print(*await greeter.inquire(["Ada", "Alan"], greeting="Hi"))
        >>> asyncio.run(main())
        Hi, Ada! Hi, Alan!
        """
        sequence = MessageSequence.turn_into_sequence_promise(messages)
        return self._call(sequence, start_asap, timeout, budget, args, kwargs)

    def initiate_inquiry(
        self,
        /,
        start_asap: bool | None = None,
        timeout: float | None = None,
        budget: Budget | None = None,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> AgentCall:
        """Call the agent and keep the call open, to send it messages one by one. Otherwise like `inquire`."""
        appender = MessageAppender().begin()
        opened_by = sys._getframe(1)
        feed = Feed(f"{opened_by.f_code.co_filename}:{opened_by.f_lineno}")
        replies = self._call(MessageSequencePromise(appender, feed=feed), start_asap, timeout, budget, args, kwargs)
        call = AgentCall(appender, replies, _opener())
        feed.call = weakref.ref(call)
        return call

    def _call(
        self,
        messages: MessageSequencePromise,
        start_asap: bool | None,
        timeout: float | None,
        budget: Budget | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> MessageSequencePromise:
        # `start_asap`, `timeout` and `budget` are positional only because `P.args` must come last.
        if args or start_asap not in (None, True, False):
            raise TypeError(f"{self.alias} is sent one argument, a list if need be; all others are given by keyword.")
        if budget is not None:
            check_is_budget(budget)
        merged = (
            {**self._kwargs, **{name: snapshot(value) for name, value in kwargs.items()}} if kwargs else self._kwargs
        )
        self._parameters.check_call(self.alias, merged)
        if timeout is not None:
            _check_timeout(timeout)
        return InteractionContext(self, messages).start_reply(self.function, merged, start_asap, timeout, budget)

    def fork(self, /, alias: str | None = None, description: str | None = None, **kwargs: Any) -> "MiniAgent[...]":
        """An agent with the same function and these arguments as presets. Later presets win. Needs no context."""
        return MiniAgent(
            self.function,
            alias=self.alias if alias is None else alias,
            description=self._description_template if description is None else description,
            per_dialog=self._per_dialog,
            **{**self._kwargs, **kwargs},
        )

    def for_dialog(self) -> "MiniAgent[...]":
        """This agent for the length of one dialog: a fork with the presets that `per_dialog` makes, if any are missing.

        `achain_loop` and `adialog_loop` call it once for each of their agents. A preset that is there, and not `None`,
        stays.
        """
        made = {name: make() for name, make in self._per_dialog.items() if self._kwargs.get(name) is None}
        return self.fork(**made) if made else self

    @property
    def needed_arguments(self) -> frozenset[str]:
        """The names of the arguments that each call must give: those without a default that are not preset."""
        return self._parameters.required - self._kwargs.keys()

    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        """Refused: the most likely slip with agents deserves an answer that says what to write instead."""
        raise TypeError(f"An agent is not called like a function: write `{self.__name__}.inquire(messages, ...)`.")

    def __repr__(self) -> str:
        return f"<MiniAgent {self.alias}>"


class AgentDecorator(Protocol):
    """What `@miniagent(...)` with arguments gives."""

    def __call__(self, function: Callable[Concatenate[InteractionContext, P], Awaitable[None]], /) -> MiniAgent[P]:
        """Make an agent of `function`."""
        ...


@overload
def miniagent(function: Callable[Concatenate[InteractionContext, P], Awaitable[None]], /) -> MiniAgent[P]: ...


@overload
def miniagent(function: Callable[..., Awaitable[None]], /) -> MiniAgent[...]: ...  # `(ctx, **kwargs)`, for one


@overload
def miniagent(
    *,
    alias: str | None = None,
    description: str | None = None,
    per_dialog: Mapping[str, Callable[[], Any]] | None = None,
    **kwargs: Any,
) -> AgentDecorator: ...


def miniagent(
    function: Callable[..., Awaitable[None]] | None = None,
    /,
    *,
    alias: str | None = None,
    description: str | None = None,
    per_dialog: Mapping[str, Callable[[], Any]] | None = None,
    **kwargs: Any,
) -> Any:
    """Make an agent of an async function whose first parameter is an `InteractionContext`.

    - `alias`: the name of the agent, by default the function's in upper case.
    - `description`: what it is for, by default the docstring with white space folded.
    - `per_dialog`: what the agent keeps while a dialog lasts, as makers by parameter name, such as
      `{"chat_history": InMemoryChatHistory}`. A loop makes these presets once and gives them to each of its calls, so
      two dialogs share nothing. Outside a loop nothing is made: the function sees its own default.
    - all other keyword arguments are presets for the function, as with `fork`.

    Raises `TypeError` for a function that is not async.

    >>> @miniagent
    ... async def echo(ctx):
    ...     '''Says what {AGENT_ALIAS} was told.'''
    ...     ctx.reply(ctx.message_promises)
    >>> echo.alias, echo.description
    ('ECHO', 'Says what ECHO was told.')
    """
    if isinstance(function, str):
        raise TypeError(f"`@miniagent` takes the name by keyword: `@miniagent(alias={function!r})`.")

    def decorate(function: Callable[..., Awaitable[None]]) -> MiniAgent[...]:
        return MiniAgent(function, alias=alias, description=description, per_dialog=per_dialog, **kwargs)

    return decorate if function is None else decorate(function)


def snapshot(value: Any) -> Any:
    """`value`, with the lists, dicts, sets and tuples in it copied and everything else as it is."""
    try:
        return _snapshot(value, {})
    except RecursionError:
        raise ValueError("An argument is nested too deeply to be copied.") from None


def _snapshot(value: Any, copies: dict[int, Any]) -> Any:
    kind = type(value)
    if kind not in _CONTAINERS:
        return copy.copy(value) if isinstance(value, _CONTAINER_CLASSES) else value
    if id(value) in copies:  # twice in the argument, or inside itself
        return copies[id(value)]
    if kind is tuple:
        return tuple(_snapshot(item, copies) for item in value)
    if kind is set:
        return set(value)
    if kind is list:
        copied_list: list[Any] = []
        copies[id(value)] = copied_list
        copied_list.extend(_snapshot(item, copies) for item in value)
        return copied_list
    copied_dict: dict[Any, Any] = {}
    copies[id(value)] = copied_dict
    copied_dict.update((key, _snapshot(item, copies)) for key, item in value.items())
    return copied_dict


class _Parameters:
    """The keyword parameters of an agent function, to check calls without the cost of binding a signature."""

    __slots__ = ("first", "names", "required", "takes_any")

    def __init__(self, name: str, function: Any) -> None:
        if inspect.isasyncgenfunction(function):
            raise TypeError(f"{name} is an async generator: call `ctx.reply(...)` instead of `yield`.")
        if not inspect.iscoroutinefunction(function):
            raise TypeError(f"{name} is not async: an agent is an `async def {name}(ctx, ...)`.")
        parameters = list(inspect.signature(function).parameters.values())
        if not parameters or parameters[0].kind in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD):
            raise TypeError(f"{name} has no place for its InteractionContext: write `async def {name}(ctx, ...)`.")
        self.first = parameters[0].name
        self.takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)
        named = [
            parameter
            for parameter in parameters[1:]
            if parameter.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        ]
        self.names = frozenset(parameter.name for parameter in named)
        self.required = frozenset(parameter.name for parameter in named if parameter.default is inspect.Parameter.empty)
        for reserved in _RESERVED_PARAMETERS:
            if reserved in self.names:
                raise TypeError(f"{name} has a parameter `{reserved}`, which `inquire` takes itself: rename it.")

    def check_names(self, alias: str, kwargs: dict[str, Any]) -> None:
        """Raise `TypeError` for a name that the function does not take."""
        for reserved in _RESERVED_PARAMETERS:
            if reserved in kwargs:
                raise TypeError(f"`{reserved}` is of each call: give it to `inquire`, and not to {alias} itself.")
        if self.takes_any and self.first in kwargs:
            raise TypeError(f"{alias} takes no argument `{self.first}`: that is its InteractionContext.")
        if not self.takes_any and not kwargs.keys() <= self.names:
            unknown = ", ".join(f"`{name}`" for name in kwargs if name not in self.names)
            known = ", ".join(sorted(name for name in self.names if not name.startswith("_"))) or "none"
            raise TypeError(f"{alias} takes no argument {unknown}; its arguments are: {known}.")

    def check_call(self, alias: str, kwargs: dict[str, Any]) -> None:
        """Raise `TypeError` for a name that the function does not take, and for one that it needs and does not get."""
        if kwargs:
            self.check_names(alias, kwargs)
        if not self.required <= kwargs.keys():
            missing = ", ".join(f"`{name}`" for name in sorted(self.required - kwargs.keys()))
            noun = "argument" if "," not in missing else "arguments"
            raise TypeError(f"{alias} needs the {noun} {missing}.")


def _check_timeout(seconds: object) -> None:
    if not isinstance(seconds, (int, float)):
        raise TypeError(f"`timeout` is a number of seconds, not {type(seconds).__name__}.")
    if isinstance(seconds, bool) or not seconds > 0:
        raise ValueError(f"`timeout` is a positive number of seconds, not {seconds!r}.")


def _name_of(function: Any) -> str:
    """The name of a function, also of one wrapped in a `functools.partial`."""
    while not hasattr(function, "__name__") and hasattr(function, "func"):
        function = function.func
    return str(getattr(function, "__name__", type(function).__name__))


def _opener() -> InteractionContext | PromisingContext | None:
    """Who has to finish a call that is opened here: the agent that runs, unless it is in a block of its own."""
    context = current_context()
    interaction = current_interaction()
    return interaction if interaction is not None and interaction.is_running_in(context) else context
