"""A dialog that goes on when the model fails: the error is shown, what was said is kept."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from miniagents import ChatHistory, ErrorMessage, InteractionContext, Message, MessagePromise, MiniAgent, miniagent
from miniagents.ext._terminal import on_one_line


@miniagent
async def patient_assistant(ctx: InteractionContext, *, assistant: MiniAgent[...]) -> None:
    """Says what `assistant` says. Where that fails, its words so far are a message, with an error message behind it."""
    try:
        async for promise in assistant.inquire(ctx.message_promises):
            async for _ in promise:
                # Not before the first token, since an answer that fails before it is no message.
                ctx.reply(_as_far_as_it_comes(promise))
                break
            await promise
    except Exception as error:
        problem = on_one_line(f"{type(error).__name__}: {error}")
        ctx.reply(ErrorMessage(text=problem, error_type=type(error).__name__))


def _as_far_as_it_comes(promise: MessagePromise) -> MessagePromise:
    async def tokens(known_at_end: dict[str, Any]) -> AsyncIterator[str]:
        with contextlib.suppress(Exception):  # told by the caller, behind this message
            async for token in promise:
                yield token
            message = await promise
            known_at_end.update({name: value for name, value in dict(**message).items() if name != "text"})

    return promise.message_class.promise(tokens, **promise.preliminary_metadata)


class HistoryWithoutErrors(ChatHistory):
    """`history`, in which error messages are not written down: they are for the user, and no part of the dialog."""

    def __init__(self, history: ChatHistory) -> None:
        self._history = history
        self._logging_agent = miniagent(alias="HISTORY_WITHOUT_ERRORS")(self._log)

    @property
    def logging_agent(self) -> "MiniAgent[...]":
        """Has messages written down, one after the other, and passes all of them on token by token."""
        return self._logging_agent

    async def aload_chat_history(self) -> tuple[Message, ...]:
        """All that was written down."""
        return await self._history.aload_chat_history()

    async def _log(self, ctx: InteractionContext) -> None:
        async for promise in ctx.message_promises:
            if issubclass(promise.message_class, ErrorMessage):
                ctx.reply(promise)
            else:
                passed_on = self._history.logging_agent.inquire(promise)
                ctx.reply(passed_on)
                await passed_on.settled()  # the next entry must not begin before this one has ended
