"""An answer that is also told to an agent that logs it."""

import asyncio
import json
import logging
import math
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from miniagents.agents import AgentCall, MiniAgent
from miniagents.ext.llm._answer_part import AnswerPart
from miniagents.ext.llm._answer_writer import AnswerWriter
from miniagents.ext.llm._recorder import Question
from miniagents.ext.llm._secrets import SecretFilter, hide, hide_in
from miniagents.ext.llm._slots import Slot
from miniagents.ext.llm._wire import SurrogateFilter
from miniagents.ext.llm.errors import LLMEmptyCompletionError
from miniagents.ext.llm.messages import SystemMessage
from miniagents.ext.llm.provider import AnswerEvent, ThinkingPiece, ToolCallPiece
from miniagents.messages import Message
from miniagents.promising.context import current_context

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """What a model is asked, without secrets."""

    provider: str
    model: str | None
    agent_alias: str
    """Who asks."""
    messages: tuple[Message, ...]
    """The prompt: the system prompt, if there is one, and what each side has said."""
    details: dict[str, Any]
    """All else as JSON: parameters, tools, the schema of the answer."""


class LLMOutcomeMessage(Message):
    """How the answer of a model has ended, for agents that log it: the last message that they are sent.

    It also has what the provider told of the answer: `usage`, `finish_reason`, `response_id`, `response_model`.
    """

    if TYPE_CHECKING:

        def __init__(self, text: str | None = None, /, **metadata: Any) -> None: ...

    role: str = "outcome"
    error: str | None = None
    """What went wrong."""
    seconds: float = 0.0
    """From the request to the end of the answer, waiting for limits and retries included."""
    seconds_to_first_token: float | None = None


class LoggedAnswer(AnswerWriter):
    """Replies, and tells the same to a logging agent, which has messages of its own to read.

    They are no readers of the reply: whoever logs it neither makes room for more (`max_ahead`) nor counts as somebody
    who has read an error.
    """

    def __init__(self, *args: Any, log: MiniAgent[...], question: Question) -> None:
        super().__init__(*args)
        self._question = question
        self._log = _Log(log, *args)

    def begin(self, slot: Slot | None = None) -> None:
        """As of every answer."""
        super().begin(slot)
        self._log.open(self._question)
        self._log.begin()

    async def write(self, event: AnswerEvent) -> None:
        """As of every answer."""
        await self._log.write(event)
        await super().write(event)

    def finish(self) -> None:
        """As of every answer."""
        super().finish()
        self._log.end(None)

    def fail(self, error: BaseException) -> bool:
        """As of every answer."""
        if isinstance(error, Exception):
            self._log.open(self._question)
        self._log.end(error)
        return super().fail(error)

    async def settled(self) -> None:
        """Wait until all is logged. An error of the log is reported, and changes nothing else."""
        await self._log.settled()


class _Log(AnswerWriter):
    """Sends the messages of an answer to an agent."""

    def __init__(self, agent: MiniAgent[...], *args: Any) -> None:
        super().__init__(*args)
        self._max_ahead = math.inf
        self._agent = agent
        self._logging: AgentCall | None = None
        self._hidden: list[str] = []
        self._clock = asyncio.get_running_loop().time
        self._asked = self._clock()
        self._first_token: float | None = None

    def open(self, question: Question) -> None:
        """Call the agent, if that was not done before. By now it is known who sends the request, and with which key."""
        if self._logging is None:
            self._hidden = question.secrets.known()
            request = _logged(question, self._ctx.this_agent.alias)
            self._logging = self._agent.initiate_inquiry(start_asap=True, request=request)

    def end(self, error: BaseException | None) -> None:
        """The answer has ended, with `error` or well."""
        if self._logging is None:
            return
        with suppress(LLMEmptyCompletionError):  # which `error` tells
            self.finish()
        self._logging.send_message(self._outcome(error))
        self._logging.finish()

    async def settled(self) -> None:
        """Wait for the agent."""
        if self._logging is not None and current_context() is not None:
            try:
                await self._logging.reply_sequence()
            except Exception as error:
                logger.error("A request to %s could not be logged: %s: %s", self._provider, type(error).__name__, error)

    async def write(self, event: AnswerEvent) -> None:
        """As of every answer; the times are noted."""
        known = self._hidden
        if isinstance(event, ToolCallPiece):
            event = replace(event, call_id=hide(event.call_id, known), tool=hide(event.tool, known), signature="")
        elif isinstance(event, ThinkingPiece):
            event = replace(event, signature="")  # tells nobody anything
        elif not isinstance(event, str):
            event = hide_in(event, known)
        await super().write(event)
        if self._first_token is None and self.has_begun:
            self._first_token = self._clock()

    def _outcome(self, error: BaseException | None) -> LLMOutcomeMessage:
        told = dict(self.fields)
        if error is not None:
            what = f"{type(error).__name__}: {error}" if isinstance(error, Exception) else "The answer was broken off."
            told["error"] = hide(what, self._hidden)
        told["seconds"] = round(self._clock() - self._asked, 3)
        if self._first_token is not None:
            told["seconds_to_first_token"] = round(self._first_token - self._asked, 3)
        return LLMOutcomeMessage(json.dumps(told, indent=2, ensure_ascii=False, default=str), **told)

    def _text_filter(self) -> SurrogateFilter:
        return SecretFilter(self._hidden)

    def _show(self, part: AnswerPart) -> None:
        assert self._logging is not None, "open() comes first"
        self._logging.send_message(part)


def _logged(question: Question, alias: str) -> LoggedRequest:
    prompt, known = question.prompt, question.secrets.known()
    messages: list[Message] = [SystemMessage(prompt.system)] if prompt.system else []
    messages += [
        part if part.get("role") else part.model_copy(update={"role": turn.role})
        for turn in prompt.turns
        for part in turn.parts
    ]
    details = {name: value for name, value in question.canonical().items() if name not in ("system", "turns")}
    plain = tuple(message.model_copy(update={"text": hide(str(message), known)}) for message in messages)
    return LoggedRequest(question.provider, question.parameters.get("model"), alias, plain, details)
