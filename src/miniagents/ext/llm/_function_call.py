"""Calls of functions, and what they give as text."""

import contextvars
import functools
import inspect
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from typing import Any

from pydantic_core import to_json

from miniagents.ext._threads import beside_the_loop
from miniagents.ext.llm.errors import ToolError
from miniagents.messages import ErrorMessage, Message, MessagePromise, MessageSequencePromise
from miniagents.promising.stream import closing


async def call_function(function: Callable[..., Any], arguments: dict[str, Any]) -> AsyncGenerator[str, None]:
    """The text of what `function` returns or yields, piece by piece. One that is not async runs in a thread."""
    call = functools.partial(function, **arguments)
    is_plain = inspect.isroutine(function) or isinstance(function, functools.partial)
    body: Any = function if is_plain else getattr(function, "__call__", None)  # noqa: B004 (not to ask whether it is there)
    if inspect.isasyncgenfunction(body):
        result = call()
    elif inspect.iscoroutinefunction(body):
        result = await call()
    else:
        result = await _in_thread(call)
        if inspect.isawaitable(result) and not isinstance(result, (MessagePromise, MessageSequencePromise)):
            result = await result  # of a function that wraps an async one
    async with closing(_text_of(result)) as pieces:
        async for piece in pieces:
            yield piece


async def said_in(replies: MessageSequencePromise) -> AsyncGenerator[str, None]:
    """The text of the answers in a reply, with empty lines between them, while they come.

    Raises `ToolError` for an error among them that has arrived as a message.
    """
    between = ""
    async for promise in replies:
        if not promise.message_class.is_answer:
            continue
        async with closing(_said_in_one(promise)) as tokens:
            async for token in tokens:
                if between:
                    yield between
                between = ""
                yield token
        between = "\n\n"


async def _said_in_one(promise: MessagePromise) -> AsyncGenerator[str, None]:
    said = 0
    async for token in promise:
        if promise.message_class is ErrorMessage:
            break  # the text of the error is the rest of this message
        said += len(token)
        yield token
    if promise.message_class is ErrorMessage:
        raise ToolError(str(await promise)[said:].lstrip("\n"))


async def _text_of(result: Any) -> AsyncGenerator[str, None]:
    if isinstance(result, MessageSequencePromise):
        async with closing(said_in(result)) as pieces:
            async for piece in pieces:
                yield piece
    elif isinstance(result, MessagePromise):
        async with closing(_said_in_one(result)) as pieces:
            async for piece in pieces:
                yield piece
    elif isinstance(result, AsyncIterable):
        async with closing(result) as pieces:
            async for piece in pieces:
                yield _as_text(piece)
    elif result is not None:
        yield _as_text(result)


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return str.__str__(value)  # the text of a member of an enum, not its name
    if isinstance(value, ErrorMessage):
        raise ToolError(str(value))
    if isinstance(value, Message):
        return str(value)
    return to_json(value).decode()


async def _in_thread(call: Callable[[], Any]) -> Any:
    variables = contextvars.copy_context()
    result, error = await beside_the_loop(lambda: variables.run(_outcome, call), "tool")
    if error is None:
        return result
    try:
        raise error
    finally:
        del error  # its traceback has this frame


def _outcome(call: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """What a call returns, and what it raises: a future cannot hold all that a function can raise."""
    try:
        result = call()
        if inspect.isgenerator(result):
            result = "".join(map(_as_text, result))
    except BaseException as error:
        return None, error
    return result, None
