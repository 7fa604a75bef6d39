"""What all agents of OpenAI have in common: the client of its SDK."""

import os
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from miniagents.ext.llm._client import limited_http_client
from miniagents.ext.llm.errors import MissingKeyError
from miniagents.ext.llm.provider import ClientOptions

DEFAULT_MODEL: Final = "gpt-5.5"
"""The model if neither the call nor `OPENAI_MODEL` names one."""


class OpenAISDK:
    """Of all providers that are OpenAI, whatever is asked of it: they share clients and limits."""

    name: ClassVar[str] = "OpenAI"
    package: ClassVar[str] = "openai"
    base_error: ClassVar[str] = "OpenAIError"
    extra: ClassVar[str] = "openai"
    price_name: ClassVar[str] = "openai"
    key_variable: ClassVar[str] = "OPENAI_API_KEY"
    host: ClassVar[str] = "api.openai.com"
    foreign_models: ClassVar[Mapping[str, str]] = {
        "claude": "`anthropic_agent`",
        **dict.fromkeys(
            ("gemini", "llama", "mistral", "deepseek", "qwen"), "`openai_compatible_agent` with its address"
        ),
    }
    model_variable: ClassVar[str | None] = "OPENAI_MODEL"
    default_model: ClassVar[str | None] = DEFAULT_MODEL

    def make_client(self, sdk: Any, options: ClientOptions) -> Any:
        """An `AsyncOpenAI`."""
        # The SDK itself would refuse as well, but also be content with an admin key, which no model accepts.
        if not (options.api_key or os.environ.get(self.key_variable)):
            raise MissingKeyError(self.name, self.key_variable)
        client = sdk.AsyncOpenAI(http_client=limited_http_client(sdk, self.extra), **options.given())
        self.warm_up(client)
        return client

    def warm_up(self, client: Any) -> None:
        """Touch what will be used of the client: the SDK loads it then, which takes its time."""
