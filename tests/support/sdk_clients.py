"""The official SDKs as clients of a loopback server."""

from typing import Any

import anthropic
import openai

from miniagents.testing.llm_server import LLMServer

# Without `verify=False` each client reads the certificates of the machine, which takes most of a test's time.


def openai_client(server: LLMServer, **options: Any) -> openai.AsyncOpenAI:
    """A client of OpenAI's SDK, which does not retry if not told so."""
    http = openai.DefaultAsyncHttpxClient(verify=False)
    return openai.AsyncOpenAI(
        base_url=f"{server.url}/v1", api_key="k", http_client=http, **{"max_retries": 0, **options}
    )


def anthropic_client(server: LLMServer, **options: Any) -> anthropic.AsyncAnthropic:
    """A client of Anthropic's SDK, which does not retry if not told so."""
    http = anthropic.DefaultAsyncHttpxClient(verify=False)
    return anthropic.AsyncAnthropic(base_url=server.url, api_key="k", http_client=http, **{"max_retries": 0, **options})
