"""`openai_compatible_agent`: any server that speaks OpenAI's chat completions. `pip install "miniagents[http]"`."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any, ClassVar, Final

from miniagents.agents import InteractionContext, miniagent
from miniagents.ext.llm._body import AnswerParts
from miniagents.ext.llm.http_provider import HTTPProvider
from miniagents.ext.llm.llm_common import llm_agent
from miniagents.ext.llm.openai import OpenAIProvider
from miniagents.ext.llm.provider import AnswerEvent


class OpenAICompatibleProvider(HTTPProvider, OpenAIProvider):
    """Chat completions of somebody else, without an SDK."""

    name: ClassVar[str] = "the OpenAI-compatible server"
    price_name: ClassVar[str] = ""
    key_variable: ClassVar[str] = ""
    host: ClassVar[str] = ""
    model_variable: ClassVar[str | None] = None
    default_model: ClassVar[str | None] = None
    path: ClassVar[str] = "chat/completions"
    wants_thoughts: ClassVar[bool] = True

    def sent_id(self, given: str) -> str:
        """As it is: some models read in their ids how many calls there were."""
        return given

    async def open(self, client: Any, request: Mapping[str, Any], opened: AsyncExitStack) -> AsyncIterator[AnswerEvent]:
        """The answer of `/chat/completions`."""
        if hasattr(client, "chat"):  # an `AsyncOpenAI` of the caller's
            return await OpenAIProvider.open(self, client, request, opened)
        return await super().open(client, request, opened)

    def read(self, answer: AnswerParts) -> AsyncIterator[AnswerEvent]:
        """As those of OpenAI."""
        return self._read(answer)


_PROVIDER: Final = OpenAICompatibleProvider()


@miniagent
async def openai_compatible_agent(
    ctx: InteractionContext, /, *, base_url: str | None, model: str, **parameters: Any
) -> None:
    """A model behind a server that speaks OpenAI's protocol: Ollama, vLLM, LM Studio, llama.cpp, many hosted ones.

    - `base_url`: where it is, such as `http://localhost:11434/v1` (Ollama), `http://localhost:8000/v1` (vLLM) or
      `http://localhost:1234/v1` (LM Studio). `None` with an `AsyncOpenAI` of your own as `async_client`, which knows
      it.
    - `model`: one that the server has.
    - `api_key`: if the server wants one; `OPENAI_API_KEY` is not sent to it.

    All other arguments, the reply and the errors are those of `llm_agent`; what that does not know are parameters of
    the server's API, by their own names.

    >>> llama = openai_compatible_agent.fork(base_url="http://localhost:11434/v1", model="llama3.2")
    """
    await llm_agent.function(ctx, provider=_PROVIDER, base_url=base_url, model=model, **parameters)
