"""What comes over the wire, read without trust: nothing that a server sends can be more than a text or a figure.

The readers of the providers take dicts (parsed JSON) and objects of the SDKs alike, and miss nothing that is not there:
fields may be absent, null, or of another type than the API says.
"""

import codecs
import math
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from pydantic import BaseModel


def field(value: object, name: str) -> Any:
    """A field of a dict or of an object; `None` if it is not there."""
    return value.get(name) if isinstance(value, dict) else getattr(value, name, None)


def text_field(value: object, name: str) -> str:
    """A field that should be a text; empty if it is not."""
    text = field(value, name)
    return text if isinstance(text, str) else ""


def text_of(content: object) -> str:
    """The text of what should be a text or a list of parts, of which those of type `text`, or of no type, count."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "".join(
        part if isinstance(part, str) else text_field(part, "text")
        for part in content
        if field(part, "type") in (None, "text")
    )


def list_field(value: object, name: str) -> list[Any]:
    """A field that should be a list; empty if it is not."""
    items = field(value, name)
    return items if isinstance(items, list) else []


def error_in(part: object, expected: str) -> object:
    """What tells of an error in a part of an answer; `None` if nothing does.

    Besides the `error` of the APIs there are servers and proxies that say `detail` or `message`, in the place of the
    field that is `expected`.
    """
    error = field(part, "error")
    if (isinstance(error, str) and error) or as_dict(error):
        return error
    is_other = field(part, expected) is None and (text_field(part, "message") or text_field(part, "detail"))
    return part if is_other else None


def as_dict(value: object) -> dict[str, Any]:
    """The fields of a dict or of an object that were sent; empty for everything else."""
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, BaseModel):
        # Without warnings, because the SDKs make their objects without validation.
        return value.model_dump(exclude_none=True, warnings=False)
    return dict(vars(value)) if isinstance(value, SimpleNamespace) else {}


def figures(value: object, levels: int = 2) -> dict[str, Any]:
    """What can be metadata of an object such as the usage: its texts and finite numbers, two levels deep."""
    kept: dict[str, Any] = {}
    for name, item in as_dict(value).items():
        if isinstance(item, str):
            kept[valid_text(name)] = valid_text(item)
        elif isinstance(item, int) or (isinstance(item, float) and math.isfinite(item)):
            kept[valid_text(name)] = item
        elif levels > 1 and (inner := figures(item, levels - 1)):
            kept[valid_text(name)] = inner
    return kept


class SurrogateFilter:
    """Makes valid text of tokens: a surrogate pair that was cut in two is put together, a lone half becomes U+FFFD.

    JSON can carry half of a character, and UTF-8, and so every file and every other request, cannot.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-16-le")("replace")
        self._holds_a_half = False

    def feed(self, token: str, *, final: bool = False) -> str:
        """The next piece of valid text; a first half at the very end is held back until the next token, or `final`."""
        if not self._holds_a_half:
            try:
                token.encode()
            except UnicodeEncodeError:
                pass
            else:
                return token
        text = self._decoder.decode(token.encode("utf-16-le", "surrogatepass"), final)
        self._holds_a_half = bool(self._decoder.getstate()[0])
        return text


def valid_text(text: str) -> str:
    """`text` with U+FFFD in the place of each lone surrogate."""
    return SurrogateFilter().feed(text, final=True)


def texts(**fields: str) -> dict[str, str]:
    """`fields` as metadata: the texts that are not empty, made valid."""
    return {name: valid_text(text) for name, text in fields.items() if text}
