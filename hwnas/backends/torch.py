"""Primitives to torch modules, for the supernet and for training. Parameter names are those of the graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import astuple
from functools import cache, partial
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from hwnas.arch.network import Network
from hwnas.arch.primitives import (
    NORM_EPSILON,
    Activation,
    Add,
    Concat,
    Conv,
    GlobalPool,
    Graph,
    Linear,
    Mul,
    Node,
    Pad,
    Pool,
    ScaleShift,
    Slice,
)
from hwnas.backends.depthwise import depthwise, pays
from hwnas.backends.weights import Weights
from hwnas.errors import ExportError

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": torch.positive,
    "relu": F.relu,
    "relu6": F.relu6,
    "hsigmoid": F.hardsigmoid,
    "hswish": F.hardswish,
}


def activation_function(fn: str) -> Callable[[Tensor], Tensor]:
    """One of `ACTIVATIONS` of the description, of tensors of any shape."""
    return _ACTIVATIONS[fn]


class Convolution(nn.Conv2d):
    """A convolution, trained by the gradients that are fastest."""

    def __init__(self, cin: int, primitive: Conv) -> None:
        cout, kernel, stride, dilation, groups, bias = astuple(primitive)[:6]
        centred = primitive.pad == "centred"
        super().__init__(cin, cout, kernel, stride, primitive.padding if centred else 0, dilation, groups, bias=bias)
        self._borders = None if centred else primitive.borders
        self._own_gradients = cin == cout == groups and not bias and pays(kernel, dilation)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self._borders is not None:
            above, left = (self._borders(int(size)) for size in input.shape[2:])  # a tracer has tensors there
            input = F.pad(input, (*left, *above))
        if self._own_gradients and self.training and input.device.type == "cpu":
            return depthwise(input, weight, self.stride[0], self.dilation[0], int(self.padding[0]))
        return cast(Tensor, super()._conv_forward(input, weight, bias))


class ConvNorm(Convolution):
    """A convolution with its batch norm."""

    def __init__(self, cin: int, primitive: Conv) -> None:
        super().__init__(cin, primitive)
        self.norm = _batch_norm(primitive.cout)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.norm(super().forward(x)))


class Norm(nn.Module):
    """A batch norm that follows no convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = _batch_norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.norm(x))


class FlatLinear(nn.Linear):
    """A linear layer on a (batch, C, 1, 1) map."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(1))


class Shared:
    """Results of one pass that several ops want: of functions without weights of their own, by what they read."""

    def __init__(self) -> None:
        self._made: dict[tuple[Callable[..., Tensor], tuple[int, ...]], tuple[Tensor, tuple[Tensor, ...]]] = {}

    def __call__(self, compute: Callable[..., Tensor], *maps: Tensor) -> Tensor:
        """`compute(*maps)`, or what it gave before."""
        key = compute, tuple(map(id, maps))
        if key not in self._made:
            self._made[key] = compute(*maps), maps  # which are kept, so that no other tensor gets their id
        return self._made[key][0]


class GraphModule(nn.Module):
    """A graph as a module: (batch, C, H, W) for each input to a map of the same rank, or to (batch, classes)."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self._output = graph.output
        self._zeros = graph.zeros
        self._plan: list[tuple[Callable[..., Tensor], tuple[int, ...]]] = []
        for node in graph.nodes:
            compute = _compute(node, graph.shape(node.inputs[0])[0])
            if isinstance(compute, nn.Module):
                self.add_module(node.name, compute)
            self._plan.append((compute, node.inputs))
        self._ends_of_residuals = [
            self._plan[value - len(graph.inputs)][0]
            for node in graph.nodes
            if node.primitive == Add()
            for value in node.inputs
            if value >= len(graph.inputs)
        ]

    @property
    def zero(self) -> bool:
        """Whether the output is zero whatever it reads."""
        return self._output < 0

    def forward(self, *maps: Tensor, shared: Shared | None = None) -> Tensor:
        """Activations and pools of the inputs come from `shared` if another op of the pass has them already."""
        values = dict(enumerate(maps))
        values |= {~k: maps[0].new_zeros((len(maps[0]), *shape)) for k, shape in enumerate(self._zeros)}
        for value, (compute, inputs) in enumerate(self._plan, len(maps)):
            read = [values[i] for i in inputs]
            of_inputs = max(inputs) < len(maps) and not isinstance(compute, nn.Module)
            values[value] = compute(*read) if shared is None or not of_inputs else shared(compute, *read)
        return values[self._output]

    def pass_through(self, parts: Mapping[int, nn.Module]) -> None:
        """Pass what nodes give through modules, which become parts of this one.

        Args:
            parts: by the place of the node in the graph.
        """
        for place, part in parts.items():
            compute, inputs = self._plan[place]
            self.add_module(f"through_{place}", part)
            self._plan[place] = (_Through(compute, part), inputs)

    def start_as_identity(self) -> None:
        """Zero the scale of the norm that ends each residual branch: it adds nothing yet (Goyal et al., 2017)."""
        for compute in self._ends_of_residuals:
            if isinstance(compute, ConvNorm):
                nn.init.zeros_(compute.norm.weight)


class _Through:
    """What a node computes, passed through a module."""

    def __init__(self, compute: Callable[..., Tensor], part: nn.Module) -> None:
        self._compute, self._part = compute, part

    def __call__(self, *maps: Tensor) -> Tensor:
        return cast(Tensor, self._part(self._compute(*maps)))


class NetworkModule(nn.Module):
    """A network as a module: its ops in order, each reading those before it that the network says.

    Attributes:
        paths: names of ops that a sum could do without: all that an `add` reads, but for skips and zeros.
        two_thirds: name of the op, or of the end of the cell, at two thirds of the depth, and its number of channels.
        stages: names of the ops of each stage; one begins with every op that writes another shape than it reads.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        for name, spec in network.ops:
            self.add_module(name, GraphModule(spec.graph))
        self._inputs, self._sources = network.inputs, network.sources
        added = {
            place
            for (_, spec), places in zip(network.ops, self._sources, strict=True)
            if spec.kind == "add"
            for place in places
        }
        self.paths = tuple(n for k, (n, spec) in enumerate(network.ops) if k in added and spec.graph.nodes)
        ends = [one for one in network.ops if one[1].kind == "concat"] or network.ops[:-1] or network.ops
        name, spec = ends[2 * len(ends) // 3]
        self.two_thirds = (name, spec.cout)
        self.stages = _stages(network)
        self._read = {len(network.ops) - 1}
        for place in reversed(range(len(network.ops))):
            self._read |= set(network.sources[place]) if place in self._read else set()

    def forward(self, x: Tensor) -> Tensor:
        """Of `x` (batch, C, H, W); several inputs come one after the other in the channels."""
        made, shared = {-1: x}, Shared()
        for place, (op, places) in enumerate(zip(self.children(), self._sources, strict=True)):
            if place in self._read:  # what nobody reads is not computed
                maps = [made[read] for read in places] if place else x.chunk(self._inputs, 1)
                made[place] = op(*maps, shared=shared)
        return made[len(self._sources) - 1]


def _stages(network: Network) -> tuple[tuple[str, ...], ...]:
    found: list[tuple[str, ...]] = []
    for name, spec in network.ops:
        same = found and spec.output_shape == spec.input_shape
        found = [*found[:-1], (*found[-1], name)] if same else [*found, (name,)]
    return tuple(found)


def network_module(network: Network) -> NetworkModule:
    """The network as a module whose state has exactly the names and shapes of `network.graph`."""
    module = NetworkModule(network)
    initialise(module)
    return module


def initialise(module: nn.Module) -> None:
    """Draw convolutions as He et al. (2015), by fan-out; residual branches and logits start near zero."""
    for part in module.modules():
        if isinstance(part, GraphModule):
            part.start_as_identity()
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
            part.weight.data = part.weight.data.contiguous(memory_format=torch.channels_last)  # twice as fast on CPUs
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=0.01)
            nn.init.zeros_(part.bias)


def export_weights(module: nn.Module) -> dict[str, NDArray[np.float32]]:
    """The module's parameters and running statistics as numpy arrays on the host."""
    return {name: tensor.detach().cpu().numpy().copy(order="C") for name, tensor in module.state_dict().items()}


def load_weights(module: nn.Module, weights: Weights) -> None:
    """Copy `weights` into the module.

    Raises:
        ExportError: names or shapes differ from the module's.
    """
    state = module.state_dict()
    if state.keys() != weights.keys():
        odd = sorted(state.keys() ^ weights.keys())
        raise ExportError(f"the weights do not fit the network: {len(odd)} names differ, the first is {odd[0]}")
    for name, tensor in state.items():
        if tuple(tensor.shape) != weights[name].shape:
            raise ExportError(f"{name} must have shape {tuple(tensor.shape)}, not {weights[name].shape}")
        tensor.copy_(torch.from_numpy(np.array(weights[name])))


def _compute(node: Node, cin: int) -> Callable[..., Tensor]:
    match node.primitive:
        case Conv(norm=True):
            return ConvNorm(cin, node.primitive)
        case Conv():
            return Convolution(cin, node.primitive)
        case Linear(cout):
            return FlatLinear(cin, cout)
        case ScaleShift():
            return Norm(cin)
        case GlobalPool():
            return _global_pool
        case Pool():
            return _pool(node.primitive)
        case Pad(bottom, right):
            return partial(F.pad, pad=(0, right, 0, bottom))
        case Slice():
            return _slice
        case Concat():
            return _concat
        case Activation(fn):
            return activation_function(fn)
        case Add():
            return torch.add
        case Mul():
            return torch.mul
        case _:
            raise ExportError(f"the torch backend does not know {node.primitive}")


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels, eps=NORM_EPSILON)
    norm.num_batches_tracked = None  # not a statistic of the graph, and nobody reads it
    return norm


@cache
def _pool(pool: Pool) -> Callable[..., Tensor]:
    """The one function for all equal pools, so that its results can be shared."""
    kernel, stride, padding, ceil = pool.kernel, pool.stride, pool.padding, pool.kernel % 2 == 0
    if pool.fn == "max":
        return partial(F.max_pool2d, kernel_size=kernel, stride=stride, padding=padding, ceil_mode=ceil)
    return partial(
        F.avg_pool2d, kernel_size=kernel, stride=stride, padding=padding, ceil_mode=ceil, count_include_pad=False
    )


def _global_pool(x: Tensor) -> Tensor:
    return x.mean((2, 3), keepdim=True)


def _slice(x: Tensor) -> Tensor:
    return x[:, :, 1:, 1:]


def _concat(*maps: Tensor) -> Tensor:
    return torch.cat(maps, 1)
