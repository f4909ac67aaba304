from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hwnas.data import class_names, load_dataset, native_shape
from hwnas.errors import InputError
from hwnas.image_size import Size


def test_digits_at_native_size_are_the_originals() -> None:
    from sklearn.datasets import load_digits

    dataset = load_dataset("digits", resolution=8, seed=0)
    originals = np.round(load_digits().images * 255 / 16).astype(np.uint8)
    loaded = np.concatenate([part.pixels for part in (dataset.train, dataset.val, dataset.test)])[:, 0]
    assert sorted(image.tobytes() for image in loaded) == sorted(image.tobytes() for image in originals)
    assert len(dataset.test) == pytest.approx(0.15 * 1797, abs=5)
    assert not dataset.flip


def test_digits_resized_keep_their_brightness_and_shape() -> None:
    small, large = (load_dataset("digits", resolution=r, seed=0) for r in (8, 32))
    assert large.train.pixels.shape == (len(small.train), 1, 32, 32)
    assert np.array_equal(small.train.labels, large.train.labels)
    pooled = large.train.pixels.reshape(-1, 8, 4, 8, 4).mean((2, 4))
    assert np.corrcoef(pooled.ravel(), small.train.pixels.ravel())[0, 1] > 0.97


def test_digits_are_described_without_loading() -> None:
    assert native_shape("digits") == (1, Size.square(8))
    assert class_names("digits") == tuple("0123456789") == load_dataset("digits", resolution=8, seed=0).classes


@pytest.mark.parametrize("source", ["mnits", "no/such/folder", "a\0b", "x" * 5000])
def test_unknown_sources_are_refused_with_the_accepted_ones(source: str) -> None:
    for probe in (class_names, native_shape, lambda s: load_dataset(s, resolution=8, seed=0)):
        with pytest.raises(InputError, match="neither a built-in data set nor a folder") as caught:
            probe(source)
        assert "'digits'" in caught.value.hint


def test_resolution_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="from 1 to 2048, not 0"):
        load_dataset(str(tmp_path), resolution=0, seed=0)
