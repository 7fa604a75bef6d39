"""A support desk whose model may pay money back, if somebody says yes to each payment.

Here the supervisor is a program; with `approver=console_user_agent` the user at the console would be asked.

    python examples/support_desk.py

It prints:

    Supervisor is asked: May I call refund with {"order":7,"euros":20.0}? (yes or no)
    Supervisor is asked: May I call refund with {"order":8,"euros":5000.0}? (yes or no)
    Results: 20 euros paid for order 7 / The call was not approved: That is for the director.
    Desk: You have your 20 euros; the rest is for the director.
    Paid: {7: 20.0}
"""

import json
import sys

import miniagents
from miniagents import InteractionContext, miniagent
from miniagents.ext.llm.openai_compatible import openai_compatible_agent
from miniagents.ext.llm.tools import tool
from miniagents.testing import LLMRequest, LLMServer, ToolUse

paid: dict[int, float] = {}


@tool(description="Pays money back for an order.", needs_approval=True)
def refund(order: int, euros: float) -> str:
    paid[order] = euros
    return f"{euros:g} euros paid for order {order}"


@miniagent
async def supervisor(ctx: InteractionContext) -> None:
    (request,) = await ctx.message_promises
    print("Supervisor is asked:", request)
    ctx.reply("yes" if json.loads(request.arguments)["euros"] < 100 else "That is for the director.")


def what_a_model_says(request: LLMRequest) -> object:
    if request.tool_results:
        print("Results:", " / ".join(result.text for result in request.tool_results))
        return "You have your 20 euros; the rest is for the director."
    return [ToolUse("refund", {"order": 7, "euros": 20.0}), ToolUse("refund", {"order": 8, "euros": 5000.0})]


async def main() -> None:
    async with LLMServer(reply=what_a_model_says) as server:
        desk = openai_compatible_agent.fork(base_url=f"{server.url}/v1", model="any", tools=[refund])
        replies = await desk.inquire("I want 20 euros for order 7 and 5000 for order 8!", approver=supervisor)
        print("Desk:", replies[-1])
    print("Paid:", paid)


if __name__ == "__main__":
    try:
        miniagents.run(main())
    except KeyboardInterrupt:
        sys.exit(130)
