"""MobileNetV4 (Qin et al., 2024) without attention: the convolutional small and medium network."""

from __future__ import annotations

from hwnas.arch.kinds import make_divisible
from hwnas.arch.network import Network
from hwnas.arch.op import OpSpec
from hwnas.image_size import Size, SizeLike

# Kind, kernels before and behind the expansion (1 is none), expansion and channels of the blocks of each stage, whose
# first block halves the map.
_SMALL = (
    (("conv", 1, 3, 1, 32), ("conv", 1, 1, 1, 32)),
    (("conv", 1, 3, 1, 96), ("conv", 1, 1, 1, 64)),
    (("uib", 5, 5, 3, 96), *(("uib", 1, 3, 2, 96),) * 4, ("uib", 3, 1, 4, 96)),
    (
        ("uib", 3, 3, 6, 128),
        ("uib", 5, 5, 4, 128),
        ("uib", 1, 5, 4, 128),
        ("uib", 1, 5, 3, 128),
        ("uib", 1, 3, 4, 128),
        ("uib", 1, 3, 4, 128),
    ),
)
_MEDIUM = (
    (("fused", 1, 3, 4, 48),),
    (("uib", 3, 5, 4, 80), ("uib", 3, 3, 2, 80)),
    (
        ("uib", 3, 5, 6, 160),
        ("uib", 3, 3, 4, 160),
        ("uib", 3, 3, 4, 160),
        ("uib", 3, 5, 4, 160),
        ("uib", 3, 3, 4, 160),
        ("uib", 3, 1, 4, 160),
        ("uib", 1, 1, 2, 160),
        ("uib", 3, 1, 4, 160),
    ),
    (
        ("uib", 5, 5, 6, 256),
        ("uib", 5, 5, 4, 256),
        ("uib", 3, 5, 4, 256),
        ("uib", 3, 5, 4, 256),
        ("uib", 1, 1, 4, 256),
        ("uib", 3, 1, 4, 256),
        ("uib", 3, 5, 2, 256),
        ("uib", 5, 5, 4, 256),
        ("uib", 1, 1, 4, 256),
        ("uib", 1, 1, 4, 256),
        ("uib", 5, 1, 2, 256),
    ),
)
_MODELS = {"small": _SMALL, "medium": _MEDIUM}
_STEM, _HEAD, _HIDDEN = 32, 960, 1280


def mobilenet_v4(
    model: str = "small", width: float = 1.0, resolution: SizeLike = 224, channels: int = 3, classes: int = 1000
) -> Network:
    """MobileNetV4-Conv: tables 11 and 12 of the paper.

    At width 1 and 1,000 classes the small one has 3.77 M parameters, the medium one 9.72 M.

    Args:
        model: `small` or `medium`.
        width: channel multiplier. The hidden layer keeps its size, and the stem where it would become narrower.
        resolution: of the input: the side of a square, or a size.
        channels: of the input image.
        classes: number of logits.
    """
    stem_channels = make_divisible(_STEM * max(1.0, width))
    ops = [("stem", OpSpec("conv", channels, stem_channels, *Size.of(resolution), 3, 2, act="relu"))]
    for stage, blocks in enumerate(_MODELS[model]):
        for block, (kind, start, kernel, expansion, block_channels) in enumerate(blocks):
            cin, height, breadth = ops[-1][1].output_shape
            stride, cout = 2 if block == 0 else 1, make_divisible(block_channels * width)
            spec = OpSpec(kind, cin, cout, height, breadth, kernel, stride, act="relu", start=start)
            ops.append(
                (f"s{stage}b{block}", spec.with_inner(make_divisible(cin * expansion)) if expansion > 1 else spec)
            )
    cin, height, breadth = ops[-1][1].output_shape
    head = OpSpec("conv", cin, make_divisible(_HEAD * width), height, breadth, act="relu")
    hidden = OpSpec("normhidden", head.cout, _HIDDEN, height, breadth, act="relu")
    classifier = OpSpec("flatclassifier", _HIDDEN, classes, 1, 1)
    return Network((*ops, ("head", head), ("hidden", hidden), ("classifier", classifier)))
