"""Scores that one runtime gives, as a program for a Python that has it.

    python matrix_cell.py RUNTIME MODEL IMAGES.npz SCORES.npz

IMAGES.npz holds `images`, pixels (N, H, W, C) from 0 to 255 of the model's size, and `names` of the classes. SCORES.npz
gets `scores`, (N, classes) in the order of the names, and `version`, of the runtime. It needs numpy and the runtime;
only `ort_web_node` and `ort_web_chromium` are for the Python that has hwnas.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np


def onnxruntime(model: str, images: Any, names: list[str]) -> tuple[list[Any], str]:
    """ONNX Runtime on one thread."""
    import onnxruntime as runtime

    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    read = _read(images, given.type, given.shape)
    return [session.run(None, {given.name: one})[0][0] for one in read], runtime.__version__


def ort_web_node(model: str, images: Any, names: list[str]) -> tuple[list[Any], str]:
    """onnxruntime-web within Node, as hwnas runs it."""
    from hwnas.backends import npm
    from hwnas.backends.ort_web import OrtWeb

    npm.install()
    web = OrtWeb(str(npm.folder()))
    try:
        number, inputs = web.open(model)
        ((name, (dtype, shape)),) = inputs.items()
        scores = [web.run(number, {name: one})[0][0] for one in _read(images, dtype, shape)]
    finally:
        web.close()
    return scores, f"{npm.VERSION}, Node {npm.packages()['node']}"


_PAGE = """(async () => {
  const ort = await import(location.origin + "/node_modules/onnxruntime-web/dist/ort.wasm.bundle.min.mjs");
  ort.env.wasm.numThreads = 1;
  const session = await ort.InferenceSession.create("/model.onnx", { executionProviders: ["wasm"] });
  const bytes = await (await fetch("/images.bin")).arrayBuffer();
  const values = new (FORM.dtype === "uint8" ? Uint8Array : Float32Array)(bytes);
  const size = FORM.shape.reduce((one, other) => one * other, 1);
  const scores = [];
  for (let at = 0; at < values.length; at += size) {
    const input = new ort.Tensor(FORM.dtype, values.slice(at, at + size), FORM.shape);
    const results = await session.run({ [session.inputNames[0]]: input });
    scores.push(Array.from(results[session.outputNames[0]].data));
  }
  return scores;
})()"""


def ort_web_chromium(model: str, images: Any, names: list[str]) -> tuple[list[Any], str]:
    """onnxruntime-web in a page of a headless Chromium."""
    import onnxruntime as runtime
    from chromium import Chromium, program, serving

    from hwnas.backends import npm

    path = program()
    if path is None:
        raise RuntimeError("there is no Chromium on the PATH")
    npm.install()
    (given,) = runtime.InferenceSession(model, providers=["CPUExecutionProvider"]).get_inputs()
    read = _read(images, given.type, given.shape)
    form = {"dtype": read.dtype.name, "shape": read.shape[1:]}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "index.html").write_text("<!doctype html><title>matrix</title>")
        (folder / "model.onnx").write_bytes(Path(model).read_bytes())
        (folder / "images.bin").write_bytes(read.tobytes())
        (folder / "node_modules").symlink_to(npm.folder() / "node_modules")
        with serving(folder) as address, Chromium(path) as browser:
            browser.open(f"{address}/index.html")
            scores = browser.evaluate(_PAGE.replace("FORM", json.dumps(form)))
            version = browser.call("Browser.getVersion")["product"].replace("/", " ")
    return scores, f"{npm.VERSION}, {version}"


def ultralytics(model: str, images: Any, names: list[str]) -> tuple[list[Any], str]:
    """Ultralytics' loader of models, which reads the metadata of the file as well."""
    import onnxruntime as runtime
    import torch
    from ultralytics.nn.autobackend import AutoBackend

    (given,) = runtime.InferenceSession(model, providers=["CPUExecutionProvider"]).get_inputs()
    loaded = AutoBackend(model, device=torch.device("cpu"))
    loaded.eval()
    if list(loaded.names.values()) != names:
        raise RuntimeError(f"it reads other class names: {loaded.names}")
    read = _read(images, given.type, given.shape)
    with torch.inference_mode():
        scores = [np.asarray(loaded(torch.from_numpy(one)))[0] for one in read]
    return scores, importlib.metadata.version("ultralytics")


def litert(model: str, images: Any, names: list[str]) -> tuple[list[Any], str]:
    """LiteRT."""
    from ai_edge_litert.interpreter import Interpreter

    return _interpreted(Interpreter, model, images), importlib.metadata.version("ai-edge-litert")


def tflite_runtime(model: str, images: Any, names: list[str]) -> tuple[list[Any], str]:
    """LiteRT's predecessor."""
    from tflite_runtime.interpreter import Interpreter

    return _interpreted(Interpreter, model, images), importlib.metadata.version("tflite-runtime")


def _interpreted(interpreter: Any, model: str, images: Any) -> list[Any]:
    loaded = interpreter(model_path=model, num_threads=1)
    loaded.allocate_tensors()
    (given,), (made,) = loaded.get_input_details(), loaded.get_output_details()
    scores = []
    for one in _read(images, np.dtype(given["dtype"]).name, given["shape"]):
        loaded.set_tensor(given["index"], one)
        loaded.invoke()
        scores.append(loaded.get_tensor(made["index"])[0].copy())
    return scores


def mediapipe(model: str, images: Any, names: list[str]) -> tuple[list[Any], str]:
    """MediaPipe Tasks."""
    import mediapipe as mp
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.ImageClassifierOptions(base_options=BaseOptions(model_asset_path=model))
    with vision.ImageClassifier.create_from_options(options) as classifier:
        scores = [
            _by_name(classifier.classify(mp.Image(image_format=mp.ImageFormat.SRGB, data=one)), names) for one in images
        ]
    return scores, importlib.metadata.version("mediapipe")


def task_library(model: str, images: Any, names: list[str]) -> tuple[list[Any], str]:
    """TensorFlow Lite's Task Library."""
    from tflite_support.task import vision

    classifier = vision.ImageClassifier.create_from_file(model)
    scores = [_by_name(classifier.classify(vision.TensorImage.create_from_array(one)), names) for one in images]
    return scores, importlib.metadata.version("tflite-support")


def _by_name(found: Any, names: list[str]) -> list[float]:
    scores = {one.category_name: one.score for one in found.classifications[0].categories}
    return [scores[name] for name in names]


def _read(images: Any, dtype: str, shape: Any) -> Any:
    """The pixels in the type and the order of axes of a model, each with a batch of one."""
    turned = images if tuple(shape)[1:] == images.shape[1:] else images.transpose(0, 3, 1, 2)
    if tuple(shape)[1:] != turned.shape[1:]:
        raise RuntimeError(f"the model reads {tuple(shape)}, but the images are {images.shape}")
    return np.ascontiguousarray(turned, np.uint8 if "uint8" in dtype else np.float32)[:, None]


RUNTIMES = {
    one.__name__: one
    for one in (
        onnxruntime,
        ort_web_node,
        ort_web_chromium,
        ultralytics,
        litert,
        tflite_runtime,
        mediapipe,
        task_library,
    )
}


def main() -> None:
    runtime, model, images, out = sys.argv[1:]
    with np.load(images) as archive:
        pixels, names = np.ascontiguousarray(archive["images"]), archive["names"].tolist()
    scores, version = RUNTIMES[runtime](model, pixels, names)
    np.savez(out, scores=np.asarray(scores, np.float32), version=np.array(version))


if __name__ == "__main__":
    main()
