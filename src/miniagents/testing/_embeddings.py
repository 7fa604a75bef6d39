"""The wire format of OpenAI's embeddings, and vectors in which similar texts are near."""

import base64
import hashlib
import math
import re
import struct
from collections.abc import Callable, Sequence

from miniagents.testing._checks import missing, no_such_value, wrong_type
from miniagents.testing._parts import split_into_tokens
from miniagents.testing._wire import JSON, Exchange, RefusedError, Wire
from miniagents.testing._wire_openai import error_body, refusal_body

_DIMENSIONS = 1536
_MOST_INPUTS = 2048

EmbeddingFunction = Callable[[str], Sequence[float]]
"""Makes the vector of a text."""


class EmbeddingsWire(Wire):
    """Makes the answer to `POST /v1/embeddings`.

    Args:
        exchange: The request.
        vector: Makes the vectors; if it is not given, they tell which words a text has.
    """

    def __init__(self, exchange: Exchange, vector: EmbeddingFunction | None = None) -> None:
        super().__init__(exchange)
        self._vector = vector
        self._vectors: Sequence[Sequence[float]] = ()

    @property
    def tokens(self) -> int:
        """A vector has no pieces to wait for."""
        return 0

    def check(self) -> None:
        """Whether OpenAI would refuse the request."""
        body = self._exchange.body
        if not isinstance(body.get("model"), str):
            raise missing("model")
        if body.get("input") is None:
            raise missing("input")
        texts = _inputs(body["input"])
        if not texts or not all(texts) or len(texts) > _MOST_INPUTS:
            raise RefusedError("'$.input' is invalid. Please check the API reference.", "input")
        if body.get("encoding_format", "float") not in ("float", "base64"):
            raise no_such_value(body["encoding_format"], "encoding_format", "float", "base64")
        dimensions = body.get("dimensions")
        if dimensions is None:
            return
        if not isinstance(dimensions, int) or isinstance(dimensions, bool):
            raise wrong_type("dimensions", "an integer")
        if dimensions < 1:
            message = "Invalid 'dimensions': integer below minimum value. Expected a value >= 1."
            raise RefusedError(message, "dimensions", "integer_below_min_value")

    def prepare(self) -> None:
        """Makes the vectors."""
        texts = [] if self._exchange.fault == "no_content" else _inputs(self._exchange.body["input"])
        self._vectors = [self._vector_of(text) for text in texts]

    def whole(self) -> JSON:
        """The vectors, in the order of the texts."""
        body = self._exchange.body
        encode = _as_base64 if body.get("encoding_format") == "base64" else list
        tokens = sum(len(split_into_tokens(text)) for text in _inputs(body["input"]))
        return {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": encode(vector)}
                for index, vector in enumerate(self._vectors)
            ],
            "model": self._exchange.model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }

    def error_body(self, status: int, message: str) -> JSON:
        """An error."""
        return error_body(status, message)

    def refusal_body(self, refusal: RefusedError) -> JSON:
        """An error that tells the field which is wrong."""
        return refusal_body(refusal)

    def _vector_of(self, text: str) -> Sequence[float]:
        dimensions = self._exchange.body.get("dimensions")
        if self._vector is None:
            return vector_of_words(text, dimensions or _DIMENSIONS)
        vector = self._vector(text)
        return vector if dimensions is None else _normalised(vector[:dimensions])


def vector_of_words(text: str, dimensions: int) -> Sequence[float]:
    """A vector of length 1 that tells which words are in a text: the more words two have in common, the nearer."""
    words = re.findall(r"\w+", text.casefold()) or [text]
    vector = [0.0] * dimensions
    for word in words:
        digest = hashlib.sha256(word.encode("utf-8", "surrogatepass")).digest()
        vector[int.from_bytes(digest[:8], "big") % dimensions] += 1.0 if digest[8] % 2 else -1.0
    # Words that take each other away leave nothing that could have a length.
    return _normalised(vector) if any(vector) else _normalised([1.0] * dimensions)


def _normalised(vector: Sequence[float]) -> Sequence[float]:
    length = math.hypot(*vector)
    return [value / length for value in vector] if length else vector


def _as_base64(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _inputs(value: object) -> list[str]:
    """The texts; tokens are a text of their numbers. Empty if there is something else among them."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        return []
    if value and all(isinstance(item, int) for item in value):
        return [" ".join(map(str, value))]
    texts = [" ".join(map(str, item)) if isinstance(item, list) else item for item in value]
    return texts if all(isinstance(text, str) for text in texts) else []
