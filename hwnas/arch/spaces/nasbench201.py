"""`nasbench201`: cells of four nodes with one of five ops on each of their six edges (Dong and Yang, ICLR 2020)."""

from __future__ import annotations

from hwnas.arch.kinds import make_divisible
from hwnas.arch.op import OpSpec
from hwnas.arch.slot_space import SlotSpace
from hwnas.arch.space import Decision, Slot
from hwnas.image_size import Size, SizeLike

OPTIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""Of every edge, in the order and by the names of the benchmark."""
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""From node to node, in the order of the benchmark's architecture strings."""
_CHANNELS, _STAGES, _CELLS = 16, 3, 5


def nasbench201(
    width: float = 1.0, resolution: SizeLike = 32, channels: int = 3, classes: int = 10, cells: int = _CELLS
) -> SlotSpace:
    """Three stages of equal cells, a residual block of stride 2 between them; 15,625 architectures.

    All cells share their six decisions. A node is the sum of its incoming edges. A supernet warms up on mixtures,
    with all options in every step: on one path at a time, what reads a node learns to do without the convolutions
    before it (docs/decisions/0034).

    Args:
        width: multiplier of the 16, 32 and 64 channels of the stages, which are rounded to multiples of 8.
        resolution: of the input: the side of a square, or a size.
        channels: of the input image.
        classes: number of logits.
        cells: per stage; 5 in the benchmark.
    """
    width_channels = make_divisible(_CHANNELS * width)
    size = resolution = Size.of(resolution)
    slots = [Slot("stem", (OpSpec("conv", channels, width_channels, *size, kernel=3),))]
    for stage in range(_STAGES):
        if stage:
            block = OpSpec("resblock", width_channels, 2 * width_channels, *size, stride=2)
            slots.append(Slot(f"reduce{stage}", (block,)))
            width_channels, size = block.cout, size.halved()
        for cell in range(cells):
            slots += _cell(f"s{stage}c{cell}", slots[-1].name, width_channels, size)
    slots.append(Slot("head", (OpSpec("normclassifier", width_channels, classes, *size),)))
    depth = "" if cells == _CELLS else f"-d{cells}"
    decisions = tuple(Decision(f"{target}from{source}", OPTIONS) for source, target in EDGES)
    return SlotSpace(f"nasbench201@w{width:g}{depth}-r{resolution}", decisions, tuple(slots), mixed_warmup=True)


def _cell(name: str, before: str, channels: int, size: Size) -> list[Slot]:
    """The slots of one cell that reads the slot `before`."""
    nodes = [before]
    slots = []
    for target in range(1, 4):
        incoming = [edge for edge in EDGES if edge[1] == target]
        edges = [f"{name}e{source}{target}" for source, _ in incoming]
        for (source, _), edge in zip(incoming, edges, strict=True):
            decision = EDGES.index((source, target))
            slots.append(Slot(edge, _ops(channels, size), decision, (nodes[source],)))
        if len(edges) > 1:
            total = OpSpec("add", channels, channels, *size, inputs=len(edges))
            slots.append(Slot(f"{name}n{target}", (total,), reads=tuple(edges)))
        nodes.append(slots[-1].name)
    return slots


def _ops(channels: int, size: Size) -> tuple[OpSpec, ...]:
    """One op for each of `OPTIONS`."""
    shape = (channels, channels, *size)
    return (
        OpSpec("none", *shape),
        OpSpec("skip", *shape),
        OpSpec("reluconv", *shape),
        OpSpec("reluconv", *shape, kernel=3),
        OpSpec("avgpool", *shape, kernel=3),
    )
