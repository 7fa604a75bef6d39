"""What all LLM agents have in common: messages with roles, the prompt, and the reply of a model.

A provider is a subclass of `LLMProvider`, and an agent that calls `reply_with_llm`; both fit into one small file, as
`openai_compatible.py` shows.
"""

import math
import os
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias

from miniagents.agents import InteractionContext
from miniagents.ext.llm import _limits
from miniagents.ext.llm._body import never_silent
from miniagents.ext.llm._client import ClientOptions, base_url_of, check_client, load, shared_client
from miniagents.ext.llm._sdk import SDKErrors, refusals_explained
from miniagents.ext.llm._secrets import Secrets
from miniagents.ext.llm._wire import SurrogateFilter, valid_text
from miniagents.ext.llm.errors import LLMEmptyCompletionError, LLMError, LLMParameterError, LLMRequestError
from miniagents.messages import Message
from miniagents.promising.context import current_context

__all__ = [
    "DEFAULT_MAX_SILENCE",
    "AnswerEvent",
    "AssistantMessage",
    "ClientOptions",
    "LLMProvider",
    "Prompt",
    "SystemMessage",
    "Turn",
    "UserMessage",
    "reply_with_llm",
]

DEFAULT_MAX_SILENCE: Final = 600.0
"""Seconds that a model may be silent if the call does not say: as long as the SDKs wait."""


# Type checkers believe that a pydantic model takes its declared fields, by keyword, and nothing else. A message takes
# its text by position and any metadata, so each class says so to them.


class UserMessage(Message):
    """A message of the user."""

    role: str = "user"

    if TYPE_CHECKING:

        def __init__(self, text: str | None = None, /, **metadata: Any) -> None: ...


class SystemMessage(Message):
    """A part of the system prompt."""

    role: str = "system"

    if TYPE_CHECKING:

        def __init__(self, text: str | None = None, /, **metadata: Any) -> None: ...


class AssistantMessage(Message):
    """A message of a model."""

    role: str = "assistant"

    if TYPE_CHECKING:

        def __init__(self, text: str | None = None, /, **metadata: Any) -> None: ...


@dataclass(frozen=True, slots=True)
class Turn:
    """One message as the model sees it."""

    role: str
    """`user` or `assistant`."""
    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is asked."""

    system: str
    """The system prompt; empty if there is none."""
    turns: tuple[Turn, ...]

    @classmethod
    def of(cls, messages: Iterable[Message], system: str | Message | None = None) -> "Prompt":
        """The prompt that `messages` make.

        Those with the role `system` or `developer`, wherever they stand, are the system prompt, after `system`, with
        empty lines between them. Those with the role `assistant` are the model's. All others are the user's: a model
        knows no other roles, such as the alias of an agent.
        """
        rules = [] if system is None else [str(system)]
        turns: list[Turn] = []
        for message in messages:
            role, text = message.get("role"), str(message)
            if role in ("system", "developer"):
                rules.append(text)
            else:
                turns.append(Turn("assistant" if role == "assistant" else "user", valid_text(text)))
        return cls(valid_text("\n\n".join(rule for rule in rules if rule)), tuple(turns))


AnswerEvent: TypeAlias = str | Mapping[str, Any]
"""A piece of the text, or fields for the finished message: `finish_reason`, `usage`, `response_id`, ..."""


class LLMProvider(ABC):
    """What differs between providers. Has no state; all of it is called anew for each reply."""

    name: ClassVar[str]
    """As people call it."""
    package: ClassVar[str]
    """The module of the SDK."""
    base_error: ClassVar[str]
    """The class in that module that all its errors inherit."""
    extra: ClassVar[str]
    """Installed by `pip install "miniagents[extra]"`."""
    model_variable: ClassVar[str | None] = None
    """The environment variable that names the model when the call does not."""
    default_model: ClassVar[str | None] = None
    """The model when nobody names one."""

    @abstractmethod
    def make_client(self, sdk: Any, options: ClientOptions) -> Any:
        """An async client. Called in a thread, so it may take its time. Raises `MissingKeyError` without a key."""

    @abstractmethod
    def make_request(self, prompt: Prompt, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of the API function: the prompt and `parameters` (`model`, `stream` and what the call gave)."""

    @abstractmethod
    async def open(self, client: Any, request: Mapping[str, Any], opened: AsyncExitStack) -> AsyncIterator[AnswerEvent]:
        """Send the request and give the answer, which may still be growing.

        What has to be closed afterwards is left to `opened`. The events end only if the answer is complete: one that
        broke off raises `LLMTruncatedError`. The client may be a fake or a wrapper of the caller's, so nothing but the
        plain API function is called.
        """


def reply_with_llm(
    ctx: InteractionContext,
    provider: LLMProvider,
    *,
    model: str | None = None,
    stream: bool | None = None,
    system: str | Message | None = None,
    async_client: Any = None,
    api_key: str | None = None,
    base_url: str | None = None,
    max_retries: int | None = None,
    max_silence: float | None = DEFAULT_MAX_SILENCE,
    max_ahead: float | None = None,
    parameters: Mapping[str, Any],
) -> None:
    """Reply with the answer of a model to what the agent was sent. Never waits: the reply is there before its text.

    The reply is one `AssistantMessage`. From the start it has `role`, `model` and `agent_alias`; at its end also what
    the provider tells of `finish_reason` (in OpenAI's words: `stop`, `length`, `content_filter`, `tool_calls`), `usage`
    (`input_tokens`, `output_tokens` and the provider's own figures), `response_id`, `response_model` and `tool_calls`
    (each with `id`, `name` and `arguments`, a JSON text). What goes wrong is an `LLMError` at its place among the
    tokens. An error in the input is raised as it is, and then nothing is sent.

    `openai_agent` tells what the arguments are; an argument that cannot be right is a `TypeError` or a `ValueError` at
    once.
    """
    if system is not None and not isinstance(system, (str, Message)):
        raise TypeError(f"`system` is a text or a message, not {type(system).__name__}.")
    if max_silence is not None:
        _check_silence(max_silence)
    if model is None and provider.model_variable is not None:
        model = os.environ.get(provider.model_variable) or provider.default_model
    if stream is None:
        stream = getattr(current_context(), "stream_llm_tokens_by_default", True)
    # The SDKs know it as `timeout`, which for every agent is the time that a whole call may take.
    request_timeout = {} if max_silence == DEFAULT_MAX_SILENCE else {"timeout": max_silence}
    options = ClientOptions(api_key or None, base_url or None, max_retries)
    parameters = {"model": model, "stream": stream, **request_timeout, **parameters}
    answer = _Answer(ctx, provider, system, async_client, options, max_silence, parameters)
    ctx.reply(
        AssistantMessage.promise(
            answer.tokens, max_ahead=max_ahead, role="assistant", model=model, agent_alias=ctx.this_agent.alias
        )
    )


def _check_silence(seconds: object) -> None:
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool) or not 0 < seconds < math.inf:
        raise LLMParameterError(
            f"`max_silence` is a positive number of seconds, or None for no limit, not {seconds!r}."
        )


@dataclass(frozen=True, slots=True, repr=False)
class _Answer:
    """One reply of a model in the making. Without a `repr`: there may be keys in the options and the parameters."""

    ctx: InteractionContext
    provider: LLMProvider
    system: str | Message | None
    async_client: Any
    options: ClientOptions
    max_silence: float | None
    parameters: Mapping[str, Any]

    async def tokens(self, metadata: dict[str, Any]) -> AsyncIterator[str]:
        """The tokens of the answer; what else it tells goes into `metadata`."""
        # Outside the `try`: an error in the input is none of ours, also if it is one of another model.
        prompt = Prompt.of(await self.ctx.message_promises, self.system)
        said: list[str] = []
        length = 0
        secrets = Secrets(self.parameters, self.options.api_key, self.options.base_url)
        try:
            async with AsyncExitStack() as opened, aclosing(self._events(prompt, opened, secrets)) as events:
                async for token in _valid_tokens(events, metadata):
                    if token:
                        length += len(token)
                        _limits.check_length(
                            length, _limits.MAX_TEXT, f"The answer of {self.provider.name}", "characters"
                        )
                        said.append(token)
                        yield token
            if not said and "tool_calls" not in metadata:
                reason = metadata.get("finish_reason")
                raise LLMEmptyCompletionError(
                    f"{self.provider.name} answered without a text (finish reason: {reason})."
                )
        except LLMError as error:
            secrets.keep_out_of(error)
            error.partial_text = "".join(said)
            error.add_note(f"Model: {self.parameters['model']}")
            raise

    async def _events(
        self, prompt: Prompt, opened: AsyncExitStack, secrets: Secrets
    ) -> AsyncGenerator[AnswerEvent, None]:
        provider = self.provider
        request = provider.make_request(prompt, self.parameters)
        if not request["messages"]:
            raise LLMRequestError(f"{provider.name} must be sent at least one message with a text.")
        sdk_errors = SDKErrors(provider.name, provider.package, provider.base_error)
        url = ""
        try:
            client = secrets.client = await self._client()
            url = base_url_of(client)
            async for event in never_silent(self.max_silence, self._sent(client, request, opened), provider.name):
                yield event
        except LLMError:
            raise
        except sdk_errors.classes() as error:
            raise sdk_errors.explain(error, url) from error

    async def _client(self) -> Any:
        if self.async_client is not None:
            return self.async_client
        provider, options = self.provider, self.options
        client = await shared_client(
            (provider.name, options), lambda: provider.make_client(load(provider.package, provider.extra), options)
        )
        check_client(client, provider.name)
        return client

    async def _sent(
        self, client: Any, request: Mapping[str, Any], opened: AsyncExitStack
    ) -> AsyncIterator[AnswerEvent]:
        with refusals_explained(self.provider.name):
            events = await self.provider.open(client, request, opened)
        async for event in events:
            yield event


async def _valid_tokens(events: AsyncIterator[AnswerEvent], metadata: dict[str, Any]) -> AsyncIterator[str]:
    surrogates = SurrogateFilter()
    async for event in events:
        if isinstance(event, str):
            yield surrogates.feed(event)
        else:
            metadata.update(event)
    yield surrogates.feed("", final=True)
