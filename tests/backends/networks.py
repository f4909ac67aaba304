"""Networks with trained-like weights for the tests of the backends."""

from __future__ import annotations

import random

import numpy as np
from numpy.typing import NDArray

from hwnas.arch import Network, OpSpec, SearchSpace, space_instance
from hwnas.backends.parity import trained_like
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
OTHERS = [OpSpec("skip", 4, 4, 5, 6), OpSpec("classifier", 12, 10, 3, 4), OpSpec("classifier", 12, 10, 1, 1)]
SPECS = CONVS + MBCONVS + OTHERS


def space(width: float = 0.5, resolution: int = 32, name: str = "mobile") -> SearchSpace:
    return space_instance(name, width=width, resolution=resolution, channels=3, classes=10)


def random_network(instance: SearchSpace, seed: int) -> Network:
    rng = random.Random(seed)
    choices = [rng.randrange(len(decision.options)) for decision in instance.decisions]
    return instance.network(instance.architecture(choices))


def trained(network: Network, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Weights as `trained_like` makes them."""
    module = network_module(network)
    trained_like(module, network, seed)
    return export_weights(module)


def norms(weights: Weights) -> list[str]:
    """Prefixes of the norms."""
    return [name.removesuffix(".running_var") for name in weights if name.endswith(".running_var")]
