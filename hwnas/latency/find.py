"""Where latency tables lie."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import platformdirs

from hwnas.devices.device import Condition
from hwnas.errors import InputError
from hwnas.resources import resource_folder

_HERE = Path("latency_tables")


def writable_root(tables: Path | None) -> Path:
    """The folder that new tables go to: `tables`, or the user's data folder."""
    return tables if tables is not None else platformdirs.user_data_path("hwnas") / "latency_tables"


def table_folder(condition: Condition, tables: Path | None) -> Path:
    """The folder that the condition's table is completed in: one that `find_folder` will find next time.

    That is ./latency_tables where it holds a table of this condition, because it is looked at first.
    """
    folder = _HERE / condition.folder
    if tables is None and (folder / "meta.toml").is_file():
        return folder
    return writable_root(tables) / condition.folder


def find_folder(condition: Condition, tables: Path | None) -> Path | None:
    """The folder of the condition's table, or None.

    Looked for in `tables` alone if given; else in ./latency_tables, the user's data folder, and what hwnas ships.
    """
    for root in [tables] if tables is not None else _default_roots():
        folder = root / condition.folder
        if (folder / "meta.toml").is_file():
            return folder
    return None


def _default_roots() -> Iterator[Path]:
    yield _HERE
    yield writable_root(None)
    try:
        yield resource_folder("latency_tables")
    except InputError:
        return
