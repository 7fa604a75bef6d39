"""OpenAI's responses: what is sent, what comes back, and thoughts that are encrypted on the way."""

import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniagents import MiniAgents
from miniagents.ext.llm.errors import LLMError, LLMParameterError, LLMStatusError, LLMTruncatedError
from miniagents.ext.llm.messages import (
    AssistantMessage,
    SystemMessage,
    ThinkingMessage,
    ToolCallMessage,
    ToolResultMessage,
    UserMessage,
)
from miniagents.ext.llm.openai_responses import OpenAIResponsesProvider, openai_responses_agent
from miniagents.ext.llm.prompt import AnswerSchema, Prompt, ToolSchema
from miniagents.testing import LLMServer, RedactedThinking, Thinking, ToolUse

HOW = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
CALL = ToolUse("look", {"at": 1})


def agent_of(server: LLMServer) -> Any:
    return openai_responses_agent.fork(base_url=f"{server.url}/v1", api_key="key", max_retries=0)


def request_for(*messages: Any, prompt: dict[str, Any] | None = None, **parameters: Any) -> dict[str, Any]:
    asked = Prompt.of(messages or [UserMessage("hi")], **(prompt or {}))
    return OpenAIResponsesProvider().make_request(asked, {"model": "gpt-5.5", "stream": True, **parameters})


def fake(events: Any) -> Any:
    async def stream() -> AsyncIterator[Any]:
        for event in events:
            yield event

    async def create(**_: Any) -> Any:
        return stream()

    return SimpleNamespace(responses=SimpleNamespace(create=create))


async def answer_to(*events: dict[str, Any]) -> tuple[Any, ...]:
    async with MiniAgents():
        return await openai_responses_agent.inquire("hi", async_client=fake(events))


def delta(text: Any = "x", index: Any = 0) -> dict[str, Any]:
    return {"type": "response.output_text.delta", "output_index": index, "delta": text}


COMPLETED = {"type": "response.completed", "response": {"status": "completed"}}


# ---------------------------------------------------------------------- the request


async def test_a_dialog_becomes_items() -> None:
    """The system prompt goes into the instructions, and all that was said into items, in its order."""
    async with LLMServer() as server, MiniAgents():
        await agent_of(server).inquire(
            [
                "q1",
                "q2",
                AssistantMessage("I look."),
                ToolCallMessage('{"at": 1}', call_id="c1", tool="look"),
                ToolResultMessage("a cat", call_id="c1", tool="look"),
                SystemMessage("late rule"),
            ],
            system="rule",
        )
    (request,) = server.requests
    assert request.body["instructions"] == "rule\n\nlate rule"
    assert request.body["input"] == [
        {"role": "user", "content": [{"type": "input_text", "text": "q1"}, {"type": "input_text", "text": "q2"}]},
        {"role": "assistant", "content": "I look."},
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"at": 1}'},
        {"type": "function_call_output", "call_id": "c1", "output": "a cat"},
    ]


async def test_the_history_is_ours() -> None:
    """Unless a call says otherwise, the provider keeps nothing, and its thoughts are asked for in encrypted form."""
    assert request_for()["store"] is False
    assert request_for()["include"] == ["reasoning.encrypted_content"]
    asked = request_for(store=True, include=["message.output_text.logprobs"])
    assert (asked["store"], asked["include"]) == (True, ["message.output_text.logprobs"])
    assert "include" not in request_for(model="gpt-4.1-mini")


async def test_tools_and_the_form_of_the_answer_are_asked_for() -> None:
    """Tools are functions that need not be strict, and the form of the answer stands beside what the call says of it."""
    schema = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    prompt = {"tools": [ToolSchema("look", "Looks.", schema)], "answer": AnswerSchema("Form", schema)}
    request = request_for(prompt=prompt, text={"verbosity": "low"}, tools=[{"type": "web_search"}])
    assert request["tools"] == [
        {"type": "web_search"},
        {"type": "function", "name": "look", "description": "Looks.", "parameters": schema, "strict": False},
    ]
    form = {"type": "json_schema", "name": "Form", "schema": schema, "strict": True}
    assert request["text"] == {"verbosity": "low", "format": form}


def test_two_system_prompts_are_refused() -> None:
    """`instructions` beside a system prompt would be lost, so they are an error."""
    with pytest.raises(LLMParameterError, match="not both"):
        request_for(SystemMessage("rule"), UserMessage("hi"), instructions="others")
    assert request_for(instructions="others")["instructions"] == "others"


# ---------------------------------------------------------------------- thoughts and calls


@HOW
@pytest.mark.parametrize("thought", [Thinking("I must look."), RedactedThinking()], ids=["summary", "hidden"])
async def test_what_was_thought_is_sent_back(stream: bool, thought: Thinking | RedactedThinking) -> None:
    """A thought with a call comes back to the provider with what it has signed; the server refuses any other."""

    def reply(request: Any) -> Any:
        return "Done." if request.tool_results else [thought, CALL]

    async with LLMServer(reply=reply) as server, MiniAgents():
        agent = agent_of(server).fork(stream=stream)
        told, call = await agent.inquire("hi")
        result = ToolResultMessage("a cat", call_id=call.call_id, tool=call.tool)
        (said,) = await agent.inquire([UserMessage("hi"), told, call, result])
    assert isinstance(told, ThinkingMessage)
    assert isinstance(call, ToolCallMessage)
    assert (told.text, told.redacted) == (("I must look.", False) if isinstance(thought, Thinking) else ("", True))
    assert (call.tool, json.loads(str(call)), call.finish_reason) == ("look", {"at": 1}, "tool_calls")
    assert str(said) == "Done."
    summary = [{"type": "summary_text", "text": "I must look."}] if isinstance(thought, Thinking) else []
    encrypted = thought.signature if isinstance(thought, Thinking) else thought.data
    sent_back = {"type": "reasoning", "id": "rs_0_0", "summary": summary, "encrypted_content": encrypted}
    assert server.requests[1].body["input"][1] == sent_back


def test_only_its_own_thoughts_are_sent_back() -> None:
    """A thought that is not signed, or by somebody else, and one that nothing has come of, are left out."""
    foreign = ThinkingMessage("a", signature="s", signed_by="Anthropic")
    own = ThinkingMessage("b", signature="rs_1 secret", signed_by="OpenAI")
    items = request_for(UserMessage("q"), foreign, ThinkingMessage("c"), own, AssistantMessage("x"))["input"]
    assert [item.get("id") for item in items] == [None, "rs_1", None]
    assert [item["role"] for item in request_for(UserMessage("q"), own)["input"]] == ["user"]


async def test_parts_of_a_summary_are_paragraphs() -> None:
    """The parts of one summary stand below each other, and the next thought is a message of its own."""

    def piece(text: str, part: int, index: int = 0) -> dict[str, Any]:
        kind = "response.reasoning_summary_text.delta"
        return {"type": kind, "output_index": index, "summary_index": part, "delta": text}

    events = [piece("a", 0), piece("b", 0), piece("c", 1), piece("d", 0, index=1), delta(index=2), COMPLETED]
    first, second, _ = await answer_to(*events)
    assert (str(first), str(second)) == ("ab\n\nc", "d")


@HOW
async def test_calls_that_come_mixed_are_put_together(stream: bool) -> None:
    """Each call is a message with its own arguments, also if their pieces come in turns."""
    reply = ["Let me see.", CALL, ToolUse("go", {"to": "Rome"}, id="c2")]
    async with LLMServer(reply=reply, fault="interleaved_tool_calls") as server, MiniAgents():
        said, first, second = await agent_of(server).inquire("hi", stream=stream)
    assert str(said) == "Let me see."
    assert [(call.tool, json.loads(str(call))) for call in (first, second)] == [
        ("look", {"at": 1}),
        ("go", {"to": "Rome"}),
    ]
    assert second.call_id == "c2"


# ---------------------------------------------------------------------- the stream


async def test_what_was_not_streamed_is_read_at_its_end() -> None:
    """A server that sends items, or only the last event, without pieces before is understood, and nothing is doubled."""
    items = [
        {"type": "message", "content": [{"type": "output_text", "text": "x"}, {"type": "refusal", "refusal": "!"}]},
        {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"},
    ]
    last = {"type": "response.completed", "response": {"status": "completed", "output": items}}
    done = [
        {"type": "response.output_item.done", "output_index": index, "item": item} for index, item in enumerate(items)
    ]
    for events in ([last], [*done, last]):
        said, call = await answer_to(*events)
        assert (str(said), call.tool, str(call), call.finish_reason) == ("x!", "look", "{}", "tool_calls")


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        ({"status": "completed"}, "stop"),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "length"),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "content_filter"),
        ({"status": "incomplete", "incomplete_details": {"reason": "steered"}}, "steered"),
        ({"status": "cancelled"}, "cancelled"),
    ],
)
async def test_why_it_ended_is_told_in_common_words(response: dict[str, Any], reason: str) -> None:
    """The reason is in the words of all providers, if they have one for it."""
    (message,) = await answer_to(delta(), {"type": "response.incomplete", "response": response})
    assert message.finish_reason == reason


@pytest.mark.parametrize(
    "event",
    [
        {"type": "error", "code": "busy", "message": "Later."},
        {"type": "error", "error": {"type": "busy", "message": "Later."}},
        {"type": "response.failed", "response": {"status": "failed", "error": {"code": "busy", "message": "Later."}}},
    ],
    ids=["event", "nested", "failed"],
)
async def test_an_error_in_the_stream_is_told(event: dict[str, Any]) -> None:
    """Each way to tell of an error gives its kind and its reason, and the text so far."""
    with pytest.raises(LLMStatusError, match=r"Later\.") as caught:
        await answer_to(delta("so far"), event)
    assert (caught.value.error_type, caught.value.partial_text) == ("busy", "so far")


async def test_a_response_that_failed_without_a_reason_is_an_error() -> None:
    """That a response has failed is enough."""
    with pytest.raises(LLMStatusError, match="has failed"):
        await answer_to(delta(), {"type": "response.failed", "response": {"status": "failed", "error": None}})


async def test_what_comes_behind_the_last_event_does_not_count() -> None:
    """A complete answer is complete, whatever a server says behind it."""
    (message,) = await answer_to(delta(), COMPLETED, {"type": "error", "message": "Too late."}, delta())
    assert str(message) == "x"


async def test_without_a_last_event_it_is_truncated() -> None:
    """A text that is complete by itself does not end the answer."""
    done = {"type": "response.output_text.done", "output_index": 0, "text": "x"}
    with pytest.raises(LLMTruncatedError):
        await answer_to(delta(), done)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ITEM = JSON | st.fixed_dictionaries(
    {"type": st.sampled_from(["message", "function_call", "reasoning"])},
    optional=dict.fromkeys(("content", "arguments", "call_id", "name", "summary", "encrypted_content", "id"), JSON),
)
KINDS = [
    *("response.created", "response.output_item.added", "response.output_item.done", "response.output_text.delta"),
    *("response.refusal.delta", "response.function_call_arguments.delta", "response.reasoning_summary_text.delta"),
]


@given(
    st.lists(
        st.fixed_dictionaries(
            {"type": st.sampled_from(KINDS)},
            optional={"response": JSON, "item": ITEM, "output_index": JSON, "delta": JSON, "summary_index": JSON},
        ),
        max_size=8,
    )
)
def test_no_shape_of_events_is_an_accident(events: list[dict[str, Any]]) -> None:
    """Events of any shape behind a good one leave good messages, or an error of ours."""
    client = fake([delta("good"), *events, COMPLETED])
    try:
        first, *_ = MiniAgents().run(openai_responses_agent.inquire("hi", async_client=client))
    except LLMError as error:
        assert error.partial_text.startswith("good")  # noqa: PT017  (no error is as good)
    else:
        assert str(first).startswith("good")
