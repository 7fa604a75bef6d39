"""A panel of judges: three poets' verses are read by three judges at once, who vote; the majority chooses.

The poets and the judges are scripted, so this runs offline; LLM agents can stand in their places.

    python examples/panel_of_judges.py

It prints:

    FORM votes for verse 1
    HEART votes for verse 2
    WIT votes for verse 2
    The sea said: wait. I waited. The sea left.
"""

import json
import sys
from collections import Counter

import miniagents
from miniagents import InteractionContext, best_of, miniagent
from miniagents.ext.models import scripted_agent

poet = scripted_agent.fork(
    alias="POET",
    script=["Roses are red.", "O sea, O sea, O sea!", "The sea said: wait. I waited. The sea left."],
)


def judge(name: str, wants: str) -> miniagents.MiniAgent:
    """A judge who votes for the first verse with a certain word in it."""

    def vote(messages) -> str:
        verses = json.loads(str(messages[-1]).partition("\n\n")[2])["answers"]
        return str(next(number for number, verse in enumerate(verses) if wants in verse))

    return scripted_agent.fork(alias=name, script=vote)


JUDGES = [judge("FORM", "O sea"), judge("HEART", "waited"), judge("WIT", "left")]


@miniagent
async def panel(ctx: InteractionContext) -> None:
    """Asks all judges at once, and replies with the index that most of them have named."""
    verdicts = [one.inquire(ctx.message_promises) for one in JUDGES]  # all of them are at work now
    votes = [str((await verdict)[-1]) for verdict in verdicts]
    for one, vote in zip(JUDGES, votes, strict=True):
        print(f"{one.alias} votes for verse {vote}")
    ctx.reply(Counter(votes).most_common(1)[0][0])


async def main() -> None:
    print(*await best_of(3, poet, panel).inquire("A verse about the sea, please."))


if __name__ == "__main__":
    try:
        miniagents.run(main())
    except KeyboardInterrupt:
        sys.exit(130)
