"""Train images are mirrored unless that makes one class of another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_files import noise
from hypothesis import given, settings
from hypothesis import strategies as st
from photo_files import draw, save
from PIL import Image, ImageDraw

from hwnas.data import ReadOptions, load_dataset, survey
from hwnas.data.mirror import mirror_loss, mirror_names, mirroring


def arrows(root: Path, names: tuple[str, str], *, count: int = 60, size: int = 40) -> Path:
    """Arrows to the left and to the right, at random places."""
    rng = np.random.default_rng(0)
    for number in range(2 * count):
        image = Image.fromarray(rng.integers(0, 60, (size, size, 3), dtype=np.uint8))
        x, y = rng.integers(6, 12), rng.integers(14, 26)
        brush = ImageDraw.Draw(image)
        brush.line([(x, y), (x + 20, y)], fill="white", width=3)
        brush.polygon([(x + 20, y - 7), (x + 20, y + 7), (x + 27, y)], fill="white")
        label = number % 2
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if label else image
        save(root / names[label] / f"{number}.png", image)
    return root


def test_arrows_are_noticed_by_a_probe(tmp_path: Path) -> None:
    root = arrows(tmp_path / "set", ("a", "b"))
    assert not load_dataset(str(root), resolution=16, seed=0).flip
    found = survey(str(root), seed=0)
    assert found is not None
    assert not found.mirroring.flip
    assert found.lines()["mirrored"].startswith("no: a probe of small grey images is right on 100% without mirrored ")
    assert load_dataset(str(root), resolution=16, seed=0, options=ReadOptions(flip="on")).flip


def test_the_user_has_the_last_word(tmp_path: Path) -> None:
    root = draw(tmp_path / "set", {"left": 6, "right": 6})
    for flip, expected in (("auto", False), ("on", True), ("off", False)):
        options = ReadOptions(flip=flip)
        assert load_dataset(str(root), resolution=16, seed=0, options=options).flip is expected
        found = survey(str(root), seed=0, options=options)
        assert found is not None
        assert found.mirroring.flip is expected
    assert load_dataset("digits", resolution=8, seed=0, options=ReadOptions(flip="on")).flip
    np.savez(tmp_path / "set.npz", x=noise(30, 8, 8, 3), y=np.arange(30) % 2)
    assert not load_dataset(str(tmp_path / "set.npz"), resolution=8, seed=0, options=ReadOptions(flip="off")).flip


@pytest.mark.parametrize(
    ("classes", "pair"),
    [
        (("left", "right"), ("left", "right")),
        (("turn_LEFT", "straight", "Turn Right"), ("turn_LEFT", "Turn Right")),
        (("b", "c", "d"), ("b", "d")),
        (("clockwise", "counterclockwise"), ("clockwise", "counterclockwise")),
        (("left", "wrong"), None),
        (("bright", "cleft"), None),
        (("left hand", "right foot"), None),
        (("cat", "dog"), None),
    ],
)
def test_names_that_are_mirror_images(classes: tuple[str, ...], pair: tuple[str, str] | None) -> None:
    assert mirror_names(classes) == pair


@settings(derandomize=True, max_examples=30)
@given(st.integers(0, 2**31))
def test_images_without_a_side_are_mirrored(seed: int) -> None:
    """Blobs anywhere, of two sizes: mirroring costs nothing, and chance alone must not look like a loss."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, 120)
    grid = np.mgrid[0:16, 0:16]
    centres, radii = rng.uniform(4, 12, (120, 2)), 1.5 + 2 * y
    distance = np.hypot(grid[0] - centres[:, :1, None], grid[1] - centres[:, 1:, None])
    x = np.clip(255 * (distance < radii[:, None, None]) + rng.normal(0, 20, (120, 16, 16)), 0, 255).astype(np.uint8)
    assert mirroring("auto", ("a", "b"), x, y).flip


def test_a_few_images_tell_nothing() -> None:
    x, y = noise(15, 16, 16), np.arange(15) % 2
    assert mirror_loss(x, y) is None
    assert mirroring("auto", ("a", "b"), x, y).flip
    assert not mirroring("auto", ("a", "b"), x, y, channels=1).flip
