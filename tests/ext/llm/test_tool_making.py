"""What tools are made of, and what a model is told of them."""

import asyncio
import datetime
import enum
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from miniagents import Message, MiniAgents, miniagent
from miniagents.ext.llm.errors import LLMParameterError, ToolError
from miniagents.ext.llm.openai import openai_agent
from miniagents.ext.llm.tools import AgentTool, FunctionTool, Tool, tool
from miniagents.ext.models import echo_agent
from miniagents.testing import ToolUse
from support.scripted_model import ScriptedModel


class City(BaseModel):
    title: str
    people: int = 0


class Unit(enum.Enum):
    C = "celsius"
    F = "fahrenheit"


def weather(
    city: City,
    day: datetime.date,
    unit: Unit = Unit.C,
    detail: Literal["low", "high"] = "low",
    schema: Annotated[int, Field(description="by its annotation", gt=0)] = 1,
    model_x: int = Field(2, description="by its default"),
    _private: tuple[int, ...] = (),
) -> str:
    """Tells the weather.

    Also of tomorrow.

    Args:
        city: Which city,
            and how many live there.
        day (date): Of when.
        schema: Not this.

    Returns:
        A sentence.
    """
    return f"{city.title} {day:%d.%m.} {unit.name} {detail} {schema} {model_x} {_private}"


def test_the_schema_is_that_of_the_signature() -> None:
    """A model is told the name, the docstring without the arguments, and type, default and text of each parameter."""
    made = tool(weather)
    assert made.name == "weather"
    assert made.description == "Tells the weather.\n\nAlso of tomorrow.\n\nReturns:\n    A sentence."
    schema = made.parameters
    assert (schema["type"], schema["required"], schema["additionalProperties"]) == ("object", ["city", "day"], False)
    properties = schema["properties"]
    assert properties["city"] == {"$ref": "#/$defs/City", "description": "Which city, and how many live there."}
    assert "title" in schema["$defs"]["City"]["properties"]
    assert properties["day"] == {"type": "string", "format": "date", "description": "Of when."}
    assert properties["detail"] == {"type": "string", "enum": ["low", "high"], "default": "low"}
    assert properties["schema"]["description"] == "by its annotation"
    assert properties["model_x"] == {"type": "integer", "default": 2, "description": "by its default"}
    assert properties["_private"]["type"] == "array"


async def test_what_json_cannot_tell_is_the_functions_own() -> None:
    """A default that JSON does not know is not in the schema, and the function gets it; a strict date is a text in JSON."""
    nothing = object()

    def book(day: Annotated[datetime.date, Field(strict=True)], room: Any = nothing) -> str:
        return f"{day:%d.%m.} {room is nothing}"

    assert "default" not in tool(book).parameters["properties"]["room"]
    assert await result_of(book, day="2026-11-22") == "22.11. True"


async def result_of(what: Any, **arguments: Any) -> str:
    made = what if isinstance(what, Tool) else tool(what, name="it")
    return "".join([piece async for piece in made.run(made.check(arguments))])


async def test_arguments_arrive_as_the_annotations_say() -> None:
    """The function gets values of its own types, and its defaults for what the model has left out."""
    given = {"city": {"title": "Oslo"}, "day": "2026-11-22"}
    assert await result_of(weather, **given) == "Oslo 22.11. C low 1 2 ()"
    others = {"unit": "fahrenheit", "detail": "high", "schema": 3, "model_x": 4, "_private": [5]}
    assert await result_of(weather, **given, **others) == "Oslo 22.11. F high 3 4 (5,)"


@pytest.mark.parametrize(
    ("docstring", "told", "told_of"),
    [
        (None, "", {}),
        (
            "Adds.\n\n- a: first,\n  one\n- `b`: second\n\nThat is all.",
            "Adds.\n\nThat is all.",
            {"a": "first, one", "b": "second"},
        ),
        (
            "Adds.\n\n- `a`, `b`: numbers.\n- c: no parameter",
            "Adds.\n\n- c: no parameter",
            {"a": "numbers.", "b": "numbers."},
        ),
        ("Adds.\n\nArgs:\n    a: first\n    **b (int): second: yes\n", "Adds.", {"a": "first", "b": "second: yes"}),
        (
            "Adds.\n\nArgs:\n    a: first\n\n    b: second\n\nNote: a: b",
            "Adds.\n\nNote: a: b",
            {"a": "first", "b": "second"},
        ),
        ("a: not in a section", "a: not in a section", {}),
    ],
)
def test_docstrings_tell_of_parameters(docstring: str | None, told: str, told_of: dict[str, str]) -> None:
    """A section `Args:` and lists of names tell of the parameters, and all else of the tool."""

    def add(a: int, b: int) -> int:
        return a + b

    add.__doc__ = docstring
    made = tool(add)
    found = {name: text for name, of in made.parameters["properties"].items() if (text := of.get("description"))}
    assert (made.description, found) == (told, told_of)


def test_a_decorated_function_is_still_one() -> None:
    """`@tool`, with arguments and without, makes a tool that can be called as the function was."""

    @tool
    def plain(a: int) -> int:
        return a + 1

    @tool(name="other-name", description="Adds.", needs_approval=True)
    def named(a: int) -> int:
        return a + 1

    assert (plain(1), named(a=1)) == (2, 2)
    assert (plain.name, plain.needs_approval) == ("plain", False)
    assert (named.name, named.description, named.needs_approval) == ("other-name", "Adds.", True)


def test_a_tool_can_be_changed() -> None:
    """`tool` of a tool is another one with the name, description or approval given; the first one stays as it was."""
    first = tool(weather, needs_approval=True)
    second = tool(first, name="w")
    assert (first.name, second.name, second.description, second.needs_approval) == (
        "weather",
        "w",
        first.description,
        True,
    )
    assert tool(second, needs_approval=False).needs_approval is False
    with pytest.raises(LLMParameterError, match="named"):
        tool(first, name="a b")


class Method:
    def method(self, a: int) -> int:
        return a + 1

    async def __call__(self, a: int) -> int:
        return a + 1


async def adds_later(a: int) -> int:
    await asyncio.sleep(0)
    return a + 1


def add(a: int, b: int) -> int:
    return a + b


async def test_all_that_can_be_called_by_name_is_a_function() -> None:
    """Methods, objects that are async to call, partial functions and those that return awaitables are functions too."""
    for what in (Method().method, Method(), adds_later, functools.partial(add, b=1), lambda a: adds_later(int(a))):
        assert await result_of(what, a=1) == "2", what


def test_what_is_preset_is_not_the_models() -> None:
    """What a partial function has preset is no argument that a model could change."""
    made = tool(functools.partial(add, b=1), name="it")
    assert list(made.parameters["properties"]) == ["a"]
    with pytest.raises(ToolError, match="b: Extra inputs"):
        made.check({"a": 1, "b": 2})


@dataclass
class Point:
    x: int


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("é", "é"),
        (Unit.C, '"celsius"'),
        (None, ""),
        ({"a": (1, None, True)}, '{"a":[1,null,true]}'),
        (Point(1), '{"x":1}'),
        (City(title="Oslo"), '{"title":"Oslo","people":0}'),
        (datetime.date(2026, 11, 22), '"2026-11-22"'),
        (Message("hi", x=1), "hi"),
    ],
    ids=repr,
)
async def test_what_a_function_returns_becomes_a_text(value: Any, text: str) -> None:
    """A text stays as it is, a message gives its text, and all else is JSON."""
    assert await result_of(lambda: value) == text


async def test_what_a_function_yields_becomes_a_text() -> None:
    """Generators, async or not, and what agents reply with give their pieces."""

    def numbers() -> Iterator[int]:
        yield from (1, 2)

    async def later() -> AsyncIterator[Any]:
        yield 1
        yield "2"

    async def asks() -> Any:
        return echo_agent.inquire(["a", "b"])

    async def promises() -> Any:
        return Message("c").as_promise

    async with MiniAgents():
        assert [await result_of(what) for what in (numbers, later, asks, promises)] == ["12", "12", "a\n\nb", "c"]


# ---------------------------------------------------------------------- agents


@miniagent
async def searcher(ctx, *, where: str, how_deep: int = 1, key: str = "secret") -> None:
    """Searches.

    - where: in which library.
    - key: for the program alone.
    """
    ctx.reply(f"{await ctx.message_promises} {where} {how_deep} {key}")


def test_an_agent_is_told_a_message_and_what_it_needs() -> None:
    """The model gives an agent a message and what it needs; what has a default or a preset stays the program's."""
    made = tool(searcher)
    assert isinstance(made, AgentTool)
    assert (made.name, made.description) == (
        "searcher",
        "Searches. - where: in which library. - key: for the program alone.",
    )
    assert made.parameters["properties"] == {
        "message": {"type": "string", "description": "What the agent is told."},
        "where": {"type": "string", "description": "in which library."},
    }
    assert made.parameters["required"] == ["message", "where"]
    assert list(tool(searcher.fork(where="here")).parameters["properties"]) == ["message"]
    assert list(tool(openai_agent.fork(alias="EXPERT")).parameters["properties"]) == ["message"]


@pytest.mark.parametrize("name", ["key", "how_deep", "timeout", "start_asap", "messages"])
def test_a_model_cannot_give_an_agent_more(name: str) -> None:
    """Arguments of an agent that a model was not asked for are refused."""
    with pytest.raises(ToolError, match=f"{name}: Extra inputs"):
        tool(searcher).check({"message": "x", "where": "y", name: 1})


async def test_an_agent_gets_what_the_model_has_given() -> None:
    """The message is the agent's input, and the arguments are its own."""
    async with MiniAgents():
        replies = await result_of(tool(searcher), message="cats", where="attic")
    assert "cats" in replies
    assert replies.endswith("attic 1 secret")


def test_an_agent_with_a_message_of_its_own_is_refused() -> None:
    """An agent that needs an argument `message` cannot be a tool as it is."""

    @miniagent
    async def confused(ctx, message: str) -> None: ...

    with pytest.raises(LLMParameterError, match="rename"):
        tool(confused)


# ---------------------------------------------------------------------- refused


class Opaque: ...


def positional(a: int, /) -> None: ...
def some(*many: int) -> None: ...
def named(**many: int) -> None: ...
def opaque(a: Opaque) -> None: ...
def callback(a: Callable[[], int]) -> None: ...
def missing(a: "NoSuchType") -> None: ...  # noqa: F821


@pytest.mark.parametrize(
    ("what", "complaint"),
    [
        (positional, "`a` by position only"),
        (some, r"`\*many`"),
        (named, r"`\*\*many`"),
        (opaque, "opaque has a parameter whose type"),
        (callback, "callback has a parameter whose type"),
        (missing, "NoSuchType"),
        (lambda a: a, "A lambda has no name"),
        (Method(), "class Method has no name"),
        (functools.partial(add, 1), "class partial has no name"),
        (City, "class City"),
        ("weather", "str 'weather'"),
        (3, "int 3"),
    ],
    ids=repr,
)
def test_what_no_model_can_call_is_refused(what: Any, complaint: str) -> None:
    """What has no name, or arguments that a model cannot give, is refused when the tool is made, with what to do."""
    with pytest.raises(LLMParameterError, match=complaint) as caught:
        tool(what)
    assert "arbitrary_types_allowed" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "a b", "é", "a.b", "x" * 65, "a\n"])
def test_a_name_that_providers_refuse_is_refused(name: str) -> None:
    """A name with other characters than letters, digits, `_` and `-`, or too long, is refused when the tool is made."""
    with pytest.raises(LLMParameterError, match="cannot be named"):
        tool(weather, name=name)


def test_a_tool_takes_an_object() -> None:
    """A tool of one's own whose arguments are no object is refused."""

    class Odd(Tool):
        def run(self, arguments: dict[str, Any]) -> AsyncIterator[str]:
            raise NotImplementedError

    with pytest.raises(LLMParameterError, match="object"):
        Odd("odd", "", {"type": "array"})


RAW = {"type": "function", "function": {"name": "weather", "description": "", "parameters": {"type": "object"}}}


@pytest.mark.parametrize(
    ("tools", "complaint"),
    [
        ([weather, tool(add, name="weather")], "Two of the tools are named 'weather'"),
        ([weather, RAW], "Two of the tools are named 'weather'"),
        ([{"name": "add"}, add], "Two of the tools are named 'add'"),
        (weather, "`tools` is a list"),
        (RAW, "`tools` is a list"),
        (["weather"], "str 'weather'"),
        ([lambda: 1], "A lambda"),
    ],
    ids=repr,
)
async def test_tools_that_cannot_be_right_are_refused(tools: Any, complaint: str) -> None:
    """Two tools of one name, and what is none, are refused before anything is sent."""
    model = ScriptedModel("never said")
    async with MiniAgents():
        with pytest.raises(LLMParameterError, match=complaint):
            await model.agent.inquire("?", tools=tools)
    assert model.prompts == []


async def test_tools_of_the_provider_are_left_to_the_caller() -> None:
    """A call of a tool that was given as a dict ends the reply; calls of others in the same answer have been run."""
    model = ScriptedModel([ToolUse("weather", {"city": "Oslo"}), ToolUse("add", {"a": 1, "b": 2})], "never said")
    async with MiniAgents():
        first, second, result = await model.agent.inquire("?", tools=[RAW, add])
        (alone,) = await ScriptedModel(ToolUse("no_such")).agent.inquire("?", tools=[RAW])
    assert (first["tool"], second["tool"], str(result), result["call_id"]) == ("weather", "add", "3", second["call_id"])
    assert alone["tool"] == "no_such"
    assert len(model.prompts) == 1


async def test_a_tool_of_ones_own_may_do_as_it_likes() -> None:
    """A subclass of `Tool` says what the model is told, checks the arguments, and streams its result."""

    class Shout(Tool):
        def __init__(self) -> None:
            super().__init__("shout", "Shouts.", {"type": "object", "properties": {"word": {"type": "string"}}})

        def check(self, arguments: dict[str, Any]) -> dict[str, Any]:
            if "word" not in arguments:
                raise ToolError("Which word?")
            return {"word": arguments["word"].upper()}

        async def run(self, arguments: dict[str, Any]) -> AsyncIterator[str]:
            yield arguments["word"]
            yield "!"

    model = ScriptedModel([ToolUse("shout", {"word": "hey"}), ToolUse("shout")], "done")
    async with MiniAgents():
        await model.agent.inquire("?", tools=[Shout()])
    assert model.results == [("shout", "HEY!", False), ("shout", "Which word?", True)]


def test_a_function_tool_tells_what_it_is() -> None:
    """The `repr` of a tool has its class and its name."""
    assert (repr(tool(add)), isinstance(tool(add), FunctionTool)) == ("<FunctionTool add>", True)


def test_a_method_in_the_body_of_its_class_is_no_tool_yet() -> None:
    """A model cannot write `self`, so the decorator says what to do; the method of an object is a tool."""
    with pytest.raises(LLMParameterError, match=r"The function find is a method.*`tool\(thing\.find\)`"):

        class Broken:
            @tool
            def find(self, what: str) -> str:
                return what

    class Library:
        def find(self, what: str) -> str:
            return what

    assert list(tool(Library().find).parameters["properties"]) == ["what"]

    def known(self: str) -> str:
        return self

    assert list(tool(known).parameters["properties"]) == ["self"]
