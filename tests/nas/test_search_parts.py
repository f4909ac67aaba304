"""Steps of a search in parts against whole ones, for every relaxation, and what they take."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from problems import TOY, toy_model
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from hwnas.arch import space_instance
from hwnas.data import Dataset, Images
from hwnas.nas.additive_set import AdditiveSet
from hwnas.nas.arch_parts import arch_gradient, has_own_gradient, joint_losses, problems_of
from hwnas.nas.bilevel import Bilevel
from hwnas.nas.constraint import latency_constraint
from hwnas.nas.engine import search
from hwnas.nas.loop_memory import loop_memory
from hwnas.nas.make_loop import make_loop
from hwnas.nas.search_settings import SearchSettings
from hwnas.nas.strategies import strategies, strategy
from hwnas.nas.supernet import Supernet
from hwnas.progress import Silent

CPU = torch.device("cpu")
MODEL = toy_model()
LIMITS = AdditiveSet(latency_constraint(MODEL, 0.5 * (MODEL.smallest_ms + MODEL.largest_ms)))
RELAXATIONS = [one.name for one in strategies() if one.relaxation is not None]
WEIGHTS = torch.linspace(0.2, 2.0, 10, dtype=torch.float64)


def weighted(logits: Tensor, y: Tensor) -> Tensor:
    return cross_entropy(logits, y, weight=WEIGHTS, label_smoothing=0.1)


def problem(train: int, val: int) -> tuple[Bilevel, Supernet]:
    """In float64, with batch norms that are fixed, as only their statistics see other images of a batch."""
    torch.manual_seed(0)
    supernet = Supernet(TOY).double()
    for part in supernet.modules():
        if isinstance(part, nn.BatchNorm2d) and part.affine:
            nn.init.uniform_(part.weight, 0.5, 1.5)
    supernet.eval()
    batches = [(torch.randn(n, *TOY.input_shape).double(), torch.randint(10, (n,))) for n in (train, val)]
    optimizer = torch.optim.AdamW(supernet.parameters(), lr=0.01)
    return Bilevel(supernet, optimizer, batches[0], batches[1], weighted, weighted), supernet


@pytest.mark.parametrize("name", RELAXATIONS)
@pytest.mark.parametrize(("train", "val", "at_once"), [(12, 12, 5), (16, 3, 4), (9, 14, 2)])
def test_parts_of_a_step_on_the_logits_add_up(name: str, train: int, val: int, at_once: int) -> None:
    make = strategy(name).relaxation
    assert make is not None
    whole, supernet = problem(train, val)
    found: list[list[Tensor]] = []
    for images in (0, at_once):
        relaxation = make(TOY.options, CPU)
        relaxation.logits.data = torch.randn(relaxation.logits.shape, generator=torch.Generator().manual_seed(3)) * 0.3
        relaxation.logits.data[
            torch.tensor([[k >= n for k in range(max(TOY.options))] for n in TOY.options])
        ] = -torch.inf
        generator = torch.Generator().manual_seed(7)
        problems = problems_of(relaxation, whole, images, WEIGHTS)
        losses = joint_losses(relaxation, problems, generator)
        if losses is None:
            found.append([arch_gradient(relaxation, problems, generator)])
        else:
            supernet.zero_grad()
            for loss in losses:
                loss.backward()
            assert relaxation.logits.grad is not None
            found.append([relaxation.logits.grad, *(w.grad for w in supernet.parameters() if w.grad is not None)])
        sizes = [len(y) for one in problems for y in (one.train_batch[1], one.val_batch[1])]
        assert max(sizes) <= max(images, 3) or not images
        found[-1].append(torch.rand(1, generator=generator))  # what is drawn afterwards is the same
    if has_own_gradient(relaxation):
        assert len(problems) == 1
        assert torch.isfinite(found[1][0]).all()
        return
    assert len(problems) > 1
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, atol=1e-6, equal_nan=True)


def noise(count: int = 32) -> Dataset:
    rng = np.random.default_rng(0)
    sets = [
        Images(rng.integers(0, 256, (n, *TOY.input_shape), np.uint8), rng.integers(0, 10, n)) for n in (count, 16, 8)
    ]
    return Dataset("noise", tuple(map(str, range(10))), *sets, (0.5,), (0.5,), flip=False)


@pytest.mark.parametrize("name", ["gumbel", "single_level", "darts2", "enas"])
def test_a_search_in_parts_goes_on_from_a_checkpoint(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hwnas.nas.select._passes", lambda images: 1)
    settings = SearchSettings(warmup_epochs=1, epochs=1, batch_size=16, candidates=2, micro_batch=5)
    sizes: list[int] = []
    forward = Supernet.forward

    def spy(self: Supernet, x: Tensor, gates: Any) -> Tensor:
        sizes.append(len(x))
        return forward(self, x, gates)

    monkeypatch.setattr(Supernet, "forward", spy)

    def found(settings: SearchSettings) -> Any:
        return search(
            TOY,
            [LIMITS],
            strategy(name),
            noise(),
            settings,
            seed=0,
            device=CPU,
            checkpoint=tmp_path / "search.safetensors",
            progress=Silent(),
            log=lambda _: None,
        )[0].best

    first = found(settings)
    assert max(sizes) <= 5
    assert found(settings) == first


def test_a_batch_that_fits_is_as_without_parts() -> None:
    """To the bit: a share of one changes nothing."""
    ends = []
    for micro_batch in (0, 16):
        settings = SearchSettings(warmup_epochs=0, epochs=1, batch_size=16, micro_batch=micro_batch)
        loop = make_loop(TOY, [LIMITS], strategy("gumbel"), noise(), settings, seed=0, device=CPU)
        losses = list(loop.epoch(0))
        ends.append(
            (losses, [w.detach().clone() for w in loop.supernet.parameters()], loop.unbudgeted.detach().clone())
        )
    (losses, weights, alpha), (others, same, beta) = ends
    assert losses == others
    assert torch.equal(alpha, beta)
    assert all(torch.equal(one, other) for one, other in zip(weights, same, strict=True))


def test_checkpoints_of_earlier_versions_go_on() -> None:
    assert "micro_batch" not in SearchSettings().identity()
    assert replace(SearchSettings(), micro_batch=4).identity()["micro_batch"] == 4


def test_more_options_take_more_memory() -> None:
    space = space_instance("toy", width=1.0, resolution=32, channels=3, classes=10)
    image = {name: loop_memory(space, strategy(name)).image for name in ("random", "gumbel", "darts", "single_level")}
    assert image["random"] <= image["gumbel"] < image["darts"] < image["single_level"]
    cells = space_instance("nasbench201", width=0.25, depth=1, resolution=16, channels=3, classes=10)
    mixed, path = (loop_memory(replace(cells, mixed_warmup=on), strategy("random")).image for on in (True, False))
    assert mixed > 1.3 * path  # the warm-up computes all options
