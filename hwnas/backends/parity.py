"""Does a written model compute what the torch module computes? And weights for which that question means something."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hwnas.arch.network import Network
from hwnas.arch.primitives import Activation, Add, Conv, GlobalPool, Graph, Linear, Node, Primitive, ScaleShift
from hwnas.backends.onnx_runtime import Run, run_onnx
from hwnas.backends.torch import ConvNorm, Norm, load_weights, network_module
from hwnas.backends.weights import Weights
from hwnas.errors import ExportError

TOLERANCE = 1e-4
SMALLEST_DEVIATION = 1.0
_BATCH = 16
_LOGIT_DEVIATION = 3.0
_GATE = 6.0  # a hard sigmoid is flat beyond 3
_BENT = {Activation("hsigmoid"), Activation("hswish"), Activation("relu6")}


@dataclass(frozen=True, slots=True)
class Parity:
    """How far the model file is from the torch module.

    Attributes:
        max_difference: largest absolute difference of two outputs.
        limit: what it may be: 1e-4 · max(1, largest absolute output).
        deviation: standard deviation of torch's outputs over inputs and classes; a network whose logits hardly move
            agrees with anything.
    """

    max_difference: float
    limit: float
    deviation: float

    @property
    def agrees(self) -> bool:
        """The outputs are equal within the limit."""
        return math.isfinite(self.limit) and self.max_difference <= self.limit

    @property
    def ok(self) -> bool:
        """The outputs agree, and they move enough for that to mean something."""
        return self.agrees and self.deviation >= SMALLEST_DEVIATION


def compare(
    network: Network, weights: Weights, model: bytes, inputs: NDArray[np.float32], run: Run = run_onnx
) -> Parity:
    """Run `inputs` (n, C, H, W) through torch and, one by one, through `model`.

    Args:
        run: what runs the model: for ONNX files `run_onnx`, for LiteRT files `run_litert`.

    Raises:
        ExportError: the weights do not fit the network, the runtime refuses the model, or the outputs differ in shape.
    """
    module = network_module(network).eval()
    load_weights(module, weights)
    with torch.inference_mode():
        expected = np.concatenate([module(torch.from_numpy(x[None])).numpy() for x in inputs])
    actual = run(model, inputs)
    if actual.shape != expected.shape:
        raise ExportError(f"the model's outputs have shape {actual.shape}, the network's have {expected.shape}")
    return Parity(
        max_difference=float(np.max(np.abs(actual - expected))),
        limit=TOLERANCE * max(1.0, float(np.max(np.abs(expected)))),
        deviation=float(np.std(expected)),
    )


def random_inputs(network: Network, count: int, seed: int) -> NDArray[np.float32]:
    """`count` standard-normal inputs of `network`."""
    return np.random.default_rng(seed).standard_normal((count, *network.input_shape), dtype=np.float32)


def trained_like(module: nn.Module, network: Network, seed: int) -> None:
    """Give `module` weights for which a comparison can fail, as it could for a trained network.

    An untrained network has logits of 1e-6 and agrees with anything. Here every norm gets random scale, shift and
    statistics, by one pass over random inputs: the output of each op has a standard deviation between 0.5 and 2 (less
    behind a hard sigmoid or a mean, more behind the norm of a mean), ReLU6 and the gates of squeeze-excite meet values
    beyond their bends, running variances go down to 1e-3, as the norm's epsilon could not be seen otherwise, and logits
    have a standard deviation of about 3. The module is left in eval mode.

    Args:
        module: `network_module(network)`.
    """
    generator = torch.Generator().manual_seed(seed)
    graph = network.graph
    parts = [(module.get_submodule(node.name), value) for value, node in _weighted(graph)]
    norms = [(part, _scale(graph, value)) for part, value in parts if isinstance(part, ConvNorm | Norm)]
    gates = [
        part.bias
        for part, value in parts
        if _BENT & {*_readers(graph, value)} and isinstance(part, nn.Conv2d) and part.bias is not None
    ]
    linears = [part for part, _ in parts if isinstance(part, nn.Linear)]
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith(".bias"):
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
        for bias in gates:
            bias.copy_(torch.linspace(-_GATE, _GATE, len(bias)))
        for part, scale in norms:
            part.norm.weight.copy_(scale * _uniform(part.norm, 0.5, 1.5, generator))
        momenta = [part.norm.momentum for part, _ in norms]
        for part, _ in norms:
            part.norm.momentum = 1.0
        logits = module.train()(torch.randn((_BATCH, *network.input_shape), generator=generator))
        for (part, _), momentum in zip(norms, momenta, strict=True):
            part.norm.momentum = momentum
            _set_variance(part, 10.0 ** _uniform(part.norm, -3.0, 0.0, generator))
        for linear in linears[-1:]:
            factor = _LOGIT_DEVIATION / logits.std()
            linear.weight.mul_(factor)
            linear.bias.mul_(factor)
    module.eval()


def _weighted(graph: Graph) -> Iterator[tuple[int, Node]]:
    """The nodes that have parameters, each with the value that it writes."""
    for value, node in enumerate(graph.nodes, len(graph.inputs)):
        if isinstance(node.primitive, Conv | Linear | ScaleShift):
            yield value, node


def _scale(graph: Graph, value: int) -> float:
    """The mean scale of the norm that writes `value`: wide before an activation, small at the end of a residual.

    Behind a pool there is one number an image and channel, too few for some to be beyond a bend otherwise.
    """
    readers = _readers(graph, value)
    read = graph.nodes[value - len(graph.inputs)].inputs[0] - len(graph.inputs)
    if read >= 0 and graph.nodes[read].primitive == GlobalPool() and _BENT & {*readers}:
        return _GATE
    if any(isinstance(reader, Activation) for reader in readers):
        return 2.2
    return 0.5 if readers == [Add()] else 1.0


def _readers(graph: Graph, value: int) -> list[Primitive]:
    return [node.primitive for node in graph.nodes if value in node.inputs]


def _uniform(norm: nn.BatchNorm2d, low: float, high: float, generator: torch.Generator) -> Tensor:
    """One random number a channel."""
    return torch.empty(norm.num_features).uniform_(low, high, generator=generator)


def _set_variance(part: ConvNorm | Norm, variance: Tensor) -> None:
    """Give the norm statistics of `variance`, and scale what comes before or after it so that it still fits."""
    norm = part.norm
    assert norm.running_mean is not None
    assert norm.running_var is not None
    factor = (variance / norm.running_var).sqrt()
    factor[norm.running_var == 0] = 1.0  # a channel that is always zero
    if isinstance(part, ConvNorm):
        part.weight.mul_(factor[:, None, None, None])
        norm.running_mean *= factor
    else:
        norm.weight.mul_(factor)
    norm.running_var.copy_(variance)
