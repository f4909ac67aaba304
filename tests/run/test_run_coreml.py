"""A run as Core ML packages: read back by coremltools, as nothing but macOS runs them."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import hwnas
from hwnas.arch import Network
from hwnas.backends.weights import fold
from hwnas.cli import app
from hwnas.errors import InputError
from hwnas.train import checkpoint


@pytest.fixture(scope="module")
def run(packed_run: Path) -> Path:
    return packed_run


def test_without_the_extra_there_is_one_message(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "coremltools", None)
    words = ["export", str(run), "--format", "onnx,coreml", "--out", str(tmp_path / "out"), "--quiet"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2, done.output
    assert "files for Core ML need coremltools" in done.stderr
    assert "pip install 'hwnas[coreml]'" in done.stderr
    assert done.stderr.count("error:") == 1
    assert not (tmp_path / "out").exists()


def test_int8_and_files_of_others_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a Core ML package is fp32 or fp16, not int8"):
        hwnas.export(run, formats="coreml", precisions="int8", out=tmp_path)
    with pytest.raises(InputError, match="is the folder of a run"):
        hwnas.export(run, formats="coreml", out=run)
    (tmp_path / "model.mlpackage").mkdir()
    with pytest.raises(InputError, match="hwnas did not write it"):
        hwnas.export(run, formats="coreml", out=tmp_path)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_package_says_what_it_reads_and_has_the_weights(run: Path, precision: str, tmp_path: Path) -> None:
    tools: Any = pytest.importorskip("coremltools")
    words = ["export", str(run), "--format", "coreml,onnx", "--precision", precision, "--out", str(tmp_path), "--json"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    (told,) = json.loads(done.stdout)["coreml"]
    path = Path(told["path"])
    assert path.name == {"fp32": "model.mlpackage", "fp16": "model-fp16.mlpackage"}[precision]
    assert told["bytes"] == sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
    spec = tools.models.MLModel(str(path), skip_model_load=True).get_spec()
    (given,) = spec.description.input
    image = given.type.imageType
    assert (given.name, image.height, image.width) == ("input", 8, 8)
    assert type(image).ColorSpace.Name(image.colorSpace) == "RGB"
    assert [one.name for one in spec.description.output] == ["classLabel", "classLabel_probs"]
    assert dict(spec.description.metadata.userDefined)["hwnas.precision"] == precision
    for one, kind in zip(spec.description.output, ("stringType", "dictionaryType"), strict=True):
        assert one.type.WhichOneof("Type") == kind
    assert b"blue" in spec.SerializeToString()
    # Weights behind the first convolution are those of the run with its norms folded, whatever the pixels are.
    network = Network.from_json(json.loads((run / "architecture.json").read_text())["network"])
    tensors, _ = checkpoint.load(run / "weights.safetensors")
    _, constants = fold(network.graph, {name: tensor.numpy() for name, tensor in tensors.items()})
    content = b"".join(one.read_bytes() for one in path.rglob("weight.bin"))
    large = [weight for weight, _ in list(constants.values())[1:] if weight.size > 100]
    assert len(large) > 1
    kind = np.float16 if precision == "fp16" else np.float32
    assert all(weight.astype(kind).tobytes() in content for weight in large)


def test_the_same_run_gives_the_same_package(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("coremltools")
    contents = []
    for _ in range(2):
        (one,) = hwnas.export(run, formats="coreml", out=tmp_path).coreml
        contents.append({path.name: path.read_bytes() for path in one.path.rglob("*") if path.is_file()})
    assert contents[0] == contents[1]
    assert [path.name for path in tmp_path.iterdir()] == ["model.mlpackage"]
    shutil.rmtree(one.path / "Data")
    with pytest.raises(InputError, match="hwnas did not write it"):
        hwnas.export(run, formats="coreml", out=tmp_path)
