"""The user at the console, as an agent: shows what it is sent, asks, and replies with the whole dialog."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, TextIO

from prompt_toolkit import PromptSession
from prompt_toolkit.filters import is_searching
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import create_input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import create_output
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.patch_stdout import patch_stdout
from rich.console import Console
from rich.text import Text

from miniagents.agents import InteractionContext, miniagent
from miniagents.ext._line_reader import read_line
from miniagents.ext._terminal import TerminalText, on_one_line, terminal_text
from miniagents.ext.chat_history import ChatHistory, InMemoryChatHistory
from miniagents.ext.llm.media import MediaMessage
from miniagents.ext.llm.messages import ThinkingMessage, ToolCallMessage, ToolResultMessage
from miniagents.messages import (
    EndOfDialog,
    ErrorMessage,
    Frozen,
    Message,
    MessagePromise,
    MessageSequence,
    MessageSequencePromise,
)
from miniagents.promising.context import PromisingContext

__all__ = ["console_user_agent"]

_PROMPT: Final = "USER: "
_PROMPT_STYLE: Final = "bold ansicyan"
_SPEAKER_STYLES: Final = {"ERROR": "bold red", "USER": "bold cyan"}
_OTHER_SPEAKERS_STYLE: Final = "bold green"

# Of a dialog that goes on from an earlier one so much is shown, as a reminder.
_EARLIER_MESSAGES: Final = 2
_EARLIER_CHARACTERS: Final = 1000


@miniagent(
    description="The user at the console: sees what is sent, is asked for an answer, replies with the whole dialog.",
    per_dialog={"chat_history": InMemoryChatHistory},
)
async def console_user_agent(ctx: InteractionContext, *, chat_history: ChatHistory | None = None) -> None:
    """Show what is sent token by token, ask the user for an answer, and reply with the whole dialog.

    - `chat_history`: where the dialog is written down while it goes on, and loaded from for the reply. By default a new
      one for each dialog that `adialog_loop` or `achain_loop` runs; outside of them every call is a dialog of its own.

    Enter sends, Ctrl+Space makes a new line, the arrow keys bring back what the user said before. Messages without a
    role are written down as the assistant's. If nothing is sent and there is a history, its end is shown.

    `exit`, Ctrl+D and the end of the input raise `EndOfDialog`, upon which the loops return; Ctrl+C raises
    `KeyboardInterrupt`. An error among the messages is raised when all that came before it was shown. Where standard
    input or output is no terminal, plain lines are read and written, the user's own among them.

    Example:
        await adialog_loop(console_user_agent.fork(chat_history=ChatHistoryMD("CHAT.md")), openai_agent)
    """
    history = InMemoryChatHistory() if chat_history is None else chat_history
    if not isinstance(history, ChatHistory):
        raise TypeError(f"`chat_history` is a ChatHistory, such as ChatHistoryMD({history!r}), not {history!r} itself.")
    sent = MessageSequence(incoming_streamer=lambda _: _with_roles(ctx.message_promises)).sequence_promise
    if not await _show_all(history.logging_agent.inquire(sent)):
        _remind_of(await history.aload_chat_history())
    async with _turn_to_ask():
        text = await _ask(history)
    await history.logging_agent.inquire(Message(text, role="user"))
    ctx.reply(await history.aload_chat_history())


# ---------------------------------------------------------------------- who speaks


async def _with_roles(messages: MessageSequencePromise) -> AsyncIterator[MessagePromise]:
    """The messages, those without a role as the assistant's: in the history a model would take them for the user's."""
    async for promise in messages:
        yield promise if _role_of(promise) is not None else _said_by_assistant(promise)


def _role_of(promise: MessagePromise) -> str | None:
    role = promise.preliminary_metadata.get("role")
    return role if isinstance(role, str) else None


def _said_by_assistant(promise: MessagePromise) -> MessagePromise:
    async def tokens(known_at_end: dict[str, Any]) -> AsyncIterator[str]:
        async for token in promise:
            yield token
        known_at_end.update(await promise)
        known_at_end.pop("text", None)

    return promise.message_class.promise(tokens, **{**promise.preliminary_metadata, "role": "assistant"})


# ---------------------------------------------------------------------- showing


async def _show_all(messages: MessageSequencePromise) -> bool:
    """Show the messages while they come. Whether there were any."""
    any_shown = False
    async for promise in messages:
        any_shown = True
        await _show(promise)
    return any_shown


async def _show(promise: MessagePromise) -> None:
    known = promise.preliminary_metadata
    _write_speaker(_speaker(promise.message_class, known, known.get("agent_alias") or str(_role_of(promise)).upper()))
    safe = TerminalText()
    end = ""
    try:
        async for token in promise:
            shown = safe.feed(token)
            _write(shown)
            end = shown[-1:] or end
    finally:
        # Also when it breaks off: what comes next, an error or the prompt of the shell, begins on a line of its own.
        _write("\n" if end == "\n" else "\n\n")


def _remind_of(history: Sequence[Message]) -> None:
    """Show the end of what was said before."""
    if not history:
        return
    shown = history[-_EARLIER_MESSAGES:]
    left_out = f" {len(history)} messages; the last {len(shown)}" if len(shown) < len(history) else ""
    _write(f"(The dialog so far:{left_out})\n\n")
    for message in shown:
        text = str(message)
        _write_speaker(_speaker(type(message), message, str(message.get("role", "user")).upper()))
        _write(terminal_text(text[:_EARLIER_CHARACTERS]) + ("..." if len(text) > _EARLIER_CHARACTERS else "") + "\n\n")


def _speaker(message_class: type[Message], known: Frozen, name: object) -> object:
    """What stands before a message: who speaks, and what it is if it is not what they say."""
    if issubclass(message_class, ErrorMessage):
        return "ERROR"
    if issubclass(message_class, ThinkingMessage):
        return f"{name} (thinking)" if name != "THINKING" else name
    if issubclass(message_class, ToolCallMessage):
        return f"{name} calls {known.get('tool')}" if name != "TOOL_CALL" else f"call of {known.get('tool')}"
    if issubclass(message_class, ToolResultMessage):
        return f"result of {known.get('tool')}"
    if issubclass(message_class, MediaMessage):
        return f"{name} ({known.get('name') or known.get('url') or known.get('media_type')})"
    return name


def _write_speaker(name: object) -> None:
    header = f"{on_one_line(str(name))}: "
    if _is_terminal(sys.stdout):
        console = Console(file=sys.stdout, highlight=False, soft_wrap=True)  # which knows NO_COLOR and old terminals
        with console.capture() as capture:
            console.print(Text(header, style=_SPEAKER_STYLES.get(str(name), _OTHER_SPEAKERS_STYLE)), end="")
        header = capture.get()
    _write(header)


def _write(text: str) -> None:
    stream = sys.stdout
    if stream is None:  # a program without a console, such as one of `pythonw`
        return
    try:
        stream.write(text)
    except UnicodeEncodeError:
        stream.write(text.encode(stream.encoding, "backslashreplace").decode(stream.encoding))
    stream.flush()


def _is_terminal(stream: TextIO | None) -> bool:
    # What somebody has put in place of a standard stream may have no more than a method to write.
    isatty = getattr(stream, "isatty", None)
    return isatty is not None and not getattr(stream, "closed", False) and bool(isatty())


# ---------------------------------------------------------------------- asking


def _turn_to_ask() -> asyncio.Lock:
    """Agents that ask at the same time ask one after the other: there is one keyboard."""
    return PromisingContext.get_current().resource(_ask, lambda: (asyncio.Lock(), None))


async def _ask(history: ChatHistory) -> str:
    """What the user says, which is never empty; `EndOfDialog` if they end the dialog."""
    ask: Callable[[], Awaitable[str | None]] = _ask_in_plain_lines
    if _is_terminal(sys.stdin) and _is_terminal(sys.stdout):
        messages = await history.aload_chat_history()
        ask = partial(_ask_at_terminal, [str(message) for message in messages if message.get("role") == "user"])
    text: str | None = ""
    while text is not None and not text.strip():
        text = await ask()
    if text is None or text.strip().lower() == "exit":
        raise EndOfDialog
    _write("\n")
    return text


async def _ask_at_terminal(said_before: Sequence[str]) -> str | None:
    output = create_output(sys.stdout)
    if isinstance(output, Vt100_Output):
        # The prompt needs no cursor position, and would wait for it at every end on a terminal that does not tell.
        output.enable_cpr = False
    session: PromptSession[str] = PromptSession(
        FormattedText([(_PROMPT_STYLE, _PROMPT)]),
        multiline=True,
        key_bindings=_key_bindings(),
        history=InMemoryHistory(said_before),
        input=create_input(sys.stdin),
        output=output,
    )
    try:
        with patch_stdout():  # what other agents print meanwhile appears above the prompt
            # Errors of other agents, and signals, are for those who handle them anyway. (The key Ctrl+C is no signal.)
            return await session.prompt_async(set_exception_handler=False, handle_sigint=False)
    except EOFError:
        return None


def _key_bindings() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter", filter=~is_searching)
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @keys.add("c-space")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return keys


async def _ask_in_plain_lines() -> str | None:
    _write(_PROMPT)
    text = await read_line(sys.stdin)
    if not _is_terminal(sys.stdin):  # a terminal has shown it already
        _write(terminal_text(text or "") + "\n")
    return text
