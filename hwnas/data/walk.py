"""List the files below a folder, without opening any."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from hwnas.data import image
from hwnas.data.found import Ignored
from hwnas.data.path_table import PathTable
from hwnas.errors import DataError

_Kind = Literal["file", "folder", "other"]

_SYSTEM = frozenset({"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information"})
_HIDDEN = "hidden"
_NO_IMAGE = "no image that is read"
_NO_HEIF = "HEIC, which needs `pip install pillow-heif`"
_NO_FILE = "neither a file nor a link to one"


def entries(folder: Path) -> list[Path]:
    """What a folder shows, sorted by name; hidden files and those of operating systems are left out.

    Raises:
        DataError: it cannot be listed.
    """
    try:
        return sorted(entry for entry in folder.iterdir() if not hidden(entry.name))
    except OSError as error:
        raise DataError(
            f"cannot list {folder}: {error.strerror or error}", hint="check the permissions of the folder"
        ) from error


def hidden(name: str) -> bool:
    """Whether a file or folder of that name is none of the user's images."""
    return name.startswith(".") or name in _SYSTEM


def images(folder: Path, root: Path, ignored: list[Ignored]) -> Sequence[Path]:
    """Files below `folder`, at any depth, whose suffix is that of an image, sorted; links are followed.

    A dangling link counts, to be reported when it is read. Pipes and devices do not: opening them could block.

    Args:
        root: names in `ignored` are relative to it.
        ignored: gets those that are not taken.

    Raises:
        DataError: a folder cannot be listed.
    """

    def taken() -> Iterator[Path]:
        for path, is_file in files(folder, root, ignored):
            reason = refusal(path) or ("" if is_file else _NO_FILE)
            if reason:
                ignored.append(Ignored.of(path, root, reason))
            else:
                yield path

    return PathTable(taken()).paths()


def first_image(folder: Path) -> Path | None:
    """An image below a folder, whichever; None if there is none.

    Raises:
        DataError: a folder cannot be listed.
    """
    return next((path for path, _ in files(folder, folder, []) if not refusal(path)), None)


def has_files(folder: Path) -> bool:
    """Whether there is anything below a folder that is neither hidden nor a folder.

    Raises:
        DataError: a folder cannot be listed.
    """
    return next(files(folder, folder, []), None) is not None


def refusal(path: Path) -> str:
    """Why a file is no image, by its name alone; empty where it is one."""
    suffix = path.suffix.lower()
    if suffix in image.SUFFIXES:
        return ""
    return _NO_HEIF if suffix in image.HEIF_SUFFIXES else _NO_IMAGE


def files(folder: Path, root: Path, ignored: list[Ignored]) -> Iterator[tuple[Path, bool]]:
    """Everything below a folder that is no folder, sorted, and whether it is a file or a dangling link.

    Raises:
        DataError: a folder cannot be listed.
    """
    seen: set[tuple[int, int]] = set()
    _first_time(folder, seen)
    opened = [_listed(folder, root, ignored, seen)]
    while opened:
        for path, kind in opened[-1]:
            if kind == "folder":
                opened.append(_listed(path, root, ignored, seen))
                break
            yield path, kind == "file"
        else:
            opened.pop()


def _listed(
    folder: Path, root: Path, ignored: list[Ignored], seen: set[tuple[int, int]]
) -> Iterator[tuple[Path, _Kind]]:
    """What a folder shows, sorted by name; of folders those that were not visited yet."""
    names: list[str] = []
    folders: list[str] = []
    hidden_names, others = [], set()
    try:
        with os.scandir(folder) as listed:
            for entry in listed:
                if hidden(entry.name):
                    hidden_names.append(entry.name)
                    continue
                kind = _kind(entry)
                (folders if kind == "folder" else names).append(entry.name)
                if kind == "other":
                    others.add(entry.name)
    except OSError as error:
        raise DataError(
            f"cannot list {folder}: {error.strerror or error}", hint="check the permissions of the folder"
        ) from error
    ignored += [Ignored.of(folder / name, root, _HIDDEN) for name in sorted(hidden_names)]
    new = {name for name in sorted(folders) if _first_time(folder / name, seen)}
    for name in sorted(names + list(new)):
        yield folder / name, "folder" if name in new else "other" if name in others else "file"


def _kind(entry: os.DirEntry[str]) -> _Kind:
    try:
        if entry.is_dir():
            return "folder"
        return "file" if entry.is_file() or not Path(entry.path).exists() else "other"
    except OSError:  # links in a circle, which are reported when they are read
        return "file"


def _first_time(folder: Path, seen: set[tuple[int, int]]) -> bool:
    """Whether a folder was not visited yet, so that links in a circle end."""
    try:
        facts = folder.stat()
    except OSError:
        return True
    key = (facts.st_dev, facts.st_ino)
    if key in seen:
        return False
    seen.add(key)
    return True
