"""What the one-shot tasks of `bench_meta.py` are made of: alphabets that are held out, and the networks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hwnas.arch.costs import costs
from hwnas.arch.network import Network
from hwnas.arch.op import OpSpec
from hwnas.arch.spaces import space_instance
from hwnas.data import Dataset, Images
from hwnas.errors import InputError
from hwnas.meta.pools import ClassPool


@dataclass(frozen=True)
class Split:
    """Pools of disjoint alphabets, all normalised as the first."""

    train: ClassPool
    valid: ClassPool
    test: ClassPool


def split(pool: ClassPool, other: ClassPool | None, seed: int, ways: int) -> Split:
    """Alphabets take turns: that of number `seed` is tested on, and the next one with enough classes validated on.

    Args:
        other: what to test on in place of an alphabet of `pool`.
    """
    large = [name for name, labels in pool.groups.items() if len(labels) >= ways]
    if len(large) < 2 + (other is None):
        raise InputError(f"{pool.name} has {len(large)} groups of {ways} classes, too few to hold some out")
    tested, validated = (large[(seed + turn) % len(large)] for turn in range(2))
    trained, valid = pool.hold_out([validated] if other else [tested, validated])
    if other is None:
        valid, other = valid.hold_out([tested])
    return Split(trained, *(replace(part, mean=trained.mean, std=trained.std) for part in (valid, other)))


def conv4(resolution: int, classes: int, width: int = 64) -> Network:
    """The network of Snell et al. (2017, section 3): four times a convolution 3 x 3, batch norm, ReLU, and a pool.

    Odd maps are not cut but filled up, and what is left is averaged, not flattened, so its features are `width` ones at
    any resolution.
    """
    ops, channels, size = [], 1, resolution
    for layer in range(4):
        ops.append((f"conv{layer}", OpSpec("conv", channels, width, size, size, kernel=3, act="relu")))
        ops.append((f"pool{layer}", OpSpec("tilepool", width, width, size, size)))
        channels, size = width, ops[-1][1].output_shape[1]
    return Network((*ops, ("classifier", OpSpec("classifier", channels, classes, size, size))))


def chained(layers: Sequence[str], width: float, resolution: int, classes: int) -> Network:
    """The network of the space `chain` with these layers.

    Raises:
        InputError: there is no such layer, or it may not follow those before it.
    """
    space = space_instance("chain", width=width, resolution=resolution, channels=1, classes=classes)
    unknown = sorted(set(layers) - set(space.names))
    if unknown:
        raise InputError(f"{space.name} has no layer {', '.join(unknown)}", hint=f"it has {', '.join(space.names)}")
    choices = [space.names.index(layer) for layer in layers]
    return space.network(space.architecture(choices + [0] * (space.layers - len(choices))))


def ordinary(pool: ClassPool) -> Dataset:
    """All classes of a pool, turned by multiples of 90° as classes of their own, to train a classifier on."""
    pixels, labels = pool.images.pixels, pool.images.labels
    turned = Images(
        np.concatenate([np.rot90(pixels, k, axes=(2, 3)) for k in range(4)]),
        np.concatenate([labels + k * len(pool.classes) for k in range(4)]),
    )
    names = tuple(f"{name}/{90 * k}" for k in range(4) for name in pool.classes)
    few = turned.subset(np.arange(2))
    return Dataset(pool.name, names, turned, few, few, pool.mean, pool.std, flip=False)


def with_classes(network: Network, classes: int) -> Network:
    """The same network with a classifier of so many classes."""
    *ops, (name, last) = network.ops
    return Network((*ops, (name, replace(last, cout=classes))), network.reads)


def network_facts(network: Network) -> dict[str, float]:
    """MACs in millions, and thousands of parameters."""
    found = costs(network.graph)
    return {"mmacs": found.macs / 1e6, "kparams": found.params / 1e3}


def mean_and_error(values: Sequence[float]) -> list[float | None]:
    """Mean and standard error; None for that of a single value."""
    error = float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None
    return [float(np.mean(values)), error]
