"""The bound on a file's size against files that are really written, with the longest metadata."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import numpy as np
import pytest

from hwnas.arch import space_instance
from hwnas.backends.model_format import format_of
from hwnas.backends.parity import random_inputs
from hwnas.backends.weights import random_weights
from hwnas.data import Dataset, Images
from hwnas.exporting.model_metadata import file_metadata
from hwnas.exporting.size import size_model

LONGEST = -2.2250738585072014e-308
DISTINCT = (0.3, 0.5, 0.7)


def dataset(classes: tuple[str, ...], channels: int) -> Dataset:
    pixels = np.zeros((1, channels, 4, 4), dtype=np.uint8)
    images = Images(pixels, np.zeros(1, dtype=np.int64))
    floats = (LONGEST,) * channels
    return Dataset("näme" * 30, classes, images, images, images, floats, floats, flip=False)


SPACES = [
    ("toy", 1.0, 8, 1),
    ("mobile", 0.25, 32, 1),
    ("mobile", 0.5, 48, 3),
    ("mobile", 1.0, 64, 3),
    ("darts", 0.25, 9, 3),
    ("macro", 0.25, 9, 3),
]
SLACK_KB = {"onnxruntime": 1, "litert": 6}
SLACK_OF_CELLS_KB = {"onnxruntime": 4, "litert": 32}
FILES = [
    *(
        (*space, runtime, "fp32", kb)
        for space in SPACES
        for runtime, kb in (SLACK_OF_CELLS_KB if space[0] in ("darts", "macro") else SLACK_KB).items()
    ),
    *((*space, runtime, "int8", 12) for space in SPACES[:2] for runtime in ("onnxruntime", "litert")),
]


@pytest.mark.sample("name", "runtime", "precision")
@pytest.mark.parametrize("classes", [("a", "b"), tuple(f"Klasse «{index}» 猫" for index in range(100))])
@pytest.mark.parametrize(("name", "width", "resolution", "channels", "runtime", "precision", "slack_kb"), FILES)
def test_no_file_is_above_the_bound_and_all_are_close(
    name: str,
    width: float,
    resolution: int,
    channels: int,
    runtime: str,
    precision: str,
    slack_kb: int,
    classes: tuple[str, ...],
) -> None:
    model_format = format_of(runtime, precision)
    space = space_instance(name, width=width, resolution=resolution, channels=channels, classes=len(classes))
    data = dataset(classes, channels)
    condition = "device-of-someone/a-cpu/onnxruntime-1.32.0-t1-fp32"
    model = size_model(space, classes, [data.name, "device-of-someone", condition], runtime, precision)
    rng = random.Random(0)
    skips = space.drawn(lambda count: count - 1).choices
    drawn = [space.drawn(rng.randrange).choices for _ in range(12 if precision == "fp32" else 2)]
    for choices in [skips, space.drawn(lambda _: 0).choices, *drawn]:
        network = space.network(space.architecture(choices))
        facts = {
            "architecture": json.dumps(network.to_json()),
            "device": "device-of-someone",
            "condition": condition,
            "budget_ms": f"{1.2345678e-5:.6g}",
            "predicted_ms": f"{-1.2345678e-5:.6g}",
        }
        weights = random_weights(network.graph, 0)
        interface = model_format.app_interface(data.mean, data.std)
        metadata = file_metadata(data, network, interface, facts)
        own = replace(interface, mean=DISTINCT[:channels], std=DISTINCT[:channels])
        content = model_format.model(network, weights, metadata=metadata, interface=own)
        if model_format.quantize is not None:
            content = model_format.quantize(content, np.abs(100 * random_inputs(network, 2, 0)))
        real = len(content)
        assert real <= model.predict_bytes(choices) < real + slack_kb * 1024
    assert model.smallest_bytes <= model.predict_bytes(skips)
