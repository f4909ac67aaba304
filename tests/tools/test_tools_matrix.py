"""The matrix of files and runtimes: a cell in this Python, why another cannot be run, and the page."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

import bench_matrix
from matrix_report import HEADS, markdown, row_of

from hwnas.arch import space_instance
from hwnas.backends.model_format import format_of
from hwnas.backends.weights import random_weights

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 3, 8, 8), dtype=np.uint8)


@pytest.mark.parametrize(
    ("function", "runtime", "precision"), [("onnxruntime", "onnxruntime", "fp32"), ("litert", "litert", "int8")]
)
def test_a_cell_has_the_scores_of_its_runtime(function: str, runtime: str, precision: str, tmp_path: Path) -> None:
    space = space_instance("toy", width=1.0, resolution=8, channels=3, classes=3)
    network = space.network(space.drawn(lambda _: 0))
    model_format = format_of(runtime, precision)
    interface = model_format.app_interface((0.5,) * 3, (0.2,) * 3)
    content = model_format.model(network, random_weights(network.graph, 0), interface=interface)
    if model_format.quantize is not None:
        content = model_format.quantize(content, PIXELS)
    model, images, out = (tmp_path / name for name in (f"model{model_format.suffix}", "images.npz", "scores.npz"))
    model.write_bytes(content)
    np.savez(images, images=PIXELS.transpose(0, 2, 3, 1), names=np.array(["a", "b", "c"]))
    words = [sys.executable, bench_matrix.CELL, function, model, images, out]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with np.load(out) as archive:
        np.testing.assert_allclose(archive["scores"], model_format.run(content, PIXELS), atol=1e-6)
        assert str(archive["version"])[0].isdigit()


def test_what_cannot_be_run_says_why() -> None:
    said = bench_matrix._run([sys.executable, "-c", "import a_module_of_nobody"], 60)
    assert said == "ModuleNotFoundError: No module named 'a_module_of_nobody'"
    assert bench_matrix._run([sys.executable, "-c", "raise OSError('/usr/lib/x86/libGL.so.1: missing')"], 60) == (
        "OSError: libGL.so.1: missing"
    )
    assert bench_matrix._run(["/nowhere/python"], 60).startswith("/nowhere/python cannot be started")
    assert bench_matrix._run([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], 60).startswith(
        "its process was ended by signal 9"
    )


def test_the_page_has_a_row_for_every_cell() -> None:
    done: dict[str, Any] = {
        "runtime": "LiteRT",
        "file": "model.tflite",
        "version": "2.3.0",
        "same_as_usual": 200,
        "difference_from_usual": 0.0,
        "same_as_trained": 199,
        "difference_from_trained": 0.125,
    }
    failed = {"runtime": "MediaPipe Tasks", "file": "model.tflite", "why": "it is | missing"}
    run = {"data": "digits", "images": 200, "size": "8 × 8 × 3", "classes": 10, "int8": {"a": None, "b": 0.005}}
    usability = {"model.onnx": {"said": {"NNAPI": "NO"}}, "model.onnx, --providers": {"said": {"NNAPI": "YES"}}}
    page = markdown({"run": run, "usability": usability}, [done, failed])
    assert "| LiteRT | 2.3.0 | model.tflite | 200 | 0.0e+00 | 199 | 1.2e-01 |" in page
    assert "not run: it is \\| missing" in page
    assert "| model.onnx, --providers | YES |" in page
    assert "`b` 0.50" in page
    assert len(row_of(done)) == len(row_of(failed)) == len(HEADS)
