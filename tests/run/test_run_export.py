"""A finished run exported: every file against the network of the run, and what is refused."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import hwnas
from hwnas.arch import Network
from hwnas.backends.model_format import format_of
from hwnas.backends.onnx import onnx_model
from hwnas.backends.torch import load_weights, network_module
from hwnas.cli import app
from hwnas.config import load_configuration
from hwnas.errors import HwnasError, InputError
from hwnas.exporting import quantise_aware
from hwnas.exporting.model_metadata import INSIDE
from hwnas.metrics import Metrics
from hwnas.run import run_marker
from hwnas.run.export_run import ExportedFile
from hwnas.run.run_folder import RunFolder
from hwnas.train import checkpoint

FORMATS = ("onnx", "tflite", "ort")


@pytest.fixture(scope="module")
def run(packed_run: Path) -> Path:
    """Nobody writes to it but into folders of their own."""
    return packed_run


@pytest.fixture(scope="module")
def everything(run: Path) -> tuple[ExportedFile, ...]:
    """But for .ort in fp16, which is left out."""
    precisions, out = ("fp32", "fp16", "int8"), run.parent / "everything"
    return hwnas.export(run, formats=FORMATS, precisions=precisions, max_drop=100.0, out=out).files


def metadata_of(path: Path) -> dict[str, str]:
    if path.suffix == ".onnx":
        return {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    if path.suffix == ".tflite":
        with zipfile.ZipFile(path) as archive:
            return dict(json.loads(archive.read("metadata.json")))
    return dict(format_of("onnxruntime").metadata(path.read_bytes()))


def probabilities(run: Path, pixels: np.ndarray) -> np.ndarray:
    """By torch, from the files of the run that tell network, weights and normalisation."""
    network = Network.from_json(json.loads((run / "architecture.json").read_text())["network"])
    module = network_module(network).eval()
    tensors, _ = checkpoint.load(run / "weights.safetensors")
    load_weights(module, {name: tensor.numpy() for name, tensor in tensors.items()})
    facts = metadata_of(run / "model.onnx")
    inside = json.loads(facts[INSIDE])
    mean, std = (np.array(inside[key])[None, :, None, None] for key in ("mean", "std"))
    with torch.inference_mode():
        return module.double()(torch.from_numpy((pixels / 255 - mean) / std)).softmax(1).numpy()


def real_pixels(images: Path) -> np.ndarray:
    files = sorted(images.glob("*/1*.png"))
    return np.stack([np.asarray(Image.open(one).resize((8, 8), Image.Resampling.BILINEAR)) for one in files]).transpose(
        0, 3, 1, 2
    )


def test_every_file_computes_what_the_run_learned(
    run: Path, images: Path, everything: tuple[ExportedFile, ...]
) -> None:
    names = [f"model{precision}.{form}" for form in FORMATS for precision in ("", "-fp16", "-int8")]
    assert [one.path.name for one in everything] == [name for name in names if name != "model-fp16.ort"]
    pixels = real_pixels(images)
    wanted = probabilities(run, pixels)
    for one in everything:
        own = format_of("litert" if one.path.suffix == ".tflite" else "onnxruntime").run(one.path.read_bytes(), pixels)
        limit = {"fp32": 1e-4, "fp16": 1e-2, "int8": 0.3}[one.kind.precision]
        assert np.abs(own - wanted).max() < limit, one.path.name
        assert (one.int8 is None) == (one.kind.precision != "int8")
        assert one.images == 9
    assert np.ptp(wanted, axis=0).min() > 0.1


def test_model_json_says_what_the_files_are(everything: tuple[ExportedFile, ...]) -> None:
    for one in everything:
        content = json.loads((one.path.parent / "model.json").read_text())
        assert content["labels"] == ["blue", "green", "red"]
        assert (one.path.parent / "labels.txt").read_text().splitlines() == content["labels"]
        assert (content["format"], content["version"]) == ("hwnas model", 1)
        facts, name = content["files"][one.path.name], one.path.name
        assert facts["sha256"] == sha256(one.path.read_bytes()).hexdigest()
        assert (facts["bytes"], facts["precision"]) == (one.size_bytes, one.kind.precision)
        shape = [1, 8, 8, 3] if name.endswith("tflite") else [1, 3, 8, 8]
        dtype = "uint8" if "int8" in name else "float32"
        assert facts["input"] == {"name": "input", "dtype": dtype, "shape": shape}
        assert facts["output"] == {"name": "probabilities", "dtype": "float32", "shape": [1, 3]}
        assert facts["preprocess"] == {
            "decode": "whole",
            "orientation": "exif",
            "transparent": "white",
            "resize": [8, 8],
            "fit": "crop",
            "interpolation": "bilinear",
            "antialias": True,
            "color": "rgb",
            "scale": 1,
            "mean": 0,
            "std": 1,
            "dtype": dtype,
            "layout": "nhwc" if name.endswith("tflite") else "nchw",
            "output": "probabilities",
        }
        metadata = metadata_of(one.path)
        assert json.loads(metadata["hwnas.preprocess"]) == facts["preprocess"]
        assert not {"hwnas.mean", "hwnas.std"} & metadata.keys(), "an app would do it once more"
        assert (metadata["stride"], metadata["channels"], metadata["task"]) == ("1", "3", "classify")
        assert (metadata["batch"], metadata["imgsz"]) == ("1", "[8, 8]")


def test_the_same_run_gives_the_same_bytes(run: Path, everything: tuple[ExportedFile, ...]) -> None:
    """But for .ort, of which ONNX Runtime writes one table in an order by chance."""
    again = hwnas.export(run, formats=FORMATS[:2], precisions="int8", max_drop=100.0, out=run.parent / "again")
    for one in again.files:
        assert (
            one.path.read_bytes() == next(own.path for own in everything if own.path.name == one.path.name).read_bytes()
        )


def test_predict_reads_all_of_them(images: Path, run: Path, everything: tuple[ExportedFile, ...]) -> None:
    files = sorted(images.glob("*/0*.png"))
    best = [one.classes[0][0] for one in hwnas.predict(run, files)]
    for one in everything:
        found = hwnas.predict(one.path, files)
        same = np.mean([own.classes[0][0] == name for own, name in zip(found, best, strict=True)])
        assert same > (0.9 if one.kind.precision == "int8" else 0.99), one.path.name
        assert all(abs(sum(dict(own.classes).values()) - 1) < 1e-4 for own in found)


def test_a_run_ships_pixels_to_probabilities(run: Path, images: Path) -> None:
    """Also what `hwnas search` leaves, whose latency is judged, is such a file."""
    facts = json.loads((run / "model.json").read_text())["files"]["model.onnx"]
    assert (facts["input"]["dtype"], facts["output"]["name"]) == ("float32", "probabilities")
    pixels = real_pixels(images)
    own = format_of("onnxruntime").run((run / "model.onnx").read_bytes(), pixels)
    np.testing.assert_allclose(own, probabilities(run, pixels), atol=1e-4)


def test_runs_of_earlier_versions_are_read_and_exported(run: Path, images: Path, tmp_path: Path) -> None:
    """Whose model is the network alone, on normalised values and up to logits."""
    own = Path(shutil.copytree(run, tmp_path / "run"))
    facts = metadata_of(run / "model.onnx")
    new = ("stride", "channels", "hwnas.input", "hwnas.output", "hwnas.layout", "hwnas.preprocess", INSIDE)
    scale = {f"hwnas.{key}": json.dumps(one) for key, one in json.loads(facts[INSIDE]).items()}
    earlier = {name: text for name, text in facts.items() if name not in new} | scale | {"hwnas.layout": "nchw"}
    network = Network.from_json(json.loads((run / "architecture.json").read_text())["network"])
    weights = {name: one.numpy() for name, one in checkpoint.load(run / "weights.safetensors")[0].items()}
    (own / "model.onnx").write_bytes(onnx_model(network, weights, metadata=earlier))
    (own / "model.json").unlink()
    run_marker.seal(own, [own / "model.onnx"])
    assert onnx.load(own / "model.onnx").graph.output[0].name == "logits"
    last = onnx.load(run / "model.onnx")
    onnx.helper.set_model_props(last, {name: text for name, text in facts.items() if name != INSIDE} | scale)
    onnx.save(last, tmp_path / "last.onnx")
    files = sorted(images.glob("*/0*.png"))
    assert [one.classes for one in hwnas.predict(tmp_path / "last.onnx", files)] == [
        one.classes for one in hwnas.predict(run, files)
    ]
    for before, now in zip(hwnas.predict(own, files), hwnas.predict(run, files), strict=True):
        assert dict(before.classes) == pytest.approx(dict(now.classes), abs=1e-4)
    exported = [hwnas.export(one, out=tmp_path / one.parent.name).files[0].path.read_bytes() for one in (own, run)]
    assert exported[0] == exported[1]


def test_one_of_several_budgets_has_its_configuration_above(run: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(run, tmp_path / "front" / "5ms"))
    (own / "config.toml").rename(own.parent / "config.toml")
    (one,) = hwnas.export(own, precisions="int8", max_drop=100.0).files
    assert (one.images, one.int8 is None) == (9, False)
    (own.parent / "result.json").write_text(json.dumps({"front": [{"folder": "5ms"}]}))
    shutil.copy(own / ".hwnas-run", own.parent)
    with pytest.raises(InputError, match="for several budgets") as caught:
        hwnas.export(own.parent)
    assert str(own) in caught.value.hint


def test_other_interfaces(run: Path, images: Path, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"input": "uint8", "output": "logits", "layout": "nhwc", "providers": ["nnapi", "coreml"]}
    (one,) = hwnas.export(run, out=tmp_path, opset=21, **asked).files
    model = onnx.load(one.path)
    assert (model.ir_version, model.opset_import[0].version) == (10, 21)
    assert [axis.dim_value for axis in model.graph.input[0].type.tensor_type.shape.dim] == [1, 8, 8, 3]
    assert model.graph.output[0].name == "logits"
    found = hwnas.predict(one.path, images / "red")
    assert np.mean([own.classes[0][0] == "red" for own in found]) > 0.5


def command(*words: object) -> Any:
    return CliRunner().invoke(app, ["export", *map(str, words)])


def test_the_command_writes_into_the_run(run: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(run, tmp_path / "run"))
    done = command(own, "--format", "onnx,tflite", "--json")
    assert done.exit_code == 0, done.output
    files = json.loads(done.stdout)["files"]
    assert [Path(one["path"]).relative_to(own).as_posix() for one in files] == [
        "export/model.onnx",
        "export/model.tflite",
    ]
    assert command(own, "--format", "onnx").exit_code == 0, "what it wrote itself is replaced"
    assert {path.name for path in (own / "export").iterdir()} == {
        *("model.onnx", "model.tflite", "labels.txt", "model.json")
    }


def test_model_json_keeps_the_files_of_earlier_exports_that_are_there(run: Path, tmp_path: Path) -> None:
    def listed() -> set[str]:
        return set(json.loads((tmp_path / "out/model.json").read_text())["files"])

    own, out = Path(shutil.copytree(run, tmp_path / "run")), tmp_path / "out"
    hwnas.export(own, formats=FORMATS, out=out)
    before = json.loads((out / "model.json").read_text())["files"]["model.tflite"]
    hwnas.export(own, precisions="fp16", out=out)
    assert listed() == {"model.onnx", "model.tflite", "model.ort", "model-fp16.onnx"}
    assert json.loads((out / "model.json").read_text())["files"]["model.tflite"] == before
    (out / "model.tflite").unlink()
    (out / "model.ort").write_bytes(b"of somebody else")
    hwnas.export(own, out=out)
    assert listed() == {"model.onnx", "model-fp16.onnx"}
    tensors, facts = checkpoint.load(own / "weights.safetensors")
    checkpoint.save(own / "weights.safetensors", {name: 2 * one for name, one in tensors.items()}, facts)
    run_marker.seal(own, [own / name for name in ("weights.safetensors", "model.onnx")])
    hwnas.export(own, out=out)
    assert listed() == {"model.onnx"}, "the other is of a network that is no more"
    damaged = {"format": "hwnas model", "weights": sha256((own / "weights.safetensors").read_bytes()).hexdigest()}
    for files in (3, {"labels.txt": 1, "model.tflite": {}, "..": {"sha256": ""}, "\0": {"sha256": ""}}):
        (out / "model.json").write_text(json.dumps(damaged | {"files": files}))
        hwnas.export(own, out=out)
        assert listed() == {"model.onnx"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--format", "onnx,pb"], "the format of an exported file must be one of onnx, tflite, ort, coreml, not 'pb'"),
        (["--format", ","], "an export takes a format and a precision"),
        (["--precision", "fp8"], "must be one of fp32, fp16, int8, not 'fp8'"),
        (["--precision", "fp8"], "of 8 bits there is int8, of 16 bits fp16"),
        (["--output", "logit"], "--output must be one of 'probabilities', 'logits', not 'logit'"),
        (["--input", "int8"], "error: --input must be one of 'float', 'uint8', not 'int8'"),
        (["--output", "scores"], "output"),
        (["--layout", "chw"], "layout"),
        (["--providers", "qnn"], "must be one of nnapi, coreml, not 'qnn'"),
        (["--opset", "9"], "the ONNX opset must be from 14 to"),
        (["--opset", "21", "--ir-version", "8"], "takes an IR version of at least 10, not 8"),
        (["--ir-version", "99"], "the IR version of opset 18 must be from 8 to"),
        (["--opset", "99"], "hint: leave out --opset: 18 is what most apps read"),
        (["--format", "tflite", "--opset", "17"], "--opset is for .onnx and .ort files, but only .tflite is asked for"),
        (["--format", "tflite", "--opset", "99"], "--opset is for .onnx and .ort files, but only .tflite is asked for"),
        (["--format", "coreml", "--opset", "99"], "--opset is for .onnx and .ort files, but only Core ML is asked for"),
        (["--format", "coreml", "--input", "uint8"], "--input is for other files than Core ML packages, but only Core"),
        (["--format", "tflite", "--ir-version", "9"], "--ir-version is for .onnx and .ort files"),
        (["--format", "tflite", "--providers", "nnapi"], "--providers is for .onnx and .ort files"),
        (["--max-drop", "1"], "--max-drop is for int8 files, but none is asked for"),
        (["--format", "ort", "--precision", "fp16"], "an .ort file is fp32 or int8, not fp16"),
        (["--format", "tflite", "--layout", "nchw"], "a .tflite file reads nhwc"),
        (["--format", "tflite", "--precision", "int8", "--input", "float"], "take uint8 pixels, not float"),
    ],
)
def test_what_cannot_be_asked_is_one_message(words: list[str], said: str, run: Path, tmp_path: Path) -> None:
    done = command(run, *words, "--out", tmp_path / "out", "--quiet")
    assert done.exit_code == 2, done.output
    assert said in " ".join(done.stderr.split())
    assert done.stderr.count("error:") == 1
    assert not (tmp_path / "out").exists()


def test_int8_that_costs_too_much_names_the_file_and_all_that_was_tried(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = itertools.cycle((0.9, 0.8))  # of the float file and of the other one
    monkeypatch.setattr(Metrics, "value", lambda *_: next(scores))
    monkeypatch.setattr(quantise_aware, "_STEPS", 4)
    done = command(run, "--precision", "fp32,int8", "--max-drop", "5", "--out", tmp_path / "out", "--quiet")
    assert done.exit_code == 6, done.output
    said = " ".join(done.stderr.split())
    assert "model-int8.onnx: quantising costs 10 ± 11 points" in said
    assert "no file was written" in said
    for tried in ("per-tensor, percentile: drop", "layers in float: drop 10 ± ", "fine-tuned: drop 10 ± "):
        assert tried in said
    assert "--max-drop" in said
    assert "--resume" not in said, "which only the search has"
    assert not (tmp_path / "out").exists()


def test_an_int8_file_shows_what_it_costs_and_how_far_it_is_off(run: Path, tmp_path: Path) -> None:
    words = (run, "--precision", "fp32,int8", "--max-drop", "100", "--out", tmp_path)
    done = command(*words, "--json")
    plain, int8 = json.loads(done.stdout)["files"]
    assert 0 <= plain["parity"]["max_difference"] < 1e-4
    assert (plain["val_drop"], plain["int8"]) == (None, None)
    assert int8["parity"]["max_difference"] > 2e-4, "of the int8 file"
    assert int8["val_drop"] == int8["int8"]["val_drop"]
    assert [one["val_drop"] for one in int8["int8"]["tried"]] == [int8["val_drop"]]
    described = json.loads((tmp_path / "model.json").read_text())["files"]
    assert described["model-int8.onnx"]["int8"] == int8["int8"]
    assert "int8" not in described["model.onnx"]
    shown = command(*words)
    error = int8["int8"]["val_drop_error"]
    assert error >= 1 / 9, "of one image"
    assert (
        f"model-int8.onnx, int8: per-channel, min-max: drop {100 * int8['val_drop']:.2g} ± {100 * error:.2g} points"
        in shown.stderr
    )
    rows = shown.stdout.splitlines()
    cells = {name: next(row.split() for row in rows if row.startswith(name)) for name in ("model.onnx", "model-int8")}
    assert [len(row) for row in cells.values()] == [7, 8]
    assert cells["model-int8"][-2:] == ["±", f"{100 * error:.2g}"]


def test_the_one_kind_that_there_is_not_is_left_out_with_a_notice(run: Path, tmp_path: Path) -> None:
    done = command(run, "--format", "ort,onnx", "--precision", "fp16", "--out", tmp_path)
    assert done.exit_code == 0, done.output
    assert "left out: an .ort file is fp32 or int8" in " ".join(done.stderr.split())
    assert {path.name for path in tmp_path.iterdir()} == {"model-fp16.onnx", "model.json", "labels.txt"}


def test_what_is_no_finished_run_is_one_message(run: Path, tmp_path: Path) -> None:
    unfinished = Path(shutil.copytree(run, tmp_path / "unfinished"))
    (unfinished / "result.json").unlink()
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("text")
    for path, said in (
        (unfinished, "holds no finished run"),
        (tmp_path / "empty", "is no run of hwnas"),
        (tmp_path / "file", "is a file, but a run is a folder"),
        (tmp_path / "missing", "there is no folder"),
    ):
        done = command(path, "--out", tmp_path / "out")
        assert done.exit_code == 2, done.output
        assert said in " ".join(done.stderr.split())
    assert not (tmp_path / "out").exists()


def test_damaged_files_of_a_run_are_refused(run: Path, tmp_path: Path) -> None:
    def spoiled(name: str, content: bytes) -> Path:
        own = Path(shutil.copytree(run, tmp_path / f"{name}-{len(content)}"))
        (own / name).write_bytes(content)
        return own

    network = json.loads((run / "architecture.json").read_text())
    network["network"][0]["op"] = network["network"][0]["op"].replace("i3", "i4")
    for path in (
        spoiled("architecture.json", b"{}"),
        spoiled("architecture.json", json.dumps(network).encode()),
        spoiled("architecture.json", json.dumps(network | {"network": network["network"][1:]}).encode()),
        spoiled("weights.safetensors", (run / "weights.safetensors").read_bytes()[:-1]),
        spoiled("model.onnx", b"no model"),
        spoiled("result.json", b"[]"),
        spoiled("result.json", b"{ }"),
        spoiled("result.json", b'{"front": 3}'),
        spoiled("model.onnx", other_names(run / "model.onnx")),
    ):
        with pytest.raises(HwnasError) as caught:
            hwnas.export(path, out=tmp_path / "out")
        assert caught.value.exit_code in (2, 6), path.name
    assert not (tmp_path / "out").exists()


def other_names(path: Path) -> bytes:
    """The model with other class names in its metadata: it computes the same."""
    model = onnx.load(path)
    for entry in model.metadata_props:
        entry.value = entry.value.replace("red", "blue")
    assert model != onnx.load(path)
    return bytes(model.SerializeToString())


def test_every_version_in_the_range_that_a_refusal_names_is_written(run: Path, tmp_path: Path) -> None:
    for option, fixed in (("ir_version", {}), ("opset", {"ir_version": 0})):
        with pytest.raises(InputError) as caught:
            hwnas.export(run, out=tmp_path / "out", **fixed | {option: 99})
        oldest, newest = map(int, re.findall(r"from (\d+) to (\d+)", str(caught.value))[0])
        for version in (oldest, newest):
            (one,) = hwnas.export(run, out=tmp_path / "out", **fixed | {option: version}).files
            model = onnx.load(one.path)
            found = {"ir_version": model.ir_version, "opset": model.opset_import[0].version}
            assert found[option] == version


def test_an_export_stays_out_of_the_other_folders_of_a_run(run: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(run, tmp_path / "run"))
    for out in (own / "state", own / "mine", own / "export" / "deeper"):
        with pytest.raises(InputError, match="is in the folder of a run"):
            hwnas.export(own, out=out)
        with pytest.raises(InputError, match="is in the folder of a run"):
            hwnas.export(run, out=out)
    assert hwnas.export(own, out=own / "export").folder == own / "export"


def test_a_run_that_starts_anew_takes_its_exports_with_it(run: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(run, tmp_path / "run"))
    made = hwnas.export(own, formats=["onnx", "tflite"])
    changed = made.folder / "model.tflite"
    changed.write_bytes(changed.read_bytes() + b"mine")
    (made.folder / "notes.txt").write_text("mine")
    folder = RunFolder(own)
    with folder.claimed(load_configuration(folder.config), resume=False, force=True):
        assert sorted(path.name for path in made.folder.iterdir()) == ["model.tflite", "notes.txt"]
    shutil.rmtree(made.folder)
    for name in ("model.mlpackage", "model-fp16.mlpackage", "mine.mlpackage"):
        specification = made.folder / name / "Data" / "com.apple.CoreML" / "model.mlmodel"
        specification.parent.mkdir(parents=True)
        specification.write_bytes(b"... hwnas.preprocess ...")
    (made.folder / "model.mlpackage" / "notes.txt").write_text("mine")
    RunFolder(own).remove()
    assert sorted(path.name for path in made.folder.iterdir()) == ["mine.mlpackage", "model.mlpackage"]
    again = Path(shutil.copytree(run, tmp_path / "again"))
    hwnas.export(again)
    (again / "export").rename(tmp_path / "elsewhere")
    (again / "export").symlink_to(tmp_path / "elsewhere")
    RunFolder(again).remove()
    assert len(list((tmp_path / "elsewhere").iterdir())) == 3, "links are not followed"
    whole = Path(shutil.copytree(run, tmp_path / "whole"))
    hwnas.export(whole)
    RunFolder(whole).remove()
    assert not (whole / "export").exists()


def test_of_several_models_in_a_folder_one_is_chosen(everything: tuple[ExportedFile, ...], images: Path) -> None:
    def predict(*words: object) -> Any:
        return CliRunner().invoke(app, ["predict", *map(str, words), "--json"])

    folder, image = everything[0].path.parent, images / "red" / "00.png"
    several = predict(folder, image)
    assert several.exit_code == 2
    assert "holds several models: model-fp16.onnx, model-fp16.tflite, model-int8.onnx" in several.stderr
    assert f"name one, as in hwnas predict {folder}/model-fp16.onnx, or choose it by --format" in several.stderr
    assert "/model-int8.onnx" in predict(folder, image, "--precision", "int8").stderr
    for one in everything:
        words = ("--format", one.kind.format, "--precision", one.kind.precision)
        assert predict(folder, image, *words).stdout == predict(one.path, image).stdout
        assert predict(one.path, image, *words).exit_code == 0
    wrong = predict(everything[0].path, image, "--format", "tflite")
    assert "holds no .tflite model, but model.onnx" in wrong.stderr
    assert (
        "--precision must be one of 'fp32', 'fp16', 'int8', not 'fp8'"
        in predict(folder, image, "--precision", "fp8").stderr
    )
    verify = CliRunner().invoke(app, ["verify", str(folder)])
    assert verify.exit_code == 2
    assert f"name one, as in hwnas verify {folder}/model-fp16.onnx" in verify.stderr


def test_the_only_model_of_a_folder_needs_no_choice(run: Path, images: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(run, tmp_path / "run"))
    hwnas.export(own, formats="tflite")
    assert hwnas.predict(own / "export", images / "red") == hwnas.predict(own / "export/model.tflite", images / "red")
    assert hwnas.predict(own, images / "red") == hwnas.predict(own / "model.onnx", images / "red")
    parts = tmp_path / "front"
    for name in ("5ms", "9ms"):
        shutil.copytree(run, parts / name)
    with pytest.raises(InputError, match=r"holds several models: 5ms/model\.onnx, 9ms/model\.onnx"):
        hwnas.predict(parts, images / "red")


def test_files_of_others_stay(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is the folder of a run"):
        hwnas.export(run, out=run)
    (tmp_path / "model.onnx").write_text("mine")
    with pytest.raises(InputError, match=r"model\.onnx is there already"):
        hwnas.export(run, out=tmp_path)
    (tmp_path / "model.json").write_text('{"format": "other"}')
    with pytest.raises(InputError, match="is there already"):
        hwnas.export(run, out=tmp_path)
    assert (tmp_path / "model.onnx").read_text() == "mine"
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "labels.txt").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"labels\.txt is there already"):
        hwnas.export(run, out=tmp_path / "own")


def test_without_its_images_a_run_is_exported_all_the_same(run: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(run, tmp_path / "run"))
    config = (own / "config.toml").read_text()
    source = next(line for line in config.splitlines() if line.startswith("source"))
    (own / "config.toml").write_text(config.replace(source, 'source = "nowhere/to/be/found"'))
    said: list[str] = []
    (one,) = hwnas.export(own, on_event=lambda event: said.append(str(event))).files
    assert one.images == 0
    assert one.path.read_bytes() == hwnas.export(run, out=tmp_path / "out").files[0].path.read_bytes()
    assert any("random pixels" in text for text in said)
    with pytest.raises(InputError, match="nowhere"):
        hwnas.export(own, precisions="int8")
