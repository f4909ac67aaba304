"""MobileNetV3 (Howard et al., 2019), and the largest network of Once-for-All's supernet of it (Cai et al., 2020)."""

from __future__ import annotations

from hwnas.arch.kinds import make_divisible
from hwnas.arch.network import Network
from hwnas.arch.op import OpSpec
from hwnas.image_size import Size, SizeLike

# Expansion, channels, kernel, squeeze-excite and activation of the blocks of each stage, and the stage's stride.
_RELU, _SWISH = "relu", "hswish"
_LARGE = (
    (1, ((1, 16, 3, 0, _RELU),)),
    (2, ((4, 24, 3, 0, _RELU), (3, 24, 3, 0, _RELU))),
    (2, ((3, 40, 5, 4, _RELU),) * 3),
    (2, ((6, 80, 3, 0, _SWISH), (2.5, 80, 3, 0, _SWISH), (2.3, 80, 3, 0, _SWISH), (2.3, 80, 3, 0, _SWISH))),
    (1, ((6, 112, 3, 4, _SWISH),) * 2),
    (2, ((6, 160, 5, 4, _SWISH),) * 3),
)
_SMALL = (
    (2, ((1, 16, 3, 4, _RELU),)),
    (2, ((4.5, 24, 3, 0, _RELU), (88 / 24, 24, 3, 0, _RELU))),
    (2, ((4, 40, 5, 4, _SWISH), (6, 40, 5, 4, _SWISH), (6, 40, 5, 4, _SWISH))),
    (1, ((3, 48, 5, 4, _SWISH),) * 2),
    (2, ((6, 96, 5, 4, _SWISH),) * 3),
)
_OFA = (
    _LARGE[0],
    (2, ((6, 24, 7, 0, _RELU),) * 4),
    (2, ((6, 40, 7, 4, _RELU),) * 4),
    (2, ((6, 80, 7, 0, _SWISH),) * 4),
    (1, ((6, 112, 7, 4, _SWISH),) * 4),
    (2, ((6, 160, 7, 4, _SWISH),) * 4),
)
_MODELS = {"large": (_LARGE, 960, 1280), "small": (_SMALL, 576, 1024), "ofa": (_OFA, 960, 1280)}
"""Stages, channels of the head, and of the hidden layer behind it."""
_STEM, _NARROW = 16, 0.75  # narrower networks keep the stem


def mobilenet_v3(
    model: str = "large",
    width: float = 1.0,
    resolution: SizeLike = 224,
    channels: int = 3,
    classes: int = 1000,
    *,
    pad: str = "centred",
) -> Network:
    """MobileNetV3: tables 1 and 2 of the paper.

    At width 1, 224 pixels and 1,000 classes the large one has 5.48 M parameters, the small one 2.54 M.

    Args:
        model: `large`, `small`, or `ofa`, which has four blocks a stage with kernel 7 and expansion 6.
        width: channel multiplier. The hidden layer keeps its size, but for `ofa`.
        resolution: of the input: the side of a square, or a size.
        channels: of the input image.
        classes: number of logits.
        pad: of what has a stride: `same` in the networks that were trained with TensorFlow.
    """
    stages, head_channels, hidden_channels = _MODELS[model]
    stem_channels = _STEM if width < _NARROW else make_divisible(_STEM * width)
    ops = [("stem", OpSpec("conv", channels, stem_channels, *Size.of(resolution), 3, 2, act=_SWISH, pad=pad))]
    for stage, (first, blocks) in enumerate(stages):
        for block, (expansion, block_channels, kernel, se, act) in enumerate(blocks):
            cin, height, breadth = ops[-1][1].output_shape
            stride = first if block == 0 else 1
            spec = OpSpec(
                "mbconv",
                cin,
                make_divisible(block_channels * width),
                height,
                breadth,
                kernel,
                stride,
                se=se,
                act=act,
                pad=pad if stride > 1 else "centred",
            )
            ops.append(
                (f"s{stage}b{block}", spec.with_inner(make_divisible(cin * expansion) if expansion > 1 else cin))
            )
    cin, height, breadth = ops[-1][1].output_shape
    head = OpSpec("conv", cin, make_divisible(head_channels * width), height, breadth, act=_SWISH)
    mixed = make_divisible(hidden_channels * width) if model == "ofa" else hidden_channels
    hidden = OpSpec("hidden", head.cout, mixed, height, breadth, act=_SWISH)
    classifier = OpSpec("flatclassifier", mixed, classes, 1, 1)
    return Network((*ops, ("head", head), ("hidden", hidden), ("classifier", classifier)))
