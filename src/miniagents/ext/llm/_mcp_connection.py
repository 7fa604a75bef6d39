"""A connection to an MCP server, kept open for all who use it."""

import asyncio
import contextvars
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

from miniagents.ext._threads import beside_the_loop
from miniagents.ext.llm._client import load
from miniagents.ext.llm._sdk import without_secrets
from miniagents.ext.llm._secrets import HIDDEN, Secrets, tells
from miniagents.ext.llm.errors import ToolError, ToolSourceError
from miniagents.promising import MiniAgentsError

E = TypeVar("E", bound=MiniAgentsError)

_CONNECTION_CLOSED: Final = -32000
_MOST_PAGES: Final = 100
# What stands alone in a command and looks like a key: long, with digits, and no file.
_KEY: Final = re.compile(r"(?=.*\d)(?!.*\.\w{1,4}$)[\w.~+-]{20,}=*")


class MCPConnection:
    """Opens the connection when it is first wanted, and again if it was lost, and closes it at the end."""

    def __init__(self, server: Any, timeout: float | None) -> None:
        self._server = server
        self._timeout = timeout
        self._keeper: _Keeper | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        """Those of the connection, and of earlier ones that are still ending."""
        self._lock = asyncio.Lock()

    async def list_tools(self) -> list[Any]:
        """What the server offers, as objects of the SDK. Raises `ToolSourceError` if it cannot be had."""
        found: list[Any] = []
        cursor: str | None = None
        keeper = await self._connected()
        try:
            for _ in range(_MOST_PAGES):  # a list that never ends must not hold up an agent
                page = await keeper.client.list_tools(cursor=cursor)
                found += page.tools
                cursor = page.next_cursor
                if cursor is None:
                    break
        except Exception as error:
            self._forget_lost(keeper, error)
            raise self._error(error) from None
        return found

    async def call_tool(self, name: str, arguments: dict[str, Any]) -> Any:
        """The result of a tool, an object of the SDK. Raises `ToolError` if there is none."""
        keeper = await self._connected()
        try:
            return await keeper.client.call_tool(name, arguments)
        except Exception as error:
            self._forget_lost(keeper, error)
            # Not tried again: nobody knows how far the tool has come.
            raise self._without_secrets(ToolError(f"The server of the tool has failed: {_text_of(error)}")) from None

    async def close(self) -> None:
        """Close the connection, if there is one."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.stop()
        tasks = list(self._tasks)
        try:
            if tasks:
                await asyncio.wait(tasks)
        finally:
            for task in tasks:  # there was no time to end them in good order
                task.cancel()

    async def _connected(self) -> "_Keeper":
        async with self._lock:
            if self._keeper is None or self._keeper.task.done():
                sdk = await beside_the_loop(lambda: load("mcp", "mcp"), "MCP importer")
                keeper = _Keeper(lambda: _client(sdk, self._server, self._timeout))
                self._tasks.add(keeper.task)
                keeper.task.add_done_callback(self._ended)
                try:
                    async with asyncio.timeout(self._timeout):
                        await keeper.is_ready()
                except BaseException as error:
                    keeper.task.cancel()
                    if not isinstance(error, Exception):
                        raise
                    raise self._error(error) from None
                self._keeper = keeper
            return self._keeper

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, or asyncio would complain that nobody has

    def _forget_lost(self, keeper: "_Keeper", error: Exception) -> None:
        is_lost = keeper.task.done() or getattr(error, "code", None) == _CONNECTION_CLOSED
        if is_lost and self._keeper is keeper:
            self._keeper = None
            keeper.stop()

    def _error(self, error: BaseException) -> ToolSourceError:
        return self._without_secrets(
            ToolSourceError(f"The tools of {shown(self._server)} cannot be had: {_text_of(error)}")
        )

    def _without_secrets(self, error: E) -> E:
        # HTTP clients repeat the whole address.
        Secrets({}, self._server if isinstance(self._server, str) else None).keep_out_of(error)
        return error


class _Keeper:
    """A task that enters the client and leaves it, because whoever enters an `anyio` block must leave it as well."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.client: Any = None
        self._ready = asyncio.Event()
        self._stopped = asyncio.Event()
        # It belongs to no agent, and ends neither with the one that was first nor sees what that one sees.
        self.task = asyncio.create_task(self._keep(make), name="MCP connection", context=contextvars.Context())

    async def _keep(self, make: Callable[[], Any]) -> None:
        try:
            async with make() as self.client:
                self._ready.set()
                await self._stopped.wait()
        finally:
            self._ready.set()

    async def is_ready(self) -> None:
        """Wait until the client can be used. Raises what went wrong with that."""
        await self._ready.wait()
        if self.client is None:
            await self.task

    def stop(self) -> None:
        """Have the connection closed."""
        self._stopped.set()


def shown(server: object) -> str:
    """How a server is named in errors: without what may be secret in its address or its command."""
    if isinstance(server, str):
        return without_secrets(server)
    command: Sequence[object] = [getattr(server, "command", None), *(getattr(server, "args", None) or ())]
    if isinstance(server, Sequence) and server:
        command = server
    if not isinstance(command[0], str):
        return f"the MCP server {type(server).__name__}"
    return f"`{' '.join(_shown_words(command))}`"


def _shown_words(command: Sequence[object]) -> Iterator[str]:
    is_secret = False
    for word in map(str, command):
        name, sign, value = _named(word)
        if is_secret or _KEY.fullmatch(word):
            yield HIDDEN
        elif sign and (tells(name) or _KEY.fullmatch(value)):
            yield f"{name}{sign}{HIDDEN}"
        else:
            yield without_secrets(word) if "://" in word else word
        is_secret = word.startswith("-") and not sign and tells(word)


def _named(word: str) -> tuple[str, str, str]:
    """`NAME=value`, also of a header; without a sign all is the name."""
    sign = next((sign for sign in "=:" if sign in word), "=")
    return word.partition(sign)


def _client(sdk: Any, server: Any, timeout: float | None) -> Any:
    if callable(server):
        server = server()
    if isinstance(server, sdk.Client):
        return server
    if isinstance(server, (list, tuple)):
        server = sdk.StdioServerParameters(command=server[0], args=list(server[1:]))
    return sdk.Client(server, read_timeout_seconds=timeout)


def _text_of(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}".removesuffix(": ")
