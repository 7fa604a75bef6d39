"""Templates: braces reach for nothing but plain fields of their own message, and text from elsewhere is never filled."""

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from miniagents import Frozen, Message, MiniAgents, join_messages, miniagent
from miniagents.agents.agent import MiniAgent
from miniagents.ext.llm.llm_common import AssistantMessage
from miniagents.ext.models import echo_agent, eliza_agent
from miniagents.messages import message as message_module
from miniagents.testing import run_virtual
from reliability.probes import Expect, PlantedHole, Probes
from reliability.probes_models import FakeModel, openai_chunks

TEMPLATES = Probes("templates")

REFUSED = None
FIELDS: dict[str, Any] = {
    "role": "user",
    "number": 7,
    "nothing": None,
    "several": ["one", "two"],
    "data": {"secret": "canary"},
    "other": Message("inside"),
    "braces": "{role} {{number}} {data.secret}",
}

# A template, and what comes of it: a text, or a refusal when the message is made.
TABLE: dict[str, tuple[str, str | None]] = {
    "a plain field": ("<{role}>", "<user>"),
    "a number": ("<{number}>", "<7>"),
    "the same field twice": ("{number}{number}", "77"),
    "doubled braces": ("{{role}}", "{role}"),
    "tripled braces": ("{{{role}}}", "{user}"),
    "doubled empty braces": ("{{}}", "{}"),
    "a field with braces in it": ("{braces}", "{role} {{number}} {data.secret}"),
    "Jinja, an expression": ("{{ role.__class__ }}", "{ role.__class__ }"),
    "percent signs": ("%(role)s %s %d", "%(role)s %s %d"),
    "dollar signs": ("$role $$", "$role $$"),
    "a shell": ("$(id) `id`", "$(id) `id`"),
    "dollar and braces": ("${role}", "$user"),
    "backslashes": ("\\N{BULLET} {role}", REFUSED),
    "an attribute": ("{role.__class__}", REFUSED),
    "a walk of attributes": ("{role.__class__.__mro__[1].__subclasses__}", REFUSED),
    "the globals of a method": ("{serialize.__globals__}", REFUSED),
    "an attribute of data": ("{data.secret}", REFUSED),
    "an attribute of a number": ("{number.real}", REFUSED),
    "an attribute of a message": ("{other.text}", REFUSED),
    "an index by name": ("{data[secret]}", REFUSED),
    "an index of a text": ("{role[0]}", REFUSED),
    "an index of a list": ("{several[0]}", REFUSED),
    "a call": ("{serialize()}", REFUSED),
    "a lambda": ("{(lambda: 1)()}", REFUSED),
    "an expression": ("{1+1}", REFUSED),
    "an expression that says itself": ("{role=}", REFUSED),
    "a statement of Jinja": ("{% import os %}", REFUSED),
    "a comment of Jinja": ("{# role #}", REFUSED),
    "repr": ("{role!r}", REFUSED),
    "str": ("{role!s}", REFUSED),
    "ascii": ("{role!a}", REFUSED),
    "a conversion that there is not": ("{role!x}", REFUSED),
    "no conversion": ("{role!}", REFUSED),
    "padding of 300 MB": ("{role:>300000000}", REFUSED),
    "digits without end": ("{number:.999999999f}", REFUSED),
    "a format": ("{number:x}", REFUSED),
    "separators of thousands": ("{number:,}", REFUSED),
    "a format of a conversion": ("{role!r:>9}", REFUSED),
    "a field in a format": ("{role:{number}}", REFUSED),
    "a field in a field": ("{a:{b:{c}}}", REFUSED),
    "braces in a name": ("{{{{role}}}}", "{{role}}"),
    "no name": ("{}", REFUSED),
    "a position": ("{0}", REFUSED),
    "an attribute of a position": ("{0.__class__}", REFUSED),
    "a negative position": ("{-1}", REFUSED),
    "the template itself": ("{text_template}", REFUSED),
    "the text": ("{text}", REFUSED),
    "a field that is not there": ("{missing}", REFUSED),
    "nothing": ("{nothing}", REFUSED),
    "a list": ("{several}", REFUSED),
    "data": ("{data}", REFUSED),
    "a message": ("{other}", REFUSED),
    "the object": ("{self}", REFUSED),
    "the class": ("{__class__}", REFUSED),
    "the dict": ("{__dict__}", REFUSED),
    "the extras of pydantic": ("{__pydantic_extra__}", REFUSED),
    "the fields of pydantic": ("{model_fields}", REFUSED),
    "a method": ("{serialize}", REFUSED),
    "a property": ("{hash_key}", REFUSED),
    "a slot": ("{_string}", REFUSED),
    "blanks around a name": ("{ role }", REFUSED),
    "a blank behind a name": ("{role }", REFUSED),
    "a line feed in a name": ("{ro\nle}", REFUSED),
    "a null in a name": ("{role\0}", REFUSED),
    "a name that looks the same": ("{r\u043ele}", REFUSED),
    "a zero width space in a name": ("{ro\u200ble}", REFUSED),
    "full width braces": ("\uff5brole\uff5d", "\uff5brole\uff5d"),
    "a name of 100,000 characters": ("{" + "r" * 100_000 + "}", REFUSED),
    "a brace that is not closed": ("{role", REFUSED),
    "a brace that is not opened": ("role}", REFUSED),
    "braces the wrong way round": ("}{", REFUSED),
    "thousands of braces": ("{" * 9_999, REFUSED),
    "brackets that are not closed": ("{role[}", REFUSED),
    "a variable of the environment": ("{environ}", REFUSED),
    "a module": ("{os.environ}", REFUSED),
    "the alias of an agent": ("{AGENT_ALIAS}", REFUSED),
    "a template of Python": ("${role.__class__}", REFUSED),
}


def _same(expect: Expect, got: object, wanted: object) -> None:
    expect(got == wanted, f"{got!r} instead of {wanted!r}")


def _as_template(expect: Expect, row: tuple[str, str | None]) -> None:
    template, wanted = row
    try:
        made = Message(text_template=template, **FIELDS)
    except ValueError as error:
        expect(wanted is REFUSED, f"refused: {error}")
        expect("canary" not in str(error), f"the error tells a field: {error}")
        expect(len(str(error)) < 300_000, "the error is a burden")
        return
    _same(expect, str(made), wanted)


def _in_a_field(expect: Expect, row: tuple[str, str | None]) -> None:
    """What a field holds is filled in, and not looked at again."""
    made = Message(text_template="<{said}> by {role}", **FIELDS, said=row[0])
    _same(expect, str(made), f"<{row[0]}> by user")


def _beside_a_text(expect: Expect, row: tuple[str, str | None]) -> None:
    """Where there is a text, a template is but a field."""
    made = Message("the text", **FIELDS, text_template=row[0])
    _same(expect, (str(made), made["text_template"]), ("the text", row[0]))


def _from_a_model(expect: Expect, row: tuple[str, str | None]) -> None:
    """As tokens of a model, through other agents, as a system prompt and a turn of the next model."""
    text = row[0]
    first, second = FakeModel(openai_chunks(*text[:50], text[50:])), FakeModel(openai_chunks("fine"))

    async def main() -> list[str]:
        async with MiniAgents():
            said = echo_agent.inquire(first.agent.inquire("hi"))
            joined = join_messages([said, AssistantMessage(text)])
            await second.agent.inquire([said, joined], system=text)
            return [str(message) for message in await said]

    _same(expect, run_virtual(main), [text])
    _same(expect, second.turns, [("assistant", text), ("user", f"{text}\n\n{text}")])
    _same(expect, second.system, text)


def _to_eliza(expect: Expect, row: tuple[str, str | None]) -> None:
    """What a user says to a model that answers with his words."""
    text = row[0].replace("\n", " ")

    async def main() -> str:
        async with MiniAgents():
            (reply,) = await eliza_agent.inquire(f"I am {text}", time_to_first_token=0, tokens_per_second=1e9)
            return str(reply)

    reply = run_virtual(main)
    for sign in ("canary", "<class", "object at 0x", "user", "eliza_agent"):
        expect(sign not in reply or sign in text, f"it says {reply!r}")


def _described(description: str, **fields: Any) -> MiniAgent[...]:
    @miniagent(description=description, **fields)
    async def agent(ctx: Any) -> None:
        ctx.reply(None)

    return agent


def _as_a_description(expect: Expect, row: tuple[str, str | None]) -> None:
    """One name has a meaning in descriptions, and that is its alias."""
    text = row[0]
    wanted = text.replace("{AGENT_ALIAS}", "ME")
    _same(expect, _described(text, alias="ME").description, wanted)
    _same(expect, _described("x", alias="ME").fork(description=text).description, wanted)

    async def documented(ctx: Any) -> None: ...

    documented.__doc__ = text
    _same(expect, miniagent(alias="ME")(documented).description, " ".join(wanted.split()))


def _as_an_alias(expect: Expect, row: tuple[str, str | None]) -> None:
    """An alias, which may be the name of a model, is filled in, and not looked at again."""
    text = row[0]
    _same(expect, _described("I am {AGENT_ALIAS}, {role}.", alias=text).description, f"I am {text}, {{role}}.")


TEMPLATES.table("a text_template", TABLE, _as_template)
TEMPLATES.table("a field of a text_template", TABLE, _in_a_field)
TEMPLATES.table("a text_template beside a text", TABLE, _beside_a_text)
TEMPLATES.table("what a model says", TABLE, _from_a_model)
TEMPLATES.table("what is said to Eliza", TABLE, _to_eliza)
TEMPLATES.table("a description", TABLE, _as_a_description)
TEMPLATES.table("an alias", TABLE, _as_an_alias)


def _a_bomb(expect: Expect, row: tuple[int, int]) -> None:
    """Small data does not become a large text."""
    fields, length = row
    try:
        made = Message(text_template="{a}" * fields, a="x" * length)
    except ValueError as error:
        expect(len(str(error)) < 1000, "the error is a burden")
        return
    expect(len(str(made)) == fields * length, "a part of it is missing")
    expect(len(str(made)) <= 10_000_000, f"{len(str(made)):,} characters")


TEMPLATES.table(
    "a template that grows",
    {
        "many fields": (100_000, 1),
        "a long field": (1, 1_000_000),
        "many long fields": (10_000, 100_000),
        "as long as may be": (10, 1_000_000),
        "just too long": (11, 1_000_000),
    },
    _a_bomb,
)

# ---------------------------------------------------------------------- mistakes that must be found


def _formatted(template: str, message: Message) -> str:
    """`str.format` with the fields of the message. (Without formats, one of which takes its time.)"""
    try:
        return template.partition(":")[0].format(**dict(**message))
    except (LookupError, AttributeError, TypeError, MemoryError) as error:
        raise ValueError from error


def _filled_twice(original: Callable[[str, Message], str]) -> Callable[[str, Message], str]:
    """What was filled in is filled once more."""
    return lambda template, message: original(original(template, message), message)


HOLES = [
    PlantedHole(
        "templates",
        "a text_template",
        "`str.format`",
        lambda: patch.object(message_module, "_fill", _formatted),
    ),
    PlantedHole(
        "templates",
        "a field of a text_template",
        "filled twice",
        lambda: patch.object(message_module, "_fill", _filled_twice(message_module._fill)),
    ),
    PlantedHole(
        "templates",
        "what a model says",
        "a text is taken for a template",
        lambda: patch.object(
            Message,
            "__str__",
            lambda self: message_module._fill(self.text or "", Message(**FIELDS)) or Frozen.__str__(self),
        ),
    ),
]
