"""What an agent is handed when it is called: its input, its reply, and its place in the call tree."""

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from miniagents.agents.budget import Budget, BudgetAccount
from miniagents.agents.never_read import count_until_started
from miniagents.agents.nodes import observe_call
from miniagents.messages import MessageAppender, MessageSequencePromise, MessageType
from miniagents.promising.context import PromisingContext, current_context
from miniagents.promising.errors import AppenderClosedError, NoActiveContextError
from miniagents.promising.log import cancelled_error, capture, producer_failed
from miniagents.promising.tasks import FIRST_STEP
from miniagents.promising.tree import Finishable, raise_if_cancelled

if TYPE_CHECKING:  # an agent makes interactions and calls; an interaction only names them
    from miniagents.agents.agent import MiniAgent

logger = logging.getLogger(__name__)

_current_interaction: contextvars.ContextVar["InteractionContext | None"] = contextvars.ContextVar(
    "miniagents_interaction", default=None
)

# In the place of the appender of a call that has ended.
_CLOSED: Final = MessageAppender()
_CLOSED.close()


class InteractionContext:
    """One call of an agent, as the agent sees it. The first argument of every agent function.

    - `message_promises`: what the agent was sent, a `MessageSequencePromise`.
    - `this_agent`: the agent itself, with the keyword arguments it was forked with.
    """

    __slots__ = ("__weakref__", "_appender", "_context", "_parent", "_unfinished", "message_promises", "this_agent")

    def __init__(self, agent: "MiniAgent[...]", message_promises: MessageSequencePromise) -> None:
        self.this_agent = agent
        self.message_promises = message_promises
        self._appender = MessageAppender()
        self._parent = _current_interaction.get()
        self._context: PromisingContext | None = None
        """The context in which the agent runs, while it does."""
        self._unfinished: dict[Finishable, None] | None = None

    @staticmethod
    def get_current() -> "InteractionContext":
        """The call whose agent is running here; `NoActiveContextError` outside of agents."""
        interaction = _current_interaction.get()
        if interaction is None:
            raise NoActiveContextError("The current interaction")
        return interaction

    @property
    def agent_trace(self) -> "tuple[MiniAgent[...], ...]":
        """This agent, its caller, the caller of that, and so on to the first."""
        trace: list[MiniAgent[...]] = []
        interaction: InteractionContext | None = self
        while interaction is not None:
            trace.append(interaction.this_agent)
            interaction = interaction._parent
        return tuple(trace)

    def reply(self, messages: MessageType) -> None:
        """Add messages to the reply, at once and in order. A plain call that never waits.

        Raises `TypeError` for what is no message (nothing of `messages` is added then), and `AppenderClosedError` after
        `finish_early()` or when the agent has returned.
        """
        try:
            self._appender.append(messages)
        except AppenderClosedError as error:
            self._name(error)
            raise

    def reply_out_of_order(self, messages: MessageType) -> None:
        """Like `reply`, but each message is delivered as soon as its first token is there, whatever was given before.

        Sequences are delivered message by message, in their own order. The reply ends when all of it was delivered.
        """
        try:
            self._appender.append_out_of_order(messages)
        except AppenderClosedError as error:
            self._name(error)
            raise

    def _name(self, error: AppenderClosedError) -> None:
        # It is raised in a task that outlives the agent, whose traceback need not show what it belonged to.
        error.add_note(f"The reply is that of {self.this_agent.alias}.")

    def finish_early(self) -> None:
        """Close the reply now. Readers see its end, while the agent may go on with work that replies nothing."""
        self._appender.close()

    # ------------------------------------------------------------------ the life of a call

    async def _run(
        self, function: Callable[..., Awaitable[None]], kwargs: Mapping[str, Any], replies: MessageSequencePromise
    ) -> None:
        """Run the agent. The body of the task of the call; whatever happens, the reply gets its end."""
        appender = self._appender
        context: PromisingContext | None = None
        try:
            await FIRST_STEP
            _current_interaction.set(self)
            self._context = context = current_context()
            if context is not None and context.has_observers:
                observe_call(context, self.this_agent.alias, self.message_promises, replies)
            returned = await cast("Awaitable[object]", function(self, **kwargs))
            if returned is not None:
                logger.warning("%s has returned %r, which nobody gets: use ctx.reply.", self.this_agent.alias, returned)
            raise_if_cancelled()
        except BaseException as error:
            if appender.log.ended:  # the reply was finished early: no reader is to see another end of it
                capture(error, self.this_agent.alias, context)
            elif isinstance(error, (asyncio.CancelledError, GeneratorExit)):
                appender.abandon(cancelled_error(self.this_agent.alias, error))  # nothing is waited for any more
            else:
                appender.fail(error, self.this_agent.alias)
            producer_failed(self.this_agent.alias, error)
            if isinstance(error, (asyncio.CancelledError, GeneratorExit)):
                raise
        finally:
            self._context = None
            for unfinished in list(self._unfinished or ()):
                unfinished.finish()
            appender.close()
            replies.producer_ended()
            # The traceback of an error keeps the frames of this method and of the agent, which lead here; that of a
            # call whose replies were passed on does so through its caller. From here nothing must lead on to the log,
            # or the error that is in it would be kept alive by itself.
            self._appender = _CLOSED
            del appender, replies

    def start_reply(
        self,
        function: Callable[..., Awaitable[None]],
        kwargs: Mapping[str, Any],
        start_asap: bool | None,
        timeout: float | None,
        budget: Budget | None,
    ) -> MessageSequencePromise:
        """The reply of this call, whose producer is the agent."""
        self._appender.begin()
        if budget is not None and budget.seconds is not None:
            timeout = budget.seconds if timeout is None else min(timeout, budget.seconds)
        context = current_context()
        tell_start: Callable[[], None] | None = None
        if context is not None and not (context.start_everything_asap_by_default if start_asap is None else start_asap):
            tell_start = count_until_started(context, self.this_agent.alias)

        def produce(replies: MessageSequencePromise) -> Coroutine[Any, Any, None]:
            if tell_start is not None:
                tell_start()
            if budget is not None:
                replies.keep_account(BudgetAccount(budget, self.this_agent.alias))
            if timeout is not None:
                replies.limit(timeout)
            return self._run(function, kwargs, replies)

        return MessageSequencePromise(self._appender, produce, name=self.this_agent.alias, start_asap=start_asap)

    def is_running_in(self, context: PromisingContext | None) -> bool:
        """Whether the agent is at work, and `context` is the one that it was started in."""
        return self._context is not None and self._context is context

    def watch_unfinished(self, item: Finishable) -> None:
        """Remember a call that this agent has opened and must finish."""
        if self._unfinished is None:
            self._unfinished = {}
        self._unfinished[item] = None

    def forget_unfinished(self, item: Finishable) -> None:
        """The call was finished."""
        if self._unfinished is not None:
            self._unfinished.pop(item, None)

    def __repr__(self) -> str:
        return f"<InteractionContext of {self.this_agent.alias}>"


def current_interaction() -> InteractionContext | None:
    """The call whose agent is running here, or `None`."""
    return _current_interaction.get()
