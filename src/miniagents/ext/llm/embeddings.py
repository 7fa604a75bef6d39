"""`embedding_agent`: what all agents are that turn texts into vectors, whatever their provider."""

import asyncio
import base64
import binascii
import math
import operator
import os
import struct
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, ClassVar, Final

from miniagents.agents import InteractionContext, MiniAgent, check_budget
from miniagents.ext.llm._access import Access
from miniagents.ext.llm._body import AnswerParts
from miniagents.ext.llm._client import ClientOptions, base_url_of
from miniagents.ext.llm._exchange import Patience
from miniagents.ext.llm._sdk import error_in_answer, refusals_explained
from miniagents.ext.llm._secrets import Secrets
from miniagents.ext.llm._shown import Shown
from miniagents.ext.llm._usage import Meter, tokens_in
from miniagents.ext.llm._wire import error_in, field, figures, list_field, text_field, texts, valid_text
from miniagents.ext.llm.errors import (
    LLMError,
    LLMParameterError,
    LLMProtocolError,
    LLMRequestError,
    LLMTimeoutError,
)
from miniagents.ext.llm.limits import Limits
from miniagents.ext.llm.llm_common import DEFAULT_MAX_SILENCE
from miniagents.ext.llm.provider import Provider
from miniagents.messages import Message
from miniagents.messages.usage import Usage

__all__ = ["DEFAULT_BATCH_SIZE", "EmbeddingMessage", "EmbeddingProvider", "embedding_agent"]

DEFAULT_BATCH_SIZE: Final = 256
"""How many texts are in one request at most."""
_LONGEST_BATCH: Final = 250_000
"""Characters of one request: if each were a token, OpenAI would still take it."""


class EmbeddingMessage(Message):
    """A text and its vector."""

    vector: tuple[float, ...] = ()
    model: str | None = None

    if TYPE_CHECKING:

        def __init__(self, text: str | None = None, /, **metadata: Any) -> None: ...

    def similarity(self, other: "EmbeddingMessage") -> float:
        """How near the two texts are: the cosine of the angle between their vectors, from -1 to 1.

        Raises `ValueError` if the vectors have different dimensions, or none.

        >>> ship, boat = EmbeddingMessage("ship", vector=[1, 0]), EmbeddingMessage("boat", vector=[4, 3])
        >>> ship.similarity(boat)
        0.8
        """
        if not self.vector or len(self.vector) != len(other.vector):
            raise ValueError(
                f"Vectors of {len(self.vector)} and {len(other.vector)} dimensions cannot be compared: embed both "
                "texts with the same model and `dimensions`."
            )
        lengths = math.hypot(*self.vector) * math.hypot(*other.vector)
        return sum(map(operator.mul, self.vector, other.vector)) / lengths if lengths else 0.0

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, Shown(f"<{len(value):,} numbers>") if name == "vector" and len(value) > _SHOWN else value


_SHOWN: Final = 8


class EmbeddingProvider(Provider):
    """What differs between providers of embeddings. Their requests and answers have the form of OpenAI's."""

    encoding: ClassVar[str | None] = None
    """The `encoding_format` that is asked for; `None` to leave it to the server."""

    @abstractmethod
    async def open(self, client: Any, request: Mapping[str, Any], opened: AsyncExitStack) -> AnswerParts:
        """Send the request and give the answer, as one part. What has to be closed afterwards is left to `opened`."""


async def _embedding_agent(
    ctx: InteractionContext,
    /,
    *,
    provider: EmbeddingProvider | None = None,
    model: str | None = None,
    async_client: Any = None,
    api_key: str | None = None,
    base_url: str | None = None,
    max_retries: int | None = None,
    max_silence: float | None = DEFAULT_MAX_SILENCE,
    limits: Limits | None = None,
    batch_size: int = DEFAULT_BATCH_SIZE,
    **parameters: Any,
) -> None:
    """Texts as vectors: replies with one `EmbeddingMessage` for each message that it is sent, in their order.

    Each has the text and all other fields of its message, the `vector` and the `model`; the last one of a request also
    what the provider tells of `usage`. They are sent in few requests, which run side by side within the limits.

    - `provider`: who makes the vectors. `openai_embedding_agent` and others are this agent with a provider.
    - `model`: by default that of the provider's environment variable, else the provider's default.
    - `batch_size`: how many texts are in one request at most.
    - `max_silence`: seconds that an answer may take. `None` for no limit.
    - `api_key`, `base_url`, `async_client`, `max_retries`, `limits`: as of every LLM agent (see `llm_agent`).
    - all others: parameters of the API, by their own names (`dimensions`, ...).

    What goes wrong is an `LLMError`, raised where the reply is read, behind the vectors of the requests before it. An
    empty text is an `LLMRequestError`, and then nothing is sent.
    """
    if provider is None:
        raise LLMParameterError("`provider` is missing: use `openai_embedding_agent` or the like.")
    if limits is not None and not isinstance(limits, Limits):
        raise LLMParameterError(f"`limits` are `Limits(...)`, not {limits!r}.")
    size: object = batch_size
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise LLMParameterError(f"`batch_size` is a whole number from 1, not {batch_size!r}.")
    if model is None and provider.model_variable is not None:
        model = os.environ.get(provider.model_variable) or provider.default_model
    if provider.encoding is not None:
        parameters = {"encoding_format": provider.encoding, **parameters}
    access = Access(provider, async_client, ClientOptions(api_key or None, base_url or None, max_retries), limits)
    question = _Question(access, Patience(max_silence, None).max_silence, {"model": model, **parameters})
    messages = await ctx.message_promises
    for place, message in enumerate(messages):
        if not str(message):
            what = "" if type(message) is Message else f", of class {type(message).__name__},"
            raise LLMRequestError(
                f"Message {place}{what} has no text, and only a text has a vector: leave the message out, or say in "
                "words what it is. (The first message is 0.)"
            )
    for batch in _batches(messages, batch_size):
        ctx.reply(_batch_agent.inquire(batch, question=question))


embedding_agent: Final = MiniAgent(_embedding_agent, alias="EMBEDDING_AGENT")


async def _embed_batch(ctx: InteractionContext, *, question: "_Question") -> None:
    ctx.reply(await question.ask(await ctx.message_promises))


# An agent, so that the requests run side by side, and end with the call that has asked.
_batch_agent: Final = MiniAgent(_embed_batch, alias="EMBEDDING_REQUEST")


def _batches(messages: Sequence[Message], size: int) -> Iterator[Sequence[Message]]:
    batch: list[Message] = []
    length = 0
    for message in messages:
        more = len(str(message))
        if batch and (len(batch) == size or length + more > _LONGEST_BATCH):
            yield batch
            batch, length = [], 0
        batch.append(message)
        length += more
    if batch:
        yield batch


class _Question:
    """How vectors are asked for."""

    def __init__(self, access: Access, max_silence: float | None, parameters: Mapping[str, Any]) -> None:
        self._access = access
        self._max_silence = max_silence
        self._parameters = parameters

    async def ask(self, messages: Sequence[Message]) -> list[EmbeddingMessage]:
        """The vectors of `messages`, in one request, repeated if need be."""
        access, provider, model = self._access, self._access.provider, self._parameters["model"]
        said = [valid_text(str(message)) for message in messages]
        secrets = Secrets(self._parameters, access.options.api_key, access.options.base_url)
        told: dict[str, Any] = {}
        try:
            client = secrets.client = await access.client()
            meter = Meter(provider.price_name or base_url_of(client), str(model))
            await meter.prepare()
            vectors: list[tuple[float, ...]] = []
            estimate = Usage(input_tokens=tokens_in(sum(map(len, said))))
            async for attempt in access.attempts(client, estimate.tokens):
                async with attempt as slot:
                    check_budget()
                    meter.sent()
                    answer = await self._send(client, {**self._parameters, "input": said})
                    vectors = _vectors_in(answer, len(said), provider.name)
                    told = _told_by(answer)
                    if tokens := meter.answered(told, estimate):
                        slot.used(tokens)
        except LLMError as error:
            secrets.keep_out_of(error)
            error.add_note(f"Model: {model}")
            raise
        last = len(messages) - 1
        return [
            EmbeddingMessage(
                **{
                    **message,
                    "text": str(message),
                    "vector": vectors[place],
                    "model": model,
                    **(told if place == last else {}),
                }
            )
            for place, message in enumerate(messages)
        ]

    async def _send(self, client: Any, request: Mapping[str, Any]) -> Any:
        provider = self._access.provider
        assert isinstance(provider, EmbeddingProvider)
        limit = asyncio.timeout(self._max_silence)
        try:
            with self._access.errors_explained(client):
                async with limit, AsyncExitStack() as opened:
                    with refusals_explained(provider.name):
                        parts = await provider.open(client, request, opened)
                    found = [part async for part in parts]
        except LLMTimeoutError as error:
            if limit.expired():
                text = f"{provider.name} was silent for longer than `max_silence` ({self._max_silence:g} s)."
                raise LLMTimeoutError(text) from error
            raise
        if not found:
            raise LLMProtocolError(f"{provider.name} sent a stream with nothing in it.")
        return found[0]


def _vectors_in(answer: Any, count: int, provider: str) -> list[tuple[float, ...]]:
    """The vectors in an answer, in the order of the texts."""
    if (error := error_in(answer, "data")) is not None:
        raise error_in_answer(error, provider)
    found: dict[int, tuple[float, ...]] = {}
    for place, item in enumerate(list_field(answer, "data")):
        index = field(item, "index")
        vector = _vector(field(item, "embedding"))
        if vector:
            found[index if isinstance(index, int) else place] = vector
    if sorted(found) != list(range(count)) or len(set(map(len, found.values()))) > 1:
        raise LLMProtocolError(f"{provider} was sent {count} texts and sent {len(found)} vectors that go with them.")
    return [found[index] for index in range(count)]


def _vector(value: object) -> tuple[float, ...]:
    """A vector: numbers, or 32 bits for each of them in base64. Empty if it is none."""
    numbers: Sequence[Any] = value if isinstance(value, list) else ()
    if isinstance(value, str):
        try:
            packed = base64.b64decode(value, validate=True)
            numbers = struct.unpack(f"<{len(packed) // 4}f", packed)
        except (binascii.Error, ValueError, struct.error):
            return ()
    if all(isinstance(number, (int, float)) and math.isfinite(number) for number in numbers):
        return tuple(map(float, numbers))
    return ()


def _told_by(answer: Any) -> dict[str, Any]:
    """What an answer tells of itself."""
    usage = figures(field(answer, "usage"))
    common = {"input_tokens": tokens} if (tokens := usage.get("prompt_tokens")) is not None else {}
    told: dict[str, Any] = {**texts(response_model=text_field(answer, "model"))}
    return {**told, "usage": {**common, **usage}} if usage else told
