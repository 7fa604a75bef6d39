"""What the LLM server refuses as the providers do, through the official SDKs: histories, tools, files and schemas."""

from typing import Any

import anthropic
import openai
import pytest
from pydantic import BaseModel

from miniagents.testing import LLMServer, RedactedThinking, Thinking
from support.sdk_clients import anthropic_client, openai_client

PNG = "iVBORw0="
OPEN = {"type": "object", "properties": {"a": {"type": "string"}}}
CLOSED = {**OPEN, "additionalProperties": False, "required": ["a"]}
HI = {"role": "user", "content": "Hi"}


def chat_call(*ids: str) -> dict[str, Any]:
    function = {"name": "f", "arguments": "{}"}
    return {"role": "assistant", "tool_calls": [{"id": id_, "type": "function", "function": function} for id_ in ids]}


def chat_result(id_: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id_, "content": "done"}


def chat_tool(name: str, **function: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **function}}


def chat_format(**schema: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def use(*ids: str) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "tool_use", "id": i, "name": "f", "input": {}} for i in ids]}


def result(*ids: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": id_, "content": "x"} for id_ in ids]}


def said(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def of_user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(parts)}]}


def image(**source: Any) -> dict[str, Any]:
    return of_user({"type": "image", "source": source})


def document(**source: Any) -> dict[str, Any]:
    return of_user({"type": "document", "source": source})


THINKING = {"type": "thinking", "thinking": "hm", "signature": Thinking("hm").signature}
REDACTED = {"type": "redacted_thinking", "data": RedactedThinking().data}


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"messages": [HI, chat_call("a", "b"), chat_result("a")]}, "did not have response messages: b$"),
        ({"messages": [HI, chat_call("a"), HI, chat_result("a")]}, "did not have response messages: a$"),
        ({"messages": [HI, chat_result("a")]}, "must be a response to a preceeding message with 'tool_calls'"),
        ({"messages": [HI, chat_call("a"), chat_result("b")]}, "'tool_call_id' of 'b' not found"),
        ({"messages": [{**HI, "tool_calls": []}]}, "Unknown parameter"),
        ({"messages": [{"role": "assistant", "tool_calls": []}]}, "empty array"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "a"}]}]}, "expected an 'id', and a 'function'"),
        ({"messages": [{"role": "assistant", "content": None}]}, "expected a string, got null"),
        ({"messages": [{"role": "user", "content": []}]}, r"'messages\[0\].content': empty array"),
        ({"messages": [{"role": "user", "content": None}]}, "expected a string, got null"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "Invalid value: 'robot'. Supported values are: 'system'"),
        ({"messages": [{"content": "x"}]}, r"'messages\[0\].role'"),
        ({"messages": ["x"]}, "expected an object"),
        (of_user({"type": "image", "source": {}}), "Invalid value: 'image'. Supported values are: 'text'"),
        (of_user({"text": "x"}), r"'messages\[0\].content\[0\].type'"),
        (of_user({"type": "text"}), r"content\[0\].text'"),
        (of_user({"type": "image_url", "image_url": "https://example.org/a.png"}), r"content\[0\].image_url'"),
        (of_user({"type": "image_url", "image_url": {"url": "a.png"}}), "Expected a valid URL"),
        (of_user({"type": "image_url", "image_url": {"url": f"data:text/html;base64,{PNG}"}}), "unsupported image"),
        (of_user({"type": "image_url", "image_url": {"url": "data:image/png;base64,!!"}}), "unsupported image"),
        (of_user({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "x"}}), "'x'"),
        (of_user({"type": "input_audio", "input_audio": {"format": "ogg", "data": PNG}}), "'wav' or 'mp3'"),
        (of_user({"type": "file", "file": {"filename": "a.pdf"}}), "expected a 'file_id'"),
        ({"messages": [{"role": "system", "content": [{"type": "file", "file": {}}]}]}, "only allowed in messages of"),
        ({"tools": [chat_tool("f"), chat_tool("f")]}, "duplicate function name 'f'"),
        ({"tools": [chat_tool("no spaces")]}, r"does not match pattern.*\^\[a-zA-Z0-9_-\]\{1,64\}\$"),
        ({"tools": [chat_tool("f" * 65)]}, "does not match pattern"),
        ({"tools": [{"type": "function", "name": "f"}]}, r"'tools\[0\].function'"),
        ({"model": 7}, "Missing required parameter: 'model'"),
        ({"messages": [HI, chat_call("a"), {"role": "tool", "content": "x"}]}, r"'messages\[2\].tool_call_id'"),
        ({"messages": [{"role": "assistant", "tool_calls": "x"}]}, "tool_calls': expected an array of objects"),
        ({"messages": [{"role": "assistant", "tool_calls": ["x"]}]}, r"tool_calls\[0\]': expected an object"),
        ({"tools": {}}, "'tools': expected an array of objects"),
        ({"tools": [{"type": "function", "function": {}}]}, r"Missing required parameter: 'tools\[0\].function.name'"),
        ({"tools": [{"function": {"name": "f"}}]}, r"'tools\[0\].type'"),
        ({"tools": [{"type": "retrieval"}]}, "Supported values are: 'function', and 'custom'"),
        ({"tools": [chat_tool("f", parameters={"type": "array"})]}, """got 'type: "array"'"""),
        ({"tools": [chat_tool("f", parameters=OPEN, strict=True)]}, "Invalid schema for function 'f'.*additionalProp"),
        ({"tool_choice": "auto"}, "only allowed when 'tools' are specified"),
        ({"tools": [chat_tool("f")], "tool_choice": "any"}, "Supported values are: 'none'"),
        ({"tools": [chat_tool("f")], "tool_choice": chat_tool("g")}, "the tool 'g' was not specified"),
        ({"response_format": {"type": "xml"}}, "Invalid value: 'xml'"),
        (chat_format(schema=CLOSED), "json_schema.name'"),
        (chat_format(name="a"), "json_schema.schema'"),
        (chat_format(name="a", strict=True, schema=OPEN), r"In context=\(\), 'additionalProperties' is required"),
        (chat_format(name="a", strict=True, schema={**CLOSED, "required": []}), "Missing 'a'"),
        (
            chat_format(name="a", strict=True, schema={**CLOSED, "properties": {"a": {"anyOf": [OPEN]}}}),
            r"In context=\('properties', 'a', 'anyOf', '0'\)",
        ),
    ],
)
async def test_what_openai_refuses_is_refused(request_: dict[str, Any], message: str) -> None:
    """A chat completion that the API would refuse is answered with status 400 and a sentence that says why."""
    async with LLMServer() as server, openai_client(server) as client:
        with pytest.raises(openai.BadRequestError, match=message) as caught:
            body = {"model": "m", "messages": [HI], **request_}
            await client.post("/chat/completions", cast_to=object, body=body)
        assert caught.value.type == "invalid_request_error"
        assert server.requests[0].tokens_sent == 0


@pytest.mark.parametrize(
    "request_",
    [
        {"messages": [HI, chat_call("a", "b"), chat_result("b"), chat_result("a"), HI]},
        {"messages": [HI, chat_call("a"), chat_result("a"), chat_call("a"), chat_result("a")]},
        {"messages": [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": ""}]},
        of_user({"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": "https://example.org/a"}}),
        of_user({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"}}),
        of_user({"type": "input_audio", "input_audio": {"format": "wav", "data": PNG}}),
        of_user({"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PNG}"}}),
        of_user({"type": "file", "file": {"file_id": "file-1"}}),
        {"tools": [chat_tool("f", parameters=OPEN), chat_tool("g" * 64, parameters=CLOSED, strict=True)]},
        {"tools": [chat_tool("f")], "tool_choice": chat_tool("f")},
        chat_format(name="a", schema=OPEN),
        chat_format(name="a", schema=CLOSED, strict=True),
        {"response_format": {"type": "json_object"}},
    ],
)
async def test_what_openai_takes_is_taken(request_: dict[str, Any]) -> None:
    """Tools and their results, files and schemas that the API takes are taken."""
    async with LLMServer("Fine.") as server, openai_client(server) as client:
        completion = await client.chat.completions.create(**{"model": "m", "messages": [HI], **request_})
    assert completion.choices[0].message.content == "Fine."


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (
            {"messages": [HI, use("a", "b"), result("a")]},
            "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: b. ",
        ),
        ({"messages": [HI, use("a"), HI, result("a")]}, "ids were found without `tool_result` blocks"),
        ({"messages": [HI, use("a")]}, "ids were found without `tool_result` blocks"),
        (
            {
                "messages": [
                    HI,
                    use("a"),
                    {"role": "user", "content": [{"type": "text", "text": "x"}, *result("a")["content"]]},
                ]
            },
            "ids were found without `tool_result` blocks",
        ),
        (
            {"messages": [result("a")]},
            "messages.0.content.0: unexpected `tool_use_id` found in `tool_result` blocks: a.",
        ),
        ({"messages": [HI, use("a"), result("a", "a")]}, "each tool_use must have a single result"),
        ({"messages": [HI, use("a"), result("a"), use("a"), result("a")]}, "ids must be unique"),
        ({"messages": [HI, said({**THINKING, "thinking": "changed"}), HI]}, "Invalid `signature` in `thinking` block"),
        ({"messages": [HI, said({**THINKING, "signature": "x"}), HI]}, "messages.1.content.0: Invalid `signature`"),
        ({"messages": [HI, said({"type": "thinking", "thinking": "hm"}), HI]}, "signature: Field required"),
        ({"messages": [HI, said({**REDACTED, "data": "x"}), HI]}, "Invalid `data`"),
        ({"messages": [{"role": "user", "content": [THINKING]}]}, "can only be in `assistant` messages"),
        ({"messages": [HI, said(*result("a")["content"])]}, "can only be in `user` messages"),
        ({"messages": [{"role": "system", "content": "x"}]}, 'Unexpected role "system"'),
        ({"messages": [{"role": "tool", "content": "x"}]}, "Input should be 'user' or 'assistant'"),
        ({"messages": [{"role": "user", "content": ""}]}, "must have non-empty content"),
        ({"messages": [{"role": "user", "content": []}]}, "must have non-empty content"),
        ({"messages": [{"role": "user"}]}, "messages.0.content: "),
        ({"messages": [7]}, "messages.0: Input should be a valid dictionary"),
        (of_user({"type": "text", "text": ""}), "text content blocks must be non-empty"),
        (of_user({"type": "text", "text": " \n"}), "must contain non-whitespace text"),
        ({"messages": [{"role": "user", "content": " "}]}, "must contain non-whitespace text"),
        (of_user({"type": "text"}), "text: Field required"),
        (of_user({"text": "x"}), "type: Field required"),
        (of_user({"type": "image_url", "image_url": {}}), "Input tag 'image_url' found using 'type' does not match"),
        ({"messages": [HI, {"role": "assistant", "content": "It is "}]}, "cannot end with trailing whitespace"),
        (image(type="base64", media_type="image/tiff", data=PNG), "Input should be 'image/jpeg'"),
        (image(type="base64", media_type="image/png", data="!"), "invalid base64"),
        (image(type="url", url="file:///etc/passwd"), "Only HTTP and HTTPS URLs are supported"),
        (image(), "image.source: Field required"),
        (document(type="base64", media_type="text/html", data=PNG), "Input should be 'application/pdf'"),
        (document(type="base64", media_type="application/pdf", data=""), "invalid base64"),
        ({"messages": [HI, use("a b"), result("a b")]}, "tool_use.id: String should match pattern"),
        (
            {"messages": [HI, said({**use("a")["content"][0], "input": "{}"}), result("a")]},
            "should be a valid dictionary",
        ),
        ({"model": 7}, "model: Field required"),
        (
            of_user({"type": "tool_result", "tool_use_id": "a", "content": 7}),
            "tool_result.content: Input should be a val",
        ),
        ({"tools": {}}, "tools: Input should be a valid list"),
        ({"tools": [7]}, "tools.0: Input should be a valid dictionary"),
        ({"tools": [{"name": "f", "input_schema": OPEN}] * 2}, "tools: Tool names must be unique"),
        ({"tools": [{"name": "a b", "input_schema": OPEN}]}, "tools.0.custom.name: String should match pattern"),
        ({"tools": [{"name": "f"}]}, "tools.0.custom.input_schema: Field required"),
        ({"tools": [{"name": "f", "input_schema": {}}]}, "input_schema.type: Field required"),
        ({"tools": [{"name": "f", "input_schema": {"type": "array"}}]}, "input_schema.type: Input should be 'object'"),
        ({"tools": [{"input_schema": OPEN}]}, "tools.0.custom.name: Field required"),
        ({"tool_choice": {"type": "any"}}, "only be specified while providing tools"),
        ({"tool_choice": "auto"}, "does not match any of the expected tags"),
        (
            {"tools": [{"name": "f", "input_schema": OPEN}], "tool_choice": {"type": "tool", "name": "g"}},
            "Tool 'g' not",
        ),
        ({"thinking": {"type": "enabled", "budget_tokens": 1}}, "greater than or equal to 1024"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, "`max_tokens` must be greater"),
        (
            {
                "thinking": {"type": "enabled", "budget_tokens": 1024},
                "messages": [HI, use("a"), result("a")],
                "max_tokens": 2000,
            },
            "Expected `thinking` or `redacted_thinking`, but found `tool_use`",
        ),
        ({"output_config": {"format": {"type": "xml"}}}, "Input should be 'json_schema'"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "schema: Field required"),
        ({"output_config": {"format": {"type": "json_schema", "schema": OPEN}}}, "must be explicitly set to false"),
        ({"max_tokens": 0}, "max_tokens: Input should be greater"),
    ],
)
async def test_what_anthropic_refuses_is_refused(request_: dict[str, Any], message: str) -> None:
    """A request that Anthropic would refuse is answered with status 400 and a sentence that says why and where."""
    async with LLMServer() as server, anthropic_client(server) as client:
        with pytest.raises(anthropic.BadRequestError, match=message) as caught:
            body = {"model": "m", "messages": [HI], "max_tokens": 100, **request_}
            await client.post("/v1/messages", cast_to=object, body=body)
        assert caught.value.type == "invalid_request_error"
        assert server.requests[0].tokens_sent == 0


@pytest.mark.parametrize(
    "request_",
    [
        {"messages": [HI, use("a", "b"), result("b", "a")]},
        {"messages": [HI, use("a", "b"), result("a"), result("b"), HI]},
        {"messages": [HI, said(THINKING, REDACTED, *use("a")["content"]), result("a")]},
        {"messages": [HI, {"role": "assistant", "content": "It is"}]},
        image(type="base64", media_type="image/png", data=PNG),
        image(type="url", url="https://example.org/a.png"),
        image(type="file", file_id="file_1"),
        document(type="base64", media_type="application/pdf", data=PNG),
        document(type="text", media_type="text/plain", data="x"),
        document(type="content", content="x"),
        {"tools": [{"name": "f", "input_schema": OPEN}, {"type": "web_search_20250305", "name": "web_search"}]},
        {"tools": [{"name": "f", "input_schema": OPEN}], "tool_choice": {"type": "tool", "name": "f"}},
        {"messages": [HI, said({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}), HI]},
        {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2000},
        {"output_config": {"format": {"type": "json_schema", "schema": CLOSED}, "effort": "low"}},
    ],
)
async def test_what_anthropic_takes_is_taken(request_: dict[str, Any]) -> None:
    """Tools and their results, thinking, files and schemas that the API takes are taken."""
    async with LLMServer("Fine.") as server, anthropic_client(server) as client:
        message = await client.messages.create(**{"model": "m", "messages": [HI], "max_tokens": 100, **request_})
    assert message.content[0].text == "Fine."


@pytest.mark.parametrize("changed", [{}, {"thinking": "other"}], ids=["as it was", "changed"])
async def test_thinking_must_come_back_as_it_was(changed: dict[str, str]) -> None:
    """A signature that a test has given is good for its own text only, and only where it was given."""
    history: Any = [HI, said({"type": "thinking", "thinking": "hm", "signature": "mine", **changed}), HI]
    async with LLMServer([Thinking("hm", "mine"), "Fine."]) as server, anthropic_client(server) as client:
        with pytest.raises(anthropic.BadRequestError, match="Invalid `signature`"):
            await client.messages.create(model="m", max_tokens=1, messages=history)
        await client.messages.create(model="m", max_tokens=1, messages=[HI])
        if not changed:
            assert (await client.messages.create(model="m", max_tokens=1, messages=history)).content[1].text == "Fine."
            return
        with pytest.raises(
            anthropic.BadRequestError, match="blocks in the latest assistant message cannot be modified"
        ):
            await client.messages.create(model="m", max_tokens=1, messages=history)


class Weather(BaseModel):
    city: str
    days: list[int]


async def test_the_schemas_that_the_sdks_make_are_taken() -> None:
    """The SDKs' own way to structured answers works: they send a strict schema and read the answer by it."""
    expected = Weather(city="Oslo", days=[1])
    async with LLMServer(expected.model_dump_json()) as server:
        async with openai_client(server) as client:
            completion = await client.chat.completions.parse(model="m", messages=[HI], response_format=Weather)
        async with anthropic_client(server) as other:
            message = await other.messages.parse(model="m", max_tokens=9, messages=[HI], output_format=Weather)
    assert completion.choices[0].message.parsed == message.parsed_output == expected
