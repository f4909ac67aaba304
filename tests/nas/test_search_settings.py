from __future__ import annotations

import math

import pytest

from hwnas.nas.search_settings import SearchSettings


@pytest.mark.parametrize("images", [1, 100, 1257, 4500, 45_000, 1_200_000])
def test_alpha_can_move_as_far_in_a_long_search_as_in_a_short_one(images: int) -> None:
    settings = SearchSettings.for_images(images)
    steps = max(1, images // settings.batch_size)
    arch_steps = settings.epochs * math.ceil(steps / settings.arch_every)
    rate = settings.arch_rate(steps)
    assert rate <= settings.arch_lr
    assert rate * arch_steps <= settings.arch_travel * (1 + 1e-9)
    assert rate == settings.arch_lr or rate * arch_steps == pytest.approx(settings.arch_travel)


def test_the_rate_that_the_digits_were_tuned_for_is_theirs() -> None:
    settings = SearchSettings.for_images(1257)
    assert settings.arch_rate(1257 // settings.batch_size) == pytest.approx(0.05, rel=0.1)
