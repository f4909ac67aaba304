"""Costs that need no device: folds over the primitives of a graph. One multiply-add is one MAC."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from hwnas.arch.primitives import Activation, Conv, Graph, Linear


@dataclass(frozen=True, slots=True)
class Costs:
    """MACs, trained parameters, and peak bytes of float32 activations alive at once (batch of one)."""

    macs: int
    params: int
    peak_bytes: int


def costs(graph: Graph) -> Costs:
    """All three costs of `graph`."""
    return Costs(macs(graph), params(graph), peak_bytes(graph))


def written(graph: Graph) -> int:
    """Values that the primitives write, all together."""
    return sum(prod(node.shape) for node in graph.nodes)


def macs(graph: Graph) -> int:
    """Multiply-adds of the convolutions and linear layers; batch norm is folded, so it costs nothing."""
    total = 0
    for node in graph.nodes:
        cin = graph.shape(node.inputs[0])[0]
        match node.primitive:
            case Conv(kernel=kernel, groups=groups):
                total += prod(node.shape) * kernel * kernel * cin // groups
            case Linear(cout):
                total += cin * cout
    return total


def params(graph: Graph) -> int:
    """Trained parameters, batch norm's scale and shift included, as papers count them."""
    return sum(prod(shape) for shape in graph.parameters().values())


def peak_bytes(graph: Graph, bytes_per_value: int = 4) -> int:
    """Largest sum of activations alive at once when the nodes run in order and free what nobody reads any more.

    An activation function works in place, as runtimes fuse it into the node before it.
    """
    offset = len(graph.inputs)
    last_use = {graph.output: len(graph.nodes)}
    for index, node in enumerate(graph.nodes):
        for value in node.inputs:
            last_use[value] = max(last_use.get(value, 0), index)
    alive = {value: prod(shape) for value, shape in enumerate(graph.inputs)}
    peak = sum(alive.values())
    for index, node in enumerate(graph.nodes):
        alive[offset + index] = prod(node.shape)
        in_place = isinstance(node.primitive, Activation) and last_use[node.inputs[0]] == index
        peak = max(peak, sum(alive.values()) - (prod(node.shape) if in_place else 0))
        for value in [value for value in alive if last_use.get(value, -1) <= index]:
            del alive[value]
    return peak * bytes_per_value
