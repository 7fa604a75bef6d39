"""Tools that models call: functions, agents, and what else a `Tool` can be made of.

```python
@tool
def weather(city: str, days: int = 1) -> str:
    '''The weather of the next days.

    - city: which city.
    - days: how many days, at most 5.
    '''

openai_agent.inquire("Shall I take an umbrella?", tools=[weather, search_agent, mcp_tools("http://localhost:8000/mcp")])
```
"""

import copy
import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final, Generic, ParamSpec, Self, TypeAlias, TypeVar, overload

from miniagents.agents import MiniAgent
from miniagents.ext.llm._docstrings import read_docstring
from miniagents.ext.llm._function_call import call_function, said_in
from miniagents.ext.llm._tool_arguments import ToolArguments, parameters_of
from miniagents.ext.llm.errors import LLMParameterError, ToolError
from miniagents.ext.llm.prompt import ToolSchema

__all__ = ["AgentTool", "FunctionTool", "Tool", "ToolError", "ToolLike", "ToolSource", "tool"]

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)

_NAME: Final = re.compile("[a-zA-Z0-9_-]{1,64}")


class Tool(ABC):
    """Something that a model may call. Subclass it, or make one of a function or an agent by `tool`.

    - `name`: of letters, digits, `_` and `-`, 64 at most.
    - `description`: what the model is told of it.
    - `parameters`: the JSON schema of its arguments, an object.
    - `needs_approval`: whether somebody is asked before each call; see `llm_agent`.

    Raises `LLMParameterError` for a name that providers refuse and for a schema that is none of an object.
    """

    def __init__(
        self, name: str, description: str, parameters: Mapping[str, Any], *, needs_approval: bool = False
    ) -> None:
        if not _NAME.fullmatch(name):
            raise LLMParameterError(
                f"A tool cannot be named {name[:100]!r}: a name has 1 to 64 letters of a to z, digits, `_` and `-`. "
                'Give it one: `tool(..., name="...")`.'
            )
        if parameters.get("type") != "object":
            raise LLMParameterError(f"The schema of the arguments of {name} is not that of an object.")
        self.name = name
        self.description = description
        self.parameters = parameters
        self.needs_approval = needs_approval

    @property
    def schema(self) -> ToolSchema:
        """What the model is told."""
        return ToolSchema(self.name, self.description, self.parameters)

    def check(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments as `run` wants them. Raises `ToolError`, with what the model is told, if they are wrong."""
        return arguments

    @abstractmethod
    def run(self, arguments: dict[str, Any]) -> AsyncIterator[str]:
        """Do it, and give the text of the result, piece by piece. What it raises is told to the model, as an error."""

    def changed(self, *, name: str | None, description: str | None, needs_approval: bool | None) -> Self:
        """The same tool under another name, with another description, or with approval or without."""
        changed = copy.copy(self)
        Tool.__init__(
            changed,
            self.name if name is None else name,
            self.description if description is None else description,
            self.parameters,
            needs_approval=self.needs_approval if needs_approval is None else needs_approval,
        )
        return changed

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"


class ToolSource(ABC):
    """Tools that are known only when they are wanted, such as those of a server. Stands in `tools=[...]` too."""

    @abstractmethod
    async def tools(self) -> Sequence[Tool]:
        """The tools. Called for each call of an LLM agent, before anything is sent to the model."""


class FunctionTool(Tool, Generic[P, R_co]):
    """A function as a tool. Still to be called as a function."""

    def __init__(
        self,
        function: Callable[P, R_co],
        *,
        name: str | None = None,
        description: str | None = None,
        needs_approval: bool = False,
    ) -> None:
        self.function = function
        name = _name_of(function) if name is None else name
        parameters, types = parameters_of(name, function)
        _check_bound(name, parameters)
        told, told_of = read_docstring(getattr(function, "__doc__", ""), [parameter.name for parameter in parameters])
        self._arguments = ToolArguments(name, parameters, types, told_of)
        super().__init__(
            name, told if description is None else description, self._arguments.schema, needs_approval=needs_approval
        )

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function."""
        return self.function(*args, **kwargs)

    def check(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments, validated as the annotations say."""
        return self._arguments.check(arguments)

    def run(self, arguments: dict[str, Any]) -> AsyncIterator[str]:
        """What the function returns, or yields: a text, a message, or what pydantic can write as JSON."""
        return call_function(self.function, arguments)


class AgentTool(Tool):
    """An agent as a tool. The model gives it a `message`, and the arguments that the agent needs and does not have."""

    def __init__(
        self,
        agent: MiniAgent[...],
        *,
        name: str | None = None,
        description: str | None = None,
        needs_approval: bool = False,
    ) -> None:
        self.agent = agent
        name = agent.__name__ if name is None else name
        told_of = {_MESSAGE: "What the agent is told."}
        parameters, types = parameters_of(name, _takes_a_message)
        if needed := agent.needed_arguments:
            of_agent, types_of_agent = parameters_of(name, agent.function)
            if _MESSAGE in needed:
                raise LLMParameterError(
                    f"The agent {agent.alias} needs an argument `{_MESSAGE}`, which as a tool it has already: rename "
                    "it, or write a function that calls the agent, and make a tool of that."
                )
            # Only those: what has a default or a preset is the program's to choose, not the model's.
            parameters += [parameter for parameter in of_agent if parameter.name in needed]
            types = {**types_of_agent, **types}
            told_of |= read_docstring(agent.function.__doc__, needed)[1]
        self._arguments = ToolArguments(name, parameters, types, told_of)
        super().__init__(
            name,
            agent.description if description is None else description,
            self._arguments.schema,
            needs_approval=needs_approval,
        )

    def check(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments, validated as the annotations of the agent say."""
        return self._arguments.check(arguments)

    def run(self, arguments: dict[str, Any]) -> AsyncIterator[str]:
        """What the agent answers."""
        others = {name: value for name, value in arguments.items() if name != _MESSAGE}
        return said_in(self.agent.inquire(arguments[_MESSAGE], **others))


ToolLike: TypeAlias = Callable[..., Any] | MiniAgent[...] | Tool | ToolSource | Mapping[str, Any]
"""What `tools=[...]` takes; a dict is a tool of the provider's own, in its format, which the caller runs itself."""


class ToolDecorator:
    """What `@tool(...)` with arguments gives."""

    def __init__(self, **options: Any) -> None:
        self._options = options

    def __call__(self, function: Callable[P, R_co], /) -> FunctionTool[P, R_co]:
        """Make a tool of `function`."""
        return tool(function, **self._options)


# Agents too can be called, if only to be told how it is done.
@overload
def tool(  # type: ignore[overload-overlap]
    what: MiniAgent[...],
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    needs_approval: bool | None = None,
) -> AgentTool: ...


@overload
def tool(
    what: Tool, /, *, name: str | None = None, description: str | None = None, needs_approval: bool | None = None
) -> Tool: ...


@overload
def tool(
    what: Callable[P, R_co],
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    needs_approval: bool | None = None,
) -> FunctionTool[P, R_co]: ...


@overload
def tool(
    *, name: str | None = None, description: str | None = None, needs_approval: bool | None = None
) -> ToolDecorator: ...


def tool(
    what: Any = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    needs_approval: bool | None = None,
) -> Any:
    """Make a tool of a function, async or not, or of an agent; or change one. Also as a decorator.

    - `name`: by default that of the function or agent.
    - `description`: what the model is told; by default the docstring without what it says of the parameters. Those are
      told with the parameters: from a section `Args:`, a list `- name: what it is`, or a `Field(description=...)`.
    - `needs_approval`: whether somebody is asked before each call.

    Functions that are not async run in a thread. A function that stands in `tools=[...]` as it is becomes a tool at
    each call, which takes a millisecond or two; a decorated one is one already.

    Raises `LLMParameterError` for what no model can call: arguments whose types JSON does not know, or that have no
    names, and a function without a name.

    >>> @tool
    ... def add(a: int, b: int = 1) -> int:
    ...     '''Adds two numbers.
    ...
    ...     - a: the first one.
    ...     '''
    ...     return a + b
    >>> add.name, add.description, add.parameters["properties"]["a"]
    ('add', 'Adds two numbers.', {'type': 'integer', 'description': 'the first one.'})
    >>> add(2, b=3)
    5
    """
    if what is None:
        return ToolDecorator(name=name, description=description, needs_approval=needs_approval)
    if isinstance(what, Tool):
        return what.changed(name=name, description=description, needs_approval=needs_approval)
    if isinstance(what, MiniAgent):
        return AgentTool(what, name=name, description=description, needs_approval=bool(needs_approval))
    if not callable(what) or isinstance(what, type):
        raise LLMParameterError(f"A tool is made of a function or of an agent, not of {_shown(what)}.")
    return FunctionTool(what, name=name, description=description, needs_approval=bool(needs_approval))


def _shown(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else f"{type(value).__name__} {value!r:.100}"


def _name_of(function: Any) -> str:
    name = getattr(function, "__name__", None)
    if name is None or name == "<lambda>":
        what = "A lambda" if name else f"An object of the class {type(function).__name__}"
        raise LLMParameterError(f'{what} has no name that a model could call: `tool(..., name="...")` gives it one.')
    return str(name)


def _check_bound(name: str, parameters: Sequence[inspect.Parameter]) -> None:
    nothing = inspect.Parameter.empty
    if parameters and parameters[0].name == "self" and parameters[0].annotation is parameters[0].default is nothing:
        raise LLMParameterError(
            f"The function {name} is a method, and of no object yet, so a model would have to write `self`: make a "
            f"tool of the object's method, `tool(thing.{name})`."
        )


_MESSAGE: Final = "message"


def _takes_a_message(message: str) -> None:
    """The signature of an agent as a tool, as far as it is that of all agents."""
