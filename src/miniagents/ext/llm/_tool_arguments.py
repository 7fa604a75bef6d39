"""The arguments of a tool: what a model is told of them, and what becomes of those that it writes."""

import inspect
import json
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from pydantic import ConfigDict, Field, ValidationError, create_model
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import from_json, to_json

from miniagents.ext.llm._shown import first_line
from miniagents.ext.llm.errors import LLMParameterError, ToolError

_COMPLAINTS: Final = 20


class ToolArguments:
    """What a tool takes.

    Raises `LLMParameterError` for what a model cannot write.
    """

    schema: dict[str, Any]
    """The JSON schema, of an object."""

    def __init__(
        self,
        tool: str,
        parameters: Iterable[inspect.Parameter],
        types: Mapping[str, Any],
        descriptions: Mapping[str, str],
    ) -> None:
        fields: dict[str, Any] = {}
        self._names: dict[str, str] = {}
        for parameter in parameters:
            _check_kind(tool, parameter)
            # Not by its own name, which may be one that a model of pydantic has, or may not have.
            field = f"field_{len(fields)}"
            self._names[field] = parameter.name
            fields[field] = (types.get(parameter.name, Any), _field(parameter))
        try:
            self._model = create_model(tool, __config__=ConfigDict(extra="forbid"), **fields)
            self.schema = self._model.model_json_schema(schema_generator=_Schema)
        except (PydanticUserError, NameError) as error:
            raise LLMParameterError(
                f"The tool {tool} has a parameter whose type no model can write as JSON: {first_line(error)} "
                "Annotate it with types such as str, int, float, bool, list, dict, Literal, Enum or a pydantic model."
            ) from error
        self.schema.pop("title", None)
        properties = self.schema.setdefault("properties", {})
        for name, told in properties.items():
            told.pop("title", None)  # the name once more
            if name in descriptions:  # one in the annotation, which comes with the type, is better
                told.setdefault("description", descriptions[name])

    def check(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments as the function wants them. Raises `ToolError` if they are not as the schema says."""
        try:
            # As JSON, because there pydantic knows that a date can be nothing but a text.
            values = self._model.model_validate_json(to_json(arguments))
        except ValidationError as error:
            raise ToolError(_complaint(error)) from None
        return {name: getattr(values, field) for field, name in self._names.items()}


def read_arguments(written: str) -> dict[str, Any]:
    """The arguments that a model has written. Raises `ToolError` if they are no JSON object."""
    try:
        arguments = from_json(written.strip() or "{}", allow_inf_nan=False)
    except ValueError as error:
        raise ToolError(f"The arguments are not JSON: {error}.") from None
    try:
        json.dumps(arguments, allow_nan=False)  # 1e999 is read as an infinity
    except ValueError:
        raise ToolError("The arguments have a number that is too large.") from None
    if not isinstance(arguments, dict):
        raise ToolError(f"The arguments must be a JSON object, not {written.strip()[:100]}")
    return arguments


def parameters_of(tool: str, function: Callable[..., Any]) -> tuple[list[inspect.Parameter], dict[str, Any]]:
    """The parameters of a function, and their types by name. Raises `LLMParameterError` if Python cannot tell."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
        inner: Any = inspect.unwrap(function)
        preset: set[str] = set()
        while hasattr(inner, "func") and hasattr(inner, "keywords"):  # a `functools.partial`
            preset |= set(inner.keywords)
            inner = inner.func
        if not inspect.isroutine(inner):
            inner = type(inner).__call__
        types = typing.get_type_hints(inner, include_extras=True)
    except (TypeError, ValueError, NameError) as error:
        raise LLMParameterError(
            f"The signature of the tool {tool} cannot be read: {first_line(error)} A function whose annotations name "
            "types that are not in its module needs these imported there, and not only for the type checker."
        ) from error
    # What is preset is the program's word, which a model must not change.
    return [parameter for parameter in parameters if parameter.name not in preset], types


def _check_kind(tool: str, parameter: inspect.Parameter) -> None:
    kind = parameter.kind
    if kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY):
        return
    if kind is inspect.Parameter.POSITIONAL_ONLY:
        what = f"the parameter `{parameter.name}` by position only"
    else:
        what = f"`{'*' if kind is inspect.Parameter.VAR_POSITIONAL else '**'}{parameter.name}`"
    raise LLMParameterError(f"The tool {tool} takes {what}; a model gives each argument by its name.")


def _field(parameter: inspect.Parameter) -> FieldInfo:
    name = parameter.name
    if isinstance(parameter.default, FieldInfo):
        aliases = {"alias": name, "validation_alias": name, "serialization_alias": name}
        return FieldInfo.merge_field_infos(parameter.default, **aliases)
    default = ... if parameter.default is inspect.Parameter.empty else parameter.default
    return typing.cast("FieldInfo", Field(default, alias=name))


class _Schema(GenerateJsonSchema):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # A default that JSON cannot tell is the function's own business.
        self.ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}


def _complaint(error: ValidationError) -> str:
    mistakes = error.errors(include_url=False, include_context=False)
    lines = [f"- {'.'.join(map(str, mistake['loc'])) or 'all'}: {mistake['msg']}" for mistake in mistakes[:_COMPLAINTS]]
    if len(mistakes) > len(lines):
        lines.append(f"- and {len(mistakes) - len(lines)} more")
    return "\n".join(["The arguments are wrong:", *lines])
