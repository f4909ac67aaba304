"""A finished run as a package: complete, all or nothing, and refused by `hwnas verify` once it is anything else."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper
from PIL import Image
from run_fakes import a_config, install, write_table
from typer.testing import CliRunner

import hwnas
from hwnas.api import verification
from hwnas.backends.model_facts import describe
from hwnas.cli import app
from hwnas.devices.measure_file import Verification
from hwnas.devices.verdict import Verdict
from hwnas.errors import ExportError, InputError, StorageError
from hwnas.exporting.golden import ScoredFile, choose_golden
from hwnas.exporting.manifest import NAME
from hwnas.exporting.package_reader import open_package
from hwnas.files import write_json
from hwnas.run import package_run, run_marker
from hwnas.run.pipeline import run_search
from hwnas.run.verify_package import PackageVerification
from hwnas.train import checkpoint

MODELS = ["model.onnx", "model-int8.onnx", "model.tflite", "model-int8.tflite"]


@pytest.fixture(scope="module")
def run(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nobody writes to it."""
    root = tmp_path_factory.mktemp("package")
    with pytest.MonkeyPatch.context() as patch:
        install(patch.setattr)
        run_search(a_config(images, epochs=4), root / "run", tables=write_table(root / "tables"))
    return root / "run"


@pytest.fixture(scope="module")
def whole(run: Path) -> Path:
    """Nobody writes to it, and its run is not at hand."""
    out = run.parent / "elsewhere" / "app"
    hwnas.export(run, formats=["onnx", "tflite"], precisions=["fp32", "int8"], max_drop=100.0, package=True, out=out)
    return out


@pytest.fixture
def app_folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "app"))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, float | None]]:
    """Files are not timed; runtime, name and budget of each that would be."""
    asked: list[tuple[str, str, float | None]] = []

    def measure_file(path: Path, device: Any, reference: Any, **more: Any) -> Verification:
        asked.append((device.runtime, path.name, more["budget_ms"]))
        ms = 0.5
        state: Any = "no budget" if more["budget_ms"] is None else "met" if ms <= more["budget_ms"] else "missed"
        verdict = Verdict(ms, 1.1 * ms, (0.99 * ms, 1.01 * ms), 60, 0.0, ms, state, processes=5)
        return Verification(describe(path), device, "cpu", {}, (), more["budget_ms"], verdict, None)

    monkeypatch.setattr(verification, "measure_file", measure_file)
    return asked


def command(*words: object) -> Any:
    return CliRunner().invoke(app, list(map(str, words)))


def resealed(folder: Path) -> Path:
    """The manifest and `model.json` say what is in the folder, as whoever forges a package would have them say."""
    described = json.loads((folder / "model.json").read_text())
    for name, one in described["files"].items():
        content = (folder / name).read_bytes()
        one |= {"bytes": len(content), "sha256": sha256(content).hexdigest()}
    (folder / "model.json").write_text(json.dumps(described))
    content = json.loads((folder / NAME).read_text())
    for name in content["files"]:
        data = (folder / name).read_bytes()
        content["files"][name] = {"bytes": len(data), "sha256": sha256(data).hexdigest()}
    (folder / NAME).write_text(json.dumps(content))
    return folder


def test_a_package_has_all_that_an_app_needs(run: Path, whole: Path) -> None:
    content = json.loads((whole / NAME).read_text())
    there = {path.relative_to(whole).as_posix() for path in whole.rglob("*") if path.is_file()}
    assert there == {NAME, *content["files"]}
    assert {*MODELS, "labels.txt", "model.json", "golden.png", "golden.json", "README.md"} <= there
    assert {Path(name).name for name in there if name.startswith("snippets/")} == {
        *("OnnxRuntimeClassifier.kt", "LiteRtClassifier.kt", "MediaPipeClassifier.kt", "OnnxRuntimeClassifier.swift"),
        *("classify.mjs", "classify_onnxruntime.py", "classify_litert.py", "classify.cpp"),
    }
    for name, one in content["files"].items():
        data = (whole / name).read_bytes()
        assert one == {"bytes": len(data), "sha256": sha256(data).hexdigest()}
    assert content["weights"] == sha256((run / "weights.safetensors").read_bytes()).hexdigest()
    assert content["budget_ms"] == json.loads((run / "result.json").read_text())["budget_ms"]
    assert [path.name for path in whole.parent.iterdir()] == ["app"], "nothing is left beside it"


def test_its_readme_is_about_these_files(run: Path, whole: Path) -> None:
    text = (whole / "README.md").read_text()
    assert "A classifier of 3 classes" in text
    assert all(f"| `{name}` |" in text for name in MODELS)
    assert "8 pixels high and 8 wide, in colour" in text
    assert not re.search(r"\$[a-z{]", text)
    assert str(run.parent) not in text, "no path of the machine"
    assert "`images`" in text
    named = set(re.findall(r"`([\w-]+/?[\w-]*\.\w+)`", text))
    assert named <= {path.relative_to(whole).as_posix() for path in whole.rglob("*")}
    assert f"{json.loads((run / 'result.json').read_text())['measured_ms']['judged']:#.4g} ms" in text


def onnx_scores(path: Path, pixels: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    kind = np.uint8 if session.get_inputs()[0].type == "tensor(uint8)" else np.float32
    return np.concatenate([session.run(None, {"input": one[None].astype(kind)})[0] for one in pixels])


def test_the_golden_image_is_a_test_image_that_betrays_mistakes(run: Path, images: Path, whole: Path) -> None:
    content = json.loads((whole / "golden.json").read_text())
    pixels = np.asarray(Image.open(whole / "golden.png")).transpose(2, 0, 1)
    assert pixels.shape == (3, 8, 8)
    dataset = hwnas.load_dataset(str(images), resolution=8, seed=0)
    (found,) = np.flatnonzero((dataset.test.pixels == pixels).all(axis=(1, 2, 3)))
    assert (content["label"], content["class"]) == (
        dataset.test.labels[found],
        dataset.classes[dataset.test.labels[found]],
    )
    for name, tolerance in zip(MODELS, (1e-3, 5e-2, 1e-3, 5e-2), strict=True):
        expected = content["files"][name]
        scores = np.array(expected["scores"])
        assert expected["tolerance"] == tolerance
        assert np.sort(scores)[-1] - np.sort(scores)[-2] > 0.2
        assert scores.argmax() == content["label"]
        if name.endswith("onnx"):
            np.testing.assert_allclose(onnx_scores(whole / name, pixels[None])[0], scores, atol=1e-6)
            for wrong in (pixels / 255, pixels[::-1]):
                assert np.abs(onnx_scores(whole / name, wrong[None])[0] - scores).max() > tolerance


def test_without_an_image_that_all_files_classify_right_there_is_no_package(run: Path, images: Path) -> None:
    test = hwnas.load_dataset(str(images), resolution=8, seed=0).test

    def wrong(content: bytes, pixels: np.ndarray) -> np.ndarray:
        return np.eye(3, dtype=np.float32)[(test.labels[: len(pixels)] + 1) % 3]

    with pytest.raises(ExportError, match="none of 9 test images is classified right"):
        choose_golden({"model.onnx": ScoredFile(b"", wrong, "probabilities", "fp32")}, test)


def test_the_clearest_betrayal_wins(images: Path) -> None:
    """Of three images, one is wrong, one saturated, and one changes with its pixels."""
    test = hwnas.load_dataset(str(images), resolution=8, seed=0).test.subset(np.arange(3))

    def scores(content: bytes, pixels: np.ndarray) -> np.ndarray:
        right = np.eye(3)[test.labels]
        rows = np.stack([np.roll(right[0], 1), right[1], 0.5 * right[2] + 0.5 / 3])
        same = [one for one in range(3) if any(np.array_equal(test.pixels[one], own) for own in pixels)]
        known = rows[same] if len(same) == len(pixels) else rows[3 - len(pixels) :] * [[1.0], [0.5]]
        return known.astype(np.float32)

    found = choose_golden({"model.onnx": ScoredFile(b"", scores, "probabilities", "fp32")}, test)
    assert np.array_equal(found.pixels, test.pixels[2])


def test_a_package_is_replaced_only_when_that_is_asked_for(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "app"
    done = command("export", run, "--package", "--out", out, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["package"] is True
    before = (out / NAME).read_bytes()
    done = command("export", run, "--package", "--format", "tflite", "--out", out)
    assert (done.exit_code, "holds a package already" in " ".join(done.stderr.split())) == (2, True)
    assert (out / NAME).read_bytes() == before
    done = command("export", run, "--package", "--format", "tflite", "--out", out, "--force")
    assert done.exit_code == 0, done.output
    assert f"Next: hwnas verify {out}" in done.stdout
    assert not (out / "model.onnx").exists()
    assert (out / "model.tflite").is_file()
    (out / "snippets" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"mine\.txt is no part of the package"):
        hwnas.export(run, package=True, out=out, force=True)
    assert (out / "snippets" / "mine.txt").read_text() == "mine"
    with pytest.raises(InputError, match="force replaces packages"):
        hwnas.export(run, out=tmp_path / "plain", force=True)


def test_folders_of_others_stay(run: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "text").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "forged").mkdir()
    (tmp_path / "forged" / NAME).write_text("{}")
    for name, said in (
        ("mine", "is no package of hwnas"),
        ("link", "not a symbolic link"),
        ("file", "is no package of hwnas"),
        ("forged", "is missing"),
    ):
        with pytest.raises(InputError, match=said):
            hwnas.export(run, package=True, out=tmp_path / name, force=True)
    with pytest.raises(InputError, match="is the folder of a run"):
        hwnas.export(run, package=True, out=run, force=True)
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "link", "file", "forged"}
    (tmp_path / "empty").mkdir()
    hwnas.export(run, package=True, out=tmp_path / "empty")
    assert (tmp_path / "empty" / NAME).is_file()


def test_it_is_there_as_a_whole_or_not_at_all(
    run: Path, app_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in app_folder.rglob("*") if path.is_file()}

    def full(path: Path, content: Any) -> None:
        if path.name == NAME:
            assert (path.parent / "README.md").is_file()
            raise StorageError("the disk is full")
        write_json(path, content)

    monkeypatch.setattr(package_run, "write_json", full)
    for out in (app_folder, tmp_path / "new"):
        with pytest.raises(StorageError, match="full"):
            hwnas.export(run, package=True, out=out, force=True)
    assert {path: path.read_bytes() for path in app_folder.rglob("*") if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["app"]


def test_a_package_needs_the_images_of_its_run(run: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(run, tmp_path / "run"))
    config = (own / "config.toml").read_text()
    source = next(line for line in config.splitlines() if line.startswith("source"))
    (own / "config.toml").write_text(config.replace(source, 'source = "nowhere/to/be/found"'))
    with pytest.raises(InputError, match="nowhere"):
        hwnas.export(own, package=True)
    assert not (own / "app").exists()


def test_everything_is_checked_on_the_device(
    run: Path, images: Path, tmp_path: Path, quick: list[tuple[str, str, float | None]]
) -> None:
    own = Path(shutil.copytree(run, tmp_path / "run"))
    hwnas.export(own, formats=["onnx", "tflite"], precisions=["fp32", "int8"], max_drop=100.0, package=True)
    budget_ms = json.loads((own / "result.json").read_text())["budget_ms"]
    done = command("verify", own / "app", "--json")
    assert done.exit_code == 0, done.output
    content = json.loads(done.stdout)
    assert (content["ok"], content["device"], content["parts"]) == (True, "host", 17)
    assert [one["name"] for one in content["files"]] == MODELS
    assert quick == [("onnxruntime", name, budget_ms) for name in MODELS]
    test = hwnas.load_dataset(str(images), resolution=8, seed=0).test
    for one in content["files"]:
        assert one["golden"]["ok"]
        assert one["golden"]["max_difference"] <= 1e-6
        assert (one["parity"]["images"], one["parity"]["real_images"]) == (9, True)
        assert one["test"]["images"] == one["test_when_packed"]["images"] == 9
        assert one["test"]["accuracy"] == one["test_when_packed"]["accuracy"]
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
    done = command("verify", own / "app", "--quiet")
    assert done.exit_code == 0, done.output
    assert "17 files, all as they were made" in done.stdout
    assert "within the budget" in done.stdout
    assert "XNNPACK 1 (" in done.stdout


def test_elsewhere_it_says_what_was_not_at_hand(
    run: Path, images: Path, whole: Path, quick: list[tuple[str, str, float | None]]
) -> None:
    done = command("verify", whole, "--quiet", "--runtime", "litert", "--budget-ms", "0.1")
    assert done.exit_code == 4, done.output
    assert "--run names the run" in done.stdout
    assert "--data names them" in done.stdout
    assert [name for _, name, _ in quick] == ["model.tflite", "model-int8.tflite"]
    assert {budget_ms for _, _, budget_ms in quick} == {0.1}
    assert "above the budget" in " ".join(done.stderr.split())
    found = hwnas.verify(whole, run=run, runtime="litert")
    assert isinstance(found, PackageVerification)
    assert [one.parity is not None and one.parity.ok for one in found.files] == [True, True]
    assert [one.test_images for one in found.files] == [9, 9]
    assert "<table>" in found._repr_html_()
    told = hwnas.verify(whole, data=images, runtime="onnxruntime")
    assert isinstance(told, PackageVerification)
    assert [(one.parity, one.test_images) for one in told.files] == [(None, 9), (None, 9)]
    assert told.files[0].accuracy == found.files[0].accuracy
    hwnas.export(run, package=True, out=run.parent / "onnx-only")
    with pytest.raises(InputError, match="runs none of the files"):
        hwnas.verify(run.parent / "onnx-only", runtime="litert")


def test_other_runs_images_and_inputs_are_refused(
    run: Path, images: Path, whole: Path, tmp_path: Path, quick: object
) -> None:
    other = Path(shutil.copytree(run, tmp_path / "run"))
    tensors, facts = checkpoint.load(other / "weights.safetensors")
    checkpoint.save(other / "weights.safetensors", {name: 2 * one for name, one in tensors.items()}, facts)
    run_marker.seal(other, [other / "weights.safetensors", other / "model.onnx"])
    for options, said in (
        ({"run": other}, "its weights are others"),
        ({"run": tmp_path}, "is no run of hwnas"),
        ({"data": "digits"}, "which are not those"),
        ({"data": tmp_path / "missing"}, "neither a built-in data set nor"),
        ({"shapes": {"input": (1, 3, 8, 8)}}, "read images, not other inputs"),
    ):
        with pytest.raises(InputError, match=said):
            hwnas.verify(whole, **options)
    with pytest.raises(InputError, match="run and data are for packages"):
        hwnas.verify(whole / "model.onnx", data=images)


def heavier(folder: Path) -> None:
    """Other weights in the first convolution."""
    model = onnx.load(folder / "model.onnx")
    first = next(one for one in model.graph.initializer if len(one.dims) == 4)
    first.CopyFrom(numpy_helper.from_array(1.5 * numpy_helper.to_array(first), first.name))
    onnx.save(model, folder / "model.onnx")


def test_a_model_that_computes_something_else_is_exit_code_6(app_folder: Path, quick: object) -> None:
    heavier(app_folder)
    done = command("verify", resealed(app_folder), "--quiet", "--json")
    assert done.exit_code == 6, done.output
    content = json.loads(done.stdout)
    assert (content["ok"], content["exit_code"]) == (False, 6)
    assert "model.onnx is off by" in content["error"]
    assert "model.tflite" not in content["error"]
    assert command("verify", app_folder, "--quiet").exit_code == 6


def edited(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    """Changes a JSON file."""

    def apply(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        changed = change(content)
        text = json.dumps(content if changed is None else changed)
        (folder / name).write_text(text)

    return apply


def listing(name: str) -> Callable[[Path], None]:
    """The manifest lists a file of that name."""
    return edited(NAME, lambda content: content["files"].__setitem__(name, {"bytes": 4, "sha256": "0" * 64}))


def linked(name: str) -> Callable[[Path], None]:
    """A part is a link to an equal file outside."""

    def apply(folder: Path) -> None:
        outside = folder.parent / f"outside-{Path(name).name}"
        (folder / name).rename(outside)
        (folder / name).symlink_to(outside)

    return apply


def picture(size: tuple[int, int], mode: str = "RGB") -> Callable[[Path], None]:
    """Another golden image, with its checksum."""

    def apply(folder: Path) -> None:
        buffer = io.BytesIO()
        Image.new(mode, size).save(buffer, "png")
        (folder / "golden.png").write_bytes(buffer.getvalue())
        resealed(folder)

    return apply


def bomb(folder: Path) -> None:
    """A golden image of 400 million pixels in 100 bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    (folder / "golden.png").write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    resealed(folder)


def sealed(change: Callable[[Path], None]) -> Callable[[Path], None]:
    """Checksums fit the change."""

    def apply(folder: Path) -> None:
        change(folder)
        resealed(folder)

    return apply


def outside_weights(folder: Path) -> None:
    """The model keeps a constant of a node in a file outside."""
    model = onnx.load(folder / "model.onnx")
    constant = onnx.helper.make_node("Constant", [], ["unused"], value=numpy_helper.from_array(np.zeros(4, np.float32)))
    one = constant.attribute[0].t
    one.ClearField("raw_data")
    one.data_location = TensorProto.EXTERNAL
    entry = one.external_data.add()
    entry.key, entry.value = "location", "../secret.bin"
    model.graph.node.insert(0, constant)
    onnx.save(model, folder / "model.onnx")
    resealed(folder)


def sparse(folder: Path) -> None:
    """A README of a terabyte, of which nothing is on the disk."""
    with (folder / "README.md").open("wb") as file:
        file.truncate(2**40)
    edited(NAME, lambda content: content["files"]["README.md"].__setitem__("bytes", 2**31 - 1))(folder)


def piped(folder: Path) -> None:
    (folder / "README.md").unlink()
    os.mkfifo(folder / "README.md")


HOSTILE: dict[str, tuple[Callable[[Path], None], str]] = {
    "a part cut short": (lambda folder: os.truncate(folder / "model.tflite", 1000), "must have [0-9]+ bytes"),
    "another byte": (
        lambda folder: (folder / "README.md").write_bytes((folder / "README.md").read_bytes()[:-1] + b"!"),
        "SHA-256",
    ),
    "a part gone": (lambda folder: (folder / "golden.png").unlink(), r"cannot read .*golden\.png"),
    "a name outside": (listing("../secret.bin"), "files must be names"),
    "a name far outside": (listing("/etc/hostname"), "files must be names"),
    "a name with a drive": (listing("C:\\secret"), "files must be names"),
    "a name too deep": (listing("a/b/c"), "files must be names"),
    "a name with markup": (listing("[red]<b>x[/]"), "files must be names"),
    "a name of controls": (listing("x\x1b[2J\ny"), "files must be names"),
    "a hidden name": (listing(".bashrc"), "files must be names"),
    "a dot": (listing("."), "files must be names"),
    "itself": (listing(NAME), "files must be names"),
    "a part that is a link": (linked("model.onnx"), "not a symbolic link"),
    "a small part that is a link": (linked("labels.txt"), "not a symbolic link"),
    "a folder that is a link": (linked("snippets"), "must be a folder, not a link"),
    "a manifest that is a link": (linked(NAME), "not a symbolic link"),
    "a pipe": (piped, "regular file"),
    "a terabyte": (sparse, "must have at most 16 MiB"),
    "many files": (
        edited(NAME, lambda own: own["files"].update({f"f{k}": own["files"]["README.md"] for k in range(300)})),
        "from 1 to 256",
    ),
    "models of terabytes": (
        edited(
            NAME,
            lambda own: own["files"].update({f"{k}.onnx": {"bytes": 2**31 - 1, "sha256": "0" * 64} for k in range(9)}),
        ),
        "at most 4 GiB",
    ),
    "a negative size": (edited(NAME, lambda own: own["files"]["README.md"].__setitem__("bytes", -1)), "at least 0"),
    "no checksum": (edited(NAME, lambda own: own["files"]["README.md"].__setitem__("sha256", "x")), "hexadecimal"),
    "a later version": (edited(NAME, lambda own: own.__setitem__("version", 2)), "version must be 1"),
    "another format": (edited(NAME, lambda own: own.__setitem__("format", "zip")), "must be one of hwnas package"),
    "a budget that is no number": (edited(NAME, lambda own: own.__setitem__("budget_ms", float("nan"))), "finite"),
    "a budget of infinity": (
        lambda folder: (folder / NAME).write_text(
            (folder / NAME).read_text().replace('"budget_ms": ', '"budget_ms": 1e999, "x": ')
        ),
        "finite|not valid JSON",
    ),
    "a list": (edited(NAME, lambda own: [own]), "must be a table"),
    "deep nesting": (lambda folder: (folder / NAME).write_text("[" * 100_000), "nested|not valid JSON"),
    "no JSON": (lambda folder: (folder / NAME).write_bytes(b"\xff\xfe"), "not valid JSON"),
    "scores that are no numbers": (
        sealed(edited("golden.json", lambda own: own["files"]["model.onnx"].__setitem__("scores", [float("nan")] * 3))),
        "finite",
    ),
    "too few scores": (
        sealed(edited("golden.json", lambda own: own["files"]["model.onnx"]["scores"].__delitem__(0))),
        "must have 3 scores, not 2",
    ),
    "a wide tolerance": (
        sealed(edited("golden.json", lambda own: own["files"]["model.onnx"].__setitem__("tolerance", 2.0))),
        "tolerance of model.onnx must be at most 0.1",
    ),
    "an unknown class": (
        sealed(edited("golden.json", lambda own: own.__setitem__("label", 3))),
        "label must be below 3",
    ),
    "an image outside": (
        sealed(edited("golden.json", lambda own: own.__setitem__("image", "../golden.png"))),
        "must be one of golden.png",
    ),
    "an image that is not there": (
        sealed(edited("golden.json", lambda own: own.__setitem__("image", "golden.npy"))),
        r"files must have golden\.npy",
    ),
    "a file that is not described": (
        sealed(edited("golden.json", lambda own: own["files"].pop("model.onnx") and None)),
        "must name the model files",
    ),
    "an image of another size": (picture((9, 8)), "must be an image of 3 × 8 × 8 bytes"),
    "an image of another mode": (picture((8, 8), "L"), "must be an image of 3 × 8 × 8 bytes"),
    "a bomb of an image": (bomb, "must be an image|cannot be read"),
    "an image that is none": (
        sealed(lambda folder: (folder / "golden.png").write_bytes(b"BM" + bytes(60))),
        "cannot be read",
    ),
    "other classes": (
        sealed(lambda folder: (folder / "labels.txt").write_text("[red]\nx\ny\n")),
        "must have the classes",
    ),
    "values that an app is to normalise": (
        sealed(edited("model.json", lambda own: own["files"]["model.onnx"]["preprocess"].__setitem__("scale", 0.5))),
        "must be 1, as the model scales",
    ),
    "another input": (
        sealed(edited("model.json", lambda own: own["files"]["model.onnx"]["input"].__setitem__("name", "x"))),
        "must have one input",
    ),
    "another size of input": (
        sealed(
            edited("model.json", lambda own: own["files"]["model.onnx"]["preprocess"].__setitem__("resize", [8, 9]))
        ),
        "must be what its preprocess says",
    ),
    "a side of a million": (
        sealed(
            edited(
                "model.json", lambda own: own["files"]["model.onnx"]["preprocess"].__setitem__("resize", [10**6] * 2)
            )
        ),
        "at most 2048",
    ),
    "weights outside": (outside_weights, "must hold its weights itself"),
    "no model": (sealed(lambda folder: (folder / "model.onnx").write_bytes(b"no model")), "is not an ONNX model"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_no_package_is_refused_with_one_message(
    kind: str, app_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2 at once, and nothing outside of the folder is opened."""
    spoil, said = HOSTILE[kind]
    (app_folder.parent / "secret.bin").write_bytes(b"abcd")
    spoil(app_folder)
    opened: list[str] = []
    for place in (os, io):
        real = place.open

        def spied(path: Any, *rest: Any, real: Any = real, **more: Any) -> Any:
            opened.append(str(path))
            return real(path, *rest, **more)

        monkeypatch.setattr(place, "open", spied)
    monkeypatch.setattr(verification, "measure_file", lambda *_, **__: pytest.fail("it was run"))
    done = command("verify", app_folder, "--quiet")
    assert done.exit_code == 2, done.output
    assert re.search(said, " ".join(done.stderr.split())), done.stderr
    assert done.stderr.count("error:") == 1
    assert "\x1b" not in done.stderr
    assert not [path for path in opened if "secret" in path or "outside" in path or "hostname" in path]
    assert [path for path in opened if NAME in path] or "manifest" in kind


def test_a_file_beside_the_parts_does_no_harm(app_folder: Path) -> None:
    (app_folder / ".DS_Store").write_bytes(b"x")
    (app_folder / "notes").mkdir()
    assert len(open_package(app_folder).models) == 4


@pytest.mark.parametrize("name", ["classify_onnxruntime.py", "classify_litert.py"])
def test_its_python_finds_the_golden_image_right(name: str, whole: Path) -> None:
    done = subprocess.run([sys.executable, f"snippets/{name}"], capture_output=True, text=True, cwd=whole, check=False)
    assert done.returncode == 0, done.stderr
    assert "golden image: off by" in done.stdout


@pytest.mark.dear
def test_a_package_is_timed_by_the_real_runtimes(run: Path, tmp_path: Path) -> None:
    hwnas.export(run, formats=["onnx", "tflite"], package=True, out=tmp_path / "app")
    found = hwnas.verify(tmp_path / "app", budget_ms=1000.0)
    assert isinstance(found, PackageVerification)
    assert (found.failure, found.budget_met) == (None, True)
    assert [one.latency.device.runtime for one in found.files] == ["onnxruntime", "litert"]
