"""Messages that are more than text: images, sounds and documents."""

import base64
import mimetypes
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self
from urllib.parse import unquote, urlsplit

from pydantic import model_validator

from miniagents.ext.llm._shown import Shown
from miniagents.messages import Message

__all__ = ["MAX_FILE", "AudioMessage", "DocumentMessage", "ImageMessage", "MediaMessage"]

MAX_FILE: Final = 50 * 2**20
"""Bytes of one file: what the providers take in a whole request."""

_URL: Final = re.compile(r"https?://", re.IGNORECASE)
_DATA_URL: Final = re.compile(r"data:(?P<type>[^;,]*)(?:;[^,;]*)*;base64,(?P<data>.*)", re.IGNORECASE | re.DOTALL)
_BASE64: Final = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_MEDIA_TYPE: Final = re.compile(r"[\w.+-]+/[\w.+-]+")

_BEGINNINGS: Final = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb"RIFF....WAVE", re.DOTALL), "audio/wav"),
    (re.compile(rb"ID3|\xff[\xe2\xe3\xf2\xf3\xfa\xfb]"), "audio/mpeg"),
    (re.compile(rb"OggS"), "audio/ogg"),
    (re.compile(rb"fLaC"), "audio/flac"),
    (re.compile(rb"%PDF-"), "application/pdf"),
)
# Its own table only: those of the operating system differ from one machine to the next.
_BY_NAME: Final = mimetypes.MimeTypes(filenames=())
for _ending, _type in (  # which older versions of Python do not know, or call otherwise
    (".webp", "image/webp"),
    (".wav", "audio/wav"),
    (".flac", "audio/flac"),
    (".ogg", "audio/ogg"),
    (".m4a", "audio/mp4"),
    (".md", "text/markdown"),
):
    _BY_NAME.add_type(_type, _ending)


class MediaMessage(Message):
    """A file for a model: its bytes in base64 as `data`, or where it is as `url`. The text is said beside it."""

    _is_kind: ClassVar[re.Pattern[str]] = re.compile("")
    """The media types that this class is for."""
    _what: ClassVar[str] = "file"

    role: str = "user"
    text: str | None = ""
    media_type: str | None = None
    """Such as `image/png`. Known of all but a file on the web."""
    data: str | None = None
    url: str | None = None
    name: str | None = None
    """The name of the file, without its folder."""

    if TYPE_CHECKING:

        def __init__(self, text: str | None = None, /, **metadata: Any) -> None: ...

    @classmethod
    def of(
        cls,
        source: "str | os.PathLike[str] | bytes",
        /,
        text: str = "",
        *,
        media_type: str | None = None,
        name: str | None = None,
        **metadata: Any,
    ) -> Self:
        """The message for a file: its path, its bytes, or a URL (`https:`, `http:` or `data:`).

        A path is read now, so in an event loop do so in a thread if the disk is slow; a file on the web is fetched by
        the provider, if at all. What kind of file it is, its content tells, or else its name; `media_type` goes first.

        Raises `OSError` if the file cannot be read, and `ValueError` if it is empty, larger than `MAX_FILE`, or not of
        the kind of this class.
        """
        data: bytes | None = None
        if isinstance(source, bytes):
            data = source
        elif isinstance(source, str) and _URL.match(source):
            name = name or unquote(urlsplit(source).path).rpartition("/")[2] or None
            media_type = media_type or _type_by_name(name)
            return cls(text or None, **_given(media_type=media_type, url=source, name=name), **metadata)
        elif isinstance(source, str) and source[:5].lower() == "data:":
            if (found := _DATA_URL.fullmatch(source)) is None:
                raise ValueError("A `data:` URL needs `;base64,` and what it has in base64 behind it.")
            media_type, data = media_type or found["type"] or None, base64.b64decode(found["data"])
        else:
            path = Path(source)
            name = name or path.name
            with path.open("rb") as file:
                data = file.read(MAX_FILE + 1)
        what = f"{cls._what} {name!r}" if name else cls._what
        if not data:
            raise ValueError(f"The {what} is empty.")
        media_type = media_type or cls._type_of(data, name)
        if media_type is None:
            raise ValueError(f"What kind of file the {what} is cannot be told: name its `media_type`.")
        data_and_type = {"media_type": media_type, "data": base64.b64encode(data).decode()}
        return cls(text or None, **data_and_type, **_given(name=name), **metadata)

    @classmethod
    def _type_of(cls, data: bytes, name: str | None) -> str | None:
        by_content = next((kind for beginning, kind in _BEGINNINGS if beginning.match(data)), None)
        return by_content or _type_by_name(name)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.data is None) == (self.url is None):
            raise ValueError(f"{type(self).__name__} has either `data` or a `url`: make it by `of(...)`.")
        if self.data is not None:
            if _size(self.data) > MAX_FILE:
                raise ValueError(f"The {self._what} is larger than {MAX_FILE:,} bytes, which no provider takes.")
            if not _BASE64.fullmatch(self.data):
                raise ValueError("`data` is not base64: make the message by `of(...)`.")
            if self.media_type is None:
                raise ValueError("`media_type` is missing, such as image/png.")
        elif self.url is not None and not _URL.match(self.url):
            raise ValueError("`url` begins with https:// or http://; of other sources make the message by `of(...)`.")
        if self.media_type is not None and not _MEDIA_TYPE.fullmatch(self.media_type):
            raise ValueError(f"`media_type` is such as image/png, not {self.media_type!r}.")
        if self.media_type is not None and not self._is_kind.match(self.media_type):
            raise ValueError(f"{self.media_type} is no kind of {self._what}, which {type(self).__name__} is for.")
        return self

    @property
    def content(self) -> bytes:
        """The bytes of the file. Raises `ValueError` if it is on the web."""
        if self.data is None:
            raise ValueError(f"The {self._what} is at {self.url}, and has not been fetched.")
        return base64.b64decode(self.data)

    @property
    def address(self) -> str:
        """The URL, or the whole file as one."""
        return self.url if self.url is not None else f"data:{self.media_type};base64,{self.data}"

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, Shown(f"<{_size(value):,} bytes>") if name == "data" and value else value


class ImageMessage(MediaMessage):
    """An image.

    >>> ImageMessage.of("https://example.com/cat.png", "What is this?")
    ImageMessage(text='What is this?', media_type='image/png', url='https://example.com/cat.png', name='cat.png')
    """

    _is_kind: ClassVar[re.Pattern[str]] = re.compile("image/")
    _what: ClassVar[str] = "image"


class AudioMessage(MediaMessage):
    """A sound, such as speech."""

    _is_kind: ClassVar[re.Pattern[str]] = re.compile("audio/")
    _what: ClassVar[str] = "sound"


class DocumentMessage(MediaMessage):
    """A document: a PDF file, a text, and whatever else a provider reads."""

    _is_kind: ClassVar[re.Pattern[str]] = re.compile("(?!image/|audio/|video/)")
    _what: ClassVar[str] = "document"

    @classmethod
    def _type_of(cls, data: bytes, name: str | None) -> str | None:
        found = super()._type_of(data, name)
        if found is not None or b"\0" in data:
            return found
        try:
            data.decode()
        except UnicodeDecodeError:
            return None
        return "text/plain"

    @property
    def is_text(self) -> bool:
        """Whether it is here, and a text that can be read as it is."""
        return self.data is not None and (self.media_type or "").startswith("text/")


def _size(data: str) -> int:
    """How many bytes there are in base64."""
    return len(data) // 4 * 3 - data[-2:].count("=")


def _given(**fields: str | None) -> dict[str, str]:
    return {name: value for name, value in fields.items() if value is not None}


def _type_by_name(name: str | None) -> str | None:
    found = _BY_NAME.guess_type(name)[0] if name else None
    return found if found != "application/octet-stream" else None  # which tells nothing
