"""`Frozen`: data that never changes, all the way down.

What goes in is turned into its frozen twin: lists become tuples, dicts become `Frozen`, and so on inside them. What has
no frozen twin is refused when the object is made, with the place where it sits.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Set
from types import NoneType
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticSerializationError, to_jsonable_python

_ATOMS: Final = frozenset((str, int, bool, NoneType))
# Deeper than anything that is meant, and less deep than where the JSON encoders give up.
_MAX_DEPTH: Final = 100
# Of the name of a field, in an error.
_LONGEST_NAME: Final = 200


class Frozen(BaseModel):
    """Immutable data with any fields: declared ones in subclasses, and whatever else is given by keyword.

    Values are plain data (str, int, finite float, bool, None), other `Frozen`s, and lists, tuples and dicts of these,
    nested at most 100 deep; pydantic models given as values become `Frozen`. Anything else raises a `TypeError`, a
    number that JSON does not have a `ValueError`, and a value that does not fit a declared field pydantic's
    `ValidationError`. Declared fields may have other types that pydantic knows; in them, too, containers are frozen,
    and models that are not frozen become `Frozen`.

    Fields are read as attributes or by `frozen["name"]` (which also reaches fields named like a method), and
    `**frozen` unpacks them.

    >>> Frozen(title="Notes", tags=["a", "b"], size={"width": 3}).size.width
    3
    """

    # Slots, because they belong to one object only: pydantic neither copies, compares, iterates nor serialises them,
    # so no cached value can be stale or be forged by data.
    __slots__ = ("__weakref__", "_depth", "_hash_key")
    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())

    def __init__(self, /, **data: Any) -> None:
        self._build(data)

    def _build(self, data: dict[str, Any]) -> None:
        """Validate and freeze the fields: for `__init__`, also that of a subclass, for which `data` is a dict already.

        To pack the fields once more for the `__init__` of each class takes longer than to validate them.
        """
        if self.__pydantic_validator__.validate_python(data, self_instance=self) is not self:
            super().__init__(**data)  # a validator gives another object: pydantic says so
        self._freeze_fields()

    def _freeze_fields(self) -> None:
        deepest = _freeze_values(vars(self), declared=True)
        if extra := self.__pydantic_extra__:
            deepest = max(deepest, _freeze_values(extra, declared=False))
        if deepest:
            _DEPTH_SLOT.__set__(self, deepest)

    # ------------------------------------------------------------------ identity of content

    @property
    def hash_key(self) -> str:
        """A key that depends on the content alone: SHA-256, as 64 hexadecimal digits, of canonical form 1.

        Equal content of the same class has the same key in every process and for ever; content that differs in any
        value or in the type of a value (`1`, `1.0`, `True`, `"1"`) has another one. The order of fields does not count.

        Canonical form 1 is JSON in UTF-8 (lone surrogates as three bytes each), without spaces, keys sorted, not ASCII
        escaped. An object has its fields, unset ones with their defaults, and, unless it is a plain `Frozen`, `$class`
        with the name of its class. A `Frozen` of any class inside it appears as `{"$hash": key}` if it is not plain.
        A field name that starts with `$` gets a second one. Other declared types are `{"$type": name, "$value": JSON}`.
        """
        try:
            cached: str = _HASH_KEY_SLOT.__get__(self)
        except AttributeError:
            text = _ENCODER.encode(_canonical_fields(self))
            cached = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
            _HASH_KEY_SLOT.__set__(self, cached)
        return cached

    def __hash__(self) -> int:
        # Of the fields, as equality is, so that equal objects have equal hashes whatever their keys are (1 == True).
        try:
            return hash((type(self), frozenset(vars(self).items()), frozenset((self.__pydantic_extra__ or {}).items())))
        except TypeError:  # a declared field of a type that has no hash
            return hash((type(self), frozenset(self.__pydantic_extra__ or ())))

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _OWN_SLOTS:
            raise AttributeError(f"{type(self).__name__} is frozen; `{name}` cannot be set.")
        super().__setattr__(name, value)

    # ------------------------------------------------------------------ as data

    def serialize(self) -> dict[str, Any]:
        """The content as plain JSON data, defaults left out. `type(x)(**x.serialize())` is an object equal to `x`.

        JSON has no classes: a message inside comes back as what its field is declared to be, else as a `Frozen`.
        """
        return {name: _plain(self[name]) for name in self.keys()}

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy, with some fields replaced; the new values are frozen but, as always in pydantic, not validated."""
        copied = super().model_copy(update=update, deep=deep)
        copied._freeze_fields()
        return copied

    def model_dump(self, **options: Any) -> dict[str, Any]:
        """As in pydantic. Nested models are written as what they are, not as what the field was declared to be."""
        return super().model_dump(**{"serialize_as_any": True, **options})

    def model_dump_json(self, **options: Any) -> str:
        """As in pydantic, and for every text: lone surrogates, which pydantic refuses, are written as JSON escapes."""
        options = {"serialize_as_any": True, **options}
        try:
            return super().model_dump_json(**options)
        except PydanticSerializationError:
            indent, ascii_only = options.pop("indent", None), options.pop("ensure_ascii", True)
            separators = None if indent else (",", ":")
            data = self.model_dump(mode="json", **options)
            return json.dumps(data, indent=indent, ensure_ascii=ascii_only, separators=separators)

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: Any) -> Self:
        """As in pydantic, and also for the escapes of lone surrogates."""
        try:
            return super().model_validate_json(json_data, **options)
        except ValueError as refused:
            try:
                data = json.loads(json_data)
            except ValueError:
                raise refused from None
            if not isinstance(data, dict):
                raise
            return cls.model_validate(data, **options)

    # ------------------------------------------------------------------ as a mapping of the fields that were given

    @property
    def model_fields_set(self) -> set[str]:
        """As in pydantic, but a set of its own: to change it changes nothing, as it must be, for many share theirs."""
        return set(self.__pydantic_fields_set__)

    def keys(self) -> Iterator[str]:
        """The names of the fields that were given, declared ones first."""
        given = self.__pydantic_fields_set__
        yield from (name for name in self.__dict__ if name in given)
        yield from self.__pydantic_extra__ or ()

    def __getitem__(self, name: str) -> Any:
        if name in self.__dict__:
            return self.__dict__[name]
        return (self.__pydantic_extra__ or {})[name]

    def __contains__(self, name: object) -> bool:
        return name in self.__dict__ or name in (self.__pydantic_extra__ or {})

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a field, or `default` if there is no such field."""
        try:
            return self[name]
        except KeyError:
            return default

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        return ((name, self[name]) for name in self.keys())

    def __str__(self) -> str:
        return self.__repr__()


# Read through the descriptor itself: plain attribute access falls back to the fields, where data could put anything.
_HASH_KEY_SLOT: Final[Any] = Frozen.__dict__["_hash_key"]
_DEPTH_SLOT: Final[Any] = Frozen.__dict__["_depth"]
_OWN_SLOTS: Final = frozenset(("_depth", "_hash_key", "_string"))


def _freeze_values(fields: dict[str, Any], declared: bool) -> int:
    """Freeze the values of a dict of fields. Gives how deep they are nested.

    Written to directly, once: this is what makes the fields what they stay.
    """
    deepest = 0
    for name, value in fields.items():
        if value.__class__ not in _ATOMS:
            fields[name] = frozen = _freeze(value, name, 1, declared)
            deepest = max(deepest, _depth(frozen))
            if deepest > _MAX_DEPTH:
                raise ValueError(f"{printable(name)} is nested more than {_MAX_DEPTH} levels deep.")
    return deepest


def _freeze(value: Any, where: str, depth: int, declared: bool) -> Any:
    """The frozen twin of `value`. Values of declared fields were accepted by pydantic, so any other type may stay."""
    if value.__class__ in _ATOMS or isinstance(value, Frozen):
        return value
    if depth > _MAX_DEPTH:
        raise ValueError(f"{printable(where[:60])}… is nested more than {_MAX_DEPTH} levels deep (or contains itself).")
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{printable(where)} is {value}, which JSON does not have.")
        return value if declared else float(value)
    if isinstance(value, (list, tuple)):
        return tuple(
            [
                item
                # The place is put into words only if need be: there are tuples of thousands of numbers.
                if item.__class__ in _ATOMS
                or isinstance(item, Frozen)
                or (item.__class__ is float and math.isfinite(item))
                else _freeze(item, f"{where}[{index}]", depth + 1, declared)
                for index, item in enumerate(value)
            ]
        )
    if isinstance(value, Mapping):
        return _freeze_mapping(value, where, depth, declared)
    if isinstance(value, BaseModel) and not (declared and value.model_config.get("frozen")):
        return _freeze_mapping(dict(value), where, depth, declared)
    if declared:
        return _freeze_declared(value)
    # An enum member or another subclass: only the plain value is data.
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    raise TypeError(
        f"{printable(where)} is of type {type(value).__name__}, which has no frozen form. "
        "Use plain data (str, int, float, bool, None), lists and dicts of it, or a subclass with a field of that type."
    )


def printable(name: str) -> str:
    """A name that data has chosen, for an error, which may come to a terminal or into a prompt: short, on one line."""
    short = name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…"
    return short if short.isprintable() else ascii(short)


def _freeze_declared(value: Any) -> Any:
    if isinstance(value, Set):
        return frozenset(value)
    return bytes(value) if isinstance(value, bytearray) else value


def _depth(value: Any) -> int:
    """How many levels of tuples and `Frozen`s there are in a frozen value, itself included."""
    if isinstance(value, tuple):
        return 1 + max(map(_depth, value), default=0)
    if isinstance(value, Frozen):
        try:
            inside: int = _DEPTH_SLOT.__get__(value)
        except AttributeError:
            inside = 0
        return 1 + inside
    return 0


def _freeze_mapping(value: Mapping[Any, Any], where: str, depth: int, declared: bool) -> Frozen:
    for name in value:
        if not isinstance(name, str):
            raise TypeError(f"{printable(where)} has the key {name!r}; keys must be strings.")
    return Frozen(**{name: _freeze(item, f"{where}.{name}", depth + 1, declared) for name, item in value.items()})


def _plain(value: Any) -> Any:
    if value.__class__ in _ATOMS or value.__class__ is float:
        return value
    if isinstance(value, Frozen):
        return value.serialize()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return to_jsonable_python(value)


def _canonical_fields(frozen: Frozen) -> dict[str, Any]:
    fields = {**frozen.__dict__, **(frozen.__pydantic_extra__ or {})}
    if "$" in "".join(fields):
        fields = {(f"${name}" if name[:1] == "$" else name): value for name, value in fields.items()}
    if frozen.__class__ is not Frozen:
        fields["$class"] = type(frozen).__name__
    return fields


def _canonical(value: Any) -> Any:
    """What JSON does not know, in canonical form."""
    if value.__class__ is Frozen:
        return _canonical_fields(value)
    if isinstance(value, Frozen):
        return {"$hash": value.hash_key}
    if isinstance(value, frozenset):
        return {"$type": "set", "$value": sorted(map(_ENCODER.encode, value))}
    return {"$type": type(value).__name__, "$value": to_jsonable_python(value)}


# Made once: to make an encoder takes as long as to use it.
_ENCODER: Final = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), allow_nan=False, sort_keys=True, default=_canonical
)
