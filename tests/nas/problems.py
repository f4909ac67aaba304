"""Small problems whose answers are known by brute force."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from hwnas.arch import OpSpec, SlotSpace, space_instance
from hwnas.latency.model import LatencyModel
from hwnas.latency.space_latency import latency_model

TOY: SlotSpace = space_instance("toy", width=1.0, resolution=8, channels=1, classes=10)
OPTIONS = [len(decision.options) for decision in TOY.decisions]
RAGGED = [3, 1, 5, 2]


def row_ms(spec: OpSpec) -> float:
    """A made-up latency of an op, irrational enough that no two architectures of the toy space cost the same."""
    return float(np.sqrt(spec.kernel * 7.0 + spec.expand * 3.0 + spec.cout / 11.0))


def toy_model(slope: float = 1.0, intercept_ms: float = 0.0, sigma: float = 0.0) -> LatencyModel:
    return latency_model(TOY, row_ms, slope=slope, intercept_ms=intercept_ms, sigma=sigma)


def all_choices(table: Sequence[Sequence[float]]) -> Iterator[tuple[int, ...]]:
    return itertools.product(*(range(len(row)) for row in table))


def total(table: Sequence[Sequence[float]], choices: Sequence[int]) -> float:
    result = 0.0
    for row, choice in zip(table, choices, strict=True):
        result += row[choice]
    return result


def random_table(rng: np.random.Generator, options: Sequence[int] = OPTIONS) -> list[list[float]]:
    return [rng.normal(size=count).tolist() for count in options]
