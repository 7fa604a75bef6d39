"""Names: whatever the fields of data are called, the text, key, class and methods of a message are what they were."""

import copy
import hashlib
import json
import pickle
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from miniagents import Frozen, Message, MessageSequence, MiniAgents, miniagent
from miniagents.ext.llm.llm_common import AssistantMessage, UserMessage
from miniagents.messages import MessagePromise, frozen
from miniagents.testing import run_virtual
from reliability.probes import Expect, PlantedHole, Probes
from reliability.probes_models import FakeModel, anthropic_events

NAMES = Probes("names")

FORGED = "f" * 64  # could be a text, and could be a key

OTHERS = (
    # Of the engine, of pydantic and of Python.
    *("_string", "_hash_key", "_depth", "_result", "_log", "_known_metadata", "_final_metadata", "message_class"),
    *("_Message__string", "_Frozen__hash_key", "__Message__as_string__cache", "__Frozen__hash_key__cache"),
    *(
        "self",
        "cls",
        "this",
        "data",
        "metadata",
        "values",
        "args",
        "kwargs",
        "name",
        "value",
        "class",
        "class_",
        "type",
    ),
    *("$class", "$$class", "$hash", "$type", "$value", "$", "$ref", "lc", "py/object", "@type", "!!python/object"),
    *("__pydantic_root_model__", "__pydantic_setattr_handlers__", "model_", "root", "fields", "__root__"),
    *("__annotations__", "__bases__", "__mro__", "__subclasses__", "__globals__", "__code__", "__builtins__"),
    *(
        "__class_getitem__",
        "__getattribute__",
        "__call__",
        "__await__",
        "__aiter__",
        "__del__",
        "__enter__",
        "__exit__",
    ),
    *("__len__", "__bool__", "__int__", "__index__", "__float__", "__add__", "__lt__", "__get__", "__set_name__"),
    *("__html__", "__json__", "__array__", "__fspath__", "__bytes__", "__rich__", "__rich_console__", "_repr_html_"),
    *("_ipython_display_", "_ipython_canary_method_should_not_exist_", "__torch_function__", "__wrapped__"),
    *("_sa_instance_state", "__dataclass_fields__", "__attrs_attrs__", "__reduce__x", "__proto__", "constructor"),
    # No names at all.
    *(
        "",
        " ",
        ".",
        "a.b",
        "a[0]",
        "a b",
        "\n",
        "\0",
        "\u202e",
        "\x1b[2J",
        "é",
        "e\u0301",
        "text ",
        "Text",
        "\u200btext",
    ),
    *("x" * 10_000, "0", "-1", "None", "true", "{role}", "${role}", "%(role)s", "../x", "😀", "lambda", "async"),
)
# `text` and `role` have a meaning, and there they are: the probes give them as what they are.
ALL_NAMES = sorted({*dir(Message), *dir(MessagePromise), *OTHERS} - {"text"})
VALUES: dict[str, Any] = {"_depth": -1000, "__len__": 0, "__bool__": False, "_log": [], "__dict__": {"text": FORGED}}


def _escaped(value: Any) -> Any:
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {(f"${key}" if key.startswith("$") else key): _escaped(item) for key, item in value.items()}


def _canonical(name: str, fields: dict[str, Any]) -> str:
    """The key of a message of the class `name`, as the documentation of `hash_key` says that it is made."""
    text = json.dumps({**_escaped(fields), "$class": name}, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


METHODS = [name for name in dir(Message) if callable(getattr(Message, name)) and name != "__class__"]


def _function(method: Any) -> tuple[Any, ...]:
    """What a method does, whichever object it belongs to."""
    return tuple(getattr(method, name, None) for name in ("__func__", "__qualname__", "__objclass__"))


def _is_sound(expect: Expect, message: Message, text: str, fields: dict[str, Any]) -> None:
    """Everything about `message` but the fields themselves is as if they were called otherwise."""
    for _ in range(2):  # what is cached comes out the second time
        expect(str(message) == text, f"the text is {str(message)!r}")
        expect(f"{message}" == text, "the text is another one in an f-string")
        expect(message.hash_key == _canonical(type(message).__name__, fields), f"the key is {message.hash_key!r}")
    expect(
        message.serialize() == {key: value for key, value in fields.items() if key in message}, "lost in `serialize`"
    )
    expect(message.text == fields["text"], f"`text` is {message.text!r}")
    expect(isinstance(message, Message), "it is no message any more")
    plain = type(message)("plain")
    others = [name for name in METHODS if _function(getattr(message, name)) != _function(getattr(plain, name))]
    expect(not others, f"these methods are others: {others}")
    expect(type(message)(**message.serialize()) == message, "it does not come back from its data")
    for twin in (copy.copy(message), copy.deepcopy(message), pickle.loads(pickle.dumps(message)), message.model_copy()):
        expect((twin, str(twin), twin.hash_key) == (message, text, message.hash_key), "a copy is another one")
    expect(hash(message) == hash(copy.copy(message)), "its hash is another one")
    expect(list(message.sub_messages()) == [], "data became a message")
    expect(repr(message).startswith(f"{type(message).__name__}("), "its repr is another one")
    for name in ("_string", "_hash_key", "_depth", "text"):
        try:
            setattr(message, name, FORGED)
        except (AttributeError, ValueError):
            continue
        expect(False, f"`{name}` can be set")


def _by(make: Callable[[dict[str, Any]], Message]) -> Callable[[Expect, str], None]:
    def check(expect: Expect, name: str) -> None:
        value = VALUES.get(name, FORGED)
        data = {"text": "the text", "role": "user", name: value}
        message = make(data)
        expect(name in message, "the field is lost")
        got = message[name]
        expect(got == (Frozen(**value) if isinstance(value, dict) else tuple(value) if value == [] else value), got)
        _is_sound(expect, message, "the text", data)

    return check


def _sent(data: dict[str, Any]) -> Message:
    """As a dict to an agent that passes it on."""

    @miniagent
    async def echo(ctx: Any) -> None:
        ctx.reply(ctx.message_promises)

    async def main() -> Message:
        async with MiniAgents():
            (message,) = await echo.inquire([data])
            return message

    return run_virtual(main)


def _streamed(data: dict[str, Any]) -> Message:
    """As what is known of a message before and after its text."""
    before, behind = {**data}, {}
    before.pop("text")
    behind["role"] = before.pop("role")

    async def main() -> Message:
        async def tokens(known_at_end: dict[str, Any]) -> Any:
            known_at_end.update(behind)
            yield "the "
            yield "text"

        async with MiniAgents():
            return await Message.promise(tokens, **before)

    return run_virtual(main)


TABLE = {name[:40]: name for name in ALL_NAMES}
NAMES.table("keywords", TABLE, _by(lambda data: Message(**data)))
NAMES.table("JSON", TABLE, _by(lambda data: UserMessage.model_validate_json(json.dumps(data))))
NAMES.table("a dict that is sent to an agent", TABLE, _by(_sent))
NAMES.table("the metadata of a stream", TABLE, _by(_streamed))


def _nested(expect: Expect, name: str) -> None:
    """Three levels down, where nobody looks at names."""
    value = VALUES.get(name, FORGED)
    fields = {"text": "the text", "data": {"list": [{name: value}]}}
    message = Message(**fields)
    inner = message["data"]["list"][0]
    expect(type(inner) is Frozen, f"it is {type(inner)}")
    expect(list(inner.keys()) == [name], f"it has the fields {list(inner.keys())}")
    _is_sound(expect, message, "the text", fields)


def _without_text(expect: Expect, name: str) -> None:
    """A message without a text says its data."""
    value = VALUES.get(name, FORGED)
    message = Message(**{name: value, "more": 1}) if name != "text_template" else Message(more=1)
    expect(json.loads(str(message)) == message.serialize(), f"the text is {str(message)!r}")
    expect(str(message) != FORGED, "a field passes for the text")
    sequence = MessageSequence.turn_into_sequence_promise([message])

    async def main() -> tuple[Message, ...]:
        async with MiniAgents():
            return await sequence

    expect(run_virtual(main) == (message,), "it is another one in a sequence")


NAMES.table("data inside data", {**TABLE, "text": "text"}, _nested)
NAMES.table("a message without a text", {**TABLE, "text_template, absent": "text_template"}, _without_text)

# ---------------------------------------------------------------------- what a server sends

ALLOWED = {"text", "role", "model", "agent_alias", "usage", "finish_reason", "stop_reason"}


def _extras_of_a_server(expect: Expect, name: str) -> None:
    extra = {name: VALUES.get(name, FORGED)}
    delta = {**extra, "content": "hello"}
    openai = [
        {**extra, "choices": [{**extra, "delta": delta, "index": 0, "finish_reason": "stop"}]},
        {**extra, "choices": [], "usage": {**extra, "prompt_tokens": 1}},
    ]
    start, said, end, stop = anthropic_events("hello")
    said = {**said, "delta": {**extra, **said["delta"]}}
    usage = {**extra, "input_tokens": 1}
    anthropic = [{**extra, **start, "message": {**extra, "usage": usage}}, {**extra, **said}, {**extra, **end}, stop]
    for model in (FakeModel(openai), FakeModel(anthropic, anthropic=True)):

        async def main(model: FakeModel = model) -> Message:
            async with MiniAgents():
                (reply,) = await model.agent.inquire("hi")
                return reply

        reply = run_virtual(main)
        expect(type(reply) is AssistantMessage, f"the reply is a {type(reply)}")
        expect((str(reply), reply.get("role")) == ("hello", "assistant"), repr(reply))
        expect(set(reply.keys()) <= ALLOWED, f"the reply has the fields {sorted(reply.keys())}")
        expect(reply["usage"].get("input_tokens") == 1, f"the usage is {reply['usage']!r}")
        expect(type(reply["usage"]) is Frozen, "the usage is no data any more")
        expect(reply.hash_key == AssistantMessage(**reply.serialize()).hash_key, "the key is another one")


# All but the one that is a field of the protocol.
NAMES.table("the answer of a server", {key: name for key, name in TABLE.items() if name != "type"}, _extras_of_a_server)

# ---------------------------------------------------------------------- mistakes that must be found


def _text_from_a_field(self: Message) -> str:
    """The text is kept in an attribute, and whatever stands there is the text."""
    return getattr(self, "_string", None) or self.text or json.dumps(self.serialize(), ensure_ascii=False)


def _key_from_a_field(original: Any) -> property:
    return property(lambda self: getattr(self, "_hash_key", None) or original.fget(self))


def _unescaped_fields(original: Any) -> Callable[[Any], dict[str, Any]]:
    def fields(one: Any) -> dict[str, Any]:
        """A field that is called `$class` is the class."""
        made: dict[str, Any] = original(one)
        return {**made, **({"$class": made.pop("$$class")} if "$$class" in made else {})}

    return fields


HOLES = [
    PlantedHole(
        "names",
        "keywords",
        "the text is kept where a field can be",
        lambda: patch.object(Message, "__str__", _text_from_a_field),
    ),
    PlantedHole(
        "names",
        "JSON",
        "the key is kept where a field can be",
        lambda: patch.object(Frozen, "hash_key", _key_from_a_field(Frozen.__dict__["hash_key"])),
    ),
    PlantedHole(
        "names",
        "a dict that is sent to an agent",
        "a field chooses the class in the key",
        lambda: patch("miniagents.messages.frozen._canonical_fields", _unescaped_fields(frozen._canonical_fields)),
    ),
]
