"""Arrays in .npz files: what they become, and what is refused."""

from __future__ import annotations

import contextlib
import io
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import complaint, contents, cycle, everything, noise, pairs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from hwnas.data import class_names, load_dataset, native_shape
from hwnas.data.resize import fitted, room
from hwnas.errors import DataError
from hwnas.image_size import Size


class Planted:
    """Creates a file if it is ever unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def save(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(2, 4),
    st.integers(4, 9),
    st.sampled_from(["grey", "last", "first"]),
    st.sampled_from(["u1", "i8", "f2", "f4", "f8", "unit f4", "unit f8", "bool"]),
    st.sampled_from(["i8", "u1", "f4", "text", "bytes", "column"]),
    st.integers(0, 2**16),
)
def test_arrays_of_every_kind_come_back(
    tmp_path: Path, classes: int, side: int, layout: str, kind: str, labels: str, seed: int
) -> None:
    count = 5 * classes
    grey = layout == "grey"
    pixels = noise(count, 1 if grey else 3, side, side, seed=seed)  # channels first: what is expected
    if kind == "bool":
        pixels = np.where(pixels > 127, 255, 0).astype(np.uint8)
    x: Any = {"grey": pixels[:, 0], "first": pixels, "last": pixels.transpose(0, 2, 3, 1)}[layout]
    x = x > 127 if kind == "bool" else (x / 255).astype(kind[5:]) if "unit" in kind else x.astype(kind)
    y = cycle(count, classes)
    names = np.array([f"name {label}" for label in range(classes)])
    stored = {"text": names[y], "bytes": np.char.encode(names)[y], "column": y[:, None]}.get(labels)
    source = str(save(tmp_path / "set.npz", x=x, y=y.astype(labels) if stored is None else stored))
    dataset = load_dataset(source, resolution=side, seed=seed)
    assert everything(dataset) == pairs(pixels, y)
    assert dataset.classes == class_names(source) == tuple(names if "t" in labels else map(str, range(classes)))
    assert native_shape(source) == (dataset.channels, dataset.size) == (1 if grey else 3, Size.square(side))
    assert (dataset.flip, dataset.name) == (not grey, "set")


def test_an_official_split_stays_as_it_is(tmp_path: Path) -> None:
    x, y = {part: noise(60, 6, 6, seed=i) for i, part in enumerate(("train", "val", "test"))}, cycle(60, 3)
    arrays = {f"x_{part}": x[part] for part in x} | {f"y_{part}": y for part in x}
    whole = load_dataset(str(save(tmp_path / "a.npz", **arrays)), resolution=6, seed=0)
    for part in x:
        kept = getattr(whole, part)
        assert np.array_equal(kept.pixels[:, 0], x[part])
        assert np.array_equal(kept.labels, y)
    del arrays["x_val"], arrays["y_val"]
    source = str(save(tmp_path / "b.npz", **arrays))
    first, again, other = (load_dataset(source, resolution=6, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.test.pixels[:, 0], x["test"])
    assert contents(first.train, first.val) == pairs(x["train"], y)
    assert np.bincount(first.val.labels).tolist() == [2, 2, 2]
    assert contents(first.val) == contents(again.val) != contents(other.val)


def test_classes_are_named_and_indexed(tmp_path: Path) -> None:
    names = np.array(["cat", "ant", "bee"])
    x, y = noise(12, 5, 5), cycle(12, 3)
    for labels in (y, names[y]):
        dataset = load_dataset(str(save(tmp_path / "a.npz", x=x, y=labels, classes=names)), resolution=5, seed=0)
        assert dataset.classes == ("cat", "ant", "bee")
        assert everything(dataset) == pairs(x, y)
    assert class_names(str(save(tmp_path / "b.npz", x=x, y=y * 10 - 5.0))) == ("-5", "5", "15")


@pytest.mark.parametrize(
    ("train", "test", "factor"),
    [
        (np.uint8(1), np.float64(1), 1),
        (np.float32(1), np.float64(1), 1),
        (np.float32(1 / 255), np.float64(1 / 255), 255),
        (np.uint8(1), np.float64(0), 0),
    ],
)
def test_parts_of_one_scale_are_taken(tmp_path: Path, train: Any, test: Any, factor: int) -> None:
    x, y = noise(12, 4, 4), cycle(12, 2)
    source = save(tmp_path / "a.npz", x_train=x * train, y_train=y, x_test=x * test, y_test=y)
    dataset = load_dataset(str(source), resolution=4, seed=0)
    assert np.array_equal(dataset.test.pixels[:, 0], x * (factor > 0))
    assert contents(dataset.train, dataset.val) == pairs(x, y)
    floats = [one for one in (train, test) if not isinstance(one, np.uint8) and one > 0]
    assert dataset.reading.to_metadata() == ({"scale": "0..1" if factor == 255 else "0..255"} if floats else {})


@pytest.mark.parametrize("train", [noise(12, 6, 6), noise(12, 6, 6) / 1.0, noise(12, 6, 6) % 2])
def test_parts_of_different_scales_are_refused(tmp_path: Path, train: Any) -> None:
    train, y = train.copy(), cycle(12, 2)
    train[0, 0, 0] = 0
    source = save(tmp_path / "a.npz", x_train=train, y_train=y, x_test=(train > 0) / 2, y_test=y)
    found = complaint(source)
    assert f"x_train ({train.dtype}) goes from 0 to {train.max():g}" in found
    assert "x_test (float64) goes from 0 to 0.5" in found


@pytest.mark.parametrize(("height", "width", "resolution"), [(28, 28, 32), (40, 40, 16), (12, 20, 12), (30, 20, 31)])
def test_resizing_is_that_of_pillow(height: int, width: int, resolution: int) -> None:
    pixels = noise(3, 3, height, width)
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    for image, found in zip(pixels, fitted(pixels, resolution, "crop"), strict=True):
        middle = Image.fromarray(image.transpose(1, 2, 0)).crop((left, top, left + side, top + side))
        expected = np.asarray(middle.resize((resolution, resolution), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
        assert np.abs(found.astype(int) - expected).max() <= (0 if side == resolution else 1)


def test_resizing_in_batches_is_resizing_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = noise(7, 1, 9, 9)
    whole = fitted(pixels, 12, "crop")
    monkeypatch.setattr("hwnas.data.resize._BATCH_VALUES", 2 * 144)
    assert np.array_equal(fitted(pixels, 12, "crop"), whole)


def test_no_result_is_larger_than_the_limit() -> None:
    with pytest.raises(DataError, match=r"8 GiB, but 12 of 1 × 30000 × 30000 pixels take 10.1 GiB"):
        room(12, 1, Size.square(30000))


X, Y = noise(12, 6, 6), cycle(12, 3)
FLOATS = X / 255
COLOURS = noise(12, 6, 6, 3)


def with_value(value: float) -> Any:
    x = FLOATS.copy()
    x[3, 0, :2] = value
    x[5, 1, 1] = value
    return x


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X}, "lacks y; it has x"),
        ({"images": X, "labels": Y}, "lacks x, y; it has images, labels"),
        ({}, "lacks x, y; it has no arrays"),
        ({"x_train": X, "y_train": Y, "y_test": Y}, "lacks x_test; it has x_train, y_test, y_train"),
        ({"x_train": X, "y_train": Y, "y_test": Y, "x_test": X, "x_val": X}, "lacks y_val"),
        ({"offsets": Y}, "lacks jpeg, labels; it has offsets"),
        ({"x": with_value(np.nan), "y": Y}, "x of .* has 3 that are not, in 2 of 12 images"),
        ({"x": with_value(-np.inf), "y": Y}, "must be finite"),
        ({"x": with_value(-0.5), "y": Y}, "go from -0.5 to 1"),
        ({"x": X.astype(np.int16) + 1, "y": Y}, "go from .* to 256"),
        ({"x": X % 2, "y": Y}, "the largest in .* is 1: all but black"),
        ({"x": X.astype(complex), "y": Y}, "have type complex128"),
        ({"x": X.astype(str), "y": Y}, "have type <U3"),
        ({"x": X[0], "y": Y[:6]}, r"must have shape .*, but x of .* has \(6, 6\)"),
        ({"x": noise(12, 6, 6, 4), "y": Y}, r"has \(12, 6, 6, 4\)"),
        ({"x": noise(12, 2, 6, 2), "y": Y}, r"has \(12, 2, 6, 2\)"),
        ({"x": noise(12, 4, 8, 4), "y": Y}, r"has \(12, 4, 8, 4\)"),
        ({"x": noise(12, 6, 6, 2), "y": Y, "layout": "HWC"}, "layout must be NCHW or NHWC, but .* 'HWC'"),
        ({"x": noise(2, 1, 1, 513), "y": Y[:2], "layout": "NHWC"}, "at most 512 channels, but .* has 513"),
        ({"x": noise(12, 3, 6, 3), "y": Y}, "both could be"),
        ({"x": noise(0, 6, 6), "y": Y[:0]}, r"has \(0, 6, 6\)"),
        ({"x_train": X, "y_train": Y, "x_test": COLOURS, "y_test": Y}, "x_train has 1, x_test has 3"),
        ({"x": X, "y": Y[:11]}, r"x has shape \(12, 1, 6, 6\) and y has \(11,\)"),
        ({"x": X, "y": np.eye(3)[Y]}, r"labels must have shape \(N,\), but y of .* has \(12, 3\)"),
        ({"x": X, "y": Y + 0.5}, "whole numbers, but y of .* has 0.5"),
        ({"x": X, "y": np.where(Y == 1, np.nan, Y)}, "whole numbers, but y of .* has nan"),
        ({"x": X, "y": Y.astype(complex)}, "numbers or text, but y of .* complex128"),
        ({"x": X, "y": np.array([b"\xff", b"a"] * 6)}, "UTF-8"),
        ({"x": X, "y": np.array(["a\n", "b"] * 6)}, r"printable text, but .* has 'a\\n'"),
        ({"x_train": X, "y_train": Y, "x_test": X, "y_test": Y.astype(str)}, "y_train, y_test of .* are mixed"),
        ({"x": X, "y": Y * 0}, "at least two classes are needed, but .* has '0'"),
        ({"x": X, "y": np.minimum(np.arange(12), 10)}, "needs at least 3 images, but class '0' of a has 1"),
        ({"x": X, "y": Y, "classes": np.array(["a", "b"])}, "here 0 to 1, but .* has a label 2"),
        ({"x": X, "y": Y.astype(int) - 1, "classes": np.array(["a", "b", "c"])}, "0 to 2, but .* has a label -1"),
        ({"x": X, "y": Y.astype(str), "classes": np.array(["0", "1"])}, "one of the classes, but .* a label '2'"),
        ({"x": X, "y": Y, "classes": np.array(["a", "b", "a"])}, "'a' twice"),
        ({"x": X, "y": Y, "classes": np.arange(3)}, "must be a row of names, but .* type int64"),
        ({"x": X, "y": Y, "classes": np.array(["a", "b", "c", "d"])}, "class 'd' of a has 0"),
        ({"x_train": X, "y_train": Y, "x_test": X[:2], "y_test": Y[:2]}, "class '2' has none among the test images"),
    ],
)
def test_arrays_that_cannot_be_used_are_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    found = complaint(save(tmp_path / "a.npz", **arrays))
    assert re.search(message, found), found


def test_an_unused_class_is_refused_before_training(tmp_path: Path) -> None:
    source = save(tmp_path / "a.npz", x_train=X, y_train=Y, x_test=X, y_test=Y % 2)
    assert "class '2' has none among the test images of a" in complaint(source)


def test_object_arrays_are_never_unpickled(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    objects = np.array([Planted(trap)] * 12, object)
    for arrays in ({"x": X, "y": objects}, {"x": objects, "y": Y}, {"x": X, "y": Y, "classes": objects}):
        source = tmp_path / "a.npz"
        np.savez(source, **arrays)
        assert "holds Python objects" in complaint(source)
        for ask in (class_names, native_shape):
            with contextlib.suppress(DataError):
                ask(str(source))
    assert not trap.exists()
    np.load(source, allow_pickle=True)["classes"]
    assert trap.exists(), "the trap does not work"


def npy(shape: str, dtype: str = "|u1", content: bytes = b"") -> bytes:
    """An .npy file whose header says what it likes."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy("(100000, 300, 300)"), r"may take 8 GiB, but 'x' of .* has shape \(100000, 300, 300\)"),
        (npy(f"({10**30},)", "<f8"), "may take 8 GiB"),
        (npy("(12, 6, 6)"), "another length than its header says"),
        (npy("(-12, 6, 6)"), "another length"),
        (npy("(1,", content=b"x"), "cannot be read as .npz"),
        (npy("'", content=b"x"), "cannot be read as .npz"),
        (npy("(12, 6, 6)", "nonsense"), "cannot be read as .npz"),
        (b"not numpy", "cannot be read as .npz"),
        (b"\x93NUMPY\x09\x00", "format version 9.0"),
        (b"", "cannot be read as .npz"),
    ],
)
def test_headers_that_lie_are_refused_before_anything_is_read(tmp_path: Path, content: bytes, message: str) -> None:
    path = save(tmp_path / "a.npz", y=Y)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x.npy", content)
    found = complaint(path)
    assert re.search(message, found), found


def test_files_that_are_no_zip_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_text("hello")
    assert "cannot be read as .npz: File is not a zip file" in complaint(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_files_are_refused_or_read_whole(tmp_path: Path, data: st.DataObject) -> None:
    """A byte changed, or the end cut off: a `DataError`, or the original where the byte did not matter."""
    file = io.BytesIO()
    np.savez_compressed(file, x=X, y=Y)
    content = bytearray(file.getvalue())
    position = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[position] ^= data.draw(st.integers(1, 255))
    else:
        del content[position:]
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    try:
        dataset = load_dataset(str(path), resolution=6, seed=0)
    except DataError:
        return
    assert everything(dataset) == pairs(X, Y)
