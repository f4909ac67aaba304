"""One process at a time in a folder: a lock that ends with the process that holds it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from hwnas.files import remove_leftovers, storage_errors


@contextmanager
def held(lock: Path, *, busy: Callable[[], None]) -> Iterator[None]:
    """Hold the file `lock`, and remove what killed processes left half written beside it. May be nested.

    Args:
        busy: called when another process holds it. It may raise; if it returns, the other process is waited for.

    Raises:
        StorageError: the lock cannot be written.
    """
    holder = filelock.FileLock(lock, is_singleton=True)
    with storage_errors(lock):
        lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            holder.acquire(timeout=0)
        except filelock.Timeout:
            busy()
            holder.acquire()
    try:
        remove_leftovers(lock.parent)
        yield
    finally:
        holder.release()


def free(lock: Path) -> bool:
    """Whether the file `lock` is there, and no process holds it."""
    if lock.is_symlink() or not lock.is_file():
        return False
    holder = filelock.FileLock(lock)
    try:
        holder.acquire(timeout=0)
    except (filelock.Timeout, OSError):
        return False
    holder.release()
    return True
