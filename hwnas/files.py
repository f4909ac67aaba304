"""Files are written whole or not at all, and only by the functions here."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import platformdirs

from hwnas.errors import InputError, StorageError

CACHE_VARIABLE = "HWNAS_CACHE"
"""Environment variable with the folder to use instead of the user's cache folder."""

_LONGEST_PATH = 300  # of a path that a message names in full
_PART = ".hwnas-part"
_LEFTOVER = re.compile(rf"\..+\.[a-z0-9_]{{8}}{re.escape(_PART)}")


def real_path(path: Path) -> Path:
    """A path without symbolic links and dots; a circle of links stays as it is, where `Path.resolve` raises."""
    return Path(os.path.realpath(path))


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
    """Turn an `OSError` while writing `path` into a `StorageError` that names it.

    `Path.mkdir` with parents calls itself for every folder, so a path of a thousand of them is a `RecursionError`.
    """
    try:
        yield
    except (OSError, RecursionError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        if isinstance(error, RecursionError):
            reason = f"it lies in {len(path.parts) - 1} folders, one in another"
        raise StorageError(
            f"cannot write {path if len(str(path)) < _LONGEST_PATH else f'{str(path)[:_LONGEST_PATH]}…'}: {reason}",
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
    with replacing(path) as file:
        file.writelines(chunks)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` once the block has written it; see `write_bytes`.

    Raises:
        StorageError: the file cannot be written.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_PART}")
        try:
            with part.open("xb") as file:  # with the permissions that the umask leaves
                yield file
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def private_folder(path: Path) -> None:
    """Make a folder that nobody else can look into, and what is missing above it likewise; one that is there stays.

    Raises:
        StorageError: it cannot be made.
    """
    with storage_errors(path):
        for folder in (*reversed(path.parents), path):
            if not folder.exists():
                folder.mkdir(mode=0o700, exist_ok=True)


def open_to_append(path: Path) -> TextIO:
    """A UTF-8 text file that is written at its end, made where it is missing; a symbolic link is an `OSError`."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    return os.fdopen(os.open(path, flags, 0o666), "a", encoding="utf-8")


def is_leftover(path: Path) -> bool:
    """Whether a process that was killed inside `write_bytes` left this."""
    return _LEFTOVER.fullmatch(path.name) is not None


def remove_folder(path: Path) -> None:
    """Remove a folder with all in it, or a file; of a symbolic link the link alone.

    Raises:
        StorageError: something in it cannot be removed.
    """
    with storage_errors(path):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what a process that was killed while it wrote left in `folder`: only call it where none can be."""
    with storage_errors(folder):
        for path in folder.iterdir():
            if is_leftover(path):
                remove_folder(path)


def write_text(path: Path, content: str) -> None:
    """Write `content` as UTF-8, atomically; see `write_bytes`.

    Raises:
        InputError: a name in it is no text: of a file whose name is not UTF-8, or with half a surrogate pair.
        StorageError: the file cannot be written.
    """
    try:
        encoded = content.encode()
    except UnicodeEncodeError as error:
        near = content[max(0, error.start - 20) : error.end + 20]
        raise InputError(
            f"cannot write {path}: names must be UTF-8 text, not {near!r}", hint="rename the file or class of that name"
        ) from error
    write_bytes(path, encoded)


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON, atomically. NaN is refused: a number that does not exist is `None`."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def sha256(content: bytes) -> str:
    """Hexadecimal SHA-256 of `content`."""
    return hashlib.sha256(content).hexdigest()


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file; empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
