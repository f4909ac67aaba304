"""Folders of images that lie about: what somebody may mean by "my photos". Names alone are looked at."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".heic"})
_MOST = 200  # entries of a folder that are looked at
_CLASSES = 2


def image_folders(folder: Path) -> list[Path]:
    """The folders in `folder`, and then itself, that hold images by class: CLASS/IMAGE or train/CLASS/IMAGE.

    Of a large folder only the first entries are looked at, and symbolic links are not followed.
    """
    return [one for one in (*_inner(folder), folder) if _has_classes(one) or _has_classes(one / "train")]


def _has_classes(folder: Path) -> bool:
    return len([one for one in _inner(folder) if _has_image(one)]) >= _CLASSES


def _has_image(folder: Path) -> bool:
    return any(Path(one.name).suffix.lower() in _SUFFIXES for one in _entries(folder))


def _inner(folder: Path) -> list[Path]:
    return sorted(folder / one.name for one in _entries(folder) if one.is_dir(follow_symlinks=False))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(itertools.islice((one for one in entries if not one.name.startswith(".")), _MOST))
    except (OSError, ValueError):
        return []
