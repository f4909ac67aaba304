"""Networks with trained-like weights for the tests of the backends."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from op_specs import EVERY_KIND

from hwnas.arch import Network, OpSpec, SlotSpace, space_instance
from hwnas.arch.primitives import Conv, Graph
from hwnas.backends.litert import litert_model
from hwnas.backends.litert_runtime import run_litert
from hwnas.backends.onnx import onnx_model
from hwnas.backends.onnx_runtime import Run, run_onnx
from hwnas.backends.parity import Parity, compare, random_inputs, trained_like
from hwnas.backends.torch import export_weights, network_module
from hwnas.backends.weights import Weights

ACTS = ("none", "relu", "relu6", "hswish", "hsigmoid")

CONVS = [
    OpSpec("conv", 6, 8, size, size + 1, kernel=kernel, stride=stride, groups=groups, dilation=dilation, act=act)
    for size in (7, 8)
    for stride in (1, 2)
    for kernel, groups, dilation, act in [
        (1, 1, 1, "none"),
        (3, 2, 1, "relu"),
        (5, 1, 1, "relu6"),
        (3, 1, 2, "hswish"),
        (7, 2, 3, "hsigmoid"),
    ]
]
MBCONVS = [
    OpSpec("mbconv", 8, cout, size, size, kernel, stride, expand, se=se, act=act)
    for size in (7, 8)
    for stride in (1, 2)
    for cout, kernel, expand, se, act in [
        (8, 3, 1, 0, "relu6"),
        (8, 5, 3, 4, "hswish"),
        (16, 3, 6, 2, "relu"),
        (8, 7, 2, 0, "none"),
    ]
]
SMALLEST = [
    OpSpec("classifier", 12, 10, 1, 1),
    *(OpSpec(kind, 6, 6, 1, 2, kernel=3) for kind in ("avgpool", "maxpool", "sepconv")),
    OpSpec("reduce", 6, 6, 1, 2),
]
SPECS = list(dict.fromkeys([*CONVS, *MBCONVS, *SMALLEST, *EVERY_KIND]))

RUNTIMES: dict[str, tuple[Callable[[Network, Weights], bytes], Run]] = {
    "onnxruntime": (onnx_model, run_onnx),
    "litert": (litert_model, run_litert),
}


def parity(network: Network, runtime: str, seed: int = 0) -> Parity:
    """Torch against a written model with trained-like weights, on four inputs."""
    write, run = RUNTIMES[runtime]
    weights = trained(network, seed)
    return compare(network, weights, write(network, weights), random_inputs(network, 4, seed), run)


def chain(*specs: OpSpec) -> Network:
    """The ops one after the other."""
    return Network(tuple((f"op{index}", spec) for index, spec in enumerate(specs)))


def cells(size: int = 15) -> Network:
    """One of each op of DARTS and NAS-Bench-201 in a chain, with the heads and the reduction of both."""
    half, quarter = (size + 1) // 2, (size + 3) // 4
    return chain(
        OpSpec("conv", 3, 8, size, size, kernel=3),
        OpSpec("sepconv", 8, 8, size, size, kernel=3),
        OpSpec("maxpool", 8, 8, size, size, kernel=3),
        OpSpec("reduce", 8, 16, size, size),
        OpSpec("dilconv", 16, 16, half, half, kernel=5, dilation=2),
        OpSpec("avgpool", 16, 16, half, half, kernel=3),
        OpSpec("reluconv", 16, 16, half, half, kernel=3),
        OpSpec("skip", 16, 16, half, half),
        OpSpec("resblock", 16, 24, half, half, stride=2),
        OpSpec("maxpool", 24, 24, quarter, quarter, kernel=3, stride=2),
        OpSpec("normclassifier", 24, 10, (quarter + 1) // 2, (quarter + 1) // 2),
    )


def space(width: float = 0.5, resolution: int = 32, name: str = "mobile") -> SlotSpace:
    return space_instance(name, width=width, resolution=resolution, channels=3, classes=10)


def random_network(instance: SlotSpace, seed: int) -> Network:
    return instance.network(instance.drawn(random.Random(seed).randrange))


def trained(network: Network, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Weights as `trained_like` makes them."""
    torch.manual_seed(seed)
    module = network_module(network)
    trained_like(module, network, seed)
    return export_weights(module)


def folded(graph: Graph) -> Graph:
    """The graph as files hold it: a batch norm behind a convolution is its bias."""
    nodes = (
        replace(node, primitive=replace(node.primitive, norm=False, bias=True))
        if isinstance(node.primitive, Conv) and node.primitive.norm
        else node
        for node in graph.nodes
    )
    return replace(graph, nodes=tuple(nodes))


def norms(weights: Weights) -> list[str]:
    """Prefixes of the norms."""
    return [name.removesuffix(".running_var") for name in weights if name.endswith(".running_var")]
