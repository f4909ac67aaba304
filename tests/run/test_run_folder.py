"""The run directory: one process, one configuration, and nothing removed that is not its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hwnas.config import Compute, Configuration, Target, load_configuration
from hwnas.errors import InputError, StorageError
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
                claim(tmp_path / "run", resume=True, force=force)
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
    (tmp_path / "config.toml").write_text("nonsense")
    with pytest.raises(InputError, match="TOML"):
        claim(tmp_path, resume=True)


def test_to_resume_where_nothing_is_starts(tmp_path: Path) -> None:
    assert claim(tmp_path / "new", resume=True).config.exists()


def test_force_removes_what_a_run_wrote_and_nothing_else(tmp_path: Path) -> None:
    folder = claim(tmp_path)
    own = [path for path in vars(folder).values() if path not in (folder.path, folder.state, folder.config)]
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
