"""Answers that are values: `response_type=City` has a model answer with the JSON of a `City`, and checks that it did.

```python
replies = openai_agent.inquire("The largest city?", response_type=City)
city = await value_of(replies, City)                # a `City`, for type checkers too
```
"""

import inspect
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from miniagents.ext.llm._schemas import close
from miniagents.ext.llm._shown import first_line
from miniagents.ext.llm.errors import LLMAnswerError, LLMParameterError
from miniagents.ext.llm.messages import AssistantMessage, UserMessage
from miniagents.ext.llm.prompt import AnswerSchema
from miniagents.messages import Message, MessagePromise, MessageSequencePromise

__all__ = ["TypedAnswer", "value_of"]

T = TypeVar("T")

# Providers want an object at the top, so everything else is put into one, under this name.
_WRAPPED: Final = "value"
_NOT_IN_NAMES: Final = re.compile("[^a-zA-Z0-9_-]+")
_LONGEST_NAME: Final = 64
_FENCE: Final = re.compile(r"^\s*```\w*[ \t]*\n(.*)\n\s*```\s*$", re.DOTALL)


class TypedAnswer(AssistantMessage, Generic[T]):
    """The answer of a model that was asked for a `response_type`. The text is the JSON as the model has written it."""

    if TYPE_CHECKING:

        def __init__(self, text: str | None = None, /, **metadata: Any) -> None: ...

    @property
    def value(self) -> T:
        """The validated value. Raises `LLMAnswerError` if the text is not one, as in an answer that was repaired."""
        value: T = parsed(str(self), self.response_type())
        return value

    @classmethod
    def response_type(cls) -> Any:
        """What the value is."""
        arguments = cls.__pydantic_generic_metadata__["args"]
        if not arguments:
            raise TypeError("A `TypedAnswer` has a value if it says of which type: `TypedAnswer[City]`.")
        return arguments[0]


async def value_of(replies: MessageSequencePromise, response_type: type[T]) -> T:
    """The value of the last answer in a reply, validated. Waits for the end of the reply.

    Raises what the reply raises, and `LLMAnswerError` if there is no answer, or it is not a `response_type`.

    >>> from miniagents import run
    >>> from miniagents.ext.models import scripted_agent
    >>> async def main():
    ...     return await value_of(scripted_agent.inquire(script="[1, 2]"), list[int])
    >>> run(main())
    [1, 2]
    """
    if isinstance(replies, (tuple, MessagePromise, Message)):
        raise TypeError("`value_of` takes the replies without `await`: `await value_of(agent.inquire(...), City)`.")
    answers = [message for message in await replies if message.is_answer]
    if not answers:
        raise LLMAnswerError("The reply has no answer, so there is no value in it.")
    value: T = parsed(str(answers[-1]), response_type)
    return value


def parsed(text: str, response_type: Any) -> Any:
    """The value in the text of an answer; `LLMAnswerError` if there is none."""
    adapter: TypeAdapter[Any] = TypeAdapter(response_type)
    # What was asked for inside of an object is looked for there first: the object itself may pass for the value.
    text = _unfenced(text)
    inner = _unwrapped(text) if _is_to_be_wrapped(_schema_of(adapter)) else None
    problem: ValidationError | None = None
    try:
        for candidate in (text,) if inner is None else (inner, text):
            try:
                return adapter.validate_json(candidate)
            except ValidationError as error:
                problem = problem or error
        raise LLMAnswerError(
            f"The answer is not a {_name_of(response_type)}: {problem}", partial_text=text
        ) from problem
    finally:
        del problem  # its traceback has this frame


def _unfenced(text: str) -> str:
    """What is in a code fence, into which small models put their JSON; without one the text itself."""
    found = _FENCE.search(text)
    return text if found is None else found[1]


def _schema_of(adapter: TypeAdapter[Any]) -> dict[str, Any]:
    try:
        return adapter.json_schema()
    except PydanticUserError:  # nobody could have asked a model for it
        return {"type": "object", "properties": {}}


def _is_to_be_wrapped(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") != "object" or "properties" not in schema


def _unwrapped(text: str) -> str | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return json.dumps(value[_WRAPPED]) if isinstance(value, dict) and value.keys() == {_WRAPPED} else None


@dataclass(frozen=True, slots=True)
class WantedAnswer:
    """What an answer must be."""

    answer_class: type[AssistantMessage] = AssistantMessage
    schema: AnswerSchema | None = None

    @classmethod
    def of(cls, response_type: Any) -> "WantedAnswer":
        """An answer of a `response_type`; any text if that is `None`."""
        if response_type is None:
            return cls()
        schema = answer_schema(response_type)  # first, because it says what is wrong with a type that is none
        return cls(TypedAnswer[response_type], schema)

    def problem_of(self, answer: Iterable[Message]) -> LLMAnswerError | None:
        """What is wrong with an answer, if something is."""
        if self.schema is None:
            return None
        said = [message for message in answer if isinstance(message, TypedAnswer)]
        try:
            if not said:
                raise LLMAnswerError("The answer has no text.")
            said[-1].value  # noqa: B018  (it is validated when it is asked for)
        except LLMAnswerError as problem:
            return problem
        return None


def repair_request(problem: LLMAnswerError) -> Message:
    """What a model is told of an answer that is not what was asked for."""
    return UserMessage(f"{problem}\n\nAnswer again, with the corrected JSON and nothing else.")


def answer_schema(response_type: Any) -> AnswerSchema:
    """What a provider is told of `response_type`. Raises `LLMParameterError` if it is no type with a JSON schema."""
    if isinstance(response_type, Mapping):  # which pydantic would take for a schema of its own kind
        raise _no_type(response_type, "a schema is no type.")
    if inspect.isroutine(response_type):  # for which pydantic has a schema too, that of its arguments
        raise _no_type(response_type, "a function is no type.")
    try:
        schema = TypeAdapter(response_type).json_schema()
    except (PydanticUserError, TypeError, ValueError) as error:
        raise _no_type(response_type, first_line(error)) from error
    definitions = {"$defs": schema.pop("$defs")} if "$defs" in schema else {}
    if _is_to_be_wrapped(schema):
        schema = {"type": "object", "properties": {_WRAPPED: schema}}
    schema |= definitions
    strict = close(schema)
    name = _NOT_IN_NAMES.sub("_", _name_of(response_type)).strip("_")[:_LONGEST_NAME] or "answer"
    return AnswerSchema(name, schema, strict)


def _no_type(response_type: object, problem: str) -> LLMParameterError:
    return LLMParameterError(
        "`response_type` must be a type that has a JSON schema, such as a pydantic model, unlike "
        f"{response_type!r}: {problem}"
    )


def _name_of(response_type: Any) -> str:
    is_plain = isinstance(response_type, type) and not hasattr(response_type, "__origin__")
    return response_type.__name__ if is_plain else str(response_type)
