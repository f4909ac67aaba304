"""What adapting a parent takes, told before: against a real step, and against sums over real networks."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from made_up_parents import elastic_space

from hwnas.run.adaptation import Adaptation
from hwnas.run.adaptation_work import AdaptationWork
from hwnas.run.affordable import mean_work, work

SPACE = elastic_space()


def a_plan(space: Any) -> Any:
    return SimpleNamespace(space=space)


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
