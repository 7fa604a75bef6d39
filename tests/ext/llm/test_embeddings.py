"""Texts as vectors: what is asked, what comes back, and what can go wrong on the way."""

import base64
import json
import math
import struct
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniagents import Message, MiniAgents
from miniagents.ext.llm.embeddings import EmbeddingMessage, embedding_agent
from miniagents.ext.llm.errors import (
    LLMConnectionError,
    LLMError,
    LLMParameterError,
    LLMProtocolError,
    LLMRequestError,
    LLMStatusError,
    LLMTimeoutError,
    MissingKeyError,
)
from miniagents.ext.llm.limits import Limits
from miniagents.ext.llm.media import ImageMessage
from miniagents.ext.llm.openai_compatible_embeddings import openai_compatible_embedding_agent
from miniagents.ext.llm.openai_embeddings import openai_embedding_agent
from miniagents.testing import Fault, LLMServer
from miniagents.testing.llm_server import FaultKind


@pytest.fixture(params=["openai", "compatible"])
def agent_of(request: pytest.FixtureRequest) -> Any:
    if request.param == "openai":
        return lambda server: openai_embedding_agent.fork(base_url=f"{server.url}/v1", api_key="key", max_retries=0)
    return lambda server: openai_compatible_embedding_agent.fork(
        base_url=f"{server.url}/v1", model="nomic", max_retries=0
    )


def letters(text: str) -> list[float]:
    """A vector that tells how long a text is, and how it begins. All of it are numbers of 32 bits."""
    return [float(len(text)), float(ord(text[0])), 0.5]


async def test_each_text_has_its_vector(agent_of: Any) -> None:
    """There is one message for each, in their order, with the text, its vector and what else the message had."""
    async with LLMServer(embedding=letters) as server, MiniAgents():
        found = await agent_of(server).inquire([Message("ship", title="Sea", role="user"), "a boat"], model="m-1")
    assert found == (
        EmbeddingMessage("ship", title="Sea", role="user", vector=(4, ord("s"), 0.5), model="m-1"),
        EmbeddingMessage("a boat", vector=(6, ord("a"), 0.5), model="m-1", **told_of(found[-1])),
    )
    assert found[-1].usage.input_tokens == 3
    assert server.requests[0].body["input"] == ["ship", "a boat"]


def told_of(message: Any) -> dict[str, Any]:
    assert message.response_model == "m-1"
    return {"usage": message.usage, "response_model": "m-1"}


async def test_parameters_reach_the_server(agent_of: Any) -> None:
    """What the agent does not know is a parameter of the API."""
    async with LLMServer() as server, MiniAgents():
        (found,) = await agent_of(server).inquire("ship", dimensions=4)
    assert len(found.vector) == 4
    assert server.requests[0].body["dimensions"] == 4


async def test_many_texts_are_few_requests_side_by_side(agent_of: Any) -> None:
    """Texts are sent in batches, each of which may be on its way while others are, and come back in their order."""
    said = [f"text {number}" for number in range(10)]
    async with LLMServer(embedding=letters) as server, MiniAgents():
        found = await agent_of(server).inquire(said, batch_size=4)
    assert [str(message) for message in found] == said
    assert sorted(len(request.body["input"]) for request in server.requests) == [2, 4, 4]


async def test_the_requests_do_not_wait_for_each_other(agent_of: Any) -> None:
    """All requests are on their way before one of them is answered, and end with whoever has asked."""
    async with LLMServer(fault="hang_before_headers") as server, MiniAgents():
        replies = agent_of(server).inquire(["a", "b", "c"], batch_size=1)
        await server.wait_until(lambda: len(server.requests) == 3)
        replies.cancel()
        await server.wait_until(lambda: all(request.is_finished for request in server.requests))


async def test_long_texts_are_sent_in_more_requests() -> None:
    """No request is longer than a provider takes, unless one text alone is."""
    said = ["x" * 200_000, "y" * 60_000, "z" * 300_000, "a", "b"]
    async with LLMServer(embedding=letters) as server, MiniAgents():
        agent = openai_embedding_agent.fork(base_url=f"{server.url}/v1", api_key="key")
        found = await agent.inquire(said, limits=Limits(concurrency=1))
    assert [message.text for message in found] == said
    assert [list(map(len, request.body["input"])) for request in server.requests] == [
        [200_000],
        [60_000],
        [300_000],
        [1, 1],
    ]


async def test_nothing_is_no_request(agent_of: Any) -> None:
    """Without a message nothing is sent and nothing comes back."""
    async with LLMServer() as server, MiniAgents():
        assert await agent_of(server).inquire([]) == ()
    assert server.requests == []


async def test_similar_texts_are_near() -> None:
    """The text that has the most in common with a question is the nearest to it."""
    texts = ["cats sleep all day", "ships sail the sea", "cats and dogs play"]
    async with LLMServer() as server, MiniAgents():
        agent = openai_embedding_agent.fork(base_url=f"{server.url}/v1", api_key="key")
        *found, asked = await agent.inquire([*texts, "why do cats sleep"])
    nearest = sorted(found, key=asked.similarity, reverse=True)
    assert [str(message) for message in nearest] == [texts[0], texts[2], texts[1]]


VECTORS = st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=6)


@given(VECTORS)
def test_a_vector_is_like_itself(vector: list[float]) -> None:
    """A vector of any length has the similarity 1 to itself, and -1 to its opposite; one of zeros is like nothing."""
    one = EmbeddingMessage("x", vector=vector)
    length = math.hypot(*vector)
    if length > 1e-100:
        opposite = EmbeddingMessage("y", vector=[-number for number in vector])
        assert one.similarity(one) == pytest.approx(1)
        assert one.similarity(opposite) == pytest.approx(-1)
    elif not length:
        assert one.similarity(one) == 0


@pytest.mark.parametrize("others", [(), (1.0, 2.0)], ids=["none", "fewer"])
def test_vectors_of_other_dimensions_are_not_compared(others: tuple[float, ...]) -> None:
    """Vectors that do not go together are an error that says what to do."""
    with pytest.raises(ValueError, match="same model"):
        EmbeddingMessage("x", vector=(1.0, 2.0, 3.0)).similarity(EmbeddingMessage("y", vector=others))


def test_a_long_vector_is_not_shown() -> None:
    """A message tells how many numbers there are in the place of all of them."""
    assert repr(EmbeddingMessage("x", vector=[0.5] * 1536)) == "EmbeddingMessage(text='x', vector=<1,536 numbers>)"


# ---------------------------------------------------------------------- what goes wrong


FAULTS: dict[FaultKind, type[LLMError]] = {
    "status": LLMStatusError,
    "close_before_headers": LLMConnectionError,
    "hang_before_headers": LLMTimeoutError,
    "cut": LLMConnectionError,
    "reset": LLMConnectionError,
    "clean_eof": LLMProtocolError,
    "silence": LLMTimeoutError,
    "comments_only": LLMTimeoutError,
    "error_event": LLMStatusError,
    "malformed_json": LLMProtocolError,
    "no_content": LLMProtocolError,
}


@pytest.mark.parametrize("kind", FAULTS)
async def test_what_breaks_is_an_error_of_ours(agent_of: Any, kind: FaultKind) -> None:
    """Whatever happens to an answer is an error of its own class, which names the model."""
    expected = FAULTS[kind]
    patience = {"max_silence": 0.1} if expected is LLMTimeoutError else {}
    async with LLMServer(fault=kind) as server, MiniAgents():
        with pytest.raises(LLMError) as caught:
            await agent_of(server).inquire("ship", model="m-1", **patience)
    assert type(caught.value) is expected
    assert caught.value.__notes__[0] == "Model: m-1"


async def test_a_request_is_repeated(agent_of: Any) -> None:
    """A server that is overloaded for a moment is asked again, and what is there already is not."""
    fault = Fault("status", status=503, retry_after=0.001, times=2)
    async with LLMServer(fault=fault, embedding=letters) as server, MiniAgents():
        found = await agent_of(server).inquire(["ship", "boat"], max_retries=2)
    assert [message.vector[0] for message in found] == [4, 4]
    assert len(server.requests) == 3


async def test_an_empty_text_has_no_vector(agent_of: Any) -> None:
    """An empty text, or a file without one, is an error that tells its place, and nothing is sent."""
    async with LLMServer() as server, MiniAgents():
        with pytest.raises(LLMRequestError, match="Message 1 has no text"):
            await agent_of(server).inquire(["ship", ""])
        image = ImageMessage.of(b"GIF89a", media_type="image/gif")
        with pytest.raises(
            LLMRequestError, match="Message 0, of class ImageMessage, has no text, and only a text has a vec"
        ):
            await agent_of(server).inquire([image])
    assert server.requests == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"batch_size": 0}, "`batch_size` is a whole number from 1, not 0"),
        ({"batch_size": True}, "not True"),
        ({"limits": 5}, "`limits` are"),
        ({"max_silence": -1}, "`max_silence` is a positive number"),
        ({"provider": None}, "`provider` is missing"),
    ],
)
async def test_an_argument_that_cannot_be_right_is_an_error(arguments: dict[str, Any], reason: str) -> None:
    """What cannot be right is refused before anything is sent."""
    async with MiniAgents():
        with pytest.raises(LLMParameterError, match=reason):
            await openai_embedding_agent.inquire("ship", api_key="key", **arguments)


async def test_a_key_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key for OpenAI there is an error that names the variable."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    async with MiniAgents():
        with pytest.raises(MissingKeyError, match="OPENAI_API_KEY"):
            await openai_embedding_agent.inquire("ship")


async def test_a_key_is_in_no_error(agent_of: Any) -> None:
    """A server that repeats the key does not bring it into the error."""
    async with LLMServer(fault=Fault("status", status=401)) as server, MiniAgents():
        with pytest.raises(LLMStatusError) as caught:
            await agent_of(server).inquire("ship", extra_headers={"x-api-key": "Planned error 401"})
    assert "Planned error 401" not in str(caught.value)


def packed(*numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


async def vectors_of(answer: Any) -> list[tuple[float, ...]]:
    """What comes of an answer to two texts."""

    async def create(**_: Any) -> Any:
        return answer

    client = SimpleNamespace(embeddings=SimpleNamespace(create=create))
    async with MiniAgents():
        return [message.vector for message in await openai_embedding_agent.inquire(["a", "b"], async_client=client)]


def item(index: Any, embedding: Any) -> dict[str, Any]:
    return {"index": index, "embedding": embedding}


@pytest.mark.parametrize(
    "data",
    [
        [item(0, [1, 2.5]), item(1, [3, 4])],
        [item(1, [3, 4]), item(0, [1, 2.5])],
        [item(0, packed(1, 2.5)), item(1, packed(3, 4))],
        [item(None, [1, 2.5]), item(None, [3, 4])],
    ],
    ids=["numbers", "another order", "base64", "no index"],
)
async def test_vectors_come_in_several_forms(data: list[Any]) -> None:
    """Numbers and base64 are the same vectors, and the index tells which text they belong to."""
    assert await vectors_of({"data": data}) == [(1.0, 2.5), (3.0, 4.0)]


@pytest.mark.parametrize(
    "data",
    [
        [],
        [item(0, [1])],
        [item(0, [1]), item(0, [2])],
        [item(0, [1]), item(2, [2])],
        [item(0, [1]), item(1, [])],
        [item(0, [1]), item(1, [1, 2])],
        [item(0, [1]), item(1, ["x"])],
        [item(0, [1]), item(1, [math.inf])],
        [item(0, [1]), item(1, "no base64")],
        [item(0, [1]), item(1, "AAA=")],
        [item(0, [1]), item(1, 5)],
        [5, None],
    ],
    ids=range(12),
)
async def test_vectors_that_do_not_go_with_the_texts(data: list[Any]) -> None:
    """A vector that is missing, doubled, of another size or no vector is an error, and never a wrong vector."""
    with pytest.raises(LLMProtocolError, match="was sent 2 texts"):
        await vectors_of({"data": data})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ITEMS = st.lists(JSON | st.fixed_dictionaries({}, optional={"index": JSON, "embedding": JSON}), max_size=3)


@given(st.fixed_dictionaries({}, optional={"data": JSON | ITEMS, "usage": JSON, "model": JSON, "error": JSON}))
def test_no_shape_of_an_answer_is_an_accident(answer: dict[str, Any]) -> None:
    """An answer of any shape gives two vectors or an error of ours."""

    async def create(**_: Any) -> Any:
        return answer

    client = SimpleNamespace(embeddings=SimpleNamespace(create=create))
    try:
        found = MiniAgents().run(openai_embedding_agent.inquire(["a", "b"], async_client=client))
    except LLMError:
        return
    assert len(found) == 2
    json.dumps([message.serialize() for message in found])


def test_a_provider_must_be_named() -> None:
    """The agent without a provider says which agents have one."""
    with pytest.raises(LLMParameterError, match="openai_embedding_agent"):
        MiniAgents().run(embedding_agent.inquire("x"))
