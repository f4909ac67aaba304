"""Train and evaluate one network."""

from __future__ import annotations

from hwnas.train.accelerator import deterministic, mixed_precision, resolve
from hwnas.train.evaluate import Evaluation, evaluate, recalibrate
from hwnas.train.loop import train
from hwnas.train.memory import keep_freed_memory, peak_memory_mib
from hwnas.train.recipe import Recipe, fine_tuning

__all__ = [
    "Evaluation",
    "Recipe",
    "deterministic",
    "evaluate",
    "fine_tuning",
    "keep_freed_memory",
    "mixed_precision",
    "peak_memory_mib",
    "recalibrate",
    "resolve",
    "train",
]
