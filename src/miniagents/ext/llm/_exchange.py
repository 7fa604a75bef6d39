"""One question to a model and its answer, which becomes messages of the reply."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from typing import Any

from miniagents.agents import InteractionContext
from miniagents.ext.llm._answer_writer import AnswerWriter
from miniagents.ext.llm._body import never_silent
from miniagents.ext.llm._client import ClientOptions, base_url_of, check_client, load, shared_client
from miniagents.ext.llm._sdk import SDKErrors, refusals_explained
from miniagents.ext.llm._secrets import Secrets
from miniagents.ext.llm.errors import LLMError
from miniagents.ext.llm.messages import AssistantMessage
from miniagents.ext.llm.prompt import Prompt
from miniagents.ext.llm.provider import AnswerEvent, LLMProvider
from miniagents.messages import Message


@dataclass(frozen=True, slots=True, repr=False)
class Exchange:
    """How a model is asked. Without a `repr`: there may be keys in the options and the parameters."""

    ctx: InteractionContext
    provider: LLMProvider
    async_client: Any
    options: ClientOptions
    max_silence: float | None
    max_ahead: float | None
    parameters: Mapping[str, Any]
    answer_class: type[AssistantMessage] = AssistantMessage

    async def ask(self, prompt: Prompt) -> tuple[Message, ...] | None:
        """Reply with the answer to `prompt`, and give its messages when it is complete.

        An answer that breaks off in the midst gives `None`: its last message ends in the error. What goes wrong before
        there is a message is raised.
        """
        model = self.parameters["model"]
        answer = AnswerWriter(self.ctx, self.provider.name, model, self.max_ahead, self.answer_class)
        secrets = Secrets(self.parameters, self.options.api_key, self.options.base_url)
        try:
            async with AsyncExitStack() as opened, aclosing(self._events(prompt, opened, secrets)) as events:
                async for event in events:
                    await answer.write(event)
            answer.finish()
        except LLMError as error:
            secrets.keep_out_of(error)
            error.partial_text = answer.text
            error.add_note(f"Model: {model}")
            if not answer.fail(error):
                raise
            return None
        except BaseException as error:
            if not answer.fail(error) or not isinstance(error, Exception):
                raise
            return None
        return await answer.messages()

    async def _events(
        self, prompt: Prompt, opened: AsyncExitStack, secrets: Secrets
    ) -> AsyncGenerator[AnswerEvent, None]:
        provider = self.provider
        request = provider.make_request(prompt, self.parameters)
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
