"""When a candidate makes way for a faster one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from hwnas.devices.verdict import State, Verdict
from hwnas.run.measured_check import faster


def swapped_ms(state: State, *, judged_ms: float, at_most_ms: float | None, fast_ms: float) -> float | None:
    """The prediction asked for in place of a network of 1 ms under a budget of 1.02 ms; None where it stays."""
    model = SimpleNamespace(predict_ms=lambda _: 1.0, smallest_ms=0.5)
    run: Any = SimpleNamespace(
        model=model,
        budget_ms=1.02,
        feasible_set=lambda target_ms: target_ms,
    )
    verdict = Verdict(judged_ms, 2.0, (None, at_most_ms), 4, 0.9, judged_ms, state, fast_ms=fast_ms)
    return cast(
        float | None, faster(run, cast(Any, SimpleNamespace(within=lambda target_ms: target_ms)), (0,), verdict)
    )


@pytest.mark.parametrize("fast_ms", [1.0, 1.019, 1.11, 1.5])
def test_noise_alone_swaps_nothing(fast_ms: float) -> None:
    """Either some rounds were fast enough, or all were so slow that other work must have slowed them."""
    assert swapped_ms("unstable", judged_ms=1.6, at_most_ms=1.9, fast_ms=fast_ms) is None


def test_a_network_of_which_few_rounds_are_fast_enough_makes_way_though_little_was_undisturbed() -> None:
    found = swapped_ms("unstable", judged_ms=1.06, at_most_ms=1.3, fast_ms=1.03)
    assert found == pytest.approx(1.02 / 1.06 * 0.995)
    noisy = swapped_ms("unstable", judged_ms=1.6, at_most_ms=1.9, fast_ms=1.03)
    assert noisy == pytest.approx(1.02 / (1.1 * 1.03) * 0.995)


def test_one_that_missed_makes_way_for_what_its_bound_asks() -> None:
    assert swapped_ms("missed", judged_ms=1.05, at_most_ms=1.07, fast_ms=1.03) == pytest.approx(1.02 / 1.07 * 0.995)
    assert swapped_ms("met", judged_ms=1.0, at_most_ms=1.01, fast_ms=0.99) is None
