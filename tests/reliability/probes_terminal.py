"""Terminal: what a terminal would obey does not arrive there, whoever says it, in whatever pieces, wherever it is shown."""

import contextlib
import io
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

from miniagents import ErrorMessage, InMemoryChatHistory, Message, MiniAgents, run
from miniagents.cli.chat_errors import patient_assistant
from miniagents.ext import _terminal
from miniagents.ext._chat_markdown import Entry, encode
from miniagents.ext.console_user_agent import console_user_agent
from miniagents.ext.llm import errors as llm_errors
from miniagents.ext.llm.errors import LLMError
from miniagents.ext.models import scripted_agent
from miniagents.testing import run_virtual
from reliability.probes import Expect, PlantedHole, Probes
from reliability.probes_models import FakeModel

TERMINAL = Probes("terminal")

ESC, CSI, OSC, DCS, ST = "\x1b", "\x1b[", "\x1b]", "\x1bP", "\x1b\\"

PAYLOADS: dict[str, str] = {
    # Control characters.
    "null": "\0",
    "bell": "\a",
    "backspaces over a word": "rm -rf\b\b\b\b\b\bls    ",
    "vertical tab": "\v",
    "form feed": "\f",
    "carriage return over a line": "hidden\rshown ",
    "shift out, to another character set": "\x0eabc",
    "enquiry, which is answered": "\x05",
    "XOFF, which stops the output": "\x13",
    "cancel": f"{CSI}31\x18m",
    "substitute": f"{OSC}0;t\x1a",
    "delete": "\x7f",
    "escape at the end": ESC,
    "two escapes": f"{ESC}{ESC}[31m",
    # CSI.
    "colour": f"{CSI}31m",
    "hidden text": f"{CSI}8mhidden{CSI}0m",
    "clear the screen": f"{CSI}2J{CSI}3J",
    "home": f"{CSI}H",
    "lines up": f"{CSI}5A{CSI}2K",
    "scroll": f"{CSI}99T",
    "the other screen": f"{CSI}?1049h",
    "hide the cursor": f"{CSI}?25l",
    "bracketed paste off": f"{CSI}?2004l",
    "the mouse": f"{CSI}?1003h{CSI}?1006h",
    "ask for the status": f"{CSI}6n",
    "ask for the attributes": f"{CSI}>0c",
    "ask for the title": f"{CSI}21t",
    "resize the window": f"{CSI}8;1;1t",
    "insert mode": f"{CSI}4h",
    "repeat a character a million times": f"x{CSI}1000000b",
    "soft reset": f"{CSI}!p",
    "report of a mode": f"{CSI}?2026$p",
    "parameters with colons": f"{CSI}38:2::1:2:3m",
    "a control character inside": f"{CSI}3\x071m",
    "a line feed inside": f"{CSI}3\n1m",
    "never ended": f"{CSI}31;31;31",
    "8 bits": "\x9b2J",
    "8 bits, in a sequence of 7": f"{CSI}\x9b31m",
    # OSC.
    "title, ended by BEL": f"{OSC}0;title\a",
    "title, ended by ST": f"{OSC}2;title{ST}",
    "title, ended by 8 bits": f"{OSC}2;title\x9c",
    "title, 8 bits": "\x9d0;title\x9c",
    "title, never ended": f"{OSC}0;title",
    "title, ended by another sequence": f"{OSC}0;title{CSI}31m",
    "a sequence inside a title": f"{OSC}0;{CSI}31mtitle\a",
    "colours": f"{OSC}4;1;rgb:00/00/00\a",
    "ask for the background": f"{OSC}11;?\a",
    "folder": f"{OSC}7;file://host/etc\a",
    "hyperlink": f"{OSC}8;;https://evil.example{ST}click{OSC}8;;{ST}",
    "notification": f"{OSC}9;now{ST}{OSC}777;notify;a;b\a",
    "clipboard": f"{OSC}52;c;cm0gLXJmIC8=\a",
    "ask for the clipboard": f"{OSC}52;c;?{ST}",
    "a file to iTerm": f"{OSC}1337;File=inline=1:AAAA\a",
    "marks of a shell": f"{OSC}133;A\a",
    "palette of Linux": f"{OSC}P7ff0000",
    # The other strings.
    "DCS, a request": f"{DCS}$q m{ST}",
    "DCS, sixel": f"{DCS}q#0;2;0;0;0{ST}",
    "DCS, 8 bits": "\x90$qm\x9c",
    "DCS, through tmux": f"{DCS}tmux;{ESC}{ESC}]0;title\a{ST}",
    "APC, a picture": f"{ESC}_Gf=100;AAAA{ST}",
    "APC, 8 bits": "\x9fGf=100;AAAA\x9c",
    "PM": f"{ESC}^message{ST}",
    "PM, 8 bits": "\x9emessage\x9c",
    "SOS": f"{ESC}Xstring{ST}",
    "SOS, 8 bits": "\x98string\x9c",
    "title of screen": f"{ESC}ktitle{ST}",
    # The other sequences.
    "reset": f"{ESC}c",
    "line drawing": f"{ESC}(0qqq",
    "all E": f"{ESC}#8",
    "keypad": f"{ESC}=",
    "save and restore": f"{ESC}7{ESC}8",
    "single shift": f"{ESC}N{ESC}O\x8e\x8f",
    "reverse index": f"{ESC}M\x8d",
    "next line, 8 bits": "\x85\x84",
    "tabs, 8 bits": "\x88",
    "identify, 8 bits": "\x9a",
    "string terminator alone": f"{ST}\x9c",
    "charset of UTF-8": f"{ESC}%G{ESC}%@",
    # What turns text around, or cannot be seen.
    "right-to-left override": "user\u202etxt.exe",
    "embedding": "\u202babc\u202c",
    "isolates": "\u2066if admin\u2069 \u2067\u2068",
    "marks": "\u200e\u200f\u061c",
    "deprecated formats": "\u206a\u206e\u206f",
    "annotations": "\ufff9a\ufffab\ufffb",
    "invisible tags": "\U000e0001\U000e0068\U000e0069\U000e007f",
    "half a surrogate pair": "\ud83d",
    "the halves the wrong way round": "\ude00\ud83d",
}

_TURNS_AROUND = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
_MORE = {0x061C, 0x200E, 0x200F, *range(0x206A, 0x2070), *range(0xFFF9, 0xFFFC), *range(0xE0000, 0xE0080)}


def _obeyed(shown: str) -> list[str]:
    """What a terminal would obey."""
    return [
        f"U+{ord(character):04X}"
        for character in shown
        if (unicodedata.category(character) == "Cc" and character not in "\n\t")
        or unicodedata.category(character) == "Cs"
        or unicodedata.bidirectional(character) in _TURNS_AROUND
        or ord(character) in _MORE
    ]


def is_harmless(expect: Expect, shown: str, *words: str) -> None:
    expect(not _obeyed(shown), f"{_obeyed(shown)} in {shown!r}")
    for word in words:
        expect(word in shown, f"{word} is missing in {shown!r}")


@contextlib.contextmanager
def console(typed: str = "well\n") -> Iterator[io.StringIO]:
    """Standard input and output that are no terminal; what was written to both outputs."""
    output = io.StringIO()
    replaced = {"stdin": io.StringIO(typed), "stdout": output, "stderr": output}
    with patch.multiple(sys, **replaced):
        yield output


def _shown_by_console(*messages: Any, typed: str = "well\n", history: Any = None) -> str:
    with console(typed) as output:
        run(console_user_agent.inquire(messages, chat_history=history))
    return output.getvalue()


def _streamed(tokens: list[str], **metadata: Any) -> Any:
    async def streamer(_: dict[str, Any]) -> Any:
        for token in tokens:
            yield token

    return Message.promise(streamer, **metadata)


# ---------------------------------------------------------------------- the console


def _console_text(expect: Expect, payload: str) -> None:
    """In one piece, in single characters, and cut in two at every place."""
    text = f"BEFORE {payload}\nAFTER"
    pieces = [[text], [*text], *([text[:cut], text[cut:]] for cut in range(1, len(text)))]

    async def all_ways() -> list[Any]:
        return [_streamed(tokens) for tokens in pieces]

    async def main() -> None:
        async with MiniAgents():
            await console_user_agent.inquire(await all_ways())

    with console() as output:
        run(main())
    shown = output.getvalue()
    is_harmless(expect, shown)
    expect(shown.count("BEFORE") == shown.count("\nAFTER") == len(pieces), f"a part is missing in {shown!r}")
    said = {one.strip() for one in shown.split("ASSISTANT: ")[1:-1]}
    expect(len(said) == 1, f"it depends on where it was cut: {said}")


def _console_alias(expect: Expect, payload: str) -> None:
    shown = _shown_by_console(Message("text", agent_alias=f"NAME{payload}", role="assistant"))
    is_harmless(expect, shown, "NAME", ": text\n")


def _console_role(expect: Expect, payload: str) -> None:
    shown = _shown_by_console(Message("text", role=f"name{payload}"))
    is_harmless(expect, shown, "NAME", ": text\n")
    expect("\nNAME" not in f"\n{shown}"[1:], "a name is on a line of its own")


def _console_error(expect: Expect, payload: str) -> None:
    shown = _shown_by_console(ErrorMessage.of(ValueError(f"BEFORE{payload}\nAFTER")))
    is_harmless(expect, shown, "ERROR: ValueError: BEFORE", "\nAFTER")


def _console_reminder(expect: Expect, payload: str) -> None:
    history = InMemoryChatHistory()

    async def main() -> None:
        async with MiniAgents():
            said = Message(f"BEFORE{payload}\nAFTER", role=f"name{payload}")
            await history.logging_agent.inquire([said, said, said])
            await console_user_agent.inquire(chat_history=history)

    with console() as output:
        run(main())
    is_harmless(expect, output.getvalue(), "3 messages", "NAME", "BEFORE", "\nAFTER")


def _console_echo(expect: Expect, payload: str) -> None:
    """What was typed, or comes from a pipe, as it is written to a log."""
    shown = _shown_by_console("hi", typed=f"BEFORE{payload}\nmore\n")
    is_harmless(expect, shown, "USER: BEFORE")


TERMINAL.table("a message at the console", PAYLOADS, _console_text)
TERMINAL.table("the alias of an agent at the console", PAYLOADS, _console_alias)
TERMINAL.table("a role at the console", PAYLOADS, _console_role)
TERMINAL.table("an error at the console", PAYLOADS, _console_error)
TERMINAL.table("an earlier dialog at the console", PAYLOADS, _console_reminder)
TERMINAL.table("a line that was piped in", PAYLOADS, _console_echo)

# ---------------------------------------------------------------------- errors


def _error_of_a_server(expect: Expect, payload: str) -> None:
    """Python writes an error that nobody catches to the terminal as it is."""
    error = {"message": f"BEFORE{payload}\nAFTER", "type": f"kind{payload}", "code": payload}
    chunks = [{"error": error}]
    events = [{"type": "error", "error": error, "request_id": payload}]
    text = [{"error": f"BEFORE{payload}\nAFTER"}]
    for model in (FakeModel(chunks), FakeModel(events, anthropic=True), FakeModel(text)):

        async def main(model: FakeModel = model) -> BaseException:
            async with MiniAgents():
                (error,) = await model.agent.inquire("hi").settled()
                assert isinstance(error, LLMError)
                return error

        is_harmless(expect, str(run_virtual(main)), "BEFORE", "\nAFTER")


def _error_in_a_chat(expect: Expect, payload: str) -> None:
    failing = scripted_agent.fork(script=[ValueError(f"BEFORE{payload}")])

    async def main() -> str:
        async with MiniAgents():
            (message,) = await patient_assistant.inquire("hi", assistant=failing)
            return str(message)

    is_harmless(expect, run_virtual(main), "ValueError: BEFORE")


def _error_about_a_name(expect: Expect, payload: str) -> None:
    """A name in data that cannot be a message is told in the error."""
    attempts: list[Callable[[], object]] = [
        lambda: Message(**{f"NAME{payload}": float("nan")}),
        lambda: Message(data={f"NAME{payload}": [float("inf")]}),
        lambda: Message(data={f"NAME{payload}": {1: 1}}),
        lambda: Message(text_template=f"{{NAME{payload}}}"),
        lambda: Message(text_template="{x:NAME" + payload + "}", x=1),
    ]
    for attempt in attempts:
        try:
            attempt()
        except (TypeError, ValueError) as error:
            if not str(error).startswith(("expected", "unmatched", "Single")):  # of Python, without a name in it
                is_harmless(expect, str(error), "NAME")
        else:
            expect(False, "it is a message")


TERMINAL.table("an error of a server", PAYLOADS, _error_of_a_server)
TERMINAL.table("an error in a chat", PAYLOADS, _error_in_a_chat)
TERMINAL.table("an error about the name of a field", PAYLOADS, _error_about_a_name)

# ---------------------------------------------------------------------- a file that is shown by `cat`


def _history_file(expect: Expect, payload: str) -> None:
    """Reading direction is left as it is in a file, which editors show in their own way."""
    content = encode([Entry(f"ROLE{payload}", f"MODEL{payload}", f"BEFORE{payload}\nAFTER")]).decode()
    found = [one for one in _obeyed(content) if int(one[2:], 16) < 0xA0 or 0xD800 <= int(one[2:], 16) < 0xE000]
    expect(not found, f"{found} in {content!r}")
    expect(content.count("\n") <= 9, f"it has more lines than it should: {content!r}")
    for word in ("ROLE", "MODEL", "BEFORE", "\nAFTER\n"):
        expect(word in content, f"{word} is missing in {content!r}")


TERMINAL.table("a history file", PAYLOADS, _history_file)

# ---------------------------------------------------------------------- mistakes that must be found


def _piece_by_piece(original: Callable[[Any, str], str]) -> Callable[[Any, str], str]:
    """Each piece is made safe for itself."""
    return lambda self, piece: original(_terminal.TerminalText(), piece)


def _only_colours(self: Any, piece: str) -> str:
    """What everybody thinks of first."""
    return re.sub(r"\x1b\[[0-9;]*m", "", piece)


HOLES = [
    PlantedHole(
        "terminal",
        "a message at the console",
        "each piece for itself",
        lambda: patch.object(_terminal.TerminalText, "feed", _piece_by_piece(_terminal.TerminalText.feed)),
    ),
    PlantedHole(
        "terminal",
        "a line that was piped in",
        "colours are left out, and nothing else",
        lambda: patch.object(_terminal.TerminalText, "feed", _only_colours),
    ),
    PlantedHole(
        "terminal",
        "an error of a server",
        "errors repeat what a server says",
        lambda: patch.object(llm_errors, "terminal_text", str),
    ),
]
