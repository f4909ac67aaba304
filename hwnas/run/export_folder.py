"""The folders in a run's that `hwnas export` writes into, and what of them is hwnas's own."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from hwnas.errors import InputError
from hwnas.files import remove_folder, remove_leftovers, sha256_of, storage_errors
from hwnas.report.run_files import optional
from hwnas.schema import read_json

EXPORT, PACKAGE = "export", "app"
_MODEL = re.compile(r"model(-[a-z0-9]+)?\.(onnx|tflite|ort)")


def remove_exported(folder: Path) -> None:
    """Remove the files of earlier exports, and the folder itself if it is empty then; those of others stay.

    `model.json` lists them with their checksums. A file that is not as it was exported counts as somebody else's, and a
    symbolic link is not followed.

    Raises:
        StorageError: a file cannot be removed.
    """
    from hwnas.exporting.description import FORMAT, NAME  # which loads the runtimes

    said = optional(read_json, folder / NAME) if not folder.is_symlink() else {}
    if said.get("format") != FORMAT:
        return
    listed = said.get("files")
    for name, facts in listed.items() if isinstance(listed, dict) else ():
        path = folder / name if _MODEL.fullmatch(name) else None
        if path is not None and isinstance(facts, dict) and facts.get("sha256") == sha256_of(path) != "":
            _remove(path)
    for name in ("labels.txt", NAME):
        _remove(folder / name)
    remove_leftovers(folder)
    with suppress(OSError):
        folder.rmdir()


def remove_package(folder: Path) -> None:
    """Remove a package; one with files of others in it, a symbolic link and any other folder stay.

    Raises:
        StorageError: a file cannot be removed.
    """
    from hwnas.exporting import manifest

    if manifest.is_package(folder):
        with suppress(InputError):
            manifest.check_replaceable(folder, force=True)
            remove_folder(folder)


def _remove(path: Path) -> None:
    with storage_errors(path):
        path.unlink(missing_ok=True)
