"""A network as a module that computes as its int8 file will, so that training can make up for what rounding costs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from hwnas.arch.network import Network
from hwnas.arch.primitives import Activation, Graph
from hwnas.backends.torch import GraphModule, NetworkModule

_FUSED = {Activation("relu"), Activation("relu6")}
_FOLLOWED = 0.01  # share of a batch in the range of an activation
_SMALLEST = 1e-8  # scale


def fake_quantise(module: NetworkModule, network: Network) -> None:
    """Round weights and activations in the forward pass to what eight bits can say; gradients pass as if they were not.

    Weights have a scale per channel, and so it is nothing to their rounding that a file has the norms in them. What a
    node gives has a range that follows the smallest and the largest values of the batches as a moving average. Sources:
    Jacob et al., CVPR 2018, section 3; Bengio et al., 2013, for the gradients.

    Args:
        module: of `network`, whose parameters get other names until `plain` is called.
    """
    for name, spec in network.ops:
        part = module.get_submodule(name)
        assert isinstance(part, GraphModule)
        part.pass_through({place: _Ranged() for place in rounded(spec.graph)})
    for part in list(module.modules()):
        if isinstance(part, nn.Conv2d | nn.Linear):
            parametrize.register_parametrization(part, "weight", _Levels())


def plain(module: NetworkModule) -> None:
    """Give the weights of a module that `fake_quantise` has changed their names back, as they are before rounding."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            parametrize.remove_parametrizations(part, "weight", leave_parametrized=False)


def rounded(graph: Graph) -> list[int]:
    """Places of the nodes that a file writes in eight bits: all but those whose activation is computed with them."""
    first, readers = len(graph.inputs), graph.readers()
    fused = {node.inputs[0] for node in graph.nodes if node.primitive in _FUSED and readers[node.inputs[0]] == 1}
    return [place for place in range(len(graph.nodes)) if first + place not in fused]


class _Levels(nn.Module):
    """A weight (cout, ...) in 255 levels around 0, with a scale for each of its channels."""

    def forward(self, weight: Tensor) -> Tensor:
        scale = weight.detach().abs().flatten(1).amax(1).div(127).clamp_min(_SMALLEST)
        zeros = torch.zeros(len(weight), dtype=torch.int32, device=weight.device)
        return torch.fake_quantize_per_channel_affine(weight, scale, zeros, 0, -127, 127)


class _Ranged(nn.Module):
    """A map in 256 levels of its range, which always holds 0."""

    low: Tensor
    high: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))
        self._seen = False

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            with torch.no_grad():
                share = _FOLLOWED if self._seen else 1.0
                for kept, value in zip((self.low, self.high), x.aminmax(), strict=True):
                    kept.lerp_(value, share)
                self._seen = True
        low, high = self.low.clamp(max=0), self.high.clamp(min=0)
        scale = ((high - low) / 255).clamp_min(_SMALLEST)
        zero = (-low / scale).round().to(torch.int32)
        return torch.fake_quantize_per_tensor_affine(x, scale, zero, 0, 255)
