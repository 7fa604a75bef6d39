"""Text made safe to be shown on a terminal."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniagents.ext._terminal import TerminalText, on_one_line, terminal_text

# Everything that begins, goes on or ends a sequence, in far higher doses than chance would give.
hostile_characters = st.sampled_from(
    "\x1b\x9b\x9d\x9c\x90\x07\x00\x08\x7f\x85\r\n\t[]P\\(?;0m@~ \u202e\u2066\ud83d\ude00\U000e0041é"
)
hostile_texts = st.text(hostile_characters | st.characters(exclude_categories=[]), max_size=60)


@given(hostile_texts, st.data())
def test_however_a_text_is_cut_the_result_is_the_same(text: str, data: st.DataObject) -> None:
    """Pieces of any lengths give together what the whole text gives."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    safe = TerminalText()
    shown = [safe.feed(text[start:end]) for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert "".join(shown) == terminal_text(text)


@given(hostile_texts)
def test_nothing_that_could_control_a_terminal_is_left(text: str) -> None:
    """The result has no control character but line feed and tab, nothing that turns the text around, no surrogate."""
    shown = terminal_text(text).replace("\n", "").replace("\t", "")
    assert [character for character in shown if unicodedata.category(character) in ("Cc", "Cs")] == []
    assert [character for character in shown if unicodedata.bidirectional(character) in BIDI_CONTROLS] == []
    shown.encode()


BIDI_CONTROLS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


@given(st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs"]) | st.sampled_from("\n\t\u200d\ufe0f")))
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    """Letters of all scripts, emoji, line feeds and tabs are shown unchanged."""
    assert terminal_text(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("\x1b[1;31mred\x1b[0m", "red", id="colours"),
        pytest.param("a\x1b[2J\x1b[Hb", "ab", id="clearing the screen"),
        pytest.param("a\x9b2Jb", "ab", id="8-bit CSI"),
        pytest.param("\x1b]0;title\x07text", "text", id="window title, ended by BEL"),
        pytest.param("\x1b]0;title\x1b\\text", "text", id="window title, ended by ST"),
        pytest.param("\x9d0;title\x9ctext", "text", id="window title, 8-bit"),
        pytest.param("\x1b]52;c;ZXZpbA==\x07text", "text", id="clipboard"),
        pytest.param("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link", id="hyperlink"),
        pytest.param("\x1bP1$r0m\x1b\\text", "text", id="device control string"),
        pytest.param("\x1b(0text", "text", id="character set"),
        pytest.param("\x1bctext", "text", id="reset"),
        pytest.param("\x1b\x1b[1mtext", "text", id="escaped escape"),
        pytest.param("text\x1b", "text", id="escape at the end"),
        pytest.param("a\x1b[3\nb", "a\nb", id="a sequence that the line ends"),
        pytest.param("a\x1b]0;never ended\nb", "a\nb", id="a string that the line ends"),
        pytest.param("a\x00b\x08c\x7fd\x85e", "a<U+0000>b<U+0008>c<U+007F>d<U+0085>e", id="control characters"),
        pytest.param("user\u202etxt.exe", "user<U+202E>txt.exe", id="right-to-left override"),
        pytest.param("a\u2066b\u2069\u200fc", "a<U+2066>b<U+2069><U+200F>c", id="isolates and marks"),
        pytest.param("a\U000e0041b", "a<U+E0041>b", id="invisible tag"),
        pytest.param("a\r\nb\rc\r\r\nd", "a\nb\nc\n\nd", id="carriage returns"),
        pytest.param("a\ud800b", "a\ufffdb", id="half a surrogate pair"),
    ],
)
def test_what_is_shown(text: str, shown: str) -> None:
    """Sequences are left out, other control characters are shown by their number."""
    assert terminal_text(text) == shown


def test_a_name_is_one_line() -> None:
    """White space in a name is folded, so that it cannot pass for text that somebody said."""
    assert on_one_line(" a\r\nUSER:\tb\x1b[1m ") == "a USER: b"
