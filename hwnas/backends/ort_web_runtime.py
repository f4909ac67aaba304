"""onnxruntime-web: the outputs of a model, computed in a Node process on this machine."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwnas.backends import npm
from hwnas.backends.onnx_runtime import Compute
from hwnas.backends.ort_web import OrtWeb
from hwnas.errors import ExportError


def run_ort_web(model: bytes, inputs: NDArray[Any]) -> NDArray[np.float32]:
    """First output of an ONNX model with a batch of one for each of `inputs` (n, C, H, W), by onnxruntime-web.

    Raises:
        ExportError: onnxruntime-web refuses the model.
        DeviceError, StorageError: as `npm.install`.
    """
    with open_ort_web(model) as compute:
        return compute(inputs)


@contextlib.contextmanager
def open_ort_web(model: bytes) -> Iterator[Compute]:
    """`run_ort_web` of one process.

    Raises:
        as `run_ort_web`; what is yielded raises ExportError as well.
    """
    npm.install()
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "model.onnx"
        path.write_bytes(model)
        runtime = OrtWeb(str(npm.folder()))

        @contextlib.contextmanager
        def refused() -> Iterator[None]:
            try:
                yield
            except runtime.errors as error:
                raise ExportError(f"onnxruntime-web refuses the model: {error}") from error

        def compute(inputs: NDArray[Any]) -> NDArray[np.float32]:
            with refused():
                parts = [np.split(x[None], len(known), axis=1) for x in inputs]
                feeds = [
                    {name: np.ascontiguousarray(one, known[name][0]) for name, one in zip(known, maps, strict=True)}
                    for maps in parts
                ]
                return np.concatenate([runtime.run(number, one)[0] for one in feeds])

        try:
            with refused():
                number, known = runtime.open(str(path))
            yield compute
        finally:
            runtime.close()
