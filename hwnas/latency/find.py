"""Where latency tables lie."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import platformdirs

from hwnas.devices.device import IMPORTED, Condition, Device, list_devices, load_device
from hwnas.devices.link import condition_of
from hwnas.errors import InputError, TableError
from hwnas.progress import Progress
from hwnas.resources import resource_folder

_HERE = Path("latency_tables")


def writable_root(tables: Path | None) -> Path:
    """The folder that new tables go to: `tables`, or the user's data folder."""
    return tables if tables is not None else platformdirs.user_data_path("hwnas") / "latency_tables"


def table_folder(condition: Condition, tables: Path | None) -> Path:
    """The folder that the condition's table is completed in: one that `find_folder` will find next time.

    That is ./latency_tables where only that holds a table of this condition: what comes from there stays there.
    """
    here = _HERE / condition.folder
    if tables is None and _first(condition.folder, None) == here:
        return here
    return writable_root(tables) / condition.folder


def find_folder(condition: Condition, tables: Path | None) -> Path | None:
    """The folder of the condition's table, or None.

    Looked for in `tables` alone if given; else in the user's data folder, in what hwnas ships, and in ./latency_tables,
    which comes last, as others may have made the working directory (docs/decisions/0046).
    """
    return _first(condition.folder, tables)


def say_if_here(folder: Path | None, tables: Path | None, progress: Progress) -> None:
    """Tell the user that a table in use is one of the working directory, unless that was asked for."""
    asked_for = tables is not None and folder is not None and folder.is_relative_to(tables)
    if folder is not None and folder.is_relative_to(_HERE) and not asked_for:
        progress.say(f"latency table from ./{folder.as_posix()}")


def adapted_folder(condition: Condition, signature: str) -> Path:
    """Where the table lies that was predicted for one space instance, below a folder of latency tables."""
    return condition.folder.with_name(f"{condition.id}-adapted-{signature}")


def find_adapted(condition: Condition, signature: str, tables: Path | None) -> Path | None:
    """The folder of the condition's adapted table for a space instance, or None; looked for as a measured one is."""
    return _first(adapted_folder(condition, signature), tables)


def any_adapted(condition: Condition, tables: Path | None) -> list[Path]:
    """The folders of all adapted tables of the condition, by name."""
    found: dict[str, Path] = {}
    for root in [tables] if tables is not None else _default_roots():
        for path in (root / condition.device).glob(f"{condition.id}-adapted-*/meta.toml"):
            found.setdefault(path.parent.name, path.parent)
    return [found[name] for name in sorted(found)]


def all_folders(tables: Path | None) -> list[Path]:
    """The folders of all tables: those in `tables`, if given, and those that are looked for without it.

    Of several for one condition, the first one that is found.
    """
    found: dict[str, Path] = {}
    for root in [*([tables] if tables is not None else []), *_default_roots()]:
        for path in sorted(root.glob("*/*/meta.toml")):
            found.setdefault(path.parent.relative_to(root).as_posix(), path.parent)
    return list(found.values())


def _first(folder: Path, tables: Path | None) -> Path | None:
    for root in [tables] if tables is not None else _default_roots():
        if (root / folder / "meta.toml").is_file():
            return root / folder
    return None


def _default_roots() -> Iterator[Path]:
    yield writable_root(None)
    with suppress(InputError):
        yield resource_folder("latency_tables")
    yield _HERE


def device_or_imported(id_or_path: str, tables: Path | None) -> Device:
    """The device of that name; or, where there is none, the one that an imported table of that name speaks of.

    Raises:
        InputError: there is neither, or the description of the device is not valid.
    """
    if re.fullmatch(r"[a-z0-9][a-z0-9._-]*", id_or_path) and not id_or_path.endswith(".toml"):
        imported = Device.of_imported_table(id_or_path)
        known = {device.id for device in list_devices()}
        if id_or_path not in known and find_folder(condition_of(imported), tables) is not None:
            return imported
    return load_device(id_or_path)


def device_to_measure(id_or_path: str) -> Device:
    """The device of that name, on which something is to be measured.

    Raises:
        InputError: there is none, or an imported table alone speaks of it.
    """
    found = device_or_imported(id_or_path, None)
    if not found.reachable:
        raise InputError(
            f"nothing can be measured on {found.id!r}: it is {found.description}",
            hint="hwnas search takes it; to measure, name another device, or describe this one (hwnas devices new)",
        )
    return found


def devices_of_imported_tables() -> list[str]:
    """Names of the devices that imported tables alone speak of, sorted."""
    known = {device.id for device in list_devices()}
    found = {folder.parent.name for folder in all_folders(None) if folder.name == IMPORTED}
    return sorted(found - known)


def only_table(folder: Path) -> Path:
    """`folder` if it holds a table, or the folder of the single table somewhere below it.

    Raises:
        TableError: there is none, or there are several.
    """
    if (folder / "meta.toml").is_file():
        return folder
    found = sorted(path.parent for path in folder.glob("*/*/meta.toml"))
    if not found:
        raise TableError(f"there is no latency table in {folder}", hint="hwnas profile-device makes one")
    if len(found) > 1:
        names = ", ".join(str(path) for path in found)
        raise TableError(f"{folder} holds {len(found)} latency tables", hint=f"name one of them: {names}")
    return found[0]
