"""Whose folder it is: hwnas removes and replaces files only in folders that carry its marker.

The marker is written before anything else. Runs of versions without it are known by their whole configuration. Once a
run has ended, its marker holds the checksums of what it shipped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

from hwnas.asked_paths import run_folder
from hwnas.config.read import sections_of
from hwnas.errors import InputError, StorageError
from hwnas.files import is_leftover, real_path, sha256_of, write_json
from hwnas.schema import one_of, read_json_as

NAME = ".hwnas-run"
VERSION = 1
_FORMAT = "hwnas run"


@dataclass(frozen=True)
class Shipped:
    """A file as the run left it."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class _Marker:
    """Of the marker; `shipped` holds files by name."""

    format: Annotated[str, one_of(_FORMAT)]
    version: int
    shipped: dict[str, Shipped] = field(default_factory=dict)


def is_run(folder: Path) -> bool:
    """Whether hwnas made the folder for a run."""
    return (folder / NAME).is_file() or _of_earlier_version(folder)


def is_free(folder: Path) -> bool:
    """Whether nothing is there, or no more than what a run leaves that was killed before it wrote its marker."""
    if not folder.exists():
        return not folder.is_symlink()
    if not folder.is_dir():
        return False
    return all(is_leftover(path) or _only_lock(path) for path in folder.iterdir())


def check_run(folder: Path) -> None:
    """Refuse what is no run.

    Raises:
        InputError: there is no such folder, or hwnas did not make it.
    """
    if not is_run(run_folder(folder)):
        raise InputError(f"{folder} is no run of hwnas: it has no {NAME}", hint="name the folder of a finished run")


def check_own(folder: Path, what: str = "run of hwnas") -> None:
    """Refuse a folder with other people's files, or whose `state` is a link to elsewhere.

    Raises:
        InputError: it is one.
        StorageError: a file is where the folder should be.
    """
    another = "choose another --out; nothing was changed"
    if folder.is_file():
        raise StorageError(f"cannot write {folder}: it is a file, but a run is a folder", hint=another)
    if not (is_free(folder) or is_run(folder)) and folder.is_dir():
        raise InputError(f"{folder} holds files and is no {what}: it has no {NAME}", hint=another)
    if (folder / "state").is_symlink():
        raise InputError(f"{folder / 'state'} must be a folder, not a symbolic link", hint=another)


def check_replaceable(folder: Path, path: Path) -> None:
    """Refuse to replace a file of that folder unless hwnas made the folder, for a run or one of its budgets.

    Raises:
        InputError: the file is there, and the folder is somebody else's.
    """
    if path.exists() and not (is_run(folder) or is_run(real_path(folder).parent)):
        raise InputError(
            f"{folder} is no run of hwnas: it has no {NAME}, so {path.name} is not replaced",
            hint="name the folder of a run, or move the file away",
        )


def mark(folder: Path) -> None:
    """Write the marker, unless it is there.

    Raises:
        StorageError: it cannot be written.
    """
    if not (folder / NAME).is_file():
        write_json(folder / NAME, {"format": _FORMAT, "version": VERSION})


def seal(folder: Path, files: Iterable[Path]) -> None:
    """Note the checksums of what the run shipped; files that are not there are left out.

    Raises:
        StorageError: the marker cannot be written.
    """
    found = {path.name: asdict(_shipped(path)) for path in sorted(files) if path.is_file()}
    write_json(folder / NAME, {"format": _FORMAT, "version": VERSION, "shipped": found})


def sealed(folder: Path) -> Mapping[str, Shipped]:
    """The shipped files by name; empty where the run has not ended, or was of an earlier version.

    Raises:
        InputError: the marker is damaged.
    """
    path = folder / NAME
    if not path.is_file():
        return {}
    return read_json_as(path, _Marker, hint="delete it: then the files are checked without their checksums").shipped


def holes(folder: Path) -> list[str]:
    """The names of shipped files that are missing or not as the run left them."""
    return [name for name, one in sealed(folder).items() if not _same(folder / name, one)]


def _shipped(path: Path) -> Shipped:
    return Shipped(path.stat().st_size, sha256_of(path))


def _same(path: Path, one: Shipped) -> bool:
    """Files of another size are not read."""
    return path.is_file() and path.stat().st_size == one.bytes and sha256_of(path) == one.sha256


def _of_earlier_version(folder: Path) -> bool:
    """Whether there is the configuration of a run, which names all that a run needs, and its state or its result."""
    try:
        content = sections_of(folder / "config.toml")
    except InputError:
        return False
    named = (content.get(section) for section in ("data", "target", "space", "compute"))
    options = ("source", "budget", "name", "seed")
    whole = all(isinstance(one, dict) and option in one for one, option in zip(named, options, strict=True))
    return whole and ((folder / "state").is_dir() or (folder / "result.json").is_file())


def _only_lock(path: Path) -> bool:
    """Whether it is a `state` with a lock alone."""
    if path.name != "state" or path.is_symlink() or not path.is_dir():
        return False
    return all(one.name == "lock" or is_leftover(one) for one in path.iterdir())
