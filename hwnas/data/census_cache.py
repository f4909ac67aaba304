"""What was seen of images, kept so that the run after a dry run does not look again."""

from __future__ import annotations

import contextlib
import zipfile
import zlib
from dataclasses import fields
from io import BytesIO
from pathlib import Path

import numpy as np
import PIL
from PIL import Image

from hwnas.data.cache import stats_key
from hwnas.data.census import Census, look
from hwnas.data.found import Found
from hwnas.data.image import FORMATS
from hwnas.errors import StorageError
from hwnas.files import cache_folder, sha256, write_bytes
from hwnas.progress import Progress

_FORMAT = 1
_KEPT = 64  # entries; the least recently written go first
_COLUMNS = [one.name for one in fields(Census) if one.name != "lasting"]
_SHAPES = {"thumbs": (16, 16)}


def census_of(found: Found, *, threads: int, progress: Progress) -> Census:
    """The census of images, from the cache while the files that hold them are the same."""
    more = f"{_FORMAT} Pillow {PIL.__version__} {' '.join(FORMATS)} {Image.MAX_IMAGE_PIXELS}"
    names = sha256(chr(0).join(found.names).encode(errors="surrogateescape"))
    key = stats_key(found.files, f"{more} {names}", whole=False)
    path = cache_folder() / "census" / f"{key}.npz"
    if (kept := _read(path, len(found.names))) is not None:
        return kept
    census = look(found, threads=threads, progress=progress)
    if census.lasting:
        _write(path, census)
    return census


def _read(path: Path, count: int) -> Census | None:
    """The rows in a file; None where it is absent, damaged, or of other images."""
    wanted = {one: np.dtype(kind) for one, kind in _kinds().items()}
    try:
        with np.load(BytesIO(path.read_bytes()), allow_pickle=False) as archive:
            columns = {name: archive[name] for name in _COLUMNS}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError):
        return None
    for name, column in columns.items():
        if column.shape != (count, *_SHAPES.get(name, ())) or column.dtype.kind != wanted[name].kind:
            return None
    return Census(**columns)


def _kinds() -> dict[str, str]:
    kinds = dict.fromkeys(_COLUMNS, "i4") | dict.fromkeys(("grey", "deep"), "?") | dict.fromkeys(("low", "high"), "f8")
    return (
        kinds
        | dict.fromkeys(("content", "pixels"), "S1")
        | dict.fromkeys(("spread", "thumbs"), "u1")
        | {"errors": "U1"}
    )


def _write(path: Path, census: Census) -> None:
    content = BytesIO()
    np.savez_compressed(content, **{name: getattr(census, name) for name in _COLUMNS})
    with contextlib.suppress(StorageError, OSError):
        write_bytes(path, content.getvalue())
        entries = sorted(path.parent.glob("*.npz"), key=lambda entry: entry.stat().st_mtime_ns)
        for entry in entries[:-_KEPT]:
            entry.unlink(missing_ok=True)
