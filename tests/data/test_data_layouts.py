"""Folders as people own them: which images count, for which class and part, and what is said of the others."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from data_files import complaint, contents, everything
from photo_files import draw, pixels, save

from hwnas.data import ReadOptions, class_names, load_dataset, survey
from hwnas.data.dataset import Dataset
from hwnas.data.image_folder import find
from hwnas.data.survey import Survey
from hwnas.errors import DataError

PARTS = {"train/cat": 6, "train/dog": 6, "val/cat": 2, "val/dog": 2, "test/cat": 3, "test/dog": 3}


def load(root: Path, **options: object) -> Dataset:
    return load_dataset(str(root), resolution=24, seed=0, options=ReadOptions(**options))


def seen(root: Path, **options: object) -> Survey:
    found = survey(str(root), seed=0, options=ReadOptions(**options))
    assert found is not None
    return found


def counts(dataset: Dataset) -> tuple[int, int, int]:
    return len(dataset.train), len(dataset.val), len(dataset.test)


def drawn(first: int, *labels: int) -> list[tuple[int, bytes]]:
    """What the images `first`, `first + 1`, ... of these labels become."""
    return sorted((label, pixels(first + k).transpose(2, 0, 1).tobytes()) for k, label in enumerate(labels))


@pytest.mark.parametrize(
    "names", ["train val test", "Train Valid TEST", "training validation testing", "TRAIN dev test"]
)
def test_parts_are_the_owners(tmp_path: Path, names: str) -> None:
    own = dict(zip(("train", "val", "test"), names.split(), strict=True))
    split = [(name.split("/"), count) for name, count in PARTS.items()]
    root = draw(tmp_path / "set", {f"{own[part]}/{label}": count for (part, label), count in split})
    dataset = load(root)
    assert dataset.classes == ("cat", "dog") == class_names(str(root))
    assert counts(dataset) == (12, 4, 6)
    assert contents(dataset.train) == drawn(0, *[0] * 6, *[1] * 6)
    assert contents(dataset.val) == drawn(12, 0, 0, 1, 1)
    assert contents(dataset.test) == drawn(16, *[0] * 3, *[1] * 3)
    assert {part: n.tolist() for part, n in seen(root).counts.items()} == {
        "train": [6, 6],
        "val": [2, 2],
        "test": [3, 3],
    }


def test_without_a_validation_part_some_of_train_validates(tmp_path: Path) -> None:
    root = draw(tmp_path / "set", {name: n * 5 for name, n in PARTS.items() if not name.startswith("val")})
    dataset = load(root)
    assert counts(dataset) == (54, 6, 30)
    assert contents(dataset.train, dataset.val) == drawn(0, *[0] * 30, *[1] * 30)
    assert contents(dataset.test) == drawn(60, *[0] * 15, *[1] * 15)
    assert contents(load(root).val) == contents(dataset.val)


def test_without_a_test_part_some_of_train_tests(tmp_path: Path) -> None:
    root = draw(tmp_path / "set", {name: n * 5 for name, n in PARTS.items() if not name.startswith("test")})
    dataset = load(root)
    assert counts(dataset) == (52, 20, 8)
    assert contents(dataset.val) == drawn(60, *[0] * 10, *[1] * 10)


def test_a_train_part_alone_is_split(tmp_path: Path) -> None:
    root = draw(tmp_path / "set", {"train/cat": 20, "train/dog": 20})
    assert counts(load(root)) == (28, 6, 6)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    root = draw(tmp_path / "set", {"train": 10, "car": 10, "bus/red": 10})
    assert load(root).classes == ("bus", "car", "train")


def test_a_test_part_without_classes_is_left_out_and_told(tmp_path: Path) -> None:
    root = draw(tmp_path / "set", {"train/cat": 20, "train/dog": 20, "test": 7})
    assert counts(load(root)) == (28, 6, 6)
    assert seen(root).lines()["ignored"] == "7 .png (not in a class folder)"


def test_parts_need_the_same_classes(tmp_path: Path) -> None:
    root = draw(tmp_path / "set", PARTS | {"train/emu": 3, "val/fox": 1})
    (root / "test" / "emu").mkdir()
    message = complaint(root)
    assert "train lacks 'fox'; val lacks 'emu'; test lacks 'emu', 'fox'" in message


def test_odd_parts_are_refused(tmp_path: Path) -> None:
    root = draw(tmp_path / "twice", PARTS | {"valid/cat": 1})
    assert "two folders of one part, val and valid" in complaint(root)
    root = draw(tmp_path / "flat", {"train": 4, "test": 4})
    assert "train, test, but no folders of classes in them" in complaint(root)
    root = draw(tmp_path / "yolo", {"train/images": 4, "valid/images": 4})
    (root / "train/labels").mkdir()
    (root / "train/labels/0.txt").write_text("0 .5 .5 1 1")
    assert "a set for detection" in complaint(root)
    root = draw(tmp_path / "empty", PARTS)
    (root / "train" / "emu").mkdir()
    (root / "train" / "emu" / "notes.txt").write_text("x")
    assert "'emu' has none" in complaint(root)


def test_folders_without_files_are_ignored_and_told(tmp_path: Path) -> None:
    for where, files in (("", {"cat": 9, "dog": 9}), ("train", {"train/cat": 9, "train/dog": 9})):
        root = draw(tmp_path / f"set{where}", files)
        (root / where / "Neuer Ordner" / "inside").mkdir(parents=True)
        (root / where / "Neuer Ordner" / ".DS_Store").write_text("x")
        assert load(root).classes == ("cat", "dog")
        assert "1 folder (no images in it)" in seen(root).lines()["ignored"]
    (root / "train" / "Neuer Ordner" / "notes.txt").write_text("x")
    assert "'Neuer Ordner' has none" in complaint(root)
    (tmp_path / "set" / "Neuer Ordner" / "notes.txt").write_text("x")
    assert "'Neuer Ordner' has 0" in complaint(tmp_path / "set")


def test_images_in_sub_folders_count_for_the_class(tmp_path: Path) -> None:
    root = draw(tmp_path / "set", {"cat": 4, "cat/day/one": 20, "cat/day/two": 20, "dog": 4, "dog/day": 40})
    (root / "dog" / "day" / "again").symlink_to(root / "dog")
    found = find(root)
    assert np.bincount(found.labels).tolist() == [44, 44]
    assert len(everything(load(root))) == 88


def test_without_sub_folders_the_order_is_that_of_the_names(tmp_path: Path) -> None:
    """Splits by seed depend on it."""
    root = draw(tmp_path / "set", {"b": 11, "a": 12})
    found = find(root)
    assert list(found.names) == sorted(os.path.relpath(path, root) for path in root.glob("*/*"))


def test_a_folder_around_the_classes_is_named(tmp_path: Path) -> None:
    root = draw(tmp_path / "set", {"all/cat": 4, "all/dog": 4})
    with pytest.raises(DataError) as caught:
        find(root)
    assert str(root / "all") in caught.value.hint


def test_what_is_ignored_is_told_by_reason_and_suffix(tmp_path: Path) -> None:
    root = draw(tmp_path / "set", {"cat": 9, "dog": 9, "__MACOSX/cat": 3})
    save(root / "cover.jpg", pixels(1))
    for name in ("cat/notes.txt", "cat/more.txt", "cat/raw", "dog/.DS_Store", "readme.md"):
        (root / name).write_text("x")
    os.mkfifo(root / "dog" / "pipe.png")
    text = seen(root).lines()["ignored"]
    assert "2 .txt, 1 without suffix" in text
    assert "1 .md" in text
    assert "(no image that is read)" in text
    assert "1 .jpg (not in a class folder)" in text
    assert "1 .png (neither a file nor a link to one)" in text
    names = [one["name"] for one in seen(root).to_json()["ignored"]]
    assert {"cat/raw", "readme.md", "dog/.DS_Store", "dog/pipe.png", "cover.jpg"} <= set(names)


def test_files_that_are_not_read_are_told_where_images_lack(tmp_path: Path) -> None:
    root = draw(tmp_path / "set", {"cat": 9, "dog": 0})
    for index in range(5):
        (root / "dog" / f"{index}.psd").write_text("x")
    with pytest.raises(DataError, match="'dog' has 0") as caught:
        find(root)
    assert "not read are 5 .psd (no image that is read)" in caught.value.hint


def test_classes_in_file_names_only_where_asked(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for number, name in enumerate(("cat.{}.png", "dog_{}.png", "cat ({}).png", "dog-7-{}.png")):
        for index in range(6):
            save(root / "all" / name.format(index), pixels(10 * number + index))
    assert "one class folder" in complaint(root)
    assert load(root, labels="filename").classes == ("cat", "dog")
    save(root / "all" / "123.png", pixels(99))
    with pytest.raises(DataError, match=r"'all/123\.png'"):
        load(root, labels="filename")


def test_file_names_keep_the_parts(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for number, (part, count) in enumerate((("train", 12), ("test", 4))):
        for index in range(count):
            save(root / part / f"{('cat', 'dog')[index % 2]}{index}.png", pixels(100 * number + index))
    assert counts(load(root, labels="filename")) == (10, 2, 4)
