"""Columns of Parquet files, of which no more is in memory than a few groups of rows."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from hwnas.errors import DataError

KEPT_BYTES = 512 * 2**20
"""Row groups that were read last stay in memory up to this, and the last of them in any case."""

LARGEST_BYTES = 8 * 2**30
"""No larger row group is read."""


class RowGroups:
    """Row groups of several files; one more is read when it is needed, and those unused for longest go."""

    def __init__(self, kept_bytes: int | None = None) -> None:
        """Keep so much, or else `KEPT_BYTES`."""
        self._kept_bytes = KEPT_BYTES if kept_bytes is None else kept_bytes
        self._kept: OrderedDict[tuple[Path, int], Any] = OrderedDict()
        self._lock = threading.Lock()

    def column(self, file: ParquetColumn, group: int) -> Any:
        """The column in one row group; several threads may ask.

        Raises:
            one of pyarrow's errors, or an OSError: it cannot be read.
        """
        key = (file.path, group)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = file.read(group)
                while len(self._kept) > 1 and sum(one.nbytes for one in self._kept.values()) > self._kept_bytes:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]


class ParquetColumn:
    """One column of a Parquet file, read by row group; the file is open only then."""

    def __init__(self, path: Path, metadata: Any, name: str, groups: RowGroups) -> None:
        """Prepare it; nothing is read.

        Args:
            metadata: that pyarrow read of the file.

        Raises:
            DataError: a row group is larger than `LARGEST_BYTES`.
        """
        facts = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        if any(one.total_byte_size > LARGEST_BYTES for one in facts):
            raise DataError(
                f"a row group may take {LARGEST_BYTES >> 30} GiB, but {path} has a larger one",
                hint="write the file again with smaller ones, as in pq.write_table(table, path, row_group_size=1000)",
            )
        self.path, self._metadata, self._name, self._groups = path, metadata, name, groups
        self._ends = np.cumsum([one.num_rows for one in facts])

    def __getitem__(self, row: int) -> Any:
        """The value of a row, as pyarrow has it."""
        group = int(np.searchsorted(self._ends, row, side="right"))
        column = self._groups.column(self, group)
        return column[row - int(self._ends[group]) + len(column)]

    def read(self, group: int) -> Any:
        """The column in a row group, which is read and not kept."""
        from pyarrow import parquet

        with parquet.ParquetFile(self.path, metadata=self._metadata) as file:
            return file.read_row_group(group, columns=[self._name]).column(0)
