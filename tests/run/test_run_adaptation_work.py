"""What adapting a parent takes, told before: against a real step, and against sums over real networks."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from made_up_parents import CLASSES, SIZE, elastic_space, made_up

from hwnas.data import Dataset, Images
from hwnas.nas.supernet import Supernet
from hwnas.parents.blocks import ParentBlocks
from hwnas.parents.distil import DistilSettings, distil
from hwnas.run.adaptation import Adaptation
from hwnas.run.adaptation_work import AdaptationWork, adaptation_memory
from hwnas.run.affordable import mean_work, work
from hwnas.train.step_memory import peak_bytes

SPACE = elastic_space()


def a_plan(space: Any) -> Any:
    return SimpleNamespace(space=space)


def test_the_memory_of_a_step_is_that_of_a_real_one() -> None:
    rng = np.random.default_rng(0)
    part = Images(rng.integers(0, 256, (16, 3, SIZE, SIZE), dtype=np.uint8), np.arange(16) % CLASSES)
    dataset = Dataset("made up", tuple("abcde"), part, part, part, (0.5,) * 3, (0.5,) * 3, flip=False)
    torch.manual_seed(0)
    blocks = ParentBlocks(Supernet(SPACE), made_up())
    settings = DistilSettings(steps=1, batch_size=16, augment=False)
    real = peak_bytes(lambda: distil(blocks, dataset, seed=0, settings=settings))
    memory = adaptation_memory(a_plan(SPACE), made_up())
    weights = memory.fixed / 5  # which are there before
    assert real <= memory.total(16) - weights <= 2 * real


def test_work_is_that_of_the_networks_that_are_computed() -> None:
    """Every block of the parent replaced by each of its options: the blocks before it are computed once."""
    found, unit = AdaptationWork.of(a_plan(SPACE)), mean_work(SPACE)
    own = [0] * len(SPACE.decisions)
    whole = work(SPACE.network(SPACE.architecture(own)).graph)
    assert found.features == pytest.approx(whole / 3 / unit)
    options, replaced = 0.0, 0.0
    before = {slot.name: index for index, slot in enumerate(SPACE.slots)}
    for decision, one in enumerate(SPACE.decisions):
        head = sum(work(slot.ops[0].graph) for slot in SPACE.slots[: before[one.name]])
        for option in range(1, len(one.options)):
            choices = own.copy()
            choices[decision] = option
            options += work(SPACE.slots[before[one.name]].ops[option].graph)
            replaced += work(SPACE.network(SPACE.architecture(choices)).graph) - head
    assert found.distilled == pytest.approx((whole / 3 + options) / unit)
    assert found.scored == pytest.approx(replaced / 3 / unit)
    usual = Adaptation(steps=10, batch_size=4, score_images=7)
    assert found.usual_s(usual, 0.5, scores=False) == pytest.approx(0.5 * 40 * found.distilled)
    assert found.usual_s(usual, 0.5, scores=True) == pytest.approx(0.5 * (40 * found.distilled + 7 * found.scored))


def test_where_nothing_can_be_replaced_there_is_nothing_to_learn(tmp_path: Path) -> None:
    fixed = SPACE.restricted([[0]] * len(SPACE.decisions))
    found = AdaptationWork.of(a_plan(fixed))
    assert (found.distilled, found.scored) == (found.features, 0.0)
