"""Search spaces by name. A name with constants, `mobile@w0.5-r32`, is one instance."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, overload

from hwnas.arch.network import Network
from hwnas.arch.slot_space import SlotSpace
from hwnas.arch.space import SearchSpace
from hwnas.arch.spaces.chain import RUNGS as CHAIN_RUNGS
from hwnas.arch.spaces.chain import ChainSpace, chain
from hwnas.arch.spaces.darts_cells import RUNGS as DARTS_RUNGS
from hwnas.arch.spaces.darts_cells import darts
from hwnas.arch.spaces.efficientnet_lite import MODELS, efficientnet_lite
from hwnas.arch.spaces.elastic import elastic
from hwnas.arch.spaces.fbnet import RUNGS as FBNET_RUNGS
from hwnas.arch.spaces.fbnet import fbnet
from hwnas.arch.spaces.macro import RUNGS as MACRO_RUNGS
from hwnas.arch.spaces.macro import macro
from hwnas.arch.spaces.mobile import RUNGS, mobile, mobilenet_v2
from hwnas.arch.spaces.mobilenet_v3 import mobilenet_v3
from hwnas.arch.spaces.mobilenet_v4 import mobilenet_v4
from hwnas.arch.spaces.nasbench201 import nasbench201
from hwnas.arch.spaces.toy import toy
from hwnas.errors import InputError
from hwnas.image_size import SMALLEST_SIDE, Size, SizeLike
from hwnas.near_names import did_you_mean

__all__ = [
    "chain",
    "darts",
    "elastic",
    "fbnet",
    "macro",
    "mobile",
    "mobilenet_v2",
    "nasbench201",
    "parent_names",
    "parent_network",
    "parse_constants",
    "parse_instance",
    "space_instance",
    "space_names",
    "space_rungs",
    "space_summary",
    "toy",
    "usual_constants",
]

Rungs = tuple[tuple[float, int], ...]


@dataclass(frozen=True, slots=True)
class _Family:
    """A space as a function of its constants.

    Attributes:
        summary: one line for people.
        make: from width, size of the input, input channels and classes, and the depth where one is given.
        depths: smallest, default and largest depth; None where the depth is fixed.
        rungs: (width, depth) of instances from small to large.
        depth_of: what a depth counts.
        usual: width and size of the input to show it by.
    """

    summary: str
    make: Callable[..., SearchSpace]
    depths: tuple[int, int, int] | None = None
    rungs: Rungs = ()
    depth_of: str = "blocks per stage"
    usual: tuple[float, Size] = (0.25, Size.square(32))


_PARENTS: dict[str, Callable[..., Network]] = {
    **{f"efficientnet-lite{model}": partial(efficientnet_lite, model) for model in range(len(MODELS))},
    "mobilenet-v2": mobilenet_v2,
    **{f"mobilenet-v3-{model}": partial(mobilenet_v3, model) for model in ("large", "small")},
    **{f"tf-mobilenet-v3-{model}": partial(mobilenet_v3, model, pad="same") for model in ("large", "small")},
    **{f"mobilenet-v4-conv-{model}": partial(mobilenet_v4, model) for model in ("small", "medium")},
    "ofa-mobilenet-v3": partial(mobilenet_v3, "ofa"),
}
"""Networks by name, from width, resolution, input channels and classes."""


_SIDES = {f"efficientnet-lite{model}": side for model, (*_, side) in enumerate(MODELS)}
"""Of the inputs that they were published for, where these differ from 224 pixels."""


def _elastic(name: str, width: float, resolution: SizeLike, channels: int, classes: int) -> SlotSpace:
    return elastic(f"{name}@w{width:g}-r{resolution}", _PARENTS[name](width, resolution, channels, classes))


_FAMILIES = {
    "chain": _Family(
        "layer chains of MetaQNN, scored by short trainings", chain, (1, 12, 24), CHAIN_RUNGS, depth_of="layers"
    ),
    "darts": _Family("two cells of DARTS, two edges a node", darts, (3, 8, 20), DARTS_RUNGS, depth_of="cells"),
    "fbnet": _Family("22 layers of the nine blocks of FBNet", fbnet, rungs=FBNET_RUNGS),
    "macro": _Family("layers with skip connections, of ENAS", macro, (3, 12, 20), MACRO_RUNGS, depth_of="layers"),
    "mobile": _Family(
        "residual MobileNet blocks: kernel, expansion, squeeze-excite, depth; the default", mobile, (2, 3, 8), RUNGS
    ),
    "nasbench201": _Family("cells of NAS-Bench-201", nasbench201, (1, 5, 20), ((1.0, 1), (1.0, 3), (1.0, 5))),
    "toy": _Family("81 networks, for tests", toy),
    **{
        name: _Family(
            f"the networks inside of {name}: kernel, expansion, depth",
            partial(_elastic, name),
            rungs=((1.0, 0),),
            usual=(1.0, Size.square(_SIDES.get(name, 224))),
        )
        for name in _PARENTS
    },
}


def space_names() -> tuple[str, ...]:
    """Names of the spaces, sorted."""
    return tuple(sorted(_FAMILIES))


def parent_names() -> tuple[str, ...]:
    """Names of the networks that elastic spaces are made from; the spaces have the same names. Sorted."""
    return tuple(sorted(_PARENTS))


def parent_network(
    name: str, *, width: float = 1.0, resolution: SizeLike = 224, channels: int = 3, classes: int = 1000
) -> Network:
    """The network that the elastic space `name` is made from, the largest one of the instance.

    Raises:
        InputError: the name is unknown.
    """
    if name not in _PARENTS:
        raise InputError(f"there is no parent named {name!r}", hint=f"known parents: {', '.join(parent_names())}")
    return _PARENTS[name](width, resolution, channels, classes)


def space_summary(name: str) -> str:
    """What a space is, in one line.

    Raises:
        InputError: the name is unknown.
    """
    return _family(name).summary


def space_rungs(name: str) -> Rungs:
    """(width, depth) of instances from small to large, for budgets to choose from; empty where a space has one size.

    Raises:
        InputError: the name is unknown.
    """
    return _family(name).rungs


def usual_constants(name: str) -> tuple[float, Size]:
    """Width and size of the input to show a space by: of an elastic space those of its network.

    Raises:
        InputError: the name is unknown.
    """
    return _family(name).usual


@overload
def space_instance(
    name: Literal["chain"], *, width: float, resolution: SizeLike, channels: int, classes: int, depth: int = 0
) -> ChainSpace: ...


@overload
def space_instance(
    name: Literal["darts", "fbnet", "macro", "mobile", "nasbench201", "toy"],
    *,
    width: float,
    resolution: SizeLike,
    channels: int,
    classes: int,
    depth: int = 0,
) -> SlotSpace: ...


@overload
def space_instance(
    name: str, *, width: float, resolution: SizeLike, channels: int, classes: int, depth: int = 0
) -> SearchSpace: ...


def space_instance(
    name: str, *, width: float, resolution: SizeLike, channels: int, classes: int, depth: int = 0
) -> SearchSpace:
    """An instance of the space `name`.

    Args:
        resolution: of the input: the side of a square, or a size.
        depth: blocks per stage, cells or layers; 0 is the default of the space.

    Raises:
        InputError: the name is unknown or a constant is out of range.
    """
    family = _family(name)
    if not 0.05 <= width <= 8:
        raise InputError(f"the width multiplier lies between 0.05 and 8, not {width:g}")
    size = Size.of(resolution, smallest=SMALLEST_SIDE)
    width = round(width, 4)  # so that the instance's name says it exactly
    if channels < 1 or classes < 2:
        raise InputError(f"a network needs at least 1 input channel and 2 classes, not {channels} and {classes}")
    if not depth:
        return family.make(width, size, channels, classes)
    if family.depths is None:
        raise InputError(f"the depth of {name!r} is fixed, so it cannot be {depth}", hint="leave out --depth")
    if not family.depths[0] <= depth <= family.depths[2]:
        raise InputError(
            f"the depth of {name!r} lies between {family.depths[0]} and {family.depths[2]} {family.depth_of}, "
            f"not {depth}",
            hint=f"the default is {family.depths[1]}",
        )
    return family.make(width, size, channels, classes, depth)


def parse_instance(text: str, *, channels: int, classes: int) -> SearchSpace:
    """The instance whose name is `text`, for example `mobile@w0.5-r32` or `mobile@w0.5-d4-r32`.

    Raises:
        InputError: the text does not name an instance.
    """
    name, width, depth, resolution = parse_constants(text)
    return space_instance(name, width=width, resolution=resolution, channels=channels, classes=classes, depth=depth)


def parse_constants(text: str) -> tuple[str, float, int, Size]:
    """Space, width, depth (0 where it is the space's default) and resolution of the instance whose name is `text`.

    Raises:
        InputError: the text does not name an instance.
    """
    match = re.fullmatch(
        r"([a-z0-9][a-z0-9-]*)@w([0-9.]{1,8})(?:-d([0-9]{1,2}))?-r([0-9]{1,4}(?:x[0-9]{1,4})?)", text, re.ASCII
    )
    if match is None or match[2].count(".") > 1 or match[2] == ".":
        raise InputError(f"{text!r} does not name an instance of a space", hint="an example: mobile@w0.5-r32")
    return match[1], float(match[2]), int(match[3] or 0), Size.of(match[4])


def instance_options(space: SearchSpace) -> str:
    """The options of commands that name an instance, such as `--space mobile --width 0.25 --resolution 32 ...`."""
    name, width, depth, resolution = parse_constants(space.name)
    deep = f" --depth {depth}" if depth else ""
    images = f"--channels {space.input_shape[0]} --classes {space.classes}"
    return f"--space {name} --width {width:g}{deep} --resolution {resolution} {images}"


def _family(name: str) -> _Family:
    if name not in _FAMILIES:
        raise InputError(
            f"unknown search space {name!r}",
            hint=f"{did_you_mean(name, space_names())}known spaces: {', '.join(space_names())}",
        )
    return _FAMILIES[name]
