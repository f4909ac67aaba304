"""Runs that are removed: what hwnas wrote there, and nothing else."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from hwnas.config import load_configuration
from hwnas.errors import InputError
from hwnas.files import real_path, remove_leftovers
from hwnas.locks import held
from hwnas.run import run_marker
from hwnas.run.run_folder import RunFolder


def check_removable(path: Path) -> None:
    """Refuse whatever is no run of its own.

    Raises:
        InputError: the folder is a symbolic link, carries no marker of a run, has a `state` or a marker that is a link,
            or is one part of a run for several budgets.
    """
    if path.is_symlink():
        raise InputError(
            f"{path} is a symbolic link, which hwnas runs rm does not follow", hint=f"name the run: {real_path(path)}"
        )
    if not _is_marked(path):
        raise InputError(
            f"{path} is no run of hwnas: it has no {run_marker.NAME}, so nothing of it is removed",
            hint="name the folder of a run; one of an early version has no marker and is deleted by hand",
        )
    if (path / "state").is_symlink():
        raise InputError(f"{path / 'state'} must be a folder, not a symbolic link", hint="delete the run by hand")
    whole = path.absolute().parent
    if not (path / "config.toml").is_file() and (whole / run_marker.NAME).is_file():
        raise InputError(f"{path} is one part of the run {whole}", hint=f"remove the whole: hwnas runs rm {whole}")
    for part in _configured_parts(path):
        if part.is_dir() and not part.is_symlink() and not _is_marked(part):
            raise InputError(
                f"{path / 'config.toml'} calls {part} a part of the run, but it has no {run_marker.NAME}",
                hint="delete the run by hand",
            )


def remove_run(path: Path) -> bool:
    """Remove what a run wrote in its folder, and the folder where it is empty then; links in it are not followed.

    The marker goes last, so that a removal that was interrupted can be done again.

    Returns:
        whether the folder is gone; it stays where others have files in it.

    Raises:
        InputError: as `check_removable`, or a process works in the run.
        StorageError: a file cannot be removed.
    """

    def refuse() -> NoReturn:
        raise InputError(f"a process is working in {path}, so it is not removed", hint="stop it, or wait for it")

    check_removable(path)
    folder = RunFolder(path)
    with held(folder.state / "lock", busy=refuse):
        check_removable(path)
        remove_leftovers(path)
        for part in _marked_parts(path):  # whatever the configuration says, which may be damaged
            RunFolder(part).remove()
        folder.remove()
    with suppress(OSError):  # somebody may have begun another run
        (folder.state / "lock").unlink(missing_ok=True)
        folder.state.rmdir()
        path.rmdir()
    return not path.exists()


def _is_marked(path: Path) -> bool:
    marker = path / run_marker.NAME
    return marker.is_file() and not marker.is_symlink()


def _configured_parts(path: Path) -> list[Path]:
    try:
        return [path / name for name in load_configuration(path / "config.toml").parts]
    except InputError:
        return []


def _marked_parts(path: Path) -> list[Path]:
    """The folders of single budgets; another run that somebody put there has a configuration of its own."""
    return [
        part
        for part in sorted(path.iterdir())
        if part.is_dir() and not part.is_symlink() and _is_marked(part) and not (part / "config.toml").exists()
    ]
