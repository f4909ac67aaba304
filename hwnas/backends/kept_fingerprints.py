"""Fingerprints of ops, kept on disk, so that a table of 100,000 rows is checked in seconds and not in minutes.

What is kept belongs to the source of what lowers and writes, and to the versions of what it writes with: a change to
any of them is another file, whose name goes into its checksum. A few of the kept ones are computed all the same: where
one is another, none is believed. Ops of plug-ins are not kept, as nobody knows what their lowering depends on.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from hwnas.arch.op import OpSpec, lowered_here
from hwnas.errors import InputError, StorageError
from hwnas.files import cache_folder, sha256, write_text
from hwnas.schema import read_file

_WRITTEN_WITH = ("ai-edge-litert", "flatbuffers", "numpy", "onnx", "protobuf")
_HERE = Path(__file__).parent
_SOURCES = (_HERE.parent / "arch", _HERE)
_FEW = 32  # are computed sooner than a file is written
_CHECKED = 4  # of those that are kept, each time they are asked for


class KeptFingerprints:
    """Computes the fingerprints that are not kept yet, and keeps them where they are many."""

    def __init__(self, fingerprint: Callable[[OpSpec], str], writer: str) -> None:
        """Prepare it.

        Args:
            fingerprint: computes that of one op.
            writer: by which name they are kept.
        """
        self._fingerprint, self._writer = fingerprint, writer

    def __call__(self, specs: Iterable[OpSpec]) -> dict[str, str]:
        """The fingerprints of these ops, by their keys."""
        path, specs = cache_folder() / "fingerprints" / f"{self._writer}-{_version()}.txt", list(specs)
        known = self._believed(path, specs)
        found: dict[str, str] = {}
        new: dict[str, str] = {}
        for spec in specs:
            key = spec.key
            if key in known and lowered_here(spec.kind):
                found[key] = known[key]
                continue
            found[key] = self._fingerprint(spec)
            if lowered_here(spec.kind):
                new[key] = found[key]
        if len(new) > _FEW:
            known |= _read(path) | new  # another process may have kept some meanwhile
            with contextlib.suppress(StorageError):
                _write(path, known)
        return found

    def _believed(self, path: Path, specs: Sequence[OpSpec]) -> dict[str, str]:
        """What is kept; nothing, and no file any more, where one of a few is not what it is for."""
        known = _known(path)
        kept = [spec for spec in specs if spec.key in known and lowered_here(spec.kind)]
        few = kept[:: max(1, math.ceil(len(kept) / _CHECKED))]
        if all(self._fingerprint(spec) == known[spec.key] for spec in few):
            return known
        _known.cache_clear()
        with contextlib.suppress(OSError):
            path.unlink()
        return {}


@functools.cache
def _version() -> str:
    """Changes with the source of what lowers and writes, and with the versions of what it writes with."""
    parts = [path.read_bytes() for folder in _SOURCES for path in sorted(folder.glob("*.py"))]
    for package in _WRITTEN_WITH:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            parts.append(f"{package} {importlib.metadata.version(package)}".encode())
    return sha256("".join(map(sha256, parts)).encode())[:16]


@functools.cache
def _known(path: Path) -> dict[str, str]:
    """What is kept, read once by each process."""
    return _read(path)


def _read(path: Path) -> dict[str, str]:
    """Fingerprints by key; none where the file is not there, or is not as it was written."""
    try:
        checksum, _, text = read_file(path).decode().partition("\n")
    except (InputError, UnicodeDecodeError):
        return {}
    if checksum != _checksum(path, text):
        return {}
    return {key: mark for key, _, mark in (line.partition(" ") for line in text.splitlines())}


def _write(path: Path, known: dict[str, str]) -> None:
    text = "".join(f"{key} {known[key]}\n" for key in sorted(known))
    write_text(path, f"{_checksum(path, text)}\n{text}")


def _checksum(path: Path, text: str) -> str:
    """Of what is kept, and of what it is for, which is the name of the file."""
    return sha256(f"{path.name}\n{text}".encode())
