"""Answers from documents: the passages that are nearest to a question are what the model answers from.

Vectors and answers come from a server in this program, so this runs offline; with a real `base_url` (or
`openai_embedding_agent` and `openai_agent`) the rest stays as it is.

    python examples/rag.py

It prints:

    When do cats sleep?
      [cats.txt] All cats sleep a lot, when it is warm.
      [dogs.txt] Dogs sleep at night.
    I answer from 2 passages: All cats sleep a lot, when it is warm.
"""

import sys

import miniagents
from miniagents import InteractionContext, Message, MiniAgent, miniagent
from miniagents.ext.llm.openai_compatible import openai_compatible_agent
from miniagents.ext.llm.openai_compatible_embeddings import openai_compatible_embedding_agent
from miniagents.testing import LLMRequest, LLMServer

PASSAGES = [
    Message("All cats sleep a lot, when it is warm.", source="cats.txt"),
    Message("Ships are launched backwards.", source="ships.txt"),
    Message("Dogs sleep at night.", source="dogs.txt"),
]


@miniagent
async def librarian(ctx: InteractionContext, *, embedder: MiniAgent, model: MiniAgent) -> None:
    """Answers a question from the passages that are nearest to it."""
    index = embedder.inquire(PASSAGES)  # at work at once, beside the vector of the question
    (question,) = await embedder.inquire(ctx.message_promises)
    nearest = sorted(await index, key=question.similarity, reverse=True)[:2]
    print(question)
    for passage in nearest:
        print(f"  [{passage.source}] {passage}")
    ctx.reply(model.inquire([*nearest, question], system="Answer from the passages."))


def answer(request: LLMRequest) -> str:
    """Stands for the model: repeats the first passage that it was given."""
    *passages, _ = [part["text"] for part in request.messages[-1]["content"]]
    return f"I answer from {len(passages)} passages: {passages[0]}"


async def main() -> None:
    async with LLMServer(reply=answer) as server:
        here = {"base_url": f"{server.url}/v1", "model": "offline"}
        embedder, model = openai_compatible_embedding_agent.fork(**here), openai_compatible_agent.fork(**here)
        print(*await librarian.inquire("When do cats sleep?", embedder=embedder, model=model))


if __name__ == "__main__":
    try:
        miniagents.run(main())
    except KeyboardInterrupt:
        sys.exit(130)
