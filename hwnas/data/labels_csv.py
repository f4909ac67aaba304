"""Labels of images in a CSV file."""

from __future__ import annotations

import csv
import heapq
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hwnas.data import image, walk
from hwnas.data.found import Found, Ignored, Labelled, Part, found_files, part_of
from hwnas.errors import DataError
from hwnas.files import real_path

TABLE_SUFFIXES = (".csv", ".tsv")
LARGEST_BYTES = 256 << 20

_FILE = (
    *("file", "filename", "file_name", "filepath", "file_path", "path"),
    *("image", "image_name", "image_path", "img", "image_id", "id"),
)
_LABEL = ("label", "class", "category", "target", "class_name", "label_name", "labels", "species", "diagnosis")
_PART = ("split", "set", "part", "subset", "partition")
COLUMNS = (
    "the columns are found by their names: file, filename, path, image, image_id or id; label, class, category or "
    "target; and, if there is one, split, with train, val or test"
)
_PREFERRED = ("labels.csv", "metadata.csv", "annotations.csv", "train.csv")
_NOT_NAMED = "not named in the labels"
_SEVERAL = -1


@dataclass(frozen=True)
class Table:
    """A CSV file whose columns are known.

    Attributes:
        columns: by `file`, `label` and `part`, where there is one, the name of the column.
        rows: file, label and part of each, as text.
    """

    path: Path
    columns: Mapping[str, str]
    rows: Sequence[tuple[str, str, str]]


def labels_file(folder: Path) -> Path | None:
    """The CSV file in a folder that can hold the labels of images, if there is one.

    Raises:
        DataError: there are several, and none is called `labels.csv` or the like.
    """
    fitting = []
    for path in walk.entries(folder):
        if path.suffix.lower() in TABLE_SUFFIXES and path.is_file():
            try:
                read_table(path)
            except DataError:
                continue
            fitting.append(path)
    named = {path.name.casefold(): path for path in fitting}
    preferred = [named[name] for name in _PREFERRED if name in named]
    if preferred or len(fitting) < 2:
        return next(iter(preferred or fitting), None)
    raise DataError(
        f"several files of {folder} may hold the labels: {', '.join(path.name for path in fitting)}",
        hint=f"name one, as in --labels {fitting[0]}",
    )


def from_csv(path: Path, folder: Path, *, by_itself: bool = False) -> Found:
    """The images that a CSV file names, below `folder` or beside the file. A file may be named without its suffix.

    Files that do not exist are reported as unreadable; images that the file does not name are ignored.

    Args:
        by_itself: whether the file was found and not given.

    Raises:
        DataError: the file or its columns cannot be used.
    """
    if not path.is_file() and (folder / path).is_file():
        path = folder / path
    table = read_table(path)
    ignored: list[Ignored] = []
    below = walk.images(folder, folder, ignored)
    ignored = [one for one in ignored if folder / one.name != path]
    labels, beside = _labels(table, below, folder)
    notes = [
        f"the labels are those of {path.name!r}: the columns {' and '.join(map(repr, table.columns.values()))}"
        + (", found by itself; --labels names another" if by_itself else "")
    ]

    def images() -> Iterator[Labelled]:
        for number, file in enumerate(below):
            if number in labels:
                yield Labelled(*labels[number], file)
            else:
                ignored.append(Ignored.of(file, folder, _NOT_NAMED))

    others = [Labelled(*beside[file], file) for file in sorted(beside, key=lambda file: file.parts)]
    return found_files(
        real_path(folder).name or str(folder),
        folder,
        heapq.merge(images(), others, key=lambda one: one.path.parts),
        ignored=ignored,
        notes=notes,
    )


_Label = tuple[Part, str]


def _labels(table: Table, below: Sequence[Path], folder: Path) -> tuple[dict[int, _Label], dict[Path, _Label]]:
    """Part and class of each file that the rows name: of those below the folder, by index, and of others, by path.

    Raises:
        DataError: a row is of no part, may mean several files, or differs from another one about the same file.
    """
    path, places = table.path, _places(below, folder)
    labels: dict[int, _Label] = {}
    beside: dict[Path, _Label] = {}
    kept: dict[_Label, _Label] = {}
    for file, label, part_name in table.rows:
        part = part_of(part_name) if part_name else "train"
        if part is None:
            raise DataError(
                f"the column {table.columns['part']!r} holds train, val or test, but {path} has {part_name!r}",
                hint="rename it there",
            )
        names = (f"{path.stem}/{_key(file)}", _key(file))  # train.csv is about train/
        found = [places[name] for name in names if name in places]
        place = next((one for one in found if one != _SEVERAL), _SEVERAL if found else None)
        if place == _SEVERAL:
            raise DataError(
                f"{path} names {file!r}, and there are several such files below {folder}",
                hint="name files by their path below the folder",
            )
        one = kept.setdefault((part, label), (part, label))
        before = beside.setdefault(_beside(path, folder, file), one) if place is None else labels.setdefault(place, one)
        if before != one:
            raise DataError(
                f"a file has one class and one part, but {path} has {file!r} as {before[1]!r} and as {label!r}",
                hint="keep one of these rows; hwnas searches classifiers with one class an image",
            )
    return labels, beside


def read_table(path: Path) -> Table:
    """The rows of a CSV file that names images and their labels.

    Raises:
        DataError: the file cannot be read, is no CSV file, or lacks a column.
    """
    content, delimiter = _content(path)
    reader = csv.reader(io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", newline=""), delimiter=delimiter)
    try:
        heads = [name.strip() for name in next(reader, [])]
        columns = _columns(heads, path)
        places = [heads.index(columns[kind]) if kind in columns else None for kind in ("file", "label", "part")]
        rows = []
        for number, line in enumerate(reader, 2):
            if not any(cell.strip() for cell in line):
                continue
            cells = ["" if place is None else line[place].strip() if place < len(line) else "" for place in places]
            if not cells[0] or not cells[1]:
                raise DataError(
                    f"every row names a file and its class, but row {number} of {path} lacks "
                    f"{'the file' if not cells[0] else 'the class'}",
                    hint="fill it in, or remove the row",
                )
            rows.append((cells[0], sys.intern(cells[1]), sys.intern(cells[2])))
    except csv.Error as error:
        raise DataError(f"{path} is no CSV file: {error}", hint="write it anew") from error
    return Table(path, columns, rows)


def _content(path: Path) -> tuple[bytes, str]:
    """The bytes of a file, which are UTF-8, and its delimiter."""
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise DataError(f"{path} is larger than {LARGEST_BYTES >> 20} MiB", hint="give a CSV file of labels")
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise DataError(f"cannot read the labels in {path}: {reason}", hint="give a CSV file in UTF-8") from error
    if "\0" in text:
        raise DataError(f"cannot read the labels in {path}: it has NUL characters", hint="give a CSV file in UTF-8")
    return content, max(",;\t", key=text.partition("\n")[0].count)


def _columns(heads: Sequence[str], path: Path) -> dict[str, str]:
    """By `file`, `label` and `part`, where there is one, the name of the column."""
    columns: dict[str, str] = {}
    for kind, names in (("file", _FILE), ("label", _LABEL), ("part", _PART)):
        head = next((head for name in names for head in heads if head.casefold().replace(" ", "_") == name), None)
        if head is not None:
            columns[kind] = head
        elif kind != "part":
            raise DataError(
                f"{path} has no column of {'files' if kind == 'file' else 'labels'}; it has "
                f"{', '.join(map(repr, heads)) or 'none'}",
                hint=COLUMNS,
            )
    return columns


def _key(name: str) -> str:
    return name.replace("\\", "/").removeprefix("./").lstrip("/")


def _places(files: Sequence[Path], folder: Path) -> dict[str, int]:
    """Indices of files by every name that a row may use: the end of the path, with the suffix or without."""
    places: dict[str, int] = {}
    for number, file in enumerate(files):
        parts = file.relative_to(folder).parts
        names = {"/".join(parts[start:]) for start in range(len(parts))}
        for name in names | {name.removesuffix(file.suffix) for name in names}:
            places[name] = _SEVERAL if name in places else number
    for number, file in enumerate(files):  # the whole path is that file's alone
        places[file.relative_to(folder).as_posix()] = number
    return places


def _beside(table: Path, folder: Path, name: str) -> Path:
    """Where a file would be that was not found below the folder: beside the table, or where it is missed."""
    for path in (table.parent / name, *(table.parent / f"{name}{suffix}" for suffix in sorted(image.SUFFIXES))):
        try:
            if path.is_file():
                return path
        except (OSError, ValueError):
            continue
    return folder / _key(name)
