"""Tasks: a few images to adapt to, others to judge by, and what they cost on a device with a budget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hwnas.data import augment, to_input
from hwnas.errors import InputError
from hwnas.image_size import Size
from hwnas.latency.additive_latency import AdditiveLatency
from hwnas.latency.model import LatencyModel
from hwnas.meta.pools import ClassPool

AUGMENTATIONS = ("none", "small", "strong")
"""What is done with the images of a task; see `augmented`."""

Places = NDArray[np.int64]

Batch = tuple[Tensor, Tensor]
"""Images (B, C, H, W), normalised, and labels (B,) below the number of ways."""


@dataclass(frozen=True)
class Task:
    """What an initialisation is adapted to.

    Attributes:
        support: the images that are learned from; labels count the classes of the task.
        query: other images of the same classes.
        classes: names, in the order of the labels.
        places: positions in the pool of the support images and of the query images.
        model: latencies of the options on the task's device; None where there is no device.
        budget_ms: what the network may take there.
    """

    support: Batch
    query: Batch
    classes: tuple[str, ...]
    places: tuple[tuple[int, ...], tuple[int, ...]]
    model: LatencyModel | None = None
    budget_ms: float = 0.0


@dataclass(frozen=True)
class Shape:
    """How tasks are drawn; `dataclasses.asdict` of it is JSON.

    Attributes:
        ways: classes of a task.
        shots, queries: images of each class in the support set and in the query set.
        within: whether the classes of a task come from one group, such as one alphabet.
        rotate: whether each class of a task is turned by a multiple of 90° that is drawn for it, which makes four
            classes of one: for letters, not for photographs.
    """

    ways: int = 5
    shots: int = 5
    queries: int = 5
    within: bool = False
    rotate: bool = False

    def __post_init__(self) -> None:
        for name, least in (("ways", 2), ("shots", 1), ("queries", 1)):
            if getattr(self, name) < least:
                raise InputError(
                    f"{name} of a task must be at least {least}, but it is {getattr(self, name)}",
                    hint=f"the default is {getattr(type(self), name)}",
                )


def check(pool: ClassPool, shape: Shape) -> None:
    """Whether tasks of that shape can be drawn.

    Raises:
        InputError: there are too few classes with enough images.
    """
    most = max(map(len, _choices(pool, shape)), default=0)
    if most < shape.ways:
        where = "in one group " if shape.within else ""
        raise InputError(
            f"a task of {shape.ways} ways with {shape.shots} + {shape.queries} images each takes as many classes with "
            f"so many images, but {pool.name} has {most} {where}to draw from, among {', '.join(pool.classes[:3])}, ...",
            hint="ask for fewer --ways, --shots or --queries, or hold out more classes",
        )


def draw(pool: ClassPool, shape: Shape, rng: np.random.Generator, device: torch.device) -> Task:
    """A task of `pool`: classes, their order, and their images are drawn without replacement.

    Raises:
        InputError: as `check`.
    """
    check(pool, shape)
    groups = [labels for labels in _choices(pool, shape) if len(labels) >= shape.ways]
    labels = rng.permutation(groups[rng.integers(len(groups))])[: shape.ways]
    turns = rng.integers(4, size=shape.ways) if shape.rotate else np.zeros(shape.ways, np.int64)
    picked = [rng.permutation(pool.members[label])[: shape.shots + shape.queries] for label in labels]
    support = [places[: shape.shots] for places in picked]
    query = [places[shape.shots :] for places in picked]
    return Task(
        _batch(pool, support, turns, device),
        _batch(pool, query, turns, device),
        tuple(pool.classes[label] for label in labels),
        (_flat(support), _flat(query)),
    )


def augmented(task: Task, rng: np.random.Generator, how: str) -> Task:
    """The task with every image moved, turned and scaled, each by itself; `how` is one of `AUGMENTATIONS`.

    `small` is by up to a tenth and 10°, as in trainings; `strong` is more of each, with shears and bends, for drawn
    characters; see `hwnas.data.augment`. With `none` it is the task itself.
    """
    if how == "none":
        return task
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))

    def moved(batch: Batch) -> Batch:
        x, y = batch
        size = Size(*x.shape[2:])
        if how == "small":
            return augment.warp(x, augment.draw(len(x), generator, flip=False, size=size).to(x)), y
        matrices, bends = augment.draw_strong(len(x), generator, size)
        return augment.warp(x, matrices.to(x), bends.to(x)), y

    return replace(task, support=moved(task.support), query=moved(task.query))


def with_device(task: Task, models: Sequence[LatencyModel], rng: np.random.Generator) -> Task:
    """The task on a made-up device, with a budget at 20 to 80 % of its range; see `perturbed`."""
    if not models:
        return task
    model = perturbed(models, rng)
    share = rng.uniform(0.2, 0.8)
    return replace(task, model=model, budget_ms=model.smallest_ms + share * (model.largest_ms - model.smallest_ms))


def perturbed(models: Sequence[LatencyModel], rng: np.random.Generator, spread: float = 0.2) -> LatencyModel:
    """A device that is not among `models` but like them: few tables become many.

    In logarithms its costs lie between two of them, move together by a factor of 1/4 to 4, and each by itself by a
    normal deviate of standard deviation `spread`. What costs nothing on both keeps costing nothing.
    """
    first, second = (models[int(rng.integers(len(models)))] for _ in range(2))
    mix, factor = rng.uniform(), float(np.exp(rng.uniform(np.log(0.25), np.log(4.0))))

    def between(a: float, b: float) -> float:
        noise = float(np.exp(spread * rng.normal()))
        if a <= 0.0 or b <= 0.0:
            return factor * noise * max(a, b, 0.0)
        return factor * noise * math.exp((1.0 - mix) * math.log(a) + mix * math.log(b))

    rows = zip(first.costs.table, second.costs.table, strict=True)
    costs_ms = tuple(tuple(between(a, b) for a, b in zip(one, other, strict=True)) for one, other in rows)
    return AdditiveLatency(costs_ms, between(first.fixed_ms, second.fixed_ms), groups=first.costs.groups)


def _choices(pool: ClassPool, shape: Shape) -> list[tuple[int, ...]]:
    """The sets of classes that tasks may draw from: those with enough images."""
    groups = pool.groups.values() if shape.within else [tuple(range(len(pool.classes)))]
    needed = shape.shots + shape.queries
    return [tuple(label for label in group if len(pool.members[label]) >= needed) for group in groups]


def _batch(pool: ClassPool, places: Sequence[Places], turns: Places, device: torch.device) -> Batch:
    parts = [np.rot90(pool.images.take(p), k=int(t), axes=(2, 3)) for p, t in zip(places, turns, strict=True)]
    pixels = torch.from_numpy(np.ascontiguousarray(np.concatenate(parts))).to(device)
    labels = torch.arange(len(places)).repeat_interleave(len(places[0])).to(device)
    return to_input(pixels, pool.mean, pool.std), labels


def _flat(places: Sequence[Places]) -> tuple[int, ...]:
    return tuple(int(place) for part in places for place in part)
