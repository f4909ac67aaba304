"""Images and labels in Parquet files, or in the Arrow files that the package `datasets` saves; both need pyarrow."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwnas.data import walk
from hwnas.data.found import PARTS, Found, Part, agreed_classes, part_of
from hwnas.data.labels import class_labels
from hwnas.data.path_table import chained
from hwnas.data.row_groups import ParquetColumn, RowGroups
from hwnas.errors import DataError
from hwnas.files import real_path

TABLES = frozenset({".parquet", ".arrow"})
LAYOUT = (
    "a table has a column of encoded images (image, with their bytes) and one of labels (label); files of several "
    "parts are called train-..., validation-..., test-..., or lie in such folders"
)
_IMAGE = ("image", "img", "picture", "jpg", "png")
_LABEL = ("label", "labels", "class", "category", "target", "fine_label")


def arrow_files(folder: Path) -> list[Path]:
    """The tables in a folder and in its sub-folders."""
    found = [path for pattern in ("*", "*/*") for path in folder.glob(pattern) if path.suffix.lower() in TABLES]
    ours = [path for path in found if not path.name.startswith("cache-")]  # `datasets` leaves those behind
    return sorted(path for path in ours if not any(map(walk.hidden, path.relative_to(folder).parts)))


def from_arrow(where: Path, tables: Sequence[Path]) -> Found:
    """The images of all tables; those that are of no part are of `train`.

    Raises:
        DataError: pyarrow is not installed, or a table cannot be used.
    """
    groups = RowGroups()
    loaded = [_Table(path, _part(path, where), groups) for path in tables]
    loaded.sort(key=lambda table: PARTS.index(table.part))
    named = [table.class_names for table in loaded if table.class_names is not None]
    keys = {f"{table.part} {number}": table for number, table in enumerate(loaded)}
    classes, indices = class_labels(
        {key: table.labels for key, table in keys.items()}, named[0] if named else None, where=str(where)
    )
    by_part = {part: [key for key, table in keys.items() if table.part == part] for part in PARTS}
    if not named:
        agreed_classes(
            {part: [classes[k] for key in by_part[part] for k in set(indices[key])] for part in PARTS}, where
        )
    counts = list(map(len, loaded))
    return Found(
        name=real_path(where).stem or str(where),
        where=where,
        classes=classes,
        names=chained(counts, lambda number, row: f"row {row} of {loaded[number].path.name}"),
        labels=np.concatenate([indices[key] for key in keys]),
        parts={part: sum(len(keys[key]) for key in by_part[part]) for part in PARTS if by_part[part]},
        open=chained(counts, lambda number, row: loaded[number].image(row)).__getitem__,
        files=[table.path for table in loaded],
    )


class _Table:
    """One file: the labels, and the images, which are read when they are used."""

    def __init__(self, path: Path, part: Part, groups: RowGroups) -> None:
        self.path, self.part = path, part
        file = _opened(path)
        schema = file.schema
        image = next((name for name in _IMAGE if name in schema.names and _is_image(schema.field(name).type)), None)
        others = [name for name in schema.names if _is_image(schema.field(name).type)]
        image = image or (others[0] if len(others) == 1 else None)
        label = next((name for name in _LABEL if name in schema.names), None)
        if image is None or label is None:
            raise DataError(
                f"{path} has no column of {'encoded images' if image is None else 'labels'}; it has "
                f"{', '.join(schema.names)}",
                hint=LAYOUT,
            )
        with _readable(path):
            labels = file.column(label)
        if labels.null_count:
            raise DataError(
                f"every row needs a label, but {path} has rows without", hint="fill them in, or remove them"
            )
        self.labels: NDArray[Any] = np.array(labels.to_pylist())
        self.class_names = _class_names(schema.metadata or {}, label, path)
        self._images = file.images(image, groups)

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, row: int) -> Path | BytesIO:
        """The encoded image of a row; nothing, which cannot be read, where there is none.

        Raises:
            OSError: what holds it cannot be read.
        """
        from pyarrow import ArrowException

        try:
            value = self._images[row].as_py()
        except (ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno:
                raise
            raise OSError(f"its row group cannot be read: {str(error).splitlines()[0]}") from error
        content, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
        if content is None and path:
            return self.path.parent / str(path)
        return BytesIO(content or b"")


@dataclass(frozen=True)
class _Opened:
    """A file of which the columns are known.

    Attributes:
        column: reads a whole column.
        images: a column of which values are read by row.
    """

    schema: Any
    column: Callable[[str], Any]
    images: Callable[[str, RowGroups], Any]


def _opened(path: Path) -> _Opened:
    try:
        import pyarrow as pa
        from pyarrow import ipc, parquet
    except ImportError as error:
        raise DataError(f"{path} is read by pyarrow, which is not installed", hint="pip install pyarrow") from error
    with _readable(path):
        if path.suffix.lower() == ".parquet":
            with parquet.ParquetFile(path) as file:
                metadata, schema = file.metadata, file.schema_arrow

            def column(name: str) -> Any:
                with parquet.ParquetFile(path, metadata=metadata) as file:
                    return file.read(columns=[name]).column(name)

            return _Opened(schema, column, lambda name, groups: ParquetColumn(path, metadata, name, groups))
        source = pa.memory_map(str(path))  # of which the system keeps in memory as much as there is room for
        try:
            table = ipc.open_stream(source).read_all()
        except pa.ArrowInvalid:
            table = ipc.open_file(source).read_all()
        return _Opened(table.schema, table.column, lambda name, _: table.column(name))


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    from pyarrow import ArrowException

    try:
        yield
    except (ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {str(error).splitlines()[0]}", hint="write it again") from error


def _is_image(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return any(kind.field(index).name == "bytes" for index in range(kind.num_fields))
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _class_names(metadata: dict[bytes, bytes], label: str, path: Path) -> tuple[str, ...] | None:
    """The names of the classes as `datasets` notes them, in the table or in dataset_info.json beside it."""
    notes = []
    try:
        if b"huggingface" in metadata:
            notes.append(json.loads(metadata[b"huggingface"])["info"])
        beside = path.parent / "dataset_info.json"
        if beside.is_file():
            notes.append(json.loads(beside.read_text(encoding="utf-8")))
        for note in notes:
            names = note["features"][label].get("names")
            if isinstance(names, list) and all(isinstance(name, str) for name in names):
                return tuple(names)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return None


def _part(path: Path, where: Path) -> Part:
    """By the beginning of the file's name, or by its folder."""
    inside = path.parent.name if path.parent != where else ""
    for name in (path.stem, path.stem.split("-")[0], path.stem.split("_")[0], inside):
        if (part := part_of(name)) is not None:
            return part
    return "train"
