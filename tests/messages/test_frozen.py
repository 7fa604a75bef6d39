"""Frozen data and messages as data."""

import copy
import datetime
import json
import math
import os
import pickle
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ValidationError, model_validator

from miniagents import Frozen, Message

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
metadata = st.dictionaries(
    st.text(max_size=8).filter(lambda name: name not in ("text", "text_template")), plain, max_size=4
)


class Note(Message):
    """A message with declared fields of many kinds."""

    priority: int = 0
    tags: list[str] = Field(default_factory=list)
    scores: dict[str, float] = Field(default_factory=dict)
    due: datetime.date | None = None
    replies: tuple[Message, ...] = ()


@given(text=st.none() | st.text(), fields=metadata)
def test_the_round_trip_through_json_gives_back_an_equal_message(text: str | None, fields: dict[str, Any]) -> None:
    """Every message comes back from its JSON as an equal object of the same class with the same key."""
    message = Message(text, **fields)
    for data in (message.model_dump_json(), json.dumps(message.serialize())):
        back = Message.model_validate_json(data)
        assert back == message
        assert type(back) is Message
        assert back.hash_key == message.hash_key


def test_the_round_trip_of_declared_fields() -> None:
    """A subclass with dates, lists, dicts and messages in its fields comes back as it was."""
    note = Note("x", priority=2, tags=["a"], scores={"b": 0.5}, due="2026-11-22", replies=[Message("y", role="user")])
    back = Note.model_validate_json(note.model_dump_json())
    assert back == note
    assert type(back.replies[0]) is Message
    assert back.replies[0].role == "user"
    assert Note(**note.serialize()) == note


@given(text=st.text(alphabet="a\ud800\udfff\U0001f600"))
def test_lone_surrogates_survive(text: str) -> None:
    """A text that is no valid Unicode has a key and JSON like any other."""
    message = Message(text)
    assert len(message.hash_key) == 64
    if "\ud800\udfff" not in text:  # in JSON these two are one character
        assert Message.model_validate_json(message.model_dump_json()) == message


@given(fields=metadata)
def test_the_key_does_not_depend_on_the_order_of_fields(fields: dict[str, Any]) -> None:
    """Fields given in another order, also inside dicts, make the same key."""
    backwards = dict(reversed(fields.items()))
    assert Message("x", **fields).hash_key == Message("x", **backwards).hash_key
    assert Message("x", d=fields).hash_key == Message("x", d=backwards).hash_key


def test_different_content_has_different_keys() -> None:
    """Values of another type, another nesting or another name make another key."""
    contents: list[dict[str, Any]] = [
        {},
        {"x": 1},
        {"x": 1.0},
        {"x": True},
        {"x": "1"},
        {"x": None},
        {"x": [1]},
        {"x": [[1]]},
        {"x": {"1": None}},
        {"y": 1},
        {"x": "true"},
        {"x": []},
        {"x": {}},
        {"$x": 1},
        {"$$x": 1},
        {"x": {"$class": "Message"}},
        {"x": Message()},
        {"x": {"$hash": Message().hash_key}},
    ]
    assert len({Message("t", **content).hash_key for content in contents}) == len(contents)
    assert Frozen(text="t").hash_key != Message("t").hash_key


def test_the_key_is_the_documented_one() -> None:
    """The key is SHA-256 of canonical form 1, written down here by hand."""
    import hashlib

    canonical = '{"$class":"Message","a":[1,2.5,{"b":null}],"text":"é"}'
    assert Message("é", a=[1, 2.5, {"b": None}]).hash_key == hashlib.sha256(canonical.encode()).hexdigest()


def test_the_key_is_the_same_in_every_process() -> None:
    """Another process with another hash seed computes the same key."""
    program = "from miniagents import Message; print(Message('x', tags=['a'], d={'q': 1, 'p': 2}).hash_key)"
    keys = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert keys == {Message("x", d={"p": 2, "q": 1}, tags=("a",)).hash_key + "\n"}


def test_everything_inside_is_frozen() -> None:
    """Lists become tuples, dicts become `Frozen`, in metadata and in declared fields; nothing can be set."""
    source: dict[str, Any] = {"list": [1, [2]], "mapping": {"inner": [3]}}
    message = Note("x", tags=["a"], scores={"b": 1}, **source)
    source["list"].append(9)
    assert message.list == (1, (2,))  # type: ignore[attr-defined]
    assert message.mapping.inner == (3,)  # type: ignore[attr-defined]
    assert message.tags == ("a",)
    assert message.scores == Frozen(b=1.0)
    for frozen, name in ((message, "text"), (message, "new"), (message.scores, "b")):
        with pytest.raises(ValidationError):
            setattr(frozen, name, 1)


@pytest.mark.parametrize(
    ("value", "error", "said"),
    [
        ({1, 2}, TypeError, "x is of type set"),
        ([0, b"bytes"], TypeError, r"x\[1\] is of type bytes"),
        ({"a": [object()]}, TypeError, r"x\.a\[0\] is of type object"),
        ({1: "a"}, TypeError, "key 1"),
        (math.nan, ValueError, "nan"),
        ([math.inf], ValueError, r"x\[0\] is inf"),
        (datetime.date(2026, 1, 1), TypeError, "x is of type date"),
        (lambda: None, TypeError, "x is of type function"),
    ],
)
def test_what_has_no_frozen_form_is_refused_with_its_place(value: Any, error: type[Exception], said: str) -> None:
    """A value that cannot be frozen, or that JSON does not have, is an error when the message is made."""
    with pytest.raises(error, match=said):
        Message("text", x=value)


def test_a_place_is_named_on_one_line_and_without_control_characters() -> None:
    """An error that names a field of data is short, and has nothing in it that a terminal would obey."""
    with pytest.raises(ValueError, match=r"^'data\.\\x1b\[2J\\n' is nan"):
        Message(data={"\x1b[2J\n": float("nan")})
    with pytest.raises(ValueError, match=f"^{'x' * 200}… is nan"):
        Message(**{"x" * 10_000: float("nan")})


def test_a_value_that_contains_itself_is_refused() -> None:
    """A list that contains itself is a clear `ValueError` and not a `RecursionError`."""
    ring: list[Any] = []
    ring.append(ring)
    with pytest.raises(ValueError, match="deep"):
        Message(x=ring)


def test_pydantic_models_in_metadata_become_frozen() -> None:
    """Another pydantic model given as metadata is kept as its data."""

    class Point(BaseModel):
        x: int
        labels: list[str]

    assert Message(point=Point(x=1, labels=["a"])).point == Frozen(x=1, labels=("a",))  # type: ignore[attr-defined]


def test_data_cannot_reach_what_is_cached() -> None:
    """Fields named like internals are data like any other and change neither the text nor the key."""
    hostile = dict.fromkeys(("_string", "_hash_key", "__dict__", "model_dump", "self", "keys", "class_"), "forged")
    message = Message.model_validate({"text": None, **hostile})
    assert str(message) != "forged"
    assert json.loads(str(message)) == {"text": None, **hostile}
    assert message.hash_key == Message(None, **{**hostile, "text": None}).hash_key != "forged"
    assert all(message[name] == "forged" for name in hostile)
    assert callable(message.model_dump)


def test_a_copy_never_carries_what_was_computed_for_the_original() -> None:
    """`model_copy`, `copy` and pickling give objects whose text and key are their own."""
    message = Message("old", n=1)
    assert (str(message), message.hash_key) == ("old", Message("old", n=1).hash_key)
    changed = message.model_copy(update={"text": "new", "n": [2]})
    assert str(changed) == "new"
    assert changed.hash_key == Message("new", n=[2]).hash_key
    assert changed.n == (2,)  # type: ignore[attr-defined]
    for same in (copy.copy(message), copy.deepcopy(message), pickle.loads(pickle.dumps(message))):
        assert same == message
        assert same.hash_key == message.hash_key


def test_a_frozen_is_read_like_an_object_and_like_a_mapping() -> None:
    """Fields are attributes, items, and can be unpacked; a missing one is an `AttributeError` or a `KeyError`."""
    frozen = Frozen(a=1, keys=2)
    assert (frozen.a, frozen["keys"], {**frozen}, "a" in frozen, frozen.get("b", 3)) == (  # type: ignore[attr-defined]
        1,
        2,
        {"a": 1, "keys": 2},
        True,
        3,
    )
    with pytest.raises(AttributeError):
        frozen.b  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(KeyError):
        frozen["b"]


def test_models_in_declared_fields_are_frozen_too() -> None:
    """A model that could be changed becomes `Frozen` in a declared field; one that is declared frozen stays itself."""

    class Loose(BaseModel):
        x: list[int]

    class Firm(BaseModel, frozen=True):
        x: int

    class Holder(Message):
        loose: Loose
        firm: Firm

    message = Holder(loose=Loose(x=[1]), firm=Firm(x=2))
    assert message.loose == Frozen(x=(1,))
    assert type(message.firm) is Firm
    with pytest.raises(ValidationError):
        message.loose.x = [2]
    assert Holder.model_validate_json(message.model_dump_json()) == message


def test_what_is_nested_too_deeply_is_refused_also_when_it_was_built_up() -> None:
    """The depth counts through messages inside messages, so that no walk over one can exceed the stack."""
    message = Message("innermost")
    for _ in range(99):
        message = Message("outer", inner=message)
    assert len(message.hash_key) == 64
    assert len(list(message.sub_messages())) == 99
    assert message == Message.model_copy(message)
    assert message.model_dump_json()
    with pytest.raises(ValueError, match="100 levels"):
        Message("too deep", inner=[message])


def test_the_hash_of_equal_objects_is_equal_and_of_others_mostly_not() -> None:
    """Hashes agree with equality, and tell apart what differs in undeclared fields, so that sets stay quick."""
    assert hash(Message("x", a=1)) == hash(Message("x", a=True))
    assert len({hash(Frozen(a=number)) for number in range(1000)}) > 990
    assert len({Message(a=number) for number in range(1000)}) == 1000


def test_what_is_computed_cannot_be_set() -> None:
    """The cached key cannot be forged from outside."""
    with pytest.raises(AttributeError, match="frozen"):
        Message("x")._hash_key = "forged"  # type: ignore[misc]


class Strange(Message):
    """A message with a validator that does what pydantic does not want."""

    @model_validator(mode="after")
    def _another(self) -> "Message":
        return Message("another")


def test_a_validator_that_gives_another_object_is_told_of() -> None:
    """Pydantic's warning about validators that return something else than `self` reaches the author of a subclass."""
    with pytest.warns(UserWarning, match="other than `self`"):
        Strange("said")


@given(st.text(st.characters(codec=None)))
def test_a_message_that_is_only_a_text_is_as_validated(text: str) -> None:
    """A message made of nothing but a text, which pydantic has not seen, cannot be told from one that it has made."""
    short, validated = Message(text), Message(text=text)
    assert short == validated
    assert hash(short) == hash(validated)
    assert short.hash_key == validated.hash_key
    assert repr(short) == repr(validated)
    assert short.model_fields_set == validated.model_fields_set == {"text"}
    assert short.__pydantic_extra__ == validated.__pydantic_extra__
    assert short.__pydantic_private__ == validated.__pydantic_private__
    for options in ({}, {"exclude_unset": True}, {"exclude_defaults": True}):
        assert short.model_dump(**options) == validated.model_dump(**options)
        assert short.model_dump_json(**options) == validated.model_dump_json(**options)
    changed = {"text": "other", "role": "user"}
    assert short.model_copy(update=changed) == validated.model_copy(update=changed) == Message("other", role="user")
    for copied in (copy.copy(short), copy.deepcopy(short), pickle.loads(pickle.dumps(short))):
        assert copied == validated
        assert copied.model_fields_set == {"text"}


def test_a_change_of_what_a_message_tells_of_its_fields_changes_nothing() -> None:
    """The set of the names of the fields that were given belongs to whoever asked for it."""
    message = Message("said")
    message.model_fields_set.clear()
    message.model_copy(update={"role": "user"}).model_fields_set.add("text_template")
    assert message.serialize() == Message("said").serialize() == {"text": "said"}
    assert message.model_fields_set == Message("another").model_fields_set == {"text"}


def test_a_subclass_that_is_only_a_text_is_validated() -> None:
    """What a subclass demands of its text holds, however the text is given."""

    class Short(Message):
        text: str | None = Field(default=None, max_length=3)

    assert Short("abc").text == "abc"
    with pytest.raises(ValidationError):
        Short("abcd")
