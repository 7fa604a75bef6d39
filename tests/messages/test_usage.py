"""`Usage`: a value that adds up."""

import copy
import decimal
import pickle
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniagents import Usage
from miniagents.messages.usage import record_usage

counts = st.integers(0, 10**9)
# Prices of tokens have about ten digits behind the point.
costs = st.none() | st.integers(0, 10**12).map(lambda units: Decimal(units).scaleb(-10))


@st.composite
def plain_usages(draw: Any) -> Usage:
    return Usage(
        calls=draw(counts),
        input_tokens=draw(counts),
        output_tokens=draw(counts),
        cached_input_tokens=draw(counts),
        cost=draw(costs),
        unpriced_calls=draw(counts),
    )


usages = st.builds(
    lambda usage, models: usage + Usage(by_model=models),
    plain_usages(),
    st.dictionaries(st.sampled_from("abc"), plain_usages()),
)


@given(usages, usages, usages)
def test_usages_add_up_in_any_order(a: Usage, b: Usage, c: Usage) -> None:
    """Each figure of a sum is the sum of the figures, also for each model, in whatever order they are added."""
    total = a + b + c
    for name in ("calls", "input_tokens", "output_tokens", "cached_input_tokens", "unpriced_calls", "tokens"):
        assert getattr(total, name) == sum(getattr(one, name) for one in (a, b, c))
    known = [one.cost for one in (a, b, c) if one.cost is not None]
    assert total.cost == (sum(known) if known else None)
    assert set(total.by_model) == {*a.by_model, *b.by_model, *c.by_model}
    for model, usage in total.by_model.items():
        assert usage.calls == sum(one.by_model[model].calls for one in (a, b, c) if model in one.by_model)
    assert total == c + (b + a)
    assert hash(total) == hash(c + (b + a))


def test_cents_are_exact_whatever_the_program_rounds_to() -> None:
    """A cost is kept as it is written, and a decimal context of the program changes no sum."""
    with decimal.localcontext(prec=2):
        total = sum([Usage(cost=0.1)] * 3 + [Usage(cost=100)] + [Usage(cost=Decimal("0.0000001"))], Usage())
    assert total.cost == Decimal("100.3000001")


@pytest.mark.parametrize(
    ("given", "unpriced"),
    [
        ({"calls": 3}, 3),
        ({"calls": 3, "cost": 0}, 0),
        ({"output_tokens": 5}, 1),
        ({"input_tokens": 5, "cost": 0.5}, 0),
        ({"calls": 3, "cost": 0.5, "unpriced_calls": 1}, 1),
        ({}, 0),
    ],
)
def test_what_has_no_known_price_is_counted(given: dict[str, Any], unpriced: int) -> None:
    """A call without a cost is one of unknown price, and so are tokens that come after their call was recorded."""
    assert Usage(**given).unpriced_calls == unpriced


def test_a_usage_can_be_read() -> None:
    """As text it says everything in words, and its `repr` is Python that gives it back."""
    usage = Usage(calls=2, input_tokens=1250, cached_input_tokens=1000, output_tokens=1, cost=0.0040, unpriced_calls=1)
    assert str(usage) == (
        "2 calls, 1,250 input tokens (1,000 of them cached), 1 output token, $0.004 (and 1 call of unknown price)"
    )
    assert str(Usage(calls=1)) == "1 call, 0 input tokens, 0 output tokens, 1 call of unknown price"
    assert str(Usage(cost=20)) == "0 calls, 0 input tokens, 0 output tokens, $20"
    assert str(Usage()) == "0 calls, 0 input tokens, 0 output tokens"
    both = usage + Usage(by_model={"m": usage})
    assert repr(usage).startswith("Usage(calls=2, input_tokens=1250")
    assert eval(repr(both), {"Usage": Usage, "Decimal": Decimal}) == both
    assert repr(Usage()) == "Usage()"


def test_a_usage_never_changes_and_travels() -> None:
    """Nothing of it can be set, not even among its models, and copies and pickles are equal to it."""
    given = {"m": Usage(calls=1)}
    usage = Usage(calls=1, cost=0.5, by_model=given)
    given["n"] = Usage()
    assert list(usage.by_model) == ["m"]
    with pytest.raises(AttributeError):
        usage.calls = 2  # type: ignore[misc]
    with pytest.raises(TypeError):
        usage.by_model["x"] = Usage()  # type: ignore[index]
    assert pickle.loads(pickle.dumps(usage)) == copy.deepcopy(usage) == copy.copy(usage) == usage


@pytest.mark.parametrize("name", ["calls", "input_tokens", "output_tokens", "cached_input_tokens", "unpriced_calls"])
def test_a_count_is_a_whole_number_from_zero(name: str) -> None:
    """Anything else is refused at once, with the name of the figure."""
    for wrong in (1.5, True, "1"):
        with pytest.raises(TypeError, match=f"`{name}`.*whole number"):
            Usage(**{name: wrong})
    with pytest.raises(ValueError, match=f"`{name}`.*negative"):
        Usage(**{name: -1})


def test_a_cost_is_a_number_of_dollars() -> None:
    """What is no number is a `TypeError`, what is negative, infinite or not a number a `ValueError`."""
    for wrong in ("1", True, 1j):
        with pytest.raises(TypeError, match="US dollars"):
            Usage(cost=wrong)  # type: ignore[arg-type]
    for odd in (-0.01, float("nan"), float("inf"), Decimal("NaN")):
        with pytest.raises(ValueError, match="US dollars"):
            Usage(cost=odd)
    with pytest.raises(TypeError):
        Usage() + 1  # type: ignore[operator]


def test_only_a_usage_is_recorded() -> None:
    """Anything else is a `TypeError` that says what to write; a usage that nobody has started counts for nobody."""
    with pytest.raises(TypeError, match=r"Usage\(calls=1\).*not int"):
        record_usage(5)  # type: ignore[arg-type]
    record_usage(Usage(calls=1))
