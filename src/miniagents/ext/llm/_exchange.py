"""One question to a model and its answer, which becomes messages of the reply."""

import inspect
import math
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Mapping
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from miniagents.agents import InteractionContext, MiniAgent, check_budget
from miniagents.ext.llm._access import Access
from miniagents.ext.llm._answer_log import LoggedAnswer
from miniagents.ext.llm._answer_writer import AnswerWriter
from miniagents.ext.llm._client import ClientOptions, base_url_of
from miniagents.ext.llm._recorder import Listener, Question, current_recording
from miniagents.ext.llm._retry import Attempt
from miniagents.ext.llm._sdk import refusals_explained
from miniagents.ext.llm._secrets import Secrets
from miniagents.ext.llm._silence import never_silent
from miniagents.ext.llm._slots import Slot
from miniagents.ext.llm._usage import Meter, tokens_in
from miniagents.ext.llm.errors import LLMError, LLMParameterError, LLMStatusError
from miniagents.ext.llm.limits import Limits
from miniagents.ext.llm.messages import AssistantMessage
from miniagents.ext.llm.prompt import Prompt
from miniagents.ext.llm.provider import AnswerEvent, LLMProvider, ThinkingPiece, ToolCallPiece
from miniagents.messages import Message
from miniagents.messages.usage import Usage

_KEY_REFUSED: Final = 401


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a model may take: seconds, `None` for no limit."""

    max_silence: float | None
    first_token_timeout: float | None

    def __post_init__(self) -> None:
        for name in ("max_silence", "first_token_timeout"):
            seconds: object = getattr(self, name)
            is_time = isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and 0 < seconds < math.inf
            if seconds is not None and not is_time:
                raise LLMParameterError(
                    f"`{name}` is a positive number of seconds, or None for no limit, not {seconds!r}."
                )


@dataclass(frozen=True, slots=True, repr=False)
class Exchange:
    """How a model is asked. Without a `repr`: there may be keys in the options and the parameters."""

    ctx: InteractionContext
    provider: LLMProvider
    async_client: Any
    options: ClientOptions
    patience: Patience
    max_ahead: float | None
    limits: Limits | None
    log: MiniAgent[...] | None
    parameters: Mapping[str, Any]

    async def ask(
        self, prompt: Prompt, answer_class: type[AssistantMessage] = AssistantMessage
    ) -> tuple[Message, ...] | None:
        """Reply with the answer to `prompt`, and give its messages when it is complete.

        An answer that breaks off in the midst gives `None`: its last message ends in the error. What goes wrong before
        there is a message is raised.
        """
        secrets = Secrets(self.parameters, self.options.api_key, self.options.base_url)
        question = Question(self.provider.name, prompt, self.parameters, secrets)
        answer = self._answer_writer(question, answer_class)
        try:
            messages = await self._ask(question, answer)
        except Exception:
            await answer.settled()
            raise
        await answer.settled()
        return messages

    def _answer_writer(self, question: Question, answer_class: type[AssistantMessage]) -> AnswerWriter:
        how = (self.ctx, self.provider.name, self.parameters["model"], self.max_ahead, answer_class)
        return AnswerWriter(*how) if self.log is None else LoggedAnswer(*how, log=self.log, question=question)

    async def _ask(self, question: Question, answer: AnswerWriter) -> tuple[Message, ...] | None:
        try:
            self.provider.check_prompt(question.prompt)
            request = self.provider.make_request(question.prompt, self.parameters)
            _check_given("make_request", self.provider, request, Mapping, "a dict, and is not async")
            send = partial(self._send, request, question)
            if (recording := current_recording.get()) is None:
                await send(answer)
            else:
                await recording.exchange(question, answer, send)
            answer.finish()
        except LLMError as error:
            question.secrets.keep_out_of(error)
            error.partial_text = answer.text
            error.add_note(f"Model: {self.parameters['model']}")
            if isinstance(error, LLMStatusError) and error.status == _KEY_REFUSED:
                variable = f" or {self.provider.key_variable}" if self.provider.key_variable else ""
                error.add_note(f"The key was not accepted: check `api_key`{variable}.")
            if not answer.fail(error):
                raise
            return None
        except BaseException as error:
            if not answer.fail(error) or not isinstance(error, Exception):
                raise
            return None
        return await answer.messages()

    async def _send(self, request: Mapping[str, Any], question: Question, answer: Listener) -> None:
        """Ask the provider, and tell `answer` what comes."""
        model = self.parameters["model"]
        client = question.secrets.client = await self._access.client()
        address = base_url_of(client)
        self.provider.check_model(model, address)
        meter = Meter(self.provider.price_name or address, str(model))
        await meter.prepare()
        asked = estimated_tokens(question.prompt)
        async for attempt in self._access.attempts(client, asked):
            async with attempt as slot:
                check_budget()
                meter.sent()
                is_complete = False
                try:
                    await self._read(client, request, answer, attempt, slot)
                    is_complete = True
                finally:
                    estimate = Usage()
                    if answer.has_begun:
                        estimate = Usage(input_tokens=asked, output_tokens=tokens_in(answer.length))
                    if tokens := meter.answered(answer.fields, estimate, is_complete=is_complete):
                        slot.used(tokens)

    @property
    def _access(self) -> Access:
        return Access(self.provider, self.async_client, self.options, self.limits)

    async def _read(
        self, client: Any, request: Mapping[str, Any], answer: Listener, attempt: Attempt, slot: Slot
    ) -> None:
        """Send the request, and reply with what comes."""
        answer.begin(slot)
        with self._access.errors_explained(client):
            async with AsyncExitStack() as opened, aclosing(self._events(client, request, opened)) as events:
                async for event in events:
                    await answer.write(event)
                    if answer.has_begun:
                        attempt.has_answered()

    def _events(
        self, client: Any, request: Mapping[str, Any], opened: AsyncExitStack
    ) -> AsyncGenerator[AnswerEvent, None]:
        return never_silent(
            self.patience.max_silence,
            self._sent(client, request, opened),
            self.provider.name,
            first_token_timeout=self.patience.first_token_timeout,
            is_token=_is_token,
        )

    async def _sent(
        self, client: Any, request: Mapping[str, Any], opened: AsyncExitStack
    ) -> AsyncIterator[AnswerEvent]:
        with refusals_explained(self.provider.name):
            opening: object = self.provider.open(client, request, opened)
            events: Any = await opening if isinstance(opening, Awaitable) else opening
        how = "an async iterator: `open` is an `async def` that returns one, `read` an async generator, with `yield`"
        _check_given("open", self.provider, events, AsyncIterable, how)
        async for event in events:
            yield event


def _is_token(event: AnswerEvent) -> bool:
    return isinstance(event, (str, ThinkingPiece, ToolCallPiece))


def _check_given(method: str, provider: LLMProvider, given: object, wanted: type[Any], how: str) -> None:
    """Raise `TypeError` if a provider's method gave something else than it is to give."""
    if not isinstance(given, wanted):
        if inspect.iscoroutine(given):
            given.close()  # or Python complains that it was never awaited
        raise TypeError(f"`{type(provider).__name__}.{method}` gave a {type(given).__name__}. It gives {how}.")


def estimated_tokens(prompt: Prompt) -> int:
    """About how many tokens a prompt has."""
    return tokens_in(len(prompt.system) + sum(len(str(part)) for turn in prompt.turns for part in turn.parts))
