"""What tests of packages have in common."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from typer.testing import CliRunner

from hwnas.cli import app
from hwnas.exporting.manifest import NAME

MODELS = ["model.onnx", "model-int8.onnx", "model.tflite", "model-int8.tflite"]


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


def onnx_scores(path: Path, pixels: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    kind = np.uint8 if session.get_inputs()[0].type == "tensor(uint8)" else np.float32
    return np.concatenate([session.run(None, {"input": one[None].astype(kind)})[0] for one in pixels])
