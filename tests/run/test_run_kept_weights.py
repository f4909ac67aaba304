"""Which weights a network keeps: few validation images must prove that a training made it worse."""

from __future__ import annotations

import numpy as np
import pytest

from hwnas.run.kept_weights import Judged, made_worse

NAN = float("nan")
RIGHT = (0.0, 0.0)


def judged(score: float, losses: tuple[float, ...], mistakes: tuple[float, ...] = RIGHT) -> Judged:
    return Judged(score, np.array(losses), np.array(mistakes))


@pytest.mark.parametrize(
    ("after", "worse"),
    [
        (judged(0.4, (0.7, 0.8)), True),
        (judged(0.7, (0.7, 0.8)), False),  # as less confidence alone may tell
        (judged(0.6, (0.7, 0.8)), False),
        (judged(0.4, (0.2, 0.4)), False),
        (judged(0.4, (0.5, 0.4)), False),  # by one image of two
        (judged(0.4, (0.2, 0.4), (1.0, 1.0)), True),  # more confidence, and more mistakes
        (judged(0.4, (NAN, 0.4)), True),
    ],
)
def test_losses_or_mistakes_prove_a_training_worse_where_the_metric_agrees(after: Judged, worse: bool) -> None:
    assert made_worse(judged(0.6, (0.3, 0.5)), after) is worse


def test_chance_seldom_keeps_a_start_that_is_no_better() -> None:
    """Of trainings that gain nothing, half are less accurate on 214 images, and few by more than an error."""
    rng = np.random.default_rng(0)
    kept = []
    for _ in range(2000):
        losses = rng.exponential(0.6, (2, 214))
        mistakes = (losses > np.log(2)).astype(np.float64)
        kept.append(made_worse(*(Judged(1 - m.mean(), own, m) for own, m in zip(losses, mistakes, strict=True))))
    assert 0.1 < np.mean(kept) < 0.25
