"""How long an epoch takes, from a few steps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hwnas.train import timing


def steps(clock: list[float], seconds: list[float]) -> Iterator[None]:
    for second in seconds:
        clock[0] += second
        yield None


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [([9, 5, 1, 2, 1, 2, 1, 2, 50, 50], 1.5), ([9, 5, 2, 4], 3.0), ([9, 5], 5.0), ([9], 9.0)],
)
def test_the_first_steps_are_not_counted(
    seconds: list[float], expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(timing.time, "monotonic", lambda: clock[0])
    assert timing.mean_step_s(steps(clock, seconds)) == expected
