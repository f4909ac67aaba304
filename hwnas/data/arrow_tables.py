"""Images and labels in Parquet files, or in the Arrow files that the package `datasets` saves; both need pyarrow."""

from __future__ import annotations

import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwnas.data import walk
from hwnas.data.found import PARTS, Found, Part, agreed_classes, part_of
from hwnas.data.labels import class_labels
from hwnas.errors import DataError

TABLES = frozenset({".parquet", ".arrow"})
LAYOUT = (
    "a table has a column of encoded images (image, with their bytes) and one of labels (label); files of several "
    "parts are called train-..., validation-..., test-..., or lie in such folders"
)
_IMAGE = ("image", "img", "picture", "jpg", "png")
_LABEL = ("label", "labels", "class", "category", "target", "fine_label")
_LARGEST_BYTES = 8 * 2**30


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
    loaded = [_Table(path, _part(path, where)) for path in tables]
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
    ends = np.cumsum([len(table) for table in loaded])

    def opened(index: int) -> Path | BytesIO:
        number = int(np.searchsorted(ends, index, side="right"))
        return loaded[number].image(index - int(ends[number]) + len(loaded[number]))

    return Found(
        name=where.resolve().stem or str(where),
        where=where,
        classes=classes,
        names=[f"row {row} of {table.path.name}" for table in loaded for row in range(len(table))],
        labels=np.concatenate([indices[key] for key in keys]),
        parts={part: sum(len(keys[key]) for key in by_part[part]) for part in PARTS if by_part[part]},
        open=opened,
        files=[table.path for table in loaded],
    )


class _Table:
    """One file: the columns of images and of labels."""

    def __init__(self, path: Path, part: Part) -> None:
        self.path, self.part = path, part
        table = _read(path)
        names = table.column_names
        image = next((name for name in _IMAGE if name in names and _is_image(table.schema.field(name).type)), None)
        others = [name for name in names if _is_image(table.schema.field(name).type)]
        image = image or (others[0] if len(others) == 1 else None)
        label = next((name for name in _LABEL if name in names), None)
        if image is None or label is None:
            raise DataError(
                f"{path} has no column of {'encoded images' if image is None else 'labels'}; it has {', '.join(names)}",
                hint=LAYOUT,
            )
        self._images = table.column(image)
        if table.column(label).null_count:
            raise DataError(
                f"every row needs a label, but {path} has rows without", hint="fill them in, or remove them"
            )
        self.labels: NDArray[Any] = np.array(table.column(label).to_pylist())
        self.class_names = _class_names(table.schema.metadata or {}, label, path)

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, row: int) -> Path | BytesIO:
        """The encoded image of a row; nothing, which cannot be read, where there is none."""
        value = self._images[row].as_py()
        content, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
        if content is None and path:
            return self.path.parent / str(path)
        return BytesIO(content or b"")


def _read(path: Path) -> Any:
    try:
        import pyarrow as pa
        from pyarrow import ipc, parquet
    except ImportError as error:
        raise DataError(f"{path} is read by pyarrow, which is not installed", hint="pip install pyarrow") from error
    try:
        if path.suffix.lower() == ".parquet":
            if parquet.read_metadata(path).num_rows and path.stat().st_size > _LARGEST_BYTES:
                raise DataError(f"{path} is larger than {_LARGEST_BYTES >> 30} GiB", hint="write several smaller files")
            return parquet.read_table(path)
        source = pa.memory_map(str(path))
        try:
            return ipc.open_stream(source).read_all()
        except pa.ArrowInvalid:
            return ipc.open_file(source).read_all()
    except (pa.ArrowException, OSError, ValueError) as error:
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
