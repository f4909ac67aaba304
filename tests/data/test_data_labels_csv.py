"""Labels in CSV files."""

from __future__ import annotations

from pathlib import Path

import pytest
from photo_files import draw, pixels, save

from hwnas.data import ReadOptions, class_names, load_dataset, survey
from hwnas.data.dataset import Dataset
from hwnas.errors import DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twelve images in one folder."""
    return draw(tmp_path / "set", {"images": 12})


def table(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def rows(template: str, count: int = 12) -> str:
    return "".join(template.format(k, name=f"{k:03d}", label=("cat", "dog")[k % 2]) + "\n" for k in range(count))


def load(root: Path, **options: object) -> Dataset:
    return load_dataset(str(root), resolution=24, seed=0, options=ReadOptions(**options))


@pytest.mark.parametrize(
    ("head", "row"),
    [
        ("file,label", "{name}.png,{label}"),
        ("filename;class", "images/{name}.png;{label}"),
        ("image_id\tcategory", "{name}\t{label}"),
        ("\ufeffIndex,Image,Target", "{0},./images/{name}.png,{label}"),
        ("id,width,label", "{name},24,{label}"),
        ('"path","label"', '"images\\{name}.png"," {label} "'),
    ],
)
def test_columns_are_found_by_name(root: Path, head: str, row: str) -> None:
    table(root / "labels.csv", f"{head}\n{rows(row)}")
    dataset = load(root)
    assert dataset.classes == ("cat", "dog")
    for part in (dataset.train, dataset.val, dataset.test):
        for image, label in zip(part.pixels, part.labels, strict=True):
            number = next(k for k in range(12) if (pixels(k).transpose(2, 0, 1) == image).all())
            assert number % 2 == label


def test_a_file_that_is_found_by_itself_is_told(root: Path) -> None:
    table(root / "labels.csv", f"file,label\n{rows('{name}.png,{label}')}")
    found = survey(str(root), seed=0)
    assert found is not None
    assert "'file' and 'label', found by itself" in found.lines()["notes"]


def test_a_file_elsewhere_or_as_the_source(root: Path, tmp_path: Path) -> None:
    path = table(tmp_path / "elsewhere.csv", f"file,label\n{rows('{name}.png,{label}')}")
    assert load(root, labels=str(path)).classes == ("cat", "dog")
    path = table(root / "mine.tsv", "file\tlabel\n" + rows("{name}.png\t{label}"))
    assert class_names(str(path)) == ("cat", "dog")


def test_a_column_of_parts(root: Path) -> None:
    parts = ["train"] * 6 + ["valid"] * 2 + ["Test"] * 4
    lines = [f"{k:03d}.png,{('cat', 'dog')[k % 2]},{part}" for k, part in enumerate(parts)]
    table(root / "labels.csv", "\n".join(["file,label,split", *lines]))
    dataset = load(root)
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (6, 2, 4)
    table(root / "labels.csv", "\n".join(["file,label,split", *lines, "011.png,cat,hold"]))
    with pytest.raises(DataError, match="'hold'"):
        load(root, labels="labels.csv")


def test_of_several_files_the_one_with_the_usual_name_is_taken(root: Path) -> None:
    table(root / "a.csv", f"file,label\n{rows('{name}.png,{label}')}")
    table(root / "notes.csv", "day,weather\n1,rain\n")
    assert load(root).classes == ("cat", "dog")
    table(root / "b.csv", f"file,label\n{rows('{name}.png,{label}')}")
    with pytest.raises(DataError, match=r"a\.csv, b\.csv") as caught:
        load(root)
    assert "--labels" in caught.value.hint
    table(root / "train.csv", f"file,label\n{rows('{name}.png,x{label}')}")
    assert load(root).classes == ("xcat", "xdog")


def test_a_table_without_the_columns_is_told_what_it_needs(root: Path) -> None:
    table(root / "odd.csv", "name,kind\n000.png,cat\n")
    with pytest.raises(DataError, match="one class folder") as caught:
        load(root)
    assert "in 'odd.csv' the columns are found by their names" in caught.value.hint


def test_a_table_of_the_train_folder_beside_a_test_folder_without_labels(tmp_path: Path) -> None:
    root = draw(tmp_path / "set", {"train": 12, "test": 4})
    table(root / "train.csv", f"id,label\n{rows('{name},{label}')}")
    found = survey(str(root), seed=0)
    assert found is not None
    assert sum(map(sum, found.counts.values())) == 12
    assert found.lines()["ignored"] == "4 .png (not named in the labels)"


def test_folders_of_classes_come_before_a_table(tmp_path: Path) -> None:
    root = draw(tmp_path / "set", {"a": 6, "b": 6})
    table(root / "labels.csv", "file,label\na/000.png,x\nb/000.png,y\n")
    assert load(root).classes == ("a", "b")


def test_missing_files_and_images_without_a_row_are_told(root: Path) -> None:
    table(root / "labels.csv", f"file,label\n{rows('{name}.png,{label}', 10)}gone.png,cat\n")
    with pytest.raises(DataError, match=r"1 of 11 images .*gone\.png.*No such file"):
        load(root)
    found = survey(str(root), seed=0, options=ReadOptions(skip_unreadable=True))
    assert found is not None
    assert found.lines()["ignored"] == "2 .png (not named in the labels)"
    assert len(found.unreadable) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column of files; it has none"),
        ("name,label\n1,2\n", "no column of files; it has 'name', 'label'"),
        ("file,kind\n1,2\n", "no column of labels"),
        ("file,label\n000.png,\n", "row 2 of .* lacks the class"),
        ("file,label\n,cat\n", "row 2 of .* lacks the file"),
        ("file,label\n000.png,cat\n000.png,dog\n", "as 'cat' and as 'dog'"),
        ("file,label\n000.png,cat\n", "at least two classes"),
        ("file,label\n000.png,cat\x1b\n001.png,dog\n", "printable"),
        ("file,label\n\x00,cat\n", "NUL"),
    ],
)
def test_unusable_tables_are_named(root: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load(root, labels=str(table(root / "t.csv", text)))
    assert caught.value.hint


def test_equal_names_in_two_folders_need_their_path(root: Path) -> None:
    save(root / "more" / "000.png", pixels(50))
    path = table(root / "t.csv", f"file,label\n{rows('{name}.png,{label}')}")
    with pytest.raises(DataError, match=r"'000\.png', and there are several"):
        load(root, labels=str(path))
    table(path, f"file,label\n{rows('images/{name}.png,{label}')}more/000.png,dog\n")
    assert len(load(root, labels=str(path)).train.labels) > 0


def test_labels_that_are_no_text_or_no_file(root: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_bytes(b"file,label\n\xff,cat\n")
    for path in (tmp_path / "bad.csv", tmp_path / "none.csv", tmp_path):
        with pytest.raises(DataError, match="cannot read the labels"):
            load(root, labels=str(path))
    with pytest.raises(DataError, match="labels of its own"):
        load_dataset("digits", resolution=8, seed=0, options=ReadOptions(labels="x.csv"))
