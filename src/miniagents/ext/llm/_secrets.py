"""Keys are kept out of errors, in which servers, proxies and SDKs repeat what they were sent."""

import base64
import contextlib
import re
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote, unquote_plus, urlsplit

from miniagents.ext._terminal import terminal_text
from miniagents.ext.llm._wire import SurrogateFilter
from miniagents.promising.errors import MiniAgentsError

HIDDEN: Final = "<secret>"
# The words of a name: `X-Api-Key`, `api_key`, `apiKey` and `APIKey` have the same.
_WORD: Final = re.compile("[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
# Whole words, so that an author, a tokenizer and `max_tokens` are no secrets; also those that are written together.
_SECRET_WORD: Final = re.compile(
    "o?auth|authentication|authorization|bearer|cookies?|credentials?|jwt|pass(wd|code|phrase|word)?|pwd|sig(nature)?"
    "|(access|api|auth|client|db|id|private|proxy|refresh|secret|session|shared|subscription|user)?"
    "(key|token|secret|password)|(api|secret)?keys|secrets|passwords"
)
# With one of these behind it, as in `token_count`, the name is that of a figure.
_FIGURE_WORD: Final = re.compile("budget|counts?|length|limit|size|usage")
# What a header can carry: a key may come with quotes or line ends, and is repeated without them, or with their escapes.
_KEYS: Final = re.compile("[!-~]+")
# What is shorter is no key, and may well stand in an ordinary sentence.
_SHORTEST: Final = 8


class Secrets:
    """The secrets that a request is made with: keys, passwords in addresses, headers and parameters that say so."""

    def __init__(self, parameters: Mapping[str, Any], *keys_and_urls: str | None) -> None:
        self.client: object = None
        """Who sends it. It may be a fake, and it may get its key only while it sends."""
        self._parameters = parameters
        self._keys_and_urls = keys_and_urls

    def keep_out_of(self, error: MiniAgentsError) -> None:
        """Take the secrets out of what `error` says, and what the SDK has raised away from it if it is no better.

        Nor may that have sequences in it that a terminal would obey, for it is shown with the traceback.
        """
        known = self.known()
        error.args = tuple(hide(value, known) for value in error.args)
        for name, value in vars(error).items():
            if name != "partial_text":  # which everybody has read already
                setattr(error, name, hide(value, known))
        if any(_is_unfit(cause, known) for cause in _causes(error)):
            error.__cause__ = error.__context__ = None
            error.add_note("What has caused it is not shown: it repeats a key, or is not safe for a terminal.")

    def known(self) -> list[str]:
        """What must be shown to nobody. The longest first: one may be a part of another."""
        return sorted({text for text in self._all() if len(text) >= _SHORTEST}, key=len, reverse=True)

    def _all(self) -> Iterator[str]:
        for text in self._keys_and_urls:
            yield from _in_text(text)
        for name in ("extra_headers", "extra_query", "extra_body"):
            yield from _in_fields(self._parameters.get(name))
        with contextlib.suppress(Exception):  # of an odd client, which must not replace the error that is to be told
            for name in ("api_key", "auth_token", "base_url"):
                yield from _in_text(getattr(self.client, name, None))
            for name in ("default_headers", "default_query"):
                yield from _in_fields(getattr(self.client, name, None))


def tells(name: object) -> bool:
    """Whether what has this name is secret."""
    words = [word.lower() for word in _WORD.findall(_text(name))]
    return any(map(_SECRET_WORD.fullmatch, words)) and not _FIGURE_WORD.fullmatch(words[-1])


def _in_fields(fields: object) -> Iterator[str]:
    """The secrets among headers or parameters, as their names tell; all that is inside of a secret is secret."""
    waiting: list[tuple[object, bool]] = [(fields, False)]
    seen: set[tuple[int, bool]] = set()  # the caller's containers may have themselves in them
    while waiting:
        value, is_secret = waiting.pop()
        if isinstance(value, (Mapping, list, tuple)):
            if (id(value), is_secret) in seen:
                continue
            seen.add((id(value), is_secret))
            if isinstance(value, Mapping):
                waiting += [(item, is_secret or tells(name)) for name, item in value.items()]
            else:
                waiting += [(item, is_secret) for item in value]
        elif is_secret:
            yield from _in_key(_text(value))


def _in_text(value: object) -> Iterator[str]:
    """The secrets in a key or in an address, which is none itself."""
    text = _text(value)
    return _in_url(text) if "://" in text else _in_key(text)


def _in_key(text: str) -> Iterator[str]:
    """A key, and what it may be with: words before it, quotes, ends of lines."""
    yield text
    yield from _KEYS.findall(text)


def _text(value: object) -> str:
    if isinstance(value, (bytes, bytearray)):
        return value.decode(errors="replace")
    return "" if value is None else str(value)


def _in_url(url: str) -> Iterator[str]:
    """The parts of an address that may be secret, as they are and as they were meant."""
    try:
        parts = urlsplit(url)
        user, password = parts.username or "", parts.password or ""
    except ValueError:
        return
    for part in (user, password, *_in_query(parts.query), *_in_query(parts.fragment)):
        yield from (part, unquote(part), unquote_plus(part))
    # The HTTP client makes a header of them.
    yield base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode(errors="replace")).decode()


def _in_query(query: str) -> Iterator[str]:
    """The values whose names tell, and those that have no name."""
    for field in query.split("&"):
        name, _, value = field.partition("=")
        if not value.strip("="):  # the signs may fill up the end of a key
            yield from (field, field.rstrip("="))
        elif not name or tells(unquote(name)):
            yield value


def hide(value: Any, known: Sequence[str]) -> Any:
    """`value`, if it is a text without those that are `known`."""
    if isinstance(value, str):
        for secret in known:
            value = value.replace(secret, HIDDEN)
    return value


class SecretFilter(SurrogateFilter):
    """Valid text without secrets, of tokens. What may be the beginning of one is held back until that is known."""

    def __init__(self, known: Sequence[str]) -> None:
        super().__init__()
        self._known = known
        self._held = ""

    def feed(self, token: str, *, final: bool = False) -> str:
        """The next piece of the text; all of it that is left if it is `final`."""
        text: str = hide(self._held + super().feed(token, final=final), self._known)
        held = 0 if final else max((_overlap(text, secret) for secret in self._known), default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]


def _overlap(text: str, secret: str) -> int:
    """How many of the last characters of `text` are the first ones of `secret`."""
    lengths = range(min(len(text), len(secret) - 1), 0, -1)
    return next((length for length in lengths if text.endswith(secret[:length])), 0)


def hide_in(value: Any, known: Sequence[str]) -> Any:
    """`value`, a text or containers with texts, without those that are `known`."""
    if isinstance(value, Mapping):
        return {hide(name, known): hide_in(item, known) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [hide_in(item, known) for item in value]
    return hide(value, known)


def _is_unfit(error: BaseException, known: Sequence[str]) -> bool:
    said = "".join(traceback.format_exception_only(error))
    is_safe = terminal_text(said) == said.replace("\r\n", "\n")
    # Its fields too, such as the body of a response: tools that report errors show them.
    held = ascii([error.args, vars(error)])
    return not is_safe or any(secret in said or secret in held for secret in known)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """What a traceback shows above `error`, and what it would if nothing were suppressed."""
    seen = {id(error)}
    waiting = [error.__cause__, error.__context__]
    while waiting:
        cause = waiting.pop()
        if cause is not None and id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            waiting += [cause.__cause__, cause.__context__]
