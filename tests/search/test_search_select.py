from __future__ import annotations

import numpy as np
import pytest
import torch
from problems import TOY

from hwnas.data import Dataset, Images
from hwnas.search.select import Scored, best, score
from hwnas.search.supernet import Supernet

CPU = torch.device("cpu")


def _images(rng: np.random.Generator, n: int) -> Images:
    channels, height, width = TOY.input_shape
    return Images(rng.integers(0, 256, (n, channels, height, width), dtype=np.uint8), rng.integers(0, TOY.classes, n))


@pytest.mark.parametrize(("n", "judged"), [(700, 700), (3100, 2000)])
def test_a_score_looks_at_no_more_than_2000_images_and_at_the_same_ones_again(n: int, judged: int) -> None:
    rng = np.random.default_rng(0)
    classes, floats = tuple(map(str, range(TOY.classes))), (0.5,) * TOY.input_shape[0]
    dataset = Dataset("noise", classes, _images(rng, 64), _images(rng, n), _images(rng, 8), floats, floats, flip=False)
    torch.manual_seed(0)
    supernet = Supernet(TOY)
    first = score(supernet, TOY.architecture((0, 0, 0, 0)), dataset, device=CPU)
    assert first.accuracy * judged == pytest.approx(round(first.accuracy * judged))
    assert score(supernet, TOY.architecture((0, 0, 0, 0)), dataset, device=CPU) == first


def test_the_lowest_loss_wins() -> None:
    scored = [Scored(TOY.architecture((i, 0, 0, 0)), 0.5, loss) for i, loss in enumerate([0.3, 0.1, 0.2])]
    assert best(scored).loss == 0.1
