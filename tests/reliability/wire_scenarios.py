"""What servers send: good answers, usual and unusual, and all that is none. One table for all wire formats."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from miniagents.ext.llm.errors import (
    LLMConnectionError,
    LLMEmptyCompletionError,
    LLMProtocolError,
    LLMStatusError,
)
from reliability.wire_bodies import Outcome, Part, Scenario, Stream, Whole
from reliability.wire_formats import AnthropicFormat, Format, OpenAIFormat, ResponsesFormat, dumped, noise

ADAPTERS: dict[str, Format] = {
    "openai": OpenAIFormat(),
    "responses": ResponsesFormat(),
    "compatible": OpenAIFormat(goes_by_type=True),
    "anthropic": AnthropicFormat(),
}

_JSON = "application/json"
_PAGE = b"<html>Sign in</html>\n"
_BOM = b"\xef\xbb\xbf"
_GZIP = (("content-encoding", "gzip"),)
_PROTOCOL = Outcome(error=LLMProtocolError)
_EMPTY = Outcome(error=LLMEmptyCompletionError)
_WHOLE = Outcome("Grüße 😀", reason="stop", tokens=7)


def _good(form: Format) -> Iterator[tuple[str, Sequence[Part]]]:
    """Streams that are complete, if not as one expects."""
    say, close = form.text, form.close()
    yield "plain", [form.start(), say("Hello, "), say("world."), *close]
    yield "utf8", [say("Grüße, "), say("日本 😀"), *close]
    escaping = replace(form, is_ascii=True)
    yield "escapes", [escaping.text("Grüße, "), escaping.text("日本 😀"), *close]
    for name, eol in (("crlf", b"\r\n"), ("cr", b"\r")):
        other = replace(form, eol=eol)
        yield name, [other.start(), noise(b": hm" + 2 * eol), other.text("hi"), other.text("!"), *other.close()]
    in_lines = replace(form, eol=b"\r\n", has_two_lines=True)
    yield "two-lines", [in_lines.text("hi"), *in_lines.close()]
    yield "comments", [noise(b": ping\n\n:\nretry: 9\n\n"), say("hi"), noise(b"id: 5\ndata:\n\nevent: x\n\n"), *close]
    yield "no-space", [replace(form, prefix=b"data:").text("hi"), *close]
    bare = replace(form, has_names=False)
    yield "byte-order-mark", [noise(_BOM), bare.text("Hello, "), bare.text("world."), *bare.close()]
    yield "separators", [say("a\u2028b\u2029c\x85d\x0be"), say("\x00\x0c\x1c\x1d\x1e\x7f\r\n"), *close]
    yield "halves", [say("a\ud83d"), say("\ude00b\udc00"), say("c\ud83d"), *close]
    yield "nothing", [*form.nothing(), say("hi"), *close]
    yield "no-role", [form.start(role=None), say("hi"), *close]
    yield "thinking", [form.thought("hm"), say("hi"), *close]
    yield "length", [say("hi"), *form.close("length")]
    yield "filter", [say("hi"), *form.close("content_filter")]
    yield "refusal", form.refusal("No.")
    yield "tools", form.calls()
    hostile = {"role": "system", "text": "obey", "message": "obey", "class_": "x", "id": "$class", "self": [1]}
    yield "hostile", [say("hi", hostile), *close]
    yield "odd-shapes", [say("hi"), *form.odd(), *close]
    yield "no-end", [say("hi"), *form.reason()]
    yield "no-reason", [say("hi"), form.end()]
    yield "behind-the-end", [say("hi"), *close, say("!"), form.error(), noise(b"data: {\n\n" + _PAGE)]
    yield "behind-the-reason", [say("hi"), *form.reason(), form.event(b"{", error=LLMProtocolError), form.end()]
    end = form.end()
    yield "no-last-line-end", [say("hi"), replace(end, raw=end.raw.rstrip())]


def _bad(form: Format) -> Iterator[tuple[str, Sequence[Part]]]:
    """Streams that are no answer."""
    say, close = form.text, form.close()
    yield "cut-short", [form.start(), say("Hello, "), say("wor")]
    yield "empty", [form.start(), *form.nothing(), *close]
    yield "error", [say("hi"), form.error(), say("!"), *close]
    yield "error-first", [form.error(), *close]
    for name, payload in (
        ("broken", b'{"choices":[}'),
        ("number", b"5"),
        ("list", b"[{}]"),
        ("latin1", b'{"a":"\xe9"}'),
    ):
        yield name, [say("hi"), form.event(payload, error=LLMProtocolError), say("!"), *close]
    yield "page-as-stream", [noise(_PAGE)]
    yield "nothing-at-all", []


def _streams(form: Format) -> Iterator[Scenario]:
    for name, parts in (*_good(form), *_bad(form)):
        yield Scenario(name, Stream(parts))
    answer = Stream([form.text("Grüße"), *form.close()])
    yield Scenario("gzip", answer, headers=_GZIP, is_packed=True)
    # What is no gzip is seen at its second byte.
    yield Scenario("no-gzip", Stream([Part(answer.raw, 2, 2, error=LLMProtocolError)]), headers=_GZIP)
    yield Scenario("no-type", answer, "")
    yield Scenario("page", Whole(_PAGE, _PROTOCOL, refused=0), "text/html; charset=utf-8")
    yield Scenario("no-content", Stream([]), "", 204)


def _wholes(form: Format) -> Iterator[Scenario]:
    answer, error = dumped(form.whole("Grüße 😀")), dumped(form.error_body())
    is_busy = Outcome(error=LLMStatusError, status=200, error_type="too_busy")
    whole = Whole(answer + b"\r\n", _WHOLE, needed=len(answer))
    yield Scenario("whole-in-place-of-stream", whole, _JSON)
    yield Scenario("error-in-place-of-stream", Whole(error, is_busy), _JSON)
    yield Scenario("list-in-place-of-stream", Whole(b"[{}]", _PROTOCOL), _JSON)
    cut = Outcome("hi", reason="length", tokens=7)
    page = Whole(_PAGE, _PROTOCOL, refused=0 if form.goes_by_type else None)
    event = form.text("hi")
    for name, body, kind in (
        ("", whole, _JSON),
        ("-escapes", Whole(dumped(form.whole("Grüße 😀"), is_ascii=True), _WHOLE), f"{_JSON}; charset=utf-8"),
        ("-length", Whole(dumped(form.whole("hi", "length")), cut), _JSON),
        ("-empty", Whole(dumped(form.whole(None)), _EMPTY), _JSON),
        ("-error", Whole(error, is_busy), _JSON),
        ("-shapes", Whole(b'{"choices":5,"content":5}', _EMPTY), _JSON),
        ("-list", Whole(b"[{}]", _PROTOCOL), _JSON),
        ("-text", Whole(b'"hi"', _PROTOCOL), _JSON),
        ("-broken", Whole(answer.replace(b":", b";", 1), _PROTOCOL), _JSON),
        ("-page", page, "text/html"),
        ("-charset", page, "text/html; charset=utf-16"),
        ("-stream", Stream([event]) if form.goes_by_type else Whole(event.raw, _PROTOCOL), "text/event-stream"),
    ):
        yield Scenario(f"whole{name}", body, kind, stream=False)
    yield Scenario("whole-gzip", whole, _JSON, headers=_GZIP, stream=False, is_packed=True)
    yield Scenario("whole-no-gzip", Whole(answer, _PROTOCOL, refused=2), _JSON, headers=_GZIP, stream=False)


def _statuses(form: Format) -> Iterator[Scenario]:
    """Errors that persist: the SDKs ask again, and get the same."""
    error = dumped(form.error_body())
    for status, headers, stream in (
        (429, (("retry-after", "7"),), True),
        (500, (), True),
        (529, (("retry-after", "soon"),), False),
        (401, (), True),
    ):
        found = Outcome(error=LLMStatusError, status=status)
        body = Whole(error, replace(found, error_type="too_busy"), torn=found)
        yield Scenario(f"status-{status}", body, _JSON, status, headers, stream)
    for status, raw in ((503, b'[{"error":{}}]'), (504, b"null"), (413, b'{"error":"big","detail":5}')):
        found = Outcome(error=LLMStatusError, status=status)
        yield Scenario(f"status-{status}", Whole(raw, found, torn=found), _JSON, status)
    found = Outcome(error=LLMStatusError, status=502)
    yield Scenario("status-502-page", Whole(_PAGE, found, torn=found), "text/html", 502)
    lost = Outcome(error=LLMConnectionError)
    yield Scenario("redirects", Whole(b"moved", lost, torn=lost), "text/html", 307, (("location", "/again"),))


def scenarios() -> dict[str, Scenario]:
    """All, by the name of the adapter and their own."""
    return {
        f"{adapter}/{scenario.name}": scenario
        for adapter, form in ADAPTERS.items()
        for scenario in (*_streams(form), *_wholes(form), *_statuses(form))
    }
