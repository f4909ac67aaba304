"""The stacks that Android's developers use load our .tflite files as they are, and give the same classes and scores.

They come with Pythons of their own: HWNAS_STACKS names those, with colons between them; else this one is tried.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from hwnas.arch import space_instance
from hwnas.backends.model_format import format_of
from hwnas.backends.parity import trained_like
from hwnas.backends.torch import export_weights, network_module
from hwnas.data import Dataset, Images
from hwnas.exporting.model_metadata import file_metadata

CELL = Path(__file__).resolve().parents[2] / "tools/matrix_cell.py"
CLASSES = ("cat", "dög", "猫", "a b")
PACKAGES = {"mediapipe": "mediapipe", "task_library": "tflite_support"}
PYTHONS = os.environ.get("HWNAS_STACKS", sys.executable).split(os.pathsep)


def python_with(stack: str) -> str:
    """Of a Python that has it; the test is skipped where none has."""
    for python in PYTHONS:
        if (
            subprocess.run([python, "-c", f"import {PACKAGES[stack]}"], capture_output=True, check=False).returncode
            == 0
        ):
            return python
    pytest.skip(f"no Python of HWNAS_STACKS has {PACKAGES[stack]}")


def photographs(count: int, size: int) -> np.ndarray:
    """Smooth coloured images (n, 3, H, W)."""
    coarse = torch.from_numpy(np.random.default_rng(0).uniform(0, 255, (count, 3, 4, 4)))
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear").round().numpy().astype(np.uint8)


@pytest.mark.parametrize("stack", PACKAGES)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_stack_gives_the_scores_of_the_runtime(stack: str, precision: str, tmp_path: Path) -> None:
    python = python_with(stack)
    space = space_instance("mobile", width=0.5, resolution=48, channels=3, classes=len(CLASSES))
    network = space.network(space.drawn(lambda count: count // 2))
    torch.manual_seed(0)
    module = network_module(network)
    trained_like(module, network, 0)
    images = photographs(24, 48)
    part = Images(images, np.arange(len(images)) % 4)
    data = Dataset("näme", CLASSES, part, part, part, (0.3, 0.5, 0.6), (0.2, 0.25, 0.3), flip=False)
    model_format = format_of("litert", precision)
    interface = model_format.app_interface(data.mean, data.std)
    metadata = file_metadata(data, network, interface, {})
    content = model_format.model(network, export_weights(module), metadata=metadata, interface=interface)
    if model_format.quantize is not None:
        content = model_format.quantize(content, images)
    (tmp_path / "model.tflite").write_bytes(content)
    np.savez(tmp_path / "images.npz", images=images.transpose(0, 2, 3, 1), names=np.array(CLASSES))
    words = [python, CELL, stack, tmp_path / "model.tflite", tmp_path / "images.npz", tmp_path / "scores.npz"]
    done = subprocess.run(words, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    with np.load(tmp_path / "scores.npz") as archive:
        scores = archive["scores"]
    wanted = model_format.run(content, images)
    assert np.ptp(wanted, axis=0).max() > 0.2
    np.testing.assert_allclose(scores, wanted, atol=2e-3)
    np.testing.assert_array_equal(scores.argmax(1), wanted.argmax(1))
