"""The manifest of a package: what makes a folder one of ours, with the checksums of all that is in it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from hwnas.errors import InputError
from hwnas.files import sha256_of
from hwnas.schema import POSITIVE, Rule, at_least, between, matching, one_of, read_json_as

NAME, GOLDEN = "hwnas-package.json", "golden.json"
FORMAT, VERSION = "hwnas package", 1
MOST_FILES = 256
_PART = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}"
_DAMAGED = "the package is damaged, or was not made by hwnas export --package: make it again"


def is_inner_name(name: str) -> bool:
    """Whether it names a file in a package, at most one folder down: no other place can be reached by it."""
    return re.fullmatch(f"({_PART}/)?{_PART}", name) is not None


@dataclass(frozen=True)
class Listed:
    """A file of a package."""

    bytes: Annotated[int, between(0, 2**31 - 1)]
    sha256: Annotated[str, matching(r"[0-9a-f]{64}", "64 hexadecimal digits")]


@dataclass(frozen=True)
class Tested:
    """What a file made of the test images when it was packed, by the runtime on that machine."""

    images: Annotated[int, at_least(1)]
    accuracy: Annotated[float, Rule("a share from 0 to 1", lambda value: 0 <= value <= 1)]


@dataclass(frozen=True)
class SearchedFor:
    """What the budget of a run was about.

    Attributes:
        file: name that the run's model has in a package; it may not be among the files of this one.
        device: id of the device.
        latency: warm or cold calls.
    """

    file: Annotated[str, Rule("the name of a model file", lambda value: is_inner_name(value))]
    device: Annotated[str, matching(r"[a-z0-9][a-z0-9._-]{0,199}", "the id of a device")]
    latency: Annotated[str, one_of("warm", "cold")]


@dataclass(frozen=True)
class Manifest:
    """Of a package. All of it is a claim, but for the sizes and checksums.

    Attributes:
        hwnas_version: that made it.
        weights: checksum of the run's weights that its files are of.
        budget_ms: what the run was to keep, in milliseconds.
        split_seed: that images which come without a split were split by.
        files: by name, all but the manifest.
        tested: by name of the model file.
        searched: what the budget was about; packages of earlier versions do not say.
    """

    format: Annotated[str, one_of(FORMAT)]
    version: int
    hwnas_version: str
    weights: str
    budget_ms: Annotated[float, POSITIVE] | None
    split_seed: Annotated[int, at_least(0)]
    files: dict[str, Listed]
    tested: dict[str, Tested]
    searched: SearchedFor | None = None

    def budget_of(self, name: str) -> float | None:
        """What a model file of the package has to keep, in milliseconds: only the one that was searched for has to."""
        return self.budget_ms if self.searched is None or self.searched.file == name else None

    def __post_init__(self) -> None:
        if self.version != VERSION:
            raise InputError(
                f"version must be {VERSION}, not {self.version}", hint="use the version of hwnas that made the package"
            )
        if not 0 < len(self.files) <= MOST_FILES:
            raise InputError(f"files must be from 1 to {MOST_FILES}, not {len(self.files)}", hint=_DAMAGED)
        for name in self.files:
            if not is_inner_name(name) or name == NAME:
                raise InputError(
                    f"files must be names of letters, digits, '.', '_', '-', one folder down at most, not {name!r:.50}",
                    hint=_DAMAGED,
                )


def listed(folder: Path) -> dict[str, dict[str, Any]]:
    """All files of a folder that is about to become a package, for its manifest."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): asdict(Listed(path.stat().st_size, sha256_of(path))) for path in paths}


def content_of(
    files: Mapping[str, Any],
    *,
    hwnas_version: str,
    weights: str,
    budget_ms: float | None,
    split_seed: int,
    tested: Mapping[str, Tested],
    searched: SearchedFor | None,
) -> dict[str, Any]:
    """A manifest, ready for JSON."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "hwnas_version": hwnas_version,
        "weights": weights,
        "budget_ms": budget_ms,
        "split_seed": split_seed,
        "files": dict(files),
        "tested": {name: asdict(one) for name, one in tested.items()},
        "searched": None if searched is None else asdict(searched),
    }


def is_package(path: Path) -> bool:
    """Whether it is a folder with a manifest, whatever that says."""
    try:
        return path.is_dir() and os.path.lexists(path / NAME)
    except OSError:  # a name that is too long
        return False


def lacks_manifest(path: Path) -> bool:
    """Whether a folder has parts that only packages have, and no manifest."""
    try:
        return (path / GOLDEN).is_file() and (path / "labels.txt").is_file() and not is_package(path)
    except OSError:
        return False


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a package.

    Raises:
        InputError: it is missing or damaged, a link, of a later version, or names what is not in the folder.
    """
    path = folder / NAME
    if path.is_symlink():
        raise InputError(f"{path} must be a file, not a symbolic link", hint=_DAMAGED)
    return read_json_as(path, Manifest, hint=_DAMAGED)


def strangers(folder: Path, listed: Mapping[str, Listed]) -> list[str]:
    """What lies in a package and is no part of it, by names below the folder."""
    own = {NAME, *listed}
    own |= {parent.as_posix() for name in own for parent in Path(name).parents}
    return [name for path in sorted(folder.rglob("*")) if (name := path.relative_to(folder).as_posix()) not in own]


def check_replaceable(folder: Path, *, force: bool) -> None:
    """Refuse to replace anything but a package, and all of it only when that is asked for.

    Raises:
        InputError: something else is there, or a package without `force`, or one with files of somebody else.
    """
    another = "choose another --out; nothing was changed"
    if not folder.name or folder.name == "..":
        raise InputError(f"{folder} is no name for a package", hint="name a folder that is not there yet: --out app")
    if folder.is_symlink():
        raise InputError(f"{folder} must be a folder, not a symbolic link", hint=another)
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not is_package(folder):
        raise InputError(f"{folder} is there already, and is no package of hwnas: it has no {NAME}", hint=another)
    listed = read_manifest(folder).files
    for name in strangers(folder, listed):
        raise InputError(f"{folder / name} is no part of the package, and would be lost", hint=f"move it, or {another}")
    for name, one in listed.items():
        if (folder / name).exists() and sha256_of(folder / name) != one.sha256:
            raise InputError(
                f"{folder / name} is not as it was made, and what was changed would be lost",
                hint=f"move or remove it, or {another}",
            )
    if not force:
        raise InputError(f"{folder} holds a package already", hint="--force makes it anew, --out names another folder")
