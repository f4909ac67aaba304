"""How much a .tflite file unpacks to: its offsets may all lead to one table, so a small file could fill any memory."""

from __future__ import annotations

from functools import cache
from typing import Any

_MOST_TABLES = 1_000_000  # as the verifier of flatbuffers allows, by which LiteRT refuses a file
_MOST_TIMES = 16  # its size, of texts
_TEXTS = ("Name", "Description", "SignatureKey", "CustomCode")


def check_unpacked(model: Any, size_bytes: int) -> None:
    """Refuse a model whose tables and texts are used so often that it would unpack to far more than it holds.

    Args:
        model: `Model` of the generated schema, which reads a flatbuffer in place.
        size_bytes: of the file.

    Raises:
        ValueError: it has more than a million tables, or texts of 16 times its size.
        struct.error, TypeError, IndexError: it is damaged.
    """
    waiting, tables, text_bytes = [model], 1, 0
    while waiting:
        table = waiting.pop()
        kind: Any = type(table)
        vectors, texts, parts = _fields(kind)
        counts = {name: getattr(table, f"{name}Length")() for name in vectors}
        tables += sum(counts.values())
        text_bytes += sum(len(getattr(table, name)() or b"") for name in texts)
        if tables > _MOST_TABLES or text_bytes > _MOST_TIMES * size_bytes:
            raise ValueError("its tables or texts are used again and again, so it would unpack to any size")
        waiting += [getattr(table, name)(index) for name, count in counts.items() for index in range(count)]
        waiting += [one for name in parts if (one := getattr(table, name)()) is not None]


@cache
def _fields(kind: type) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """The vectors of tables of a kind of table, its texts, and the single table that has such vectors itself."""
    names = dir(kind)
    lengths = [name.removesuffix("Length") for name in names if name.endswith("Length")]
    vectors = tuple(name for name in lengths if f"{name}AsNumpy" not in names)  # numbers are read in place
    return vectors, tuple(name for name in _TEXTS if name in names), ("Sparsity",) if "Sparsity" in names else ()
