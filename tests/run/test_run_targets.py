"""Several devices from one search, devices that come later, and other targets from a finished run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from run_fakes import SPACE, FakeVerdicts, a_config, install, latencies, write_table
from typer.testing import CliRunner

import hwnas
from hwnas.cli import app
from hwnas.config import Configuration, Target
from hwnas.devices.device import Device
from hwnas.devices.verdict import Verdict
from hwnas.errors import DeviceError, InfeasibleBudgetError, InputError, UnreachableError
from hwnas.events import Event, OnEvent
from hwnas.exporting.predict import predict
from hwnas.run import measured_check, plan_devices, search_stage
from hwnas.run.exported import exported_model
from hwnas.run.failures import failure
from hwnas.run.feasible_plan import feasible_plan
from hwnas.run.pipeline import run_search
from hwnas.run.plan import make_plan
from hwnas.run.plan_facts import plan_facts, plan_lines
from hwnas.run.run_folder import RunFolder, default_folder

pytest.importorskip("ai_edge_litert")

HOST, PHONE = latencies(), latencies("phone")
MODELS = {"host": HOST, "host@litert": PHONE}
TARGETS = ("host:20%,80%", "host@litert:50%")
PARTS = ("host-20pct", "host-80pct", "host-litert-50pct")
FILES = ("architecture.json", "weights.safetensors", "evaluated.csv", "labels.txt")


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of this machine with ONNX Runtime and, in place of a phone, of another one with LiteRT."""
    install(monkeypatch.setattr)
    write_table(tmp_path / "tables", runtime="litert", salt="phone")
    return write_table(tmp_path / "tables")


def config_of(images: Path, targets: Sequence[str] = TARGETS, **changes: Any) -> Configuration:
    config = a_config(images, **{"epochs": 1, "baseline": False} | changes)
    return config.changed(target={"targets": targets, "budget": ""})


def run(
    images: Path, out: Path, *, resume: bool = False, told: Sequence[OnEvent] = (), **changes: Any
) -> dict[str, Any]:
    return run_search(config_of(images, **changes), out, tables=out.parent / "tables", resume=resume, on_event=told)


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    lines = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    return [event for event in lines if event["event"] == kind]


def bytes_of(out: Path, parts: Sequence[str] = PARTS) -> dict[str, bytes]:
    return {f"{part}/{name}": (out / part / name).read_bytes() for part in parts for name in FILES}


def rows(folder: Path) -> dict[tuple[int, ...], float]:
    """Losses of the candidates that were compared, by their choices."""
    lines = [line.split(",") for line in (folder / "evaluated.csv").read_text().splitlines()[1:]]
    return {tuple(map(int, row[0].split("-"))): float(row[3]) for row in lines}


def choices_of(folder: Path) -> tuple[int, ...]:
    return tuple(json.loads((folder / "architecture.json").read_text())["choices"])


class Phone:
    """Whether the devices with LiteRT answer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.here, self._ask, self._verdicts = True, plan_devices.condition_of, FakeVerdicts()
        monkeypatch.setattr(plan_devices, "condition_of", lambda device: self.asked(device, self._ask))
        monkeypatch.setattr(measured_check, "measure_verdict", self.measured)

    def asked(self, device: Device, ask: Any) -> Any:
        if device.runtime == "litert" and not self.here:
            raise UnreachableError("the phone does not answer", hint="plug it in")
        return ask(device)

    def measured(self, device: Device, *args: Any, **options: Any) -> dict[str, Verdict]:
        return self.asked(device, lambda _: self._verdicts(device, *args, **options))


@pytest.mark.parametrize("strategy", ["gumbel", pytest.param("random", marks=pytest.mark.dear)])
def test_each_device_gets_its_own_networks_from_one_supernet(
    images: Path, tables: Path, tmp_path: Path, strategy: str
) -> None:
    out, seen = tmp_path / "run", list[Event]()
    result = run(images, out, strategy=strategy, told=[seen.append])
    tasks = {event.label for event in seen if event.kind == "begin"}
    assert "search" in tasks
    assert {name for name in tasks if name.endswith(("train", "score candidates"))} == {
        f"{one['target']}: {task}" for one in result["front"] for task in ("train", "score candidates")
    }
    assert result == json.loads((out / "result.json").read_text())
    assert (result["budget_met"], failure(result)) == (True, None)
    assert [one["folder"] for one in result["front"]] == list(PARTS)
    assert [one["target"] for one in result["front"]] == ["host:20%", "host:80%", "host@litert:50%"]
    assert [one["model"] for one in result["front"]] == ["model.onnx", "model.onnx", "model.tflite"]
    assert (result["runtime"], result["device"], "left_out" in result) == (None, "host", False)
    epochs = [event["epoch"] for event in events(out, "epoch")]
    assert epochs == list(range(1, len(epochs) + 1)), "the supernet is trained once"
    assert not any(events(out / part, "epoch") for part in PARTS)
    for one, part in zip(result["front"], PARTS, strict=True):
        model = MODELS[one["target"].rpartition(":")[0]]
        share = float(one["target"].rpartition(":")[2].removesuffix("%")) / 100
        budget_ms = model.smallest_ms + share * (model.largest_ms - model.smallest_ms)
        assert one["budget_ms"] == pytest.approx(budget_ms)
        choices, target_ms = choices_of(out / part), model.target_ms(budget_ms) * (1 + 1e-9)
        assert one["predicted_ms"] == pytest.approx(model.predict_ms(choices))
        assert one["predicted_ms"] <= target_ms
        assert one["architecture"] == SPACE.describe(SPACE.architecture(choices))
        assert {"folder": part, "target": one["target"]} | json.loads((out / part / "result.json").read_text()) == one
        own = {each: loss for each, loss in rows(out / part).items() if model.predict_ms(each) <= target_ms}
        other = [part for part in PARTS if part.startswith("host-litert") != (model is PHONE)]
        theirs = {each for part in other for each in rows(out / part) if model.predict_ms(each) <= target_ms}
        assert theirs <= own.keys(), "scores are shared between devices"
        (image,) = predict(RunFolder(out / part).exported, [images / "red" / "00.png"], top=1)
        assert image.classes[0][0] in ("red", "green", "blue")
    page = (out / "report.html").read_text()
    assert all(f'href="{part}/report.html"' in page for part in PARTS)
    assert "<td>host@litert</td>" in page
    exported = exported_model(out / PARTS[2])
    assert exported is not None
    assert (exported.target.device, exported.target.runtime, exported.target.budget) == ("host", "litert", "50%")


def test_a_device_that_does_not_answer_is_finished_later(
    images: Path, tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It inherits weights and scores, and what others have stays as it is."""
    phone, out = Phone(monkeypatch), tmp_path / "run"
    phone.here = False
    result = run(images, out)
    assert [one["folder"] for one in result["front"]] == list(PARTS[:2])
    assert result["budget_met"] is None
    (left_out,) = result["left_out"]
    assert (left_out["target"], left_out["folder"]) == ("host@litert:50%", PARTS[2])
    assert "the phone does not answer" in (out / "report.html").read_text()
    error = failure(result)
    assert isinstance(error, DeviceError)
    assert (error.exit_code, str(error)) == (5, "host@litert:50% is left out: the phone does not answer")
    before, epochs = bytes_of(out, PARTS[:2]), len(events(out, "epoch"))
    assert run(images, out, resume=True) == result, "it is still away"

    phone.here = True
    whole = run(images, out, resume=True)
    assert (whole["budget_met"], failure(whole)) == (True, None)
    assert [one["folder"] for one in whole["front"]] == list(PARTS)
    assert whole["front"][:2] == result["front"]
    assert bytes_of(out, PARTS[:2]) == before
    assert len(events(out, "epoch")) == epochs, "no supernet is trained for it"
    target_ms = PHONE.target_ms((PHONE.smallest_ms + PHONE.largest_ms) / 2)
    compared = rows(out / PARTS[2])
    assert PHONE.predict_ms(choices_of(out / PARTS[2])) <= target_ms * (1 + 1e-9)
    others = {each for part in PARTS[:2] for each in rows(out / part)}
    assert {each for each in others if PHONE.predict_ms(each) <= target_ms} <= compared.keys()
    assert run(images, out, resume=True) == whole


def test_a_device_that_is_lost_after_the_search_changes_nothing_in_the_end(
    images: Path, tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone = Phone(monkeypatch)
    whole = run(images, tmp_path / "whole")
    checks, measured = 0, phone.measured

    def lost(*args: Any, **options: Any) -> Mapping[str, Verdict]:
        nonlocal checks
        checks += 1
        phone.here = checks <= 4  # three checks, a verdict of the first part, and then the phone is gone
        return measured(*args, **options)

    monkeypatch.setattr(measured_check, "measure_verdict", lost)
    result = run(images, tmp_path / "cut")
    assert [one["target"] for one in result["left_out"]] == ["host@litert:50%"]
    monkeypatch.setattr(measured_check, "measure_verdict", measured)
    phone.here = True
    assert run(images, tmp_path / "cut", resume=True)["budget_met"] is True
    assert bytes_of(tmp_path / "cut") == bytes_of(tmp_path / "whole")
    phone.here = False
    assert run(images, tmp_path / "cut", resume=True)["front"][2]["target"] == "host@litert:50%", "its result stays"
    with pytest.raises(UnreachableError, match="does not answer"):
        run(images, tmp_path / "none", targets=("host@litert:50%",))
    assert whole["budget_met"] is True


def test_other_targets_from_a_finished_run(
    images: Path, tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a run for one budget: the same weights and scores, no epoch of search, and a run as any other."""
    source, phone = tmp_path / "run", Phone(monkeypatch)
    config = a_config(images, epochs=1, baseline=False, budget="50%")
    run_search(config, source, tables=tables)
    before = {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}
    words = ["specialise", str(source), "--tables", str(tables), "--json", "-q"]
    done = CliRunner().invoke(app, [*words, "--target", "host@litert:60%"])
    assert done.exit_code == 0, done.output
    out = tmp_path / "run-host-litert-60pct"
    result = json.loads(done.stdout)
    assert result == json.loads((out / "result.json").read_text())
    assert {path: path.read_bytes() for path in source.rglob("*") if path.is_file()} == before
    assert events(out, "epoch") == []
    target_ms = PHONE.target_ms(PHONE.smallest_ms + 0.6 * (PHONE.largest_ms - PHONE.smallest_ms))
    known = {each: loss for each, loss in rows(source).items() if PHONE.predict_ms(each) <= target_ms}
    compared = rows(out)
    assert known.items() <= compared.items(), "scores are those of the run"
    assert PHONE.predict_ms(choices_of(out)) <= target_ms * (1 + 1e-9)
    assert min(compared.values()) <= min(known.values(), default=float("inf"))
    shutil.rmtree(source)
    again = hwnas.search(config=out / "config.toml", out=out, tables=tables, resume=True)
    assert again.to_json() == result, "it needs the folder of the other run no more"
    phone.here = False
    seen, both_targets = list[Event](), ["host:30%,70%", "host@litert:70%"]
    some = hwnas.specialise(out, both_targets, tables=tables, out=tmp_path / "both", on_event=seen.append)
    assert f"searching {SPACE.name} for host: the one that {out} began with" in {event.label for event in seen}
    assert [one.facts["target"] for one in some.front] == ["host:30%", "host:70%"]
    phone.here = True
    first = bytes_of(tmp_path / "both", ("host-30pct", "host-70pct"))
    both = hwnas.specialise(out, ["host:30%,70%", "host@litert:70%"], tables=tables, out=tmp_path / "both", resume=True)
    assert (both.budget_met, len(both.front)) == (True, 3)
    assert bytes_of(tmp_path / "both", ("host-30pct", "host-70pct")) == first
    for run_folder, message in ((tmp_path / "both" / "host-30pct", "one part of a run"), (tmp_path, "no run of hwnas")):
        with pytest.raises(InputError, match=message):
            hwnas.specialise(run_folder, "host:40%", tables=tables)
    for place, message in ((out, "is the run itself"), (out / "state" / "new", "is inside of")):
        with pytest.raises(InputError, match=message):
            hwnas.specialise(out, "host:40%", tables=tables, out=place)
    new, noted = tmp_path / "new", out / "state" / "searched-for.json"
    for path in (noted, out / "state" / "data.json"):
        kept = path.read_bytes()
        path.write_bytes(b"{")
        with pytest.raises(InputError, match=path.name) as caught:
            hwnas.specialise(out, "host:40%", tables=tables, out=new)
        assert caught.value.hint == f"start {out} anew, with --force"
        path.write_bytes(kept)
    RunFolder(new).same_data_as(RunFolder(out))
    with pytest.raises(InputError, match=f"{out}, whose search {new} takes over, was on other images"):
        RunFolder(new).same_data("0" * 64)
    shutil.rmtree(new)
    weights = out / "state" / "search.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(InputError, match=rf"{out}/state/search.safetensors is damaged"):
        hwnas.specialise(out, "host:40%", tables=tables, out=new)
    weights.unlink()
    with pytest.raises(InputError, match=rf"the weights of the search are gone from {out}/state"):
        hwnas.specialise(out, "host:40%", tables=tables, out=new)
    assert not new.exists()


def test_the_plan_tells_what_is_of_each_device(
    images: Path, tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone = Phone(monkeypatch)
    plan = feasible_plan(partial(make_plan, tables=tables), config_of(images))
    facts = plan_facts(plan)
    assert [one["target"] for one in facts["devices"]] == list(TARGETS)
    assert facts["left_out"] == []
    assert facts["devices"][1]["range_ms"] == pytest.approx([PHONE.smallest_ms, PHONE.largest_ms])
    lines = plan_lines(plan, facts)
    assert [line.partition(": ")[0] for line in lines["table"].splitlines()] == ["host", "host@litert"]
    phone.here = False
    away = feasible_plan(partial(make_plan, tables=tables), config_of(images))
    assert away.others == ()
    assert plan_facts(away)["left_out"] == [{"target": "host@litert:50%", "error": "the phone does not answer"}]
    assert "host@litert: left out, the phone does not answer" in plan_lines(away, plan_facts(away))["device"]
    assert default_folder(config_of(images)).name == "images-host-20pct-80pct-host-litert-50pct-s0"


def test_a_target_that_cannot_be_met_is_named_before_any_training(
    images: Path, tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_stage, "search", None)
    targets = ("host:1000", "host@litert:0.5,1000")
    with pytest.raises(InfeasibleBudgetError, match=r"of the targets .*, host@litert:0.5ms cannot be met") as caught:
        run(images, tmp_path / "run", targets=targets)
    assert caught.value.smallest_ms == pytest.approx(PHONE.smallest_ms)
    assert not (tmp_path / "run" / "config.toml").exists()


def test_one_target_is_the_same_as_device_and_budget(images: Path) -> None:
    one = a_config(images).changed(target={"targets": ("host@litert:int8:10ms,5",), "budget": ""})
    assert one.target == Target(budget="5,10", runtime="litert", precision="int8")
    assert one.parts == ("5ms", "10ms")
