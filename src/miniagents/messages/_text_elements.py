"""The lines, and the sentences, of a text that comes in chunks. Any chunking gives the same."""

import re
from collections.abc import Iterator
from typing import Final

from miniagents.messages._cutter import Cutter

_LINE_END: Final = re.compile(r"\r\n|\r|\n")

_MARKS: Final = frozenset(".!?…")
# Those of scripts that are written without spaces. They always end a sentence.
_WIDE_MARKS: Final = frozenset("。！？")
_PIECE: Final = re.compile(r"\s+|[。！？]+|[^\s。！？]+")
# What may stand between such a mark and the end of its sentence.
_CLOSING: Final = re.compile(r"[。！？\"'”’»)\]}）」』】》]*")
_CLOSERS: Final = "\"'”’»)]}）」』】》*_`"
_OPENERS: Final = "\"'“‘«([{*_`"
_NUMBER: Final = re.compile(r"[0-9]+(\.[0-9]+)*")
# English abbreviations that more of the sentence follows as a rule, and initials.
_ABBREVIATION: Final = re.compile(
    r"mr|mrs|ms|mx|dr|prof|rev|hon|sr|jr|st|mt|gen|col|sgt|capt|lt|cmdr|gov|sen|rep|pres|supt"
    r"|vs|etc|cf|al|figs?|eqs?|sec|ch|vols?|nos|pp|eds?|approx|ca|est|dept|univ|assn|inc|ltd|co|corp|bros"
    r"|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec|mon|tues?|wed|thu|thurs|fri|ave|blvd|rd|hrs?|min|oz|lbs?|ft"
    r"|[^\W\d_](\.[^\W\d_])*"
)


class LineCutter(Cutter[str]):
    r"""Cuts lines at LF, CR LF and CR, which are left out. A text that does not end in one ends in a line without.

    >>> cutter = LineCutter()
    >>> [*cutter.feed("one\r"), *cutter.feed("\n\ntw"), *cutter.feed("o"), *cutter.end_text()]
    ['one', '', 'two']
    """

    def __init__(self) -> None:
        self._line: list[str] = []
        self._had_cr = False

    def feed(self, chunk: str) -> Iterator[str]:
        """The next chunk."""
        if not chunk:
            return
        ends_in_cr = chunk[-1] == "\r"
        if self._had_cr:  # with which the line has ended; an LF behind it belongs to it
            chunk = chunk.removeprefix("\n")
        self._had_cr = ends_in_cr
        # `str.splitlines` would cut at form feeds and some other characters as well.
        first, *others = _LINE_END.split(chunk)
        self._line.append(first)
        for part in others:
            yield "".join(self._line)
            self._line = [part]

    def end_text(self) -> Iterator[str]:
        """The last line, if it has no end."""
        line = "".join(self._line)
        self._line, self._had_cr = [], False
        if line:
            yield line


class SentenceCutter(Cutter[str]):
    """Cuts sentences, by the rules that `Elements.sentences` tells.

    That a sentence has ended is known with the first character of the next one.

    >>> cutter = SentenceCutter()
    >>> [*cutter.feed("Dr. Who? "), *cutter.feed("He is"), *cutter.feed(" here."), *cutter.end_text()]
    ['Dr. Who?', 'He is here.']
    """

    def __init__(self) -> None:
        self._words: list[str] = []
        self._word: list[str] = []
        self._line_ends = 0
        # Whether the present word ends in a wide mark, so that what follows is another sentence or closes this one.
        self._behind_wide_mark = False

    def feed(self, chunk: str) -> Iterator[str]:
        """The next chunk."""
        for match in _PIECE.finditer(chunk):
            piece = match.group()
            if piece.isspace():
                self._end_word()
                self._line_ends += piece.count("\n")
                continue
            if self._behind_wide_mark:
                closing = _CLOSING.match(piece)
                assert closing is not None  # it matches nothing too
                self._word.append(closing.group())
                piece = piece[closing.end() :]
                if not piece:
                    continue
                self._end_word()
            if self._words and not self._word and self._ends_before(piece):
                yield self._take_sentence()
            self._word.append(piece)
            self._line_ends = 0
            self._behind_wide_mark = piece[-1] in _WIDE_MARKS

    def end_text(self) -> Iterator[str]:
        """The last sentence."""
        self._end_word()
        if self._words:
            yield self._take_sentence()

    def _end_word(self) -> None:
        if self._word:
            self._words.append("".join(self._word))
            self._word.clear()
            self._behind_wide_mark = False

    def _take_sentence(self) -> str:
        sentence = " ".join(self._words)
        self._words.clear()
        return sentence

    def _ends_before(self, following: str) -> bool:
        """Whether the sentence ends with its last complete word, if `following` comes next."""
        word = self._words[-1].rstrip(_CLOSERS)
        mark = word[-1:]
        if self._line_ends > 1 or mark in _WIDE_MARKS:
            return True
        if mark not in _MARKS or following[0].islower():
            return False
        if mark != ".":
            return True
        before_mark = word[:-1].lstrip(_OPENERS).lower()
        if len(self._words) == 1 and _NUMBER.fullmatch(before_mark):  # of an item of a list
            return False
        return _ABBREVIATION.fullmatch(before_mark) is None
