"""An error is an item of a reply: what was said before it stays, and who reads it decides what becomes of it.

    python examples/errors.py

It prints:

    Bergen: Rain, as always.
    Lisbon: no report (The line is dead)
    Oslo: Snow.
    Attempt 1: Busy
    Attempt 2: Busy
    Here I am.
"""

import sys

import miniagents
from miniagents import InteractionContext, Message, miniagent
from miniagents.ext.llm.errors import LLMConnectionError
from miniagents.ext.models import scripted_agent

CITIES = ["Bergen", "Lisbon", "Oslo"]
REPORTS = {"Bergen": "Rain, as always.", "Lisbon": LLMConnectionError("The line is dead"), "Oslo": "Snow."}
weather = scripted_agent.fork(script=lambda messages: REPORTS[str(messages[-1])])
unreliable = scripted_agent.fork(script=[LLMConnectionError("Busy"), LLMConnectionError("Busy"), "Here I am."])


@miniagent
async def reporter(ctx: InteractionContext) -> None:
    """Asks for the weather of all cities at once; one that fails does not take the others with it."""
    async for city in ctx.message_promises:
        ctx.reply(weather.inquire(city))


@miniagent
async def patient(ctx: InteractionContext, attempts: int = 3) -> None:
    """Asks again when the model is not there."""
    for attempt in range(1, attempts + 1):
        try:
            ctx.reply(await unreliable.inquire(ctx.message_promises))
            return
        except LLMConnectionError as error:
            print(f"Attempt {attempt}: {error}")
    ctx.reply(LLMConnectionError("Nobody has answered"))


async def main() -> None:
    for city, outcome in zip(CITIES, await reporter.inquire(CITIES).settled(), strict=True):
        print(f"{city}: {outcome}" if isinstance(outcome, Message) else f"{city}: no report ({outcome})")
    print(*await patient.inquire("Are you there?"))


if __name__ == "__main__":
    try:
        miniagents.run(main())
    except KeyboardInterrupt:
        sys.exit(130)
