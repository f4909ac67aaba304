"""At what rate each stage of a network learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hwnas.arch import space_instance
from hwnas.backends.torch import NetworkModule, network_module
from hwnas.data import Dataset, Images
from hwnas.errors import InputError
from hwnas.train import Recipe, train
from hwnas.train.rates import rate_groups
from hwnas.train.training import Training

CPU = torch.device("cpu")


def lite(width: float = 0.1) -> NetworkModule:
    space = space_instance("efficientnet-lite0", width=width, resolution=32, channels=3, classes=4)
    return network_module(space.network(space.architecture([0] * len(space.decisions))))


def test_stages_begin_where_channels_or_size_change() -> None:
    assert lite(1.0).stages == (
        ("stem",),
        ("s0b0",),
        ("s1b0", "s1b1"),
        ("s2b0", "s2b1"),
        ("s3b0", "s3b1", "s3b2"),
        ("s4b0", "s4b1", "s4b2"),
        ("s5b0", "s5b1", "s5b2", "s5b3"),
        ("s6b0",),
        ("head",),
        ("classifier",),
    )


def test_each_stage_learns_at_a_share_of_the_rate_of_the_next() -> None:
    model = lite()
    groups = rate_groups(model, Recipe(layer_decay=0.5, weight_decay=0.3))
    share = {id(one): group["share"] for group in groups for one in group["params"]}
    decay = {id(one): group["weight_decay"] for group in groups for one in group["params"]}
    parameters, last = dict(model.named_parameters()), len(model.stages) - 1
    assert last >= 6
    assert len(share) == len(parameters) == sum(len(group["params"]) for group in groups)
    for name, one in parameters.items():
        place = next(k for k, stage in enumerate(model.stages) if name.split(".")[0] in stage)
        assert share[id(one)] == 0.5 ** (last - place)
        assert decay[id(one)] == (0.3 if one.ndim > 1 else 0.0)


def test_rates_of_one_share_are_the_two_groups_of_all() -> None:
    model, further = lite(), nn.Parameter(torch.zeros(2, 2))
    wide, flat = rate_groups(model, Recipe(), [further])
    assert [id(one) for one in wide["params"]] == [id(p) for p in model.parameters() if p.ndim > 1] + [id(further)]
    assert [id(one) for one in flat["params"]] == [id(p) for p in model.parameters() if p.ndim <= 1]
    assert (wide["share"], flat["share"]) == (1.0, 1.0)
    plain = nn.Sequential(nn.Linear(2, 2))
    assert len(rate_groups(plain, Recipe())) == 2
    with pytest.raises(InputError, match="stages begin, not Sequential"):
        rate_groups(plain, Recipe(layer_decay=0.9))


def noise() -> Dataset:
    rng = np.random.default_rng(0)
    images = Images(rng.integers(0, 255, (8, 3, 32, 32), dtype=np.uint8), np.arange(8) % 4)
    return Dataset("noise", ("a", "b", "c", "d"), images, images, images, (0.5,) * 3, (0.25,) * 3, flip=False)


def test_the_first_step_moves_each_stage_by_its_rate() -> None:
    """The first step of Adam is the rate times the sign of the gradient, wherever that is not almost 0."""
    recipe = Recipe(epochs=1, batch_size=8, lr=1e-3, weight_decay=0, warmup_epochs=0, ema_decay=0, layer_decay=0.75)
    torch.manual_seed(0)
    model = lite()
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    train(model, noise(), recipe, seed=0, device=CPU)
    rate = recipe.learning_rate(0.5)
    for place, stage in enumerate(model.stages):
        moved = [
            (value.detach() - before[name]).abs().max()
            for name, value in model.named_parameters()
            if name.split(".")[0] in stage
        ]
        share = 0.75 ** (len(model.stages) - 1 - place)
        assert float(torch.stack(moved).max()) == pytest.approx(rate * share, rel=1e-2)


def test_rates_by_stage_go_on_from_a_checkpoint(tmp_path: Path) -> None:
    def fresh() -> Training:
        torch.manual_seed(0)
        return Training(lite(), noise(), Recipe(epochs=2, batch_size=8, layer_decay=0.75), 0, CPU)

    whole, cut, resumed = fresh(), fresh(), fresh()
    for epoch in (0, 1):
        list(whole.epoch(epoch))
    list(cut.epoch(0))
    cut.save(tmp_path / "state", 1)
    assert resumed.restore(tmp_path / "state") == 1
    list(resumed.epoch(1))
    expected = whole.tensors()
    assert all(torch.equal(value, expected[name]) for name, value in resumed.tensors().items())
