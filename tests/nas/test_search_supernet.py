from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from problems import TOY
from torch import Tensor, nn

from hwnas.arch import space_instance
from hwnas.nas.supernet import Gate, Supernet, single_path


@pytest.fixture(scope="module")
def supernet() -> Supernet:
    """A supernet whose norms are random, so that every option matters; in eval mode."""
    torch.manual_seed(0)
    supernet = Supernet(TOY)
    for part in supernet.modules():
        if isinstance(part, nn.BatchNorm2d):
            for tensor in (part.weight.data, part.running_var):
                assert tensor is not None
                nn.init.uniform_(tensor, 0.5, 1.5)
            for tensor in (part.bias.data, part.running_mean):
                assert tensor is not None
                nn.init.normal_(tensor, std=0.3)
    return supernet.eval()


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(3, *TOY.input_shape, generator=torch.Generator().manual_seed(1))


def test_every_single_path_computes_what_the_extracted_network_computes(supernet: Supernet, images: Tensor) -> None:
    seen = []
    with torch.no_grad():
        for architecture in TOY.enumerate():
            shared = supernet(images, single_path(architecture.choices))
            assert torch.equal(shared, supernet.extract(architecture).eval()(images))
            seen.append(shared)
    assert len({tuple(logits.flatten().tolist()) for logits in seen}) == 81


def test_an_extracted_network_owns_its_weights(supernet: Supernet) -> None:
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    network = supernet.extract(TOY.architecture((0, 0, 0, 0)))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert all(torch.equal(value, before[name]) for name, value in supernet.state_dict().items())


def test_parameters_are_named_by_slot_and_option(supernet: Supernet) -> None:
    expected = {
        f"{slot.name}.{option}.{name}"
        for slot in TOY.slots
        for option, spec in enumerate(slot.ops)
        for name in spec.graph.parameters() | spec.graph.statistics()
    }
    assert set(supernet.state_dict()) == expected
    assert "b.1.depthwise.norm.running_var" in expected


def test_weights_sum_the_active_options_by_hand(supernet: Supernet, images: Tensor) -> None:
    weights = torch.tensor([0.3, -0.2, 1.7])
    gates = [*single_path((0, 2)), Gate((2, 0, 1), weights), *single_path((2,))]  # b, d and e are skipped
    with torch.no_grad():
        x = supernet.get_submodule("a.0")(supernet.get_submodule("stem.0")(images))
        convs = [supernet.get_submodule(f"c.{option}")(x) for option in (2, 0, 1)]
        x = 0.3 * convs[0] - 0.2 * convs[1] + 1.7 * convs[2]
        torch.testing.assert_close(supernet(images, gates), supernet.get_submodule("classifier.0")(x))


def test_one_gate_rules_both_slots_of_a_shared_decision(supernet: Supernet, images: Tensor) -> None:
    gates = [*single_path((0,)), Gate((0, 2), torch.tensor([0.25, 0.75])), *single_path((0, 2))]
    with torch.no_grad():
        x = supernet.get_submodule("a.0")(supernet.get_submodule("stem.0")(images))
        x = 0.25 * supernet.get_submodule("b.0")(x) + 0.75 * x
        x = supernet.get_submodule("c.0")(x)
        x = 0.25 * supernet.get_submodule("d.0")(x) + 0.75 * x
        torch.testing.assert_close(supernet(images, gates), supernet.get_submodule("classifier.0")(x))


def test_one_hot_weights_are_the_single_path(supernet: Supernet, images: Tensor) -> None:
    with torch.no_grad():
        for architecture in list(TOY.enumerate())[::7]:
            gates = [Gate((0, 1, 2), torch.eye(3)[choice]) for choice in architecture.choices]
            expected = supernet(images, single_path(architecture.choices))
            torch.testing.assert_close(supernet(images, gates), expected)


def test_gradients_reach_active_options_and_their_weights_only(supernet: Supernet, images: Tensor) -> None:
    supernet.zero_grad()
    weights = torch.tensor([0.5, 0.5], requires_grad=True)
    supernet(images, [Gate((0, 1), weights), *single_path((2, 0, 2))]).square().sum().backward()
    touched = {name.rsplit(".", 1)[0] for name, p in supernet.named_parameters() if p.grad is not None}
    assert {name[:3] for name in touched} == {"ste", "a.0", "a.1", "c.0", "cla"}
    assert weights.grad is not None
    assert weights.grad.abs().min() > 0
    supernet.zero_grad()


DARTS = space_instance("darts", width=0.25, depth=3, resolution=9, channels=2, classes=5)


@pytest.fixture(scope="module")
def cells() -> Supernet:
    """A supernet of cells whose norms are random but for those behind pools, which change nothing."""
    torch.manual_seed(0)
    supernet = Supernet(DARTS)
    for name, part in supernet.named_modules():
        if isinstance(part, nn.BatchNorm2d):
            assert part.running_var is not None
            assert part.affine is not name.endswith("search_norm")
            if part.affine:
                nn.init.uniform_(part.weight, 0.5, 1.5)
                nn.init.uniform_(part.running_var, 0.5, 1.5)
            else:
                nn.init.constant_(part.running_var, 1 - part.eps)
    return supernet.eval()


@pytest.mark.parametrize("seed", range(10))
def test_a_path_through_cells_computes_what_the_extracted_network_computes(cells: Supernet, seed: int) -> None:
    architecture = DARTS.drawn(random.Random(seed).randrange)
    images = torch.randn(3, *DARTS.input_shape, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        shared = cells(images, single_path(architecture.choices))
        torch.testing.assert_close(shared, cells.extract(architecture).eval()(images), rtol=1e-5, atol=1e-5)
        weights = torch.eye(8)[torch.tensor(architecture.choices)]
        mixed = cells(images, [Gate(tuple(range(8)), row) for row in weights])
        torch.testing.assert_close(mixed, shared, rtol=1e-5, atol=1e-5)
        assert shared.std() > 1e-3


def test_a_norm_behind_a_pool_is_the_supernets_alone() -> None:
    supernet = Supernet(DARTS)
    normed = {name for name in supernet.state_dict() if "search_norm" in name}
    pools = {(slot.name, k) for slot in DARTS.slots for k, spec in enumerate(slot.ops) if spec.kind.endswith("pool")}
    assert {tuple(name.split(".")[:2]) for name in normed} == {(slot, str(k)) for slot, k in pools}
    assert not any("search_norm" in name for name, _ in supernet.named_parameters())
    x = 3 + 5 * torch.randn(8, 4, 9, 9, generator=torch.Generator().manual_seed(0))
    made = supernet.train().get_submodule("c0e02.2")(x)
    torch.testing.assert_close(made.mean((0, 2, 3)), torch.zeros(4), rtol=0, atol=1e-5)
    torch.testing.assert_close(made.std((0, 2, 3)), torch.ones(4), rtol=0.01, atol=0)
    network = supernet.extract(DARTS.drawn(lambda _: 0))
    assert not any("search_norm" in name for name in network.state_dict())


def test_pools_of_one_state_have_one_norm() -> None:
    """Of the 14 pools of a kind in a cell, whose edges read five states."""
    slots = [slot for slot in DARTS.slots if slot.decision is not None and slot.name.startswith("c0")]
    supernet, norms = Supernet(DARTS), defaultdict[tuple[str, ...], set[int]](set)
    for slot in slots:
        norms[slot.reads].add(id(supernet.get_submodule(f"{slot.name}.1.search_norm")))
    assert len(slots) == 14
    assert len(norms) == 5
    assert all(len(shared) == 1 for shared in norms.values())


def test_a_pass_applies_an_activation_or_a_pool_to_a_state_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Counter[str] = Counter()

    def counted(name: str, made: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def call(*args: Any, **settings: Any) -> Tensor:
            calls[name] += 1
            return made(*args, **settings)

        return call

    for name in ("relu", "max_pool2d"):
        monkeypatch.setattr(torch, name, counted(name, getattr(torch, name)))
    with torch.no_grad():
        gates = [Gate(tuple(range(8)), row) for row in torch.ones(28, 8)]
        Supernet(DARTS)(torch.randn(2, *DARTS.input_shape), gates)
    edges = [slot for slot in DARTS.slots if slot.decision is not None]
    inputs = [slot for slot in DARTS.slots if slot.ops[0].kind in ("reluconv", "reduce")]
    assert calls["max_pool2d"] == len({slot.reads for slot in edges}) == 3 * 5
    within = 2 * len(edges)  # the second ReLU of both `sepconv`
    assert calls["relu"] == len({slot.reads for slot in (*edges, *inputs)}) + within == 15 + 3 + 2 * 42


def test_a_node_sums_all_of_its_edges_in_the_supernet(cells: Supernet) -> None:
    maps = [torch.randn(2, 4, 9, 9) for _ in range(5)]
    torch.testing.assert_close(cells.get_submodule("c0n5.0")(*maps), torch.stack(maps).sum(0))


def test_a_skip_is_weighed_once() -> None:
    """Of the two slots of a skip of `macro`, one projects and one adds: the output is linear in the skip's weight."""
    space = space_instance("macro", width=0.25, depth=3, resolution=8, channels=1, classes=4)
    torch.manual_seed(0)
    supernet = Supernet(space).eval()
    images = torch.randn(2, *space.input_shape)
    skip = next(index for index, decision in enumerate(space.decisions) if decision.name == "l3from1")
    sums: list[Tensor] = []
    supernet.get_submodule("l3.0").register_forward_hook(lambda _, maps, __: sums.append(maps[0]))
    choices = [0] * len(space.decisions)
    with torch.no_grad():
        for weight in (0.0, 0.25, 1.0):
            gates = single_path(choices)
            gates[skip] = Gate((0, 1), torch.tensor([1 - weight, weight]))
            supernet(images, gates)
        without, quarter, whole = sums
        torch.testing.assert_close(quarter, without + 0.25 * (whole - without), rtol=1e-5, atol=1e-5)
        assert (whole - without).abs().max() > 0.01


@pytest.mark.parametrize("seed", range(4))
def test_a_path_through_skips_computes_what_the_extracted_network_computes(seed: int) -> None:
    space = space_instance("macro", width=0.25, depth=6, resolution=9, channels=1, classes=4)
    torch.manual_seed(seed)
    supernet = Supernet(space).eval()
    architecture = space.drawn(random.Random(seed).randrange)
    images = torch.randn(2, *space.input_shape)
    with torch.no_grad():
        shared = supernet(images, single_path(architecture.choices))
        torch.testing.assert_close(shared, supernet.extract(architecture).eval()(images), rtol=1e-5, atol=1e-5)
