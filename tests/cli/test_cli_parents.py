from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from hwnas.cli import app
from hwnas.files import cache_folder
from hwnas.parents import find_parent
from hwnas.parents.checkpoint_names import TIMM

IMPORT = "hwnas parents import mobilenet-v2 ~/.cache/torch/hub/checkpoints/mobilenet_v2-*.pth"


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A narrow MobileNetV2 of seven classes, as timm stores it."""
    monkeypatch.setenv("HWNAS_CACHE", str(tmp_path / "cache"))
    network = find_parent("mobilenet-v2").network(width=0.1, classes=7)
    shapes = network.graph.parameters() | network.graph.statistics()
    names = TIMM.names(network)
    torch.save({names[ours]: torch.ones(shape) for ours, shape in shapes.items()}, tmp_path / "a.pth")
    return tmp_path / "a.pth"


def output(*args: str) -> dict[str, object]:
    done = CliRunner().invoke(app, ["parents", *args, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def test_a_checkpoint_is_imported_and_shown(checkpoint: Path) -> None:
    made = output("import", "mobilenet-v2", str(checkpoint), "--width", "0.1")
    assert (made["classes"], made["from"], Path(str(made["path"])).parent.parent) == (7, "a.pth", cache_folder())
    shown = output("show", "mobilenet-v2", "--width", "0.1")
    assert (shown["weights"], shown["sha256"], shown["classes"]) == ("here", made["sha256"], 7)
    assert output("show", "mobilenet-v2")["weights"] == IMPORT


def test_parents_are_listed_and_shown_for_people(checkpoint: Path) -> None:
    rows = output("list")["parents"]
    assert isinstance(rows, list)
    assert {"efficientnet-lite0", "mobilenet-v2"} <= {row["parent"] for row in rows}
    for arguments in (["list"], ["show", "efficientnet-lite0"]):
        done = CliRunner().invoke(app, ["parents", *arguments])
        assert done.exit_code == 0
        assert "Apache-2.0" in done.stdout


def test_commands_and_addresses_can_be_copied(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each stands in one line, however narrow the terminal is."""
    monkeypatch.setenv("COLUMNS", "60")
    lines = CliRunner().invoke(app, ["parents", "list"]).stdout.splitlines()
    assert f"  {IMPORT}" in lines
    (row,) = [line for line in lines if line.startswith("mobilenet-v2 ")]
    assert row.rstrip().endswith("missing")
    shown = CliRunner().invoke(app, ["parents", "show", "mobilenet-v2"]).stdout
    assert find_parent("mobilenet-v2").source in shown


def test_a_parent_says_how_images_were_made_and_how_hwnas_makes_them(checkpoint: Path) -> None:
    seen = output("show", "efficientnet-lite0")
    assert (seen["interpolation"], seen["crop"]) == ("bicubic", 0.875)
    assert seen["used"] == {"interpolation": "bilinear", "crop": 1.0}
    shown = CliRunner().invoke(app, ["parents", "show", "efficientnet-lite0"]).stdout
    assert (
        "published with bicubic resizing of the centre square, 87.5% of the shorter side; hwnas uses bilinear resizing "
        "of the centre square"
    ) in shown


def test_each_command_names_the_next_step(checkpoint: Path) -> None:
    def told(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["parents", *arguments])
        assert done.exit_code == 0, done.output
        return done.stdout

    assert "Next: hwnas parents list" in told("--help")
    assert told("list").endswith("\nNext: hwnas parents show efficientnet-lite0\n")
    missing = told("show", "mobilenet-v2").splitlines()[-1]
    assert missing == f"Next: {IMPORT}"
    output("import", "mobilenet-v2", str(checkpoint), "--width", "0.1")
    last = told("show", "mobilenet-v2", "--width", "0.1").splitlines()[-1]
    assert last == "Next: hwnas search --data FOLDER --budget-ms 50% --init mobilenet-v2 --width 0.1"


def test_what_is_unknown_or_no_checkpoint_is_refused(checkpoint: Path) -> None:
    for arguments in (
        ["show", "resnet"],
        ["import", "efficientnet-lite0", str(checkpoint)],
        ["import", "mobilenet-v2", str(checkpoint.parent / "missing.pth")],
    ):
        done = CliRunner().invoke(app, ["parents", *arguments])
        assert done.exit_code == 2
