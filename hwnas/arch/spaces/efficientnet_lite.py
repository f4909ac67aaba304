"""EfficientNet-Lite: EfficientNet (Tan and Le, 2019) without squeeze-excite, with ReLU6, a stem and a head of one size.

Source: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite.
"""

from __future__ import annotations

from math import ceil

from hwnas.arch.kinds import make_divisible
from hwnas.arch.network import Network
from hwnas.arch.op import OpSpec
from hwnas.image_size import Size, SizeLike

# Expansion, channels, blocks, stride and kernel of the stages of Lite0.
_STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
_STEM, _HEAD = 32, 1280

MODELS = ((1.0, 1.0, 224), (1.0, 1.1, 240), (1.1, 1.2, 260), (1.2, 1.4, 280), (1.4, 1.8, 300))
"""Factors on channels and on blocks, and input size in pixels, of Lite0 to Lite4."""


def efficientnet_lite(
    model: int = 0, width: float = 1.0, resolution: SizeLike = 224, channels: int = 3, classes: int = 1000
) -> Network:
    """EfficientNet-Lite`model`, 0 to 4.

    At width 1, 224 pixels and 1,000 classes Lite0 has 4.65 M parameters.

    Args:
        width: channel multiplier beside the model's own; it is 1 for the networks that were published.
        resolution: of the input: the side of a square, or a size.
        channels: of the input image.
        classes: number of logits.
    """
    wide, deep, _ = MODELS[model]
    last, size = len(_STAGES) - 1, Size.of(resolution)
    stem = OpSpec("conv", channels, make_divisible(_STEM * width), *size, 3, 2, act="relu6", pad="same")
    ops = [("stem", stem)]
    for stage, (expand, stage_channels, blocks, first, kernel) in enumerate(_STAGES):
        cout = make_divisible(stage_channels * wide * width)
        for block in range(blocks if stage in (0, last) else ceil(blocks * deep)):
            cin, height, breadth = ops[-1][1].output_shape
            stride = first if block == 0 else 1
            pad = "same" if stride > 1 else "centred"
            spec = OpSpec("mbconv", cin, cout, height, breadth, kernel, stride, expand, act="relu6", pad=pad)
            ops.append((f"s{stage}b{block}", spec))
    cin, height, breadth = ops[-1][1].output_shape
    head = OpSpec("conv", cin, make_divisible(_HEAD * width), height, breadth, act="relu6")
    return Network((*ops, ("head", head), ("classifier", OpSpec("classifier", head.cout, classes, height, breadth))))
