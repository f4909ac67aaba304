"""Budgets and shares: what is read, and what is refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from hwnas.config import Budget, Configuration, parse_budgets
from hwnas.errors import InputError


@given(st.integers(1, 10**9 - 1), st.integers(0, 10**6 - 1), st.sampled_from(["{}.{:06d}", " {}.{:06d}  "]))
def test_milliseconds_are_read_as_written(whole: int, rest: int, model_format: str) -> None:
    text = model_format.format(whole, rest)
    assert Budget.parse(text) == Budget(float(text), relative=False)


@given(st.integers(1, 100_000_000))
def test_shares_are_read_as_written(millionths: int) -> None:
    assert Budget.parse(f"{millionths / 1e6:.6f}%") == Budget(float(f"{millionths / 1e6:.6f}"), relative=True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "0",
        "0.0",
        "-1",
        "0%",
        "100.1%",
        "200%",
        "%",
        "50 % x",
        "ten",
        "1e3",
        "inf",
        "nan",
        "1_000",
        "１２",
        "1,5",
        "--5",
        "+5",
        "0x10",
        "5ms",
        "9" * 5000,
        "1." + "1" * 5000,
        "5%%",
        "\x00",
        "1\n2",
        ".",
        "5.",
    ],
)
def test_what_is_no_budget_is_refused_with_examples(text: str) -> None:
    with pytest.raises(InputError) as caught:
        Budget.parse(text)
    assert "--budget-ms" in caught.value.hint


@given(st.text(max_size=30))
def test_any_text_is_a_budget_or_refused(text: str) -> None:
    try:
        budget = Budget.parse(text)
    except InputError:
        return
    assert 0 < budget.value < 1e10
    assert not budget.relative or budget.value <= 100


def test_a_share_lies_between_the_fastest_and_the_slowest_network() -> None:
    model = SimpleNamespace(smallest_ms=2.0, largest_ms=9.0)
    assert Budget.parse("7.5").ms(model) == 7.5
    assert Budget.parse("100%").ms(model) == pytest.approx(model.largest_ms)
    assert Budget.parse("50%").ms(model) == pytest.approx((model.smallest_ms + model.largest_ms) / 2)
    assert Budget.parse("0.000001%").ms(model) == pytest.approx(model.smallest_ms)


@pytest.mark.parametrize(
    ("value", "kept"),
    [(20, "20"), (0.5, "0.5"), (2.50, "2.5"), (" 50% ", "50%"), ("20,5, 10", "5,10,20"), ("50%,20.50%", "20.5%,50%")],
)
def test_a_configuration_keeps_budgets_as_text(value: Any, kept: str) -> None:
    config = Configuration.model_validate({"target": {"budget": value}})
    assert config.target.budget == kept
    assert config.budgets == parse_budgets(str(value))
    assert config.budgets is config.budgets


@pytest.mark.parametrize(
    "value",
    [True, None, [], {}, 0, -1, 1e10, 1e400, float("nan"), 10**5000, "5,,10", "5,50%"],
    ids=lambda value: type(value).__name__,
)
def test_other_values_are_refused(value: Any) -> None:
    with pytest.raises(InputError, match="budget"):
        Configuration.model_validate({"target": {"budget": value}})


@pytest.mark.parametrize("value", ["", "0", "0%", "10%", "0.1", ".5", "100%", 1, 0, 0.25])
def test_shares_are_read(value: Any) -> None:
    share = Configuration.model_validate({"target": {"budget": 1}, "search": {"share": value}}).search.share
    expected = {"": None, "10%": 0.1, "100%": 1.0, "0%": 0.0}
    assert share == (expected[value] if value in expected else float(value))


@pytest.mark.parametrize(
    "value",
    ["2", "101%", "-0.1", "some", "nan", "1e-1", 2, -1, True, float("nan"), [], 10**5000],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_share_is_refused(value: Any) -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        Configuration.model_validate({"target": {"budget": 1}, "search": {"share": value}})


def test_lists_of_budgets() -> None:
    assert parse_budgets("20, 5,10") == (Budget(5.0, False), Budget(10.0, False), Budget(20.0, False))
    assert [budget.folder for budget in parse_budgets("50%,20.5%")] == ["20.5pct", "50pct"]
    assert parse_budgets("7") == (Budget.parse("7"),)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("5,10,5.0", "all different, but 5 ms comes twice"),
        ("5,50%", "all in milliseconds or all shares"),
        ("5,,10", "not ''"),
        ("5,fast", "not 'fast'"),
        ("5,120%", "not '120%'"),
    ],
)
def test_lists_that_are_refused(text: str, rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        parse_budgets(text)
