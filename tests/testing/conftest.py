"""The official SDKs as clients of `LLMServer`."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import anthropic
import httpx2
import openai
import pytest

from miniagents.testing import LLMServer

Provider = Literal["openai", "anthropic"]


@dataclass
class Heard:
    """What an SDK made of an answer."""

    tokens: list[str | None] = field(default_factory=list)
    role: str | None = None
    finish: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    error: Exception | None = None


Hear = Callable[..., Awaitable[Heard]]


async def _hear_openai(heard: Heard, client: openai.AsyncOpenAI, request: dict[str, Any], *, stream: bool) -> None:
    if not stream:
        completion = await client.chat.completions.create(**request)
        for choice in completion.choices:
            heard.tokens.append(choice.message.content)
            heard.role = choice.message.role
            heard.finish = choice.finish_reason
        assert completion.usage is not None
        heard.input_tokens, heard.output_tokens = completion.usage.prompt_tokens, completion.usage.completion_tokens
        return
    chunks = await client.chat.completions.create(stream=True, stream_options={"include_usage": True}, **request)
    async with chunks:
        async for chunk in chunks:
            for choice in chunk.choices:
                heard.role = choice.delta.role or heard.role
                heard.finish = choice.finish_reason
                if choice.delta.role is None and choice.finish_reason is None:
                    heard.tokens.append(choice.delta.content)
            if chunk.usage is not None:
                heard.input_tokens, heard.output_tokens = chunk.usage.prompt_tokens, chunk.usage.completion_tokens


async def _hear_anthropic(
    heard: Heard, client: anthropic.AsyncAnthropic, request: dict[str, Any], *, stream: bool
) -> None:
    if not stream:
        message = await client.messages.create(max_tokens=100, **request)
        heard.tokens += [block.text for block in message.content]
    else:
        async with client.messages.stream(max_tokens=100, **request) as events:
            async for text in events.text_stream:
                heard.tokens.append(text)
            message = await events.get_final_message()
    heard.role, heard.finish = message.role, message.stop_reason
    heard.input_tokens, heard.output_tokens = message.usage.input_tokens, message.usage.output_tokens


@pytest.fixture
def hear() -> Hear:
    """Sends one request with the real SDK of a provider and tells what came of it."""

    async def hear(
        provider: Provider,
        server: LLMServer,
        say: str = "one two",
        *,
        stream: bool = True,
        read_timeout: float = 10,
        retries: int = 0,
    ) -> Heard:
        request = {"model": "m", "messages": [{"role": "user", "content": say}]}
        limit = httpx2.Timeout(10, read=read_timeout)
        options: dict[str, Any] = {"api_key": "a key", "timeout": limit, "max_retries": retries}
        heard = Heard()
        # Without `verify=False` each client reads the certificates of the machine, which takes most of a test's time.
        try:
            if provider == "openai":
                http = openai.DefaultAsyncHttpxClient(verify=False)
                async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", http_client=http, **options) as client:
                    await _hear_openai(heard, client, request, stream=stream)
            else:
                http = anthropic.DefaultAsyncHttpxClient(verify=False)
                async with anthropic.AsyncAnthropic(base_url=server.url, http_client=http, **options) as other_client:
                    await _hear_anthropic(heard, other_client, request, stream=stream)
        except Exception as error:  # whatever the SDK raises is what the test wants to see
            heard.error = error
        return heard

    return hear
