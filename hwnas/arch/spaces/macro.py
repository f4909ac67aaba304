"""`macro`: layers in a row with one of six ops and skip connections from all before (ENAS; Pham et al., ICML 2018)."""

from __future__ import annotations

from hwnas.arch.kinds import make_divisible
from hwnas.arch.op import OpSpec
from hwnas.arch.slot_space import SlotSpace
from hwnas.arch.space import Decision, Slot
from hwnas.image_size import Size, SizeLike

OPTIONS = ("conv_3x3", "conv_5x5", "sep_conv_3x3", "sep_conv_5x5", "max_pool_3x3", "avg_pool_3x3")
"""Of every layer."""
SKIPS = ("no", "skip")
"""Of every pair of a layer and an earlier one."""

_CHANNELS, _DEPTH = 32, 12
_LARGE = 64  # pixels; the stem halves larger images until their shorter side is no longer than that

# Instances from small to large, for budgets to choose from: (width, layers). The paper's have 12 layers.
RUNGS = ((0.25, 3), (0.25, 6), (0.25, 12), (0.5, 12), (1.0, 12), (1.5, 12), (2.0, 12), (3.0, 12))


def macro(
    width: float = 1.0, resolution: SizeLike = 32, channels: int = 3, classes: int = 10, layers: int = _DEPTH
) -> SlotSpace:
    """Stem, layers, classifier; before the layers at 1/3 and 2/3 of the depth the map is halved and channels double.

    A layer reads the one before it (the first one the stem): a 1 x 1 convolution, one of six ops, and a 1 x 1
    convolution of what that makes together with the outputs of the earlier layers that it skips to; each of these, the
    stem included, is a decision of its own. With 12 layers that is 6^12 · 2^66 networks, as the paper counts them.

    A 1 x 1 convolution of concatenated maps is the sum of a 1 x 1 convolution of each, which makes the latency a sum
    over decisions; see docs/decisions/0022. A skip over a reduction brings its own one.

    Args:
        width: multiplier of the 32, 64 and 128 channels, which are rounded to multiples of 8. The paper's final
            network is the one of width 3.
        resolution: of the input: the side of a square, or a size.
        channels: of the input image.
        classes: number of logits.
        layers: how many; 12 in the paper.
    """
    resolution = Size.of(resolution)
    slots = _stem(channels, make_divisible(_CHANNELS * width), resolution)
    decisions: list[Decision] = []
    nodes = [slots[-1]]
    for layer in range(1, layers + 1):
        reducing = layer - 1 in (layers // 3, 2 * layers // 3)
        _layer(slots, decisions, nodes, f"l{layer}", reducing=reducing)
        nodes.append(slots[-1])
    last = slots[-1].ops[0]
    slots.append(Slot("classifier", (OpSpec("classifier", last.cout, classes, *last.output_size),)))
    depth = "" if layers == _DEPTH else f"-d{layers}"
    return SlotSpace(f"macro@w{width:g}{depth}-r{resolution}", tuple(decisions), tuple(slots))


def _stem(channels: int, inner: int, size: Size) -> list[Slot]:
    slots: list[Slot] = []
    while size.short > _LARGE:
        strided = OpSpec("conv", channels, inner, *size, kernel=3, stride=2, act="relu")
        slots.append(Slot(f"stem{len(slots)}", (strided,)))
        channels, size = inner, size.halved()
    return [*slots, Slot("stem", (OpSpec("conv", channels, inner, *size, kernel=3, act="relu"),))]


def _layer(slots: list[Slot], decisions: list[Decision], nodes: list[Slot], name: str, *, reducing: bool) -> None:
    """Append the slots and decisions of a layer that reads the last of `nodes` and may skip to the others."""
    *earlier, _ = nodes
    channels, size = slots[-1].ops[0].cout, slots[-1].ops[0].output_size
    if reducing:
        half = OpSpec("shrink", channels, 2 * channels, *size, stride=2, act="relu")
        slots.append(Slot(f"{name}half", (half,)))
        channels, size = half.cout, size.halved()
    shape = (channels, channels, *size)
    slots += [
        Slot(f"{name}in", (OpSpec("conv", *shape, act="relu"),)),
        Slot(f"{name}op", _ops(channels, size), len(decisions)),
        Slot(f"{name}out", (OpSpec("conv", *shape),)),
    ]
    decisions.append(Decision(name, OPTIONS))
    for index, node in enumerate(earlier):
        total, skip = slots[-1].name, f"{name}s{index}"
        written = node.ops[0].output_size
        stride = _stride(written, size)
        taken = "conv" if stride == 1 else "shrink"
        source = (node.ops[0].cout, channels, *written)
        edge = tuple(OpSpec(kind, *source, stride=stride) for kind in ("none", taken))
        sums = tuple(OpSpec(kind, *shape, inputs=2) for kind in ("first", "add"))
        slots += [
            Slot(skip, edge, len(decisions), (node.name,), weighted=False),
            Slot(f"{skip}sum", sums, len(decisions), (total, skip)),
        ]
        decisions.append(Decision(f"{name}from{index}", SKIPS))
    slots.append(Slot(name, (OpSpec("relu", *shape),)))


def _stride(source: Size, size: Size) -> int:
    """By how much a map of this size is larger than one that was made from it by halvings."""
    stride = 1
    while source != size:
        source, stride = source.halved(), 2 * stride
    return stride


def _ops(channels: int, size: Size) -> tuple[OpSpec, ...]:
    """One op for each of `OPTIONS`."""
    shape = (channels, channels, *size)
    return (
        OpSpec("conv", *shape, kernel=3, act="relu"),
        OpSpec("conv", *shape, kernel=5, act="relu"),
        OpSpec("separable", *shape, kernel=3, act="relu"),
        OpSpec("separable", *shape, kernel=5, act="relu"),
        OpSpec("maxpool", *shape, kernel=3),
        OpSpec("avgpool", *shape, kernel=3),
    )
