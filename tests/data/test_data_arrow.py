"""Parquet files, the Arrow files of `datasets`, and MedMNIST's keys."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from data_files import complaint, contents, encoded, everything, noise, pairs

from hwnas.data import class_names, load_dataset, native_shape, row_groups, survey
from hwnas.data.arrow_tables import from_arrow
from hwnas.data.row_groups import ParquetColumn, RowGroups
from hwnas.image_size import Size

X = noise(24, 16, 16, 3)
Y = np.arange(24) % 2
EXPECTED = pairs(X.transpose(0, 3, 1, 2), Y)


def a_table(rows: slice = slice(None), *, label: Any = None, features: bool = True, path: bool = True) -> Any:
    pa = pytest.importorskip("pyarrow")
    images: list[Any] = [encoded(x) for x in X[rows]]
    if path:
        images = [{"bytes": content, "path": f"{k}.png"} for k, content in enumerate(images)]
    labels = Y[rows].tolist() if label is None else label[rows]
    table = pa.table({"image": images, "label": labels, "other": list(range(len(images)))})
    if features:
        note = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(note)})
    return table


def write(path: Path, table: Any) -> Path:
    import pyarrow as pa
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        parquet.write_table(table, path)
    else:
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    return path


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
@pytest.mark.parametrize("path", [True, False])
def test_a_table_of_images(tmp_path: Path, suffix: str, path: bool) -> None:
    file = write(tmp_path / f"set{suffix}", a_table(path=path))
    assert class_names(str(file)) == ("cat", "dog")
    assert native_shape(str(file)) == (3, Size.square(16))
    for _ in range(2):
        assert everything(load_dataset(str(file), resolution=16, seed=0)) == EXPECTED


def test_labels_as_text_and_as_numbers_without_names(tmp_path: Path) -> None:
    file = write(tmp_path / "a.parquet", a_table(label=["xy"[k] for k in Y], features=False))
    assert class_names(str(file)) == ("x", "y")
    file = write(tmp_path / "b.parquet", a_table(features=False))
    assert class_names(str(file)) == ("0", "1")


@pytest.mark.parametrize(
    "names",
    [
        ("data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "data/test-00000-of-00001.parquet"),
        ("train/data-00000-of-00002.arrow", "train/data-00001-of-00002.arrow", "test/data-00000-of-00001.arrow"),
        ("train_1.parquet", "train_2.parquet", "test.parquet"),
    ],
)
def test_several_files_with_their_parts(tmp_path: Path, names: tuple[str, str, str]) -> None:
    root = tmp_path / "set"
    for name, rows in zip(names, (slice(0, 10), slice(10, 16), slice(16, 24)), strict=True):
        write(root / name, a_table(rows))
    (root / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    dataset = load_dataset(str(root), resolution=16, seed=0)
    assert contents(dataset.test) == pairs(X[16:].transpose(0, 3, 1, 2), Y[16:])
    assert everything(dataset) == EXPECTED
    found = survey(str(root), seed=0)
    assert found is not None
    assert not [one for one in found.cautions if one.kind != "small-classes"]


def test_names_of_classes_beside_the_table(tmp_path: Path) -> None:
    write(tmp_path / "set" / "data-00000-of-00001.arrow", a_table(features=False))
    note = {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}
    (tmp_path / "set" / "dataset_info.json").write_text(json.dumps(note))
    assert class_names(str(tmp_path / "set")) == ("cat", "dog")


def test_unusable_tables_are_named(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    file = tmp_path / "set.parquet"
    write(file, pa.table({"text": ["a"], "label": [1]}))
    assert "no column of encoded images; it has text, label" in complaint(file)
    write(file, a_table().drop_columns(["label"]))
    assert "no column of labels" in complaint(file)
    write(file, a_table(label=[None, *Y[1:].tolist()]))
    assert "every row needs a label" in complaint(file)
    images = [encoded(x) for x in X]
    write(file, pa.table({"image": [images[0], None, b"x", *images[3:]], "label": Y.tolist()}))
    assert "2 of 24 images" in complaint(file)
    assert "row 1 of set.parquet (the file is empty), row 2 of set.parquet (cannot identify" in complaint(file)
    whole = file.read_bytes()
    for content in (b"", b"x" * 100, whole[:-20]):
        file.write_bytes(content)
        assert "cannot be read" in complaint(file)


def test_parquet_is_read_by_row_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other takes each once; more than what is kept is never in memory."""
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(a_table(), tmp_path / "set.parquet", row_group_size=5)
    read, groups = ParquetColumn.read, list[int]()
    monkeypatch.setattr(ParquetColumn, "read", lambda self, group: groups.append(group) or read(self, group))
    monkeypatch.setattr(row_groups, "KEPT_BYTES", 1)
    found = from_arrow(tmp_path / "set.parquet", [tmp_path / "set.parquet"])
    assert not groups
    images = [found.open(index) for index in range(24)]
    assert groups == [0, 1, 2, 3, 4]
    assert [image.getvalue() for image in images if isinstance(image, BytesIO)] == [encoded(x) for x in X]
    for index in (0, 23, 1):
        found.open(index)
    assert groups == [0, 1, 2, 3, 4, 0, 4, 0]
    monkeypatch.undo()
    assert everything(load_dataset(str(tmp_path / "set.parquet"), resolution=16, seed=0)) == EXPECTED


def test_row_groups_are_kept_up_to_a_limit() -> None:
    kept = RowGroups(100)
    read: list[int] = []

    class Column:
        path = Path("a")

        def read(self, group: int) -> Any:
            read.append(group)
            return SimpleNamespace(nbytes=40)

    for group in (0, 1, 0, 2, 0, 1):
        kept.column(Column(), group)  # type: ignore[arg-type]
    assert read == [0, 1, 2, 1]


def test_a_damaged_row_group_is_that_of_its_images(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "set.parquet"
    parquet.write_table(a_table(), path, row_group_size=6, compression="none", use_dictionary=False)
    content = bytearray(path.read_bytes())
    facts = parquet.read_metadata(path).row_group(1).column(0)
    content[facts.data_page_offset : facts.data_page_offset + 30] = b"\xff" * 30
    path.write_bytes(content)
    message = complaint(path)
    assert "6 of 24 images" in message
    assert "row 6 of set.parquet (its row group cannot be read: " in message


def test_a_row_group_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "set.parquet", a_table())
    monkeypatch.setattr(row_groups, "LARGEST_BYTES", 100)
    assert "a row group may take" in complaint(file)


@pytest.mark.parametrize("missing", ["", "val", "test"])
@pytest.mark.parametrize("grey", [True, False])
def test_the_keys_of_medmnist(tmp_path: Path, missing: str, grey: bool) -> None:
    x = X[..., 0] if grey else X
    arrays = {}
    for part, rows in (("train", slice(0, 12)), ("val", slice(12, 18)), ("test", slice(18, 24))):
        if part != missing:
            arrays |= {f"{part}_images": x[rows], f"{part}_labels": Y[rows, None].astype(np.uint8)}
    np.savez(tmp_path / "pathmnist.npz", **arrays)
    dataset = load_dataset(str(tmp_path / "pathmnist.npz"), resolution=16, seed=0)
    assert dataset.classes == ("0", "1")
    planes = x[:, None] if grey else x.transpose(0, 3, 1, 2)
    if missing != "test":
        assert contents(dataset.test) == pairs(planes[18:], Y[18:])
    if not missing:
        assert contents(dataset.val) == pairs(planes[12:18], Y[12:18])
    assert dataset.flip is not grey
    np.savez(tmp_path / "part.npz", **{name: array for name, array in arrays.items() if name != "train_labels"})
    assert "lacks train_labels" in complaint(tmp_path / "part.npz")
