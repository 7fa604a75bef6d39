"""A researcher that looks things up: a function and another agent as its tools, all of it in one streaming reply.

A server on this machine stands for the model, so this runs offline; `openai_agent` can stand in its place.

    python examples/researcher.py

It prints:

    tool_call: {"topic": "bees"}
    tool_call: {"message": "Is it true that bees dance?"}
    tool: Honey bees tell each other by a dance where flowers are.
    tool: Yes: Karl von Frisch has read their dance.
    assistant: Bees dance, and their dance is a map.
"""

import sys

import miniagents
from miniagents.ext.llm.openai_compatible import openai_compatible_agent
from miniagents.ext.models import scripted_agent
from miniagents.testing import LLMRequest, LLMServer, ToolUse

LIBRARY = {"bees": "Honey bees tell each other by a dance where flowers are."}


def look_up(topic: str) -> str:
    """Finds what the library has.

    - topic: one word, in lower case.
    """
    return LIBRARY.get(topic, "nothing")


historian = scripted_agent.fork(
    alias="HISTORIAN", description="Knows the history of science.", script="Yes: Karl von Frisch has read their dance."
)


def what_a_model_says(request: LLMRequest) -> object:
    if request.tool_results:
        return "Bees dance, and their dance is a map."
    return [ToolUse("look_up", {"topic": "bees"}), ToolUse("historian", {"message": "Is it true that bees dance?"})]


async def main() -> None:
    async with LLMServer(reply=what_a_model_says) as server:
        researcher = openai_compatible_agent.fork(base_url=f"{server.url}/v1", model="any")
        async for message in researcher.inquire("What is special about bees?", tools=[look_up, historian]):
            print(f"{message.preliminary_metadata['role']}: ", end="")
            async for token in message:
                print(token, end="", flush=True)
            print()


if __name__ == "__main__":
    try:
        miniagents.run(main())
    except KeyboardInterrupt:
        sys.exit(130)
