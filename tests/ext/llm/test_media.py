"""Images, sounds and documents: how they are made, what they are as data, and what each provider is sent of them."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniagents import MiniAgents
from miniagents.ext.llm import media
from miniagents.ext.llm.errors import LLMRequestError
from miniagents.ext.llm.media import AudioMessage, DocumentMessage, ImageMessage, MediaMessage
from miniagents.ext.llm.messages import AssistantMessage
from miniagents.testing import LLMServer

PNG = b"\x89PNG\r\n\x1a\n and so on"
PDF = b"%PDF-1.7 and so on"
WAV = b"RIFF\x10\0\0\0WAVEfmt "
MP3 = b"ID3\x04 and so on"
WEB = "https://example.com/a%20cat.png?size=9"


def in_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


# ---------------------------------------------------------------------- making one


@pytest.mark.parametrize(
    ("kind", "data", "media_type"),
    [
        (ImageMessage, PNG, "image/png"),
        (ImageMessage, b"\xff\xd8\xff\xe0", "image/jpeg"),
        (ImageMessage, b"GIF89a..", "image/gif"),
        (ImageMessage, b"RIFF\n\n\n\nWEBPVP8 ", "image/webp"),
        (AudioMessage, WAV, "audio/wav"),
        (AudioMessage, MP3, "audio/mpeg"),
        (AudioMessage, b"\xff\xfb\x90", "audio/mpeg"),
        (AudioMessage, b"OggS", "audio/ogg"),
        (AudioMessage, b"fLaC", "audio/flac"),
        (DocumentMessage, PDF, "application/pdf"),
        (DocumentMessage, "Grüße".encode(), "text/plain"),
    ],
    ids=range(11),
)
def test_what_a_file_is_its_content_tells(
    kind: type[MediaMessage], data: bytes, media_type: str, tmp_path: Path
) -> None:
    """Bytes and files alike are known by how they begin, whatever a file is called."""
    path = tmp_path / "named.bin"
    path.write_bytes(data)
    assert kind.of(data) == kind(media_type=media_type, data=in_base64(data))
    assert kind.of(path, "Look!") == kind("Look!", media_type=media_type, data=in_base64(data), name="named.bin")
    assert kind.of(str(path)).content == data


def test_what_content_does_not_tell_the_name_tells(tmp_path: Path) -> None:
    """A file of no known beginning is what its name says, and the argument goes before both."""
    path = tmp_path / "table.csv"
    path.write_bytes(b"a,b")
    assert DocumentMessage.of(path).media_type == "text/csv"
    assert DocumentMessage.of(path, media_type="text/plain").media_type == "text/plain"


def test_a_file_on_the_web_stays_there() -> None:
    """Of a URL the name and what it tells are known, and there is no content."""
    message = ImageMessage.of(WEB)
    assert message == ImageMessage(media_type="image/png", url=WEB, name="a cat.png")
    with pytest.raises(ValueError, match="not been fetched"):
        _ = message.content
    assert ImageMessage.of("https://example.com/").media_type is None


def test_a_data_url_is_a_file() -> None:
    """What a `data:` URL has in it is read."""
    message = ImageMessage.of(PNG)
    assert ImageMessage.of(message.address) == message
    assert ImageMessage.of(f"data:;base64,{in_base64(PNG)}") == message


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: ImageMessage.of("no/such.png"), FileNotFoundError),
        (lambda: ImageMessage.of(b""), "The image is empty"),
        (lambda: ImageMessage.of(b"\0\1"), "cannot be told: name its `media_type`"),
        (lambda: DocumentMessage.of(b"\0\1"), "cannot be told"),
        (lambda: DocumentMessage.of(b"\xff\xff"), "cannot be told"),
        (lambda: ImageMessage.of(PDF), "application/pdf is no kind of image"),
        (lambda: AudioMessage.of("https://example.com/a.png"), "image/png is no kind of sound"),
        (lambda: DocumentMessage.of(PNG), "image/png is no kind of document"),
        (lambda: ImageMessage.of("data:image/png,xyz"), "needs `;base64,`"),
        (lambda: ImageMessage.of(PNG, media_type="png"), "such as image/png, not 'png'"),
        (lambda: ImageMessage("text"), "either `data` or a `url`"),
        (lambda: ImageMessage(data="AAAA", url=WEB, media_type="image/png"), "either `data` or a `url`"),
        (lambda: ImageMessage(data="AAAA"), "`media_type` is missing"),
        (lambda: ImageMessage(data="A!", media_type="image/png"), "not base64"),
        (lambda: ImageMessage(url="file:///etc/passwd"), "`url` begins with"),
    ],
    ids=range(15),
)
def test_what_is_no_file_of_its_kind_is_refused_at_once(make: Any, error: Any) -> None:
    """A missing, empty or wrong file is an error that says so when the message is made."""
    expected = error if isinstance(error, type) else ValueError
    with pytest.raises(expected, match=None if isinstance(error, type) else error):
        make()


def test_a_file_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What no provider would take is not even read to its end."""
    monkeypatch.setattr(media, "MAX_FILE", 20)
    path = tmp_path / "large.png"
    path.write_bytes(PNG[:8] + bytes(100))
    with pytest.raises(ValueError, match="larger than 20 bytes"):
        ImageMessage.of(path)
    assert ImageMessage.of(PNG[:8] + bytes(12)).content == PNG[:8] + bytes(12)


@given(st.binary(min_size=1, max_size=50), st.text(max_size=5))
def test_a_file_is_data_like_any_message(data: bytes, text: str) -> None:
    """A file comes back from JSON as it was, equal, with the same hash, and shows its size in the place of itself."""
    message = ImageMessage.of(PNG + data, text)
    again = ImageMessage(**json.loads(json.dumps(message.serialize())))
    assert (again, hash(again), again.hash_key) == (message, hash(message), message.hash_key)
    assert again.content == PNG + data
    assert str(message) == text
    assert f"data=<{len(PNG + data)} bytes>" in repr(message)
    assert message.hash_key != ImageMessage.of(PNG + data + b"x", text).hash_key


# ---------------------------------------------------------------------- what is sent


SHOWN = ImageMessage.of(PNG, "What is this?")
PNG_URL = f"data:image/png;base64,{in_base64(PNG)}"
READ = DocumentMessage.of(PDF, name="a.pdf")
PDF_URL = f"data:application/pdf;base64,{in_base64(PDF)}"
CSV = DocumentMessage.of(b"a,b", media_type="text/csv", name="t.csv")
HEARD = AudioMessage.of(WAV)


async def sent(way: Any, *messages: Any) -> Any:
    """What the one message of the user is made of."""
    async with LLMServer() as server, MiniAgents():
        await way.agent(server).inquire(["See:", *messages, "Well?"])
    (message,) = server.requests[0].messages
    return message["content"]


async def test_files_and_texts_of_one_turn_are_one_message(way: Any) -> None:
    """Texts and files that follow each other are parts of one message, in their order, and the server takes them."""
    parts = await sent(way, SHOWN, READ, ImageMessage.of(WEB))
    if way.is_anthropic:
        assert parts == [
            {"type": "text", "text": "See:"},
            {"type": "text", "text": "What is this?"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": in_base64(PNG)}},
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": in_base64(PDF)},
                "title": "a.pdf",
            },
            {"type": "image", "source": {"type": "url", "url": WEB}},
            {"type": "text", "text": "Well?"},
        ]
    elif way.is_of_responses:
        assert parts == [
            {"type": "input_text", "text": "See:"},
            {"type": "input_text", "text": "What is this?"},
            {"type": "input_image", "image_url": PNG_URL, "detail": "auto"},
            {"type": "input_file", "filename": "a.pdf", "file_data": PDF_URL},
            {"type": "input_image", "image_url": WEB, "detail": "auto"},
            {"type": "input_text", "text": "Well?"},
        ]
    else:
        assert parts == [
            {"type": "text", "text": "See:"},
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": PNG_URL}},
            {"type": "file", "file": {"filename": "a.pdf", "file_data": PDF_URL}},
            {"type": "image_url", "image_url": {"url": WEB}},
            {"type": "text", "text": "Well?"},
        ]


async def test_documents_that_are_texts(way: Any) -> None:
    """A document that is a text is sent in the form in which the provider takes texts."""
    _, part, _ = await sent(way, CSV)
    if way.is_anthropic:
        source = {"type": "text", "media_type": "text/plain", "data": "a,b"}
        assert part == {"type": "document", "source": source, "title": "t.csv"}
    elif way.is_of_responses:
        data = f"data:text/csv;base64,{in_base64(b'a,b')}"
        assert part == {"type": "input_file", "filename": "t.csv", "file_data": data}
    else:
        assert part == {"type": "text", "text": "a,b"}


async def test_a_picture_alone_is_a_question(way: Any) -> None:
    """A message without a text is sent, if there is a file in it."""
    async with LLMServer(reply="A cat.") as server, MiniAgents():
        (message,) = await way.agent(server).inquire(ImageMessage.of(PNG))
    assert str(message) == "A cat."
    (asked,) = server.requests[0].messages
    assert len(asked["content"]) == 1


async def refusal(way: Any, message: Any) -> str:
    async with LLMServer() as server, MiniAgents():
        with pytest.raises(LLMRequestError) as caught:
            await way.agent(server).inquire(["hi", message])
    assert server.requests == []
    return str(caught.value)


async def test_sounds(way: Any) -> None:
    """Sounds go to OpenAI in its two formats; all else is refused before anything is sent."""
    if way.is_anthropic:
        assert "no audio/wav" in await refusal(way, HEARD)
        return
    for message, audio_format in ((HEARD, "wav"), (AudioMessage.of(MP3), "mp3")):
        _, part, _ = await sent(way, message)
        assert part["input_audio"] == {"data": message.data, "format": audio_format}
    assert "not audio/ogg" in await refusal(way, AudioMessage.of(b"OggS"))
    assert "no sounds by URL" in await refusal(way, AudioMessage.of("https://example.com/a.mp3"))


async def test_documents_on_the_web(way: Any) -> None:
    """Who can fetch a document is sent its URL, and chat completions, which cannot, refuse it."""
    message = DocumentMessage.of("https://example.com/a.pdf")
    if way.is_anthropic or way.is_of_responses:
        part = (await sent(way, message))[1]
        assert message.url in (part.get("file_url"), part.get("source", {}).get("url"))
    else:
        assert "no documents by URL" in await refusal(way, message)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (ImageMessage.of(b"II*\0", media_type="image/tiff"), "not image/tiff"),
        (DocumentMessage.of(b"PK\3\4", media_type="application/zip"), "not application/zip"),
        (MediaMessage.of(b"\0", media_type="video/mp4"), "no video/mp4"),
    ],
    ids=["image", "document", "other"],
)
@pytest.mark.parametrize("way", ["anthropic"], indirect=True)
async def test_what_anthropic_does_not_take(way: Any, message: MediaMessage, reason: str) -> None:
    """Formats that Anthropic does not read are named, before anything is sent."""
    assert reason in await refusal(way, message)


@pytest.mark.parametrize("role", ["assistant", "system", "developer"])
async def test_files_are_the_users(way: Any, role: str) -> None:
    """A file in the system prompt, or said by the model, would be lost, so it is an error."""
    assert f"has the role '{role}'" in await refusal(way, ImageMessage.of(PNG, role=role))


async def test_files_do_not_hide_what_the_model_said(way: Any) -> None:
    """A turn of the model between two files of the user stays where it was."""
    async with LLMServer() as server, MiniAgents():
        await way.agent(server).inquire([SHOWN, AssistantMessage("A cat."), READ])
    assert [message["role"] for message in server.requests[0].messages] == ["user", "assistant", "user"]
