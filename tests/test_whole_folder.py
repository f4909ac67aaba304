"""Folders that are replaced as a whole, and what a kill at any moment leaves of that."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hwnas.errors import StorageError
from hwnas.files import remove_leftovers
from hwnas.whole_folder import replacing_folder, settle

KILLED = """
import os, signal, sys; from pathlib import Path; from hwnas.whole_folder import replacing_folder
place, moves, rename = Path(sys.argv[1]), int(sys.argv[2]), Path.rename
def killed(path, target):
    global moves
    if moves == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    moves -= 1
    return rename(path, target)
Path.rename = killed
with replacing_folder(place) as part:
    (part / "new").write_text("new")
"""


def hidden(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("moves", [0, 1])
def test_what_a_killed_process_leaves_is_put_right_by_the_next(moves: int, tmp_path: Path) -> None:
    """Killed before the old folder is moved aside, and between that and the new one's coming."""
    own, other = tmp_path / "app", tmp_path / ".app.mine"
    own.mkdir()
    other.mkdir()
    (own / "old").write_text("old")
    command = [sys.executable, "-c", KILLED, str(own), str(moves)]
    assert subprocess.run(command, check=False).returncode == -9
    assert len(hidden(tmp_path)) == 2
    assert own.exists() == (moves == 0)
    remove_leftovers(tmp_path)
    assert settle(tmp_path, "another") == []
    assert len(hidden(tmp_path)) == 2
    assert settle(tmp_path) == [own] * moves
    assert hidden(tmp_path) == [other]
    assert (own / "old").read_text() == "old"
    assert subprocess.run(command, check=False).returncode == -9
    with replacing_folder(own) as part:
        (part / "new").write_text("new")
    assert [path.name for path in own.iterdir()] == ["new"]
    assert hidden(tmp_path) == [other]


def test_what_a_process_works_on_stays(tmp_path: Path) -> None:
    (tmp_path / ".app.01234567.hwnas-work").mkdir()  # just made, without its lock yet
    with replacing_folder(tmp_path / "app") as part:
        (part / "new").write_text("new")
        assert settle(tmp_path) == []
        with replacing_folder(tmp_path / "app") as later:
            (later / "later").write_text("later")
    assert [path.name for path in (tmp_path / "app").iterdir()] == ["new"]
    assert [path.name for path in hidden(tmp_path)] == [".app.01234567.hwnas-work"]


def test_a_folder_that_cannot_be_put_back_is_kept_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, rename = tmp_path / "app", Path.rename

    def refused(allowed: int) -> None:
        done: list[Path] = []

        def once(path: Path, target: Path) -> Path:
            done.append(path)
            if len(done) > allowed:
                raise OSError(5, "Input/output error")
            return rename(path, target)

        monkeypatch.setattr(Path, "rename", once)

    own.mkdir()
    (own / "old").write_text("old")
    for allowed in (0, 1):
        refused(allowed)
        with pytest.raises(StorageError) as caught, replacing_folder(own) as part:
            (part / "new").write_text("new")
    monkeypatch.undo()
    (left,) = tmp_path.iterdir()
    kept = left / "before"
    assert sorted(path.name for path in left.iterdir()) == ["before", "lock"], "no part of the new one"
    assert f"what was there is in {kept} now" in str(caught.value)
    remove_leftovers(tmp_path)
    assert (kept / "old").read_text() == "old"
    assert settle(tmp_path) == [own]
    with replacing_folder(own) as part:
        (part / "new").write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["app"]
    assert [path.name for path in own.iterdir()] == ["new"]
