"""`hwnas verify` of packages, with the real runtimes but for the clock."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import numpy_helper
from package_files import MODELS, command, onnx_scores, resealed

import hwnas
from hwnas.api import verification
from hwnas.backends.model_facts import describe
from hwnas.devices import partitions
from hwnas.devices.measure_file import Verification
from hwnas.devices.partitions import Partitions
from hwnas.devices.verdict import Verdict
from hwnas.errors import InputError
from hwnas.exporting.manifest import NAME
from hwnas.run import run_marker, verify_package
from hwnas.run.verify_package import PackageVerification
from hwnas.train import checkpoint

TAKEN: dict[tuple[str, bytes], tuple[Partitions, ...]] = {}
"""What accelerators take of files that were asked about: a process for each."""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, float | None]]:
    """Files are not timed: runtime, name and budget of each that would be. What accelerators take is asked once."""
    asked: list[tuple[str, str, float | None]] = []

    def measure_file(path: Path, device: Any, reference: Any, **more: Any) -> Verification:
        asked.append((device.runtime, path.name, more["budget_ms"]))
        ms = 0.5
        state: Any = "no budget" if more["budget_ms"] is None else "met" if ms <= more["budget_ms"] else "missed"
        verdict = Verdict(ms, 1.1 * ms, (0.99 * ms, 1.01 * ms), 60, 0.0, ms, state, processes=5)
        return Verification(describe(path), device, "cpu", {}, (), more["budget_ms"], verdict, None)

    def partitions_of(path: Path, **limits: Any) -> tuple[Partitions, ...]:
        content = path.suffix, path.read_bytes()
        if not TAKEN.get(content):
            TAKEN[content] = partitions.partitions_of(path, **limits | {"stall_s": 200.0})  # on any machine
        return TAKEN[content]

    monkeypatch.setattr(verification, "measure_file", measure_file)
    monkeypatch.setattr(verify_package, "partitions_of", partitions_of)
    return asked


def test_everything_is_checked_on_the_device(
    packed_run: Path, images: Path, tmp_path: Path, quick: list[tuple[str, str, float | None]]
) -> None:
    own = Path(shutil.copytree(packed_run, tmp_path / "run"))
    hwnas.export(own, formats=["onnx", "tflite"], precisions=["fp32", "int8"], max_drop=100.0, package=True)
    budget_ms = json.loads((own / "result.json").read_text())["budget_ms"]
    done = command("verify", own / "app", "--json")
    assert done.exit_code == 0, done.output
    content = json.loads(done.stdout)
    assert (content["ok"], content["device"], content["parts"]) == (True, "host", 17)
    assert [one["name"] for one in content["files"]] == MODELS
    searched = {"file": "model.onnx", "device": "host", "latency": "warm"}
    assert content["budget_when_packed"] == {"budget_ms": budget_ms} | searched
    assert quick == [("onnxruntime", name, budget_ms if name == "model.onnx" else None) for name in MODELS]
    test = hwnas.load_dataset(str(images), resolution=8, seed=0).test
    for one in content["files"]:
        assert one["golden"]["ok"]
        assert one["golden"]["max_difference"] <= 1e-6
        assert (one["parity"]["images"], one["parity"]["real_images"]) == (9, True)
        assert one["test"]["images"] == one["test_when_packed"]["images"] == 9
        assert one["test"]["accuracy"] == one["test_when_packed"]["accuracy"]
        assert one["doubt"] is None
        if one["name"] == "model.onnx":
            rows = onnx_scores(own / "app" / "model.onnx", test.pixels)
            assert one["test"]["accuracy"] == pytest.approx((rows.argmax(1) == test.labels).mean())
            assert (one["parity"]["limit"], one["parity"]["same_classes"]) == (1e-4, 9)
        providers = {part["provider"]: part for part in one["partitions"]}
        if one["name"].endswith("onnx"):
            assert set(providers) == {"NNAPI", "CoreML", "CoreML MLProgram"}
        else:
            assert set(providers) == {"XNNPACK"}
        assert all(0 <= part["taken"] <= part["operators"] for part in providers.values())
    assert content["files"][2]["partitions"][0]["partitions"] == 1
    done = command("verify", own / "app")
    assert done.exit_code == 0, done.output
    assert "17 files, all as they were made" in done.stdout
    said = "Right on all counts, and within the budget of {} ms that the package says for model.onnx. 3 files have none"
    assert said.format(f"{budget_ms:#.4g}") in done.stdout
    assert "XNNPACK 1 (" in done.stdout
    assert [f"file {k} of 4: {name}" for k, name in enumerate(MODELS, 1)] == [
        line for line in done.stderr.splitlines() if line.startswith("file ")
    ]


def test_elsewhere_it_says_what_was_not_at_hand(
    packed_run: Path, images: Path, packed: Path, quick: list[tuple[str, str, float | None]]
) -> None:
    done = command("verify", packed, "--quiet", "--runtime", "litert", "--budget-ms", "0.1")
    assert done.exit_code == 4, done.output
    assert "--run names the run" in done.stdout
    assert "--data names them" in done.stdout
    assert [name for _, name, _ in quick] == ["model.tflite", "model-int8.tflite"]
    assert {budget_ms for _, _, budget_ms in quick} == {0.1}
    assert "above the budget" in " ".join(done.stderr.split())
    found = hwnas.verify(packed, run=packed_run, runtime="litert")
    assert isinstance(found, PackageVerification)
    assert [one.parity is not None and one.parity.ok for one in found.files] == [True, True]
    assert [one.test_images for one in found.files] == [9, 9]
    assert "<table>" in found._repr_html_()
    told = hwnas.verify(packed, data=images, runtime="onnxruntime")
    assert isinstance(told, PackageVerification)
    assert [(one.parity, one.test_images) for one in told.files] == [(None, 9), (None, 9)]
    assert told.files[0].accuracy == found.files[0].accuracy
    hwnas.export(packed_run, package=True, out=packed_run.parent / "onnx-only")
    with pytest.raises(InputError, match="runs none of the files"):
        hwnas.verify(packed_run.parent / "onnx-only", runtime="litert")


def test_what_a_package_says_of_itself_is_told_as_its_claim(
    images: Path, own_package: Path, quick: list[tuple[str, str, float | None]]
) -> None:
    """Of a forged manifest, of a budget for a file that is not there, and of one for cold calls on another device."""
    path = own_package / NAME
    content = json.loads(path.read_text())
    content["tested"]["model.tflite"]["accuracy"] = 0.1
    content |= {"budget_ms": 7.0, "searched": {"file": "model.ort", "device": "pi4", "latency": "cold"}}
    path.write_text(json.dumps(content))
    asked = ("verify", own_package, "--data", images, "--quiet")
    done = command(*asked)
    assert done.exit_code == 0, done.output
    doubt = r"model\.tflite classifies (\S+)% of 9 test images rightly, not the 10\.0% of 9 that the package says"
    found = re.search(doubt, done.stdout)
    assert found is not None
    assert float(found[1]) > 50
    assert done.stdout.count("that the package says") == 2, "the others are as they were tested"
    assert "the package says" in done.stdout.splitlines()[3]
    assert "Right but for the accuracy that it says. The budget of 7.000 ms that the package says is for model.ort" in (
        done.stdout
    )
    assert {budget_ms for _, _, budget_ms in quick} == {None}
    content |= {"budget_ms": 0.1, "searched": {"file": "model.tflite", "device": "pi4", "latency": "cold"}}
    path.write_text(json.dumps(content))
    assert command(*asked).exit_code == 4
    assert command(*asked, "--budget-ms", "9").exit_code == 0
    content["budget_ms"] = 9.0
    path.write_text(json.dumps(content))
    assert "the budget of 9.000 ms that the package says for model.tflite on pi4. 3 files have none" in (
        command(*asked).stdout
    )
    assert command("verify", own_package, "--quiet").stdout.count("Right as far as it was checked") == 1


def test_without_its_manifest_a_folder_is_said_to_be_no_package(own_package: Path, quick: object) -> None:
    (own_package / NAME).unlink()
    for name in MODELS[1:]:
        (own_package / name).unlink()
    done = command("verify", own_package)
    assert done.exit_code == 0, done.output
    said = " ".join(done.stderr.split())
    assert f"{own_package} lacks {NAME}, without which it is no package" in said
    assert "hwnas export RUN --package --out DIR" in said
    assert "lacks" not in command("verify", own_package / "model.onnx").stderr


def test_other_runs_images_and_inputs_are_refused(
    packed_run: Path, images: Path, packed: Path, tmp_path: Path, quick: object
) -> None:
    other = Path(shutil.copytree(packed_run, tmp_path / "run"))
    tensors, facts = checkpoint.load(other / "weights.safetensors")
    checkpoint.save(other / "weights.safetensors", {name: 2 * one for name, one in tensors.items()}, facts)
    run_marker.seal(other, [other / "weights.safetensors", other / "model.onnx"])
    for options, said in (
        ({"run": other}, "its weights are others"),
        ({"run": tmp_path}, "is no run of hwnas"),
        ({"data": "digits"}, "classes of images of"),
        ({"data": tmp_path / "missing"}, "neither a built-in data set nor"),
        ({"shapes": {"input": (1, 3, 8, 8)}}, "read images, not other inputs"),
    ):
        with pytest.raises(InputError, match=said):
            hwnas.verify(packed, **options)
    with pytest.raises(InputError, match="run and data are for packages"):
        hwnas.verify(packed / "model.onnx", data=images)


def test_another_class_is_told_only_where_it_is_one(own_package: Path, quick: object) -> None:
    """Scores within the tolerance, and a label that they do not have."""
    content = json.loads((own_package / "golden.json").read_text())
    content["label"] = (content["label"] + 1) % 3
    (own_package / "golden.json").write_text(json.dumps(content))
    done = command("verify", resealed(own_package), "--quiet", "--json")
    assert done.exit_code == 6, done.output
    said = json.loads(done.stdout)["error"]
    assert "model.onnx takes the golden image for another class" in said
    assert "off by" not in said


def heavier(folder: Path) -> None:
    """Other weights in the first convolution."""
    model = onnx.load(folder / "model.onnx")
    first = next(one for one in model.graph.initializer if len(one.dims) == 4)
    first.CopyFrom(numpy_helper.from_array(1.5 * numpy_helper.to_array(first), first.name))
    onnx.save(model, folder / "model.onnx")


def test_a_model_that_computes_something_else_is_exit_code_6(own_package: Path, quick: object) -> None:
    heavier(own_package)
    done = command("verify", resealed(own_package), "--quiet", "--json")
    assert done.exit_code == 6, done.output
    content = json.loads(done.stdout)
    assert (content["ok"], content["exit_code"]) == (False, 6)
    assert "model.onnx is off by" in content["error"]
    assert "another class" not in content["error"]
    assert "model.tflite" not in content["error"]
    assert command("verify", own_package, "--quiet").exit_code == 6


@pytest.mark.dear
def test_a_package_is_timed_by_the_real_runtimes(packed_run: Path, tmp_path: Path) -> None:
    hwnas.export(packed_run, formats=["onnx", "tflite"], package=True, out=tmp_path / "app")
    found = hwnas.verify(tmp_path / "app", budget_ms=1000.0)
    assert isinstance(found, PackageVerification)
    assert (found.failure, found.budget_met) == (None, True)
    assert [one.latency.device.runtime for one in found.files] == ["onnxruntime", "litert"]


def test_classes_in_another_order_than_the_run_has_are_refused(
    packed_run: Path, own_package: Path, quick: list[tuple[str, str, float | None]]
) -> None:
    described = json.loads((own_package / "model.json").read_text())
    described["labels"].reverse()
    (own_package / "model.json").write_text(json.dumps(described))
    (own_package / "labels.txt").write_text("".join(f"{name}\n" for name in described["labels"]))
    done = command("verify", resealed(own_package), "--run", packed_run)
    assert done.exit_code == 2
    assert "where the run that it was made of has" in " ".join(done.stderr.split())


def test_files_that_are_no_part_are_named(own_package: Path, quick: list[tuple[str, str, float | None]]) -> None:
    (own_package / "snippets" / "mine.txt").write_text("mine")
    done = command("verify", own_package)
    assert "no part of it, and not looked at: snippets/mine.txt" in done.stdout
