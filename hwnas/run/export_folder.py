"""The folders in a run's that `hwnas export` writes into, and what of them is hwnas's own."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from hwnas.errors import InputError
from hwnas.files import remove_folder, remove_leftovers, sha256_of, storage_errors
from hwnas.report.run_files import optional
from hwnas.schema import read_json
from hwnas.whole_folder import settle

EXPORT, PACKAGE = "export", "app"
COREML_SUFFIX = ".mlpackage"
_MODEL = re.compile(r"model(-[a-z0-9]+)?\.(onnx|tflite|ort)")
_COREML = re.compile(rf"model(-[a-z0-9]+)?{re.escape(COREML_SUFFIX)}")
_COREML_OURS = b"hwnas.preprocess"
"""In the metadata of each Core ML package that hwnas writes."""
_SPECIFICATION = "Data/com.apple.CoreML/model.mlmodel"
_COREML_PARTS = {"Manifest.json", _SPECIFICATION, "Data/com.apple.CoreML/weights/weight.bin"}


def remove_exported(folder: Path) -> None:
    """Remove the files of earlier exports, and the folder itself if it is empty then; those of others stay.

    `model.json` lists them with their checksums, but for Core ML packages, which are known by their metadata. A file
    that is not as it was exported counts as somebody else's, and a symbolic link is not followed.

    Raises:
        StorageError: a file cannot be removed.
    """
    if folder.is_symlink() or not folder.is_dir():
        return
    settle(folder)
    for path in sorted(folder.iterdir()):
        if _COREML.fullmatch(path.name) and is_our_coreml(path):
            remove_folder(path)
    _remove_files(folder)
    with suppress(OSError):
        folder.rmdir()


def _remove_files(folder: Path) -> None:
    """Those that `model.json` lists, and itself."""
    from hwnas.exporting.description import FORMAT, NAME  # which loads the runtimes

    said = optional(read_json, folder / NAME)
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


def is_our_coreml(path: Path) -> bool:
    """Whether it is a Core ML package that hwnas wrote, with nothing else in it."""
    try:
        there = {one.relative_to(path).as_posix() for one in path.rglob("*") if not one.is_dir() or one.is_symlink()}
        return not path.is_symlink() and there <= _COREML_PARTS and _COREML_OURS in (path / _SPECIFICATION).read_bytes()
    except OSError:
        return False


def remove_package(folder: Path) -> None:
    """Remove a package, also one that a killed export has moved aside.

    One with files of others in it, a symbolic link and any other folder stay.

    Raises:
        StorageError: a file cannot be removed.
    """
    from hwnas.exporting import manifest

    settle(folder.parent, folder.name)
    if manifest.is_package(folder):
        with suppress(InputError):
            manifest.check_replaceable(folder, force=True)
            remove_folder(folder)


def _remove(path: Path) -> None:
    with storage_errors(path):
        path.unlink(missing_ok=True)
