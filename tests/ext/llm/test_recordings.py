"""Recordings: what models have answered comes back as it came, without a model."""

import asyncio
import json
import logging
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miniagents import MiniAgents, miniagent
from miniagents.ext.llm._recorded import Recorded, masked
from miniagents.ext.llm._recording_file import RecordingFile
from miniagents.ext.llm.errors import (
    LLMConnectionError,
    LLMEmptyCompletionError,
    LLMError,
    LLMProtocolError,
    LLMRecordingError,
    LLMStatusError,
    LLMTimeoutError,
    LLMTruncatedError,
    MissingKeyError,
)
from miniagents.ext.llm.llm_common import llm_agent
from miniagents.ext.llm.messages import AssistantMessage, ToolCallMessage
from miniagents.ext.llm.openai import openai_agent
from miniagents.ext.llm.provider import AnswerEvent, LLMProvider, ThinkingPiece, ToolCallPiece
from miniagents.ext.llm.recordings import record, record_or_replay, replay
from miniagents.testing import Fault, LLMServer, RedactedThinking, Thinking, ToolUse, run_virtual
from support.recorded import KEY, Scripted, told

HOW = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])


@HOW
async def test_a_replay_says_what_the_model_said(way: Any, stream: bool, tmp_path: Path) -> None:
    """Thoughts, texts and calls of tools come back piece by piece with all their metadata, and no server is asked."""
    reply = [Thinking(["I ", "think"]), RedactedThinking(), "Well, é\u2028 ", ToolUse("look", ['{"a"', ": 1}"])]
    path = tmp_path / "run.jsonl"
    async with LLMServer(reply) as server:
        agent = way.agent(server).fork(stream=stream, model="m", max_retries=None)
        with record(path):
            recorded = await told(agent)
    assert len(server.requests) == 1
    assert any(isinstance(piece, str) for piece in recorded)
    assert {seen[0] for seen in recorded if not isinstance(seen, str)} >= {ToolCallMessage, AssistantMessage}
    with replay(path):  # the server is closed
        assert await told(agent) == recorded


FAULTS: dict[str, tuple[Any, type[LLMError]]] = {
    "status": ({"kind": "status", "status": 418}, LLMStatusError),
    "close_before_headers": ({"kind": "close_before_headers"}, LLMConnectionError),
    "cut": ({"kind": "cut"}, LLMConnectionError),
    "clean_eof": ({"kind": "clean_eof"}, LLMTruncatedError),
    "error_event": ({"kind": "error_event"}, LLMStatusError),
    "malformed_json": ({"kind": "malformed_json"}, LLMProtocolError),
    "no_content": ({"kind": "no_content"}, LLMEmptyCompletionError),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_replay_fails_as_the_provider_failed(way: Any, fault: str, tmp_path: Path) -> None:
    """An error comes back behind the same pieces, of the same class, with the same words, fields and notes."""
    details, kind = FAULTS[fault]
    path = tmp_path / "run.jsonl"
    async with LLMServer("Once upon a time", fault=Fault(**details)) as server:
        agent = way.agent(server).fork(model="m")
        with record(path):
            recorded = await told(agent)
    assert recorded[-1][0] is kind
    with replay(path):
        assert await told(agent) == recorded


def test_a_silence_that_was_too_long_is_replayed_at_once(tmp_path: Path) -> None:
    """What was recorded of a model that fell silent ends in the same error, without the wait."""
    path = tmp_path / "run.jsonl"
    with record(path):
        recorded = asyncio.run(told(llm_agent, provider=Scripted(["a", "(hangs)"]), model="m", max_silence=0.01))
    assert recorded[-1][0] is LLMTimeoutError

    async def again() -> tuple[list[Any], float]:
        with replay(path):
            seen = await told(llm_agent, provider=Scripted(["no"]), model="m", max_silence=0.01)
        return seen, asyncio.get_running_loop().time()

    assert run_virtual(again) == (recorded, 0)


TEXT = st.text(max_size=8)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
EVENTS = st.one_of(
    TEXT,
    st.sampled_from(["\ud83d", "\ude00", "a\ud800"]),
    st.builds(ThinkingPiece, TEXT, TEXT, st.booleans(), st.booleans()),
    st.builds(ToolCallPiece, st.integers(0, 9) | TEXT, TEXT, TEXT, TEXT),
    st.dictionaries(TEXT, st.recursive(SCALARS, lambda inner: st.dictionaries(TEXT, inner, max_size=3), max_leaves=5)),
)


@given(st.lists(EVENTS), st.dictionaries(TEXT, SCALARS), st.booleans())
def test_events_come_back_from_the_file_as_they_were(
    events: list[AnswerEvent], parameters: dict[str, Any], broke_off: bool
) -> None:
    """Whatever a provider may give is the same when it is read again: pieces, borders, types and order."""
    timed = [(number / 4, event) for number, event in enumerate(events)]
    recorded = Recorded({"parameters": parameters}, timed, 99.5, None, broke_off)
    with TemporaryDirectory() as folder:
        file = RecordingFile(Path(folder, "run.jsonl"))
        file.append(recorded)
        assert file.answers() == [recorded]


async def test_only_the_last_attempt_is_recorded(tmp_path: Path) -> None:
    """A request that was sent again is one answer in the recording, and its replay waits for nothing."""
    provider = Scripted([{"response_id": "1"}, LLMStatusError("busy", status=503)], [{"response_id": "2"}, "Fine."])
    path = tmp_path / "run.jsonl"

    async def main() -> Any:
        return await told(llm_agent, provider=provider, model="m")

    with record(path):
        recorded = await main()
    assert provider.asked == 2
    with replay(path):
        assert await main() == recorded
    assert provider.asked == 2
    (answer,) = RecordingFile(path).answers()
    assert [event for _, event in answer.events] == [{"response_id": "2"}, "Fine."]


async def test_equal_requests_get_their_answers_in_turn_and_then_fail(tmp_path: Path) -> None:
    """A request that was recorded twice is answered twice; a third time is an error, or with `repeat` the last answer."""
    provider = Scripted(["one"], ["two"], ["other"])
    path = tmp_path / "run.jsonl"

    async def ask(question: str = "Hi") -> str:
        return str((await llm_agent.inquire(question, provider=provider, model="m"))[0])

    async with MiniAgents():
        with record(path):
            assert [await ask(), await ask(), await ask("Who?")] == ["one", "two", "other"]
        with replay(path):
            assert [await ask("Who?"), await ask(), await ask()] == ["other", "one", "two"]
            with pytest.raises(LLMRecordingError, match="has 2 of this request, and it was asked once more"):
                await ask()
        with replay(path, repeat=True):
            assert [await ask() for _ in range(4)] == ["one", "two", "two", "two"]


async def test_many_agents_at_once_find_their_own_answers(tmp_path: Path) -> None:
    """Requests that are recorded at once, in any order, are answered each with its own when they are asked in another."""
    async with LLMServer(lambda request: f"re: {request.messages[-1]['content']}") as server, MiniAgents():
        agent = openai_agent.fork(base_url=f"{server.url}/v1", api_key=KEY, model="m")
        with record(tmp_path / "run.jsonl"):
            await asyncio.gather(*(agent.inquire(f"question {number}") for number in range(40)))
        with replay(tmp_path / "run.jsonl"):
            for number in reversed(range(40)):
                assert str((await agent.inquire(f"question {number}"))[0]) == f"re: question {number}"
    assert len(server.requests) == 40


async def test_who_breaks_off_while_recording_finds_out_in_the_replay(tmp_path: Path) -> None:
    """Of an answer that was broken off there is what had come, and then an error that says so."""
    path = tmp_path / "run.jsonl"
    agent = llm_agent.fork(provider=Scripted(["Once ", "upon", "(hangs)"]), model="m")
    with record(path):
        async with MiniAgents():
            replies = agent.inquire("Hi")
            pieces = aiter(await anext(aiter(replies)))
            assert [await anext(pieces), await anext(pieces)] == ["Once ", "upon"]
            replies.cancel()
    with replay(path):
        seen = await told(agent, "Hi")
    assert [piece for piece in seen if isinstance(piece, str)] == ["Once ", "upon"]
    assert seen[-1][0] is LLMRecordingError
    assert "broke off here" in seen[-1][1]


def test_a_paced_replay_takes_the_time_that_the_model_took(tmp_path: Path) -> None:
    """With `paced` each piece comes as many seconds after the request as it did; otherwise all come at once."""
    file = RecordingFile(tmp_path / "run.jsonl")
    provider = Scripted(["no"])
    with pytest.raises(LLMRecordingError) as missed, record(tmp_path / "other.jsonl"), replay(tmp_path / "other.jsonl"):
        asyncio.run(_one(provider))
    assert "It is empty." in str(missed.value)
    request = {"provider": "Scripted", "model": "m", "stream": True, "system": ""}
    request["turns"] = [{"role": "user", "parts": ["Hi"]}]  # type: ignore[assignment]
    file.append(Recorded(request, [(3.0, "a"), (60.0, "b")], 75.0))

    async def times(paced: bool) -> list[float]:
        clock = asyncio.get_running_loop().time
        with replay(file.path, paced=paced):
            async with MiniAgents():
                replies = llm_agent.inquire("Hi", provider=provider, model="m")
                seen = [clock() async for piece in await anext(aiter(replies))]
                await replies
        return [*seen, clock()]

    assert run_virtual(lambda: times(True)) == [3.0, 60.0, 75.0]
    assert run_virtual(lambda: times(False)) == [0, 0, 0]


async def _one(provider: LLMProvider) -> Any:
    async with MiniAgents():
        return await llm_agent.inquire("Hi", provider=provider, model="m")


async def test_what_is_started_in_the_block_takes_part_and_nothing_else(tmp_path: Path) -> None:
    """Agents of agents inherit the recording; a call beside the block asks the provider."""
    provider = Scripted(["Fine."])

    @miniagent
    async def outer(ctx: Any) -> None:
        ctx.reply(llm_agent.inquire(ctx.message_promises, provider=provider, model="m"))

    async with MiniAgents():
        with record(tmp_path / "run.jsonl"):
            replies = outer.inquire("Hi")
        await replies
        await outer.inquire("Hi")
        assert provider.asked == 2
        with replay(tmp_path / "run.jsonl"):
            assert [str(message) for message in await outer.inquire("Hi")] == ["Fine."]
    assert provider.asked == 2
    assert len(RecordingFile(tmp_path / "run.jsonl").answers()) == 1


async def test_a_replay_needs_no_key_and_no_sdk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replay makes no client; when recording, a missing key is told and not recorded."""
    path = tmp_path / "run.jsonl"
    async with LLMServer("Fine.") as server:
        with record(path):
            assert (await told(openai_agent))[-1][0] is MissingKeyError
            recorded = await told(openai_agent, base_url=f"{server.url}/v1", api_key=KEY)
    monkeypatch.setattr("miniagents.ext.llm._access.load", lambda *_: pytest.fail("an SDK was loaded"))
    with replay(path):
        assert await told(openai_agent) == recorded


async def test_the_first_run_records_and_the_others_replay(tmp_path: Path) -> None:
    """`record_or_replay` asks the model once, and also after a run that recorded nothing."""
    provider = Scripted(["Fine."])
    path = tmp_path / "run.jsonl"
    with record_or_replay(path):
        pass
    for _ in range(3):
        with record_or_replay(path):
            assert (await told(llm_agent, provider=provider, model="m"))[1] == "Fine."
    assert provider.asked == 1


async def test_secrets_are_not_in_the_file(tmp_path: Path) -> None:
    """Neither the key nor passwords and headers are written, whoever repeats them, also in pieces."""
    others = ["header-secret-1", "query-secret-22", "body-secret-333", "param-secret-44", "p4ssword-in-url"]
    everything = " ".join([KEY, *others])
    halves = [everything[start : start + 5] for start in range(0, len(everything), 5)]
    answer: list[AnswerEvent | BaseException] = [
        *halves,
        *(ThinkingPiece(half, half) for half in halves),
        *(ToolCallPiece(0, arguments=half) for half in halves),
        {"response_id": everything, "inner": {"x": [everything]}},
        LLMStatusError(f"Wrong: {everything}", status=401, error_type=everything, request_id=everything),
    ]
    path = tmp_path / "run.jsonl"
    with record(path):
        await told(
            llm_agent,
            f"My key is {KEY}",
            system=everything,
            provider=Scripted(answer),
            model="m",
            api_key=KEY,
            base_url="http://me:p4ssword-in-url@127.0.0.1/v1",
            extra_headers={"X-Api-Key": "header-secret-1"},
            extra_query={"token": "query-secret-22"},
            extra_body={"password": "body-secret-333", "plain": "only a digest of this"},
            servers=[{"authorization_token": "param-secret-44"}],
        )
    written = path.read_text()
    found = json.loads(written.splitlines()[1])
    text = "".join(event for _, event in found["events"] if isinstance(event, str))
    assert text.count("<secret>") == 5
    assert text.replace("<secret>", "").strip() == "param-secret-44"  # of what is no key of ours only the name tells
    for secret in [KEY, *others[:3], others[4], "only a digest"]:
        assert secret not in written
    assert "param-secret-44" not in json.dumps(found["request"]["parameters"])


async def test_a_key_in_an_error_that_is_none_of_ours_is_not_in_the_file(tmp_path: Path) -> None:
    """What fails with another error is recorded by its name and its words, without the key in them."""
    path = tmp_path / "run.jsonl"
    agent = llm_agent.fork(provider=Scripted([ZeroDivisionError(f"divided by {KEY}")]), model="m")
    with record(path):
        async with MiniAgents():
            with pytest.raises(ZeroDivisionError):
                await agent.inquire("Hi")
    assert KEY not in path.read_text()
    with replay(path):
        ((kind, words, *_),) = await told(agent)
    assert (kind, words.splitlines()[0]) == (
        LLMError,
        "What was recorded failed with ZeroDivisionError: divided by <secret>",
    )


async def test_an_answer_ends_when_it_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as the disk works, the text is readable and the message goes on; then it ends."""
    writes, may_write = threading.Event(), threading.Event()
    append = RecordingFile.append

    def slowly(file: RecordingFile, answer: Recorded) -> None:
        writes.set()
        assert may_write.wait(10)
        append(file, answer)

    monkeypatch.setattr(RecordingFile, "append", slowly)
    async with MiniAgents():
        with record(tmp_path / "run.jsonl"):
            replies = llm_agent.inquire("Hi", provider=Scripted(["Fine."]), model="m")
            promise = await anext(aiter(replies))
            await asyncio.to_thread(writes.wait, 10)
            pieces = aiter(promise)
            assert await anext(pieces) == "Fine."
            end = asyncio.ensure_future(anext(pieces, "the end"))
            for _ in range(100):
                await asyncio.sleep(0)
            assert not end.done()
            may_write.set()
            assert await end == "the end"


async def test_what_cannot_be_written_is_reported_and_the_answer_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """If the disk fails, everybody has the answer, and the log says, once, that the recording is not complete."""
    path = tmp_path / "run.jsonl"
    with record(path):
        path.unlink()
        path.mkdir()
        for _ in range(2):
            assert (await told(llm_agent, provider=Scripted(["Fine."]), model="m"))[1] == "Fine."
    (report,) = [line for line in caplog.records if line.levelno == logging.ERROR]
    assert "is not complete" in report.getMessage()


@settings(max_examples=50)
@given(st.text("ab", min_size=1), st.lists(st.integers(1, 3)), st.sampled_from(["aab", "abba", "bb"]))
def test_secrets_are_found_wherever_a_text_is_cut(text: str, cuts: list[int], secret: str) -> None:
    """In pieces and as a whole a text is masked alike, and the number of its pieces stays."""
    pieces = []
    rest = text
    for cut in cuts:
        pieces.append(rest[:cut])
        rest = rest[cut:]
    pieces.append(rest)
    result = [event for _, event in masked([(0.0, piece) for piece in pieces], [secret])]
    assert len(result) == len(pieces)
    assert "".join(map(str, result)) == text.replace(secret, "<secret>")
    if secret not in text:
        assert result == pieces
