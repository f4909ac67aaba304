from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwnas.data import Images, split
from hwnas.data.dataset import assemble
from hwnas.errors import DataError


def numbered(counts: list[int]) -> Images:
    """Image i has the bytes of the number i, so that it can be recognised after a split."""
    n = sum(counts)
    pixels = np.arange(n, dtype="<u4").view(np.uint8).reshape(n, 1, 2, 2).copy()
    return Images(pixels, np.repeat(np.arange(len(counts)), counts).astype(np.int64))


def numbers(images: Images) -> list[int]:
    return images.pixels.reshape(-1).view("<u4").tolist()


@given(st.lists(st.integers(3, 40), min_size=2, max_size=6), st.integers(0, 2**31))
def test_split_is_a_stratified_partition(counts: list[int], seed: int) -> None:
    whole = numbered(counts)
    parts = split(whole, seed=seed)
    assert sorted(n for part in parts for n in numbers(part)) == list(range(len(whole)))
    for part, fraction in zip(parts, (0.7, 0.15, 0.15), strict=True):
        assert part.labels.tolist() == whole.labels[numbers(part)].tolist()
        per_class = np.bincount(part.labels, minlength=len(counts))
        assert per_class.min() >= 1
        assert np.all(np.abs(per_class - np.array(counts) * fraction) <= 1.5)


@given(st.integers(3, 12), st.floats(0.01, 0.49), st.floats(0.01, 0.49))
def test_every_split_has_an_image_whatever_the_fractions(n: int, val: float, test: float) -> None:
    parts = split(numbered([n, n]), (1 - val - test, val, test), seed=0)
    assert all(np.bincount(part.labels, minlength=2).min() >= 1 for part in parts)


def test_split_depends_on_the_seed_alone() -> None:
    whole = numbered([20, 30])
    first, again, other = (split(whole, seed=seed)[2] for seed in (1, 1, 2))
    assert numbers(first) == numbers(again) != numbers(other)


def test_split_refuses_small_classes_and_odd_fractions() -> None:
    with pytest.raises(DataError, match="class 1 has 2"):
        split(numbered([5, 2]), seed=0)
    with pytest.raises(DataError, match="add up to 1"):
        split(numbered([5, 5]), (0.7, 0.2, 0.2), seed=0)
    with pytest.raises(DataError, match="shape"):
        Images(np.zeros((2, 3, 4, 4), np.uint8), np.zeros(3, np.int64))


def test_class_weights() -> None:
    even = assemble("even", "abc", numbered([20, 20, 20]), seed=0, flip=False)
    assert even.class_weights() == (1.0, 1.0, 1.0)
    uneven = assemble("uneven", "ab", numbered([10, 40]), seed=0, flip=False)
    weights, counts = np.array(uneven.class_weights()), np.bincount(uneven.train.labels)
    assert weights @ counts == pytest.approx(len(uneven.train))
    assert weights[0] / weights[1] == pytest.approx(counts[1] / counts[0])


def test_mean_and_deviation_are_those_of_the_train_pixels() -> None:
    rng = np.random.default_rng(0)
    images = Images(rng.integers(0, 256, (40, 3, 5, 5), dtype=np.uint8), np.arange(40) % 2)
    dataset = assemble("noise", "ab", images, seed=3, flip=True)
    scaled = dataset.train.pixels.astype(np.float64) / 255
    np.testing.assert_allclose(dataset.mean, scaled.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(dataset.std, scaled.std((0, 2, 3)), rtol=1e-12)
    assert (dataset.channels, dataset.resolution) == (3, 5)


def test_constant_images_have_a_deviation_that_can_divide() -> None:
    images = Images(np.full((6, 1, 2, 2), 7, np.uint8), np.arange(6) % 2)
    assert assemble("flat", "ab", images, seed=0, flip=False).std == (1 / 255,)
