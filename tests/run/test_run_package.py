"""A finished run as a package: complete, right, and there as a whole or not at all."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from package_files import MODELS, command, onnx_scores
from PIL import Image

import hwnas
from hwnas.errors import ExportError, InputError, StorageError
from hwnas.exporting.golden import ScoredFile, choose_golden
from hwnas.exporting.manifest import NAME
from hwnas.files import write_json
from hwnas.run import package_run


def test_a_package_has_all_that_an_app_needs(packed_run: Path, packed_here: Path, packed: Path) -> None:
    content = json.loads((packed / NAME).read_text())
    there = {path.relative_to(packed).as_posix() for path in packed.rglob("*") if path.is_file()}
    assert there == {NAME, *content["files"]}
    assert {*MODELS, "labels.txt", "model.json", "golden.png", "golden.json", "README.md"} <= there
    assert {Path(name).name for name in there if name.startswith("snippets/")} == {
        *("OnnxRuntimeClassifier.kt", "LiteRtClassifier.kt", "MediaPipeClassifier.kt", "OnnxRuntimeClassifier.swift"),
        *("classify.mjs", "classify_onnxruntime.py", "classify_litert.py", "classify.cpp"),
    }
    for name, one in content["files"].items():
        data = (packed / name).read_bytes()
        assert one == {"bytes": len(data), "sha256": sha256(data).hexdigest()}
    assert content["weights"] == sha256((packed_run / "weights.safetensors").read_bytes()).hexdigest()
    assert content["budget_ms"] == json.loads((packed_run / "result.json").read_text())["budget_ms"]
    assert content["searched"] == {"file": "model.onnx", "device": "host", "latency": "warm"}
    beside = {path.name for path in packed_here.iterdir()} - {path.name for path in packed_run.iterdir()}
    assert beside == {"app"}, "nothing is left beside it"


def test_its_readme_is_about_these_files(packed_run: Path, packed: Path) -> None:
    text = (packed / "README.md").read_text()
    assert "A classifier of 3 classes" in text
    assert all(f"| `{name}` |" in text for name in MODELS)
    assert "8 pixels high and 8 wide, in colour" in text
    assert not re.search(r"\$[a-z{]", text)
    assert str(packed_run.parent) not in text, "no path of the machine"
    assert "`images`" in text
    named = set(re.findall(r"`([\w-]+/?[\w-]*\.\w+)`", text))
    assert named <= {path.relative_to(packed).as_posix() for path in packed.rglob("*")}
    assert f"{json.loads((packed_run / 'result.json').read_text())['measured_ms']['judged']:#.4g} ms" in text


def test_the_golden_image_is_a_test_image_that_betrays_mistakes(packed_run: Path, images: Path, packed: Path) -> None:
    content = json.loads((packed / "golden.json").read_text())
    pixels = np.asarray(Image.open(packed / "golden.png")).transpose(2, 0, 1)
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
            np.testing.assert_allclose(onnx_scores(packed / name, pixels[None])[0], scores, atol=1e-6)
            for wrong in (pixels / 255, pixels[::-1]):
                assert np.abs(onnx_scores(packed / name, wrong[None])[0] - scores).max() > tolerance


def test_without_an_image_that_all_files_classify_right_there_is_no_package(packed_run: Path, images: Path) -> None:
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


def test_a_package_is_replaced_only_when_that_is_asked_for(packed_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "app"
    done = command("export", packed_run, "--package", "--out", out, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["package"] is True
    before = (out / NAME).read_bytes()
    done = command("export", packed_run, "--package", "--format", "tflite", "--out", out)
    assert (done.exit_code, "holds a package already" in " ".join(done.stderr.split())) == (2, True)
    assert (out / NAME).read_bytes() == before
    done = command("export", packed_run, "--package", "--format", "tflite", "--out", out, "--force")
    assert done.exit_code == 0, done.output
    assert "no model.onnx, which the budget of the run was measured on" in " ".join(done.stderr.split())
    assert f"Next: hwnas verify {out}" in done.stdout
    assert not (out / "model.onnx").exists()
    assert (out / "model.tflite").is_file()
    (out / "snippets" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"mine\.txt is no part of the package"):
        hwnas.export(packed_run, package=True, out=out, force=True)
    assert (out / "snippets" / "mine.txt").read_text() == "mine"
    (out / "snippets" / "mine.txt").unlink()
    (out / "README.md").write_text("mine")
    with pytest.raises(InputError, match=r"README\.md is not as it was made"):
        hwnas.export(packed_run, package=True, out=out, force=True)
    (out / "README.md").unlink()
    hwnas.export(packed_run, package=True, out=out, force=True)
    with pytest.raises(InputError, match="where exported files go into app alone"):
        hwnas.export(packed_run, package=True, out=packed_run / "state" / "mine")
    with pytest.raises(InputError, match="force replaces packages"):
        hwnas.export(packed_run, out=tmp_path / "plain", force=True)


def test_folders_of_others_stay(packed_run: Path, tmp_path: Path) -> None:
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
        ("forged", "are missing"),
    ):
        with pytest.raises(InputError, match=said):
            hwnas.export(packed_run, package=True, out=tmp_path / name, force=True)
    with pytest.raises(InputError, match="is the folder of a run"):
        hwnas.export(packed_run, package=True, out=packed_run, force=True)
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "link", "file", "forged"}
    (tmp_path / "empty").mkdir()
    hwnas.export(packed_run, package=True, out=tmp_path / "empty")
    assert (tmp_path / "empty" / NAME).is_file()


def test_it_is_there_as_a_whole_or_not_at_all(
    packed_run: Path, own_package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in own_package.rglob("*") if path.is_file()}

    def full(path: Path, content: Any) -> None:
        if path.name == NAME:
            assert (path.parent / "README.md").is_file()
            raise StorageError("the disk is full")
        write_json(path, content)

    monkeypatch.setattr(package_run, "write_json", full)
    for out in (own_package, tmp_path / "new"):
        with pytest.raises(StorageError, match="full"):
            hwnas.export(packed_run, package=True, out=out, force=True)
    assert {path: path.read_bytes() for path in own_package.rglob("*") if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["app"]


def test_a_package_that_a_killed_export_moved_aside_is_put_back(packed_run: Path, own_package: Path) -> None:
    work = own_package.with_name(".app.0123abcd.hwnas-work")
    work.mkdir()
    (work / "lock").touch()
    before = {path.name: path.read_bytes() for path in own_package.iterdir() if path.is_file()}
    own_package.rename(work / "before")
    done = command("export", packed_run, "--package", "--out", own_package)
    assert done.exit_code == 2, done.output
    said = " ".join(done.stderr.split())
    assert f"{own_package} was put back: an export that was killed had moved it aside" in said
    assert "holds a package already" in said
    assert {path.name: path.read_bytes() for path in own_package.iterdir() if path.is_file()} == before
    assert [path.name for path in own_package.parent.iterdir()] == ["app"]


def test_a_package_needs_the_images_of_its_run(packed_run: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(packed_run, tmp_path / "run"))
    config = (own / "config.toml").read_text()
    source = next(line for line in config.splitlines() if line.startswith("source"))
    (own / "config.toml").write_text(config.replace(source, 'source = "nowhere/to/be/found"'))
    with pytest.raises(InputError, match="nowhere"):
        hwnas.export(own, package=True)
    assert not (own / "app").exists()


@pytest.mark.parametrize("name", ["classify_onnxruntime.py", "classify_litert.py"])
def test_its_python_finds_the_golden_image_right(name: str, packed: Path) -> None:
    done = subprocess.run([sys.executable, f"snippets/{name}"], capture_output=True, text=True, cwd=packed, check=False)
    assert done.returncode == 0, done.stderr
    assert "golden image: off by" in done.stdout
