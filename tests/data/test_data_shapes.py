"""The drawn silhouettes: equal bytes everywhere, classes that pixel statistics do not tell, and the whole data set."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from PIL import Image, ImageDraw

from hwnas.data import class_names, load_dataset, native_shape, shapes, silhouettes, survey
from hwnas.data.scenes import SIZE, Chance, pictures
from hwnas.data.silhouettes import CELLS, NAMES, SIDE, STEPS, distance_maps
from hwnas.image_size import Size

LABELS = np.arange(400) % len(NAMES)


@pytest.fixture(scope="module")
def drawn() -> np.ndarray:
    return pictures(LABELS, seed=0)


def test_pictures_have_the_bytes_that_they_had_on_other_machines(drawn: np.ndarray) -> None:
    assert hashlib.sha256(distance_maps().astype("<i4").tobytes()).hexdigest()[:16] == "13ed37fcc4f6e16e"
    assert hashlib.sha256(drawn[:20].tobytes()).hexdigest()[:16] == "3576bf268088c337"


def test_a_picture_does_not_depend_on_those_beside_it(drawn: np.ndarray) -> None:
    assert np.array_equal(pictures(LABELS[70:73], seed=0, first=70), drawn[70:73])
    assert not np.array_equal(pictures(LABELS[70:73], seed=1, first=70), drawn[70:73])


def test_chance_is_splitmix64() -> None:
    """Against the arithmetic of Python's whole numbers."""

    def mixed(state: int) -> int:
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
        return state ^ (state >> 31)

    assert mixed(0) == 0xE220A8397B1DCDAF  # the first number of the reference implementation with a seed of 0
    chance = Chance(7, np.array([5], np.uint64))
    expected = mixed(mixed(mixed(mixed(7) + 5) + 1))
    assert chance.bits(1).item() == expected
    many = Chance(0, np.arange(30_000, dtype=np.uint64)).within(-2, 3)
    assert np.bincount(many + 2).tolist() == pytest.approx([5000] * 6, abs=400)


def test_silhouettes_are_their_outlines_and_equally_large() -> None:
    """Against Pillow's polygons; an area of 2 square units is 3,200 cells."""
    inside = distance_maps()[: len(NAMES)] < 0
    assert inside.sum(axis=(1, 2)).tolist() == pytest.approx([2 * CELLS**2] * len(NAMES), rel=0.03)
    for name, corners in silhouettes._ANGULAR.items():
        points = np.array(corners, float)
        x, y = points.T
        area = abs(np.dot(x, np.roll(y, -1)) - np.dot(np.roll(x, -1), y)) / 2
        points = (points - (points.max(0) + points.min(0)) / 2) * np.sqrt(2 / area) * CELLS + (SIDE - 1) / 2
        image = Image.new("1", (SIDE, SIDE))
        ImageDraw.Draw(image).polygon([tuple(point) for point in points.tolist()], fill=1)
        ours = distance_maps()[NAMES.index(name)]
        clear = np.abs(ours) > STEPS // CELLS * 2  # more than two cells from the edge
        assert np.array_equal(np.array(image)[clear], (ours < 0)[clear])


def test_statistics_of_pixels_do_not_tell_the_class(drawn: np.ndarray) -> None:
    """The nearest class mean of sorted grey levels, of colours and of edges is right about as often as chance."""
    grey = drawn.mean(axis=1)
    edges = np.abs(np.diff(grey, axis=2)).mean((1, 2))
    sorted_levels = np.sort(grey.reshape(len(grey), -1), axis=1)[:, ::64]
    facts = np.column_stack([sorted_levels, drawn.mean((2, 3)), drawn.std((2, 3)), edges])
    facts = (facts - facts.mean(0)) / facts.std(0)
    train, test = slice(0, 200), slice(200, None)
    means = np.stack([facts[train][LABELS[train] == one].mean(0) for one in range(len(NAMES))])
    nearest = ((facts[test][:, None] - means) ** 2).sum(2).argmin(1)
    assert np.mean(nearest == LABELS[test]) < 0.2  # chance is .1, its standard error .02


def test_the_data_set_has_its_parts_at_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shapes.COUNTS == (6000, 1000, 2000)
    monkeypatch.setattr(shapes, "COUNTS", (60, 20, 30))
    shapes._drawn.cache_clear()
    try:
        whole = load_dataset("shapes", resolution=SIZE, seed=0)
        small = load_dataset("shapes", resolution="24x32", seed=1)
    finally:
        shapes._drawn.cache_clear()
    assert [len(part) for part in (whole.train, whole.val, whole.test)] == [60, 20, 30]
    assert np.array_equal(whole.val.pixels, pictures(np.arange(20) % 10, seed=0, first=60))
    assert small.train.shape == (60, 3, 24, 32)
    assert np.array_equal(small.test.labels, whole.test.labels)
    assert np.bincount(whole.train.labels).tolist() == [6] * 10
    assert whole.flip
    assert whole.classes == class_names("shapes") == NAMES
    assert native_shape("shapes") == (3, Size.square(SIZE))
    assert survey("shapes", seed=0) is None
