"""Weights by name, as numpy arrays: what every backend reads and none owns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hwnas.arch.primitives import NORM_EPSILON, Conv, Graph, Linear, ScaleShift
from hwnas.errors import ExportError

Weights: TypeAlias = Mapping[str, NDArray[np.float32]]
Affine: TypeAlias = tuple[NDArray[np.float32], NDArray[np.float32] | None]
_Exact: TypeAlias = NDArray[np.float64]


def random_weights(graph: Graph, seed: int) -> dict[str, NDArray[np.float32]]:
    """Weights of a plausible trained network, for timing and for comparing backends.

    Convolutions are drawn as He et al. (2015) propose; every norm gets a random scale, shift and statistics.
    Activations stay of order one, so that no denormal number slows a measurement and no comparison passes because all
    is zero.
    """
    rng = np.random.default_rng(seed)
    weights: dict[str, NDArray[np.float32]] = {}
    for name, shape in (graph.parameters() | graph.statistics()).items():
        if name.endswith(("norm.weight", "norm.running_var")):
            values = rng.uniform(0.7, 1.4, shape)
        elif len(shape) == 1:
            values = rng.normal(0.0, 0.1, shape)
        else:
            values = rng.normal(0.0, np.sqrt(2.0 / prod(shape[1:])), shape)
        weights[name] = values.astype(np.float32)
    return weights


def no_weights(graph: Graph) -> dict[str, NDArray[np.float32]]:
    """Zeros, for files of which nothing but the form counts."""
    return {name: np.zeros(shape, np.float32) for name, shape in (graph.parameters() | graph.statistics()).items()}


def fold(graph: Graph, weights: Weights) -> tuple[Graph, dict[str, Affine]]:
    """The graph without batch norms, which is what files hold, and the constants of its nodes.

    The norm of a convolution goes into its weights, and so does a `ScaleShift` that alone reads one. Any other becomes
    a depthwise 1 x 1 convolution: its fastest form in ONNX Runtime and in LiteRT (docs/decisions/0015).

    Returns:
        the graph, and weight and bias of each convolution and linear layer by the name of its node.

    Raises:
        ExportError: a weight is missing or has another shape.
    """
    _check(graph, weights)
    nodes, readers, same = list(graph.nodes), graph.readers(), dict[int, int]()
    constants: dict[str, tuple[_Exact, _Exact | None]] = {}
    for i, node in enumerate(graph.nodes):
        name, (read, *_) = node.name, node.inputs
        match node.primitive:
            case Conv(norm=True):
                constants[name] = _scaled(weights[f"{name}.weight"].astype(np.float64), None, *_norm(name, weights))
            case Conv() | Linear():
                weight, bias = weights[f"{name}.weight"], weights.get(f"{name}.bias")
                constants[name] = weight.astype(np.float64), None if bias is None else bias.astype(np.float64)
            case ScaleShift():
                source = same.get(read, read)
                producer = nodes[source - len(graph.inputs)] if source >= len(graph.inputs) else None
                if producer and isinstance(producer.primitive, Conv) and readers[read] == 1:
                    constants[producer.name] = _scaled(*constants[producer.name], *_norm(name, weights))
                    same[len(graph.inputs) + i] = source
                else:
                    channels = node.shape[0]
                    nodes[i] = replace(node, primitive=Conv(channels, groups=channels, bias=True))
                    constants[name] = _scaled(np.ones((channels, 1, 1, 1)), None, *_norm(name, weights))
    single = {
        name: (weight.astype(np.float32), None if bias is None else bias.astype(np.float32))
        for name, (weight, bias) in constants.items()
    }
    return replace(graph, nodes=tuple(nodes)).pruned(same), single


def _norm(name: str, weights: Weights) -> tuple[_Exact, _Exact]:
    """What a batch norm multiplies by and then adds."""
    gamma, beta, mean, variance = (
        weights[f"{name}.norm.{part}"].astype(np.float64) for part in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gamma / np.sqrt(variance + NORM_EPSILON)
    return scale, beta - mean * scale


def _scaled(weight: _Exact, bias: _Exact | None, scale: _Exact, shift: _Exact) -> tuple[_Exact, _Exact]:
    """Weight (cout, cin, k, k) and bias of a convolution whose result is scaled and shifted."""
    return weight * scale[:, None, None, None], shift if bias is None else bias * scale + shift


def _check(graph: Graph, weights: Weights) -> None:
    for name, shape in (graph.parameters() | graph.statistics()).items():
        if name not in weights:
            raise ExportError(f"the weights lack {name}")
        if weights[name].shape != shape:
            raise ExportError(f"{name} must have shape {shape}, not {weights[name].shape}")
