"""Atomic files, and what a kill inside the writing of one leaves."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hwnas.errors import InputError, StorageError
from hwnas.files import private_folder, remove_leftovers, write_bytes, write_text
from hwnas.locks import held

KILLED = """
import os, signal, sys; from pathlib import Path; from hwnas.files import write_bytes
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
write_bytes(Path(sys.argv[1]), b"new")
"""


def killed_inside(path: Path) -> None:
    assert subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False).returncode == -9


def test_only_leftovers_of_ours_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    write_bytes(path, b"old")
    killed_inside(path)
    (left,) = set(tmp_path.iterdir()) - {path}
    assert left.name.startswith(".model.onnx.")
    others = [".model.onnx", ".model.onnx.abcdefgh", "x.abcdefgh.hwnas-part", ".x.abc.hwnas-part", ".hidden"]
    for name in others:
        (tmp_path / name).write_text("mine")
    with held(tmp_path / "lock", busy=lambda: None):
        assert {one.name for one in tmp_path.iterdir()} - {"lock"} == {*others, "model.onnx"}
    assert path.read_bytes() == b"old"


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("mine")
    with pytest.raises(StorageError):
        write_bytes(tmp_path / "folder", b"a folder cannot be replaced")
    assert [one.name for one in tmp_path.iterdir()] == ["folder"]
    with pytest.raises(StorageError):
        remove_leftovers(tmp_path / "missing")


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077, 0o002])
def test_permissions_follow_the_umask(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        write_bytes(tmp_path / "folder" / "file", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "folder" / "file").stat().st_mode) == 0o666 & ~umask
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o777 & ~umask


def test_a_private_folder_is_private(tmp_path: Path) -> None:
    private_folder(tmp_path / "cache" / "images")
    for name in ("cache", "cache/images"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o700


def test_names_that_are_no_text_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"labels.txt: names must be UTF-8 text, not 'caf\\udce9'"):
        write_text(tmp_path / "labels.txt", "caf\udce9")
    assert not list(tmp_path.iterdir())


def test_a_path_of_a_thousand_folders_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StorageError, match=r"cannot write y/y.*…: it lies in 1500 folders, one in another") as caught:
        write_bytes(Path("/".join("y" * 1500), "file"), b"")
    assert len(str(caught.value)) < 400
