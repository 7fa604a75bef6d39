"""`openai_compatible_embedding_agent`: texts as vectors, by any server that speaks OpenAI's protocol.

`pip install "miniagents[http]"`
"""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any, ClassVar, Final

from miniagents.agents import InteractionContext, miniagent
from miniagents.ext.llm._body import AnswerParts
from miniagents.ext.llm.embeddings import EmbeddingProvider, embedding_agent
from miniagents.ext.llm.http_provider import OverHTTP

__all__ = ["OpenAICompatibleEmbeddingProvider", "openai_compatible_embedding_agent"]


class OpenAICompatibleEmbeddingProvider(OverHTTP, EmbeddingProvider):
    """Embeddings of somebody else, without an SDK."""

    name: ClassVar[str] = "the OpenAI-compatible server"
    path: ClassVar[str] = "embeddings"

    async def open(self, client: Any, request: Mapping[str, Any], opened: AsyncExitStack) -> AnswerParts:
        """The answer of `/embeddings`."""
        return await self.post(client, request, opened)


_PROVIDER: Final = OpenAICompatibleEmbeddingProvider()


@miniagent
async def openai_compatible_embedding_agent(
    ctx: InteractionContext, /, *, base_url: str, model: str, **parameters: Any
) -> None:
    """Texts as vectors, by a server that speaks OpenAI's protocol, such as Ollama or vLLM.

    `base_url` and `model` as of `openai_compatible_agent`; all else as of `embedding_agent`.

    >>> nomic = openai_compatible_embedding_agent.fork(base_url="http://localhost:11434/v1", model="nomic-embed-text")
    """
    await embedding_agent.function(ctx, provider=_PROVIDER, base_url=base_url, model=model, **parameters)
