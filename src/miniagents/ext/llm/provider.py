"""What a provider is to the agents: how it is reached, how it is asked, and how its answers are read."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from miniagents.ext.llm._body import AnswerParts, parts_of
from miniagents.ext.llm._client import ClientOptions, base_url_of
from miniagents.ext.llm.errors import LLMRequestError
from miniagents.ext.llm.prompt import Prompt

__all__ = ["AnswerEvent", "ClientOptions", "LLMProvider", "Provider", "ThinkingPiece", "ToolCallPiece"]


@dataclass(frozen=True, slots=True)
class ThinkingPiece:
    """A piece of what the model thinks."""

    text: str = ""
    signature: str = ""
    """A piece of the signature."""
    redacted: bool = False
    """Whether the thought is only in the signature."""
    starts: bool = False
    """Whether another thought begins with this piece."""
    goes_back: bool = False
    """Whether the provider wants the thought back though it signs none; see `ThinkingMessage.signed_by`."""


@dataclass(frozen=True, slots=True)
class ToolCallPiece:
    """A piece of a call of a tool. Those of several calls may come mixed."""

    index: int | str
    """Which call of this answer it belongs to."""
    call_id: str = ""
    """Given once, with the first piece."""
    tool: str = ""
    """The name of the tool; given once, with the first piece."""
    arguments: str = ""
    """A piece of the arguments, a JSON text."""
    signature: str = ""
    """What the provider wants to be sent back with the call; given once."""


AnswerEvent: TypeAlias = str | ThinkingPiece | ToolCallPiece | Mapping[str, Any]
"""A piece of the text, of a thought or of a call of a tool; or fields for the last message of the answer:
`finish_reason`, `usage`, `response_id`, ..."""


class Provider(ABC):
    """Who is asked, and how they are reached. Has no state; all of it is called anew for each request."""

    name: ClassVar[str]
    """As people call it."""
    package: ClassVar[str]
    """The module of the SDK."""
    base_error: ClassVar[str]
    """The class in that module that all its errors inherit."""
    extra: ClassVar[str]
    """Installed by `pip install "miniagents[extra]"`."""
    price_name: ClassVar[str] = ""
    """What the table of prices calls it. Empty: it goes by the address."""
    key_variable: ClassVar[str] = ""
    """The environment variable with the key, if there is one."""
    host: ClassVar[str] = ""
    """Where the provider's own models are."""
    foreign_models: ClassVar[Mapping[str, str]] = {}
    """How the names of models begin that it does not have there, and what to use for them instead."""
    model_variable: ClassVar[str | None] = None
    """The environment variable that names the model when the call does not."""
    default_model: ClassVar[str | None] = None
    """The model when nobody names one."""

    @abstractmethod
    def make_client(self, sdk: Any, options: ClientOptions) -> Any:
        """An async client. Called in a thread, so it may take its time. Raises `MissingKeyError` without a key."""


class LLMProvider(Provider):
    """What differs between providers of models that answer."""

    supports: ClassVar[frozenset[str]] = frozenset()
    """What of a prompt `make_request` sends beside the texts: `tools`, `answer` (the schema of the answer)."""

    def check_question(self, messages: Sequence[object]) -> None:
        """Raise `LLMRequestError` if there is nothing to be asked."""
        if not messages:
            raise LLMRequestError(f"{self.name} must be sent at least one message with a text.")

    def check_model(self, model: object, address: str) -> None:
        """Raise `LLMRequestError` for a model that is somebody else's."""
        if not self.host or self.host not in address or not isinstance(model, str):
            return
        for beginning, instead in self.foreign_models.items():
            if model.lower().startswith(beginning):
                raise LLMRequestError(f"{self.name} has no model {model!r}: use {instead} for it.")

    def check_prompt(self, prompt: Prompt) -> None:
        """Raise `LLMRequestError` for a prompt of which a part would get lost."""
        wanted = {"tools": prompt.tools, "answer": prompt.answer}
        names = {"tools": "tools", "answer": "a `response_type`"}
        for part, is_there in wanted.items():
            if is_there and part not in self.supports:
                raise LLMRequestError(
                    f"{type(self).__name__} does not send {names[part]}: send `prompt.{part}` in its `make_request`, "
                    f"and declare it by `supports = frozenset({{{part!r}}})`."
                )

    @abstractmethod
    def make_request(self, prompt: Prompt, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of the API function: the prompt and `parameters` (`model`, `stream` and what the call gave).

        Raises `LLMRequestError` for what cannot be asked of this provider.
        """

    @abstractmethod
    async def open(self, client: Any, request: Mapping[str, Any], opened: AsyncExitStack) -> AsyncIterator[AnswerEvent]:
        """Send the request and give the answer, which may still be growing.

        What has to be closed afterwards is left to `opened`. The events end only if the answer is complete: one that
        broke off raises `LLMTruncatedError`. The client may be a fake or a wrapper of the caller's, so nothing but the
        plain API function is called.
        """

    async def parts(self, answer: Any, client: Any, request: Mapping[str, Any], opened: AsyncExitStack) -> AnswerParts:
        """The parts of what the function of an SDK has given for `request`, for `open`; `opened` closes it."""
        return await parts_of(
            answer,
            opened,
            stream=request["stream"],
            provider=self.name,
            package=self.package,
            url=base_url_of(client),
        )
