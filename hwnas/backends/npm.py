"""onnxruntime-web on this machine: npm installs it into the user's cache folder when it is first used."""

from __future__ import annotations

import logging
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from hwnas.errors import DeviceError, InputError
from hwnas.files import cache_folder, sha256, storage_errors, write_bytes
from hwnas.locks import held
from hwnas.schema import read_json_as

PACKAGE = "onnxruntime-web"
VERSION = "1.30.0"
"""The version that was tested; `package-lock.json` beside this file pins it and what it needs, by checksum."""

_FILES = ("package.json", "package-lock.json")
_LONGEST_S = 600.0
_LOG = logging.getLogger(__name__)
_HINT = "install Node.js 20 or newer with npm, and make sure that both are on the PATH"


@dataclass(frozen=True)
class _Package:
    """Of package.json."""

    version: str


def folder() -> Path:
    """Where it is, once installed; what another lock file pins has another folder."""
    lock = sha256(Path(__file__).with_name(_FILES[1]).read_bytes())[:8]
    return (cache_folder() / "npm" / f"{PACKAGE}-{VERSION}-{lock}").absolute()


def packages() -> dict[str, str]:
    """The version of onnxruntime-web and of the Node that runs it; empty where the former is not installed."""
    version, node = _version(folder()), shutil.which("node")
    if version is None or node is None:
        return {}
    done = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    return {PACKAGE: version, "node": done.stdout.strip().removeprefix("v")}


def install() -> None:
    """Have onnxruntime-web installed.

    It is put in place in one step when it is whole. Scripts of packages are not run.

    Raises:
        DeviceError: there is no Node or no npm, or npm fails.
        StorageError: the cache folder cannot be written.
    """
    _program("node")
    place = folder()
    if _version(place) is not None:
        return
    npm = _program("npm")
    with held(place.parent / ".lock", busy=lambda: _LOG.warning("waiting for another process that runs npm")):
        if _version(place) is not None:
            return
        _LOG.warning("installing %s %s into %s by npm, once", PACKAGE, VERSION, place)
        part = place.with_name(f"{place.name}.part")
        with storage_errors(place):
            for path in (part, place):
                shutil.rmtree(path, ignore_errors=True)
            part.mkdir()
        for name in _FILES:
            write_bytes(part / name, Path(__file__).with_name(name).read_bytes())
        _npm_ci(npm, part)
        with storage_errors(place):
            part.rename(place)


def _npm_ci(npm: str, part: Path) -> None:
    """Install what package-lock.json of the folder `part` pins; npm compares the checksums."""
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"]
    patience = ["--prefer-offline", "--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=60000"]
    command = [npm, "ci", "--prefix", str(part), "--loglevel=error", *options, *patience]
    hint = "npm needs its registry this once: look at the network and the disk, and run the same command again"
    try:
        done = subprocess.run(
            command, cwd=part, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_LONGEST_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise DeviceError(f"npm was still installing {PACKAGE} after {_LONGEST_S:g} s", hint=hint) from None
    except OSError as error:
        raise DeviceError(f"cannot start {npm}: {error.strerror or error}", hint=_HINT) from error
    if done.returncode != 0 or _version(part) is None:
        said = [line.partition("npm error ")[2] or line for line in done.stderr.splitlines() if line.strip()]
        ended = f"it ended with code {done.returncode}" if done.returncode else "it installed nothing"
        reason = "; ".join([line for line in said if not line.startswith(("errno", "syscall"))][:3]) or ended
        raise DeviceError(f"npm could not install {PACKAGE} {VERSION}: {reason}", hint=hint)


def _version(place: Path) -> str | None:
    """Of the onnxruntime-web in that folder; None where there is none."""
    try:
        return read_json_as(place / "node_modules" / PACKAGE / "package.json", _Package).version
    except InputError:
        return None


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise DeviceError(f"ort-web needs {name}, which is not on the PATH", hint=_HINT)
    return path
