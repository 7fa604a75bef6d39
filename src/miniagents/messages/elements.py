"""The elements of an answer while it is being written: of a JSON list, lines, sentences.

They are a stream of their own over the stream of tokens. What they wait for is the next element, which is there as soon
as its last character is.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, TypeAlias, TypeVar, overload

from pydantic import PydanticUserError, TypeAdapter

from miniagents.messages._cutter import Cutter
from miniagents.messages._json_elements import ItemsError, ListCutter
from miniagents.messages._text_elements import LineCutter, SentenceCutter
from miniagents.messages.stretches import Stretches
from miniagents.promising.stream import StreamedPromise, closing

__all__ = ["Elements", "ItemsError"]

T = TypeVar("T")

Texts: TypeAlias = AsyncGenerator[StreamedPromise[str, Any], None]


class Elements:
    """What can be read of an answer beside its tokens.

    Each method gives a streamed promise: `async for` gives the elements while the answer is still being written, each
    as soon as it is complete, and `await` the tuple of all. Any number of readers, early or late. It begins when it is
    first read, and needs a context for that. An error of the answer is raised behind the elements that were complete;
    to cancel the promise leaves the answer as it is.

    Of a sequence it is the elements of each message in turn, those left out that are no answers
    (`Message.is_answer`); no element spans two messages.
    """

    __slots__ = ()

    def _texts(self) -> Texts:
        """The texts that are read."""
        raise NotImplementedError

    @overload
    def items(self, element_type: type[T]) -> StreamedPromise[T, tuple[T, ...]]: ...

    @overload
    def items(self, element_type: Any) -> StreamedPromise[Any, tuple[Any, ...]]: ...

    def items(self, element_type: Any) -> StreamedPromise[Any, tuple[Any, ...]]:
        """The elements of the JSON list in the answer, each validated as an `element_type`, as soon as it is complete.

        `element_type` is whatever pydantic can validate: a model, a dataclass, `int`, `dict[str, int]`, a union. Any
        other is a `TypeError` of the call.

        The answer is the JSON list itself, or a JSON object with one list among its values (as structured outputs of
        providers are), or either of them with words before and behind, also in a code fence. The JSON begins at the
        first `[` or `{` at the beginning of a line or behind a colon that turns out to be a list, or an object with a
        list; what comes behind it does not count. A comma behind the last element is allowed.

        An element that is invalid raises pydantic's `ValidationError` at its place, and the stream ends there. A list
        that breaks off raises an `ItemsError` behind its complete elements, with what was left in `text`; so do an
        object with two lists, and an answer (of a sequence: all messages together) without any list. A number or a
        literal is complete when the next character is there.

        >>> import miniagents
        >>> async def main():
        ...     print(await miniagents.Message('Here you are: [1, 2, {"a": [3]}].').as_promise.items(object))
        >>> miniagents.run(main())
        (1, 2, {'a': [3]})
        """
        adapter = _adapter(element_type)
        return _cut(self._texts, lambda: ListCutter(adapter))

    def lines(self) -> StreamedPromise[str, tuple[str, ...]]:
        r"""The lines of the answer, without their ends (LF, CR LF or CR), empty ones too.

        The last line may lack an end. An empty answer has no lines.

        >>> import miniagents
        >>> async def main():
        ...     print(await miniagents.Message("one\n\ntwo").as_promise.lines())
        >>> miniagents.run(main())
        ('one', '', 'two')
        """
        return _cut(self._texts, LineCutter)

    def sentences(self) -> StreamedPromise[str, tuple[str, ...]]:
        r"""The sentences of the answer, by plain rules, with one space for each stretch of white space in them.

        A sentence ends at an empty line; behind the wide marks of Chinese and Japanese; and behind a word that ends in
        `.`, `!`, `?` or `…`, if white space follows, and then anything but a small letter. Quotation marks and brackets
        that close belong to it. It does not end behind the dot of a common English abbreviation (`Dr.`, `etc.`), of
        initials (`J.`, `U.S.`), or of a number with which it begins (`1.`), even where a reader would see an end.

        >>> import miniagents
        >>> async def main():
        ...     print(await miniagents.Message("Is it you,\nDr. Who? It is.").as_promise.sentences())
        >>> miniagents.run(main())
        ('Is it you, Dr. Who?', 'It is.')
        """
        return _cut(self._texts, SentenceCutter)


def _adapter(element_type: Any) -> TypeAdapter[Any]:
    try:
        if not isinstance(element_type, str):  # which pydantic would look up among the names that are here
            return TypeAdapter(element_type)
    except PydanticUserError as error:
        raise TypeError(f"`items` takes a type that pydantic can validate, not {element_type!r}.") from error
    raise TypeError(f"`items` takes a type, not its name {element_type!r}.")


def _cut(texts: Callable[[], Texts], make_cutter: Callable[[], Cutter[T]]) -> StreamedPromise[T, tuple[T, ...]]:
    return StreamedPromise(lambda _: _elements(texts(), make_cutter()), start_asap=False)


async def _elements(texts: Texts, cutter: Cutter[T]) -> AsyncIterator[T]:
    stretches = Stretches(texts)
    try:
        async with closing(texts):
            while await stretches.next_text():
                async for stretch in stretches:
                    for element in cutter.feed(stretch):
                        yield element
                for element in cutter.end_text():
                    yield element
        cutter.end()
    finally:
        # The traceback of an error keeps this frame, which must not lead from the error back to itself.
        del texts, stretches
