"""Weights by name, as numpy arrays: what every backend reads and none owns."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hwnas.arch.primitives import NORM_EPSILON, Conv, Graph, Node

Weights: TypeAlias = Mapping[str, NDArray[np.float32]]


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


def folded(node: Node, weights: Weights) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Weight and bias of a convolution or linear layer with its batch norm folded in."""
    weight = weights[f"{node.name}.weight"]
    if isinstance(node.primitive, Conv) and node.primitive.norm:
        gamma, beta, mean, variance = (
            weights[f"{node.name}.norm.{name}"].astype(np.float64)
            for name in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gamma / np.sqrt(variance + NORM_EPSILON)
        folded_weight = weight.astype(np.float64) * scale[:, None, None, None]
        return folded_weight.astype(np.float32), (beta - mean * scale).astype(np.float32)
    return weight, weights.get(f"{node.name}.bias")
