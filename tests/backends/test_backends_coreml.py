"""Core ML packages: the program that is read back computes, by torch, what the network computes.

Nothing but macOS runs them, so their operators are computed here as Core ML's specification of MIL says.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from networks import trained

from hwnas.arch import space_instance
from hwnas.backends import coreml
from hwnas.backends.interface import Interface
from hwnas.backends.torch import load_weights, network_module
from hwnas.errors import ExportError, InputError

tools: Any = pytest.importorskip("coremltools")

CLASSES = ("a", "dög", "猫", "a b")
MEAN, STD = (0.3, 0.5, 0.6), (0.2, 0.25, 0.3)


def value_of(var: Any, known: Mapping[str, Any]) -> Any:
    if var.name in known:
        return known[var.name]
    return torch.from_numpy(np.array(var.val)) if getattr(var.val, "ndim", 0) else var.val


def padded(x: Any, o: Mapping[str, Any], filling: float = 0.0) -> Any:
    """By `pad`, of above, below, left, right."""
    kind = o["pad_type"]
    assert kind in ("custom", "valid"), kind
    top, bottom, left, right = o["pad"].tolist() if kind == "custom" else (0, 0, 0, 0)
    return F.pad(x, (left, right, top, bottom), value=filling)


def convolved(o: Mapping[str, Any]) -> Any:
    how = {"stride": o["strides"].tolist(), "dilation": o["dilations"].tolist(), "groups": int(o["groups"])}
    return F.conv2d(padded(o["x"], o), o["weight"], o.get("bias"), **how)


def averaged(o: Mapping[str, Any]) -> Any:
    sizes, strides = o["kernel_sizes"].tolist(), o["strides"].tolist()
    total = F.avg_pool2d(padded(o["x"], o), sizes, strides)
    share = F.avg_pool2d(padded(torch.ones_like(o["x"]), o), sizes, strides)
    return total / share if o["exclude_padding_from_average"] else total


def added_around(o: Mapping[str, Any]) -> Any:
    amounts = o["pad"].reshape(-1, 2).flip(0).flatten().tolist()
    return F.pad(o["x"], amounts, value=float(o["constant_val"]))


OPERATORS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "conv": convolved,
    "linear": lambda o: F.linear(o["x"], o["weight"], o["bias"]),
    "add": lambda o: o["x"] + o["y"],
    "mul": lambda o: o["x"] * o["y"],
    "relu": lambda o: F.relu(o["x"]),
    "relu6": lambda o: F.relu6(o["x"]),
    "sigmoid_hard": lambda o: (o["x"] * float(o["alpha"]) + float(o["beta"])).clamp(0, 1),
    "reduce_mean": lambda o: o["x"].mean(o["axes"].tolist(), keepdim=bool(o["keep_dims"])),
    "reshape": lambda o: o["x"].reshape(o["shape"].tolist()),
    "softmax": lambda o: o["x"].softmax(int(o["axis"])),
    "pad": added_around,
    "avg_pool": averaged,
    "max_pool": lambda o: F.max_pool2d(padded(o["x"], o, -np.inf), o["kernel_sizes"].tolist(), o["strides"].tolist()),
    "concat": lambda o: torch.cat(o["values"], int(o["axis"])),
    "cast": lambda o: o["x"].to({"fp32": torch.float32, "fp16": torch.float16}[o["dtype"]]),
}


def computed(path: Path, pixels: torch.Tensor) -> tuple[list[str], np.ndarray]:
    """The classes, and what the program gives for an image."""
    from coremltools.converters.mil.frontend.milproto.load import load

    spec = tools.models.MLModel(str(path), skip_model_load=True).get_spec()
    program = load(spec, spec.specificationVersion, str(path / "Data/com.apple.CoreML/weights"))
    (function,) = program.functions.values()
    known: dict[str, Any] = {"input": pixels}
    for op in function.operations:
        if op.op_type == "const":
            continue
        o = {
            name: [value_of(one, known) for one in var] if isinstance(var, list | tuple) else value_of(var, known)
            for name, var in op.inputs.items()
            if var is not None
        }
        if op.op_type == "classify":
            return list(op.classes.val), o["probabilities"].numpy()
        known[op.outputs[0].name] = OPERATORS[op.op_type](o)
    raise AssertionError("the program has no classes")


def written(folder: Path, files: coreml.Package) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize(
    ("name", "size", "channels", "half"),
    [
        ("mobile", 32, 3, False),
        ("mobile", 32, 1, True),
        ("chain", 16, 3, False),
        ("efficientnet-lite0", 64, 3, False),
    ],
)
def test_the_program_computes_what_the_network_computes(
    name: str, size: int, channels: int, half: bool, tmp_path: Path
) -> None:
    space = space_instance(name, width=0.25 if name == "mobile" else 1.0, resolution=size, channels=channels, classes=4)
    network = space.network(space.drawn(random.Random(1).randrange))
    weights = trained(network)
    mean, std = MEAN[:channels], STD[:channels]
    interface = Interface("float", "probabilities", "nchw", mean, std)
    files = coreml.coreml_package(network, weights, CLASSES, interface=interface, metadata={"a": "b"}, half=half)
    path = written(tmp_path / "model.mlpackage", files)
    module = network_module(network).eval()
    load_weights(module, weights)
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, channels, size, size)).astype(np.float32))
    inputs = (pixels / 255 - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    with torch.inference_mode():
        wanted = module(inputs).softmax(1).numpy()
        for k in range(len(pixels)):
            classes, own = computed(path, pixels[k : k + 1])
            assert classes == list(CLASSES)
            np.testing.assert_allclose(own[0], wanted[k], atol=5e-2 if half else 1e-4)
    assert np.ptp(wanted) > 0.2


def test_a_package_with_other_weights_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    space = space_instance("toy", width=1.0, resolution=8, channels=3, classes=4)
    network = space.network(space.drawn(lambda _: 0))
    make = coreml._module

    def other(*given: Any) -> Any:
        module, constants = make(*given)
        name = next(iter(constants))
        weight, bias = constants[name]
        return module, {**constants, name: (weight * np.float32(1.001), bias)}

    monkeypatch.setattr(coreml, "_module", other)
    interface = Interface("float", "probabilities", "nchw", MEAN, STD)
    with pytest.raises(ExportError, match="lacks 1 of"):
        coreml.coreml_package(network, trained(network), CLASSES, interface=interface, metadata={})


def test_images_of_other_channels_are_refused() -> None:
    space = space_instance("toy", width=1.0, resolution=8, channels=2, classes=4)
    network = space.network(space.drawn(lambda _: 0))
    interface = Interface("float", "probabilities", "nchw", MEAN[:2], STD[:2])
    with pytest.raises(InputError, match="the network reads 2"):
        coreml.coreml_package(network, trained(network), CLASSES, interface=interface, metadata={})
