"""Templates, and the files that `hwnas devices new` makes of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from ssh_board import Board, needs_sshd
from typer.testing import CliRunner

from hwnas.cli import app
from hwnas.devices import device_templates
from hwnas.devices.device import list_devices, load_device
from hwnas.devices.device_templates import new_device, templates
from hwnas.devices.link import condition_of, link_to
from hwnas.errors import InputError

VALUES = {"host": "pi.local", "serial": "0123456789ABCDEF"}


def test_templates_are_no_devices() -> None:
    assert templates().keys() == {
        "android-benchmark-model",
        "android-termux",
        "browser",
        "jetson",
        "mac",
        "raspberry-pi-4",
        "raspberry-pi-5",
    }
    assert not {device.id for device in list_devices()} & templates().keys()
    done = CliRunner().invoke(app, ["devices", "list", "--json"])
    assert [one["template"] for one in json.loads(done.stdout)["templates"]] == list(templates())
    for name in ("mac", "hwnas devices new"):
        assert name in CliRunner().invoke(app, ["devices", "list"]).stdout


@pytest.mark.parametrize("name", templates())
def test_a_template_is_a_device_after_its_one_empty_line_is_edited(name: str, tmp_path: Path) -> None:
    text = templates()[name].text
    empty = [line for line in text.splitlines() if '""' in line]
    assert len(empty) == (0 if name in ("mac", "browser") else 1)
    path = tmp_path / f"{name}.toml"
    for line in empty:
        path.write_text(text)
        with pytest.raises(InputError, match=line.partition(" ")[0]):
            load_device(str(path))
        text = text.replace(line, line.replace('""', f'"{VALUES[line.partition(" ")[0]]}"'))
    path.write_text(text)
    device = load_device(str(path))
    assert device.id == name
    assert device.description == templates()[name].description


def test_a_new_file_says_which_line_to_edit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["devices", "new", "kitchen", "--like", "raspberry-pi-4"])
    assert done.exit_code == 0, done.output
    lines = (tmp_path / "kitchen.toml").read_text().splitlines()
    number = 1 + next(index for index, line in enumerate(lines) if line.startswith("host = "))
    assert f"host is not set: edit line {number}, its name or address" in done.stdout
    assert done.stdout.splitlines()[-1] == "Next: hwnas devices check kitchen.toml"
    again = CliRunner().invoke(app, ["devices", "new", "kitchen", "--like", "mac"])
    assert again.exit_code == 2
    assert "is there already" in again.stderr
    assert (tmp_path / "kitchen.toml").read_text().splitlines() == lines
    lines[number - 1] = 'host = "pi.local"'
    (tmp_path / "kitchen.toml").write_text("\n".join(lines))
    device = load_device("kitchen.toml")
    assert device.ssh is not None
    assert (device.id, device.ssh.host, device.pin) == ("kitchen", "pi.local", 3)


def test_a_device_that_is_not_there_is_written_and_said(tmp_path: Path) -> None:
    needs_sshd()
    made = new_device("x", "android-termux", {"host": "no-such-host.invalid"}, tmp_path / "new")
    assert load_device(str(made.path)).id == "x"
    assert made.trouble is not None
    assert made.trouble.startswith("no-such-host.invalid port 8022 cannot be reached: ")
    assert (made.condition, made.lacking) == (None, ())
    here = new_device("here", "mac", {}, tmp_path)
    assert here.condition == condition_of(load_device("host")).folder.as_posix()


def test_a_device_that_is_there_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The board's port, keys and user come from OpenSSH's configuration, as the template has none."""
    needs_sshd()
    (tmp_path / "board").mkdir()
    board = Board(tmp_path / "board")
    address = board.device().ssh
    assert address is not None
    board.configure(
        f"Host shelf\n HostName 127.0.0.1\n Port {board.port}\n User {address.user}\n IdentityFile {address.key}\n"
        f" UserKnownHostsFile {address.known_hosts}\n",
        monkeypatch,
    )
    plain = templates()["raspberry-pi-4"]
    text = plain.text.replace("hwnas-env/bin/python", address.python).replace("pin = 3", "pin = 0")
    text += f"workdir = '{board.folder}/work'\n"
    monkeypatch.setattr(device_templates, "templates", lambda: {plain.name: replace(plain, text=text)})
    try:
        arguments = ["devices", "new", "shelf", "--like", "raspberry-pi-4", "--host", "shelf", "--out", str(tmp_path)]
        done = CliRunner().invoke(app, [*arguments, "--json"])
        assert done.exit_code == 0, done.output
        made = json.loads(done.stdout)
        device = load_device(made["path"])
        assert made["condition"] == condition_of(device).folder.as_posix()
        assert (made["lacking"], made["trouble"]) == ([], None)
    finally:
        link_to.cache_clear()
        board.close()


@pytest.mark.parametrize(
    ("name", "like", "values", "message"),
    [
        ("x", "toaster", {}, "there is no template 'toaster'"),
        ("X", "mac", {}, "a device's name must be"),
        ("../x", "mac", {}, "a device's name must be"),
        ("x" * 65, "mac", {}, "a device's name must be"),
        ("x", "mac", {"host": "pi"}, "the template mac has no host"),
        ("x", "raspberry-pi-4", {"host": "-oProxyCommand=true"}, r"ssh\.host must be"),
        ("x", "raspberry-pi-4", {"host": 'a"\nb'}, r"ssh\.host must be"),
    ],
)
def test_nothing_is_written_for_what_is_refused(
    name: str, like: str, values: dict[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        new_device(name, like, values, tmp_path)
    assert list(tmp_path.iterdir()) == []
