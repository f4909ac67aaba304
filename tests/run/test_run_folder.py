"""The run directory: one process, one configuration, and nothing removed that is not its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hwnas.config import Compute, Configuration, Search, Target, load_configuration
from hwnas.errors import InputError, StorageError
from hwnas.events import Event
from hwnas.files import real_path
from hwnas.run.run_folder import RunFolder

CONFIG = Configuration(target=Target(budget="20"))
HOLD = """
import sys; from pathlib import Path
from hwnas.config import Configuration, Target; from hwnas.run.run_folder import RunFolder
with RunFolder(Path(sys.argv[1])).claimed(Configuration(target=Target(budget="20")), resume=False, force=False):
    print("held", flush=True); sys.stdin.read()
"""


def claim(path: Path, config: Configuration = CONFIG, *, resume: bool = False, force: bool = False) -> RunFolder:
    folder = RunFolder(path)
    with folder.claimed(config, resume=resume, force=force):
        assert load_configuration(folder.config) == config
    return folder


@pytest.mark.parametrize("ends", ["by itself", "killed"])
def test_a_second_process_is_kept_out(ends: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        for force in (False, True):
            with pytest.raises(InputError, match="another process"):
                claim(tmp_path / "run", resume=not force, force=force)
        if ends == "killed":
            holder.kill()
        else:
            holder.communicate("")
    claim(tmp_path / "run", resume=True)


def test_a_run_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    claim(tmp_path)
    with pytest.raises(InputError, match="holds a run already") as caught:
        claim(tmp_path)
    assert all(option in caught.value.hint for option in ("--resume", "--force", "--out"))
    claim(tmp_path, resume=True)


def test_only_the_same_configuration_goes_on(tmp_path: Path) -> None:
    claim(tmp_path)
    with pytest.raises(InputError, match=r"another configuration: compute.seed was 0 and is 1$"):
        claim(tmp_path, Configuration(target=Target(budget="20"), compute=Compute(seed=1)), resume=True)
    assert load_configuration(tmp_path / "config.toml") == CONFIG
    claim(tmp_path, CONFIG.changed(compute={"tracker": "mlflow", "loader_threads": 2}), resume=True)
    (tmp_path / "config.toml").write_text("nonsense")
    with pytest.raises(InputError, match="TOML"):
        claim(tmp_path, resume=True)


@pytest.mark.parametrize("there", [False, True], ids=["absent", "empty"])
def test_to_resume_where_nothing_is_starts_nothing(there: bool, tmp_path: Path) -> None:
    run = tmp_path / "run"
    if there:
        run.mkdir()
    with pytest.raises(InputError, match=r"no run in .* to continue"):
        claim(run, resume=True)
    assert not list(tmp_path.rglob("*")) or list(tmp_path.rglob("*")) == [run]


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("option", ["none", "resume", "force"])
def test_a_folder_of_somebody_else_is_left_alone(option: str, tmp_path: Path) -> None:
    """Whatever it holds, even a configuration for `--config`, which names data and budget."""
    for name in ("labels.txt", "state/notes.txt", "config.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("[data]\nsource = 'digits'\n[target]\nbudget = '50%'\n")
    before = contents(tmp_path)
    with pytest.raises(InputError, match="no run of hwnas") as caught:
        claim(tmp_path, resume=option == "resume", force=option == "force")
    assert "--out" in caught.value.hint
    assert contents(tmp_path) == before


def test_a_run_of_before_there_were_markers_opens(tmp_path: Path) -> None:
    folder = claim(tmp_path)
    for again in ({"resume": True}, {"force": True}):
        folder.marker.unlink()
        claim(tmp_path, **again)
        assert folder.marker.is_file()


def test_what_a_kill_leaves_before_the_marker_is_no_folder_of_somebody_else(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "lock").touch()
    (tmp_path / "..hwnas-run.0123abcd.hwnas-part").touch()
    claim(tmp_path)
    assert not list(tmp_path.glob("*.hwnas-part"))


def test_links_in_a_circle_raise_nothing(tmp_path: Path) -> None:
    circle = tmp_path / "circle"
    circle.symlink_to(circle)
    assert real_path(circle) == circle
    config = Configuration(target=Target(budget="20"), search=Search(init=str(circle)))
    RunFolder(tmp_path / "run").check(config, resume=False, force=False)  # its weights are refused where they are read


def test_links_are_not_followed(tmp_path: Path) -> None:
    elsewhere, run = tmp_path / "elsewhere", tmp_path / "run"
    elsewhere.mkdir()
    (elsewhere / "mine.txt").write_text("mine")
    folder = claim(run)
    for link in (folder.state / "cache", folder.labels, run / "notes"):
        link.symlink_to(elsewhere if link.suffix == "" else elsewhere / "mine.txt")
    claim(run, force=True)
    assert not folder.labels.is_symlink()
    assert [path.name for path in folder.state.iterdir()] == ["lock"]
    folder.state.rename(tmp_path / "away")
    folder.state.symlink_to(elsewhere)
    with pytest.raises(InputError, match="symbolic link"):
        claim(run, force=True)
    folder.state.unlink()
    (tmp_path / "link").symlink_to(run)
    claim(tmp_path / "link", resume=True)
    with pytest.raises(InputError, match="does not follow"):
        claim(tmp_path / "link", force=True)
    folder.log_file.symlink_to(elsewhere / "mine.txt")
    with pytest.raises(StorageError):
        folder.on_event(Event("record", record={"event": "end"}))
    assert contents(elsewhere) == {"mine.txt": "mine"}


def test_parts_of_a_run_are_not_folders_of_somebody_else(tmp_path: Path) -> None:
    """A folder called as a budget is: it is no part of a run of hwnas unless the run made it."""
    several = Configuration(target=Target(budget="5,10"))
    folder = claim(tmp_path)
    (tmp_path / "5ms").mkdir()
    (tmp_path / "5ms" / "labels.txt").write_text("mine")
    with pytest.raises(InputError, match=r"5ms holds files and is no part of a run of hwnas"):
        claim(tmp_path, several, force=True)
    assert load_configuration(folder.config) == CONFIG
    (tmp_path / "5ms" / "labels.txt").unlink()
    claim(tmp_path, several, force=True)
    claim(tmp_path, force=True)
    assert not (tmp_path / "5ms").exists()


def test_force_removes_what_a_run_wrote_and_nothing_else(tmp_path: Path) -> None:
    folder = claim(tmp_path)
    own = [
        path for path in vars(folder).values() if path not in (folder.path, folder.state, folder.config, folder.marker)
    ]
    for path in own:
        path.write_text("old")
    (folder.state / "search.safetensors").write_text("old")
    (folder.state / "deeper").mkdir()
    (folder.state / "deeper" / "file").write_text("old")
    external = {tmp_path / "notes.md": "mine", tmp_path / "photos" / "a.png": "mine"}
    (tmp_path / "photos").mkdir()
    for path, content in external.items():
        path.write_text(content)
    claim(tmp_path, Configuration(target=Target(budget="30")), force=True)
    assert not [path for path in own if path.exists()]
    assert [path.name for path in folder.state.iterdir()] == ["lock"]
    assert {path: path.read_text() for path in external} == external


def test_a_file_where_the_folder_should_be_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    for path in (tmp_path / "run", tmp_path / "run" / "below"):
        with pytest.raises(StorageError, match="run"):
            claim(path)
    assert (tmp_path / "run").read_text() == "a file"
