"""Images in folders: one folder a class, also inside of train, val and test, or with the classes told otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hwnas.asked_paths import LAYOUT
from hwnas.data import walk
from hwnas.data.arrow_tables import TABLES, arrow_files, from_arrow
from hwnas.data.dataset import SMALLEST_CLASS
from hwnas.data.found import PARTS, Found, Ignored, Labelled, Part, found_files, part_of
from hwnas.data.labels_csv import COLUMNS, TABLE_SUFFIXES, from_csv, labels_file
from hwnas.data.survey import ignored_text
from hwnas.display import few
from hwnas.errors import DataError
from hwnas.files import real_path, user_path

BY_FILE_NAME = "filename"
"""What to give as labels for classes in the names of files."""

_BESIDE = "not in a class folder"
_EMPTY = "no images in it"
_OTHER_FOLDER = "beside train, val and test"
_DETECTION = {"images", "labels"}
_NUMBER = re.compile(r"[\s._\-(\[]*\d+[)\]]?$")


def find(folder: Path, *, labels: str = "") -> Found:
    """The images of a folder and their classes; no image is opened. Hidden files are left out.

    Args:
        labels: a CSV file, `filename` for the text before the number in the names of files, or empty for what is there:
            folders of classes, or else a CSV file in the folder.

    Raises:
        DataError: the folder is missing or not a folder, its layout is none of these, or a class has too few images.
    """
    if folder.is_file() and folder.suffix.lower() in TABLES:
        return from_arrow(folder, [folder])
    if not folder.is_dir():
        problem = "is not a folder" if folder.exists() else "does not exist"
        raise DataError(f"the image folder {folder} {problem}", hint=LAYOUT)
    if labels == BY_FILE_NAME:
        return _by_file_name(folder)
    if labels:
        return from_csv(user_path(labels), folder)
    folders = [entry for entry in walk.entries(folder) if entry.is_dir()]
    parts = _part_folders(folder, folders)
    if parts and any(entry.is_dir() for entry in walk.entries(parts["train"])):
        return _in_parts(folder, parts)
    if (parts or len(folders) < 2) and (file := labels_file(folder)) is not None:
        return from_csv(file, folder, by_itself=True)
    if (tables := arrow_files(folder)) and walk.first_image(folder) is None:
        return from_arrow(folder, tables)
    if parts:
        raise DataError(
            f"{folder} has {', '.join(path.name for path in parts.values())}, but no folders of classes in them",
            hint=f"{LAYOUT}; --labels FILE.csv names one elsewhere, --labels {BY_FILE_NAME} takes classes from names",
        )
    return _in_classes(folder, folders)


def folder_name(folder: Path) -> str:
    """What a data set is called after its folder."""
    return real_path(folder).name or str(folder)


def _part_folders(root: Path, folders: list[Path]) -> dict[Part, Path]:
    """The folders of the parts, if the folder has a train part and another, or nothing but a train part."""
    parts: dict[Part, Path] = {}
    for entry in folders:
        part = part_of(entry.name)
        if part is None:
            continue
        if part in parts:
            raise DataError(
                f"{root} has two folders of one part, {parts[part].name} and {entry.name}", hint="keep one of them"
            )
        parts[part] = entry
    if "train" not in parts or (len(parts) == 1 and len(folders) > 1):
        return {}
    return {part: parts[part] for part in PARTS if part in parts}


def _in_parts(root: Path, parts: Mapping[Part, Path]) -> Found:
    ignored: list[Ignored] = []
    for entry in walk.entries(root):
        if entry not in parts.values():
            ignored += _left_out(entry, root, _OTHER_FOLDER if entry.is_dir() else _BESIDE)
    found: dict[Part, dict[str, Sequence[Path]]] = {}
    for part, folder in parts.items():
        classes = _classes(folder, root, ignored)
        if part == "train" and set(classes) == _DETECTION:
            raise DataError(
                f"{root} is a set for detection, with images/ and labels/ in {folder.name}/, but hwnas searches "
                "classifiers",
                hint="export the set with one folder a class",
            )
        found[part] = classes
    full = {name for classes in found.values() for name, files in classes.items() if files}
    nowhere = sorted(set().union(*found.values()) - full)
    if nowhere:
        raise DataError(
            f"a class needs images, but in {root} {few([f'{name!r} has none' for name in nowhere])}",
            hint=f"add images or remove the class folder{_not_read(ignored)}",
        )
    return found_files(folder_name(root), root, _labelled(found), ignored=ignored)


def _labelled(found: Mapping[Part, Mapping[str, Sequence[Path]]]) -> Iterator[Labelled]:
    """The images of each class of each part."""
    for part, classes in found.items():
        for name, files in classes.items():
            yield from (Labelled(part, name, file) for file in files)


def _in_classes(root: Path, folders: list[Path]) -> Found:
    ignored: list[Ignored] = []
    classes = _classes(root, root, ignored)
    if not classes:
        empty = f"; {few([f'{entry.name!r} is empty' for entry in folders])}" if folders else ""
        raise DataError(f"{root} has no class folders{empty}", hint=_layout(root))
    unprintable = [name for name in classes if not name.isprintable()]
    if unprintable:
        raise DataError(f"a class name must be printable text, but {root} has {unprintable[0]!r}", hint="rename it")
    if len(classes) == 1:
        (only,) = classes
        inside = [entry.name for entry in walk.entries(root / only) if entry.is_dir()]
        hint = (
            f"if {', '.join(inside[:3])} are the classes, give --data {root / only}"
            if len(inside) > 1
            else _layout(root)
        )
        raise DataError(f"at least two classes are needed, but {root} has one class folder, {only!r}", hint=hint)
    small = [f"{name!r} has {len(files)}" for name, files in classes.items() if len(files) < SMALLEST_CLASS]
    if small:
        raise DataError(
            f"a class needs at least {SMALLEST_CLASS} images, but in {root} {few(small)}",
            hint=f"add images or remove the class folder{_not_read(ignored)}; {LAYOUT}",
        )
    return found_files(folder_name(root), root, _labelled({"train": classes}), ignored=ignored)


def _not_read(ignored: Sequence[Ignored]) -> str:
    """The files beside the images, which may be why there are too few."""
    return f"; not read are {ignored_text(ignored)}" if ignored else ""


def _layout(root: Path) -> str:
    """The layouts, and what a table beside images would have to have, where there is one."""
    tables = [entry.name for entry in walk.entries(root) if entry.suffix.lower() in TABLE_SUFFIXES]
    return f"{LAYOUT}; in {tables[0]!r} {COLUMNS}" if tables else LAYOUT


def _classes(folder: Path, root: Path, ignored: list[Ignored]) -> dict[str, Sequence[Path]]:
    """The image files of each class folder, those in its sub-folders included; folders without any file are ignored."""
    classes: dict[str, Sequence[Path]] = {}
    for entry in walk.entries(folder):
        if entry.is_dir():
            files = walk.images(entry, root, ignored)
            if files or walk.has_files(entry):
                classes[entry.name] = files
            else:
                ignored.append(Ignored(str(entry.relative_to(root)), "folder", _EMPTY))
        else:
            ignored += _left_out(entry, root, _BESIDE)
    return classes


def _left_out(entry: Path, root: Path, reason: str) -> list[Ignored]:
    """What is not read of a file or folder: images for that reason, other files because they are none."""
    inside: list[Ignored] = []
    files = walk.images(entry, root, inside) if entry.is_dir() else [entry]
    return inside + [Ignored.of(path, root, walk.refusal(path) or reason) for path in files]


def _by_file_name(root: Path) -> Found:
    """Classes in the names of files: `cat.12.jpg`, `cat_12.jpg` and `cat (12).jpg` are all of the class `cat`."""
    ignored: list[Ignored] = []
    parts = _part_folders(root, [entry for entry in walk.entries(root) if entry.is_dir()])

    def images() -> Iterator[Labelled]:
        for file in walk.images(root, root, ignored):
            name = file.relative_to(root)
            label = file.stem
            while (shorter := _NUMBER.sub("", label)) != label:
                label = shorter
            if not label:
                raise DataError(
                    f"with --labels {BY_FILE_NAME} a name starts with the class, as cat_12.jpg, but there is "
                    f"{str(name)!r}",
                    hint="name the classes in a CSV file, with --labels FILE.csv",
                )
            part = part_of(name.parts[0]) if parts and len(name.parts) > 1 else None
            yield Labelled(part or "train", label, file)

    return found_files(folder_name(root), root, images(), ignored=ignored, notes=("the classes are in the file names",))
