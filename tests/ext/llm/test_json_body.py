"""Bodies of requests: the JSON that the standard library writes, without holding the event loop."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniagents.ext.llm import _json_body
from miniagents.ext.llm._json_body import json_of
from miniagents.testing import run_virtual

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(TEXT | st.integers() | st.none(), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(VALUES, st.integers(1, 8))
def test_it_is_the_json_of_the_value(value: Any, at_once: int) -> None:
    """Wherever texts are cut, what is written is what `json` writes in one go."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_json_body, "_AT_ONCE", at_once)
        written = run_virtual(json_of(value))
    assert written == json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    "value", [{"file": "QUJD" * 1_000_000}, {"texts": ["word"] * 20_000}], ids=["a long text", "many short ones"]
)
async def test_others_run_while_a_long_body_is_written(value: Any) -> None:
    """Other tasks have their turn again and again while megabytes are written."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    written = await json_of(value)
    task.cancel()
    assert json.loads(written) == value
    assert turns >= 15


@pytest.mark.parametrize("bad", [{"a": object()}, [float("nan")], {(1, 2): 3}, b"x"], ids=repr)
async def test_what_is_no_json_is_refused(bad: Any) -> None:
    """It raises what `json` raises."""
    with pytest.raises((TypeError, ValueError)):
        await json_of(bad)


async def test_a_value_that_holds_itself_is_refused() -> None:
    """There is an error, and no endless text."""
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises((RecursionError, ValueError)):
        await json_of(circle)
