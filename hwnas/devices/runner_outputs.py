"""Work of runner.py that tells what a model makes of images; needs what that needs.

The job has one model and {"images": path}, an .npy file of pixels in the layout of the model's one input, (n, ...).
They are given to it one by one, in its type. Instead of rounds it writes {"event": "outputs", "first", "values"} for
some images at a time: the number of the first one, and for each what the model's first output holds, as float32 in
base64.
"""

from __future__ import annotations

import base64
import time
from typing import Any, Callable  # noqa: UP035 as Python 3.8 has it

AT_ONCE, LONGEST_S = 16, 1.0
ONNX_TYPES = {"tensor(float)": "float32", "tensor(uint8)": "uint8"}
Compute = Callable[[Any], Any]


def opened(runtime: Any, path: str) -> Compute:
    """What computes the first output for one image with its batch axis, by the same runtime that times models."""
    if hasattr(runtime, "module"):  # ONNX Runtime
        session = runtime.session(path)
        (given,) = session.get_inputs()
        return lambda x: session.run(None, {given.name: x.astype(ONNX_TYPES[given.type])})[0]
    if hasattr(runtime, "interpreter"):  # LiteRT
        model = runtime.interpreter(model_path=path, num_threads=runtime.threads)
        model.allocate_tensors()
        (source,), made = model.get_input_details(), model.get_output_details()[0]

        def compute(x: Any) -> Any:
            model.set_tensor(source["index"], x.astype(source["dtype"]))
            model.invoke()
            return model.get_tensor(made["index"])

        return compute
    number, known = runtime.open(path)  # onnxruntime-web
    ((name, (dtype, _)),) = known.items()
    return lambda x: runtime.run(number, {name: x.astype(dtype)})[0]


def work(runner: Any, job: dict[str, Any]) -> None:
    """Load the model, and emit its outputs; `runner` is the module runner.py."""
    runtime = runner.AID["runtime_of"](runner.RUNTIMES, job)
    import numpy as np

    images = np.load(job["images"], allow_pickle=False)
    ((name, path),) = job["models"]

    def attempt(step: Callable[[], Any]) -> Any:
        try:
            return step()
        except getattr(runtime, "ended", ()) as error:
            return runner.fail(f"{error} while it ran model {name!r}", "try another version of the runtime")
        except (*runtime.errors, KeyError, TypeError) as error:
            text = str(error).strip() or type(error).__name__
            return runner.fail(f"model {name!r}: {text}", getattr(error, "hint", "check that model file"), model=name)

    runner.emit(event="loading", name=name)
    compute = attempt(lambda: opened(runtime, path))
    runner.emit(event="loaded", n=1)
    runner.emit(event="running", names=[name])

    def row(image: Any) -> Any:
        return np.asarray(compute(image[None]), np.float32).reshape(-1)

    rows: list[Any] = []
    first, told = 0, time.monotonic()
    for number, image in enumerate(images, 1):
        rows.append(attempt(lambda: row(image)))  # noqa: B023 as it is called at once
        if len(rows) == AT_ONCE or number == len(images) or time.monotonic() - told > LONGEST_S:
            values = attempt(lambda: np.stack(rows))  # noqa: B023
            runner.emit(event="outputs", first=first, values=base64.b64encode(values.tobytes()).decode())
            rows, first, told = [], number, time.monotonic()
