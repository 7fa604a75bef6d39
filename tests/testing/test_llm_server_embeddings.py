"""The LLM server as OpenAI's embeddings, through the official SDK."""

import json
import math
from collections.abc import Sequence
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniagents.testing import Fault, FaultKind, LLMServer
from miniagents.testing._embeddings import vector_of_words
from support.sdk_clients import openai_client


async def embed(server: LLMServer, *texts: str, **request: Any) -> list[list[float]]:
    async with openai_client(server) as client:
        response = await client.embeddings.create(model="m", input=list(texts), **request)
    assert [item.index for item in response.data] == list(range(len(texts)))
    return [item.embedding for item in response.data]


def likeness(one: Sequence[float], other: Sequence[float]) -> float:
    return math.sumprod(one, other) if hasattr(math, "sumprod") else sum(a * b for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("request_", [{}, {"encoding_format": "float"}], ids=["base64, the SDK's choice", "float"])
async def test_texts_with_the_same_words_are_near(request_: dict[str, Any]) -> None:
    """Each text has a vector of length 1, equal for equal texts, and the nearer the more words are the same."""
    async with LLMServer() as server:
        cat, near, far, again = await embed(
            server, "The cat sat there", "the CAT slept there", "Stocks fell", "The cat sat there", **request_
        )
        assert server.requests[0].body.get("encoding_format") == request_.get("encoding_format", "base64")
    assert {len(vector) for vector in (cat, near, far)} == {1536}
    assert likeness(cat, cat) == pytest.approx(1, abs=1e-5)
    assert again == cat
    assert likeness(cat, near) > 0.5 > 0.2 > likeness(cat, far)


async def test_both_encodings_are_the_same_vector() -> None:
    """Base64 carries the figures of the plain list, to the precision of four bytes."""
    async with LLMServer() as server:
        (plain,) = await embed(server, "one two three", encoding_format="float", dimensions=8)
        (packed,) = await embed(server, "one two three", dimensions=8)
    assert packed == pytest.approx(plain, abs=1e-6)
    assert len(plain) == 8


async def test_a_function_makes_the_vectors() -> None:
    """A test may give the vectors; they are cut to the `dimensions` of a request and made as long as 1 again."""
    async with LLMServer(embedding=lambda text: [3.0, 4.0, float(len(text))]) as server:
        assert await embed(server, "a", "bc", encoding_format="float") == [[3, 4, 1], [3, 4, 2]]
        assert await embed(server, "a", encoding_format="float", dimensions=2) == [[0.6, 0.8]]


async def test_a_function_that_fails_fails_the_test() -> None:
    """What the function raises is answered with status 500 and raised again when the server ends."""

    def embedding(text: str) -> list[float]:
        raise KeyError("planned")

    with pytest.raises(KeyError, match="planned"):
        async with LLMServer(embedding=embedding) as server:
            with pytest.raises(openai.InternalServerError, match="planned"):
                await embed(server, "a")


async def test_tokens_are_texts_too() -> None:
    """Inputs that are lists of tokens get vectors like texts, and what was given is counted."""
    async with LLMServer() as server, openai_client(server) as client:
        one = await client.embeddings.create(model="m", input=[1, 2, 3])
        two = await client.embeddings.create(model="m", input=[[1, 2, 3], [4]])
    assert [item.embedding for item in one.data] == [two.data[0].embedding]
    assert (one.usage.prompt_tokens, two.usage.total_tokens) == (3, 4)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"input": []}, "input' is invalid"),
        ({"input": ["a", ""]}, "input' is invalid"),
        ({"input": ["a", {}]}, "input' is invalid"),
        ({"input": ["a"] * 2049}, "input' is invalid"),
        ({"input": "a", "dimensions": 0}, "Expected a value >= 1"),
        ({"input": "a", "dimensions": "8"}, "'dimensions': expected an integer"),
        ({"input": "a", "encoding_format": "hex"}, "Supported values are: 'float', and 'base64'"),
        ({}, "Missing required parameter: 'input'"),
        ({"input": "a", "model": None}, "Missing required parameter: 'model'"),
    ],
)
async def test_what_openai_refuses_is_refused(request_: dict[str, Any], message: str) -> None:
    """A request that the API would refuse is answered with status 400."""
    async with LLMServer() as server, openai_client(server) as client:
        with pytest.raises(openai.BadRequestError, match=message):
            await client.post("/embeddings", cast_to=object, body={"model": "m", **request_})


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("status", openai.InternalServerError),
        ("close_before_headers", openai.APIConnectionError),
        ("hang_before_headers", openai.APITimeoutError),
        ("cut", openai.APIConnectionError),
        ("reset", openai.APIConnectionError),
        ("silence", openai.APITimeoutError),
        ("comments_only", openai.APITimeoutError),
        ("clean_eof", json.JSONDecodeError),
        ("malformed_json", json.JSONDecodeError),
        ("error_event", ValueError),
        ("no_content", ValueError),
    ],
)
async def test_embeddings_break_as_other_answers_do(fault: FaultKind, error: type[Exception]) -> None:
    """Each fault that an answer in one piece can have is one of embeddings too, as the error that the SDK makes of it."""
    patience = 0.2 if error is openai.APITimeoutError else 15
    async with LLMServer(fault=Fault(fault)) as server, openai_client(server, timeout=patience) as client:
        with pytest.raises(error):
            await client.embeddings.create(model="m", input="a")


@pytest.mark.parametrize("fault", ["crlf_and_comments", "split_bytes", "finish_length", "null_content", "missing_role"])
async def test_what_embeddings_do_not_have_changes_nothing(fault: FaultKind) -> None:
    """A fault of a stream or of a message leaves embeddings as they are."""
    async with LLMServer(fault=fault) as server:
        assert await embed(server, "a", dimensions=4, encoding_format="float") == [list(vector_of_words("a", 4))]


@given(text=st.text(), dimensions=st.integers(1, 40))
def test_every_text_has_a_vector_of_length_one(text: str, dimensions: int) -> None:
    """Whatever a text is made of, its vector has the length 1 and as many figures as were asked for."""
    vector = vector_of_words(text, dimensions)
    assert len(vector) == dimensions
    assert math.hypot(*vector) == pytest.approx(1)
