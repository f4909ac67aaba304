"""Weights of single blocks, and what blocks compute with them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from scipy.integrate import quad
from scipy.stats import norm
from torch import Tensor, nn

from hwnas.arch import OpSpec
from hwnas.backends.torch import GraphModule


def tensors_of(spec: OpSpec, seed: int = 0) -> dict[str, Tensor]:
    """Weights whose norms say truly how their convolutions' outputs are spread, for Gaussian inputs."""
    torch.manual_seed(seed)
    module = GraphModule(spec.graph)
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    for part in norms:
        nn.init.uniform_(part.weight, 0.2, 3.0)
        nn.init.normal_(part.bias, 0.5)
        part.momentum = 1.0
    with torch.no_grad():
        module.train()(torch.randn(64, *spec.input_shape))
    return {name: value.clone() for name, value in module.state_dict().items()}


def output(spec: OpSpec, tensors: Mapping[str, Tensor], x: Tensor) -> Tensor:
    module = GraphModule(spec.graph).eval()
    with torch.no_grad():
        for name, value in module.state_dict().items():
            value.copy_(tensors[name])
        return module(x)  # type: ignore[no-any-return]


def through_relu6(mean: float, deviation: float, power: int) -> float:
    """Moment of a Gaussian behind ReLU6, by numerical integration."""
    inside = quad(lambda z: z**power * norm.pdf(z, mean, deviation), 0, 6)[0]
    return float(inside + 6**power * norm.sf(6, mean, deviation))
