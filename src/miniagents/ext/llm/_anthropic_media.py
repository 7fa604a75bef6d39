"""Files as the blocks that Anthropic takes."""

from typing import Any, Final

from miniagents.ext.llm.errors import LLMRequestError
from miniagents.ext.llm.media import DocumentMessage, ImageMessage, MediaMessage

_IMAGES: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_PDF: Final = "application/pdf"


def media_block(message: MediaMessage) -> dict[str, Any]:
    """The block for a file. Raises `LLMRequestError` for one that the API does not take."""
    if isinstance(message, ImageMessage):
        return {"type": "image", "source": _image(message)}
    if isinstance(message, DocumentMessage):
        title = {"title": message.name} if message.name else {}
        return {"type": "document", "source": _document(message), **title}
    raise LLMRequestError(f"Anthropic takes images and documents, and no {message.media_type or 'other files'}.")


def _image(message: ImageMessage) -> dict[str, Any]:
    if message.url is not None:
        return {"type": "url", "url": message.url}
    if message.media_type not in _IMAGES:
        raise LLMRequestError(f"Anthropic takes images in JPEG, PNG, GIF and WebP, not {message.media_type}.")
    return {"type": "base64", "media_type": message.media_type, "data": message.data}


def _document(message: DocumentMessage) -> dict[str, Any]:
    if message.url is not None:
        return {"type": "url", "url": message.url}
    if message.is_text:
        return {"type": "text", "media_type": "text/plain", "data": message.content.decode(errors="replace")}
    if message.media_type != _PDF:
        raise LLMRequestError(f"Anthropic takes documents as PDF or text, not {message.media_type}.")
    return {"type": "base64", "media_type": _PDF, "data": message.data}
