"""`fbnet`: the layer-wise space of FBNet (Wu et al., CVPR 2019, tables 1 and 2), 22 layers of 9 candidate blocks."""

from __future__ import annotations

from hwnas.arch.kinds import make_divisible
from hwnas.arch.op import OpSpec
from hwnas.arch.slot_space import SlotSpace
from hwnas.arch.space import Decision, Slot
from hwnas.image_size import Size, SizeLike

OPTIONS = {
    "k3_e1": (3, 1, 1),
    "k3_e1_g2": (3, 1, 2),
    "k3_e3": (3, 3, 1),
    "k3_e6": (3, 6, 1),
    "k5_e1": (5, 1, 1),
    "k5_e1_g2": (5, 1, 2),
    "k5_e3": (5, 3, 1),
    "k5_e6": (5, 6, 1),
}
"""Kernel, expansion and groups of the candidate blocks; `skip` comes after them."""

_STAGES = ((16, 1), (24, 4), (32, 4), (64, 4), (112, 4), (184, 4), (352, 1))  # channels at width 1, layers
_STEM = 16
_HEAD, _SMALL_HEAD = 1984, 1504  # FBNet-B's and -C's; that of HW-NAS-Bench on small images, and of FBNet-A
_STEM_STRIDE = -1
_STRIDED = (
    5,
    3,
    2,
    1,
    _STEM_STRIDE,
)  # what halves the map, and what keeps doing so on small images first
_SMALLEST_MAP = 3  # of the paper's own smallest images, 96 pixels

# Instances from small to large, for budgets to choose from: (width, depth), and the depth is fixed.
RUNGS = ((0.1, 0), (0.25, 0), (0.5, 0), (0.75, 0), (1.0, 0), (1.5, 0))


def fbnet(width: float = 1.0, resolution: SizeLike = 224, channels: int = 3, classes: int = 10) -> SlotSpace:
    """Stem, 22 searched layers, head and classifier.

    Every layer takes one of eight blocks, with kernel 3 or 5 and expansion 1, 3 or 6, where expansion 1 may come with
    two groups, or is skipped. Where a layer changes channels or size, skipping it is a 1 x 1 convolution with batch
    norm and ReLU, as in the authors' code. From 65 pixels on, all five strides are those of the paper; smaller images
    keep the late ones, which at 32 pixels is the setting of HW-NAS-Bench (Li et al., 2021), stem included.

    Args:
        width: channel multiplier; channels are rounded to multiples of 8.
        resolution: of the input: the side of a square, or a size.
        channels: of the input image.
        classes: number of logits.
    """
    size = resolution = Size.of(resolution)
    strided = _STRIDED[: _halvings(size)]
    stride = 2 if _STEM_STRIDE in strided else 1
    stem = OpSpec("conv", channels, make_divisible(_STEM * width), *size, 3, stride, act="relu")
    slots = [Slot("stem", (stem,))]
    decisions: list[Decision] = []
    cin, size = stem.cout, stem.output_size
    for stage, (stage_channels, layers) in enumerate(_STAGES):
        cout = make_divisible(stage_channels * width)
        for layer in range(layers):
            stride = 2 if layer == 0 and stage in strided else 1
            name = f"l{len(decisions)}"
            slots.append(Slot(name, _candidates(cin, cout, size, stride), decision=len(decisions)))
            decisions.append(Decision(name, (*OPTIONS, "skip")))
            cin, size = cout, slots[-1].ops[0].output_size
    head_channels = make_divisible((_HEAD if len(strided) == len(_STRIDED) else _SMALL_HEAD) * width)
    slots.append(Slot("head", (OpSpec("conv", cin, head_channels, *size, act="relu"),)))
    slots.append(Slot("classifier", (OpSpec("classifier", head_channels, classes, *size),)))
    return SlotSpace(f"fbnet@w{width:g}-r{resolution}", tuple(decisions), tuple(slots))


def _candidates(cin: int, cout: int, size: Size, stride: int) -> tuple[OpSpec, ...]:
    """The nine options of a layer, in the order of `OPTIONS`, then skip."""
    blocks = [
        OpSpec("irf", cin, cout, *size, kernel, stride, expand, groups) for kernel, expand, groups in OPTIONS.values()
    ]
    if stride == 1 and cin == cout:
        return (*blocks, OpSpec("skip", cin, cout, *size))
    return (*blocks, OpSpec("conv", cin, cout, *size, stride=stride, act="relu"))


def _halvings(size: Size) -> int:
    """How often a map of this size can be halved and its shorter side still be long enough."""
    smaller = size.halved()
    return 0 if smaller.short < _SMALLEST_MAP else 1 + _halvings(smaller)
