"""Messages of the user as the parts that the APIs of OpenAI take."""

from typing import Any, Final

from miniagents.ext.llm.errors import LLMRequestError
from miniagents.ext.llm.media import AudioMessage, DocumentMessage, ImageMessage, MediaMessage
from miniagents.messages import Message

_AUDIO_FORMATS: Final = {
    **dict.fromkeys(("audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave"), "wav"),
    **dict.fromkeys(("audio/mpeg", "audio/mp3"), "mp3"),
}
# An API that wants a file wants a name for it, too.
_NO_NAME: Final = "document"


def chat_parts(message: Message) -> list[dict[str, Any]]:
    """The parts of a chat completion's message; none for an empty text."""
    parts: list[dict[str, Any]] = [{"type": "text", "text": text}] if (text := str(message)) else []
    if isinstance(message, ImageMessage):
        parts.append({"type": "image_url", "image_url": {"url": message.address}})
    elif isinstance(message, AudioMessage):
        parts.append({"type": "input_audio", "input_audio": _audio(message)})
    elif isinstance(message, DocumentMessage):
        parts.append(_chat_document(message))
    return parts


def response_parts(message: Message) -> list[dict[str, Any]]:
    """The parts of an item of a response's input; none for an empty text."""
    parts: list[dict[str, Any]] = [{"type": "input_text", "text": text}] if (text := str(message)) else []
    if isinstance(message, ImageMessage):
        parts.append({"type": "input_image", "image_url": message.address, "detail": "auto"})
    elif isinstance(message, AudioMessage):
        parts.append({"type": "input_audio", "input_audio": _audio(message)})
    elif isinstance(message, DocumentMessage) and message.url is not None:
        parts.append({"type": "input_file", "file_url": message.url})
    elif isinstance(message, DocumentMessage):
        parts.append({"type": "input_file", "filename": message.name or _NO_NAME, "file_data": message.address})
    return parts


def _audio(message: AudioMessage) -> dict[str, str]:
    audio_format = _AUDIO_FORMATS.get(message.media_type or "")
    if message.data is None:
        raise LLMRequestError(f"OpenAI's APIs take no sounds by URL: send the file of {message.url} itself.")
    if audio_format is None:
        raise LLMRequestError(f"OpenAI's APIs take sounds in the formats WAV and MP3, not {message.media_type}.")
    return {"data": message.data, "format": audio_format}


def _chat_document(message: DocumentMessage) -> dict[str, Any]:
    _refuse_url(message)
    if message.is_text:  # as a file they take a PDF
        return {"type": "text", "text": message.content.decode(errors="replace")}
    return {"type": "file", "file": {"filename": message.name or _NO_NAME, "file_data": message.address}}


def _refuse_url(message: MediaMessage) -> None:
    if message.url is not None:
        raise LLMRequestError(f"Chat completions take no documents by URL: send the file of {message.url} itself.")
