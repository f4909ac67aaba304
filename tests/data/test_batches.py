from __future__ import annotations

import numpy as np
import pytest
import torch

from hwnas.data import Dataset, Images, batches, to_input
from hwnas.errors import InputError

CPU = torch.device("cpu")


def dataset(n: int) -> Dataset:
    pixels = np.random.default_rng(0).integers(0, 256, (n, 3, 6, 6), dtype=np.uint8)
    images = Images(pixels, np.arange(n))
    return Dataset("d", ("a", "b"), images, images, images, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), flip=True)


def test_inputs_are_normalised_per_channel() -> None:
    data = dataset(5)
    x = to_input(torch.from_numpy(data.train.pixels), data.mean, data.std)
    expected = (data.train.pixels / 255 - np.reshape(data.mean, (3, 1, 1))) / np.reshape(data.std, (3, 1, 1))
    np.testing.assert_allclose(x.numpy(), expected, atol=1e-5)
    assert x.dtype == torch.float32
    assert x.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("n", [8, 9, 10])
def test_without_generator_every_image_comes_in_order(n: int) -> None:
    data = dataset(n)
    found = list(batches(data.train, data, batch_size=4, device=CPU, generator=None, augment=False))
    assert torch.cat([y for _, y in found]).tolist() == list(range(n))
    whole = to_input(torch.from_numpy(data.train.pixels), data.mean, data.std)
    assert torch.equal(torch.cat([x for x, _ in found]), whole)


@pytest.mark.parametrize("augment", [False, True])
def test_with_generator_images_are_shuffled_and_a_single_last_one_is_dropped(augment: bool) -> None:
    data = dataset(33)

    def draw(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(seed)
        found = list(batches(data.train, data, batch_size=8, device=CPU, generator=generator, augment=augment))
        assert [len(y) for _, y in found] == [8, 8, 8, 8]
        assert all(x.is_contiguous(memory_format=torch.channels_last) for x, _ in found)
        return torch.cat([x for x, _ in found]), torch.cat([y for _, y in found])

    (x, y), (x_again, y_again), (_, y_other) = draw(1), draw(1), draw(2)
    assert torch.equal(x, x_again)
    assert torch.equal(y, y_again)
    assert not torch.equal(y, y_other)
    assert len(set(y.tolist())) == 32
    untouched = to_input(torch.from_numpy(data.train.pixels), data.mean, data.std)[y]
    assert torch.equal(x, untouched) != augment


def test_misuse_is_refused() -> None:
    data = dataset(4)
    with pytest.raises(InputError, match="batch size"):
        next(batches(data.train, data, batch_size=0, device=CPU, generator=None, augment=False))
    with pytest.raises(InputError, match="random generator"):
        next(batches(data.train, data, batch_size=2, device=CPU, generator=None, augment=True))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("augment", [False, True])
def test_inputs_are_channels_last_by_their_strides(channels: int, augment: bool) -> None:
    images = Images(np.zeros((4, channels, 8, 8), np.uint8), np.zeros(4, np.int64))
    data = Dataset("d", ("a", "b"), images, images, images, (0.5,) * channels, (0.2,) * channels, flip=False)
    generator = torch.Generator().manual_seed(0)
    (x, _), *_ = batches(images, data, batch_size=4, device=CPU, generator=generator, augment=augment)
    assert x.stride() == (64 * channels, 1, 8 * channels, channels)
