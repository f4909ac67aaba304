"""`mobile`: stages of inverted residuals with searched kernel, expansion, squeeze-excite and depth; and MobileNetV2."""

from __future__ import annotations

import itertools

from hwnas.arch.kinds import make_divisible
from hwnas.arch.network import Network
from hwnas.arch.op import OpSpec
from hwnas.arch.space import Decision, SearchSpace, Slot

_STAGES = ((24, 2), (40, 2), (80, 2), (112, 1), (160, 2))  # channels at width 1, stride of the first block
_BLOCKS = 3  # per stage unless the instance says otherwise; the first is fixed, the others are chosen
_STEM, _HEAD = 16, 640  # channels at width 1
_SMALLEST_MAP = 4  # strides beyond this map size become 1, so that small images keep something to look at
_KERNELS, _EXPANSIONS, _SQUEEZES = (3, 5, 7), (3, 6), (0, 4)

_MOBILENET_V2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


# Instances from small to large, for budgets that lie outside the default one: (width, blocks per stage).
RUNGS = ((0.1, 2), (0.15, 3), (0.25, 3), (0.35, 3), (0.5, 3), (0.7, 3), (1.0, 3), (1.4, 4), (2.0, 4))


def mobile(
    width: float = 1.0, resolution: int = 224, channels: int = 3, classes: int = 10, blocks: int = _BLOCKS
) -> SearchSpace:
    """MobileNet-like chains: 5 stages of a fixed first block and, unless `blocks` says otherwise, 2 searched ones.

    A searched block has kernel 3/5/7, expansion 3/6, squeeze-excite or not, or is skipped: that is how depth is
    searched. All of them are residual, so a supernet has a working path through every choice from its first step; the
    first blocks are plain separable convolutions, so that the choices matter; see docs/decisions. A kernel larger than
    the map that it reads is not offered: most of its weights would see padding.

    Args:
        width: channel multiplier; channels are rounded to multiples of 8.
        resolution: of the square input, in pixels.
        channels: of the input image.
        classes: number of logits.
        blocks: per stage, the fixed one included.
    """
    size = resolution
    stem = OpSpec("conv", channels, make_divisible(_STEM * width), size, size, kernel=3, stride=2, act="relu6")
    slots = [Slot("stem", (stem,))]
    decisions: list[Decision] = []
    cin, size = stem.output_shape[:2]
    for stage, (stage_channels, first_stride) in enumerate(_STAGES):
        cout = make_divisible(stage_channels * width)
        stride = first_stride if size >= 2 * _SMALLEST_MAP else 1
        first = OpSpec("mbconv", cin, cout, size, size, 3, stride, 1, act="relu6")
        slots.append(Slot(f"s{stage}b0", (first,)))
        cin, size = first.output_shape[:2]
        kernels = [kernel for kernel in _KERNELS if kernel <= max(size, _KERNELS[0])]
        options = list(itertools.product(kernels, _EXPANSIONS, _SQUEEZES))
        ops = [OpSpec("mbconv", cin, cout, size, size, kernel, 1, e, se=se, act="relu6") for kernel, e, se in options]
        ops.append(OpSpec("skip", cin, cout, size, size))
        names = [f"k{kernel}e{expand}{'se' if se else ''}" for kernel, expand, se in options] + ["skip"]
        for block in range(1, blocks):
            name = f"s{stage}b{block}"
            slots.append(Slot(name, tuple(ops), decision=len(decisions)))
            decisions.append(Decision(name, tuple(names)))
    head = OpSpec("conv", cin, make_divisible(_HEAD * width), size, size, act="relu6")
    slots.append(Slot("head", (head,)))
    slots.append(Slot("classifier", (OpSpec("classifier", head.cout, classes, size, size),)))
    depth = "" if blocks == _BLOCKS else f"-d{blocks}"
    return SearchSpace(f"mobile@w{width:g}{depth}-r{resolution}", tuple(decisions), tuple(slots))


def mobilenet_v2(
    width: float = 1.0, resolution: int = 224, channels: int = 3, classes: int = 1000, *, small: bool = False
) -> Network:
    """MobileNetV2 (Sandler et al., 2018, table 2): the fixed network that everything is compared with.

    At width 1, 224 pixels and 1,000 classes it has 300.8 M MACs and 3.5 M parameters.

    Args:
        small: for small images and budgets, as the space `mobile` does: maps stay at least 4 pixels wide, and the head
            becomes narrower than 1,280 channels with the width.
    """
    smallest = _SMALLEST_MAP if small else 1
    stem = OpSpec("conv", channels, make_divisible(32 * width), resolution, resolution, 3, 2, act="relu6")
    ops = [("stem", stem)]
    for stage, (expand, stage_channels, blocks, first_stride) in enumerate(_MOBILENET_V2):
        cout = make_divisible(stage_channels * width)
        for block in range(blocks):
            cin, height, breadth = ops[-1][1].output_shape
            stride = first_stride if block == 0 and height >= 2 * smallest else 1
            spec = OpSpec("mbconv", cin, cout, height, breadth, 3, stride, expand, act="relu6")
            ops.append((f"s{stage}b{block}", spec))
    cin, height, _ = ops[-1][1].output_shape
    head = make_divisible(1280 * (width if small else max(1.0, width)))
    ops.append(("head", OpSpec("conv", cin, head, height, height, act="relu6")))
    ops.append(("classifier", OpSpec("classifier", head, classes, height, height)))
    return Network(tuple(ops))
