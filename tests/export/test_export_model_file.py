"""The exported file against the runtimes that read it, and `predict` against torch."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from PIL import Image
from torch import nn

from hwnas.arch import Network, SlotSpace, space_instance
from hwnas.backends.interface import BARE
from hwnas.backends.model_format import format_of
from hwnas.backends.torch import export_weights, network_module
from hwnas.data import Dataset, load_dataset, to_input
from hwnas.data.reading import Reading
from hwnas.errors import DataError, ExportError, InputError, StorageError
from hwnas.exporting.file_images import as_read, real_images
from hwnas.exporting.int8 import Quantising
from hwnas.exporting.model_file import Exported, export_model
from hwnas.exporting.predict import predict

FACTS = {"architecture": "[]", "device": "host", "budget_ms": "1.5"}


def draw(root: Path) -> Path:
    """Two classes of plain colours in noise, of several sizes."""
    rng = np.random.default_rng(0)
    for name, colour in {"rot": (230, 40, 40), "grün": (40, 230, 40)}.items():
        (root / name).mkdir(parents=True)
        for index in range(12):
            pixels = np.clip(rng.normal(colour, 60, (9 + index, 14, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{index:02d}.png")
    return root


def trained_like(network: Network) -> nn.Module:
    """A network with norms as after training, so that its logits are far apart."""
    torch.manual_seed(0)
    module = network_module(network)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.7, 1.5)
            nn.init.normal_(part.bias, 0, 0.3)
            nn.init.normal_(part.running_mean, 0, 0.3)
            nn.init.uniform_(part.running_var, 0.2, 0.6)
        elif isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, 0, 1.0)
    return module.eval()


class Made:
    """A data set, a network for it, and its exported file in `folder`."""

    def __init__(self, source: str, folder: Path, runtime: str = "onnxruntime") -> None:
        self.model_format = format_of(runtime)
        self.dataset: Dataset = load_dataset(source, resolution=16, seed=0)
        channels, classes = self.dataset.train.pixels.shape[1], len(self.dataset.classes)
        space: SlotSpace = space_instance("toy", width=1.0, resolution=16, channels=channels, classes=classes)
        self.network = space.network(space.architecture((1, 0, 1, 2)))
        self.module = trained_like(self.network)
        self.path, self.labels = folder / f"model{self.model_format.suffix}", folder / "labels.txt"

    def export(self) -> Exported:
        weights: Mapping[str, Any] = export_weights(self.module)
        return export_model(
            self.path, self.model_format, self.network, weights, Quantising(self.dataset), FACTS, labels=self.labels
        )

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return np.asarray(self.module(to_input(torch.from_numpy(pixels), self.dataset.mean, self.dataset.std)))


@pytest.fixture(params=["digits", "folder"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "digits" if request.param == "digits" else str(draw(tmp_path / "images"))


@pytest.fixture(params=["onnxruntime", "litert"])
def made(request: pytest.FixtureRequest, source: str, tmp_path: Path) -> Made:
    return Made(source, tmp_path / "run", request.param)


def with_onnxruntime(path: Path, inputs: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"input": image[None]})[0] for image in inputs])


def with_litert(path: Path, inputs: np.ndarray) -> np.ndarray:
    run = Interpreter(str(path)).get_signature_runner()
    return np.concatenate([run(input=image[None].transpose(0, 2, 3, 1))["logits"] for image in inputs])


def test_the_file_computes_what_torch_computes(made: Made) -> None:
    exported = made.export()
    inputs = as_read(real_images(made.dataset), made.dataset, BARE)
    own = (with_onnxruntime if made.model_format.suffix == ".onnx" else with_litert)(made.path, inputs)
    with torch.no_grad():
        expected = made.module(torch.from_numpy(inputs)).numpy()
    assert expected.std() > 0.1
    np.testing.assert_allclose(own, expected, atol=1e-4 * max(1.0, np.abs(expected).max()))
    assert (exported.images, exported.size_bytes) == (len(inputs), exported.path.stat().st_size)
    assert exported.parity.agrees
    if made.model_format.suffix == ".onnx":
        onnx.checker.check_model(onnx.load(exported.path), full_check=True)


def metadata_in(path: Path) -> dict[str, str]:
    """As an app reads them."""
    if path.suffix == ".tflite":
        with zipfile.ZipFile(path) as archive:
            return dict(json.loads(archive.read("metadata.json")))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return dict(session.get_modelmeta().custom_metadata_map)


def test_the_file_tells_an_app_all_that_it_needs(made: Made) -> None:
    made.export()
    metadata = metadata_in(made.path)
    layout = {".onnx": "nchw", ".tflite": "nhwc"}[made.path.suffix]
    classes = made.dataset.classes
    assert json.loads(metadata["names"]) == {str(index): name for index, name in enumerate(classes)}
    assert json.loads(metadata["imgsz"]) == [16, 16]
    assert (metadata["task"], metadata["batch"], metadata["hwnas.layout"]) == ("classify", "1", layout)
    assert metadata["hwnas.color"] == {1: "gray", 3: "rgb"}[made.network.input_shape[0]]
    assert json.loads(metadata["hwnas.mean"]) == pytest.approx(made.dataset.mean)
    assert json.loads(metadata["hwnas.std"]) == pytest.approx(made.dataset.std)
    assert {name: metadata[f"hwnas.{name}"] for name in FACTS} == FACTS
    assert made.labels.read_text(encoding="utf-8").splitlines() == list(classes)


def test_other_weights_than_the_trained_are_refused(made: Made) -> None:
    write = made.model_format.model

    def perturbed(network: Network, weights: Mapping[str, Any], **kwargs: Any) -> bytes:
        name = next(name for name in weights if weights[name].ndim == 4)
        return write(network, dict(weights) | {name: weights[name] * 1.05}, **kwargs)

    made.model_format = dataclasses.replace(made.model_format, model=perturbed)
    with pytest.raises(ExportError, match="differs") as caught:
        made.export()
    assert caught.value.exit_code == 6
    assert not made.path.exists()
    assert not made.labels.exists()


def test_a_folder_that_cannot_be_written_is_a_storage_error(made: Made) -> None:
    made.path.parent.write_text("a file where the run should be")
    with pytest.raises(StorageError, match=r"model\.(onnx|tflite)"):
        made.export()


def test_predict_sees_what_torch_sees(made: Made, tmp_path: Path) -> None:
    made.export()
    files, expected = [], []
    for index, pixels in enumerate(made.dataset.test.pixels[:40]):
        files.append(tmp_path / f"{index}.png")
        Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)).save(files[-1])
        logits = made.logits(pixels[None])[0].astype(np.float64)
        expected.append(np.exp(logits) / np.exp(logits).sum())
    found = predict(made.path, files, top=len(made.dataset.classes))
    assert [prediction.image for prediction in found] == files
    for prediction, probabilities in zip(found, expected, strict=True):
        own = dict(prediction.classes)
        for name, probability in zip(made.dataset.classes, probabilities, strict=True):
            assert own[name] == pytest.approx(probability, abs=1e-4)
        ranked = [probability for _, probability in prediction.classes]
        assert ranked == sorted(ranked, reverse=True)
    assert [len(one.classes) for one in predict(made.path, files[:2], top=1)] == [1, 1]


def test_every_grey_stays_what_it_is(tmp_path: Path) -> None:
    from hwnas.exporting.predict import _pixels

    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for mode in ("L", "RGB"):
        Image.fromarray(ramp).convert(mode).save(tmp_path / "ramp.png")
        assert (_pixels(tmp_path / "ramp.png", 16, gray=True, reading=Reading())[0] == ramp).all()


def test_what_is_no_image_or_no_model_is_named(made: Made, tmp_path: Path) -> None:
    made.export()
    (tmp_path / "a.png").write_bytes(b"no image")
    for image in (tmp_path / "a.png", tmp_path / "missing.png", tmp_path):
        with pytest.raises(DataError) as caught:
            predict(made.path, [image])
        assert str(image) in str(caught.value)
    with pytest.raises(DataError, match=r"missing\.png: No such file or directory$"):
        predict(made.path, [tmp_path / "missing.png"])
    other = tmp_path / f"other{made.path.suffix}"
    whole = made.path.read_bytes()
    for content in (b"", b"no model", whole[:500], whole[:-500], whole[: len(whole) // 2]):
        other.write_bytes(content)
        with pytest.raises(InputError, match="other"):
            predict(other, [])
    with pytest.raises(InputError, match="No such file"):
        predict(tmp_path / f"missing{made.path.suffix}", [])
    with pytest.raises(InputError, match="no model file"):
        predict(made.labels, [])


@pytest.mark.parametrize(
    "changes",
    [
        {"names": None},
        {"names": "['a']"},
        {"names": "3"},
        {"names": '["a", "b"]'},
        {"names": '{"1": "a"}'},
        {"imgsz": "16"},
        {"imgsz": "[]"},
        {"hwnas.mean": None},
        {"hwnas.color": None},
        {"hwnas.fit": "stretch"},
        {"hwnas.values": "[1]"},
    ],
)
def test_a_model_without_our_metadata_is_refused(changes: dict[str, str | None], tmp_path: Path) -> None:
    made = Made("digits", tmp_path)
    made.export()
    model = onnx.load(made.path)
    kept = [entry for entry in model.metadata_props if entry.key not in changes]
    facts = {entry.key: entry.value for entry in kept} | {k: v for k, v in changes.items() if v is not None}
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, facts)
    onnx.save(model, made.path)
    with pytest.raises(InputError, match="metadata"):
        predict(made.path, [])
