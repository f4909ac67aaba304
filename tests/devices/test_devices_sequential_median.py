"""The sequential bound of a median, against all sequences of signs and against simulated values."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwnas.devices.sequential_median import enough, lower_bound, upper_bound
from hwnas.errors import InputError


def test_the_error_over_all_sequences_is_at_most_5_percent_and_cannot_be_spent_further() -> None:
    """Brute force: each of the 2^12 sequences of signs is as likely as any other where the median is the limit."""
    needed = enough(12)
    assert dict(needed) == {5: 5, 9: 8, 12: 10}
    crossed = sum(
        any(sum(signs[:n]) >= count for n, count in needed.items()) for signs in itertools.product((0, 1), repeat=12)
    )
    assert 0.04 < crossed / 2**12 <= 0.05


@given(st.lists(st.floats(0.1, 10), min_size=5, max_size=12, unique=True), st.floats(0.1, 10))
def test_bounds_and_the_test_decide_alike(values: list[float], limit: float) -> None:
    below = [value <= limit for value in values]
    decided = any(sum(below[:n]) >= count for n, count in enough(12).items() if n <= len(values))
    assert (upper_bound(values, 12) <= limit) is decided
    assert lower_bound(values, 12) <= upper_bound(values, 12)
    first = values[:5]  # what comes later may lie anywhere, and bounds never go back
    assert lower_bound(first, 12) <= sorted(first)[2] <= upper_bound(first, 12)


@pytest.mark.parametrize("spread", ["normal", "lognormal", "exponential"])
def test_the_true_median_is_within_each_bound_in_95_of_100(spread: str) -> None:
    rng = np.random.default_rng(7)
    draws = {
        "normal": rng.normal(0, 1, (4000, 12)),
        "lognormal": rng.lognormal(0, 1, (4000, 12)) - 1,
        "exponential": rng.exponential(1, (4000, 12)) - math.log(2),
    }[spread]
    assert np.mean([upper_bound(own, 12) >= 0 for own in draws.tolist()]) >= 0.945
    assert np.mean([lower_bound(own, 12) <= 0 for own in draws.tolist()]) >= 0.945


def test_few_values_bound_nothing() -> None:
    assert (upper_bound([1.0] * 4), lower_bound([1.0] * 4)) == (math.inf, -math.inf)
    with pytest.raises(InputError, match="95% with 4 values"):
        enough(4)
