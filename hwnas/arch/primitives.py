"""The primitives that every op lowers to, and the graph that they form.

A primitive says what is computed, not how: the backends interpret it. Tensors are NCHW with a batch of one; a
`Shape` is (channels, height, width). One multiply-add is one MAC.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from hwnas.errors import InputError

Shape: TypeAlias = tuple[int, int, int]

ACTIVATIONS = ("none", "relu", "relu6", "hswish", "hsigmoid")
NORM_EPSILON = 1e-5


@dataclass(frozen=True, slots=True)
class Conv:
    """Convolution with symmetric zero padding; `norm` puts a batch norm behind it, folded at export."""

    cout: int
    kernel: int = 1
    stride: int = 1
    dilation: int = 1
    groups: int = 1
    bias: bool = False
    norm: bool = False

    @property
    def padding(self) -> int:
        return self.dilation * (self.kernel - 1) // 2


@dataclass(frozen=True, slots=True)
class Linear:
    """Fully connected layer with bias on a (channels, 1, 1) map."""

    cout: int


@dataclass(frozen=True, slots=True)
class GlobalPool:
    """Mean over height and width."""


@dataclass(frozen=True, slots=True)
class Activation:
    """One of `ACTIVATIONS`; hsigmoid is relu6(x + 3) / 6 and hswish is x · hsigmoid(x)."""

    fn: str


@dataclass(frozen=True, slots=True)
class Add:
    """Sum of two maps of one shape."""


@dataclass(frozen=True, slots=True)
class Mul:
    """Product of a map with a (channels, 1, 1) gate."""


Primitive: TypeAlias = Conv | Linear | GlobalPool | Activation | Add | Mul


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor while lowering: its index in the graph (0 is the first input) and its shape."""

    index: int
    shape: Shape


@dataclass(frozen=True, slots=True)
class Node:
    """One primitive of a graph: parameter prefix, what it computes, which values it reads, what comes out."""

    name: str
    primitive: Primitive
    inputs: tuple[int, ...]
    shape: Shape

    def parameters(self, cin: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the trained parameters of this node, which reads `cin` channels."""
        match self.primitive:
            case Conv(cout, kernel, _, _, groups, bias, norm):
                shapes: dict[str, tuple[int, ...]] = {"weight": (cout, cin // groups, kernel, kernel)}
                if bias:
                    shapes["bias"] = (cout,)
                if norm:
                    shapes |= {"norm.weight": (cout,), "norm.bias": (cout,)}
                return shapes
            case Linear(cout):
                return {"weight": (cout, cin), "bias": (cout,)}
            case _:
                return {}

    def statistics(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the running statistics of this node's batch norm."""
        match self.primitive:
            case Conv(cout=cout, norm=True):
                return {"norm.running_mean": (cout,), "norm.running_var": (cout,)}
            case _:
                return {}


@dataclass(frozen=True, slots=True)
class Graph:
    """Primitives in execution order. Value 0..n-1 are the inputs, value n + i is the result of node i."""

    inputs: tuple[Shape, ...]
    nodes: tuple[Node, ...]
    output: int

    def shape(self, value: int) -> Shape:
        n = len(self.inputs)
        return self.inputs[value] if value < n else self.nodes[value - n].shape

    @property
    def output_shape(self) -> Shape:
        return self.shape(self.output)

    def parameters(self) -> dict[str, tuple[int, ...]]:
        """Shape of every trained parameter by its full name."""
        return {
            f"{node.name}.{name}": shape
            for node in self.nodes
            for name, shape in node.parameters(self.shape(node.inputs[0])[0]).items()
        }

    def statistics(self) -> dict[str, tuple[int, ...]]:
        """Shape of every running statistic by its full name."""
        return {f"{node.name}.{name}": shape for node in self.nodes for name, shape in node.statistics().items()}


class Builder:
    """Collects the primitives that an op, or a whole network, lowers to."""

    def __init__(self, *inputs: Shape) -> None:
        self._inputs = inputs
        self._nodes: list[Node] = []
        self._prefix = ""

    def input(self, index: int = 0) -> Value:
        return Value(index, self._inputs[index])

    def scope(self, prefix: str) -> None:
        """Put `prefix` before the names of the nodes that follow."""
        self._prefix = prefix

    def graph(self, output: Value) -> Graph:
        return Graph(self._inputs, tuple(self._nodes), output.index)

    def conv(
        self,
        x: Value,
        name: str,
        cout: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        act: str = "none",
        bias: bool = False,
    ) -> Value:
        """Convolution, batch norm (unless it has a bias of its own) and activation."""
        primitive = Conv(cout, kernel, stride, dilation, groups, bias=bias, norm=not bias)
        reach = dilation * (kernel - 1) + 1
        height, width = ((size + 2 * primitive.padding - reach) // stride + 1 for size in x.shape[1:])
        return self.activation(self._append(name, primitive, (cout, height, width), x), f"{name}_act", act)

    def linear(self, x: Value, name: str, cout: int) -> Value:
        return self._append(name, Linear(cout), (cout, 1, 1), x)

    def global_pool(self, x: Value, name: str = "pool") -> Value:
        return self._append(name, GlobalPool(), (x.shape[0], 1, 1), x)

    def activation(self, x: Value, name: str, fn: str) -> Value:
        if fn not in ACTIVATIONS:
            raise InputError(f"an activation is one of {', '.join(ACTIVATIONS)}, not {fn!r}")
        return x if fn == "none" else self._append(name, Activation(fn), x.shape, x)

    def add(self, x: Value, y: Value, name: str = "add") -> Value:
        if x.shape != y.shape:
            raise InputError(f"only maps of one shape can be added, not {x.shape} and {y.shape}")
        return self._append(name, Add(), x.shape, x, y)

    def mul(self, x: Value, gate: Value, name: str = "mul") -> Value:
        if gate.shape != (x.shape[0], 1, 1):
            raise InputError(f"a gate of a {x.shape} map has shape {(x.shape[0], 1, 1)}, not {gate.shape}")
        return self._append(name, Mul(), x.shape, x, gate)

    def _append(self, name: str, primitive: Primitive, shape: Shape, *inputs: Value) -> Value:
        if min(shape) < 1:
            raise InputError(f"{name} would produce an empty map {shape}: use fewer strides or a larger resolution")
        name = self._prefix + name
        for x in inputs:
            if x.index >= len(self._inputs) and isinstance(self._nodes[x.index - len(self._inputs)].primitive, Linear):
                raise InputError(f"a linear layer ends a network, so {name} cannot read it: use a 1 x 1 convolution")
        if any(node.name == name for node in self._nodes):
            raise InputError(f"two primitives of one op cannot both be named {name!r}")
        self._nodes.append(Node(name, primitive, tuple(x.index for x in inputs), shape))
        return Value(len(self._inputs) + len(self._nodes) - 1, shape)
