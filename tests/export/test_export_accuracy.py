"""What a model file makes of all images, with few of them in memory, and what it is calibrated on."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from hwnas.arch import Network, space_instance
from hwnas.backends.interface import BARE
from hwnas.backends.model_format import ModelFormat, format_of
from hwnas.backends.quantize import Setting, Tell, ignore
from hwnas.backends.torch import export_weights, network_module
from hwnas.backends.weights import random_weights
from hwnas.data import Dataset, Images
from hwnas.errors import ExportError
from hwnas.exporting import int8
from hwnas.exporting.file_images import as_read, calibration_inputs, file_metrics, real_images
from hwnas.exporting.int8 import Allowed, Quantising
from hwnas.exporting.model_file import Exported, export_model

SPACE = space_instance("toy", width=1.0, resolution=8, channels=1, classes=4)
NETWORK: Network = SPACE.network(SPACE.architecture((1, 0, 1, 2)))


def sorted_by_class(*counts: int) -> Images:
    labels = np.repeat(np.arange(len(counts)), counts)
    pixels = np.random.default_rng(0).integers(0, 256, (len(labels), 1, 8, 8), dtype=np.uint8)
    return Images(pixels, labels)


def dataset(images: Images) -> Dataset:
    return Dataset("noise", tuple("abcd"), images, images, images, (0.5,), (0.3,), flip=False)


@pytest.mark.parametrize("runtime", ["onnxruntime", "litert"])
def test_every_image_counts(runtime: str) -> None:
    """As many as 10,000 and more, of which the last ones are of a class of their own."""
    data, model_format = dataset(sorted_by_class(4000, 4000, 2100, 77)), format_of(runtime)
    weights = random_weights(NETWORK.graph, 0)
    found = file_metrics(model_format, model_format.model(NETWORK, weights), data, data.test)
    module = network_module(NETWORK).eval()
    from hwnas.backends.torch import load_weights
    from hwnas.data import to_input

    load_weights(module, weights)
    with torch.inference_mode():
        taken = module(to_input(torch.from_numpy(data.test.pixels), data.mean, data.std)).argmax(1).numpy()
    assert found.counts.tolist() == [4000, 4000, 2100, 77]
    assert found.accuracy == pytest.approx((taken == data.test.labels).mean(), abs=1e-3)
    assert np.abs(found.confusion.sum(axis=0) - np.bincount(taken, minlength=4)).max() <= 5  # rounding of ties


def test_few_images_are_in_memory_at_a_time() -> None:
    seen: list[int] = []

    @contextlib.contextmanager
    def opened(model: bytes) -> Iterator[object]:
        def compute(inputs: np.ndarray) -> np.ndarray:
            seen.append(len(inputs))
            return np.eye(4, dtype=np.float32)[np.zeros(len(inputs), int)]

        yield compute

    spied: ModelFormat = dataclasses.replace(format_of("onnxruntime"), opened=opened, metadata=lambda _: {})
    data = dataset(sorted_by_class(100, 100, 0, 0))
    assert file_metrics(spied, b"", data, data.test).accuracy == 0.5
    assert sum(seen) == 200
    assert max(seen) <= 32


def test_calibration_sees_every_class() -> None:
    images = sorted_by_class(3000, 300, 200, 5)
    inputs = calibration_inputs(dataset(images))
    assert len(inputs) == 256
    pixels = np.round((inputs * 0.3 + 0.5) * 255).astype(np.uint8)
    place = {one.tobytes(): label for one, label in zip(images.pixels, images.labels, strict=True)}
    labels = [place[one.tobytes()] for one in np.ascontiguousarray(pixels)]
    assert {*labels[:40]} >= {0, 1, 2} <= {*labels[-40:]}, "a moving average knows little but the last ones"
    counts = np.bincount(labels, minlength=4)
    assert counts[3] == 5
    assert counts[:3].tolist() in ([84, 84, 83], [84, 83, 84], [83, 84, 84])
    assert (inputs == calibration_inputs(dataset(images))).all()


class Fixed:
    """One way to quantise, which gives one file."""

    settings = (Setting(True, "min-max"),)
    layers = ()

    def quantised(self, setting: Setting, floats: Collection[str] = (), tell: Tell = ignore) -> bytes:
        return b"int8"


@pytest.mark.parametrize("metric", ["accuracy", "balanced"])
def test_the_drop_is_one_of_the_metric(metric: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quantised file that loses a class of one image in ten loses half of the balanced accuracy."""
    torch.manual_seed(0)
    module = network_module(NETWORK).eval()
    data = dataset(sorted_by_class(90, 10, 0, 0))
    plain = format_of("onnxruntime")
    monkeypatch.setattr(int8, "tuned_weights", lambda network, weights, *_, **__: weights)

    @contextlib.contextmanager
    def opened(model: bytes) -> Iterator[object]:
        labels = iter(data.val.labels)

        def compute(inputs: np.ndarray) -> np.ndarray:
            truth = [next(labels) for _ in inputs]
            return np.eye(4, dtype=np.float32)[np.zeros(len(truth), int) if model == b"int8" else truth]

        yield compute

    def run(model: bytes, inputs: np.ndarray) -> np.ndarray:
        return np.zeros((len(inputs), 4), np.float32) if model == b"int8" else plain.run(model, inputs)

    spied: ModelFormat = dataclasses.replace(
        plain, opened=opened, run=run, calibrate=lambda *_: Fixed(), check=lambda _: None, metadata=lambda _: {}
    )

    def export(max_drop: float) -> Exported:
        return export_model(
            tmp_path / "model.onnx",
            spied,
            NETWORK,
            export_weights(module),
            Quantising(data, Allowed(max_drop, metric)),  # type: ignore[arg-type]
            {},
            labels=tmp_path / "labels.txt",
        )

    exported = export(100.0)
    assert exported.int8 is not None
    assert exported.int8.drop == pytest.approx({"accuracy": 0.1, "balanced": 0.5}[metric])
    real = as_read(real_images(data), data, BARE)
    with torch.inference_mode():
        largest = module(torch.from_numpy(real)).abs().max().item()
    assert exported.parity.max_difference == pytest.approx(largest), "that of the int8 file, which says 0"
    with pytest.raises(ExportError, match={"accuracy": "points of accuracy", "balanced": "balanced accuracy"}[metric]):
        export(5.0)


def test_the_same_network_gives_the_same_file(tmp_path: Path) -> None:
    module, data, model_format = (
        network_module(NETWORK).eval(),
        dataset(sorted_by_class(9, 9, 9, 9)),
        format_of("litert"),
    )
    files = [tmp_path / name / "model.tflite" for name in ("one", "two")]
    for file in files:
        labels, weights = file.with_name("labels.txt"), export_weights(module)
        export_model(file, model_format, NETWORK, weights, Quantising(data), {}, labels=labels)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert "date" not in model_format.metadata(files[0].read_bytes())
    assert len(real_images(data)) == 36
