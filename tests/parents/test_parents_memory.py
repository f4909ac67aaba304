"""How much memory the distillation takes, and how few images a head is fitted on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from made_up_parents import CLASSES, SIZE, elastic_space, made_up

from hwnas.data import Dataset, Images
from hwnas.nas.supernet import Supernet
from hwnas.parents.blocks import ParentBlocks
from hwnas.parents.distil import DistilSettings, distil, distil_memory
from hwnas.parents.frozen import MOST_IMAGES, features, head, head_images, trunk, with_head
from hwnas.train.step_memory import peak_bytes

SPACE = elastic_space()


def test_what_a_step_of_distillation_takes_grows_with_the_images_and_their_size() -> None:
    weights, state = made_up(), torch.random.get_rng_state()
    small, large = distil_memory(SPACE, weights), distil_memory(elastic_space(resolution=64), weights)
    assert torch.equal(state, torch.random.get_rng_state())
    assert large.image == pytest.approx(4 * small.image, rel=0.4)
    parts = ParentBlocks(Supernet(SPACE), made_up())
    learned = sum(p.nbytes for place, option in parts.learners for p in parts.option(place, option).parameters())
    assert small.fixed == large.fixed >= 4 * learned  # with gradients and two moments
    maps = sum(4 * torch.Size(slot.ops[0].output_shape).numel() for slot in SPACE.slots[:-1])
    assert small.image > maps  # those between all blocks are alive at once


def test_the_memory_of_a_step_is_that_of_a_real_one() -> None:
    rng = np.random.default_rng(0)
    part = Images(rng.integers(0, 256, (16, 3, SIZE, SIZE), dtype=np.uint8), np.arange(16) % CLASSES)
    dataset = Dataset("made up", tuple("abcde"), part, part, part, (0.5,) * 3, (0.5,) * 3, flip=False)
    torch.manual_seed(0)
    blocks = ParentBlocks(Supernet(SPACE), made_up())
    settings = DistilSettings(steps=1, batch_size=16, augment=False)
    real = peak_bytes(lambda: distil(blocks, dataset, seed=0, settings=settings))
    memory = distil_memory(SPACE, made_up())
    weights = memory.fixed / 5  # which are there before
    assert real <= memory.total(16) - weights <= 2.2 * real


def test_a_head_is_fitted_on_images_of_every_class(dataset: Callable[..., Dataset]) -> None:
    images = dataset().train
    assert np.array_equal(head_images(images).rows, images.rows)
    few = head_images(images, 20)
    assert len(few) == 20
    assert np.bincount(few.labels).tolist() == [4] * 5
    assert np.array_equal(head_images(images, 20).rows, few.rows)
    assert MOST_IMAGES >= 10_000


def test_a_network_with_a_head_is_its_features_and_the_head(dataset: Callable[..., Dataset]) -> None:
    weights, images = made_up(), made_up().parent.prepared(dataset())
    network = weights.network(resolution=SIZE)
    body = trunk(network, weights.tensors)
    found = features(body, images.train, images)
    fitted = head(found, torch.from_numpy(images.train.labels), images)
    whole = with_head(network, weights.tensors, fitted)
    assert not whole.training
    x = (
        torch.from_numpy(images.train.pixels[:7]).float() / 255 - torch.tensor(images.mean).view(3, 1, 1)
    ) / torch.tensor(images.std).view(3, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(whole(x), found[:7] @ fitted["weight"].T + fitted["bias"], rtol=1e-3, atol=1e-3)
