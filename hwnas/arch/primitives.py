"""The primitives that every op lowers to, and the graph that they form.

A primitive says what is computed, not how: the backends interpret it. Tensors are NCHW with a batch of one; a
`Shape` is (channels, height, width). One multiply-add is one MAC.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from hwnas.errors import InputError

Shape: TypeAlias = tuple[int, int, int]

ACTIVATIONS = ("none", "relu", "relu6", "hswish", "hsigmoid")
PADDINGS = ("centred", "same")
NORM_EPSILON = 1e-5


@dataclass(frozen=True, slots=True)
class Conv:
    """Convolution with zero padding; `norm` puts a batch norm behind it, folded at export.

    The padding is as large on all sides (`centred`), or it is TensorFlow's (`same`): no more than the windows need, and
    where that is odd, the larger half lies below and to the right. The two differ where a stride meets an even size.
    """

    cout: int
    kernel: int = 1
    stride: int = 1
    dilation: int = 1
    groups: int = 1
    bias: bool = False
    norm: bool = False
    pad: str = "centred"

    @property
    def padding(self) -> int:
        """On every side, where it is centred."""
        return self.dilation * (self.kernel - 1) // 2

    def borders(self, size: int) -> tuple[int, int]:
        """Zeros before and behind a map of this height or width."""
        if self.pad == "centred":
            return self.padding, self.padding
        needed = max(0, (-(-size // self.stride) - 1) * self.stride + 2 * self.padding + 1 - size)
        return needed // 2, needed - needed // 2


@dataclass(frozen=True, slots=True)
class Linear:
    """Fully connected layer with bias on a (channels, 1, 1) map."""

    cout: int


@dataclass(frozen=True, slots=True)
class GlobalPool:
    """Mean over height and width."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Mean or largest value under a moving window; what lies outside the map does not count.

    An odd kernel is centred as in `Conv`. A 2 x 2 kernel of stride 2 tiles the map; tiles at an odd border are smaller.

    Attributes:
        fn: `max` or `avg`.
    """

    fn: str
    kernel: int
    stride: int

    @property
    def padding(self) -> int:
        return (self.kernel - 1) // 2

    def borders(self, size: int) -> tuple[int, int]:
        """Padding before and behind a map of this height or width."""
        return self.padding, self.padding if self.kernel % 2 else size % 2


@dataclass(frozen=True, slots=True)
class ScaleShift:
    """A batch norm that follows no convolution; folded where it alone reads one."""


@dataclass(frozen=True, slots=True)
class Pad:
    """Zeros below and to the right of a map."""

    bottom: int
    right: int


@dataclass(frozen=True, slots=True)
class Slice:
    """A map without its first row and column."""


@dataclass(frozen=True, slots=True)
class Concat:
    """The channels of several maps, one after the other."""


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


Primitive: TypeAlias = Conv | Linear | GlobalPool | Pool | ScaleShift | Pad | Slice | Concat | Activation | Add | Mul


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor while lowering: its index in the graph (0 is the first input, negative is zero) and its shape."""

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
            case Conv(cout, kernel, _, _, groups, bias, norm, _):
                shapes: dict[str, tuple[int, ...]] = {"weight": (cout, cin // groups, kernel, kernel)}
                if bias:
                    shapes["bias"] = (cout,)
                if norm:
                    shapes |= {"norm.weight": (cout,), "norm.bias": (cout,)}
                return shapes
            case ScaleShift():
                return {"norm.weight": (cin,), "norm.bias": (cin,)}
            case Linear(cout):
                return {"weight": (cout, cin), "bias": (cout,)}
            case _:
                return {}

    def statistics(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the running statistics of this node's batch norm."""
        match self.primitive:
            case Conv(norm=True) | ScaleShift():
                return {"norm.running_mean": self.shape[:1], "norm.running_var": self.shape[:1]}
            case _:
                return {}


@dataclass(frozen=True, slots=True)
class Graph:
    """Primitives in execution order.

    Value 0..n-1 are the inputs, value n + i is the result of node i, and value -1 - k is a map of zeros of shape
    `zeros[k]`, which costs nothing.
    """

    inputs: tuple[Shape, ...]
    nodes: tuple[Node, ...]
    output: int
    zeros: tuple[Shape, ...] = ()

    def shape(self, value: int) -> Shape:
        if value < 0:
            return self.zeros[~value]
        n = len(self.inputs)
        return self.inputs[value] if value < n else self.nodes[value - n].shape

    @property
    def output_shape(self) -> Shape:
        return self.shape(self.output)

    @property
    def constant(self) -> bool:
        """Whether the output is the same for every input: `none` has cut all paths."""
        return not any(0 <= value < len(self.inputs) for value in self.readers())

    def readers(self) -> Counter[int]:
        """How often each value is read; the output once more than its nodes do."""
        return Counter([self.output, *(value for node in self.nodes for value in node.inputs)])

    def pruned(self, same: Mapping[int, int] | None = None) -> Graph:
        """The graph without the nodes and zeros that the output does not depend on.

        Args:
            same: values that others stand for, for example `{result of a node: its input}` to take the node out.
        """
        same = same or {}
        n = len(self.inputs)
        output = same.get(self.output, self.output)
        inputs = [tuple(same.get(value, value) for value in node.inputs) for node in self.nodes]
        needed = {output}
        for i in reversed(range(len(self.nodes))):
            if n + i in needed:
                needed.update(inputs[i])
        kept = [i for i in range(len(self.nodes)) if n + i in needed]
        zeros = sorted((value for value in needed if value < 0), reverse=True)
        new = {value: value for value in range(n)}
        new |= {n + i: n + k for k, i in enumerate(kept)} | {value: ~k for k, value in enumerate(zeros)}
        nodes = (replace(self.nodes[i], inputs=tuple(new[value] for value in inputs[i])) for i in kept)
        return Graph(self.inputs, tuple(nodes), new[output], tuple(self.shape(value) for value in zeros))

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
        self._zeros: list[Shape] = []
        self._prefix = ""

    def input(self, index: int = 0) -> Value:
        return Value(index, self._inputs[index])

    def zero(self, shape: Shape) -> Value:
        """A map of zeros, which is no node; sums drop it."""
        self._zeros.append(shape)
        return Value(~(len(self._zeros) - 1), shape)

    def scope(self, prefix: str) -> None:
        """Put `prefix` before the names of the nodes that follow."""
        self._prefix = prefix

    def graph(self, output: Value) -> Graph:
        """What `output` depends on."""
        return Graph(self._inputs, tuple(self._nodes), output.index, tuple(self._zeros)).pruned()

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
        norm: bool = True,
        pad: str = "centred",
    ) -> Value:
        """Convolution, batch norm (unless it has a bias of its own) and activation."""
        primitive = Conv(cout, kernel, stride, dilation, groups, bias=bias, norm=norm and not bias, pad=pad)
        if all(primitive.borders(size) == (primitive.padding,) * 2 for size in x.shape[1:]):
            primitive = replace(primitive, pad="centred")
        height, width = (-(-size // stride) for size in x.shape[1:])
        return self.activation(self._append(name, primitive, (cout, height, width), x), f"{name}_act", act)

    def linear(self, x: Value, name: str, cout: int) -> Value:
        return self._append(name, Linear(cout), (cout, 1, 1), x)

    def global_pool(self, x: Value, name: str = "pool") -> Value:
        return self._append(name, GlobalPool(), (x.shape[0], 1, 1), x)

    def pool(self, x: Value, name: str, fn: str, *, kernel: int, stride: int) -> Value:
        """Moving maximum (`fn` is max) or mean (avg); every stride-th pixel of it."""
        if fn not in ("max", "avg"):
            raise InputError(f"a pool is max or avg, not {fn!r}")
        if (kernel % 2 == 0 or kernel == 1) and (kernel, stride) != (2, 2):
            raise InputError(
                f"a pool has kernel 3, 5, ... or is 2 x 2 with stride 2, not {kernel} with stride {stride}"
            )
        channels, height, width = x.shape
        return self._append(name, Pool(fn, kernel, stride), (channels, -(-height // stride), -(-width // stride)), x)

    def scale_shift(self, x: Value, name: str) -> Value:
        """Batch norm where no convolution can take it in: behind a sum, or before an activation."""
        return self._append(name, ScaleShift(), x.shape, x)

    def pad(self, x: Value, bottom: int, right: int, name: str = "pad") -> Value:
        if bottom == right == 0:
            return x
        return self._append(name, Pad(bottom, right), (x.shape[0], x.shape[1] + bottom, x.shape[2] + right), x)

    def slice(self, x: Value, name: str = "slice") -> Value:
        return self._append(name, Slice(), (x.shape[0], x.shape[1] - 1, x.shape[2] - 1), x)

    def concat(self, *maps: Value, name: str = "concat") -> Value:
        if len({x.shape[1:] for x in maps}) != 1:
            raise InputError(f"only maps of one size can be concatenated, not {', '.join(str(x.shape) for x in maps)}")
        return self._append(name, Concat(), (sum(x.shape[0] for x in maps), *maps[0].shape[1:]), *maps)

    def activation(self, x: Value, name: str, fn: str) -> Value:
        """`fn` of `x`, computed once for all that ask for it."""
        if fn not in ACTIVATIONS:
            raise InputError(f"an activation is one of {', '.join(ACTIVATIONS)}, not {fn!r}")
        for index, node in enumerate(self._nodes, len(self._inputs)):
            if (node.primitive, node.inputs) == (Activation(fn), (x.index,)):
                return Value(index, x.shape)
        return x if fn == "none" else self._append(name, Activation(fn), x.shape, x)

    def add(self, x: Value, y: Value, name: str = "add") -> Value:
        if x.shape != y.shape:
            raise InputError(f"only maps of one shape can be added, not {x.shape} and {y.shape}")
        if min(x.index, y.index) < 0:
            return y if x.index < 0 else x
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
