"""Tools of MCP servers: in this process, over standard streams and over HTTP."""

import asyncio
import contextvars
import gc
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import mcp
import mcp_types as types
import pytest
from mcp.server.lowlevel import Server

from miniagents import MiniAgents
from miniagents.ext.llm.errors import LLMParameterError, MissingExtraError, ToolSourceError
from miniagents.ext.llm.mcp import mcp_tools
from miniagents.ext.llm.messages import ToolResultMessage
from miniagents.ext.llm.tools import Tool, tool
from miniagents.testing import ToolUse
from support import mcp_server
from support.scripted_model import ScriptedModel

pytestmark = pytest.mark.timeout(60)

COMMAND = [sys.executable, mcp_server.__file__]


@pytest.fixture(params=["in process", "stdio", "http"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    if request.param == "in process":
        yield mcp_server.make_server()
    elif request.param == "stdio":
        yield COMMAND
    else:
        process = await asyncio.create_subprocess_exec(*COMMAND, "http", stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        yield (await process.stdout.readline()).decode().strip()
        if process.returncode is None:
            process.kill()
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]


def connections() -> list[str]:
    return [task.get_name() for task in asyncio.all_tasks() if task.get_name() == "MCP connection"]


async def there_is(path: Path) -> None:
    while not path.exists():  # noqa: ASYNC110, ASYNC240 (another process makes it)
        await asyncio.sleep(0.01)


async def test_the_tools_of_a_server_are_called(server: Any) -> None:
    """The model is told of the server's tools, and what they give, or that they fail, is told it as the result."""
    calls = [
        ToolUse("add", {"a": 1, "b": 2}),
        ToolUse("list_cities"),
        ToolUse("fail"),
        ToolUse("picture"),
        ToolUse("add", {"a": "x"}),
    ]
    model = ScriptedModel(calls, "done")
    async with MiniAgents():
        await model.agent.inquire("?", tools=[mcp_tools(server)])
        assert connections() == ["MCP connection"]
    assert connections() == []
    told = {tool.name: tool for tool in model.prompts[0].tools}
    assert (told["add"].description, told["add"].parameters["required"]) == ("Adds two numbers.", ["a", "b"])
    assert told["list_cities"].description == "Cities."
    (_, added, _), (_, cities, _), (_, failed, _), (_, shown, _), (_, wrong, _) = model.results
    assert [is_error for _, _, is_error in model.results] == [False, False, True, False, True]
    assert (added, cities) == ("3", "Oslo\n\nRome")
    assert "Error executing tool fail" in failed
    assert shown == "A dot:\n\n[image of type image/png, which is not shown]"
    assert "valid integer" in wrong


async def test_a_connection_is_shared_and_lasts(server: Any) -> None:
    """Agents and calls share one connection, also where they ask at the same time."""
    models = [ScriptedModel(ToolUse("add", {"a": number, "b": 1}), "done") for number in range(5)]
    async with MiniAgents():
        tools = [mcp_tools(server)]
        await asyncio.gather(*[model.agent.inquire("?", tools=tools).aresolve() for model in models])
        await ScriptedModel("done").agent.inquire("?", tools=tools)
        assert len(connections()) == 1
    assert [model.results[0][1] for model in models] == ["1", "2", "3", "4", "5"]


async def test_a_block_owns_its_connection(server: Any) -> None:
    """In `async with mcp_tools(...)` the connection ends with the block, also by an error in it."""
    model = ScriptedModel(ToolUse("add", {"a": 1, "b": 2}), "done")
    async with MiniAgents():
        with pytest.raises(ZeroDivisionError):
            async with mcp_tools(server) as tools:
                await model.agent.inquire("?", tools=[tools])
                assert len(connections()) == 1
                1 / 0  # noqa: B018
        assert connections() == []
    assert model.results == [("add", "3", False)]


async def test_a_call_that_is_cancelled_ends_at_the_server(server: Any, tmp_path: Path) -> None:
    """Cancelling the reply tells the server to stop, and the connection serves the next call."""
    started, ended = tmp_path / "started", tmp_path / "ended"
    model = ScriptedModel(ToolUse("hang", {"started": str(started), "ended": str(ended)}), "never said")
    next_model = ScriptedModel(ToolUse("add", {"a": 1, "b": 2}), "done")
    async with MiniAgents():
        tools = [mcp_tools(server)]
        replies = model.agent.inquire("?", tools=tools)
        await there_is(started)
        replies.cancel()
        await replies.settled()
        await there_is(ended)
        await next_model.agent.inquire("?", tools=tools)
    assert next_model.results == [("add", "3", False)]


@pytest.mark.parametrize("server", ["stdio", "http"], indirect=True)
async def test_a_server_that_dies_is_an_error_of_the_tool(server: Any) -> None:
    """A server that ends in the midst of a call is told the model; one that has a command is started again for the next."""
    model = ScriptedModel(ToolUse("die"), ToolUse("add", {"a": 1, "b": 2}), "done")
    async with MiniAgents():
        replies = await model.agent.inquire("?", tools=[mcp_tools(server, timeout=20)])
    died, added = [reply for reply in replies if isinstance(reply, ToolResultMessage)]
    assert died.is_error
    assert str(died).startswith("The server of the tool has failed: ")
    assert (str(added), added.is_error) == ("3", False) if server == COMMAND else added.is_error
    assert str(replies[-1]) == "done"


@pytest.mark.parametrize(
    ("server", "named"),
    [
        (["/no/such/program", "--key=SECRET123"], "`/no/such/program --key=<secret>`"),
        (["/no/such/program", "a.py", "--token", "SECRET123"], "`/no/such/program a.py --token <secret>`"),
        (["/no/such/program", "-H", "Authorization: SECRET123"], "`/no/such/program -H Authorization:<secret>`"),
        (["/no/such/program", "sk-SECRET123-0123456789"], "`/no/such/program <secret>`"),
        (["/no/such/program", "http://user:SECRET123@here/mcp"], "`/no/such/program http://here/mcp`"),
        (["true"], "`true`"),
        ("http://user:SECRET123@127.0.0.1:9/mcp?key=SECRET123", "http://127.0.0.1:9/mcp"),
        (3, "the MCP server int"),
    ],
    ids=["no program", "a token", "a header", "a key", "an address", "no server", "nobody listens", "none"],
)
async def test_a_server_that_cannot_be_reached_is_an_error(server: Any, named: str) -> None:
    """Without its tools nothing is sent to the model; the error names the server, and no secret of its address."""
    model = ScriptedModel("never said")
    async with MiniAgents():
        with pytest.raises(ToolSourceError) as caught:
            await model.agent.inquire("?", tools=[mcp_tools(server, timeout=20)])
    assert f"The tools of {named} cannot be had: " in str(caught.value)
    assert "SECRET123" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert (model.prompts, connections()) == ([], [])


async def test_errors_repeat_no_secret_of_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the HTTP client names the whole address, the password and the key in it are left out."""
    url = "http://user:SECRET%2F123@127.0.0.1:9/mcp?key=SECRET%2F456"

    async def fail(*_: Any) -> None:
        raise ConnectionError(f"All attempts to reach {url} failed, also with SECRET/123 and SECRET/456")

    monkeypatch.setattr(mcp.Client, "__aenter__", fail)
    async with MiniAgents():
        with pytest.raises(ToolSourceError) as caught:
            await ScriptedModel("never said").agent.inquire("?", tools=[mcp_tools(url)])
    assert "All attempts to reach" in str(caught.value)
    assert "SECRET" not in str(caught.value)


async def test_a_server_that_says_nothing_is_given_up() -> None:
    """A server that does not answer within its time is an error, and its process is ended."""
    silent = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    async with MiniAgents():
        with pytest.raises(ToolSourceError, match="Timeout"):
            await ScriptedModel("never said").agent.inquire("?", tools=[mcp_tools(silent, timeout=0.2)])
    assert connections() == []


@pytest.mark.parametrize("server", ["server.py", "python server.py", "localhost:8000/mcp", ""])
def test_a_text_that_is_no_url_is_refused(server: str) -> None:
    """A command is a list, and whoever writes it as a text is told at once."""
    with pytest.raises(LLMParameterError, match=r'a command is a list: `mcp_tools\(\["python", "server.py"\]\)`'):
        mcp_tools(server)


async def test_some_of_the_tools() -> None:
    """`only` chooses tools, `prefix` renames them, and `needs_approval` says which are asked about."""
    server = mcp_server.make_server()
    async with MiniAgents():

        async def tools(**options: Any) -> list[tuple[str, bool]]:
            return [(tool.name, tool.needs_approval) for tool in await mcp_tools(server, **options).tools()]

        assert await tools(only=["add", "list.cities"], prefix="t1_") == [("t1_add", False), ("t1_list_cities", False)]
        assert await tools(only=["add"], needs_approval=True) == [("add", True)]
        assert await tools(only=["add", "fail"], needs_approval=["fail"]) == [("add", False), ("fail", True)]
        for wrong in ({"only": ["substract"]}, {"needs_approval": ["substract"]}):
            with pytest.raises(LLMParameterError, match=r"has no tool named substract, but add, "):
                await tools(**wrong)
        for wrong in ({"only": "add"}, {"needs_approval": "add"}):
            with pytest.raises(LLMParameterError, match="a list of names"):
                await tools(**wrong)


async def test_a_renamed_tool_is_still_the_servers() -> None:
    """A tool of a server that was given another name is called by its own there."""
    model = ScriptedModel(ToolUse("plus", {"a": 1, "b": 2}), "done")
    async with MiniAgents():
        found = {one.name: one for one in await mcp_tools(mcp_server.make_server()).tools()}
        await model.agent.inquire("?", tools=[tool(found["add"], name="plus"), found["list_cities"]])
    assert model.results == [("plus", "3", False)]
    assert all(isinstance(one, Tool) for one in found.values())


async def test_two_servers_with_the_same_tools_are_told_apart() -> None:
    """Tools of the same name of two servers are refused, unless one has a prefix."""
    one, two = mcp_server.make_server(), mcp_server.make_server()
    model = ScriptedModel("done")
    async with MiniAgents():
        with pytest.raises(LLMParameterError, match=r"Two of the tools are named 'add'.*prefix="):
            await model.agent.inquire("?", tools=[mcp_tools(one), mcp_tools(two)])
        await model.agent.inquire("?", tools=[mcp_tools(one), mcp_tools(two, prefix="b_")])
    assert {"add", "b_add"} <= {told.name for told in model.prompts[0].tools}


async def test_what_is_used_once_is_made_by_a_function() -> None:
    """A function may make the server's client, such as one with headers, each time that it is connected."""
    made: list[mcp.Client] = []

    def make() -> mcp.Client:
        made.append(mcp.Client(mcp_server.make_server()))
        return made[-1]

    source = mcp_tools(make)
    for _ in range(2):
        async with MiniAgents():
            assert "add" in [one.name for one in await source.tools()]
    assert len(made) == 2


async def test_the_parts_of_a_result_become_text() -> None:
    """Texts and texts of resources are told as they are, links by their address, other data by its kind."""

    content = [
        types.TextContent(text="one"),
        types.EmbeddedResource(resource=types.TextResourceContents(uri="file:///a", text="two")),
        types.EmbeddedResource(resource=types.BlobResourceContents(uri="file:///b", blob="AAAA")),
        types.ResourceLink(name="c", uri="file:///c"),
        types.AudioContent(data="AAAA", mime_type="audio/wav"),
    ]
    results = {
        "parts": types.CallToolResult(content=content),
        "data": types.CallToolResult(content=[], structured_content={"a": [1]}),
        "silent": types.CallToolResult(content=[], is_error=True),
    }

    async def list_tools(*_: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[types.Tool(name=name, input_schema={"type": "object"}) for name in results])

    async def call_tool(_: Any, parameters: types.CallToolRequestParams) -> types.CallToolResult:
        return results[parameters.name]

    server = Server("parts", on_list_tools=list_tools, on_call_tool=call_tool)
    model = ScriptedModel([ToolUse(name) for name in results], "done")
    async with MiniAgents():
        await model.agent.inquire("?", tools=[mcp_tools(server)])
    texts = {name: text for name, text, _ in model.results}
    assert texts["parts"].split("\n\n") == [
        "one",
        "two",
        "[resource file:///b, which is not shown]",
        "[c: file:///c]",
        "[audio of type audio/wav, which is not shown]",
    ]
    assert json.loads(texts["data"]) == {"a": [1]}
    assert texts["silent"] == "The tool has failed."


async def test_a_connection_belongs_to_no_agent() -> None:
    """What the first one who uses a connection has in context variables is not seen by the connection, which outlives it."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="not seen")
    seen: list[str] = []

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        seen.append(variable.get())
        yield

    async def list_tools(*_: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[])

    variable.set("of the first agent")
    async with MiniAgents():
        await mcp_tools(Server("any", lifespan=lifespan, on_list_tools=list_tools)).tools()
    assert seen == ["not seen"]


async def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the SDK is not installed, the error says how to install it."""
    monkeypatch.setitem(sys.modules, "mcp", None)
    async with MiniAgents():
        with pytest.raises(MissingExtraError, match=r"miniagents\[mcp\]"):
            await ScriptedModel("never said").agent.inquire("?", tools=[mcp_tools(COMMAND)])


@pytest.fixture(autouse=True)
async def nothing_is_left() -> AsyncIterator[None]:
    yield
    gc.collect()
    assert connections() == []
