"""`darts`: a normal and a reduction cell, each with two of eight ops on the edges into its nodes (Liu et al., 2019)."""

from __future__ import annotations

from hwnas.arch.groups import Group
from hwnas.arch.kinds import make_divisible
from hwnas.arch.op import OpSpec
from hwnas.arch.slot_space import SlotSpace
from hwnas.arch.space import Decision, Slot
from hwnas.image_size import Size, SizeLike

OPTIONS = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
"""Of every edge, in the order and by the names of the authors' code."""
NODES = 4
EDGES = tuple((source, node) for node in range(2, NODES + 2) for source in range(node))
"""From state to node; states 0 and 1 are the two cells before, node 2 is the first one of the cell."""
CELLS = ("normal", "reduce")

_CHANNELS, _STEM_CHANNELS, _DEPTH = 16, 3, 8
_CHANNEL_DIVISOR = 4  # the paper's final networks have 36 and 48 channels
_LARGE = 64  # pixels a side; larger images go through the stem that the authors use for ImageNet

# Instances from small to large, for budgets to choose from: (width, cells). The paper searches with (1, 8).
RUNGS = ((0.25, 3), (0.25, 5), (0.5, 5), (0.5, 8), (0.75, 8), (1.0, 8), (1.5, 11), (2.25, 20))


def darts(
    width: float = 1.0, resolution: SizeLike = 32, channels: int = 3, classes: int = 10, cells: int = _DEPTH
) -> SlotSpace:
    """Cells in a row, each of which reads the two before it; those at 1/3 and 2/3 of the depth halve the map.

    All normal cells share 14 decisions, and so do the two reduction cells: one for every edge into one of the four
    nodes of a cell. A node is the sum of exactly two of its edges (docs/decisions/0021), a cell the concatenation of
    its nodes. Every cell brings both its inputs to its own size by ReLU, 1 x 1 convolution and batch norm, or by a
    factorised reduction behind a cell that has halved the map.

    With 20 cells, width 2.25 is the paper's final network for CIFAR-10; 14 cells, 224 pixels and width 3 are that for
    ImageNet, whose stem divides the map by eight; images of up to 64 pixels keep their size.

    Args:
        width: multiplier of the 16 channels of the first nodes, which are rounded to a multiple of 4.
        resolution: of the input: the side of a square, or a size.
        channels: of the input image.
        classes: number of logits.
        cells: how many; 8 in the paper's search.
    """
    inner = make_divisible(_CHANNELS * width, _CHANNEL_DIVISOR)
    resolution = Size.of(resolution)
    slots, states = _stem(channels, inner, resolution)
    for cell in range(cells):
        reducing = cell in (cells // 3, 2 * cells // 3)
        inner *= 2 if reducing else 1
        states = states[1], _cell(slots, f"c{cell}", states, inner, reducing=reducing)
    (_, last) = states
    end = slots[-1].ops[0]
    slots.append(Slot("classifier", (OpSpec("classifier", end.cout, classes, *end.output_size),), reads=(last,)))
    depth = "" if cells == _DEPTH else f"-d{cells}"
    return SlotSpace(
        f"darts@w{width:g}{depth}-r{resolution}",
        tuple(Decision(f"{name}{node}from{source}", OPTIONS) for name in CELLS for source, node in EDGES),
        tuple(slots),
        _groups(),
        search_norms=("maxpool", "avgpool"),
    )


def _groups() -> tuple[Group, ...]:
    """The edges into each node of each cell."""
    none = OPTIONS.index("none")
    return tuple(
        Group(tuple(len(EDGES) * cell + k for k, edge in enumerate(EDGES) if edge[1] == node), (none,) * node)
        for cell in range(len(CELLS))
        for node in range(2, NODES + 2)
    )


def _stem(channels: int, inner: int, size: Size) -> tuple[list[Slot], tuple[str, str]]:
    """Its slots, and the names of those that the first cell reads."""
    if size.short <= _LARGE:
        stem = OpSpec("conv", channels, _STEM_CHANNELS * inner, *size, kernel=3)
        return [Slot("stem", (stem,))], ("stem", "stem")
    first = OpSpec("conv", channels, inner // 2, *size, kernel=3, stride=2, act="relu")
    size = size.halved()
    second = OpSpec("conv", inner // 2, inner, *size, kernel=3, stride=2)
    size = size.halved()
    third = OpSpec("reluconv", inner, inner, *size, kernel=3, stride=2)
    return [Slot("stem", (first,)), Slot("stem0", (second,)), Slot("stem1", (third,))], ("stem0", "stem1")


def _cell(slots: list[Slot], name: str, before: tuple[str, str], channels: int, *, reducing: bool) -> str:
    """Append the slots of one cell that reads the slots `before`; the name of the one that it ends with."""
    earlier = {slot.name: slot.ops[0] for slot in slots}
    size = earlier[before[1]].output_size
    states = [f"{name}in0", f"{name}in1"]
    for state, read in zip(states, before, strict=True):
        own = earlier[read].output_size
        kind = "reluconv" if own == size else "reduce"
        slots.append(Slot(state, (OpSpec(kind, earlier[read].cout, channels, *own),), reads=(read,)))
    half = size.halved() if reducing else size
    for node in range(2, NODES + 2):
        edges = [f"{name}e{source}{node}" for source in range(node)]
        for source, edge in enumerate(edges):
            decision = len(EDGES) * reducing + EDGES.index((source, node))
            ops = _ops(channels, size, 2) if reducing and source < 2 else _ops(channels, half, 1)
            slots.append(Slot(edge, ops, decision, (states[source],)))
        states.append(f"{name}n{node}")
        total = OpSpec("add", channels, channels, *half, inputs=2)
        slots.append(Slot(states[-1], (total,), reads=tuple(edges)))
    joined = OpSpec("concat", channels, NODES * channels, *half, inputs=NODES)
    slots.append(Slot(f"{name}out", (joined,), reads=tuple(states[2:])))
    return slots[-1].name


def _ops(channels: int, size: Size, stride: int) -> tuple[OpSpec, ...]:
    """One op for each of `OPTIONS`."""
    shape = (channels, channels, *size)
    return (
        OpSpec("none", *shape, stride=stride),
        OpSpec("maxpool", *shape, kernel=3, stride=stride),
        OpSpec("avgpool", *shape, kernel=3, stride=stride),
        OpSpec("skip", *shape) if stride == 1 else OpSpec("reduce", *shape),
        OpSpec("sepconv", *shape, kernel=3, stride=stride),
        OpSpec("sepconv", *shape, kernel=5, stride=stride),
        OpSpec("dilconv", *shape, kernel=3, stride=stride, dilation=2),
        OpSpec("dilconv", *shape, kernel=5, stride=stride, dilation=2),
    )
