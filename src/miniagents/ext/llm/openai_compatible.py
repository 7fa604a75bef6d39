"""`openai_compatible_agent`: any server that speaks OpenAI's chat completions. `pip install "miniagents[http]"`.

Also the pattern for one more provider that is asked over plain HTTP: what differs, and an agent.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any, ClassVar, Final

from miniagents.agents import InteractionContext, miniagent
from miniagents.ext.llm._body import parts_of_response
from miniagents.ext.llm._client import load
from miniagents.ext.llm.errors import LLMParameterError
from miniagents.ext.llm.llm_common import llm_agent
from miniagents.ext.llm.openai import OpenAIProvider
from miniagents.ext.llm.provider import AnswerEvent, ClientOptions


class OpenAICompatibleProvider(OpenAIProvider):
    """Chat completions of somebody else, without an SDK."""

    name: ClassVar[str] = "the OpenAI-compatible server"
    package: ClassVar[str] = "httpx2"
    base_error: ClassVar[str] = "HTTPError"
    extra: ClassVar[str] = "http"
    price_name: ClassVar[str] = ""
    key_variable: ClassVar[str] = ""
    host: ClassVar[str] = ""
    model_variable: ClassVar[str | None] = None
    default_model: ClassVar[str | None] = None

    def make_client(self, sdk: Any, options: ClientOptions) -> Any:  # noqa: ARG002 (the HTTP client is behind ours)
        """A client that tells others nothing of an account with OpenAI."""
        if options.base_url is None:
            raise LLMParameterError(
                "`base_url` is empty: it is where the server is, such as http://localhost:11434/v1."
            )
        headers = {"authorization": f"Bearer {options.api_key}"} if options.api_key else {}
        http = load("miniagents.ext.llm._http_client", self.extra)
        return http.HTTPClient(options.base_url, headers, options.api_key)

    async def open(self, client: Any, request: Mapping[str, Any], opened: AsyncExitStack) -> AsyncIterator[AnswerEvent]:
        """The answer of `/chat/completions`."""
        if hasattr(client, "chat"):  # an `AsyncOpenAI` of the caller's
            return await super().open(client, request, opened)
        response = await client.post("chat/completions", dict(request), opened, self.name)
        return self._read(await parts_of_response(response, opened, provider=self.name))


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
