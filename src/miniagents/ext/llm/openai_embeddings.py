"""`openai_embedding_agent`: texts as vectors, by OpenAI's SDK. `pip install "miniagents[openai]"`."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any, ClassVar, Final

from miniagents.agents import MiniAgent
from miniagents.ext.llm._body import AnswerParts, parts_of
from miniagents.ext.llm._client import base_url_of
from miniagents.ext.llm._openai_sdk import OpenAISDK
from miniagents.ext.llm.embeddings import EmbeddingProvider, embedding_agent

__all__ = ["DEFAULT_MODEL", "OpenAIEmbeddingProvider", "openai_embedding_agent"]

DEFAULT_MODEL: Final = "text-embedding-3-small"
"""The model if neither the call nor `OPENAI_EMBEDDING_MODEL` names one."""


class OpenAIEmbeddingProvider(OpenAISDK, EmbeddingProvider):
    """Embeddings."""

    model_variable: ClassVar[str | None] = "OPENAI_EMBEDDING_MODEL"
    default_model: ClassVar[str | None] = DEFAULT_MODEL
    encoding: ClassVar[str | None] = "base64"  # a quarter of the size

    def warm_up(self, client: Any) -> None:
        """Load the embeddings."""
        _ = client.embeddings

    async def open(self, client: Any, request: Mapping[str, Any], opened: AsyncExitStack) -> AnswerParts:
        """The answer of `embeddings.create`."""
        answer = await client.embeddings.create(**request)
        where = base_url_of(client)
        return await parts_of(answer, opened, stream=False, provider=self.name, package=self.package, url=where)


openai_embedding_agent = MiniAgent(
    embedding_agent.function,
    alias="OPENAI_EMBEDDING_AGENT",
    description="Texts as vectors, by OpenAI.",
    provider=OpenAIEmbeddingProvider(),
)
"""Texts as vectors, by OpenAI: `embedding_agent` with this provider.

The model is by default that of the environment variable `OPENAI_EMBEDDING_MODEL`, else `DEFAULT_MODEL`; the SDK finds
`OPENAI_API_KEY` and `OPENAI_BASE_URL`. What `embedding_agent` does not know are parameters of `embeddings.create`.
"""
