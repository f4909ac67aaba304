from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from made_up_parents import elastic_space, made_up
from torch import Tensor

from hwnas.arch import Network
from hwnas.data import Dataset
from hwnas.data.batches import to_input
from hwnas.errors import InputError
from hwnas.nas.supernet import Supernet
from hwnas.parents import distil as distil_module
from hwnas.parents import inherit, inherited_start
from hwnas.parents.blocks import ParentBlocks
from hwnas.parents.distil import DistilSettings, block_errors, distil
from hwnas.parents.frozen import features, trunk
from hwnas.parents.inherit import module_with
from hwnas.parents.replacement import head_loss, network_losses, replacement_scores
from hwnas.train import checkpoint

WHOLE = elastic_space()
FREE = (1, 3, 5)  # decisions with all their options
SPACE = WHOLE.restricted([range(count) if place in FREE else (0,) for place, count in enumerate(WHOLE.options)])
PARENT = SPACE.network(SPACE.architecture([0] * len(SPACE.decisions)))
SOME = [(1, 2), (3, 5), (5, 2)]  # decision and option
QUICK = DistilSettings(steps=12, batch_size=10, lr=3e-3, augment=False)


def supernet() -> Supernet:
    torch.manual_seed(0)
    made = Supernet(SPACE)
    inherited_start(made_up(), SPACE).apply(made, [])
    return made


def of(made: Supernet) -> ParentBlocks:
    return ParentBlocks(made, made_up())


@pytest.fixture
def images(dataset: Callable[..., Dataset]) -> Dataset:
    return made_up().parent.prepared(dataset())


def test_the_error_of_a_block_is_that_of_the_network_up_to_it(images: Dataset) -> None:
    found = block_errors(of(supernet()), images.val, images)
    x = to_input(torch.from_numpy(images.val.pixels), images.mean, images.std)

    def written(network: Network) -> Tensor:
        with torch.no_grad():
            return module_with(network, inherit(made_up(), network)).eval()(x)  # type: ignore[no-any-return]

    for decision, option in SOME:
        name = SPACE.decisions[decision].name
        place = [slot.name for slot in SPACE.slots].index(name)
        before, own = PARENT.ops[:place], written(Network(PARENT.ops[: place + 1]))
        other = written(Network((*before, (name, SPACE.slots[place].ops[option]))))
        expected = float((other - own).square().mean() / own.var(correction=0))
        assert found[decision][option] == pytest.approx(expected, rel=2e-3)
    assert all(row[0] == 0 for row in found)


def test_options_come_closer_to_the_parent_and_the_rest_stays(images: Dataset) -> None:
    trained = supernet()
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    blocks = of(trained)
    first = block_errors(blocks, images.val, images)
    distil(blocks, images, seed=0, settings=QUICK)
    last = block_errors(blocks, images.val, images)
    changed = {name for name, value in trained.state_dict().items() if not torch.equal(value, before[name])}
    learners = [
        (place, index)
        for place, one in enumerate(SPACE.decisions)
        for index, option in enumerate(one.options)
        if index > 0 and option != "skip"
    ]
    named = {(SPACE.decisions[place].name, str(index)) for place, index in learners}
    assert {tuple(name.split(".")[:2]) for name in changed} == named
    assert not [name for name in changed if "running" in name]
    sums = [sum(errors[place][index] for place, index in learners) for errors in (first, last)]
    assert sums[1] < 0.85 * sums[0]
    assert not any(part.training for part in trained.modules())


def test_distillation_depends_on_the_seed_alone(images: Dataset) -> None:
    states, name = [], "s1b0.1.project.weight"
    for seed in (0, 0, 1):
        made = supernet()
        distil(of(made), images, seed=seed, settings=DistilSettings(2, 10))
        states.append(made.state_dict()[name])
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


class Killed(BaseException):
    """Stands for SIGKILL."""


def test_distillation_that_was_killed_goes_on_to_the_same_bits(
    images: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, settings = tmp_path / "kept.safetensors", DistilSettings(5, 10)
    monkeypatch.setattr(distil_module, "_KEPT_EVERY_S", 0.0)
    whole, cut, resumed = supernet(), supernet(), supernet()
    distil(of(whole), images, seed=0, settings=settings)
    save = checkpoint.save

    def saved_and_killed(*values: Any) -> None:
        save(*values)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", saved_and_killed)
        with pytest.raises(Killed):
            distil(of(cut), images, seed=0, settings=settings, checkpoint=kept)
    with pytest.raises(InputError, match="of another distillation"):
        distil(of(supernet()), images, seed=1, settings=settings, checkpoint=kept)
    distil(of(resumed), images, seed=0, settings=settings, checkpoint=kept)
    expected = whole.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in resumed.state_dict().items())
    assert not all(torch.equal(value, expected[name]) for name, value in cut.state_dict().items())


def test_the_state_is_kept_every_30_seconds_and_at_the_end(
    images: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds, kept = itertools.count(0, 16), list[int]()
    monkeypatch.setattr(distil_module, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    monkeypatch.setattr(checkpoint, "save", lambda _path, _tensors, info: kept.append(info["steps_done"]))
    distil(of(supernet()), images, seed=0, settings=DistilSettings(5, 10), checkpoint=tmp_path / "kept.safetensors")
    assert kept == [2, 4, 5]


def test_a_replacement_costs_what_the_whole_network_with_it_loses(images: Dataset) -> None:
    def of_network(network: Network) -> Tensor:
        return features(trunk(network, inherit(made_up(), network)), images.val, images)

    own, blocks = of_network(PARENT), of(supernet())
    torch.manual_seed(1)
    head = {"weight": torch.randn(5, own.shape[1]), "bias": torch.randn(5)}
    target = torch.softmax(own @ head["weight"].T + head["bias"], 1)

    def divergence(choices: Sequence[int]) -> float:
        found = of_network(SPACE.network(SPACE.architecture(choices)))
        other = torch.softmax(found @ head["weight"].T + head["bias"], 1)
        return float((target * (target / other).log()).sum(1).mean())

    scores = replacement_scores(blocks, images.val, images, head_loss(head), batch_size=7)
    for decision, option in SOME:
        choices = [0] * len(SPACE.decisions)
        choices[decision] = option
        assert scores[decision][option] == pytest.approx(divergence(choices), rel=2e-2, abs=1e-5)
    assert [len(row) for row in scores] == list(SPACE.options)
    assert all(row[0] == 0 for row in scores)
    assert all(value > 0 for place in FREE for value in scores[place][1:])
    whole = [0] * len(SPACE.decisions)
    for decision, option in SOME:
        whole[decision] = option
    networks = [whole, [0] * len(whole)]
    together, parent = network_losses(blocks, images.val, images, head_loss(head), networks, batch_size=7)
    assert together == pytest.approx(divergence(whole), rel=2e-2, abs=1e-5)
    assert parent == pytest.approx(0.0, abs=1e-6)
