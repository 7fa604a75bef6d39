"""Answers that are values: what the model is asked for, what it is held to, and what becomes of a wrong answer."""

import datetime
import json
from typing import Annotated, Any, Literal, Optional

import pytest
from pydantic import BaseModel, Field, TypeAdapter

from miniagents import MessageSequence, MiniAgents
from miniagents.ext.llm.anthropic import AnthropicProvider
from miniagents.ext.llm.errors import LLMAnswerError, LLMParameterError
from miniagents.ext.llm.messages import ToolCallMessage, ToolResultMessage, UserMessage
from miniagents.ext.llm.prompt import Prompt
from miniagents.ext.llm.structured import TypedAnswer, WantedAnswer, answer_schema, value_of
from miniagents.ext.models import scripted_agent
from miniagents.testing import LLMServer, ToolUse
from support.llm_ways import WAYS
from support.scripted_model import ScriptedModel

STREAMED = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])


class City(BaseModel):
    name: str
    people: int = 0


class Node(BaseModel):
    name: str
    parent: Optional["Node"] = Field(None, description="who it belongs to")


ROME = City(name="Rome", people=2_800_000)


@STREAMED
async def test_an_answer_has_its_value(way, stream: bool) -> None:
    """The message of the answer has the validated value, and its text is what the model has written."""
    text = '{"name": "Rome", "people": 2800000}'
    async with LLMServer(reply=text) as server, MiniAgents():
        replies = way.agent(server).inquire("Where?", response_type=City, stream=stream)
        (answer,) = await replies
        assert isinstance(answer, TypedAnswer)
        assert (answer.value, str(answer), await value_of(replies, City)) == (ROME, text, ROME)
        assert answer.role == "assistant"


async def test_the_model_is_told_the_schema(way) -> None:
    """The request has the schema of the type, in the form of the provider."""
    async with LLMServer(reply='{"name": "Rome"}') as server, MiniAgents():
        await way.agent(server).inquire("Where?", response_type=City)
    body = server.requests[0].body
    if way.is_anthropic:
        schema = body["output_config"]["format"]["schema"]
    else:
        form = body["text"]["format"] if way.is_of_responses else body["response_format"]["json_schema"]
        assert (form["name"], form["strict"]) == ("City", True)
        schema = form["schema"]
    assert set(schema["properties"]) == {"name", "people"}
    assert schema["required"] == ["name", "people"]
    assert schema["additionalProperties"] is False


async def test_what_is_no_object_comes_in_one(way) -> None:
    """A list is asked for as the field of an object, which is what providers want, and is the value all the same."""
    async with LLMServer(reply='{"value": [{"name": "Rome"}, {"name": "Oslo"}]}') as server, MiniAgents():
        cities = await value_of(way.agent(server).inquire("Where?", response_type=list[City]), list[City])
    assert [city.name for city in cities] == ["Rome", "Oslo"]


async def test_a_wrong_answer_is_repaired_once(way) -> None:
    """The model is told what is wrong and answers again; the value is that of the last message."""
    answers = ['{"name": "Rome", "people": "many"}', '{"name": "Rome", "people": 2800000}']
    async with LLMServer(reply=lambda request: answers[request.number]) as server, MiniAgents():
        replies = way.agent(server).inquire("Where?", response_type=City)
        wrong, right = await replies
        with pytest.raises(LLMAnswerError, match="people"):
            _ = wrong.value
        assert right.value == await value_of(replies, City) == ROME
    said = server.requests[1].messages
    assert [message["role"] for message in said] == ["user", "assistant", "user"]
    assert said[1]["content"] == answers[0]
    assert "people" in server.requests[1].last_user_text


async def test_an_answer_that_stays_wrong_is_an_error(way) -> None:
    """After one repair the reply ends in an error with the text of the last answer; what was said stays."""
    async with LLMServer(reply="I would rather not.") as server, MiniAgents():
        first, second, error = await way.agent(server).inquire("Where?", response_type=City).settled()
    assert str(first) == str(second) == "I would rather not."
    assert isinstance(error, LLMAnswerError)
    assert error.partial_text == "I would rather not."
    assert len(server.requests) == 2


@pytest.mark.parametrize(("max_turns", "asked"), [(1, 1), (2, 2), (3, 2)])
async def test_a_repair_is_a_turn(max_turns: int, asked: int) -> None:
    """The model is not asked for a better answer where it may not answer once more."""
    model = ScriptedModel("I would rather not.")
    async with MiniAgents():
        *said, error = await model.agent.inquire("Where?", response_type=City, max_turns=max_turns).settled()
    assert isinstance(error, LLMAnswerError)
    assert len(model.prompts) == len(said) == asked


async def test_the_answer_behind_tools_is_the_value(way) -> None:
    """Tools are called first; the answer that calls none is held to the type."""

    def people_of(city: str) -> int:
        return 2_800_000

    def reply(request: Any) -> Any:
        return '{"name": "Rome", "people": 2800000}' if request.tool_results else ToolUse("people_of", {"city": "Rome"})

    async with LLMServer(reply=reply) as server, MiniAgents():
        replies = way.agent(server).inquire("Where?", response_type=City, tools=[people_of])
        call, result, answer = await replies
    assert isinstance(call, ToolCallMessage)
    assert isinstance(result, ToolResultMessage)
    assert answer.value == ROME


async def test_a_type_without_a_schema_is_refused(way) -> None:
    """What no JSON can be is refused before anything is sent."""
    async with LLMServer() as server, MiniAgents():
        replies = way.agent(server).inquire("Where?", response_type=type(lambda: None))
        with pytest.raises(LLMParameterError, match="`response_type` must be a type that has a JSON schema"):
            await replies
    assert server.requests == []


@pytest.mark.parametrize(
    "given",
    [{"type": "object"}, {}, {"type": "int"}, City(name="Rome"), len, value_of],
    ids=["schema", "empty", "kind", "value", "builtin", "function"],
)
def test_what_is_no_type_is_refused(given: Any) -> None:
    """A schema or a value in the place of a type is refused in one sentence, without advice that cannot be followed."""
    with pytest.raises(LLMParameterError, match="`response_type` must be a type that has a JSON schema") as caught:
        WantedAnswer.of(given)
    assert repr(given) in str(caught.value)
    assert "arbitrary_types_allowed" not in str(caught.value)


async def test_a_value_is_taken_from_replies_that_nobody_awaited() -> None:
    """Replies that were awaited are a `TypeError` that says to leave the `await` out."""
    async with MiniAgents():
        replies: Any = await scripted_agent.inquire(script="[1]")
        for given in (replies, replies[0], replies[0].as_promise):
            with pytest.raises(TypeError, match="takes the replies without `await`"):
                await value_of(given, list[int])


def test_a_schema_is_closed_wherever_it_can_be() -> None:
    """Also inside of definitions no object has other fields, all are required, and a reference stands alone."""
    schema = answer_schema(Node)
    node = schema.schema["$defs"]["Node"]
    assert (node["required"], node["additionalProperties"]) == (["name", "parent"], False)
    assert "default" not in json.dumps(schema.schema)
    assert schema.schema["properties"] == {"value": {"$ref": "#/$defs/Node"}}
    assert schema.strict


def test_an_object_of_any_fields_is_not_closed() -> None:
    """A dict cannot be held to its fields, so the provider is not asked to."""
    assert not answer_schema(dict[str, int]).strict


def test_the_name_of_a_schema_is_one_that_providers_take() -> None:
    """Whatever a type is called."""
    for response_type in (list[City], City | None, dict[str, list[Node]]):
        name = answer_schema(response_type).name
        assert 0 < len(name) <= 64
        assert name.replace("_", "").isalnum()


def test_a_typed_answer_comes_back_from_json_as_itself() -> None:
    """It is equal, and has the same value."""
    answer = TypedAnswer[City]('{"name": "Rome"}', model="m")
    again = TypedAnswer[City].model_validate_json(answer.model_dump_json())
    assert (again, again.value, again.hash_key) == (answer, City(name="Rome"), answer.hash_key)


@pytest.mark.parametrize(
    ("response_type", "value"),
    [
        (dict[str, Any], {"a": 1}),
        (dict[str, dict[str, int]], {"a": {"b": 1}}),
        (Node, Node(name="leaf", parent=Node(name="root"))),
        (City | Node, City(name="Rome")),
        (list[int], [1, 2]),
        (City | None, None),
    ],
    ids=str,
)
def test_what_was_asked_for_in_an_object_is_taken_out_of_it(response_type: Any, value: Any) -> None:
    """Also where the object itself would pass for the value; and a model that leaves it out is understood as well."""
    bare = TypeAdapter(response_type).dump_json(value).decode()
    answer = TypedAnswer[response_type]
    assert answer(f'{{"value": {bare}}}').value == value
    assert answer(bare).value == value


@pytest.mark.parametrize("fence", ["```json\n{}\n```", "```\n{}\n```\n", "\n ```JSON \n{}\n ```"])
def test_a_value_may_stand_in_a_code_fence(fence: str) -> None:
    """Small models put their JSON into one."""
    assert TypedAnswer[City](fence.replace("{}", '{"name": "Rome"}')).value == City(name="Rome")
    assert TypedAnswer[list[int]](fence.replace("{}", "[1]")).value == [1]


def test_a_typed_answer_of_no_type_says_so() -> None:
    """The error tells what to write."""
    with pytest.raises(TypeError, match=r"TypedAnswer\[City\]"):
        _ = TypedAnswer("{}").value


async def test_a_reply_without_a_message_has_no_value() -> None:
    """It is an error, and no `None`."""
    async with MiniAgents():
        with pytest.raises(LLMAnswerError, match="no answer"):
            await value_of(MessageSequence.turn_into_sequence_promise([]), City)


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = Field(ge=0, le=9)


class Dog(BaseModel):
    kind: Literal["dog"]
    name: str = Field(min_length=1, max_length=9, pattern="^[A-Z]", description="what it hears")
    toys: list[str] = Field([], min_length=2, max_length=3)


Pet = Annotated[Cat | Dog, Field(discriminator="kind")]


class Home(BaseModel):
    pet: Pet
    born: datetime.date


def words_of(schema: Any) -> set[str]:
    """The words of the language of schemas that are in one."""
    waiting, words = [schema], set[str]()
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, dict):
            words |= node.keys() - {"properties", "$defs"}
            for name in ("properties", "$defs"):
                waiting += node.get(name, {}).values()
            waiting += [value for name, value in node.items() if name not in ("properties", "$defs", "required")]
    return words


async def sent_for(way, response_type: Any, answer: str) -> dict[str, Any]:
    async with LLMServer(reply=answer) as server, MiniAgents():
        replies = way.agent(server).inquire("?", response_type=response_type, system="Be brief.")
        value: Any = await value_of(replies, response_type)
    assert value is not None
    body: dict[str, Any] = server.requests[0].body
    return body


async def test_a_choice_between_types_is_asked_for_as_providers_know_it(way) -> None:
    """One of several types is any of them, without the word for what tells them apart, which no provider takes."""
    body = await sent_for(way, Home, '{"pet": {"kind": "cat", "lives": 9}, "born": "2020-01-01"}')
    if way.is_anthropic:
        schema = body["output_config"]["format"]["schema"]
    else:
        form = body["text"]["format"] if way.is_of_responses else body["response_format"]["json_schema"]
        assert form["strict"] is True
        schema = form["schema"]
    assert schema["properties"]["pet"]["anyOf"] == [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}]
    assert not words_of(schema) & {"oneOf", "discriminator", "mapping"}


@pytest.mark.parametrize("response_type", [tuple[int, str], dict[str, Any], list[Any]], ids=str)
def test_what_no_provider_can_hold_a_model_to_is_not_strict(response_type: Any) -> None:
    """Neither a tuple, nor an open object, nor a value of any kind has a strict schema."""
    assert not answer_schema(response_type).strict


def test_anthropic_is_told_in_words_what_its_schemas_do_not_know() -> None:
    """Limits of numbers, texts and lists are in the description; all else of the schema stays as it is."""
    wanted = answer_schema(Home)
    before = json.dumps(wanted.schema)
    prompt = Prompt.of([UserMessage("?")], answer=wanted)
    config = AnthropicProvider().make_request(
        prompt, {"model": "m", "stream": True, "output_config": {"effort": "low"}}
    )
    schema = config["output_config"]["format"]["schema"]
    assert config["output_config"]["effort"] == "low"
    limits = {"minimum", "maximum", "minLength", "maxLength", "pattern", "maxItems", "minItems"}
    assert limits - words_of(wanted.schema) == set()
    assert limits & words_of(schema) == set()
    assert schema["$defs"]["Cat"]["properties"]["lives"]["description"] == "{maximum: 9, minimum: 0}"
    name = schema["$defs"]["Dog"]["properties"]["name"]
    assert name["description"].startswith("what it hears\n\n{")
    assert "maxLength: 9" in name["description"]
    assert schema["properties"]["born"]["format"] == "date"
    assert schema["$defs"]["Dog"]["required"] == ["kind", "name", "toys"]
    assert json.dumps(wanted.schema) == before


@pytest.mark.parametrize("way", [way for way in WAYS if way.startswith("anthropic")], indirect=True)
@pytest.mark.parametrize(
    ("response_type", "answer"),
    [(dict[str, int], '{"a": 1}'), (Node, '{"name": "a", "parent": null}'), (tuple[int, str], '[1, "a"]')],
    ids=["open", "recursive", "tuple"],
)
async def test_anthropic_is_asked_in_words_for_what_it_cannot_be_held_to(way, response_type: Any, answer: str) -> None:
    """A schema that the API would refuse is told in the system prompt, and the answer is validated all the same."""
    body = await sent_for(way, response_type, answer)
    assert "output_config" not in body
    assert body["system"].startswith("Be brief.\n\n")
    assert json.loads(body["system"].splitlines()[-1]) == answer_schema(response_type).schema
