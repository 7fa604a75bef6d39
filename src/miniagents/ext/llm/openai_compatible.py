"""`openai_compatible_agent`: any server that speaks OpenAI's chat completions. `pip install "miniagents[openai]"`.

Also the pattern for one more provider: what differs, and an agent.
"""

from typing import Any, ClassVar, Final

from miniagents.agents import InteractionContext, miniagent
from miniagents.ext.llm._client import limited_http_client
from miniagents.ext.llm.errors import LLMParameterError
from miniagents.ext.llm.llm_common import llm_agent
from miniagents.ext.llm.openai import OpenAIProvider, with_completions_loaded
from miniagents.ext.llm.provider import ClientOptions


class OpenAICompatibleProvider(OpenAIProvider):
    """Chat completions of somebody else."""

    name: ClassVar[str] = "the OpenAI-compatible server"
    model_variable: ClassVar[str | None] = None
    default_model: ClassVar[str | None] = None

    def make_client(self, sdk: Any, options: ClientOptions) -> Any:
        """An `AsyncOpenAI` that tells others nothing of an account with OpenAI: neither its key nor its names."""
        if options.base_url is None:  # the SDK would ask OpenAI
            raise LLMParameterError(
                "`base_url` is empty: it is where the server is, such as http://localhost:11434/v1."
            )
        http_client = limited_http_client(sdk, self.extra)
        client = sdk.AsyncOpenAI(http_client=http_client, **{"api_key": "none", **options.given()})
        client.organization = client.project = None
        return with_completions_loaded(client)


_PROVIDER: Final = OpenAICompatibleProvider()


@miniagent
async def openai_compatible_agent(ctx: InteractionContext, /, *, base_url: str, model: str, **parameters: Any) -> None:
    """A model behind a server that speaks OpenAI's protocol: Ollama, vLLM, LM Studio, llama.cpp, many hosted ones.

    - `base_url`: where it is, such as `http://localhost:11434/v1` (Ollama), `http://localhost:8000/v1` (vLLM) or
      `http://localhost:1234/v1` (LM Studio).
    - `model`: one that the server has.
    - `api_key`: if the server wants one; `OPENAI_API_KEY` is not sent to it.

    All other arguments, the reply and the errors are those of `llm_agent`; what that does not know are parameters of
    the server's API, by their own names.

    >>> llama = openai_compatible_agent.fork(base_url="http://localhost:11434/v1", model="llama3.2")
    """
    await llm_agent.function(ctx, provider=_PROVIDER, base_url=base_url, model=model, **parameters)
