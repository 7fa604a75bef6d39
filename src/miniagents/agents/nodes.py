"""Calls and replies as messages, for whoever records what happens. Made only when somebody observes the context."""

from miniagents.messages import Message, MessageSequencePromise
from miniagents.promising.context import PromisingContext


class AgentCallNode(Message):
    """An agent was called. Its arguments are not part of it: they may hold secrets, and objects that are no data."""

    agent_alias: str
    messages: tuple[Message, ...] = ()
    """What the agent was sent."""


class AgentReplyNode(Message):
    """An agent has replied."""

    agent_alias: str
    call: AgentCallNode
    messages: tuple[Message, ...] = ()
    """What it replied."""
    errors: tuple[str, ...] = ()
    """The classes of the errors that came instead of messages, by name."""


def observe_call(
    context: PromisingContext, alias: str, messages: MessageSequencePromise, replies: MessageSequencePromise
) -> None:
    """Show the call, and later its reply, to the observers of `context` as resolved promises of messages."""

    async def observe() -> None:
        sent, _ = await outcomes(messages)
        call = AgentCallNode(agent_alias=alias, messages=sent)
        _show(call)
        said, errors = await outcomes(replies)
        _show(AgentReplyNode(agent_alias=alias, call=call, messages=said, errors=errors))

    async def outcomes(sequence: MessageSequencePromise) -> tuple[tuple[Message, ...], tuple[str, ...]]:
        found = await sequence.outcomes(context.observing)
        return (
            tuple(outcome for outcome in found if isinstance(outcome, Message)),
            tuple(type(outcome.exception).__name__ for outcome in found if not isinstance(outcome, Message)),
        )

    context.observe(observe())


def _show(node: Message) -> None:
    # The making of a resolved promise in an observed context is what observers are told of.
    _ = node.as_promise
