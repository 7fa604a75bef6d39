"""What is known of a run of the demo while it goes on: who works, since when, and what was said so far.

Whoever watches reads the same streams as the agents do. That changes nothing for them: a stream has any number of
readers.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, fields

from miniagents import InteractionContext, MiniAgent, MiniAgents, miniagent
from miniagents.cli.demo_agents import Crew, research
from miniagents.ext._terminal import TerminalText


@dataclass(slots=True, eq=False)
class Lane:
    """One call of a model. Times are seconds since the start of the run."""

    role: str
    name: str
    """The role, with a number behind it for the second one of a role and those after it."""
    text: str = ""
    """What it has said, safe to be shown on a terminal."""
    tokens: int = 0
    started: float | None = None
    """When all that it was sent was there."""
    ended: float | None = None
    """When it had said all."""

    def working_time(self, now: float) -> float:
        """For how long it has worked, in seconds; 0 while it waits for its input."""
        return 0.0 if self.started is None else (now if self.ended is None else self.ended) - self.started


@dataclass(slots=True, eq=False)
class Run:
    """A run of the demo, and everything there is to see of it."""

    question: str
    on_step: Callable[[Lane], object] = lambda _: None
    """Called when a lane has started, and when it has ended."""
    lanes: list[Lane] = field(default_factory=list)
    ended: float | None = None
    _origin: float = 0.0

    @property
    def now(self) -> float:
        """Seconds since the start; the length of the run when it has ended."""
        return asyncio.get_running_loop().time() - self._origin if self.ended is None else self.ended

    @property
    def answer(self) -> str:
        """What the editor has said so far."""
        return "".join(lane.text for lane in self.lanes if lane.role == "editor")

    async def go(self, crew: Crew) -> None:
        """Have `crew` answer the question. Returns when all have ended; cancelling it cancels all of them."""
        self._origin = asyncio.get_running_loop().time()
        async with MiniAgents():
            await research.inquire(self.question, crew=self._watched(crew))
        self.ended = self.now

    def figures(self) -> str:
        """How much was done in which time, and at the end how long the same work would have taken one after another."""
        seconds = self.now
        text = f"{len(self.lanes)} agents, {sum(lane.tokens for lane in self.lanes)} tokens, {seconds:.1f} s"
        if self.ended is None or not seconds:
            return text
        one_after_another = sum(lane.working_time(seconds) for lane in self.lanes)
        return f"{text}; one after another: {one_after_another:.1f} s ({one_after_another / seconds:.1f} times as long)"

    def add_lane(self, role: str) -> Lane:
        """A lane for one more model of this role."""
        number = 1 + sum(1 for lane in self.lanes if lane.role == role)
        lane = Lane(role, role if number == 1 else f"{role} {number}")
        self.lanes.append(lane)
        return lane

    def _watched(self, crew: Crew) -> Crew:
        places = [place.name for place in fields(crew)]
        return Crew(**{role: _watched.fork(alias=role, agent=getattr(crew, role), run=self) for role in places})


@miniagent
async def _watched(ctx: InteractionContext, *, agent: MiniAgent[...], run: Run) -> None:
    """Hands everything to `agent` and its replies back, and writes down what passes."""
    lane = run.add_lane(ctx.this_agent.alias)
    replies = agent.inquire(ctx.message_promises)
    ctx.reply(replies)
    ctx.finish_early()  # whoever has called does not wait for what follows
    await ctx.message_promises
    lane.started = run.now
    run.on_step(lane)
    async for promise in replies:
        safe = TerminalText()
        async for token in promise:
            lane.text += safe.feed(token)
            lane.tokens += 1
    lane.ended = run.now
    run.on_step(lane)
