from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from made_up_parents import elastic_space, made_up
from torch import Tensor

from hwnas.arch import Network
from hwnas.data import Dataset
from hwnas.data.batches import to_input
from hwnas.nas.supernet import Supernet
from hwnas.parents import inherit, inherited_start
from hwnas.parents.distil import BlockDistillation, DistilSettings
from hwnas.parents.inherit import module_with

WHOLE = elastic_space()
FREE = (1, 3, 4)  # decisions with all their options
SPACE = WHOLE.restricted([range(count) if place in FREE else (0,) for place, count in enumerate(WHOLE.options)])
QUICK = DistilSettings(epochs=2, batch_size=10, lr=3e-3, augment=False)


def supernet() -> Supernet:
    torch.manual_seed(0)
    made = Supernet(SPACE)
    inherited_start(made_up(), SPACE).apply(made, [])
    return made


@pytest.fixture
def images(dataset: Callable[..., Dataset]) -> Dataset:
    return made_up().parent.prepared(dataset())


def test_an_error_is_that_of_the_network_up_to_this_block(images: Dataset) -> None:
    weights = made_up()
    parent = SPACE.network(SPACE.architecture([0] * len(SPACE.decisions)))
    found = BlockDistillation(supernet(), weights).errors(images.val, images)
    x = to_input(torch.from_numpy(images.val.pixels), images.mean, images.std)

    def written(network: Network) -> Tensor:
        with torch.no_grad():
            return module_with(network, inherit(weights, network)).eval()(x)  # type: ignore[no-any-return]

    for decision, option in [(1, 2), (3, 5), (4, 8)]:
        name = SPACE.decisions[decision].name
        place = [slot.name for slot in SPACE.slots].index(name)
        before, own = parent.ops[:place], written(Network(parent.ops[: place + 1]))
        other = written(Network((*before, (name, SPACE.slots[place].ops[option]))))
        expected = float((other - own).square().mean() / own.var(correction=0))
        assert found[decision][option] == pytest.approx(expected, rel=2e-3)
    assert all(row[0] == 0 for row in found)


def test_options_come_closer_to_the_parent_and_the_rest_stays(images: Dataset) -> None:
    trained = supernet()
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    distillation = BlockDistillation(trained, made_up())
    first = distillation.errors(images.val, images)
    distillation.train(images, seed=0, settings=QUICK)
    last = distillation.errors(images.val, images)
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
    assert sums[1] < 0.7 * sums[0]


def test_it_depends_on_the_seed_alone_and_stops_when_asked(images: Dataset) -> None:
    states = []
    for seed in (0, 0, 1):
        made = supernet()
        BlockDistillation(made, made_up()).train(images, seed=seed, settings=DistilSettings(0.3, 10))
        states.append(made.state_dict())
    name = "s1b0.1.project.weight"
    assert torch.equal(states[0][name], states[1][name])
    assert not torch.equal(states[0][name], states[2][name])
    made, asked = supernet(), iter((False, True))
    before = made.state_dict()[name].clone()
    BlockDistillation(made, made_up()).train(images, seed=0, settings=QUICK, enough=lambda: next(asked))
    assert not torch.equal(made.state_dict()[name], before)
    assert next(asked, None) is None


def test_no_time_at_all_leaves_the_slices(images: Dataset) -> None:
    made = supernet()
    before = {key: value.clone() for key, value in made.state_dict().items()}
    BlockDistillation(made, made_up()).train(images, seed=0, settings=QUICK, enough=lambda: True)
    assert all(torch.equal(value, before[key]) for key, value in made.state_dict().items())
