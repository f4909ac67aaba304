"""Encoded images that were found somewhere, none of them opened yet."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hwnas.data.path_table import PathTable
from hwnas.errors import DataError

Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")
_PART_NAMES: Mapping[str, Part] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}


def part_of(name: str) -> Part | None:
    """The part that a folder, a file or an entry of a table stands for, whatever its case."""
    return _PART_NAMES.get(name.strip().casefold())


@dataclass(frozen=True, slots=True)
class Ignored:
    """A file that is not read, and why."""

    name: str
    suffix: str
    reason: str

    @classmethod
    def of(cls, path: Path, root: Path, reason: str) -> Ignored:
        """A file that is called as it is below `root`."""
        return cls(str(path.relative_to(root)), sys.intern(path.suffix.lower()), reason)


@dataclass(frozen=True)
class Found:
    """Images with their labels, in the order train, val, test of the parts that they come in.

    Attributes:
        name: of the data set.
        where: what holds them, for messages.
        classes: a label is an index into them.
        names: of each image, for messages.
        labels: shape (N,).
        parts: how many of the images, in this order, are in each part that exists; all in `train` where the images come
            without a split.
        open: the encoded image of an index: a path, or bytes.
        files: what the images are read from, for caches: any change of these is a change of the images.
        ignored: files beside them that are not read.
        notes: what was decided while looking, in a sentence each.
    """

    name: str
    where: Path
    classes: tuple[str, ...]
    names: Sequence[str]
    labels: NDArray[np.int64]
    parts: Mapping[Part, int]
    open: Callable[[int], Path | BytesIO] = field(repr=False)
    files: Sequence[Path] = field(repr=False)
    ignored: tuple[Ignored, ...] = ()
    notes: tuple[str, ...] = ()

    def called(self, index: int) -> str:
        """An image in messages: the path of a file in quotes."""
        return repr(self.names[index]) if len(self.files) == len(self.names) else self.names[index]

    def ranges(self) -> dict[Part, slice]:
        """The images of each part that they come in."""
        result: dict[Part, slice] = {}
        start = 0
        for part in PARTS:
            if part in self.parts:
                result[part] = slice(start, start + self.parts[part])
                start += self.parts[part]
        return result


@dataclass(frozen=True)
class Labelled:
    """One image: its part, the name of its class, and the file."""

    part: Part
    label: str
    path: Path


def found_files(
    name: str,
    where: Path,
    images: Iterable[Labelled],
    *,
    ignored: Iterable[Ignored] = (),
    notes: Iterable[str] = (),
) -> Found:
    """Files with their classes; they go by part, then by class, then by the order in which they come.

    Args:
        where: names of images are relative to it.

    Raises:
        DataError: there are fewer than two classes, the parts have different ones, or a name cannot be printed.
    """
    parts, labels = array("b"), array("i")
    numbers: dict[str, int] = {}

    def paths() -> Iterator[Path]:
        for one in images:
            parts.append(PARTS.index(one.part))
            labels.append(numbers.setdefault(one.label, len(numbers)))
            yield one.path

    table = PathTable(paths())
    part, label, known = np.array(parts, np.int8), np.array(labels, np.int64), list(numbers)
    classes = agreed_classes(
        {one: [known[k] for k in np.unique(label[part == rank])] for rank, one in enumerate(PARTS)}, where
    )
    index = {name: number for number, name in enumerate(classes)}
    label = np.array([index[name] for name in known], np.int64)[label]
    order = np.lexsort((label, part))
    table = table.ordered(order)
    counts = np.bincount(part, minlength=len(PARTS))
    files = table.paths()
    return Found(
        name=name,
        where=where,
        classes=classes,
        names=table.names(where),
        labels=label[order],
        parts={one: int(counts[rank]) for rank, one in enumerate(PARTS) if counts[rank]},
        open=files.__getitem__,
        files=files,
        ignored=tuple(ignored),
        notes=tuple(notes),
    )


def agreed_classes(labels: Mapping[Part, Iterable[str]], where: Path) -> tuple[str, ...]:
    """The classes of all parts, sorted.

    Args:
        labels: of the images, by part; a part without any does not exist.

    Raises:
        DataError: they differ from part to part, there are fewer than two, or a name cannot be printed.
    """
    by_part = {part: set(names) for part, names in labels.items()}
    by_part = {part: names for part, names in by_part.items() if names}
    classes = sorted(set().union(*by_part.values()))
    odd = [name for name in classes if not name.isprintable() or not name.strip()]
    if odd:
        raise DataError(f"a class name must be printable text, but {where} has {odd[0]!r}", hint="rename it")
    if len(classes) < 2:
        raise DataError(
            f"at least two classes are needed, but {where} has images of {', '.join(map(repr, classes)) or 'none'}",
            hint="add images of another class",
        )
    lacking = [
        f"{part} lacks {_few_names(sorted(set(classes) - names))}"
        for part, names in by_part.items()
        if len(names) < len(classes)
    ]
    if lacking:
        raise DataError(
            f"train, validation and test must have the same classes, but in {where} {'; '.join(lacking)}",
            hint="add images of these classes there, or remove the classes from the other parts",
        )
    return tuple(classes)


def _few_names(names: Sequence[str], shown: int = 5) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(map(repr, names[:shown])) + more
