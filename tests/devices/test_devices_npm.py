"""Installing onnxruntime-web: once, whole or not at all, and what is said where it cannot be."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from device_models import HOST
from typer.testing import CliRunner

from hwnas.backends import npm
from hwnas.cli import app
from hwnas.devices.device_check import facts_of
from hwnas.errors import DeviceError, StorageError

NODE = "echo v20.1.2"
WRITE = """/bin/mkdir -p node_modules/onnxruntime-web
echo '{"version": "1.30.7"}' > node_modules/onnxruntime-web/package.json"""
GOOD_NPM = f'echo "$@" >> ../calls\n{WRITE}'
OFFLINE_NPM = """echo "npm error code ENOTFOUND" >&2
echo "npm error network request to the registry failed" >&2
exit 1"""


class Programs:
    """The only programs that are on the PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, script: str) -> None:
        (self.folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.folder / name).chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HWNAS_CACHE", str(tmp_path / "cache"))
    programs = Programs(tmp_path / "bin")
    programs.write("node", NODE)
    return programs


def test_it_is_installed_once_and_says_what_and_where(programs: Programs, caplog: pytest.LogCaptureFixture) -> None:
    programs.write("npm", GOOD_NPM)
    assert npm.packages() == {}
    npm.install()
    npm.install()
    assert npm.packages() == {"onnxruntime-web": "1.30.7", "node": "20.1.2"}
    (said,) = caplog.messages
    assert all(part in said for part in ("onnxruntime-web", npm.VERSION, str(npm.folder())))
    (call,) = (npm.folder().parent / "calls").read_text().splitlines()
    assert call.startswith("ci --prefix ")
    assert "--ignore-scripts" in call
    asked = json.loads((npm.folder() / "package.json").read_text())
    assert asked["dependencies"] == {"onnxruntime-web": npm.VERSION}
    assert {path.name for path in npm.folder().parent.iterdir()} <= {npm.folder().name, "calls", ".lock"}


def test_everything_is_pinned_by_checksum(programs: Programs) -> None:
    """`npm ci` takes nothing that the lock file does not name, and nothing of another checksum."""
    programs.write("npm", GOOD_NPM)
    npm.install()
    asked, lock = (json.loads((npm.folder() / name).read_text()) for name in ("package.json", "package-lock.json"))
    entries = lock["packages"]
    assert entries.pop("")["dependencies"] == asked["dependencies"] == {"onnxruntime-web": npm.VERSION}
    assert entries["node_modules/onnxruntime-web"]["version"] == npm.VERSION
    assert all(entry["integrity"].startswith("sha512-") for entry in entries.values())
    wanted = {name for entry in entries.values() for name in entry.get("dependencies", {})}
    assert {f"node_modules/{name}" for name in wanted} <= entries.keys()


def test_a_cache_folder_may_be_relative(programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs.write("npm", GOOD_NPM)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HWNAS_CACHE", "here")
    npm.install()
    assert npm.folder().is_relative_to(tmp_path / "here")
    assert npm.packages()


@pytest.mark.parametrize("damage", ["", "{", "[]", "{}"])
def test_what_is_damaged_is_installed_again(programs: Programs, damage: str) -> None:
    programs.write("npm", GOOD_NPM)
    npm.install()
    (npm.folder() / "node_modules" / "onnxruntime-web" / "package.json").write_text(damage)
    assert npm.packages() == {}
    npm.install()
    assert npm.packages()["onnxruntime-web"] == "1.30.7"


@pytest.mark.parametrize("missing", ["node", "npm"])
def test_a_program_that_is_missing_is_named(programs: Programs, missing: str) -> None:
    programs.write("npm", GOOD_NPM)
    (programs.folder / missing).unlink()
    with pytest.raises(DeviceError, match=f"ort-web needs {missing}, which is not on the PATH") as caught:
        npm.install()
    assert "Node.js" in caught.value.hint


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (OFFLINE_NPM, "code ENOTFOUND; network request to the registry failed"),
        ("exit 3", "it ended with code 3"),
        ("exit 0", "it installed nothing"),
        (f"{WRITE}\nexit 1", "it ended with code 1"),
    ],
)
def test_an_npm_that_fails(programs: Programs, script: str, message: str) -> None:
    programs.write("npm", script)
    for _ in range(2):
        with pytest.raises(DeviceError, match=f"npm could not install onnxruntime-web .*{message}") as caught:
            npm.install()
        assert caught.value.hint
        assert not npm.folder().exists()
    programs.write("npm", GOOD_NPM)
    npm.install()
    assert npm.packages()


def test_an_npm_that_cannot_be_started(programs: Programs) -> None:
    programs.write("npm", "")
    (programs.folder / "npm").write_text("#!/no/such/interpreter\n")
    with pytest.raises(DeviceError, match="cannot start"):
        npm.install()


def test_an_npm_that_never_ends(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npm, "_LONGEST_S", 0.5)
    os.mkfifo(programs.folder / "never")
    programs.write("npm", f"read line < {programs.folder / 'never'}")
    with pytest.raises(DeviceError, match=r"still installing onnxruntime-web after 0.5 s"):
        npm.install()


def test_a_killed_install_leaves_nothing_that_is_taken_for_whole(programs: Programs) -> None:
    started, never = programs.folder / "started", programs.folder / "never"
    os.mkfifo(started)
    os.mkfifo(never)
    programs.write("npm", f"{WRITE}\necho junk > node_modules/junk\necho > {started}\nread line < {never}")
    command = [sys.executable, "-c", "from hwnas.backends import npm; npm.install()"]
    child = subprocess.Popen(command, start_new_session=True)
    started.read_text()
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    assert npm.packages() == {}
    programs.write("npm", GOOD_NPM)
    npm.install()
    assert npm.packages()
    assert not (npm.folder() / "node_modules" / "junk").exists()


def test_a_cache_that_cannot_be_written(programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs.write("npm", GOOD_NPM)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HWNAS_CACHE", str(tmp_path / "file"))
    with pytest.raises(StorageError):
        npm.install()


def test_a_check_installs_nothing(programs: Programs) -> None:
    programs.write("npm", GOOD_NPM)
    with pytest.raises(DeviceError, match="device 'web' has no onnxruntime-web yet") as caught:
        facts_of(replace(HOST, id="web", runtime="ort-web"))
    assert "hwnas profile-device" in caught.value.hint
    assert not npm.folder().parent.exists()


def test_a_check_of_the_host_names_it(programs: Programs) -> None:
    assert "onnxruntime-web" not in facts_of(HOST)["packages"]
    programs.write("npm", GOOD_NPM)
    npm.install()
    packages = facts_of(HOST)["packages"]
    assert (packages["onnxruntime-web"], packages["node"]) == ("1.30.7", "20.1.2")
    assert "onnxruntime" in packages


def test_the_command_ends_with_exit_code_5(programs: Programs, tmp_path: Path) -> None:
    programs.write("npm", OFFLINE_NPM)
    path = tmp_path / "web.toml"
    path.write_text(
        'id = "offline"\ndescription = "d"\ntransport = "local"\nruntime = "ort-web"\nthreads = 1\nprecision = "fp32"\n'
    )
    done = CliRunner().invoke(app, ["profile-device", "--device", str(path), "--out", str(tmp_path), "--json"])
    assert done.exit_code == 5
    answer = json.loads(done.stdout)
    assert "ENOTFOUND" in answer["error"]
    assert "network" in answer["hint"]
