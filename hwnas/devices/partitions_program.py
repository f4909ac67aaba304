"""The program that tells which accelerators take a model's graph; needs onnx and onnxruntime, or ai-edge-litert.

    python -P partitions_program.py MODEL RUNNER_AID RUNNER_OFFERS MEMORY_BYTES STALL_S

Writes one JSON list of [provider, partitions, operators taken, operators, "yes", "maybe" or "no" where the provider's
own tool says so, else ""]. The file may be hostile, so it is looked at in a process of its own, with limits.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import tempfile
from pathlib import Path
from typing import Any

COREML = {"CoreML MLProgram": "coreml_supported_mlprogram_ops.md", "CoreML": "coreml_supported_neuralnetwork_ops.md"}


def of_onnx(path: Path) -> list[list[Any]]:
    """By ONNX Runtime's own estimate, of the graph as it optimises it for all of them."""
    from onnxruntime.tools.mobile_helpers import usability_checker as checker
    from onnxruntime.tools.onnx_model_utils import ModelProtoWithShapeInfo, optimize_model

    with tempfile.TemporaryDirectory() as folder:
        optimised = Path(folder) / path.name
        optimize_model(path, optimised)
        model = ModelProtoWithShapeInfo(optimised).model_with_shape_info
        found = {"NNAPI": checker.check_nnapi_partitions(model, True)}
        found |= {name: checker.check_coreml_partitions(model, True, table) for name, table in COREML.items()}
    return [
        [name, one.num_partitions, one.num_supported_nodes, one.num_nodes, one.suitability().name.lower()]
        for name, one in found.items()
    ]


def of_tflite(path: Path, offers: str) -> list[list[Any]]:
    """By LiteRT's interpreter, which has XNNPACK take what it can."""
    from ai_edge_litert.interpreter import Interpreter

    loaded = Interpreter(model_path=str(path), num_threads=1)
    loaded.allocate_tensors()
    found = runpy.run_path(offers)["delegated"](loaded)
    return [["XNNPACK", found["partitions"], found["taken"], found["operators"], ""]]


def main() -> None:
    model, aid, offers, memory_bytes, stall_s = sys.argv[1:]
    runpy.run_path(aid)["Guard"]({"stall_s": float(stall_s), "memory_bytes": int(memory_bytes)})
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # native code prints as it likes
    path = Path(model)
    print(json.dumps(of_tflite(path, offers) if path.suffix == ".tflite" else of_onnx(path)), file=answers, flush=True)


if __name__ == "__main__":
    main()
