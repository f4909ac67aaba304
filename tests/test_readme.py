"""What the documentation says can be done: every command, Python block, table and link in it is checked.

A command that this file does not know how to check fails the tests.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from plugin_packages import install_documented
from typer.testing import CliRunner

from hwnas import errors
from hwnas.arch import space_instance, space_rungs
from hwnas.arch.costs import macs
from hwnas.arch.network import Network
from hwnas.cli import app
from hwnas.cli.result_view import print_result
from hwnas.devices.device import Device, load_device
from hwnas.devices.link import condition_of
from hwnas.errors import INTERRUPTED_EXIT_CODE, HwnasError
from hwnas.latency.table import Calibration, LatencyTable, Row, Validation
from hwnas.latency.table_files import save_table
from hwnas.plugins import plugins
from hwnas.run import affordable, forecast, instance, instance_choice, pipeline
from hwnas.run.run_folder import RunFolder
from hwnas.train import step_memory

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
DOCUMENTS = [
    README,
    ROOT / "CONTRIBUTING.md",
    ROOT / "latency_tables/README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs").glob("guides/*.md")),
    *sorted((ROOT / "docs").glob("concepts/*.md")),
    *sorted((ROOT / "docs").glob("reference/*.md")),
    *sorted((ROOT / "examples").glob("*/README.md")),
]
EVERYTHING = [*DOCUMENTS, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs/decisions").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RUN_AS_THEY_ARE = {"list", "show", "doctor"}


@dataclass(frozen=True)
class Snippet:
    """A command or a block of a document; `whole` is false for one that is only mentioned in a sentence."""

    document: str
    text: str
    whole: bool = True

    def __str__(self) -> str:
        return f"{self.document}: {self.text.splitlines()[0]}"


def fences(path: Path) -> list[tuple[str, str]]:
    return FENCE.findall(path.read_text(encoding="utf-8"))


def prose(path: Path) -> str:
    return FENCE.sub("", path.read_text(encoding="utf-8"))


def commands(path: Path) -> list[Snippet]:
    """Commands of console and bash blocks, and those that a sentence mentions."""
    found = []
    for language, text in fences(path):
        lines = text.replace("\\\n", " ").splitlines()
        if language == "console":
            found += [Snippet(path.name, line[2:]) for line in lines if line.startswith("$ ")]
        elif language == "bash":
            found += [Snippet(path.name, line) for line in lines if line and not line.startswith("#")]
    mentioned = re.findall(r"`((?:hwnas|make|pip|bash|python) [^`]+)`", prose(path))
    return found + [Snippet(path.name, " ".join(text.split()), whole=False) for text in mentioned]


def saying(words: str) -> list[Path]:
    """The documents that have these words; none is an error, as something would be left unchecked."""
    found = [path for path in DOCUMENTS if words in path.read_text(encoding="utf-8")]
    assert found, words
    return found


COMMANDS = list({(one.text, one.whole): one for path in reversed(DOCUMENTS) for one in commands(path)}.values())
BLOCKS = [Snippet(path.name, text) for path in DOCUMENTS for language, text in fences(path) if language == "python"]
TOML = [Snippet(path.name, text) for path in DOCUMENTS for language, text in fences(path) if language == "toml"]
DEVICES = [block for block in TOML if "transport" in tomllib.loads(block.text)]
CONFIGURATION = next(block for block in TOML if "target" in tomllib.loads(block.text))
LOGINS = [table["ssh"] for table in map(tomllib.loads, (device.text for device in DEVICES)) if "ssh" in table]
EXECUTED = [block for block in BLOCKS if 'hwnas.search("photos"' not in block.text]  # tests/run/test_run_api.py runs it


@pytest.fixture(scope="module", autouse=True)
def _the_documented_plugin_is_installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = str(install_documented(tmp_path_factory.mktemp("site")))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", folder, prepend=os.pathsep)
        plugins.cache_clear()
        yield
    plugins.cache_clear()


@pytest.fixture(autouse=True)
def _the_ends_of_spaces_take_as_long_as_their_multiply_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of a millisecond a million; every fourth instance of a space is enough to choose from."""

    def floor_ms(networks: Mapping[str, Network], device: Device, **_: Any) -> dict[str, float]:
        return {name: 0.25e-6 * macs(network.graph) for name, network in networks.items()}

    monkeypatch.setattr(instance, "floor_ms", floor_ms)
    monkeypatch.setattr(instance_choice, "space_rungs", lambda name: space_rungs(name)[::4])


@pytest.fixture(autouse=True)
def _trackers_are_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "check_tracker", lambda name: None)


@pytest.fixture(autouse=True)
def _plans_time_two_steps_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each network that they time, not as many as fill half a second; what a step takes of memory is made up."""
    monkeypatch.setattr(forecast, "_LIMIT_S", 0.0)
    monkeypatch.setattr(affordable, "_TIMED_S", 0.0)
    monkeypatch.setattr(step_memory, "peak_bytes", lambda _: 1 << 20)


def test_there_is_something_to_check() -> None:
    assert {command.text for command in COMMANDS} >= {"make demo", "make test"}
    assert len(BLOCKS) > len(EXECUTED) > 0


@pytest.mark.parametrize("path", EVERYTHING, ids=lambda path: path.name)
def test_blocks_say_what_they_are(path: Path) -> None:
    assert {language for language, _ in fences(path)} <= {"console", "bash", "python", "text", "toml"}
    assert prose(path).count("```") == 0


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_commands_are_right(command: Snippet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    match shlex.split(command.text):
        case ["make", *targets] if targets:
            assert set(targets) <= make_targets()
        case ["hwnas", *arguments] if arguments:
            check_hwnas(arguments, tmp_path, whole=command.whole)
        case ["torchrun", "--standalone", "--nproc-per-node", count, "-m", "hwnas", *arguments] if arguments:
            assert int(count) > 1
            check_hwnas(arguments, tmp_path, whole=command.whole)
        case ["pip", "install", *arguments] if arguments:
            check_pip(arguments)
        case ["bash", script]:
            assert (ROOT / script).read_text(encoding="utf-8").startswith("#!/usr/bin/env bash\n")
        case [".venv/bin/python", "-m", "pytest", *paths] if paths:
            assert all((ROOT / path).exists() for path in paths)
        case [".venv/bin/ruff", "format", "."]:
            pass
        case ["ssh" | "ssh-copy-id", *words] if words:
            check_ssh(words)
        case ["cp", *files, folder] if files:
            assert all((ROOT / one).is_file() for one in files)
            assert (ROOT / folder).is_dir()
        case ["npm", "ci", "--prefix", folder, "--ignore-scripts"]:
            assert (ROOT / folder / "index.html").is_file()
        case ["python", "-m", "http.server", "--directory", folder]:
            assert (ROOT / folder / "index.html").is_file()
        case ["python", tool, *options]:
            declared = (ROOT / tool).read_text(encoding="utf-8")
            assert all(f"    {one[2:].replace('-', '_')}: " in declared for one in options if one.startswith("--"))
        case ["adb", verb, *words]:
            assert verb in {"devices", "forward", "push", "shell"}
            assert len(words) >= (1 if verb in ("devices", "shell") else 2)
        case _:
            pytest.fail(f"no check is known for the command {command.text!r}")


def check_ssh(words: list[str]) -> None:
    """The login is that of a device in these documents, and the board's shell can read the command."""
    port = 22
    if words[0] == "-p":
        port, words = int(words[1]), words[2:]
    login, *remote = words
    assert (login, port) in {(login_of(one), one.get("port", 22)) for one in LOGINS}
    assert subprocess.run(["sh", "-n", "-c", " ".join(remote)], check=False).returncode == 0


def login_of(address: dict[str, Any]) -> str:
    return f"{address['user']}@{address['host']}" if "user" in address else str(address["host"])


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_devices_are_described_right(device: Snippet, tmp_path: Path) -> None:
    path = tmp_path / "device.toml"
    path.write_text(device.text)
    assert load_device(str(path)).id == tomllib.loads(device.text)["id"]


def make_targets() -> set[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony is not None
    targets = set(phony[1].split())
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
    return targets


def check_hwnas(arguments: list[str], folder: Path, *, whole: bool) -> None:
    """Run what is quick, plan a search, and parse everything else with all its options and values."""
    elsewhere = "--device" in arguments or any(".toml" in word for word in arguments if ":" in word)
    if arguments[0] == "search" and whole and not elsewhere:
        make_images(arguments, folder)
        if "--config" in arguments:
            Path(arguments[arguments.index("--config") + 1]).write_text(CONFIGURATION.text)
        succeed([*arguments, *([] if "--dry-run" in arguments else ["--dry-run"]), "--tables", str(folder / "tables")])
        assert not (folder / "runs").exists()
    elif arguments[:2] in (["table", "show"], ["table", "diff"], ["table", "import"]) and whole:
        make_tables(arguments)
        succeed(arguments)
    elif arguments[0] in ("--install-completion", "--show-completion"):
        assert len(arguments) == 1  # test_cli_init.py runs them
    elif "--help" in arguments or (RUN_AS_THEY_ARE & set(arguments) and arguments[0] != "runs"):  # there are no runs
        succeed(arguments)
    elif whole:
        command: Any = typer.main.get_command(app)
        while hasattr(command, "commands"):
            name, *arguments = arguments
            assert name in command.commands, f"there is no command {name!r}"
            command = command.commands[name]
        for word in arguments:
            if word.startswith("runs/"):
                Path(word).mkdir(parents=True, exist_ok=True)
        command.make_context(command.name, arguments)
    else:
        succeed([*arguments, "--help"])


def succeed(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output


def make_tables(arguments: list[str]) -> None:
    """The tables and files that a command about tables names, below the folder that it runs in."""
    space = space_instance("mobile", width=0.25, resolution=32, channels=3, classes=10)
    condition = condition_of(load_device("host"))
    table = LatencyTable(condition, reference_us=1.0)
    table.rows = {spec.key: Row(spec.key, "0" * 16, 9.0, 9.0, 9.0, 9, "2026-01-01") for spec in space.ops}
    table.calibrations[space.signature] = Calibration(1.0, 0.0, 0.0, 24)
    table.validations[space.signature] = Validation(24, 1.0, 1.0, 0.01, 1.0, 1.0, 0.01, 0.01)
    table.pairs[space.signature] = [[1.0, 1.0]]
    for folder in arguments[2:4] if arguments[1] == "diff" else ["latency_tables"]:
        save_table(table, Path(folder) / condition.folder)
    if arguments[1] == "import":
        ops = ["k3_e1", "k3_e1_g2", "k3_e3", "k3_e6", "k5_e1", "k5_e1_g2", "k5_e3", "k5_e6", "skip"]
        phone = {"relative_to_skip_ms": [[*[0.5] * 8, 0.0]] * 22, "all_skip_total_ms": 2.0}
        lut = {"dataset": "cifar100 (32x32)", "ops": ops, "layers": 22, "devices": {"phone": phone}}
        texts = {
            "fbnet": json.dumps(lut),
            "ofa": "Conv-input:224x224x3-output:112x112x32: {mean: 3.5}\n",
            "csv": "key,latency_ms\nconv-i3-o32-h224-w224-k3-s2-relu6,3.5\n",
        }
        Path(arguments[2]).write_text(texts[arguments[arguments.index("--format") + 1]])


def make_images(arguments: list[str], folder: Path) -> None:
    """The images that `--data` names."""
    data = arguments[arguments.index("--data") + 1] if "--data" in arguments else "digits"
    if data == "mnist" or data.endswith(".npz"):
        path = folder / "data" / "mnist.npz" if data == "mnist" else folder / data
        path.parent.mkdir(exist_ok=True)
        x, y = np.arange(30 * 28 * 28).reshape(30, 28, 28) % 256, np.arange(30) % 10
        np.savez(
            path, **({"x_train": x, "y_train": y, "x_test": x, "y_test": y} if data == "mnist" else {"x": x, "y": y})
        )
    elif data != "digits":
        for name in ("cat", "dog"):
            images = folder / data / name
            images.mkdir(parents=True)
            for index in range(3):
                Image.new("RGB", (48, 40)).save(images / f"{index}.png")


def check_pip(arguments: list[str]) -> None:
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    match arguments:
        case ["-c", constraints, "."]:
            assert (ROOT / constraints).is_file()
        case ["."]:
            assert any("name" in tomllib.loads(block.text).get("project", {}) for block in TOML)
        case [requirement]:
            assert requirement in pinned
        case _:
            pytest.fail(f"no check is known for pip install {shlex.join(arguments)}")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_options_in_sentences_exist(path: Path) -> None:
    known = options(typer.main.get_command(app))
    mentioned = set(re.findall(r"`(--[a-z-]+)", prose(path)))
    assert mentioned <= known


def options(command: Any) -> set[str]:
    own = {option for parameter in command.get_params(typer.Context(command)) for option in parameter.opts}
    return own.union(*(options(child) for child in getattr(command, "commands", {}).values()))


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_python_blocks_fit_the_code(block: Snippet) -> None:
    tree = ast.parse(block.text)
    names: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                importlib.import_module(alias.name)
        elif isinstance(node, ast.ImportFrom):
            module = importlib.import_module(str(node.module))
            names |= {alias.name: getattr(module, alias.name) for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
            keywords = {str(keyword.arg): None for keyword in node.keywords if keyword.arg is not None}
            inspect.signature(names[node.func.id]).bind_partial(*node.args, **keywords)


EACH_BLOCK = """
import json, sys, traceback
said = []
for block in json.loads(sys.argv[1]):
    try:
        exec(block, {"__name__": "__main__"})
        said.append("")
    except BaseException:
        said.append(traceback.format_exc())
with open("said.json", "w") as file:
    json.dump(said, file)
"""


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> dict[Snippet, str]:
    """Of the blocks, each with names of its own, in one process that loads torch once."""
    folder = tmp_path_factory.mktemp("blocks")
    texts = json.dumps([block.text for block in EXECUTED])
    done = subprocess.run([sys.executable, "-c", EACH_BLOCK, texts], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return dict(zip(EXECUTED, json.loads((folder / "said.json").read_text()), strict=True))


@pytest.mark.parametrize("block", EXECUTED, ids=str)
def test_python_blocks_run(block: Snippet, failures: dict[Snippet, str]) -> None:
    assert failures[block] == ""


@pytest.mark.parametrize("path", EVERYTHING, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", prose(path)):
        assert target.startswith("https://") or (path.parent / target).exists(), target


@pytest.mark.parametrize("path", EVERYTHING, ids=lambda path: path.name)
def test_files_that_are_named_exist(path: Path) -> None:
    for name in re.findall(
        r"`((?:hwnas|tests|docs|tools|arch|backends|devices|latency|search|run)/[\w./-]+)`", prose(path)
    ):
        assert (ROOT / name).exists() or (ROOT / "hwnas" / name).exists(), name


@pytest.mark.parametrize("path", saying("| Exit code | Meaning |"), ids=lambda path: path.name)
def test_the_exit_codes_are_those_of_the_errors(path: Path) -> None:
    table = path.read_text(encoding="utf-8").partition("| Exit code | Meaning |")[2].partition("\n\n")[0]
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
    classes = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, HwnasError)]
    assert listed == {0, INTERRUPTED_EXIT_CODE} | {one.exit_code for one in classes}


@pytest.mark.parametrize("path", saying("\n| `.hwnas-run` |"), ids=lambda path: path.name)
def test_the_files_of_a_run_are_listed(path: Path) -> None:
    (table,) = [part for part in path.read_text(encoding="utf-8").split("\n\n") if "\n| `.hwnas-run` |" in part]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    listed = {name.rstrip("/") for row in rows for name in re.findall(r"`([^`]+)`", row)}
    folder = RunFolder(Path("run"))
    assert listed == {str(path.relative_to(folder.path)) for path in vars(folder).values()} - {"."}


def test_the_example_is_what_a_search_prints(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the result with the numbers in it."""
    examples = {text for path in DOCUMENTS for _, text in fences(path) if "random, trained alike" in text}
    (example,) = examples
    result = {
        "budget_ms": 0.1324,
        "predicted_ms": 0.1176,
        "measured_ms": {"median": 0.1194, "bounds": [None, 0.1223]},
        "accuracy": {"test": 0.9963},
        "baseline_random": {
            "predicted_ms": 0.1176,
            "measured_ms": {"median": 0.1172, "bounds": [None, 0.1207]},
            "accuracy": 1.0000,
            "macs": 2543168,
            "params": 68338,
            "file_bytes": 276567,
            "weights": "trained",
        },
        "trained": True,
        "weights": "trained",
        "macs": 2571968,
        "params": 109322,
        "file_bytes": 441699,
        "budget_met": True,
        "budget_binds": None,
        "verdict": "met",
        "device": "host",
        "model": "model.onnx",
        "seconds": 139.0,
    }
    monkeypatch.setenv("COLUMNS", "100")
    print_result(result, Path("runs/demo"))
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == example.splitlines()
