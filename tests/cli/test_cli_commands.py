"""Commands in this process: help, lists, JSON, and the exit code of every kind of bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main
from PIL import Image
from rich.text import Text
from typer.testing import CliRunner, Result

from hwnas.cli import app
from hwnas.run.forecast import TIMING
from hwnas.run.run_marker import mark

ROOT = typer.main.get_command(app)
CHAIN = ["--space", "chain", "--width", "0.05", "--depth", "3", "--resolution", "8"]  # at its own size a plan takes 9 s


def hwnas(*words: str) -> Result:
    """Run a command."""
    return CliRunner().invoke(app, [str(word) for word in words])


def commands(node: Any = ROOT, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = [path]
    for name, child in getattr(node, "commands", {}).items():
        found += commands(child, (*path, name))
    return found


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name in ("one", "two"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for index in range(6):
            pixels = np.full((12, 12, 3), 40 * index, dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{index}.png")
    return tmp_path / "images"


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No tables and no runs of whoever runs the tests."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "user"))
    monkeypatch.setattr("hwnas.run.forecast._LIMIT_S", 0.0)  # plans time two steps of training


def test_help_is_printed_as_it_is_written() -> None:
    """What stands in brackets would be taken for markup, and lines would break where they do in the source."""
    for path in commands():
        node: Any = ROOT
        for name in path:
            node = node.commands[name]
        for text in (node.help, *(getattr(one, "help", None) for one in node.params)):
            assert Text.from_markup(text or "").plain == (text or ""), (path, text)
            assert "\n" not in (text or "").replace("\n\n", ""), (path, text)
    shown = " ".join(hwnas("export", "--help").output.replace("│", " ").split())
    assert "[default: (uint8 for int8, else float)]" in shown


@pytest.mark.parametrize("path", commands(), ids=lambda path: " ".join(path) or "hwnas")
def test_every_command_has_help(path: tuple[str, ...]) -> None:
    done = hwnas(*path, "--help")
    assert done.exit_code == 0
    assert "Usage" in done.stdout
    assert len(done.stdout.splitlines()) > 3


@pytest.mark.parametrize(
    ("space", "name"),
    [
        ("efficientnet-lite0", "efficientnet-lite0@w1-r224"),
        ("efficientnet-lite4", "efficientnet-lite4@w1-r300"),
        ("mobilenet-v2", "mobilenet-v2@w1-r224"),
        ("mobile", "mobile@w0.25-r32"),
    ],
)
def test_a_space_is_shown_at_its_own_size(space: str, name: str) -> None:
    assert json.loads(hwnas("spaces", "show", space, "--json").stdout)["space"] == name
    given = hwnas("spaces", "show", space, "--width", "0.5", "--resolution", "64", "--json")
    assert json.loads(given.stdout)["space"] == f"{space}@w0.5-r64"


MISSING = """
import sys
from typer.testing import CliRunner
from hwnas.cli import app
for words in (
    "predict gone image.png",
    "predict here gone.png",
    "report gone",
    "verify gone.onnx",
    "search --budget-ms 2 --data gone",
    "search --budget-ms 2 --init gone",
    "search --budget-ms 2 --config gone.toml",
    "table show gone",
    "parents import mobilenet-v2 gone.pth",
    "meta-train --out a.safetensors --tasks gone",
):
    done = CliRunner().invoke(app, words.split())
    assert done.exit_code == 2, (words, done.output)
    assert "gone" in done.stderr, done.stderr
    assert "hint:" in done.stderr, done.stderr
    loaded = {"torch", "onnx", "onnxruntime", "scipy"} & set(sys.modules)
    assert not loaded, (words, loaded)
"""


def test_a_missing_path_is_refused_before_anything_heavy_is_loaded() -> None:
    """Torch alone takes seconds on a cold disk."""
    Path("here").mkdir()
    done = subprocess.run([sys.executable, "-c", MISSING], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_commands_are_those_of_the_surface() -> None:
    names = {" ".join(path) for path in commands()}
    assert {"search", "profile-device", "verify", "predict", "report", "doctor"} <= names
    assert {"devices list", "devices show", "devices check"} <= names
    assert {"spaces list", "spaces show", "strategies list", "strategies show"} <= names
    assert {"parents list", "parents show", "parents import"} <= names


def test_check_tells_what_the_device_is() -> None:
    done = hwnas("devices", "check", "host", "--json", "--quiet")
    assert (done.exit_code, done.stderr) == (0, "")
    keys = {
        "cpu",
        "governor",
        "temperature_c",
        "packages",
        "clock_ns",
        "free_bytes",
        "reference",
        "remarks",
        "condition",
    }
    assert keys <= json.loads(done.stdout).keys()
    text = hwnas("devices", "check", "host").stdout
    assert "free disk" in text
    assert text.splitlines()[-1] == "Next: hwnas profile-device --device host"


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        (["doctor"], {"cpu", "python", "packages", "devices", "problems"}),
        (["devices", "list"], {"devices"}),
        (["devices", "show", "host"], {"id", "runtime", "threads", "precision", "condition"}),
        (["spaces", "list"], {"spaces"}),
        (["spaces", "show", "toy"], {"space", "size", "rows", "decisions"}),
        (["spaces", "show", "efficientnet-lite1"], {"space", "size", "rows", "decisions"}),
        (["spaces", "show", "chain", "--resolution", "8"], {"space", "size", "rows", "decisions"}),
        (["strategies", "list"], {"strategies"}),
        (["strategies", "show", "enas"], {"strategy", "kind", "summary", "cost", "guards", "presets"}),
        (["search", "--budget-ms", "50%", "--space", "toy", "--dry-run"], {"space", "rows_to_measure", "config"}),
        (["search", "--budgets-ms", "50%,20%", "--space", "toy", "--dry-run"], {"space", "rows_to_measure", "config"}),
        (["search", "--budget-ms", "50%", *CHAIN, "--dry-run"], {"space", "rows_to_measure", "config"}),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, list) else "",
)
def test_json_is_one_object_and_text_is_there_without(words: list[str], keys: set[str]) -> None:
    done = hwnas(*words, "--json")
    assert done.exit_code == 0
    content = json.loads(done.stdout)
    assert isinstance(content, dict)
    assert keys <= content.keys()
    said = f"{TIMING}\n" if "--dry-run" in words else ""
    assert done.stderr == said
    text = hwnas(*words)
    assert text.exit_code == 0
    assert text.stdout.strip()
    assert text.stderr == said


@pytest.mark.parametrize(("space", "mixed"), [("nasbench201", True), ("mobile", False), ("chain", False)])
def test_a_space_says_how_its_weights_warm_up(space: str, mixed: bool) -> None:
    assert json.loads(hwnas("spaces", "show", space, "--json").stdout)["mixed_warmup"] is mixed
    assert ("warm up on mixtures" in hwnas("spaces", "show", space).stdout) is mixed
    assert "spaces show" in hwnas("strategies", "list").stdout


def test_lists_name_what_exists() -> None:
    listed = json.loads(hwnas("spaces", "list", "--json").stdout)["spaces"]
    assert {"chain", "mobile", "toy"} <= listed.keys()
    assert listed["toy"] == "81 networks, for tests"
    assert {"gumbel", "random", "evolution", "enas", "metaqnn"} <= json.loads(
        hwnas("strategies", "list", "--json").stdout
    )["strategies"].keys()
    assert "host" in [one["id"] for one in json.loads(hwnas("devices", "list", "--json").stdout)["devices"]]
    toy = json.loads(hwnas("spaces", "show", "toy", "--width", "1", "--resolution", "8", "--json").stdout)
    assert (toy["space"], toy["size"], list(toy["decisions"])) == ("toy@w1-r8", 81, ["a", "bd", "c", "e"])


SEARCH = ("search", "--budget-ms", "50%", "--space", "toy", "--tables", "tables")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ((*SEARCH, "--device", "no-such-device"), "no-such-device"),
        ((*SEARCH, "--device", "missing.toml"), "missing.toml"),
        ((*SEARCH, "--strategy", "magic"), "magic"),
        ((*SEARCH, "--space", "outer"), "outer"),
        ((*SEARCH, "--data", "no/folder"), "no/folder"),
        ((*SEARCH, "--accelerator", "tpu"), "tpu"),
        ((*SEARCH, "--accelerator", "tpu", "--dry-run"), "tpu"),
        ((*SEARCH, "--budget-ms", "soon"), "soon"),
        ((*SEARCH, "--budget-ms", "120%"), "120%"),
        ((*SEARCH, "--budget-ms", "5,10"), "5,10"),
        ((*SEARCH, "--budgets-ms", "5,10"), "by --budget-ms and by --budgets-ms"),
        (("search", "--space", "toy"), "[target] needs budget"),
        (("search", "--budgets-ms", "5,7,5.0"), "5 ms comes twice"),
        ((*SEARCH, "--scores", "training"), "gumbel"),
        ((*SEARCH, "--space", "chain", "--scores", "supernet"), "cannot share weights"),
        ((*SEARCH, "--space", "chain", "--strategy", "darts"), "darts is a relaxation"),
        ((*SEARCH, "--reward", "soft"), "filter or absolute, not 'soft'"),
        ((*SEARCH, "--reward", "absolute"), "rewards are for samplers"),
        ((*SEARCH, "--width", "40"), "40"),
        ((*SEARCH, "--max-size-kb", "-3"), "--max-size-kb"),
        ((*SEARCH, "--max-peak-kb", "nan"), "--max-peak-kb"),
        ((*SEARCH, "--resolution", "3"), "3"),
        (("devices", "show", "no-such-device"), "no-such-device"),
        (("spaces", "show", "outer"), "outer"),
        (("strategies", "show", "magic"), "magic"),
        (("profile-device", "--space", "outer"), "outer"),
        (("profile-device", "--device", "no-such-device"), "no-such-device"),
        (("predict", "no-run", "a.png"), "no-run"),
        (("report", "no-run"), "no-run"),
    ],
)
def test_bad_input_is_exit_code_2_with_one_message(words: tuple[str, ...], named: str) -> None:
    done = hwnas(*words)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.count("error:") == 1
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    as_json = hwnas(*words, "--json")
    content = json.loads(as_json.stdout)
    assert (as_json.exit_code, content["exit_code"]) == (2, 2)
    assert named in content["error"]
    assert not Path("runs").exists()
    assert not Path("tables").exists()


@pytest.mark.parametrize(
    "words", [(), ("search",), ("nothing",), (*SEARCH, "--seed", "-1"), (*SEARCH, "--treads", "2")]
)
def test_misuse_is_exit_code_2(words: tuple[str, ...]) -> None:
    done = hwnas(*words)
    assert done.exit_code == 2
    assert "Traceback" not in done.output
    if words:
        told = json.loads(hwnas(*words, "--json").stdout)
        assert (told["exit_code"], bool(told["error"]), bool(told["hint"])) == (2, True, True)


def test_a_device_file_is_checked(tmp_path: Path) -> None:
    sound = 'id = "board"\ndescription = "a board"\ntransport = "local"\nruntime = "onnxruntime"\nthreads = 1\n'
    path = tmp_path / "board.toml"
    path.write_text(sound + 'precision = "fp32"\n')
    assert json.loads(hwnas("devices", "show", str(path), "--json").stdout)["id"] == "board"
    path.write_text(sound.replace("onnxruntime", "abacus") + 'precision = "fp32"\n')
    done = hwnas(*SEARCH, "--device", str(path))
    assert done.exit_code == 2
    assert "abacus" in done.stderr
    assert "onnxruntime" in done.stderr


def test_a_folder_with_one_class_is_refused(images: Path) -> None:
    for path in (images / "two").iterdir():
        path.unlink()
    (images / "two").rmdir()
    done = hwnas(*SEARCH, "--data", str(images))
    assert done.exit_code == 2
    assert "one class" in done.stderr


def test_a_dry_run_names_every_image_that_cannot_be_read(images: Path) -> None:
    for index in range(7):
        (images / "two" / f"bad{index}.png").write_bytes(b"")
    done = hwnas(*SEARCH, "--data", str(images), "--dry-run", "--json")
    assert done.exit_code == 2
    assert len(json.loads(done.stdout)["unreadable"]) == 7
    done = hwnas(*SEARCH, "--data", str(images), "--dry-run", "--skip-unreadable", "--fit", "squash", "--flip", "off")
    assert done.exit_code == 0
    assert "7 images that cannot be read" in done.stdout
    assert "as --flip off says" in done.stdout
    assert "squash: " in done.stdout


def test_a_dry_run_does_nothing(images: Path, tmp_path: Path) -> None:
    done = hwnas(*SEARCH, "--data", str(images), "--out", "run", "--dry-run")
    assert done.exit_code == 0, done.stderr
    assert "2 classes" in done.stdout
    assert "--dry-run" in done.stdout.splitlines()[-1]
    assert not list(Path.cwd().iterdir())
    assert not (tmp_path / "user").exists()


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_a_file_where_the_run_should_be_is_exit_code_8(more: list[str]) -> None:
    Path("run").write_text("a file")
    done = hwnas(*SEARCH, "--out", "run", *more)
    assert done.exit_code == 8
    assert "cannot write run" in done.stderr
    assert Path("run").read_text() == "a file"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--out", "run"], "run holds a run already"),
        (["--out", "run", "--resume", "--force"], "both --resume and --force are given"),
        (["--out", "other"], "other holds files and is no run of hwnas"),
        (["--out", "new", "--resume"], "there is no run in new to continue"),
        (["--gpus-per-trial", "0.5"], "--gpus-per-trial is a share of a Ray cluster's GPUs"),
        (["--gpus-per-trial", "0", "--scores", "training", "--strategy", "random"], "by processes of this machine"),
    ],
)
def test_a_plan_refuses_what_the_run_refuses_at_its_start(more: list[str], said: str) -> None:
    for folder in ("run", "other"):
        Path(folder).mkdir()
        (Path(folder) / "config.toml").write_text("")
    mark(Path("run"))
    for done in (hwnas(*SEARCH, *more), hwnas(*SEARCH, *more, "--dry-run")):
        assert (done.exit_code, done.stdout) == (2, "")
        assert said in done.stderr


@pytest.mark.parametrize("command", ["train", "export", "report", "specialise"])
def test_a_run_that_is_not_there_is_told_as_that(command: str) -> None:
    Path("file").touch()
    for path, said in (("nowhere", "there is no folder nowhere"), ("file", "file is a file, but a run is a folder")):
        done = hwnas(command, path, *(["--target", "host:5"] if command == "specialise" else []))
        assert (done.exit_code, done.stdout) == (2, "")
        assert said in done.stderr


def test_the_version_is_that_of_the_package() -> None:
    import hwnas as package

    assert hwnas("--version").stdout == f"{package.__version__}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["export", "run", "--max-drop", "nan"], "'--max-drop': it must be at least 0, not 'nan'"),
        (["search", "--seed", "x"], "'--seed': it must be a whole number, not 'x'"),
        (["predict", "run", "a.png", "--top", "0"], "'--top': it must be at least 1, not '0'"),
        (["profile-device", "--width", "wide"], "'--width': it must be a number, not 'wide'"),
        (["parents", "show", "mobilenet-v2", "--width", "9"], "'--width': it must be at most 8, not '9'"),
    ],
)
def test_values_are_refused_in_words(words: list[str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in those of the library that reads them."""
    monkeypatch.setenv("COLUMNS", "200")
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    assert said in " ".join(done.stderr.split())
    assert "Input should" not in done.stderr
