"""Where decoded pixels are kept, so that images are decoded once, and how much of the disk they may take."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray

from hwnas.data.reading import Reading
from hwnas.data.record_file import RecordFile, remove_unused, size_bytes
from hwnas.errors import StorageError
from hwnas.files import cache_folder, private_folder, real_path

SHARE = 0.5
"""Of the disk that is free, or would be without the cache, as much as the cache may hold in all."""

_FORMAT = 3  # of an entry
_SUFFIX = ".pixels"
_PATTERNS = (f"*{_SUFFIX}", "*.pixels.npy", ".*.pixels.npy.*")  # the others are those of earlier versions


def folder() -> Path:
    """Where the entries are."""
    return cache_folder() / "images"


def opened(key: str, count: int, record_bytes: int) -> RecordFile:
    """The entry of a key, with room for `count` records; what was not used for longest makes room where it must.

    Raises:
        OSError: there is no room, or the entry cannot be opened.
    """
    if not hasattr(os, "preadv"):
        raise OSError("this system lacks reads and locks that processes share")
    path, needed = folder() / f"{key}{_SUFFIX}", size_bytes(count, record_bytes)
    try:
        private_folder(path.parent)  # people's photos
    except StorageError as error:
        cause = error.__cause__
        raise (cause if isinstance(cause, OSError) else OSError(str(error))) from error
    _make_room(path, needed)
    return RecordFile(path, count, record_bytes)


def pixels_key(files: Sequence[Path], shape: tuple[int, ...], reading: Reading) -> str | None:
    """The key of an entry: another for other files, another shape, reading, or version of Pillow; None if one is gone.

    A file counts as the same while its path, size and times of change are, of its content and of its inode.
    """
    return stats_key(files, f"{_FORMAT} {shape} {reading.key} Pillow {PIL.__version__}")


def cached(
    files: Sequence[Path], shape: tuple[int, ...], reading: Reading, decode: Callable[[], NDArray[np.uint8]]
) -> NDArray[np.uint8]:
    """What `decode` gives: uint8 of that shape, from the cache if these very files were decoded to it before.

    A damaged entry is decoded again, and an entry that cannot be written is done without.
    """
    key = pixels_key(files, shape, reading)
    kept: RecordFile | None = None
    with contextlib.suppress(OSError):
        kept = None if key is None else opened(key, 1, math.prod(shape))
    if kept is not None and kept.read(0, pixels := np.empty(shape, np.uint8)):
        return pixels
    pixels = decode()
    if kept is not None:
        with contextlib.suppress(OSError):
            kept.write(0, pixels)
    return pixels


def stats_key(files: Sequence[Path], more: str, *, whole: bool = True) -> str | None:
    """Text that changes with the path, size or times of change of any of the files, and with `more`.

    The time of the content can be set back, as copying does; that of the inode cannot.

    None if a file is not there and `whole` is true.
    """
    total = hashlib.sha256(os.fsencode(more))
    folders: dict[Path, Path] = {}
    for file in files:
        try:
            facts = file.stat()
            if file.parent not in folders:
                folders[file.parent] = real_path(file.parent)
            seen = f"{facts.st_size} {facts.st_mtime_ns} {facts.st_ctime_ns} {folders[file.parent] / file.name}"
        except (OSError, RuntimeError, ValueError):  # gone, a loop of links, no name: whoever reads it says so
            if whole:
                return None
            seen = f"missing {file}"
        total.update(os.fsencode(chr(0) + seen))
    return total.hexdigest()


def _make_room(newest: Path, needed: int) -> None:
    """Remove what was not used for longest, until the rest and the new entry are within the limit.

    Entries that a living process has open stay.
    """
    entries = {}
    for entry in {found for pattern in _PATTERNS for found in newest.parent.glob(pattern)}:
        with contextlib.suppress(OSError):
            facts = entry.lstat()
            entries[entry] = (facts.st_mtime_ns, facts.st_blocks * 512)
    limit = int(SHARE * (shutil.disk_usage(newest.parent).free + sum(size for _, size in entries.values())))
    entries.pop(newest, None)
    left = sum(size for _, size in entries.values())
    for entry, (_, size) in sorted(entries.items(), key=lambda item: item[1]) if needed <= limit else ():
        if left + needed > limit and remove_unused(entry):
            left -= size
    if left + needed > limit:
        used = f" and runs that are going on use {left / 2**30:.3g}" if needed <= limit else ""
        raise OSError(
            f"they take {needed / 2**30:.3g} GiB{used}, but half of what is free is {limit / 2**30:.3g}",
        )
