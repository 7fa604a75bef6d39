"""Recordings: which requests are equal, and what is said of those that are not."""

from pathlib import Path
from typing import Any

import pytest

from miniagents import Message
from miniagents.ext.llm.errors import LLMRecordingError
from miniagents.ext.llm.llm_common import llm_agent
from miniagents.ext.llm.messages import AssistantMessage, ToolCallMessage, ToolResultMessage, UserMessage
from miniagents.ext.llm.recordings import record, replay
from support.recorded import Scripted, told


async def test_a_miss_shows_what_is_different(tmp_path: Path) -> None:
    """A request that was not recorded is an error with the lines that differ from the nearest one, and no others."""
    path = tmp_path / "run.jsonl"
    provider = Scripted(["Fine."])
    with record(path):
        await told(llm_agent, "What is the weather?", provider=provider, model="m", temperature=0)
        await told(llm_agent, "Something else, and more of it", provider=provider, model="other")
    with replay(path):
        ((kind, words, *_),) = await told(
            llm_agent, "What is the weather?", provider=provider, model="m", temperature=1
        )
    assert kind is LLMRecordingError
    changed = [line for line in words.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    assert changed == ['-  "temperature": 0', '+  "temperature": 1']
    assert "Something else" not in words
    assert provider.asked == 2


async def test_the_difference_of_endless_requests_is_short(tmp_path: Path) -> None:
    """Also if requests are very long and differ everywhere, the error is one that can be read."""
    path = tmp_path / "run.jsonl"
    provider = Scripted(["Fine."])
    with record(path):
        await told(llm_agent, *[f"{number} {'x' * 5000}" for number in range(500)], provider=provider, model="m")
    with replay(path):
        ((_, words, *_),) = await told(
            llm_agent, *[f"{number} {'y' * 5000}" for number in range(500)], provider=provider, model="m"
        )
    assert "lines more" in words
    assert len(words) < 10_000


DIFFERENT: dict[str, tuple[Any, Any]] = {
    "the text": (["a"], ["b"]),
    "who says it": (["a"], [AssistantMessage("a"), "b"]),
    "a role": ([UserMessage("a")], [Message("a", role="assistant")]),
    "how the texts are cut": (["a", "b"], ["ab"]),
    "the id of a call": (
        [ToolCallMessage("{}", call_id="1", tool="t"), ToolResultMessage("r", call_id="1", tool="t")],
        [ToolCallMessage("{}", call_id="2", tool="t"), ToolResultMessage("r", call_id="2", tool="t")],
    ),
    "an error of a tool": (
        [ToolCallMessage("{}", call_id="1", tool="t"), ToolResultMessage("r", call_id="1", tool="t")],
        [ToolCallMessage("{}", call_id="1", tool="t"), ToolResultMessage("r", call_id="1", tool="t", is_error=True)],
    ),
    "a parameter": ({"temperature": 0}, {"temperature": 1}),
    "no parameter": ({"seed": 1}, {}),
    "a parameter in the body": ({"extra_body": {"x": 1}}, {"extra_body": {"x": 2}}),
    "the system prompt": ({"system": "a"}, {"system": "b"}),
    "the model": ({"model": "a"}, {"model": "b"}),
    "streaming": ({"stream": True}, {"stream": False}),
    "bytes": ({"file": b"1"}, {"file": b"2"}),
    "a text that is too long to be written": (["x" * 30_000 + "a"], ["x" * 30_000 + "b"]),
}
EQUAL: dict[str, tuple[Any, Any]] = {
    "metadata of a message": (
        [UserMessage("a"), AssistantMessage("b", usage={"input_tokens": 1}), "c"],
        [Message("a", role="user"), Message("b", role="assistant", response_id="9"), "c"],
    ),
    "the key": ({"api_key": "k" * 9}, {"api_key": "q" * 9}),
    "the address": ({"base_url": "http://127.0.0.1:1"}, {"base_url": "http://127.0.0.1:2"}),
    "headers": ({"extra_headers": {"X-Id": "1"}}, {}),
    "the query": ({"extra_query": {"version": "1"}}, {}),
    "time-outs": ({"max_silence": 5, "first_token_timeout": 2}, {}),
    "retries": ({"max_retries": 5}, {}),
    "a secret in the body": ({"extra_body": {"api_key": "1" * 9}}, {"extra_body": {"api_key": "2" * 9}}),
    "an object": ({"how": object()}, {"how": object()}),
    "the order of parameters": ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    "a set": ({"a": {"x", "y", "z"}}, {"a": {"z", "y", "x"}}),
    "a tuple": ({"a": (1, 2)}, {"a": [1, 2]}),
}


@pytest.mark.parametrize(
    ("one", "other", "is_equal"),
    [(*pair, False) for pair in DIFFERENT.values()] + [(*pair, True) for pair in EQUAL.values()],
    ids=[*DIFFERENT, *EQUAL],
)
async def test_which_requests_are_equal(one: Any, other: Any, is_equal: bool, tmp_path: Path) -> None:
    """Equal are requests that ask the same, however they are sent; what decides about the answer makes another one."""

    def asked(what: Any) -> tuple[list[Any], dict[str, Any]]:
        messages, arguments = (what, {}) if isinstance(what, list) else (["Hi"], what)
        return messages, {"provider": Scripted(["Fine."]), "model": "m", **arguments}

    messages, arguments = asked(one)
    with record(tmp_path / "run.jsonl"):
        await told(llm_agent, *messages, **arguments)
    messages, arguments = asked(other)
    with replay(tmp_path / "run.jsonl"):
        seen = await told(llm_agent, *messages, **arguments)
    assert (seen[-1][0] is not LLMRecordingError) == is_equal
