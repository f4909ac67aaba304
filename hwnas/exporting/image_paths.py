"""The image files that paths stand for: folders are gone through, and what could block is not opened."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from hwnas.asked_paths import missing_image
from hwnas.data.image import KINDS, SUFFIXES
from hwnas.errors import DataError

_READ = f"accepted are {KINDS}"


def image_files(paths: Sequence[Path], unreadable: Callable[[Path, DataError], None]) -> Iterator[Path]:
    """The files among `paths`, and the images in folders among them and in their sub-folders, sorted by path.

    Hidden files and links to folders are left out. What is no file, or has no images, goes to `unreadable`.
    """
    for path in paths:
        try:
            if path.is_dir():
                found = sorted(_inside(path))
                if not found:
                    unreadable(path, DataError(f"there are no images in the folder {path}", hint=_READ))
                yield from found
            elif path.is_file():
                yield path
            else:
                pipe = DataError(f"cannot read the image {path}: it is not a regular file", hint=_READ)
                unreadable(path, pipe if path.exists() else missing_image(path))
        except (OSError, ValueError) as error:  # a path with a null byte is a ValueError
            reason = (isinstance(error, OSError) and error.strerror) or error
            unreadable(path, DataError(f"cannot read the image {path}: {reason}", hint=_READ))


def _inside(folder: Path) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        raise error

    for name, folders, files in os.walk(folder, onerror=fail):
        folders[:] = [one for one in folders if not one.startswith(".")]
        for one in files:
            path = Path(name, one)
            if not one.startswith(".") and path.suffix.lower() in SUFFIXES and (path.is_file() or not path.exists()):
                yield path
