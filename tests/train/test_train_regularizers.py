"""Drop path, the auxiliary head and cutout: what they do in training, and that nothing of them is left after it."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hwnas.arch import space_instance
from hwnas.arch.network import Network
from hwnas.backends.onnx import onnx_model
from hwnas.backends.torch import NetworkModule, export_weights, load_weights, network_module
from hwnas.data import Dataset, Images
from hwnas.data.augment import kept_by_cutout
from hwnas.errors import InputError
from hwnas.image_size import Size
from hwnas.train import Recipe, train
from hwnas.train.drop_path import DropPath
from hwnas.train.regularizers import Regularizers

CPU = torch.device("cpu")
SPACE = space_instance("darts", width=0.25, depth=3, resolution=8, channels=1, classes=4)
NETWORK: Network = SPACE.network(SPACE.drawn(random.Random(1).randrange))
RECIPE = Recipe(epochs=3, batch_size=16, warmup_epochs=1, cutout=0.5, drop_path=0.3, auxiliary=0.4)


def noise() -> Dataset:
    rng = np.random.default_rng(0)
    images = Images(rng.integers(0, 256, (40, 1, 8, 8), np.uint8), rng.integers(0, 4, 40))
    return Dataset("noise", ("a", "b", "c", "d"), images, images, images, (0.5,), (0.25,), flip=False)


def made(seed: int = 0) -> NetworkModule:
    torch.manual_seed(seed)
    return network_module(NETWORK)


def test_a_path_is_dropped_for_some_images_and_its_mean_is_kept() -> None:
    torch.manual_seed(0)
    path = nn.Identity()
    dropping = DropPath([path])
    ones = torch.ones(4000, 2, 3, 3)
    assert torch.equal(path(ones), ones)  # the rate is 0 at first
    dropping.rate = 0.25
    each = path(ones).flatten(1)
    assert torch.equal(each.amin(1), each.amax(1))
    assert sorted(set(each[:, 0].tolist())) == pytest.approx([0.0, 4 / 3])
    assert float((each[:, 0] == 0).double().mean()) == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / 4000) ** 0.5)
    path.eval()
    assert torch.equal(path(ones), ones)
    path.train()
    dropping.remove()
    assert torch.equal(path(ones), ones)


def test_the_paths_of_cells_are_the_edges_that_compute() -> None:
    names = dict(NETWORK.ops)
    edges = {name for name in names if "e" in name[2:] and name[:2] in ("c0", "c1", "c2")}
    read = {name for node, reads in NETWORK.reads if names[node].kind == "add" for name in reads}
    assert set(made().paths) == {name for name in read & edges if names[name].kind not in ("skip", "none")}
    assert made().two_thirds == ("c2out", names["c2out"].cout)


def test_the_rate_rises_linearly_with_the_epochs() -> None:
    model = made()
    regularizers = Regularizers(model, replace(RECIPE, auxiliary=0.0), 4, 0, CPU)
    dropping = regularizers._drop_path
    assert dropping is not None
    rates = []
    for epoch in range(3):
        regularizers.at(epoch)
        rates.append(dropping.rate)
    assert rates == pytest.approx([0.0, 0.1, 0.2])


def test_the_auxiliary_loss_reaches_what_is_before_the_head_alone() -> None:
    model = made()
    regularizers = Regularizers(model, replace(RECIPE, drop_path=0.0), 4, 0, CPU)
    x, y = torch.randn(8, 1, 8, 8), torch.arange(8) % 4
    model(x)
    seen: list[torch.Tensor] = []

    def criterion(logits: torch.Tensor) -> torch.Tensor:
        seen.append(logits)
        return nn.functional.cross_entropy(logits, y)

    loss = regularizers.loss(criterion)
    assert isinstance(loss, torch.Tensor)
    assert seen[0].shape == (8, 4)
    assert loss.item() == pytest.approx(0.4 * nn.functional.cross_entropy(seen[0], y).item())
    loss.backward()
    touched = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None}
    assert "stem" in touched
    assert "classifier" not in touched


def test_wrappers_are_no_part_of_a_network_that_is_evaluated_or_exported() -> None:
    plain, wrapped = made(), made()
    regularizers = Regularizers(wrapped, RECIPE, 4, 0, CPU)
    regularizers.at(2)
    x = torch.randn(5, 1, 8, 8)
    plain.eval()
    wrapped.eval()
    with torch.no_grad():
        assert torch.equal(plain(x), wrapped(x))
    assert onnx_model(NETWORK, export_weights(plain)) == onnx_model(NETWORK, export_weights(wrapped))
    plain.train()
    wrapped.train()
    with torch.no_grad():
        assert not torch.equal(plain(x), wrapped(x))


def test_a_network_trained_with_wrappers_is_the_same_without_them() -> None:
    model = made()
    train(model, noise(), RECIPE, seed=0, device=CPU)
    again = made(1)
    load_weights(again, export_weights(model))
    again.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    again.eval()
    x = torch.randn(5, 1, 8, 8)
    with torch.no_grad():
        assert torch.equal(model(x), again(x))
        model.train()
        again.train()
        assert torch.equal(model(x), again(x))  # nothing is left that drops anything
    without = made()
    train(without, noise(), replace(RECIPE, cutout=0.0, drop_path=0.0, auxiliary=0.0), seed=0, device=CPU)
    assert any(not torch.equal(a, b) for a, b in zip(model.parameters(), without.parameters(), strict=True))


class StopError(Exception):
    pass


def test_an_interrupted_training_ends_with_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = made()
    train(whole, noise(), RECIPE, seed=0, device=CPU)
    path, part = tmp_path / "train.safetensors", made()
    at = Regularizers.at

    def interrupted(self: Regularizers, epoch: int) -> None:
        if epoch == 2:
            raise StopError
        at(self, epoch)

    monkeypatch.setattr(Regularizers, "at", interrupted)
    with pytest.raises(StopError):
        train(part, noise(), RECIPE, seed=0, device=CPU, checkpoint=path)
    monkeypatch.setattr(Regularizers, "at", at)
    resumed = made(7)
    train(resumed, noise(), RECIPE, seed=0, device=CPU, checkpoint=path)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_cutout_blanks_a_square_about_any_pixel() -> None:
    """Every centre of a 6 x 6 image: rows c - 1 .. c + 1, as far as they are in the image, for a side of 3."""
    masks = kept_by_cutout(3000, Size.square(6), 0.5, torch.Generator().manual_seed(0))
    assert masks.shape == (3000, 1, 6, 6)
    expected = set()
    for row in range(6):
        for column in range(6):
            mask = np.ones((6, 6), np.float32)
            mask[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] = 0
            expected.add(mask.tobytes())
    assert {mask.numpy().tobytes() for mask in masks[:, 0]} == expected


def test_a_recipe_for_cells_is_that_of_the_paper_at_its_epochs_and_less_in_fewer() -> None:
    paper = Recipe(epochs=600).for_cells()
    assert (paper.cutout * 32, paper.drop_path, paper.auxiliary) == (16, 0.2, 0.4)
    short = Recipe(epochs=60).for_cells()
    assert (short.cutout * 32, short.drop_path, short.auxiliary) == pytest.approx((1.6, 0.02, 0.4))
    assert replace(short, cutout=0.0, drop_path=0.0, auxiliary=0.0) == Recipe(epochs=60)


def test_a_network_must_say_where_wrappers_go() -> None:
    with pytest.raises(InputError, match="says where they go, not Flatten"):
        Regularizers(nn.Flatten(), RECIPE, 4, 0, CPU)
    assert not Regularizers(nn.Flatten(), Recipe(cutout=0.5), 4, 0, CPU).parameters()
