"""Files are written whole or not at all, and only by the functions here."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import platformdirs

from hwnas.errors import InputError, StorageError

CACHE_VARIABLE = "HWNAS_CACHE"
"""Environment variable with the folder to use instead of the user's cache folder."""

_PART = ".hwnas-part"
_LEFTOVER = re.compile(rf"\..+\.[a-z0-9_]{{8}}{re.escape(_PART)}")


def cache_folder() -> Path:
    """Where what can be made or fetched again is kept."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen) if chosen else platformdirs.user_cache_path("hwnas")


def user_path(text: str | os.PathLike[str]) -> Path:
    """The path with ~ as the user's home; as it is, where there is no such user."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn an `OSError` while writing `path` into a `StorageError` that names it."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(
            f"cannot write {path}: {reason}",
            hint="free some space or choose another folder; what was there is untouched",
        ) from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically: a reader sees the old file or the new one, never a part.

    Raises:
        StorageError: the file cannot be written.
    """
    write_chunks(path, (content,))


def write_chunks(path: Path, chunks: Iterable[bytes | memoryview]) -> None:
    """Write one piece after the other to `path`, atomically; see `write_bytes`."""
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_PART)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.writelines(chunks)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(0o644)
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what a process that was killed inside `write_bytes` left in `folder`: only call it where none can be."""
    with storage_errors(folder):
        for path in folder.iterdir():
            if _LEFTOVER.fullmatch(path.name):
                path.unlink(missing_ok=True)


def write_text(path: Path, content: str) -> None:
    """Write `content` as UTF-8, atomically; see `write_bytes`."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON, atomically. NaN is refused: a number that does not exist is `None`."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: the file is missing or is not JSON.
    """
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{path} is not a regular file")
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON: {error}") from error


def sha256(content: bytes) -> str:
    """Hexadecimal SHA-256 of `content`."""
    return hashlib.sha256(content).hexdigest()
