"""Folders that take the place of others as a whole, and what processes that were killed meanwhile leave.

All that such a process works with lies in one hidden folder beside the place: `new` is to be there, `before` was there,
and `lock` ends with the process.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from hwnas.errors import StorageError
from hwnas.files import storage_errors
from hwnas.locks import free, held

_WORK = re.compile(r"\.(.+)\.[0-9a-f]{8}\.hwnas-work")


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A new folder that takes the place of `path` once the block has filled it, so that nobody sees a part of it.

    A folder that is there is moved aside before, put back if the new one cannot take its place, removed when it has.
    Leftovers of killed processes are put right first; see `settle`.

    Raises:
        StorageError: it cannot be written; where it cannot be put back either, the message names where it is.
    """
    settle(path.parent, path.name)
    work = path.with_name(f".{path.name}.{secrets.token_hex(4)}.hwnas-work")
    new, before = work / "new", work / "before"
    with storage_errors(path):
        try:
            work.mkdir(parents=True)
            with held(work / "lock", busy=lambda: None):
                new.mkdir()
                yield new
                with contextlib.suppress(FileNotFoundError):
                    path.rename(before)
                new.rename(path)
        except BaseException as error:
            _put_back(before, path, error)
            raise
        finally:
            shutil.rmtree(new if before.exists() and not path.exists() else work, ignore_errors=True)


def settle(folder: Path, name: str = "") -> list[Path]:
    """Put right what processes that were killed inside `replacing_folder` left; the folders that were put back.

    A folder that was moved aside goes back, unless another one is in its place. Everything else that they left is
    removed. What a process still works with stays.

    Args:
        folder: where the places are.
        name: of one place; '' is all.
    """
    back = []
    for work in _left_in(folder):
        place = folder / _WORK.sub(r"\1", work.name)
        if name not in ("", place.name) or not free(work / "lock"):
            continue
        with contextlib.suppress(OSError):
            if (work / "before").is_dir() and not os.path.lexists(place):
                (work / "before").rename(place)
                back.append(place)
            shutil.rmtree(work)
    return back


def _left_in(folder: Path) -> list[Path]:
    try:
        there = sorted(folder.iterdir())
    except OSError:
        return []
    return [path for path in there if _WORK.fullmatch(path.name) and path.is_dir() and not path.is_symlink()]


def _put_back(before: Path, path: Path, reason: BaseException) -> None:
    """What was moved aside, unless something is in its place."""
    if os.path.lexists(path) or not before.exists():
        return
    try:
        before.rename(path)
    except OSError:
        raise StorageError(
            f"cannot write {path}: {getattr(reason, 'strerror', '') or type(reason).__name__}; what was there is in "
            f"{before} now",
            hint=f"move it back to {path}",
        ) from reason
