"""A dialog that is kept in a Markdown file, for people to read and to edit, and goes on from it.

    python examples/markdown_history.py [CHAT.md]                    # by default a file that is removed at the end

It prints:

    user
    ====

    My roof is leaking.

    assistant / eliza
    =================

    What does your roof mean to you?

    user
    ====

    Hm.

    assistant / eliza
    =================

    Let us go back to what you said before: your roof is leaking.
"""

import sys
import tempfile
from pathlib import Path

import miniagents
from miniagents import ChatHistory
from miniagents.ext.chat_history_md import ChatHistoryMD
from miniagents.ext.llm.llm_common import UserMessage
from miniagents.ext.models import eliza_agent


async def say(text: str, history: ChatHistory) -> None:
    """One turn: the user's words and the answer are written down while they come."""
    await history.logging_agent.inquire(UserMessage(text=text))
    dialog = await history.aload_chat_history()
    await history.logging_agent.inquire(eliza_agent.inquire(dialog))


def main(path: Path) -> None:
    miniagents.run(say("My roof is leaking.", ChatHistoryMD(path)))
    miniagents.run(say("Hm.", ChatHistoryMD(path)))  # another run of the same dialog: it remembers
    print(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    try:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(sys.argv[1] if len(sys.argv) > 1 else Path(folder, "CHAT.md")))
    except KeyboardInterrupt:
        sys.exit(130)
