"""Images that cannot be read: the message, and a file with all of their names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hwnas.display import few
from hwnas.errors import StorageError, UnreadableError
from hwnas.files import cache_folder, real_path, sha256, write_text


def list_file(where: Path, unreadable: Sequence[str]) -> Path | None:
    """Write a file that lists all of them; None where it cannot be written.

    Args:
        where: what holds the images; each has one file.
        unreadable: the name of each image with the reason.
    """
    key = sha256(str(real_path(where)).encode(errors="surrogateescape"))[:12]
    path = cache_folder() / "unreadable" / f"{key}.txt"
    try:
        write_text(path, "\n".join(unreadable).encode(errors="backslashreplace").decode() + "\n")
    except StorageError:
        return None
    return path


def refusal(unreadable: Sequence[str], count: int, where: Path, listed: Path | None) -> UnreadableError:
    """The error of a run, or a dry run, that does not go on without them.

    Args:
        count: of all images in `where`.
        listed: the file with all names.
    """
    all_names = f"; all of them are listed in {listed}" if listed else ""
    return UnreadableError(
        f"{len(unreadable)} of {count} images in {where} cannot be read: {few(list(unreadable))}",
        names=tuple(unreadable),
        hint=f"replace or remove these files, or go on without them with --skip-unreadable{all_names}",
    )
