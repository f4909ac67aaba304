"""Device descriptions, conditions, and the name of the CPU."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import tomli_w
from typer.testing import CliRunner

from hwnas.cli import app
from hwnas.devices.device import Condition, list_devices, load_device
from hwnas.devices.host import cpu_slug, host_facts
from hwnas.devices.link import condition_of
from hwnas.devices.runner import cpu_fields, facts, package_version
from hwnas.devices.transports.adb import AdbAddress
from hwnas.devices.transports.ssh_address import SshAddress
from hwnas.errors import InputError
from hwnas.resources import resource_folder

GOOD = 'id = "x"\ndescription = "d"\ntransport = "local"\nruntime = "onnxruntime"\nthreads = 1\nprecision = "fp32"\n'


def test_the_host_is_described() -> None:
    host = load_device("host")
    assert host in list_devices()
    assert (host.transport, host.runtime, host.threads, host.precision) == ("local", "onnxruntime", 1, "fp32")


def test_the_host_resolves_to_its_condition() -> None:
    condition, slug = condition_of(load_device("host")), cpu_slug(facts()["cpu"])
    assert condition.device == slug
    assert condition.id == f"onnxruntime-{package_version('onnxruntime')}-t1-fp32"
    assert condition.folder == Path(slug) / condition.id


def test_condition_id() -> None:
    condition = Condition("amd-epyc-f25m1", "onnxruntime", "1.32.0", 2, "int8")
    assert condition.folder.as_posix() == "amd-epyc-f25m1/onnxruntime-1.32.0-t2-int8"


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(GOOD + "pin = 0\n")
    assert load_device(str(path)).pin == 0


SSH = '[ssh]\nhost = "pi.local"\nuser = "pi"\n'
ADB = '[adb]\nserial = "PHONE"\nrunner = "/data/local/tmp/benchmark_model"\n'


def test_a_board_and_a_phone(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(GOOD.replace('"local"', '"ssh"') + 'governor = "performance"\n' + SSH + "port = 2222\n")
    board = load_device(str(path))
    assert board.ssh == SshAddress("pi.local", "pi", 2222)
    assert board.ssh is not None
    assert (board.governor, board.python, board.ssh.login) == ("performance", "python3", "ssh -p 2222 pi@pi.local")
    path.write_text(GOOD.replace('"local"', '"adb"').replace('"onnxruntime"', '"litert"') + ADB)
    phone = load_device(str(path))
    assert phone.adb == AdbAddress("PHONE", "/data/local/tmp/benchmark_model")
    assert phone.python is None
    assert load_device("host").python == sys.executable


@pytest.mark.parametrize(
    ("transport", "runtime", "table", "message"),
    [
        ("ssh", "onnxruntime", "", "transport 'ssh' needs a table \\[ssh\\]"),
        ("ssh", "onnxruntime", ADB, "transport 'ssh' needs a table \\[ssh\\]"),
        ("local", "onnxruntime", SSH, "transport 'local' has no use for a table \\[ssh\\]"),
        ("ssh", "onnxruntime", 'ssh = "pi.local"\n', "ssh must be a table, not 'pi.local'"),
        ("ssh", "onnxruntime", '[ssh]\nuser = "pi"\n', "ssh.host is missing"),
        ("ssh", "onnxruntime", SSH + "port = 0\n", "ssh.port must be an integer of at least 1 and at most 65535"),
        ("ssh", "onnxruntime", SSH + 'key = ""\n', "ssh.key must be the path of a file"),
        ("ssh", "onnxruntime", SSH + 'password = "x"\n', "ssh.password is an unknown key"),
        ("adb", "onnxruntime", ADB, "runtime must be 'litert'"),
        ("adb", "litert", "[adb]\n", "needs runner or python, one of both"),
        ("adb", "litert", ADB + 'python = "python3"\n', "needs runner or python, one of both"),
    ],
)
def test_refuses_addresses(tmp_path: Path, transport: str, runtime: str, table: str, message: str) -> None:
    path = tmp_path / "x.toml"
    path.write_text(GOOD.replace('"local"', f'"{transport}"').replace('"onnxruntime"', f'"{runtime}"') + table)
    with pytest.raises(InputError, match=message):
        load_device(str(path))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("host", value) for value in ("", "pi..local", ".local", "-oProxyCommand=true", "a b", "a\nb", "a\0b")),
        *(("host", value) for value in ("a;b", "a" * 64, "a." * 200 + "a", "pí.local", "user@pi", "$(x)", "pi\n")),
        *(("user", value) for value in ("", "-l", "a b", "a\n", "ü", "a" * 256, "a;b", "$HOME")),
        *(("key", value) for value in ("", "a\nb", "a\0b", "${HOME}/.ssh/id")),
        ("known_hosts", "a\tb"),
        *(("python", value) for value in ("", " ", "a\0b", 'python3 "', "it's")),
        *(("workdir", value) for value in ("", "-rf", "a\nb", "a\0b")),
    ],
)
def test_what_names_no_host_no_user_and_no_file_is_refused(tmp_path: Path, key: str, value: str) -> None:
    path = tmp_path / "x.toml"
    address = {"host": "pi.local", "user": "pi"} | {key: value}
    path.write_text(GOOD.replace('"local"', '"ssh"') + tomli_w.dumps({"ssh": address}))
    with pytest.raises(InputError, match=rf"ssh\.{key} must be (a|the) (host name|name of a user|path|command)"):
        load_device(str(path))
    done = CliRunner().invoke(app, ["devices", "check", str(path)])
    assert done.exit_code == 2
    assert done.stderr.count("must be") == 1


@pytest.mark.parametrize(
    ("key", "value"), [("serial", ""), ("serial", "a\0"), ("runner", "-x"), ("runner", "a\0"), ("workdir", "-rf")]
)
def test_what_adb_cannot_be_given_is_refused(tmp_path: Path, key: str, value: str) -> None:
    path = tmp_path / "x.toml"
    address = {"runner": "/data/local/tmp/benchmark_model"} | {key: value}
    head = GOOD.replace('"local"', '"adb"').replace('"onnxruntime"', '"litert"')
    path.write_text(head + tomli_w.dumps({"adb": address}))
    with pytest.raises(InputError, match=rf"adb\.{key} must be"):
        load_device(str(path))


@pytest.mark.parametrize("host", ["pi", "pi.local.", "192.168.1.7", "fe80::1%eth0", "my_pi-4", "a" * 63 + ".b"])
def test_what_names_a_host(tmp_path: Path, host: str) -> None:
    path = tmp_path / "x.toml"
    path.write_text(GOOD.replace('"local"', '"ssh"') + tomli_w.dumps({"ssh": {"host": host}}))
    assert load_device(str(path)).ssh == SshAddress(host)


@pytest.mark.parametrize(
    ("before", "after", "message", "hint"),
    [
        ("threads = 1", "thread = 1", "thread is an unknown key", "threads"),
        ("threads = 1", "threads = 0", "at least 1", ""),
        ("threads = 1", "threads = true", "integer", ""),
        ("threads = 1", 'threads = "1"', "integer", ""),
        ("threads = 1", "threads =", "not valid TOML", ""),
        ("threads = 1\n", "", "threads is missing", "hwnas devices new"),
        ('"d"', "3", "description must be a string", ""),
        ('"x"', '"X/../y"', "id must be", ""),
        ('"local"', '"pigeon"', "transport must be one of local, ssh, adb, not 'pigeon'", "hwnas devices new"),
        ('"onnxruntime"', '"tvm"', "runtime must be one of onnxruntime, litert, ort-web, not 'tvm'", ""),
        ('"fp32"', '"fp8"', "precision must be one of fp32, int8, not 'fp8'", ""),
    ],
)
def test_refuses(tmp_path: Path, before: str, after: str, message: str, hint: str) -> None:
    path = tmp_path / "x.toml"
    path.write_text(GOOD.replace(before, after))
    with pytest.raises(InputError, match=message) as caught:
        load_device(str(path))
    assert hint in caught.value.hint


def test_unknown_devices_and_files() -> None:
    with pytest.raises(InputError, match="no device 'toaster'") as caught:
        load_device("toaster")
    assert "host" in caught.value.hint
    with pytest.raises(InputError, match="cannot read"):
        load_device("nowhere/x.toml")
    with pytest.raises(InputError, match="no folder"):
        resource_folder("nothing")


@pytest.mark.parametrize(
    ("cpuinfo", "slug"),
    [
        ("cpu family\t: 25\nmodel\t\t: 1\nmodel name\t: AMD EPYC", "amd-epyc-f25m1"),
        ("cpu family\t: 25\nmodel\t\t: 1\nmodel name\t: AMD EPYC 7763 64-Core Processor", "amd-epyc-7763"),
        ("model name : ../../x y\nCPU part : /../0xd08\nCPU implementer : ..", "x-y-0xd08"),
        ("cpu family : ..\nmodel : /\nmodel name : (..)", "f-m"),
        ("cpu family : 6\nmodel : 158\nmodel name : Intel(R) Core(TM) i7-8700 CPU @ 3.20GHz", "intel-core-i7-8700"),
        ("cpu family : 6\nmodel : 143\nmodel name : Intel(R) Xeon(R) Processor @ 2.70GHz", "intel-xeon-f6m143"),
        (
            "CPU implementer : 0x41\nCPU part : 0xd08\n\nHardware : BCM2711\nModel : Raspberry Pi 4 Model B Rev 1.1",
            "raspberry-pi-4-model-b-rev-1-1-0x41-0xd08",
        ),
    ],
)
def test_slug(cpuinfo: str, slug: str) -> None:
    assert cpu_slug(cpu_fields(cpuinfo)) == slug


def test_facts_are_json() -> None:
    facts = json.loads(json.dumps(host_facts(), allow_nan=False))
    assert facts["logical_cores"] >= 1
    assert facts["packages"]["onnxruntime"] == package_version("onnxruntime")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("threads = 1", "threads = 2", "needs threads = 1, not 2"),
        ('"fp32"', '"int8"', "needs precision = 'fp32', not 'int8'"),
        ('"local"', '"ssh"', "needs transport = 'local', not 'ssh'"),
    ],
)
def test_ort_web_is_for_one_thread_in_fp32_on_the_host(tmp_path: Path, before: str, after: str, message: str) -> None:
    path = tmp_path / "x.toml"
    web = GOOD.replace('"onnxruntime"', '"ort-web"')
    path.write_text(web)
    assert load_device(str(path)).runtime == "ort-web"
    path.write_text(web.replace(before, after) + (SSH if after == '"ssh"' else ""))
    with pytest.raises(InputError, match=f"runtime 'ort-web' {message}") as caught:
        load_device(str(path))
    assert "Node" in caught.value.hint
    path.write_text(GOOD.replace(before, after) + (SSH if after == '"ssh"' else ""))
    with pytest.raises(InputError, match=message):
        load_device(str(path)).with_runtime("ort-web")
