"""The elements of an answer: of a JSON list, lines, sentences."""

import asyncio
import gc
import itertools
import json
import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from miniagents import Message, MessagePromise, MessageSequence, MiniAgents
from miniagents.messages import ItemsError
from miniagents.messages._cutter import Cutter
from miniagents.messages._json_elements import ListCutter
from miniagents.messages._text_elements import LineCutter, SentenceCutter
from miniagents.promising import NoActiveContextError, PromiseCancelledError, StreamedPromise
from miniagents.testing.virtual_time import explore, run_virtual


class Task(BaseModel):
    name: str
    steps: list[int] = []


def in_context(function: Any) -> Any:
    """Run an async function in a `MiniAgents()` on the virtual-time loop."""

    async def main() -> Any:
        async with MiniAgents():
            return await function()

    return run_virtual(main)


def streamed(tokens: Iterable[str | BaseException], message_class: type[Message] = Message) -> MessagePromise:
    """A message with one of these tokens each second."""

    async def streamer(metadata: dict[str, Any]) -> AsyncIterator[Any]:
        for token in tokens:
            await asyncio.sleep(1)
            yield token

    return message_class.promise(streamer)


async def read(elements: StreamedPromise[Any, Any]) -> tuple[list[Any], BaseException | None]:
    """What a reader gets: elements, and the error behind them."""
    got: list[Any] = []
    try:
        async for element in elements:
            got.append(element)
    except Exception as error:
        return got, error
    return got, None


def items_in(text: str, element_type: Any = object) -> tuple[list[Any], BaseException | None]:
    """What `items` gives of an answer that is there as a whole."""
    result: tuple[list[Any], BaseException | None] = in_context(
        lambda: read(Message(text).as_promise.items(element_type))
    )
    return result


def cut(cutter: Cutter[Any], chunks: Iterable[str]) -> tuple[list[Any], str]:
    """What a cutter makes of one text: elements, and the words of the error behind them."""
    got: list[Any] = []
    try:
        for chunk in chunks:
            got.extend(iter_into(got, cutter.feed(chunk)))
        got.extend(iter_into(got, cutter.end_text()))
        cutter.end()
    except ValueError as error:
        return got, f"{type(error).__name__}: {error}"
    return got, ""


def iter_into(got: list[Any], elements: Iterable[Any]) -> Iterable[Any]:
    """Put elements into `got` one by one, so that those before an error are not lost."""
    for element in elements:
        got.append(element)
    return ()


def chunks_of(text: str, cuts: list[int]) -> list[str]:
    edges = [0, *sorted(min(place, len(text)) for place in cuts), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(edges)]


# ---------------------------------------------------------------------- items: which list

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(alphabet='ab"\\[]{},:é\n`/'),
    lambda inside: (
        st.lists(inside, max_size=3) | st.dictionaries(st.text(alphabet='a"]}', max_size=3), inside, max_size=3)
    ),
    max_leaves=6,
)
wrappings = st.sampled_from(
    [
        "LIST",
        " \n\tLIST\r\n",
        '{"items": LIST}',
        '{"why": "[1] and {2}", "n": -1.5e3, "also": {"not": [1, [2]], "nor": "}"}, "items":\n LIST , "all": true}',
        "Here are [some] of (1), {two} and - [x] done, as you said.\n\n```json\nLIST\n```\n\nAnd [3].\n[4]\n[5]",
        'Sure!\n{"no": 1, "list": {"in": ["here"]}}\nBut:\n  LIST, and more',
        "[note]\n[-]\n[{]\n}\n{x}\n{}\nThey are: LIST. [6]",
        "```LIST```",
        "```json LIST```\n",
        '{"not json": yes, "a": [7]\n LIST',
        '{"list": LIST, oops\n[8]',
        "One line.\rLIST",
    ]
)


@given(expected=st.lists(values, max_size=4), wrapping=wrappings, indent=st.sampled_from([None, 2]))
@example(expected=[[]], wrapping="LIST", indent=None)
def test_the_list_is_found_wherever_it_may_stand(expected: list[Any], wrapping: str, indent: int | None) -> None:
    """A list alone, in an object, in a code fence, with words around it: its elements are those that JSON says."""
    if wrapping.startswith("[note]"):
        wrapping = wrapping.replace("[{]\n}\n", "")
    if wrapping.startswith('{"not json"'):
        wrapping = wrapping.replace(', "a": [7]', "")
    text = wrapping.replace("LIST", json.dumps(expected, indent=indent))
    assert items_in(text) == (expected, None)


@pytest.mark.parametrize(
    "text", ["", "No list.", "A - [ ] box, see [1]", '{"a": {"b": [1]}}', "{}", "[x", "(1, 2)", "1"]
)
def test_an_answer_without_a_list_is_an_error(text: str) -> None:
    """Where there is no list, and where only words stand in brackets, `items` raises an `ItemsError` with the answer."""
    got, error = items_in(text)
    assert got == []
    assert isinstance(error, ItemsError)
    assert error.text in ("", text)
    assert text in str(error)


def test_a_long_answer_without_a_list_is_not_shown_as_a_whole() -> None:
    """The error about a missing list has the first 200 characters of the answer, however they came."""
    for text in (["x" * 10_000], ["xyz"] * 5_000):
        _, error = in_context(lambda text=text: read(streamed(text).items(int)))
        assert isinstance(error, ItemsError)
        assert error.text == "".join(text)[:200]


def test_an_object_with_two_lists_is_an_error() -> None:
    """The first list of an object is read while it comes; a second one raises an `ItemsError` where it begins."""
    got, error = items_in('{"a": [1, 2], "b": {"c": [3]}, "d": [4]}')
    assert got == [1, 2]
    assert isinstance(error, ItemsError)
    assert "more than one list" in str(error)


# ---------------------------------------------------------------------- items: each element


def test_items_are_there_as_soon_as_they_are_complete() -> None:
    """An element is read at the moment at which its last character is there; a number, when what follows it is."""

    async def main() -> list[Any]:
        answer = streamed(['{"items": [{"a"', ": []}", ', "x\\"', '", 12', "3", ",", " true ", ", [1]", "]}"])
        loop = asyncio.get_running_loop()
        return [(element, loop.time()) async for element in answer.items(object)]

    assert in_context(main) == [({"a": []}, 2), ('x"', 4), (123, 6), (True, 7), ([1], 8)]


@given(
    text=st.text(alphabet='[]{}",:\\ \n1at`-', max_size=30),
    cuts=st.lists(st.integers(0, 30), max_size=6),
)
@example(text='{"a": [1, [2], "\\"]", 3 ], "b": 1', cuts=[*range(30)])
@example(text='Look:\n```json\n["a", 1]\n```', cuts=[*range(30)])
@example(text='["\\"", 1', cuts=[2, 3])
@example(text='[{"a": [{"b": "]"}]}, {"c": ["}"]}]', cuts=[*range(30)])
def test_any_chunking_gives_the_same_items(text: str, cuts: list[int]) -> None:
    """However a text is cut into tokens, also in no tokens at all, its elements and its error are the same."""
    adapter = TypeAdapter(object)
    whole = cut(ListCutter(adapter), [text])
    assert cut(ListCutter(adapter), chunks_of(text, cuts)) == whole
    assert cut(ListCutter(adapter), text) == whole


@given(expected=st.lists(values, min_size=1, max_size=4), data=st.data())
def test_a_list_that_breaks_off_gives_what_was_complete(expected: list[Any], data: st.DataObject) -> None:
    """Of a list that breaks off come the complete elements, then an `ItemsError` with the beginning of the next one."""
    parts = [json.dumps(value) for value in expected]
    text = "[" + ",".join(parts) + "]"
    length = data.draw(st.integers(1, len(text) - 1))
    end, complete, left = 1, 0, ""
    for part in parts:
        end += len(part)
        # A value in brackets or quotes says itself where it ends; any other only with what follows it.
        if length < end or (length == end and part[0] not in '"[{'):
            left = text[end - len(part) : length]
            break
        complete += 1
        end += 1
    got, error = items_in(text[:length])
    assert got == expected[:complete]
    assert isinstance(error, ItemsError)
    assert "breaks off" in str(error)
    assert error.text == left


@pytest.mark.parametrize(
    ("element_type", "text", "expected"),
    [
        (Task, '[{"name": "a"}, {"name": "b", "steps": [1]}]', [Task(name="a"), Task(name="b", steps=[1])]),
        (dict[str, int], '[{"a": 1}]', [{"a": 1}]),
        (int | str, '[1, "a"]', [1, "a"]),
        (Literal["a", "b"], '["a", "b"]', ["a", "b"]),
        (Message, '[{"text": "t", "n": 1}]', [Message("t", n=1)]),
        (None, "[null]", [None]),
    ],
)
def test_elements_are_of_the_type_that_was_asked_for(element_type: Any, text: str, expected: list[Any]) -> None:
    """Models, containers, unions, literals and messages: whatever pydantic validates from JSON."""
    assert items_in(text, element_type) == (expected, None)


def test_a_dataclass_is_a_type_too() -> None:
    """The fields of a dataclass are validated."""

    @dataclass
    class Point:
        x: int

    assert items_in('[{"x": "5"}]', Point) == ([Point(5)], None)


@pytest.mark.parametrize("no_type", [5, "Task", open, [int]])
def test_what_is_no_type_is_refused_by_the_call(no_type: Any) -> None:
    """Something that pydantic cannot validate is a `TypeError` of `items` itself, and needs no context."""
    with pytest.raises(TypeError, match="items"):
        Message("[]").as_promise.items(no_type)


@pytest.mark.parametrize("bad", ['{"nom": "x"}', "5", "tru", '{"name": }', '["\ud800"]', "[" * 400 + "]" * 400, "@"])
def test_an_element_that_is_invalid_ends_the_items_at_its_place(bad: str) -> None:
    """The elements before an invalid one are read, then pydantic's error is raised, which tells the number of it."""
    got, error = items_in(f'[{{"name": "a"}}, {bad}, {{"name": "b"}}]', Task)
    assert got == [Task(name="a")]
    assert isinstance(error, ValidationError)
    assert error.__notes__ == ["This is element 2 of the JSON list in the answer."]


@pytest.mark.parametrize(("text", "number"), [("[1 2]", 1), ('[1, "a": 3]', 2), ("[1, {} and so on]", 2), ("[1}", 1)])
def test_elements_need_commas_between_them(text: str, number: int) -> None:
    """Anything but a comma behind an element is an `ItemsError` behind that element."""
    got, error = items_in(text)
    assert len(got) == number
    assert isinstance(error, ItemsError)
    assert f"Behind element {number}" in str(error)


def test_a_comma_behind_the_last_element_is_allowed() -> None:
    """Models write one now and then, and nothing is missing; two commas are an error."""
    assert items_in("[1, 2, ]") == ([1, 2], None)
    got, error = items_in("[1,, 2]")
    assert got == [1]
    assert isinstance(error, ValidationError)


def test_one_long_element_takes_linear_time() -> None:
    """An element of half a million characters that comes one by one is read once; reading it anew each time would take hours."""
    text = '["' + r"a\"[" * 125_000 + '"]'
    assert cut(ListCutter(TypeAdapter(str)), text) == ([r'a"[' * 125_000], "")


# ---------------------------------------------------------------------- lines


def test_lines_end_in_lf_cr_lf_or_cr() -> None:
    """Lines come without their ends, empty ones too; the last one may lack an end; an empty answer has none."""
    for text, expected in [
        ("one\ntwo\r\nthree\rfour", ("one", "two", "three", "four")),
        ("\n\na\r\r\n\n", ("", "", "a", "", "")),
        ("a\x0cb\u2028c", ("a\x0cb\u2028c",)),
        ("", ()),
    ]:
        assert in_context(lambda text=text: Message(text).as_promise.lines()) == expected


def test_a_line_is_there_with_its_end() -> None:
    """A line is read at the moment at which its end is there, also if a CR is half of it."""

    async def main() -> list[Any]:
        loop = asyncio.get_running_loop()
        lines = streamed(["a", "b\r", "\nc", "d\n", "e"]).lines()
        return [(line, loop.time()) async for line in lines]

    assert in_context(main) == [("ab", 2), ("cd", 4), ("e", 5)]


@given(text=st.text(alphabet="ab\r\n\u2028", max_size=20), cuts=st.lists(st.integers(0, 20), max_size=6))
def test_any_chunking_gives_the_same_lines(text: str, cuts: list[int]) -> None:
    """However a text is cut into tokens, its lines are those of Python's universal newlines."""
    expected = re.split("\r\n|\r|\n", text)
    assert cut(LineCutter(), chunks_of(text, cuts)) == (expected if expected[-1] else expected[:-1], "")


# ---------------------------------------------------------------------- sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two!  Three?\nFour… Five", ["One.", "Two!", "Three?", "Four…", "Five"]),
        ("  Folded\n white\tspace\nof lines. ", ["Folded white space of lines."]),
        ('Those (Dr. Who, and also "J. Smith").', ['Those (Dr. Who, and also "J. Smith").']),
        ("好。 」b", ["好。", "」b"]),
        (
            "Dr. Who met J. R. Smith of the U.S. Army, e.g. here.",
            ["Dr. Who met J. R. Smith of the U.S. Army, e.g. here."],
        ),
        ("It costs 3.50 at a.com. Wow.", ["It costs 3.50 at a.com.", "Wow."]),
        ("1. Buy it. 2. Sell it.", ["1. Buy it.", "2. Sell it."]),
        ("In 1999. Then", ["In 1999.", "Then"]),
        ('"Go." (He went.) **Really?!** Yes', ['"Go."', "(He went.)", "**Really?!**", "Yes"]),
        ('"Why?" he said... and left... Then', ['"Why?" he said... and left...', "Then"]),
        ("A title\n\nand\r\n\r\nparagraphs", ["A title", "and", "paragraphs"]),
        ("你好。世界！」“是的。”他说 ok。？b", ["你好。", "世界！」", "“是的。”", "他说 ok。？", "b"]),
        (" \n", []),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    """Sentences end at their marks and at empty lines, not behind abbreviations, initials and numbers of items; white space is folded."""
    assert in_context(lambda: read(Message(text).as_promise.sentences())) == (expected, None)
    assert cut(SentenceCutter(), text) == (expected, "")


@given(text=st.text(alphabet='aB1.!。」" \n', max_size=30), cuts=st.lists(st.integers(0, 30), max_size=6))
def test_any_chunking_gives_the_same_sentences(text: str, cuts: list[int]) -> None:
    """However a text is cut into tokens, its sentences are the same, and have all of its words."""
    whole, _ = cut(SentenceCutter(), [text])
    assert cut(SentenceCutter(), chunks_of(text, cuts)) == (whole, "")
    assert "".join("".join(whole).split()) == "".join(text.split())


def test_a_sentence_is_there_when_the_next_one_begins() -> None:
    """A sentence is read with the first character of the next one, the last with the end of the answer."""

    async def main() -> list[Any]:
        loop = asyncio.get_running_loop()
        return [(one, loop.time()) async for one in streamed(["On", "e.", " ", "T", "wo."]).sentences()]

    assert in_context(main) == [("One.", 4), ("Two.", 5)]


# ---------------------------------------------------------------------- streams like all others


def test_elements_are_read_by_many_early_and_late() -> None:
    """All readers, early, late and again, get the same elements, and the tuple of them, in any order of tasks."""

    async def scenario() -> list[Any]:
        async with MiniAgents():
            items = streamed(["[1", ", 2, ", "3]"]).items(int)
            early = [asyncio.create_task(read(items)) for _ in range(2)]
            await asyncio.sleep(2.5)
            late = asyncio.create_task(read(items))
            return [*await asyncio.gather(*early, late), await read(items), (list(await items), None)]

    for results in explore(scenario, seeds=range(20)):
        assert results == [([1, 2, 3], None)] * 5


async def test_elements_need_a_context_to_be_read_in() -> None:
    """Read outside any context, elements are a `NoActiveContextError`; they may be asked for there."""
    items = Message("[1]").as_promise.items(int)
    with pytest.raises(NoActiveContextError):
        await items
    async with MiniAgents():
        assert await items == (1,)


def test_an_error_of_the_answer_comes_behind_what_was_complete() -> None:
    """What was complete when the answer broke is read, what was not is dropped, and the answer's own error is raised."""
    error = ConnectionError("cut")

    async def main() -> None:
        answer = streamed(['[1, {"a": 2}, 3', error])
        assert await read(answer.items(object)) == ([1, {"a": 2}], error)
        assert await read(streamed(["a\nb", error]).lines()) == (["a"], error)
        assert await read(streamed(["One. T", error]).sentences()) == (["One."], error)

    in_context(main)


def test_to_cancel_elements_leaves_the_answer_as_it_is() -> None:
    """A cancelled stream of elements keeps those it has given; the answer, and other streams of it, go on."""

    async def main() -> None:
        answer = streamed(["[1, ", "2, ", "3]"])
        items, other = answer.items(int), answer.items(int)
        reader = aiter(items)
        assert await anext(reader) == 1
        items.cancel("enough")
        with pytest.raises(PromiseCancelledError, match="enough"):
            await anext(reader)
        assert (await answer).text == "[1, 2, 3]"
        assert await other == (1, 2, 3)

    in_context(main)


def test_elements_that_nobody_reads_cost_nothing() -> None:
    """Elements that were asked for and never read start nothing, so an answer without a list is no error then."""

    async def main() -> bool:
        items = Message("no list").as_promise.items(int)
        await asyncio.sleep(1)
        return items.resolved

    assert in_context(main) is False


def test_a_failed_stream_of_elements_leaves_no_cycle() -> None:
    """Errors of an element, of the list and of the answer leave nothing to the garbage collector."""

    async def main() -> int:
        sequence = MessageSequence.turn_into_sequence_promise
        for make in (
            lambda: Message("[x, 1]").as_promise.items(int),
            lambda: Message('[1, "x"]').as_promise.items(int),
            lambda: streamed(["[1, 2", ConnectionError("cut")]).items(int),
            lambda: sequence(["[1]", ConnectionError("cut")]).items(int),
        ):
            async with MiniAgents():
                with pytest.raises(Exception):  # noqa: B017, PT011 (whichever)
                    await make()
            gc.collect()
            gc.disable()
            try:
                async with MiniAgents():
                    await fails(make)
                assert gc.collect() == 0
            finally:
                gc.enable()
        return 4

    async def fails(make: Any) -> None:
        try:
            await make()
        except Exception:
            return
        raise AssertionError

    assert run_virtual(main) == 4


@pytest.mark.parametrize("method", ["items", "lines", "sentences"])
def test_a_large_token_is_cut_in_portions(method: str) -> None:
    """To cut one big token lets other tasks have their turn, also where nothing in it is complete."""
    texts = {"items": '[{"a": [' + "[], " * 75_000, "lines": "a" * 300_000, "sentences": "A" + "a " * 150_000}

    async def main() -> int:
        async with MiniAgents() as context:
            answer = Message(texts[method]).as_promise
            elements = answer.items(object) if method == "items" else getattr(answer, method)()
            reading = context.start_asap(read(elements))
            turns = 0
            while not reading.done():
                await asyncio.sleep(0)
                turns += 1
            return turns

    assert run_virtual(main) >= 20


# ---------------------------------------------------------------------- of sequences


class Thought(Message):
    is_answer = False


def test_the_elements_of_a_sequence_are_those_of_its_messages_in_turn() -> None:
    """Each message is read as one text, so no line and no list spans two; messages without a list are words."""

    async def main() -> None:
        replies = MessageSequence.turn_into_sequence_promise(
            ["Let me see. One", "[1, 2]\nTwo", streamed(["", "[3", "]"])]
        )
        assert await replies.items(int) == (1, 2, 3)
        assert await replies.lines() == ("Let me see. One", "[1, 2]", "Two", "[3]")
        assert await replies.sentences() == ("Let me see.", "One", "[1, 2] Two", "[3]")
        assert await MessageSequence.turn_into_sequence_promise(["a\r", "\nb"]).lines() == ("a", "", "b")
        two = MessageSequence.turn_into_sequence_promise(["[1, ", "2]"])
        got, error = await read(two.items(int))
        assert got == [1]
        assert isinstance(error, ItemsError)

    in_context(main)


def test_a_sequence_without_any_list_is_an_error() -> None:
    """Only if no message of a sequence has a list, `items` raises an `ItemsError`, also if there is no message."""

    async def main() -> None:
        for messages in (["none", "here"], []):
            got, error = await read(MessageSequence.turn_into_sequence_promise(messages).items(int))
            assert got == []
            assert isinstance(error, ItemsError)

    in_context(main)


def test_messages_that_are_no_answers_are_left_out_of_a_sequence() -> None:
    """A class with `is_answer = False` is not read in a sequence, nor waited for, whatever its fields say; alone it is."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        thought = streamed(["[0]", "\n", "x"], Thought)
        replies = MessageSequence.turn_into_sequence_promise([thought, Message("[1]", is_answer=False)])
        assert await replies.items(int) == (1,)
        assert await replies.lines() == ("[1]",)
        assert loop.time() == 0
        assert await thought.items(int) == (0,)

    in_context(main)


def test_an_error_of_a_sequence_comes_at_its_place() -> None:
    """The elements of the messages before an error are read, then it is raised."""
    error = ConnectionError("cut")

    async def main() -> None:
        replies = MessageSequence.turn_into_sequence_promise(["[1]", "[2]", error, "[3]"])
        assert await read(replies.items(int)) == ([1, 2], error)

    in_context(main)
