"""What was seen of images, kept so that the run after a dry run does not look again."""

from __future__ import annotations

import contextlib
import hashlib
import zipfile
import zlib
from pathlib import Path

import numpy as np
import PIL
from PIL import Image

from hwnas.data.cache import stats_key
from hwnas.data.census import COLUMNS, Census, look
from hwnas.data.found import Found
from hwnas.data.image import FORMATS
from hwnas.errors import StorageError
from hwnas.files import cache_folder, replacing
from hwnas.progress import Progress

_FORMAT = 2
_KEPT = 64  # entries; the least recently written go first
_FAILURES = {"failed": "i8", "errors": "U1"}


def census_of(found: Found, *, threads: int, progress: Progress) -> Census:
    """The census of images, from the cache while the files that hold them are the same."""
    more = f"{_FORMAT} Pillow {PIL.__version__} {' '.join(FORMATS)} {Image.MAX_IMAGE_PIXELS}"
    names = hashlib.sha256()
    for number, name in enumerate(found.names):
        names.update((chr(0) * bool(number) + name).encode(errors="surrogateescape"))
    key = stats_key(found.files, f"{more} {names.hexdigest()}", whole=False)
    path = cache_folder() / "census" / f"{key}.npz"
    if (kept := _read(path, len(found.names))) is not None:
        return kept
    census = look(found, threads=threads, progress=progress)
    if census.lasting:
        _write(path, census)
    return census


def _read(path: Path, count: int) -> Census | None:
    """The rows in a file; None where it is absent, damaged, or of other images."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            columns = {name: archive[name] for name in (*COLUMNS, *_FAILURES)}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError):
        return None
    failed = len(columns["failed"]) if columns["failed"].ndim else -1
    wanted = {name: np.zeros(0, kind) for name, kind in (COLUMNS | _FAILURES).items()}
    for name, column in columns.items():
        rows = count if name in COLUMNS else failed
        if column.shape != (rows, *wanted[name].shape[1:]) or column.dtype.kind != wanted[name].dtype.kind:
            return None
    if failed and not (columns["failed"].min() >= 0 and columns["failed"].max() < count):
        return None
    return Census(**columns)


def _write(path: Path, census: Census) -> None:
    with contextlib.suppress(StorageError, OSError):
        with replacing(path) as file:
            np.savez_compressed(file, **{name: getattr(census, name) for name in (*COLUMNS, *_FAILURES)})
        entries = sorted(path.parent.glob("*.npz"), key=lambda entry: entry.stat().st_mtime_ns)
        for entry in entries[:-_KEPT]:
            entry.unlink(missing_ok=True)
