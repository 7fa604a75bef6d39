"""The JSON list in a text that comes in chunks: where it is, and each of its elements as soon as it is complete.

The text is read once, from left to right, and no more of it is kept than the value that is being read, so the time is
linear whatever the chunks are. It is always the next character that decides, never the end of a chunk, so any chunking
gives the same.

Which list it is
----------------
1. JSON begins at the first `[` or `{` that stands, white space and the head of a code fence aside, at the beginning of
   a line or behind a colon. What turns out not to be JSON before an element is complete is words, and so is an object
   without a list; the search goes on behind it.
2. A `[` there opens the list. With a `{` it is the one list among the values of the object; a second one is an error.
3. What is behind the list is words. A comma behind the last element is allowed.

Not promised: that the inside of an element, or of another value of the object, is looked at here. An element is what
its brackets and quotes enclose, and pydantic says what is wrong with it.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeAlias, TypeVar

from pydantic import TypeAdapter, ValidationError

from miniagents.messages._cutter import Cutter
from miniagents.messages.frozen import printable
from miniagents.promising.errors import MiniAgentsError

T = TypeVar("T")

_State: TypeAlias = Callable[[Any, str, int], int]
"""A state of the cutter: reads on in a chunk from a place, until it changes or the chunk ends. Gives the place."""

_BLANK: Final = re.compile(r"[ \t\r\n]*+")  # white space as JSON has it
_WORDS: Final = re.compile(r"[^:\r\n]*+")
_FENCE: Final = re.compile(r"[`\w \t]*+")
_SCALAR: Final = re.compile(r"[^\s,\]}]*+")
_JSON_SCALAR: Final = re.compile(r"true|false|null|-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_FIRST_OF_VALUE: Final = frozenset('"[{-0123456789tfn')
# All that neither opens nor closes a bracket, with the strings that end in this chunk.
_FLAT: Final = re.compile(r'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
_UP_TO_QUOTE: Final = re.compile(r'(?:[^"\\]++|\\.)*+', re.DOTALL)
# So much of a text without a list is kept, for the error.
_SHOWN: Final = 200


class ItemsError(MiniAgentsError, ValueError):
    """There is no JSON list in an answer, or it breaks off, or something that is no JSON stands between its elements.

    `text` is what was left: what there is of the element that breaks off, what stands where a comma should, or the
    beginning of an answer without a list.
    """

    def __init__(self, problem: str, text: str) -> None:
        super().__init__(f"{problem}: {printable(text)}" if text else f"{problem}.")
        self.text = text


class ListCutter(Cutter[T]):
    """Cuts the elements out of the JSON list in each text, and has them validated by `adapter`."""

    def __init__(self, adapter: TypeAdapter[T]) -> None:
        self._adapter = adapter
        self._found = False
        self._beginning = ""
        self._reset()

    def _reset(self) -> None:
        # States are functions and not bound methods, which would make a reference cycle.
        self._state: _State = ListCutter._before_json
        self._then: _State = ListCutter._element_is_there
        self._in_list = False
        self._in_object = False
        self._list_has_ended = False
        self._count = 0
        self._depth = 0
        self._escaped = False
        # Of the value that is being read: what was in earlier chunks, and where it begins in this one.
        self._reading = False
        self._parts: list[str] = []
        self._start = 0
        self._element: str | None = None

    def feed(self, chunk: str) -> Iterator[T]:
        """The next chunk. Raises pydantic's `ValidationError`, or an `ItemsError`, behind the elements before it."""
        if len(self._beginning) < _SHOWN:
            self._beginning += chunk[: _SHOWN - len(self._beginning)]
        place = self._start = 0
        while place < len(chunk):
            place = self._state(self, chunk, place)
            if self._element is not None:
                yield self._validated(self._element)
        if self._reading:
            self._parts.append(chunk[self._start :])

    def end_text(self) -> Iterable[T]:
        """The end of a text. Raises an `ItemsError` if its list has none."""
        if self._in_list:
            where = f"behind element {self._count}" if self._count else "before an element is complete"
            raise ItemsError(f"The JSON list breaks off {where}", "".join(self._parts))
        self._reset()
        return ()

    def end(self) -> None:
        """Raises an `ItemsError` if no text had a list."""
        if not self._found:
            raise ItemsError("There is no JSON list in the answer", self._beginning)

    def _validated(self, element: str) -> T:
        self._element = None
        self._count += 1
        try:
            return self._adapter.validate_json(element)
        except ValidationError as error:
            error.add_note(f"This is element {self._count} of the JSON list in the answer.")
            raise

    # ------------------------------------------------------------------ states among words

    def _before_json(self, chunk: str, place: int) -> int:
        """At the beginning of a line, or behind a colon."""
        place = _end_of(_BLANK, chunk, place)
        if place == len(chunk):
            return place
        if chunk[place] == "`":
            self._state = ListCutter._in_head_of_fence
            return place
        return self._open(chunk, place)

    def _in_head_of_fence(self, chunk: str, place: int) -> int:
        place = _end_of(_FENCE, chunk, place)
        return place if place == len(chunk) else self._open(chunk, place)

    def _open(self, chunk: str, place: int) -> int:
        if chunk[place] == "[":
            return self._open_list(place)
        if chunk[place] == "{":
            self._in_object = True
            self._state = ListCutter._before_key
            return place + 1
        self._state = ListCutter._in_words
        return place

    def _in_words(self, chunk: str, place: int) -> int:
        place = _end_of(_WORDS, chunk, place)
        if place < len(chunk):
            self._state = ListCutter._before_json
            place += 1
        return place

    def _behind_list(self, chunk: str, _: int) -> int:
        return len(chunk)

    def _go_on_as_words(self, place: int) -> int:
        """What has come so far is no JSON, or has no list."""
        self._in_list = self._in_object = False
        self._state = ListCutter._behind_list if self._list_has_ended else ListCutter._in_words
        return place

    # ------------------------------------------------------------------ states in the list

    def _open_list(self, place: int) -> int:
        self._in_list = True
        self._state = ListCutter._before_element
        return place + 1

    def _before_element(self, chunk: str, place: int) -> int:
        place = _end_of(_BLANK, chunk, place)
        if place == len(chunk):
            return place
        if chunk[place] == "]":
            return self._close_list(place)
        if not self._count and chunk[place] not in _FIRST_OF_VALUE:
            return self._go_on_as_words(place)
        return self._begin_value(chunk, place, ListCutter._element_is_there)

    def _element_is_there(self, text: str, place: int) -> int:
        if not self._count and not _may_be_json(text):
            return self._go_on_as_words(place)
        self._element = text
        self._state = ListCutter._behind_element
        return place

    def _behind_element(self, chunk: str, place: int) -> int:
        place = _end_of(_BLANK, chunk, place)
        if place == len(chunk):
            return place
        if chunk[place] == "]":
            return self._close_list(place)
        if chunk[place] != ",":
            raise ItemsError(f"Behind element {self._count} of the JSON list there is no comma but", chunk[place])
        self._state = ListCutter._before_element
        return place + 1

    def _close_list(self, place: int) -> int:
        self._found = self._list_has_ended = True
        self._in_list = False
        self._state = ListCutter._behind_member if self._in_object else ListCutter._behind_list
        return place + 1

    # ------------------------------------------------------------------ states in the object around the list

    def _before_key(self, chunk: str, place: int) -> int:
        place = _end_of(_BLANK, chunk, place)
        if place == len(chunk):
            return place
        if chunk[place] == '"':
            return self._begin_value(chunk, place, ListCutter._key_is_there)
        return self._go_on_as_words(place)

    def _key_is_there(self, _: str, place: int) -> int:
        self._state = ListCutter._behind_key
        return place

    def _behind_key(self, chunk: str, place: int) -> int:
        place = _end_of(_BLANK, chunk, place)
        if place == len(chunk):
            return place
        if chunk[place] != ":":
            return self._go_on_as_words(place)
        self._state = ListCutter._before_member
        return place + 1

    def _before_member(self, chunk: str, place: int) -> int:
        place = _end_of(_BLANK, chunk, place)
        if place == len(chunk):
            return place
        if chunk[place] == "[":
            if self._list_has_ended:
                raise ItemsError("The object in the answer has more than one list; only one can be read", "")
            return self._open_list(place)
        return self._begin_value(chunk, place, ListCutter._member_is_there)

    def _member_is_there(self, text: str, place: int) -> int:
        if not _may_be_json(text):
            return self._go_on_as_words(place)
        self._state = ListCutter._behind_member
        return place

    def _behind_member(self, chunk: str, place: int) -> int:
        place = _end_of(_BLANK, chunk, place)
        if place == len(chunk):
            return place
        if chunk[place] != ",":
            return self._go_on_as_words(place)
        self._state = ListCutter._before_key
        return place + 1

    # ------------------------------------------------------------------ states in a value

    def _begin_value(self, chunk: str, place: int, then: _State) -> int:
        """Read a value, and go on with `then`, which is given its text and the place behind it."""
        self._then = then
        self._reading = True
        self._start = place
        if chunk[place] == '"':
            self._state = ListCutter._in_string
            return place + 1
        self._state = ListCutter._in_brackets if chunk[place] in "[{" else ListCutter._in_scalar
        return place

    def _in_scalar(self, chunk: str, place: int) -> int:
        place = _end_of(_SCALAR, chunk, place)
        return place if place == len(chunk) else self._end_value(chunk, place)

    def _in_string(self, chunk: str, place: int) -> int:
        if self._escaped:
            self._escaped = False
            return place + 1
        place = _end_of(_UP_TO_QUOTE, chunk, place)
        if place == len(chunk):
            return place
        if chunk[place] == "\\":  # with what it escapes in the next chunk
            self._escaped = True
        elif self._depth:
            self._state = ListCutter._in_brackets
        else:
            return self._end_value(chunk, place + 1)
        return place + 1

    def _in_brackets(self, chunk: str, place: int) -> int:
        place = _end_of(_FLAT, chunk, place)
        if place == len(chunk):
            return place
        if chunk[place] == '"':
            self._state = ListCutter._in_string
        else:
            self._depth += 1 if chunk[place] in "[{" else -1
            if not self._depth:
                return self._end_value(chunk, place + 1)
        return place + 1

    def _end_value(self, chunk: str, place: int) -> int:
        text = "".join([*self._parts, chunk[self._start : place]])
        self._parts.clear()
        self._reading = False
        return self._then(self, text, place)


def _end_of(pattern: re.Pattern[str], chunk: str, place: int) -> int:
    """Where the longest piece of `chunk` from `place` on ends that `pattern`, which matches nothing too, matches."""
    match = pattern.match(chunk, place)
    assert match is not None
    return match.end()


def _may_be_json(value: str) -> bool:
    """Whether a value, that was read to its end, is JSON as far as it is looked at here."""
    return value[:1] in ('"', "[", "{") or _JSON_SCALAR.fullmatch(value) is not None
