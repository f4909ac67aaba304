"""The rows of a latency table as CSV: a line each, sorted by key, times in microseconds to the nanosecond."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from hwnas.arch.op import OpSpec
from hwnas.errors import InputError, TableError
from hwnas.latency.table import Row
from hwnas.schema import LARGEST_INTEGER, checked

_NEW_NAMES = {"canary_us": "reference_us"}
"""Columns that earlier versions called otherwise."""
_COLUMNS = [column.name for column in fields(Row)]
_MARK = re.compile(r"[0-9a-f]{16}")


def csv_of(rows: Mapping[str, Row]) -> bytes:
    """The file that `rows_of` reads."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for key in sorted(rows):
        row = rows[key]
        numbers = (f"{value:.3f}" for value in (row.median_us, row.p10_us, row.p90_us))
        writer.writerow([row.key, row.fingerprint, *numbers, row.runs, row.measured_at, f"{row.reference_us:.3f}"])
    return buffer.getvalue().encode()


def rows_of(content: bytes, path: Path, hint: str) -> dict[str, Row]:
    """The rows by key, each checked as the line that it is.

    Args:
        path: of the file, for messages.

    Raises:
        TableError: a line is no row, or its op was there before.
    """
    try:
        reader = csv.reader(io.StringIO(content.decode()))
    except UnicodeDecodeError as error:
        raise TableError(f"{path}: {error}", hint=hint) from error
    rows: dict[str, Row] = {}
    try:
        columns = _columns(next(reader, []))
        for values in filter(None, reader):
            if len(values) != len(columns):
                raise ValueError(f"line {reader.line_num} must have {len(columns)} fields")
            OpSpec.parse(values[0])
            if values[0] in rows:
                raise ValueError(f"line {reader.line_num}.key must be of one line, not of another one too")
            row = _sound(values)
            rows[values[0]] = row or _refused(dict(zip(columns, values, strict=True)), reader.line_num, path, hint)
    except TableError:
        raise
    except (csv.Error, InputError) as error:
        raise TableError(f"{path}: line {reader.line_num}: {error}", hint=hint) from error
    except ValueError as error:
        raise TableError(f"{path}: {error}", hint=hint) from error
    return rows


def _columns(names: Sequence[str]) -> list[str]:
    """The columns of the file, under today's names; older versions lack the last one."""
    found = [_NEW_NAMES.get(name, name) for name in names]
    if found not in (_COLUMNS, _COLUMNS[:-1]):
        raise ValueError(f"the columns must be {','.join(_COLUMNS)}, not {','.join(found)[:200]}")
    return found


def _sound(values: Sequence[str]) -> Row | None:
    """The row of a line that keeps to the rules of its type; in plain Python, as there may be 100,000 of them."""
    key, mark, *times, runs, when = values[:7]
    try:
        median_us, p10_us, p90_us = map(float, times)
        count, reference_us = int(runs), float(values[7]) if len(values) > 7 else 0.0
    except ValueError:
        return None
    if not (0 < median_us < math.inf and 0 < p10_us < math.inf and 0 < p90_us < math.inf):
        return None
    if not (0 <= reference_us < math.inf and abs(count) <= LARGEST_INTEGER and _MARK.fullmatch(mark)):
        return None
    return Row(key, mark, median_us, p10_us, p90_us, count, when, reference_us)


def _refused(texts: Mapping[str, str], number: int, path: Path, hint: str) -> Row:
    """What the rules of the type say of a line, which is as a rule an error."""
    line, values = f"line {number}", {name: _value(name, text) for name, text in texts.items()}
    return checked({line: values}, dict[str, Row], path, error=TableError, hint=hint)[line]


def _value(column: str, text: str) -> Any:
    """The number that a field holds, or else its text."""
    try:
        return int(text) if column == "runs" else float(text) if column.endswith("_us") else text
    except ValueError:
        return text
