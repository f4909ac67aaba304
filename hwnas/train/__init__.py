"""Train and evaluate one network."""

from __future__ import annotations

from hwnas.train.accelerator import deterministic, mixed_precision, resolve
from hwnas.train.evaluate import Evaluation, evaluate, recalibrate
from hwnas.train.memory import keep_freed_memory, peak_memory_mib, step_limit_bytes
from hwnas.train.recipe import Recipe, fine_tuning
from hwnas.train.session import training_session
from hwnas.train.training import train

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
    "step_limit_bytes",
    "train",
    "training_session",
]
