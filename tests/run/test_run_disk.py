"""A disk that is too small or read-only: exit code 8, nothing half written, and --resume once there is room."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from run_fakes import SPACE, a_config, install, write_table
from typer.testing import CliRunner

from hwnas.cli import app
from hwnas.devices.device import load_device
from hwnas.devices.rounds import Round
from hwnas.errors import StorageError
from hwnas.latency import journal
from hwnas.latency.build import complete
from hwnas.latency.missing_rows import lacking, open_table
from hwnas.progress import Silent
from hwnas.run.pipeline import run_search

SAME = ("architecture.json", "weights.safetensors", "evaluated.csv", "labels.txt", "config.toml")


@contextmanager
def no_file_above(size_bytes: int) -> Iterator[None]:
    """A full disk: no file of this process may grow beyond that, not even root's."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_is_enlarged_again_and_again(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every size the run gets further, and in the end it is the run that always had room."""
    install(monkeypatch.setattr)
    config = a_config(images, baseline=False)
    tables, out, reference = write_table(tmp_path / "tables"), tmp_path / "run", tmp_path / "reference"
    run_search(config, reference, tables=tables)
    stages = {50: "config.toml", 20_000: "search.safetensors", 400_000: "reference.onnx"}
    for size_bytes, name in stages.items():
        with no_file_above(size_bytes), pytest.raises(StorageError, match=rf"cannot write .*{name}"):
            run_search(config, out, tables=tables, resume=out.exists())
    run_search(config, out, tables=tables, resume=True)
    assert [name for name in SAME if (out / name).read_bytes() != (reference / name).read_bytes()] == []
    (out / "result.json").unlink()
    for gone, size_bytes, name in (("train-*", 10_000, "train-"), ("none", 10_000, "weights.safetensors")):
        for path in (*out.glob(f"state/{gone}"), out / "log.jsonl"):
            path.unlink()
        with no_file_above(size_bytes), pytest.raises(StorageError, match=rf"cannot write .*{name}"):
            run_search(config, out, tables=tables, resume=True)
        run_search(config, out, tables=tables, resume=True)
        (out / "result.json").unlink()
    assert [name for name in SAME if (out / name).read_bytes() != (reference / name).read_bytes()] == []
    assert not list(tmp_path.rglob("*.hwnas-part"))


@pytest.mark.parametrize("size_bytes", [20_000, 3_000_000])
def test_no_room_to_measure_or_for_what_was_measured(
    size_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The models that are measured, and then the rounds: the rounds that had room are kept."""
    device = load_device("host")
    one = Round("a" * 1_000_000, 0, 0, 1.0, 1.0, 1.0, 9, 1.0)

    def rounds_without_end(*_: object, on_round: Callable[[Round], None], **__: object) -> None:
        while True:
            on_round(one)

    monkeypatch.setattr(journal, "profile_rounds", rounds_without_end)
    table = open_table(device, tmp_path)
    name = r"\.onnx" if size_bytes == 20_000 else r"rounds-.*\.jsonl"
    with no_file_above(size_bytes), pytest.raises(StorageError, match=f"cannot write .*{name}"):
        complete(table, SPACE, device, tmp_path, lacking(table, SPACE), progress=Silent())
    kept = [line for path in tmp_path.glob("rounds-*") for line in path.read_text().splitlines() if one.name in line]
    assert len(kept) == (0 if size_bytes == 20_000 else 2)
    assert not (tmp_path / "table.csv").exists()


def test_a_log_that_was_cut_short_is_read_on(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables, out, config = write_table(tmp_path / "tables"), tmp_path / "run", a_config(images, baseline=False)
    install(monkeypatch.setattr)
    run_search(config, out, tables=tables)
    log = (out / "log.jsonl").read_text()
    (out / "log.jsonl").write_text(log[:-20])
    (out / "result.json").unlink()
    assert run_search(config, out, tables=tables, resume=True)["seconds"] >= 0


@pytest.fixture
def read_only(tmp_path: Path) -> tuple[Path, list[str]]:
    """A folder that cannot be written, and the words that a command needs before it for that to hold."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        folder.chmod(0o555)
        return folder, []
    # Root passes permissions, so there it is a read-only disk that only the command sees.
    alone = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o ro tmpfs "$1" && shift && exec "$@"', "sh", str(folder)]
    if not shutil.which("unshare") or subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("root without the right to mount")
    return folder, alone


EACH = """
import json, sys
from typer.testing import CliRunner
from hwnas.cli import app
done = [CliRunner().invoke(app, words) for words in json.loads(sys.argv[1])]
print(json.dumps([[one.exit_code, one.stderr] for one in done]))
"""


def writing_into(folder: Path, images: Path, tables: Path) -> list[list[str]]:
    """Two commands."""
    toy = ["--space", "toy", "--width", "1", "--resolution", "8"]
    search = ["search", "--budget-ms", "60%", *toy, "--data", str(images), "--tables", str(tables), "--out"]
    return [[*search, str(folder / "run")], ["profile-device", *toy, "--out", str(folder)]]


def assert_told(exit_code: int, stderr: str, folder: Path) -> None:
    assert exit_code == 8, stderr
    assert "Traceback" not in stderr
    (error,) = [line for line in stderr.splitlines() if line.startswith("error: ")]
    assert error.startswith(f"error: cannot write {folder}")


@pytest.mark.skipif(sys.platform != "linux", reason="no folder there that nobody can write")
def test_a_folder_that_nobody_can_write(images: Path, tmp_path: Path) -> None:
    """/sys takes no files, not even root's, as a read-only disk does not."""
    folder = Path("/sys")
    for words in writing_into(folder, images, write_table(tmp_path / "tables")):
        done = CliRunner().invoke(app, words)
        assert_told(done.exit_code, done.stderr, folder)


@pytest.mark.dear
def test_a_read_only_folder(read_only: tuple[Path, list[str]], images: Path, tmp_path: Path) -> None:
    """For both commands, in one process that loads torch once."""
    folder, before = read_only
    both = writing_into(folder, images, write_table(tmp_path / "tables"))
    program = [*before, sys.executable, "-c", EACH, json.dumps(both)]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert len(told) == 2
    for exit_code, stderr in told:
        assert_told(exit_code, stderr, folder)
