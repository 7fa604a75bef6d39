"""The agents of `miniagents demo`: one question, planned, searched, read, written up and answered by many.

This is the whole program; nothing in it knows that its models are scripted or that somebody watches. No agent waits
where it does not have to: a line of the plan is investigated while the next line is still being written.
"""

from dataclasses import dataclass

from miniagents import InteractionContext, MiniAgent, miniagent, split_messages


@dataclass(frozen=True, slots=True)
class Crew:
    """The models that do the work, by what they do. Any LLM agent, such as `openai_agent`, can stand in each place."""

    planner: MiniAgent[...]
    """Is sent a question; replies with sub-questions, one per line."""

    searcher: MiniAgent[...]
    """Is sent a sub-question; replies with the pages worth reading, one per line."""

    reader: MiniAgent[...]
    """Is sent the name of a page; replies with notes."""

    writer: MiniAgent[...]
    """Is sent a sub-question and the notes on it; replies with a section."""

    editor: MiniAgent[...]
    """Is sent the question and all sections; replies with the answer."""


@miniagent
async def research(ctx: InteractionContext, *, crew: Crew) -> None:
    """Answers a question: plans sub-questions, has all of them investigated at once, and sums up."""
    subquestions = split_messages(crew.planner.inquire(ctx.message_promises), delimiter="\n")
    sections = [investigate.inquire(subquestion, crew=crew) async for subquestion in subquestions]
    ctx.reply(crew.editor.inquire([ctx.message_promises, sections]))


@miniagent
async def investigate(ctx: InteractionContext, *, crew: Crew) -> None:
    """Answers a sub-question: searches, reads all that was found at once, and writes a section."""
    pages = split_messages(crew.searcher.inquire(ctx.message_promises), delimiter="\n")
    notes = [crew.reader.inquire(page) async for page in pages]
    ctx.reply(crew.writer.inquire([ctx.message_promises, notes]))
