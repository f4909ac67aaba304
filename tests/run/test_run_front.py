"""Several budgets from one search."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from run_fakes import SETTINGS, SPACE, FakeVerdicts, a_config, install, latencies, on_replace, write_table

from hwnas.errors import InfeasibleBudgetError, InputError
from hwnas.exporting.predict import predict
from hwnas.files import write_text
from hwnas.report.page import is_front, write_front
from hwnas.run import measured_check, produce, search_stage
from hwnas.run.failures import failure
from hwnas.run.pipeline import run_search
from hwnas.run.run_folder import RunFolder

MODEL = latencies()
BUDGETS, PARTS = "20%,50%,80%", ("20pct", "50pct", "80pct")


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    install(monkeypatch.setattr)
    return write_table(tmp_path / "tables")


def run(images: Path, out: Path, *, resume: bool = False, force: bool = False, **changes: Any) -> dict[str, Any]:
    config = a_config(images, **{"budget": BUDGETS, "epochs": 1, "baseline": False} | changes)
    return run_search(config, out, tables=out.parent / "tables", resume=resume, force=force)


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    lines = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    return [event for event in lines if event["event"] == kind]


def bytes_of(out: Path, parts: Sequence[str] = PARTS) -> dict[str, bytes]:
    """All of a run that must not depend on interruptions."""
    names = ("architecture.json", "weights.safetensors", "evaluated.csv", "labels.txt")
    return {f"{part}/{name}": (out / part / name).read_bytes() for part in parts for name in names}


@pytest.mark.parametrize("strategy", ["gumbel", "random", pytest.param("enas", marks=pytest.mark.dear)])
def test_each_budget_gets_its_own_network_from_one_supernet(
    images: Path, tables: Path, tmp_path: Path, strategy: str
) -> None:
    out = tmp_path / "run"
    result = run(images, out, strategy=strategy, baseline=True)
    assert result == json.loads((out / "result.json").read_text())
    assert result["budget_met"] is True
    assert [one["folder"] for one in result["front"]] == list(PARTS)
    epochs = [event["epoch"] for event in events(out, "epoch")]
    assert epochs == list(range(1, len(epochs) + 1)), "the supernet is trained once"
    assert len(epochs) >= SETTINGS.warmup_epochs + SETTINGS.epochs
    best_loss = float("inf")
    for share, part, one in zip((0.2, 0.5, 0.8), PARTS, result["front"], strict=True):
        budget_ms = MODEL.smallest_ms + share * (MODEL.largest_ms - MODEL.smallest_ms)
        assert one["budget_ms"] == pytest.approx(budget_ms)
        assert one["predicted_ms"] <= MODEL.target_ms(budget_ms) * (1 + 1e-9)
        assert one["baseline_random"]["predicted_ms"] <= MODEL.target_ms(budget_ms) * (1 + 1e-9)
        choices = tuple(json.loads((out / part / "architecture.json").read_text())["choices"])
        assert one["architecture"] == SPACE.describe(SPACE.architecture(choices))
        assert {"folder": part} | json.loads((out / part / "result.json").read_text()) == one
        (image,) = predict(RunFolder(out / part).exported, [images / "red" / "00.png"], top=1)
        assert image.classes[0][0] in ("red", "green", "blue")
        rows = [line.split(",") for line in (out / part / "evaluated.csv").read_text().splitlines()[1:]]
        assert all(float(row[1]) <= MODEL.target_ms(budget_ms) * (1 + 1e-6) for row in rows)
        assert len(rows) >= SETTINGS.candidates
        assert min(float(row[3]) for row in rows) <= best_loss, "a looser budget knows all of a tighter one"
        best_loss = min(float(row[3]) for row in rows)
    page = (out / "report.html").read_text()
    assert all(f'href="{part}/report.html"' in page for part in PARTS)
    assert all((out / part / "report.html").is_file() for part in PARTS)
    assert page.count('<svg class="chart"') == 2
    folders = (out, *(out / part for part in PARTS))
    logged = [json.loads(line) for folder in folders for line in (folder / "log.jsonl").read_text().splitlines()]
    stages = [(one["stage"], one["seconds"]) for one in logged if one["event"] == "end"]
    assert stages[0][0] == "plan"
    assert result["seconds"] == pytest.approx(sum(seconds for _, seconds in stages), abs=0.3)
    own = (out / PARTS[0] / "report.html").read_text()
    assert "Own stages" in own
    assert "Whole run" not in own


def test_one_budget_of_a_list_is_a_run_as_ever(images: Path, tables: Path, tmp_path: Path) -> None:
    assert "front" not in run(images, tmp_path / "run", budget="50%")
    assert not is_front(RunFolder(tmp_path / "run"))


def test_a_missed_budget_is_told_after_all_the_others(
    images: Path, tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three checks, then the verdicts: the tightest network misses with all its repairs, the others do not."""
    monkeypatch.setattr(produce, "_REPAIRS", 0)
    measure_verdict = FakeVerdicts("met", "met", "met", "missed", "met")
    monkeypatch.setattr(measured_check, "measure_verdict", measure_verdict)
    result = run(images, tmp_path / "run")
    assert re.fullmatch(r"20pct/model.onnx runs in .*, above the budget of [0-9.]+ ms", str(failure(result)))
    assert result == json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["budget_met"] is False
    assert [one["verdict"] for one in result["front"]] == ["missed", "met", "met"]
    assert "A budget missed" in (tmp_path / "run" / "report.html").read_text()
    asked = len(measure_verdict.asked)
    assert run(images, tmp_path / "run", resume=True)["budget_met"] is False
    assert len(measure_verdict.asked) == asked, "a verdict stays"


def test_an_unstable_verdict_is_measured_again_and_the_others_are_not(
    images: Path, tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measured_check, "measure_verdict", FakeVerdicts("met", "met", "met", "met", "unstable", "met"))
    assert run(images, tmp_path / "run")["budget_met"] is None
    before = bytes_of(tmp_path / "run")
    again = FakeVerdicts("met")
    monkeypatch.setattr(measured_check, "measure_verdict", again)
    assert run(images, tmp_path / "run", resume=True)["budget_met"] is True
    assert len(again.asked) == 1
    assert bytes_of(tmp_path / "run") == before


class Killed(BaseException):
    """Stands for SIGKILL."""


def test_cut_off_again_and_again_it_ends_with_the_same_bytes(
    images: Path, tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die() -> None:
        raise Killed

    monkeypatch.setattr(produce, "write_report", lambda folder: write_text(folder.report, "drawn elsewhere"))
    settings = {"budget": "20%,80%"}
    whole = run(images, tmp_path / "whole", **settings)
    cuts = 0
    for attempt in range(40):
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", on_replace(die, "after", "*", 12 + 3 * attempt))
            try:
                result = run(images, tmp_path / "cut", resume=attempt > 0, **settings)
            except Killed:
                cuts += 1
                continue
            break
    assert cuts > 1
    parts = ("20pct", "80pct")
    assert bytes_of(tmp_path / "cut", parts) == bytes_of(tmp_path / "whole", parts)
    volatile = ("seconds", "file_bytes")
    for ours, theirs in zip(result["front"], whole["front"], strict=True):
        assert all(ours[name] == theirs[name] for name in theirs if name not in volatile)
    epochs = [one["epoch"] for one in events(tmp_path / "cut", "epoch")]
    assert epochs == sorted(set(epochs)), "none is trained twice; a cut after a checkpoint loses its line"
    assert len(epochs) >= SETTINGS.warmup_epochs + SETTINGS.epochs - 1


def test_force_leaves_nothing_of_the_budgets_before(images: Path, tables: Path, tmp_path: Path) -> None:
    run(images, tmp_path / "run", train=False)
    (tmp_path / "run" / "80pct" / "mine.txt").write_text("not of the run")
    run(images, tmp_path / "run", train=False, budget="30%,50%", force=True)
    folders = {path.name for path in (tmp_path / "run").iterdir() if path.is_dir()}
    assert folders == {"30pct", "50pct", "80pct", "state"}
    assert [path.name for path in (tmp_path / "run" / "80pct").iterdir()] == ["mine.txt"]
    with pytest.raises(InputError, match="another configuration"):
        run(images, tmp_path / "run", train=False, resume=True)


def test_a_budget_that_cannot_be_met_is_named_before_any_training(
    images: Path, tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_stage, "search", None)
    with pytest.raises(InfeasibleBudgetError, match=r"of the budgets 0.5,1000, 0.5 ms cannot be met") as caught:
        run(images, tmp_path / "run", budget="0.5,1000")
    assert caught.value.smallest_ms == pytest.approx(MODEL.smallest_ms)
    assert caught.value.hint.startswith("leave it out, or ask for at least ")
    assert not (tmp_path / "run" / "config.toml").exists()


def test_the_page_can_be_written_again(images: Path, tables: Path, tmp_path: Path) -> None:
    run(images, tmp_path / "run", train=False, budget="30%,50%")
    folder = RunFolder(tmp_path / "run")
    before = folder.report.read_bytes()
    folder.report.unlink()
    assert is_front(folder)
    write_front(folder)
    assert folder.report.read_bytes() == before
