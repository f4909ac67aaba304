"""Scores that a search keeps, so that one that was interrupted does not score again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from problems import TOY, toy_model

from hwnas.data import Dataset, Images
from hwnas.errors import InputError
from hwnas.nas.additive_set import AdditiveSet
from hwnas.nas.comparison import Comparison, OneShotEvaluator
from hwnas.nas.constraint import latency_constraint
from hwnas.nas.kept_scores import KeptScores
from hwnas.nas.select import Scored
from hwnas.nas.supernet import Supernet
from hwnas.progress import Silent

CPU, FIRST, SECOND, THIRD = torch.device("cpu"), (0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0)


def images(count: int) -> Images:
    rng = np.random.default_rng(count)
    channels, height, width = TOY.input_shape
    pixels = rng.integers(0, 256, (count, channels, height, width), dtype=np.uint8)
    return Images(pixels, rng.integers(0, TOY.classes, count))


@pytest.fixture
def dataset() -> Dataset:
    names, halves = tuple(map(str, range(TOY.classes))), (0.5,) * TOY.input_shape[0]
    return Dataset("noise", names, images(40), images(30), images(8), halves, halves, flip=False)


class Counting(OneShotEvaluator):
    """Counts what it scores."""

    asked = 0

    def __call__(self, batch: Sequence[tuple[int, ...]]) -> Iterator[Scored]:
        self.asked += len(batch)
        yield from super().__call__(batch)


def evaluator(dataset: Dataset, seed: int = 0, most_images: int = 0) -> Counting:
    torch.manual_seed(seed)
    return Counting(Supernet(TOY), dataset, CPU, "accuracy", most_images)


def told(one: Scored) -> tuple[tuple[int, ...], float, float, list[float]]:
    return one.architecture.choices, one.accuracy, one.score, one.losses.tolist()


def test_a_search_goes_on_from_the_scores_it_has(dataset: Dataset, tmp_path: Path) -> None:
    path, own = tmp_path / "scored.safetensors", evaluator(dataset)
    expected = [told(one) for one in evaluator(dataset)([FIRST, SECOND, THIRD])]
    assert [told(one) for one in KeptScores(own, path)([FIRST, SECOND])] == expected[:2]
    assert own.asked == 2
    again = evaluator(dataset)
    assert [told(one) for one in KeptScores(again, path)([FIRST, SECOND, THIRD, FIRST])] == [*expected, expected[0]]
    assert again.asked == 1
    with pytest.raises(StopIteration):
        next(KeptScores(evaluator(dataset), path)([]))


def test_a_search_that_is_killed_loses_no_score_that_was_told(dataset: Dataset, tmp_path: Path) -> None:
    stream = KeptScores(evaluator(dataset), tmp_path / "scored.safetensors")([FIRST, SECOND])
    next(stream)  # and no more
    again = evaluator(dataset)
    list(KeptScores(again, tmp_path / "scored.safetensors")([FIRST, SECOND]))
    assert again.asked == 1


def test_scores_of_other_weights_or_images_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "scored.safetensors"
    list(KeptScores(evaluator(dataset), path)([FIRST]))
    other = Dataset("noise", dataset.classes, dataset.train, images(31), dataset.test, *(dataset.mean,) * 2, flip=False)
    for wrong in (evaluator(dataset, seed=1), evaluator(dataset, most_images=9), evaluator(other)):
        with pytest.raises(InputError, match="of other weights or images") as caught:
            KeptScores(wrong, path)
        assert caught.value.hint == "delete that file, and the candidates are scored again"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged") as caught:
        KeptScores(evaluator(dataset), path)
    assert caught.value.hint == "delete that file, and the candidates are scored again"


def test_a_score_counts_the_time_that_it_took_when_it_was_made(tmp_path: Path) -> None:
    """What the minutes are enough for is not to seem cheap after an interruption."""
    model, seconds = toy_model(), list[float]()

    class Known:
        at_once = 1

        def __call__(self, batch: Sequence[tuple[int, ...]]) -> Iterator[Scored]:
            for choices in batch:
                yield Scored(TOY.architecture(choices), 0.5, 0.5, np.zeros(2), 5.0)

    def most(score_s: float, _: int) -> int:
        seconds.append(score_s)
        return 3

    comparison = Comparison(Known(), Silent(), images=9, most=most)
    comparison.score([FIRST, SECOND, THIRD], 3)
    comparison.spend(model.costs_ms, AdditiveSet(latency_constraint(model, model.largest_ms)))
    assert seconds == [pytest.approx(5.0, abs=0.01)]
