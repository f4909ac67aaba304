"""What a result says of a network that leaves out classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hwnas.metrics import Metrics
from hwnas.report.untrained import never_predicted_text


def said(confusion: list[list[int]]) -> str:
    names = tuple("abcdefgh"[: len(confusion)])
    return never_predicted_text({"metrics": Metrics(np.array(confusion), 0).to_json(names)})


def test_a_network_that_says_one_class_alone_is_not_trained() -> None:
    assert said([[2, 0, 0], [3, 0, 0], [1, 0, 0]]).startswith("every test image is taken for 'a'; give more --minutes")


def test_classes_that_are_never_said_are_named() -> None:
    assert said([[2, 1, 0], [3, 4, 0], [1, 0, 0]]).startswith("no test image is taken for 1 of 3 classes: 'c'; ")


def test_classes_without_images_are_not_missed() -> None:
    assert said([[2, 1, 0], [0, 4, 0], [0, 0, 0]]) == ""


@pytest.mark.parametrize("result", [{}, {"metrics": 3}, {"metrics": {"never_predicted": ["a"], "classes": 3}}])
def test_other_results_say_nothing(result: dict[str, Any]) -> None:
    assert never_predicted_text(result) == ""
