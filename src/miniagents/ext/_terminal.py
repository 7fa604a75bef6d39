"""Text from elsewhere, made safe to be shown on a terminal.

What a model, a tool or a file says may contain sequences that move the cursor, rename the window, fill the clipboard or
turn the reading direction around. None of them reaches the terminal:

* escape sequences (CSI, OSC, DCS and the others, in their 7-bit and their 8-bit form) are left out. A control character
  ends one that is not complete, so it hides at most the rest of its line;
* every other control character but line feed and tab, every character that changes the direction of the text, and
  every invisible "tag" is shown by its number: `<U+202E>`;
* CR LF and CR are line feeds;
* half of a surrogate pair, which no terminal can be sent, is U+FFFD.
"""

import enum
import re

__all__ = ["TerminalText", "on_one_line", "terminal_text"]

_SURROGATE = re.compile("[\ud800-\udfff]")

# Also every character that begins a sequence. What is not in here goes to the terminal as it is.
_SPECIAL = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f"  # reading direction
    "\ufff9-\ufffb\U000e0000-\U000e007f"  # annotations and tags
    "\ud800-\udfff"
    "]"
)

_CSI, _ST, _BEL, _ESC = "\x9b", "\x9c", "\x07", "\x1b"
_STRING_STARTS = "\x90\x98\x9d\x9e\x9f"  # DCS, SOS, OSC, PM, APC


class _State(enum.Enum):
    TEXT = enum.auto()
    AFTER_CR = enum.auto()
    ESCAPE = enum.auto()  # behind ESC, and behind ESC and intermediate characters
    CSI = enum.auto()
    STRING = enum.auto()


class TerminalText:
    r"""Makes one text, given in pieces, safe to be shown. However it is cut into pieces, the result is the same.

    >>> text = TerminalText()
    >>> text.feed("\x1b[31mred") + text.feed("\x1b[") + text.feed("0m, bell\a\r\nend")
    'red, bell<U+0007>\nend'
    """

    __slots__ = ("_state",)

    def __init__(self) -> None:
        self._state = _State.TEXT

    def feed(self, piece: str) -> str:
        """What can be shown of the next piece. Nothing is held back, so there is nothing to flush at the end."""
        shown: list[str] = []
        position = 0
        while position < len(piece):
            if self._state is not _State.TEXT:
                shown.append(self._next(piece[position]))
                position += 1
                continue
            special = _SPECIAL.search(piece, position)
            if special is None:
                shown.append(piece[position:])
                break
            shown.append(piece[position : special.start()])
            shown.append(self._special(special.group()))
            position = special.end()
        return "".join(shown)

    def _next(self, character: str) -> str:
        """Take a character behind something that it may belong to."""
        state, self._state = self._state, _State.TEXT
        match state:
            case _State.AFTER_CR if character == "\n":
                return ""
            case _State.ESCAPE if "0" <= character <= "~":
                self._enter(chr(ord(character) + 0x40))  # an 8-bit control character in its 7-bit form
                return ""
            case _State.CSI if "@" <= character <= "~":
                return ""
            case _State.STRING if character in (_BEL, _ST):
                return ""
        if (
            (state is _State.ESCAPE and " " <= character <= "/")
            or (state is _State.CSI and " " <= character <= "?")
            or (state is _State.STRING and not _is_control(character))
        ):
            self._state = state
            return ""
        # It does not belong there: there was a CR alone, or the sequence is broken off.
        return self._special(character) if _SPECIAL.match(character) else character

    def _special(self, character: str) -> str:
        if character == "\r":
            self._state = _State.AFTER_CR
            return "\n"
        if character == _ESC:
            self._state = _State.ESCAPE
            return ""
        if _SURROGATE.match(character):
            return "\ufffd"
        return "" if self._enter(character) else f"<U+{ord(character):04X}>"

    def _enter(self, introducer: str) -> bool:
        """Go into the sequence that an 8-bit control character begins. False if it begins none."""
        if introducer == _CSI:
            self._state = _State.CSI
        elif introducer in _STRING_STARTS:
            self._state = _State.STRING
        return self._state is not _State.TEXT


def terminal_text(text: str) -> str:
    """The whole of `text`, safe to be shown."""
    return TerminalText().feed(text)


def on_one_line(text: str) -> str:
    """`text`, safe to be shown, with all white space folded into single spaces: for names."""
    return " ".join(terminal_text(text).split())


def _is_control(character: str) -> bool:
    return character < " " or "\x7f" <= character <= "\x9f"
