"""Where the device descriptions and the latency tables that come with hwnas lie."""

from __future__ import annotations

from pathlib import Path

from hwnas.errors import InputError

_PACKAGE = Path(__file__).resolve().parent


def resource_folder(name: str) -> Path:
    """The folder `name` ('devices' or 'latency_tables') that comes with hwnas.

    A wheel carries it inside the package, a checkout has it beside the package.

    Raises:
        InputError: this installation has no such folder.
    """
    packed = _PACKAGE / "_resources" / name
    if packed.is_dir():
        return packed
    beside = _PACKAGE.parent / name
    if (_PACKAGE.parent / "pyproject.toml").is_file() and beside.is_dir():
        return beside
    raise InputError(f"this installation of hwnas has no folder {name!r}", hint="install hwnas again")
