"""Logs of requests to models, for people to read: `log_to="llm_logs"` of any LLM agent makes a file for each request.

```python
replies = openai_agent.inquire("Hello!", log_to="llm_logs")
```
"""

import asyncio
import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from miniagents.agents import InteractionContext, MiniAgent, miniagent
from miniagents.ext._chat_file import OpenEntry
from miniagents.ext._chat_markdown import Entry, EntryWriter, encode
from miniagents.ext.llm._answer_log import LLMOutcomeMessage, LoggedRequest
from miniagents.ext.llm.errors import LLMParameterError
from miniagents.ext.llm.messages import ToolCallMessage, ToolResultMessage
from miniagents.messages import Message, MessagePromise, MessageSequencePromise

__all__ = ["LLMOutcomeMessage", "LoggedRequest", "log_agent", "markdown_llm_logger_agent"]

_OWNER_ONLY: Final = 0o600
_FOLDER_OF_OWNER: Final = 0o700
_NOT_IN_NAMES: Final = re.compile("[^A-Za-z0-9._-]+")
_LONGEST_NAME: Final = 40
# Seconds that the rest of an answer may take to come when the call was cancelled.
_PATIENCE: Final = 1.0
_BROKEN_OFF: Final = Entry("outcome", None, "The request was broken off.")


@miniagent(alias="MARKDOWN_LLM_LOGGER", description="Writes a request to a model and its answer to a file.")
async def markdown_llm_logger_agent(
    ctx: InteractionContext, /, *, request: LoggedRequest, directory: str | os.PathLike[str]
) -> None:
    """Writes what a model is asked and answers to a new Markdown file in `directory`, as it comes.

    The directory is made if there is none. It and the file are for their owner only; the name of the file is the time
    (UTC), who asked, and the model. Each message has a heading with its role, and no text can pass for one; the format
    is that of `ChatHistoryMD`. At the end stand the usage, the times and, if there was one, the error.

    It is sent the messages of the answer, and an `LLMOutcomeMessage` behind them. Replies with nothing, when all is on
    the disk. Raises what the operating system does. Cancelling it writes down what there is.
    """
    writing = asyncio.create_task(_write(Path(directory), request, ctx.message_promises))
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        # Whoever has asked was cancelled too, so the answer ends, and that shall be in the log. But only if it does.
        await asyncio.wait([writing], timeout=_PATIENCE)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        raise


async def _write(directory: Path, request: LoggedRequest, answer: MessageSequencePromise) -> None:
    path = await asyncio.to_thread(_begin, directory, request)
    try:
        async for promise in answer:
            await _write_down(path, promise)
    except asyncio.CancelledError:
        await asyncio.to_thread(_append, path, _BROKEN_OFF)
        raise


def log_agent(log_to: object) -> "MiniAgent[...] | None":
    """The agent that `log_to` of an LLM agent means: itself, or the one that writes into that directory."""
    if log_to is None or isinstance(log_to, MiniAgent):
        return log_to
    if not isinstance(log_to, (str, os.PathLike)) or not os.fspath(log_to):
        raise LLMParameterError(f"`log_to` is a directory, or an agent that logs, not {log_to!r}.")
    return markdown_llm_logger_agent.fork(directory=Path(os.fsdecode(log_to)).absolute())


async def _write_down(path: Path, promise: MessagePromise) -> None:
    pieces = promise.read_pieces()
    piece = await pieces.next_piece()
    known = promise.preliminary_metadata
    writer = EntryWriter(*_heading(known.get("role"), known.get("tool") or known.get("model")))
    async with OpenEntry(path, writer, piece if isinstance(piece, str) else "") as entry:
        while isinstance(piece, str) and isinstance(piece := await pieces.next_piece(), str):
            entry.add(piece)


def _begin(directory: Path, request: LoggedRequest) -> Path:
    """Make a file for the request, and write the request to it."""
    directory.mkdir(mode=_FOLDER_OF_OWNER, parents=True, exist_ok=True)
    details = json.dumps(request.details, indent=2, ensure_ascii=False)
    entries = [Entry("request", request.model, details), *map(_entry, request.messages)]
    time = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    name = "-".join([time, _safe(request.agent_alias), _safe(request.model or "")])
    for number in range(1, 1000):
        path = directory / (f"{name}-{number}.md" if number > 1 else f"{name}.md")
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
        except FileExistsError:
            continue
        with open(descriptor, "wb") as file:  # noqa: PTH123 (a descriptor)
            file.write(encode(entries))
        return path
    raise FileExistsError(f"There are too many files like {name}.md.")


def _entry(message: Message) -> Entry:
    tool = message.tool if isinstance(message, (ToolCallMessage, ToolResultMessage)) else None
    return Entry(*_heading(message.get("role"), tool or message.get("model")), str(message))


def _heading(role: object, beside: object) -> tuple[str, str | None]:
    return str(role), beside if isinstance(beside, str) else None


def _append(path: Path, entry: Entry) -> None:
    with path.open("ab") as file:
        file.write(encode([entry], b"\n"))


def _safe(name: str) -> str:
    """`name` as a part of the name of a file: nothing that leads elsewhere, hides it or means something."""
    return _NOT_IN_NAMES.sub("_", name).strip("._-")[:_LONGEST_NAME] or "unnamed"
