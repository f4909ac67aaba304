"""Rows as a CSV file that spreadsheets open."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from hwnas.display import printable
from hwnas.files import write_text

Cell = str | int | float | bool | None
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes a text for a formula by."""


def write_csv(path: Path, rows: Sequence[Mapping[str, Cell]]) -> None:
    """Write rows with equal keys, with a header; what is not known is an empty cell.

    Texts come from folders of others: what is not printable is escaped, and what a spreadsheet would take for a formula
    gets an apostrophe.

    Raises:
        StorageError: the file cannot be written.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(list(rows[0]) if rows else [])
    writer.writerows([[_cell(one) for one in row.values()] for row in rows])
    write_text(path, buffer.getvalue())


def _cell(value: Cell) -> Cell:
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
