"""A chat history in a Markdown file, for people to read and to edit. `_chat_markdown` describes the format."""

import asyncio
import os
import stat
from pathlib import Path
from typing import Final

from miniagents.agents import InteractionContext, MiniAgent, miniagent
from miniagents.ext._chat_file import OpenEntry
from miniagents.ext._chat_markdown import ClassEntry, Entry, EntryWriter, parse
from miniagents.ext.chat_history import ChatHistory
from miniagents.ext.llm.llm_common import AssistantMessage, SystemMessage, UserMessage
from miniagents.ext.llm.media import AudioMessage, DocumentMessage, ImageMessage
from miniagents.ext.llm.messages import ThinkingMessage, ToolCallMessage, ToolResultMessage
from miniagents.messages import Message, MessagePromise
from miniagents.promising.context import PromisingContext
from miniagents.promising.errors import MiniAgentsError
from miniagents.promising.log import Failure
from miniagents.promising.sentinels import END

_DEFAULT_ROLE: Final = "user"
_MESSAGE_CLASSES: Final[dict[str, type[Message]]] = {
    "assistant": AssistantMessage,
    "system": SystemMessage,
    "user": UserMessage,
}
# What only a class makes of a message: no role does, and no text.
_CLASSES: Final[dict[str, type[Message]]] = {
    "thinking": ThinkingMessage,
    "tool_call": ToolCallMessage,
    "tool_result": ToolResultMessage,
    "image": ImageMessage,
    "audio": AudioMessage,
    "document": DocumentMessage,
}
_IN_THE_HEADING: Final = frozenset({"model", "text"})


class ChatHistoryError(MiniAgentsError, OSError):
    """The file of a chat history cannot be used. `__cause__` is the error of the operating system, if there was one."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"The chat history {path} {problem}")


class ChatHistoryMD(ChatHistory):
    """A history in the Markdown file at `path`, which may be read and edited by hand between the turns.

    The file is made, for its owner only, when the first message is written down; its folder must exist. Every text
    comes back as it was, in its role and with its model; thoughts, calls and results of tools, and files as messages of
    their classes, with all that these declare. Other metadata is not kept. All histories of one file, in other programs
    too (except on Windows), write whole entries one after the other.

    Raises `ChatHistoryError` at once if the folder does not exist or the file cannot be read and written.

    >>> import tempfile
    >>> from miniagents import MiniAgents
    >>> async def main(path):
    ...     history = ChatHistoryMD(path)
    ...     async with MiniAgents():
    ...         await history.logging_agent.inquire(AssistantMessage("Hi!", model="gpt-5"))
    ...     print(path.read_text())
    ...     print(*await history.aload_chat_history())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     asyncio.run(main(Path(folder, "CHAT.md")))
    assistant / gpt-5
    =================
    <BLANKLINE>
    Hi!
    <BLANKLINE>
    Hi!
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        # Absolute from the start: a program that changes its working directory keeps its history.
        self.path = Path(path).absolute()
        _check(self.path)
        self._logging_agent = miniagent(alias="MARKDOWN_HISTORY")(self._log)

    @property
    def logging_agent(self) -> "MiniAgent[...]":
        """Writes the messages it is sent to the file while they arrive, and passes them on token by token.

        Its reply ends when all of them are on the disk. Of a message that fails, what was said stays in the file, and
        the error is for whoever reads the reply. If the disk fails, a `ChatHistoryError` follows the messages.
        Cancelling it completes the entry with what has arrived. A heading stands before its text, so the role and the
        model are those that are known before the text (`preliminary_metadata`); without a role it is the user's.
        """
        return self._logging_agent

    async def aload_chat_history(self) -> tuple[Message, ...]:
        """All that is in the file, a message that is being written as far as it has come; nothing if there is no file.

        Raises `ChatHistoryError` if the file cannot be read. Bytes that are no text cost nothing but themselves.
        """
        return await asyncio.to_thread(self._load)

    def _load(self) -> tuple[Message, ...]:
        try:
            with self.path.open("rb") as file:
                content = file.read(os.fstat(file.fileno()).st_size)  # up to here: a device has no end
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise ChatHistoryError(self.path, f"could not be read: {_reason(error)}.") from error
        return tuple(map(_to_message, parse(content)))

    async def _log(self, ctx: InteractionContext) -> None:
        ctx.reply(ctx.message_promises)  # first of all, so that no reader waits for the disk
        failure: OSError | None = None
        messages = ctx.message_promises.read_items()
        while (promise := await messages.next_item()) is not END:
            if isinstance(promise, Failure):
                continue  # an error among the messages is for those who read what was passed on
            try:
                # Not in place: an editor that saved meanwhile has put another file there. Once more, from the start.
                while not await self._write_down(promise):
                    pass
            except OSError as error:
                failure = failure or error
        if failure is not None:
            problem = f"could not be written: {_reason(failure)}. The messages were passed on all the same."
            raise ChatHistoryError(self.path, problem) from failure

    async def _write_down(self, promise: MessagePromise) -> bool:
        """Write an entry while the message arrives. Whether it is, at the end, in the file that has our path."""
        tokens = promise.read_pieces()
        # Others may write as long as there is nothing to write here.
        token = await tokens.next_piece()
        if isinstance(token, Failure):
            return True
        name = _name_of_class(promise.message_class)
        role = name or _known(promise, "role")
        writer = EntryWriter(
            _DEFAULT_ROLE if role is None else role, _known(promise, "model"), is_class=name is not None
        )
        first = token if isinstance(token, str) else ""
        async with self._queue(), OpenEntry(self.path, writer, first) as entry:
            # Up to the end or the error.
            while isinstance(token, str) and isinstance(token := await tokens.next_piece(), str):
                entry.add(token)
            if name is not None and not isinstance(token, Failure):
                writer.tell(_fields_of(await promise))
        return entry.in_place

    def _queue(self) -> asyncio.Lock:
        """Lets the histories of one file write in the order in which they ask to."""
        key = (ChatHistoryMD, os.path.realpath(self.path))
        return PromisingContext.get_current().resource(key, lambda: (asyncio.Lock(), None))


def _to_message(entry: Entry | ClassEntry) -> Message:
    metadata = {} if entry.model is None else {"model": entry.model}
    if isinstance(entry, ClassEntry):
        return _of_class(entry, metadata)
    message_class = _MESSAGE_CLASSES.get(entry.role)
    if message_class is None:
        return Message(entry.text, role=entry.role, **metadata)
    return message_class(entry.text, **metadata)


def _of_class(entry: ClassEntry, metadata: dict[str, str]) -> Message:
    declared = _CLASSES.get(entry.name)
    if declared is not None:
        fields = {name: value for name, value in entry.fields.items() if name in declared.model_fields}
        try:
            return declared(**{**fields, **metadata, "text": entry.text})
        except (TypeError, ValueError):
            pass  # what a person has made of its fields is not what the class has
    return Message(entry.text, role=entry.name, **metadata)


def _name_of_class(message_class: type[Message]) -> str | None:
    return next((name for name, known in _CLASSES.items() if issubclass(message_class, known)), None)


def _fields_of(message: Message) -> dict[str, object]:
    """What the class declares, as far as it was given, besides what stands in the heading and below it."""
    return {
        name: value
        for name, value in message.serialize().items()
        if name in type(message).model_fields and name not in _IN_THE_HEADING
    }


def _known(promise: MessagePromise, name: str) -> str | None:
    """A field of a message that may not be there yet, if it is known and a text."""
    value = promise.preliminary_metadata.get(name)
    return value if isinstance(value, str) else None


def _check(path: Path) -> None:
    place = path
    is_folder = False
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    except FileNotFoundError:
        place = path.parent
        if not place.is_dir():
            raise ChatHistoryError(path, "cannot be made, its folder does not exist: make the folder first.") from None
    except (OSError, ValueError) as error:
        raise ChatHistoryError(path, f"cannot be used: {_reason(error)}.") from error
    if is_folder:
        raise ChatHistoryError(path, "is a folder: name a file in it.")
    if not os.access(place, os.R_OK | os.W_OK):
        raise ChatHistoryError(path, "cannot be used: you may not read and write there.")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
