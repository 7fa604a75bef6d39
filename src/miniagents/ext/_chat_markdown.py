"""The Markdown form of a chat: text to entries and back, exactly, for every text, role and model.

A file is a row of entries, each a role as an underlined heading, a blank line, and the text as it is::

    user
    ====

    How are you?

    assistant / gpt-5
    =================

    Fine. And you?

Reading
-------
* `user`, `assistant`, `system`, `developer` and `tool`, in any case, open a turn when the next line is an underline:
  two or more `=` or `-`. ` / ` and a model may follow. Any other role carries a marker: `@critic / gpt-5`. Every other
  heading is text.
* `@@tool_call / gpt-5` and the like are messages of a class, whose other fields are a JSON object in an HTML comment on
  the last line of the entry. Without that line, or if it is no JSON, it is a turn of a role that is called so.
* Nothing else of Markdown is looked at. A code fence that is never closed cannot swallow the turns after it.
* Blank lines around a text are not part of it. Text before the first heading is a turn of the `user`.
* Invalid UTF-8 becomes U+FFFD where it stands; a byte order mark is dropped; CR LF and CR end a line like LF.

Writing
-------
The one way to escape is a decimal character reference (`&#13;`), which Markdown shows as the character. It is used
where the plain character would not come back as itself, and nowhere else:

1. control characters, CR among them, Unicode line separators, byte order marks and lone surrogates;
2. the `&` of a text that already looks like a reference of ours;
3. the beginning of an underline below a line that reads like the heading of a turn;
4. the first character of a text whose first line is blank, and the last one of a text whose last line is blank;
5. the first character of a line that would be a separator (see below) or begins with 256 blanks;
6. a `<` that begins a line in a message of a class, so that no text can pass for its fields;
7. the `@` that begins a role, so that no role can pass for a class.

References are read the same wherever they stand, so one too many is harmless, and what decides about one is always a
bounded look ahead: that is why a text can be written while it arrives. Its chunks leave no trace (but where a line
begins with more blanks than are looked at, another one of them may be a reference).

A turn that was cut off
-----------------------
Every prefix of a file gives its complete entries exactly. A beginning of a heading must therefore not pass for the
last words of the entry before it: a heading is written below a separator, a line of a space and a tab, which looks
blank and which no text contains. A piece of a heading between two separators, or at an end of the file, is dropped.
The separator is written by the entry that follows, for only that one can see how the file ends.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

__all__ = ["ClassEntry", "Entry", "EntryWriter", "encode", "parse"]


class Entry(NamedTuple):
    """One turn of a chat: who spoke (`role`), which `model` it was, if that is known, and the `text`."""

    role: str
    model: str | None
    text: str


class ClassEntry(NamedTuple):
    """A message of a class that is called `name` in the file, with all `fields` that it has besides."""

    name: str
    model: str | None
    text: str
    fields: Mapping[str, Any]


_KNOWN_ROLES = ("assistant", "developer", "system", "tool", "user")
_PREAMBLE_ROLE = "user"  # Never `system`: a file must not gain authority by lacking a heading.
_SEPARATOR = " \t"
_BLANK = " \t"
_UNDERLINE_WIDTHS = (3, 80)

# `a` keeps the case folding to ASCII: a long s (U+017F) is no "s".
_ROLE_NAME = rf"(?ai:{'|'.join(_KNOWN_ROLES)})"
_HEADING = re.compile(
    rf"^ {{0,3}}(?:@(?P<marked>[^\n]*)|(?P<role>{_ROLE_NAME})(?:[ \t]{{1,8}}/(?P<model>(?:[ \t][^\n]*)?)|[ \t]*))\n"
    r" {0,3}(?:={2,}|-{2,})[ \t]*$",
    re.MULTILINE,
)
# Invariant: what `_HEADING` takes as its first and second line, these match within its first `_LINE_MEMORY` characters.
_LIKE_ROLE = re.compile(rf" {{0,3}}(?:@|{_ROLE_NAME}(?:[ \t]{{1,8}}/(?:[ \t]|\Z)|[ \t]*\Z))")
_LIKE_UNDERLINE = re.compile(r" {0,3}(?===|--)")
_BEFORE_UNDERLINE = re.compile(r" {0,3}[=-]?")
_LINE_MEMORY = 256

_ROLE_BEGINNINGS = "|".join(role[:length] for role in _KNOWN_ROLES for length in range(1, len(role)))
_TORN_PLAIN = rf"(?:(?:{'|'.join(_KNOWN_ROLES)})(?: (?:/(?: [^\n]*)?)?)?|{_ROLE_BEGINNINGS})"
_TORN_END = r"(?:\n=)?(?=(?:\n[ \t]*)*?(?:\n \t\n|\Z))"
_TORN_HEADING = re.compile(rf"^ \t\n(?:@[^\n]*|{_TORN_PLAIN}){_TORN_END}", re.MULTILINE)
# Without a separator above it, a lone `@...` may be what a person wrote, and is kept.
_TORN_FIRST_HEADING = re.compile(rf"\A{_TORN_PLAIN}{_TORN_END}")

_ALWAYS_REFERENCED = r"\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff"
_EVER_REFERENCED = re.compile(rf"[{_ALWAYS_REFERENCED}\t\n &/<=@-]")
_REFERENCE = re.compile(r"&#([0-9]{1,5});")
_TO_ESCAPE = re.compile(rf"{_REFERENCE.pattern}|[{_ALWAYS_REFERENCED}]")
_UNFINISHED_REFERENCE = re.compile(r"&(?:#[0-9]{0,5})?\Z")
_REFERENCE_LENGTH = len("&#65535;")

_CLASS_MARKER = "@"
_FIELDS = re.compile(r"(?:\A|\n)<!-- (\{[^\n]*\}) -->[ \t]*\Z")
_TORN_FIELDS = re.compile(r"(?:\A|\n)<(?:!(?:-(?:-[^\n]*)?)?)?\Z")
# In JSON these stand in texts only, where they can be written in another way.
_NOT_IN_A_COMMENT = {ord(character): f"\\u{ord(character):04x}" for character in "<>&"}


def parse(data: str | bytes) -> list[Entry | ClassEntry]:
    r"""The entries of a file, in order, in time proportional to its size. Never raises, whatever the data.

    >>> parse("USER\n----\nHello\n\nassistant / gpt-5\n===\n\nHi")
    [Entry(role='user', model=None, text='Hello'), Entry(role='assistant', model='gpt-5', text='Hi')]
    """
    content = data.decode("utf-8", errors="replace") if isinstance(data, bytes) else data
    content = content.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    headings = list(_HEADING.finditer(content))
    ends = [heading.start() for heading in headings] + [len(content)]

    entries: list[Entry | ClassEntry] = []
    if preamble := _preamble(content[: ends[0]]):
        entries.append(Entry(_PREAMBLE_ROLE, None, preamble))
    for heading, end in zip(headings, ends[1:], strict=True):
        entries.append(_entry(heading, content[heading.end() : end]))
    return entries


def _entry(heading: re.Match[str], body: str) -> Entry | ClassEntry:
    role, model, is_class = _role_and_model(heading)
    if not is_class:
        return Entry(role, model, _text(body))
    written = _trim(_TORN_HEADING.sub("", body))
    found = _FIELDS.search(written)
    text = _unescape(_trim(written[: found.start()] if found else _TORN_FIELDS.sub("", written)))
    fields = _fields_of(found[1]) if found else None
    return Entry(role, model, text) if fields is None else ClassEntry(role, model, text, fields)


def _fields_of(line: str) -> dict[str, Any] | None:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


def encode(entries: Iterable[Entry | ClassEntry], file_end: bytes = b"") -> bytes:
    r"""What to append to a file to add the entries. `file_end` is how it ends now: its last byte, none if it is empty.

    >>> encode([Entry("user", None, "Hello")])
    b'user\n====\n\nHello\n'
    """
    pieces: list[bytes] = []
    for entry in entries:
        writer = EntryWriter(entry[0], entry.model, is_class=isinstance(entry, ClassEntry))
        if isinstance(entry, ClassEntry):
            writer.tell(entry.fields)
        pieces += [writer.begin(file_end), writer.feed(entry.text), writer.finish()]
        file_end = b"\n"
    return b"".join(pieces)


class EntryWriter:
    """Turns one entry into bytes while its text arrives: `begin()`, `feed()` any number of times, `finish()`.

    The pieces, one after the other, are what `encode` gives for the whole text, however it was cut, as long as no line
    begins with more than 255 blanks; they always say the same. A piece holds all that is decided: at most a line break,
    up to 255 blanks after it and an unfinished reference are held back.
    """

    def __init__(self, role: str, model: str | None = None, *, is_class: bool = False) -> None:
        self._heading = _heading(role, model, is_class=is_class)
        self._is_class = is_class
        self._fields: Mapping[str, Any] | None = None
        self._unfinished_reference = ""
        self._empty = True
        self._newline_pending = False
        # The beginning of the current line, while it is open what must be done about it; afterwards None.
        self._undecided: str | None = ""
        # The first characters of the current line, once it is decided; whether the one before it reads like a heading.
        self._line = ""
        self._below_role = False

    def begin(self, file_end: bytes = b"") -> bytes:
        """The heading. `file_end` is how the file ends now: its last byte, none if it is empty."""
        separator = "" if not file_end else f"{_SEPARATOR}\n" if file_end.endswith(b"\n") else f"\n{_SEPARATOR}\n"
        shortest, longest = _UNDERLINE_WIDTHS
        underline = "=" * min(max(len(self._heading), shortest), longest)
        return f"{separator}{self._heading}\n{underline}\n\n".encode()

    def feed(self, token: str) -> bytes:
        """What the next piece of the text adds to the file. May be nothing."""
        text = self._unfinished_reference + token
        unfinished = _UNFINISHED_REFERENCE.search(text, max(0, len(text) - _REFERENCE_LENGTH))
        decided = unfinished.start() if unfinished else len(text)
        self._unfinished_reference = text[decided:]
        return self._add(_escape(text[:decided])).encode()

    def tell(self, fields: Mapping[str, Any]) -> None:
        """Set the fields of a message of a class. Without them, because it broke off, it is none when it is read."""
        self._fields = fields

    def finish(self) -> bytes:
        """The rest of the text, the end of its last line, and the fields. A text that broke off ends likewise."""
        rest = self._add(self._unfinished_reference) + self._end_text()
        text = rest if self._empty else f"{rest}\n"
        if self._fields is None:
            return text.encode()
        gap = "" if self._empty else "\n"
        return f"{text}{gap}<!-- {json.dumps(self._fields).translate(_NOT_IN_A_COMMENT)} -->\n".encode()

    def _add(self, text: str) -> str:
        first, *others = text.split("\n")
        pieces = [self._extend_line(first)]
        for part in others:
            pieces.append(self._end_line())
            pieces.append(self._extend_line(part))
        return "".join(pieces)

    def _extend_line(self, part: str) -> str:
        if self._undecided is None:
            if len(self._line) < _LINE_MEMORY:
                self._line = (self._line + part)[:_LINE_MEMORY]
            return part
        start = self._undecided + part
        if not start.strip(_BLANK):
            if len(start) < _LINE_MEMORY:
                self._undecided = start
                return ""
            # Not worth waiting any longer for what follows: with a reference in it, the line cannot count as blank.
            return self._release(_reference(start[:1]) + start[1:])
        if self._below_role:
            if _BEFORE_UNDERLINE.fullmatch(start):
                self._undecided = start
                return ""
            if underline := _LIKE_UNDERLINE.match(start):
                at = underline.end()
                start = start[:at] + _reference(start[at]) + start[at + 1 :]
        return self._release(start)

    def _end_line(self) -> str:
        released = ""
        if self._undecided is not None:
            start = self._undecided
            if self._empty and not start:
                return self._release(_reference("\n"))
            if start == _SEPARATOR or (self._empty and not start.strip(_BLANK)):
                start = _reference(start[:1]) + start[1:]
            released = self._release(start)
        self._below_role = _LIKE_ROLE.match(self._line) is not None
        self._newline_pending = True
        self._undecided = ""
        return released

    def _end_text(self) -> str:
        start = self._undecided
        if start is None:
            return ""
        if start.strip(_BLANK):
            return self._release(start)
        if start:
            return self._release(start[:-1] + _reference(start[-1]))
        if self._newline_pending:
            return _reference("\n")
        return ""

    def _release(self, start: str) -> str:
        newline = "\n" if self._newline_pending else ""
        self._newline_pending = False
        self._empty = False
        self._undecided = None
        if self._is_class and start.startswith("<"):
            start = _reference("<") + start[1:]
        self._line = start[:_LINE_MEMORY]
        return newline + start


def _heading(role: str, model: str | None, *, is_class: bool) -> str:
    marker = "@" + _CLASS_MARKER if is_class else "" if role in _KNOWN_ROLES else "@"
    heading = marker + re.sub(f"^{_CLASS_MARKER}|/", lambda found: _reference(found[0]), _escape_name(role))
    return heading if model is None else f"{heading} / {_escape_name(model)}".rstrip(" ")


def _role_and_model(heading: re.Match[str]) -> tuple[str, str | None, bool]:
    """The role, the model, and whether the role is the name of a class."""
    if heading["role"] is not None:
        return heading["role"].lower(), None if heading["model"] is None else _unescape_name(heading["model"]), False
    # An empty model leaves no blank after the slash.
    role, slash, model = (heading["marked"].rstrip(_BLANK) + " ").partition(" / ")
    is_class = role.startswith(_CLASS_MARKER)
    return _unescape_name(role.removeprefix(_CLASS_MARKER)), _unescape_name(model) if slash else None, is_class


def _preamble(content: str) -> str:
    return _text(_TORN_FIRST_HEADING.sub("", _trim(content)))


def _text(body: str) -> str:
    return _unescape(_trim(_TORN_HEADING.sub("", body)))


def _trim(body: str) -> str:
    """`body` without the blank lines around it; the indentation and the trailing blanks of the other lines stay."""
    last = len(body.rstrip(_BLANK + "\n"))
    if not last:
        return ""
    first = len(body) - len(body.lstrip(_BLANK + "\n"))
    end = body.find("\n", last)
    return body[body.rfind("\n", 0, first) + 1 : end if end >= 0 else len(body)]


def _reference(character: str) -> str:
    return f"&#{ord(character)};"


def _escape(text: str) -> str:
    return _TO_ESCAPE.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    if found[1] is None:
        return _reference(found[0])
    return _reference("&") + found[0][1:] if _referenced(found) != found[0] else found[0]


def _unescape(text: str) -> str:
    return _REFERENCE.sub(_referenced, text)


def _referenced(reference: re.Match[str]) -> str:
    """The character that a reference stands for, or the reference itself if it is none of ours (`&#8217;`)."""
    character = chr(int(reference[1]))
    return character if _EVER_REFERENCED.match(character) else reference[0]


def _escape_name(name: str) -> str:
    return re.sub(r"[\t\n]|\A | \Z", lambda blank: _reference(blank[0]), _escape(name))


def _unescape_name(name: str) -> str:
    return _unescape(name.strip(_BLANK))
