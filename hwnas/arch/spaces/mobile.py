"""`mobile`: stages of inverted residuals with searched kernel, expansion, squeeze-excite and depth; and MobileNetV2."""

from __future__ import annotations

import itertools

from hwnas.arch.kinds import make_divisible
from hwnas.arch.network import Network
from hwnas.arch.op import OpSpec
from hwnas.arch.slot_space import SlotSpace
from hwnas.arch.space import Decision, Slot
from hwnas.image_size import Size, SizeLike

_CHANNELS = (24, 40, 80, 160)  # of the stages, at width 1
_STRIDED = (2, 1, 3, 0)  # stages that halve the map, those that keep doing so on the smallest images first
_BLOCKS = 3  # per stage unless the instance says otherwise; the first is fixed, the others are chosen
_STEM, _HEAD = 16, 640  # channels at width 1
_SMALLEST_MAP = 4  # maps are not made smaller than this, so that small images keep something to look at
_FIRST_EXPANSION = 6  # of the fixed blocks
_KERNELS, _EXPANSIONS, _SQUEEZES = (3, 5, 7), (3, 6), (0, 4)

# Expansion, channels at width 1 and blocks of the stages of MobileNetV2.
_MOBILENET_V2 = ((1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1))
_MOBILENET_V2_STRIDED = (3, 2, 5, 1)  # in the order of `_STRIDED`

# Instances from small to large, for budgets that lie outside the default one: (width, blocks per stage).
RUNGS = ((0.1, 2), (0.15, 3), (0.25, 3), (0.35, 3), (0.5, 3), (0.7, 3), (1.0, 3), (1.4, 4), (2.0, 4))


def mobile(
    width: float = 1.0, resolution: SizeLike = 224, channels: int = 3, classes: int = 10, blocks: int = _BLOCKS
) -> SlotSpace:
    """MobileNet-like chains: 4 stages of a fixed first block and, unless `blocks` says otherwise, 2 searched ones.

    A searched block has kernel 3/5/7, expansion 3/6, squeeze-excite or not, or is skipped: that is how depth is
    searched. All of them are residual, so a supernet has a working path through every choice from its first step; the
    first blocks are those of MobileNetV2, with expansion 6 (docs/decisions/0012). On images too small for all strides
    of MobileNet, the first stage keeps its map and then the last one, so that there is something left to see behind
    the middle of the network. A kernel larger than the map that it reads is not offered: most of its weights would see
    padding. Of maps that are no squares, the shorter side decides.

    Args:
        width: channel multiplier; channels are rounded to multiples of 8.
        resolution: of the input: the side of a square, or a size.
        channels: of the input image.
        classes: number of logits.
        blocks: per stage, the fixed one included.
    """
    size = resolution = Size.of(resolution)
    stem = OpSpec("conv", channels, make_divisible(_STEM * width), *size, kernel=3, stride=2, act="relu6")
    slots = [Slot("stem", (stem,))]
    decisions: list[Decision] = []
    cin, size = stem.cout, stem.output_size
    strided = _STRIDED[: _halvings(size)]
    for stage, stage_channels in enumerate(_CHANNELS):
        cout = make_divisible(stage_channels * width)
        stride = 2 if stage in strided else 1
        first = OpSpec("mbconv", cin, cout, *size, 3, stride, _FIRST_EXPANSION, act="relu6")
        slots.append(Slot(f"s{stage}b0", (first,)))
        cin, size = cout, first.output_size
        kernels = [kernel for kernel in _KERNELS if kernel <= max(size.short, _KERNELS[0])]
        options = list(itertools.product(kernels, _EXPANSIONS, _SQUEEZES))
        ops = [OpSpec("mbconv", cin, cout, *size, kernel, 1, e, se=se, act="relu6") for kernel, e, se in options]
        ops.append(OpSpec("skip", cin, cout, *size))
        names = [f"k{kernel}e{expand}{'se' if se else ''}" for kernel, expand, se in options] + ["skip"]
        for block in range(1, blocks):
            name = f"s{stage}b{block}"
            slots.append(Slot(name, tuple(ops), decision=len(decisions)))
            decisions.append(Decision(name, tuple(names)))
    head = OpSpec("conv", cin, make_divisible(_HEAD * width), *size, act="relu6")
    slots.append(Slot("head", (head,)))
    slots.append(Slot("classifier", (OpSpec("classifier", head.cout, classes, *size),)))
    depth = "" if blocks == _BLOCKS else f"-d{blocks}"
    return SlotSpace(f"mobile@w{width:g}{depth}-r{resolution}", tuple(decisions), tuple(slots))


def _halvings(size: Size) -> int:
    """How often a map of this size can be halved and its shorter side still be long enough."""
    return 0 if size.short < 2 * _SMALLEST_MAP else 1 + _halvings(size.halved())


def mobilenet_v2(
    width: float = 1.0, resolution: SizeLike = 224, channels: int = 3, classes: int = 1000, *, small: bool = False
) -> Network:
    """MobileNetV2 (Sandler et al., 2018, table 2): the fixed network that everything is compared with.

    At width 1, 224 pixels and 1,000 classes it has 300.8 M MACs and 3.5 M parameters.

    Args:
        small: for small images and budgets, by the rules of the space `mobile`: the same stages halve the map, which
            stays at least 4 pixels wide, and the head becomes narrower than 1,280 channels with the width.
    """
    stem = OpSpec("conv", channels, make_divisible(32 * width), *Size.of(resolution), 3, 2, act="relu6")
    ops = [("stem", stem)]
    strided = _MOBILENET_V2_STRIDED[: _halvings(stem.output_size) if small else None]
    for stage, (expand, stage_channels, blocks) in enumerate(_MOBILENET_V2):
        cout = make_divisible(stage_channels * width)
        for block in range(blocks):
            cin, height, breadth = ops[-1][1].output_shape
            stride = 2 if block == 0 and stage in strided else 1
            spec = OpSpec("mbconv", cin, cout, height, breadth, 3, stride, expand, act="relu6")
            ops.append((f"s{stage}b{block}", spec))
    cin, height, breadth = ops[-1][1].output_shape
    head = make_divisible(1280 * (width if small else max(1.0, width)))
    ops.append(("head", OpSpec("conv", cin, head, height, breadth, act="relu6")))
    ops.append(("classifier", OpSpec("classifier", head, classes, height, breadth)))
    return Network(tuple(ops))
