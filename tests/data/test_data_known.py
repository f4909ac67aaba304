"""MNIST and CIFAR-10 from files in the formats that they are published in, written here byte by byte."""

from __future__ import annotations

import gzip
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import (
    complaint,
    contents,
    cycle,
    encoded,
    jpeg_arrays,
    noise,
    pairs,
    python2_pickle,
    python3_pickle,
    write_cifar_binary,
    write_idx,
    write_mnist,
)

from hwnas.data import class_names, load_dataset, native_shape
from hwnas.data.cifar import read_python
from hwnas.errors import DataError
from hwnas.image_size import Size

X = {"train": noise(40, 28, 28, seed=1), "t10k": noise(20, 28, 28, seed=2)}
Y = {"train": cycle(40), "t10k": cycle(20)}
CX = {"train": noise(50, 3, 32, 32, seed=3), "test": noise(20, 3, 32, 32, seed=4)}
CY = {"train": cycle(50), "test": cycle(20)}
BATCHES = [f"data_batch_{i}" for i in range(1, 6)]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where sets are looked for: nowhere else."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HWNAS_DATA", str(tmp_path / "sets"))
    monkeypatch.setattr("platformdirs.user_data_path", lambda name: tmp_path / name)
    (tmp_path / "sets").mkdir()
    return tmp_path / "sets"


def check_mnist() -> None:
    dataset = load_dataset("mnist", resolution=28, seed=0)
    assert native_shape("mnist") == (1, Size.square(28))
    assert (dataset.name, dataset.classes, dataset.flip) == ("mnist", tuple("0123456789"), False)
    assert np.array_equal(dataset.test.pixels[:, 0], X["t10k"])
    assert np.array_equal(dataset.test.labels, Y["t10k"])
    assert contents(dataset.train, dataset.val) == pairs(X["train"], Y["train"])


def check_cifar10() -> None:
    dataset = load_dataset("cifar10", resolution=32, seed=0)
    assert native_shape("cifar10") == (3, Size.square(32))
    assert (dataset.name, dataset.flip) == ("cifar10", True)
    assert dataset.classes[0] == "airplane"
    assert dataset.classes[9] == "truck"
    assert np.array_equal(dataset.test.pixels, CX["test"])
    assert contents(dataset.train, dataset.val) == pairs(CX["train"], CY["train"])


@pytest.mark.parametrize("folder", [".", "MNIST/raw", "mnist"])
@pytest.mark.parametrize(("dot", "end"), [("-", ""), (".", ""), ("-", ".gz")])
def test_mnist_in_idx_files(place: Path, folder: str, dot: str, end: str) -> None:
    write_mnist(place / folder, X, Y, dot=dot, end=end)
    check_mnist()


def test_mnist_as_keras_has_it(place: Path) -> None:
    np.savez(place / "mnist.npz", x_train=X["train"], y_train=Y["train"], x_test=X["t10k"], y_test=Y["t10k"])
    check_mnist()


@pytest.mark.parametrize("column", [False, True])
def test_cifar10_in_arrays(place: Path, column: bool) -> None:
    y = {part: labels[:, None] if column else labels for part, labels in CY.items()}
    x = {part: pixels.transpose(0, 2, 3, 1) if column else pixels for part, pixels in CX.items()}
    np.savez(place / "cifar10.npz", x_train=x["train"], y_train=y["train"], x_test=x["test"], y_test=y["test"])
    check_cifar10()


def test_cifar10_in_encoded_images(place: Path) -> None:
    for part, pixels in CX.items():
        images = [encoded(image) for image in pixels.transpose(0, 2, 3, 1)]
        np.savez(place / f"cifar10_{part}_jpeg.npz", **jpeg_arrays(images, CY[part]))
    check_cifar10()


def write_binary(place: Path) -> Path:
    folder = place / "cifar-10-batches-bin"
    for i, name in enumerate(BATCHES):
        write_cifar_binary(folder / f"{name}.bin", CX["train"][i::5], CY["train"][i::5])
    write_cifar_binary(folder / "test_batch.bin", CX["test"], CY["test"])
    return folder


def write_python(place: Path, dump: Any = python2_pickle) -> Path:
    folder = place / "cifar-10-batches-py"
    folder.mkdir()
    for i, name in enumerate(BATCHES):
        (folder / name).write_bytes(dump(CX["train"][i::5], CY["train"][i::5]))
    (folder / "test_batch").write_bytes(dump(CX["test"], CY["test"]))
    return folder


def test_cifar10_in_binary_files(place: Path) -> None:
    write_binary(place)
    check_cifar10()


@pytest.mark.parametrize("dump", [python2_pickle, python3_pickle])
def test_cifar10_in_python_pickles(place: Path, dump: Any) -> None:
    write_python(place, dump)
    check_cifar10()


def test_the_pickles_written_here_are_those_that_python_reads() -> None:
    """Python's own unpickler agrees that the bytes above are a batch; a list of more than 1000 numbers has pieces."""
    pixels, labels = noise(1100, 3, 32, 32), cycle(1100)
    content = python2_pickle(pixels, labels)
    batch = pickle.loads(content, encoding="bytes")
    assert np.array_equal(batch[b"data"], pixels.reshape(1100, -1))
    assert batch[b"labels"] == labels.tolist()
    assert sorted(batch) == [b"batch_label", b"data", b"filenames", b"labels"]


def test_many_labels_come_in_pieces(tmp_path: Path) -> None:
    pixels, labels = noise(1100, 3, 32, 32), cycle(1100)
    (tmp_path / "batch").write_bytes(python2_pickle(pixels, labels))
    found, numbers = read_python(tmp_path / "batch")
    assert np.array_equal(found, pixels)
    assert np.array_equal(numbers, labels)


class Planted:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("protocol", range(6))
def test_a_hostile_pickle_is_not_executed(place: Path, protocol: int) -> None:
    trap = place / "trap"
    hostile = pickle.dumps(Planted(trap), protocol=protocol)
    folder = write_python(place)
    (folder / "data_batch_1").write_bytes(hostile)
    assert "data_batch_1" in complaint("cifar10")
    inside = python2_pickle(CX["train"], CY["train"], before=b"U\x01x" + hostile.removeprefix(b"\x80\x02")[:-1])
    if protocol == 2:
        (folder / "data_batch_1").write_bytes(inside)
        assert "GLOBAL" in complaint("cifar10")
        assert not trap.exists()
        pickle.loads(inside, encoding="bytes")
        assert trap.exists(), "the trap does not work"
    else:
        assert not trap.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b"", "cannot be read as a pickle"),
        (lambda b: b[:-1], "cannot be read as a pickle"),
        (lambda b: b[: len(b) // 2], "cannot be read as a pickle"),
        (lambda b: b"hello", "pickle"),
        (lambda b: b.replace(b"labels", b"lapels"), "and 0 labels"),
        (lambda b: b.replace(b"\x89T", b"\x88T"), "row by row"),
        (lambda b: b.replace(b"](K\x02", b"](K\x01K\x02"), "bytes and 11 labels"),
        (lambda b: b.replace(b"](K\x02", b"](K\xc8"), "0 to 9, but .* has a label 200"),
        (lambda b: b.replace(b"ndarray", b"memmap"), "has GLOBAL 'numpy memmap'"),
        (lambda b: b.replace(b"}q\x01", b"}q\x01I9" + b"9" * 5000 + b"\n"), "cannot be read as a pickle|has INT"),
    ],
)
def test_pickles_that_are_no_batch_are_refused(place: Path, change: Any, message: str) -> None:
    path = write_python(place) / "data_batch_3"
    before = path.read_bytes()
    path.write_bytes(change(before))
    assert path.read_bytes() != before
    with pytest.raises(DataError, match=message) as caught:
        load_dataset("cifar10", resolution=32, seed=0)
    assert caught.value.hint


def test_binary_files_that_are_cut_off_are_refused(place: Path) -> None:
    path = write_binary(place) / "data_batch_2.bin"
    path.write_bytes(path.read_bytes()[:-1])
    assert "records of 3073 bytes, but" in complaint("cifar10")
    path.write_bytes(b"")
    assert "has 0 bytes" in complaint("cifar10")


def test_a_file_far_too_large_is_not_read(place: Path) -> None:
    for path in (write_binary(place) / "data_batch_2.bin", write_python(place) / "data_batch_1"):
        with path.open("r+b") as file:
            file.truncate(2**28)
    assert "at most 128 MiB" in complaint("cifar10")


@pytest.mark.parametrize("end", ["", ".gz"])
def test_idx_files_that_lie_are_refused(place: Path, end: str) -> None:
    write_mnist(place, X, Y, end=end)
    path = place / f"train-images-idx3-ubyte{end}"
    content = gzip.decompress(path.read_bytes()) if end else path.read_bytes()

    def refused(changed: bytes) -> str:
        path.write_bytes(gzip.compress(changed) if end else changed)
        return complaint("mnist")

    assert "is cut off, or something is behind its end" in refused(content[:-1])
    assert "is cut off" in refused(content + b"x")
    assert "must start with 00000803, but starts with 00000d03" in refused(b"\0\0\x0d" + content[3:])
    assert "starts with nothing" in refused(b"")
    assert "cannot be read as IDX" in refused(content[:9])
    assert "more than 1024 MiB" in refused(content[:4] + b"\xff" * 12)
    write_idx(path, X["train"][:30])
    assert "x_train has shape (30, 1, 28, 28) and y_train has (40,)" in complaint("mnist")
    if end:
        path.write_bytes(b"no gzip")
        assert "Not a gzipped file" in complaint("mnist")
        path.write_bytes(gzip.compress(content)[:-20])
        assert "cannot be read as IDX" in complaint("mnist")


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_absent_sets_say_where_to_put_which_files(place: Path, tmp_path: Path, name: str) -> None:
    for ask in (class_names, native_shape, lambda source: load_dataset(source, resolution=8, seed=0)):
        with pytest.raises(DataError) as caught:
            ask(name)
        for folder in (place, Path("data"), tmp_path / "hwnas" / "data"):
            assert str(folder) in str(caught.value)
        assert f"{name}.npz" in caught.value.hint
        assert "HWNAS_DATA" in caught.value.hint


def test_an_incomplete_set_says_what_is_missing(place: Path) -> None:
    write_mnist(place, X, Y)
    (place / "t10k-labels-idx1-ubyte").unlink()
    assert "but not t10k-labels-idx1-ubyte" in complaint("mnist")
    (write_binary(place) / "data_batch_4.bin").unlink()
    assert "but not cifar-10-batches-bin/data_batch_4.bin" in complaint("cifar10")


def test_the_places_are_searched_in_order(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, folder in enumerate((tmp_path / "hwnas" / "data", Path("data"), place)):
        flat = {part: np.full_like(pixels, number) for part, pixels in X.items()}
        flat["train"][0] = 255
        write_mnist(folder, flat, Y)
        assert load_dataset("mnist", resolution=28, seed=0).test.pixels.max() == number
    monkeypatch.delenv("HWNAS_DATA")
    assert load_dataset("mnist", resolution=28, seed=0).test.pixels.max() == 1


def test_files_with_other_classes_are_refused_under_a_known_name(place: Path) -> None:
    arrays = {"x_train": X["train"], "y_train": Y["train"], "x_test": X["t10k"], "y_test": Y["t10k"]}
    np.savez(place / "mnist.npz", **arrays, classes=np.array(list("abcdefghij")))
    assert "classes must be 0, 1, 2" in complaint("mnist")
    assert load_dataset(str(place / "mnist.npz"), resolution=28, seed=0).classes == tuple("abcdefghij")
