"""Guards: the equation of each, which strategies and spaces take them, and that there may be none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from problems import TOY, toy_model
from torch import Tensor

from hwnas.arch import space_instance
from hwnas.data import Dataset, Images
from hwnas.errors import InputError
from hwnas.nas.additive_set import AdditiveSet
from hwnas.nas.constraint import latency_constraint
from hwnas.nas.guard import AuxiliarySkip, EarlyStop, beta_decay, guard_of, skips_of
from hwnas.nas.make_loop import make_loop
from hwnas.nas.search_settings import SearchSettings
from hwnas.nas.strategies import strategies, strategy
from hwnas.nas.strategies.base import soft_gates
from hwnas.nas.supernet import Gate, Supernet, single_path
from hwnas.nas.supernet_loop import SearchLoop
from hwnas.progress import Silent


def test_it_is_the_mean_smooth_maximum_and_pulls_hardest_at_the_option_ahead() -> None:
    rows = [[0.3, -1.0, 2.0], [0.5, 0.1]]
    logits = torch.tensor([rows[0], [*rows[1], -math.inf]], requires_grad=True)
    value = beta_decay(logits)
    assert float(value.detach()) == pytest.approx(
        np.mean([math.log(sum(map(math.exp, row))) for row in rows]), rel=1e-5
    )
    (gradient,) = torch.autograd.grad(value, logits)
    torch.testing.assert_close(gradient, torch.softmax(logits.detach(), 1) / 2)
    assert gradient[1, 2] == 0


def loop_of(name: str, **settings: Any) -> SearchLoop:
    """A search on noise, in which no budget presses."""
    rng, model = np.random.default_rng(0), toy_model()
    sets = [Images(rng.integers(0, 256, (n, *TOY.input_shape), np.uint8), rng.integers(0, 10, n)) for n in (48, 16, 8)]
    data = Dataset("noise", tuple(map(str, range(10))), *sets, (0.5,), (0.5,), flip=False)
    limits = AdditiveSet(latency_constraint(model, model.largest_ms))
    usual = {"warmup_epochs": 0, "epochs": 1, "batch_size": 16, "arch_every": 1, "arch_lr": 1e-9}
    asked = SearchSettings(**(usual | settings))
    return make_loop(TOY, [limits], strategy(name), data, asked, seed=0, device=torch.device("cpu"))


def alpha_gradients(name: str, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> list[Tensor]:
    """What reaches Adam of α in each step of a search whose images and budget have no gradient."""
    loop = loop_of(name, **settings)
    (budgeted,) = loop.constrained
    found = budgeted.relaxation
    monkeypatch.setattr(found, "joint_loss", lambda *_: None)
    monkeypatch.setattr(found, "gradient", lambda *_: torch.zeros_like(found.logits))
    seen: list[Tensor] = []
    loop._arch_optimizers[0].register_step_pre_hook(lambda *_: seen.append(found.logits.grad.clone()))  # type: ignore[union-attr]
    list(loop.epoch(0))
    return seen


@pytest.mark.parametrize("name", [entry.name for entry in strategies() if entry.relaxation is not None])
def test_a_search_guards_with_a_weight_that_rises(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gradients = alpha_gradients(name, monkeypatch, beta_decay=6.0)
    assert len(gradients) == 3
    uniform = torch.full((4, 3), 1 / 3 / 4)
    for step, gradient in enumerate(gradients):
        torch.testing.assert_close(gradient, 6.0 * step / 3 * uniform, rtol=1e-4, atol=1e-7)


def test_it_is_on_by_default_and_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    assert SearchSettings().beta_decay > 0
    for off in ({"beta_decay": 0.0}, {"guard": "none"}, {"guard": "auxiliary-skip"}, {"guard": "early-stop"}):
        assert not any(gradient.any() for gradient in alpha_gradients("darts", monkeypatch, **off))


def test_weight_decay_of_alpha_is_added_to_its_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Adam of torch has it: g + λ α; α begins where a normal distribution says, alike for equal seeds."""
    settings = {"guard": "none", "arch_weight_decay": 0.1, "arch_init": 1e-3}
    begun = loop_of("darts", **settings).constrained[0].relaxation.logits.detach()
    assert 0.0 < float(begun.std()) < 5e-3
    first, *_ = alpha_gradients("darts", monkeypatch, **settings)
    torch.testing.assert_close(first, 0.1 * begun)


def mixed(supernet: Supernet, weights: Sequence[Sequence[float]], x: Tensor) -> Tensor:
    gates: list[Gate] = soft_gates(torch.tensor(weights), TOY.options)
    with torch.no_grad():
        return supernet(x, gates)  # type: ignore[no-any-return]


def test_the_auxiliary_skip_is_added_to_the_mixture_and_fades() -> None:
    """`β x + Σ p_k o_k(x)` is a mixture in which the skip weighs β + p; nothing changes where a slot has none."""
    torch.manual_seed(0)
    supernet, x = Supernet(TOY).eval(), torch.randn(2, *TOY.input_shape)
    p = [[0.2, 0.3, 0.5]] * 4
    for progress, beta in ((-0.5, 1.0), (0.0, 1.0), (0.25, 0.75), (1.0, 0.0)):
        AuxiliarySkip().begin(supernet, progress)
        assert supernet.auxiliary_skip == beta
        seen = mixed(supernet, p, x)
        alone = supernet(x, single_path((0, 2, 1, 2)))
        supernet.auxiliary_skip = 0.0
        more = [0.2, 0.3, 0.5 + beta]
        torch.testing.assert_close(seen, mixed(supernet, [p[0], more, p[2], more], x))
        torch.testing.assert_close(alone, supernet(x, single_path((0, 2, 1, 2))))


def test_a_search_with_an_auxiliary_skip_lets_go_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, seen = loop_of("darts", guard="auxiliary-skip"), list[float]()
    forward = Supernet.forward

    def spy(self: Supernet, x: Tensor, gates: Sequence[Gate]) -> Tensor:
        seen.append(self.auxiliary_skip)
        return forward(self, x, gates)

    monkeypatch.setattr(Supernet, "forward", spy)
    loop.run(checkpoint=tmp_path / "search", progress=Silent(), log=lambda _: None)
    assert seen == pytest.approx([1.0, 1.0, 2 / 3, 2 / 3, 1 / 3, 1 / 3])
    assert loop.supernet.auxiliary_skip == 0.0


def test_the_share_of_skips_is_that_of_the_network_that_alpha_prefers() -> None:
    """In cells of DARTS only kept edges count, and *none* is never preferred."""
    darts = space_instance("darts", width=0.25, depth=3, resolution=8, channels=3, classes=10)
    guard = guard_of(SearchSettings(guard="early-stop"), darts)
    assert isinstance(guard, EarlyStop)
    logits = torch.zeros(28, 8)
    logits[:, 0] = 9.0  # none
    logits[:, 4] = 1.0  # a separable convolution
    assert guard.share_of(logits) == 0.0
    logits[:3, 3] = 5.0  # two edges into the first node, one into the second: all three are kept
    assert guard.share_of(logits) == pytest.approx(3 / 16)
    assert not guard.stops(logits)
    logits[5, 3] = 5.0  # of the third node
    assert guard.share_of(logits) == pytest.approx(4 / 16)
    assert guard.stops(logits)


def test_an_early_stop_ends_a_search_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[dict[str, Any]] = []
    monkeypatch.setattr(EarlyStop, "share_of", lambda *_: 0.1 + 0.1 * len(events))
    loop = loop_of("darts", guard="early-stop", warmup_epochs=1, epochs=9)
    loop.run(checkpoint=tmp_path / "search", progress=Silent(), log=events.append)
    assert [event["epoch"] for event in events] == [1, 2, 3]
    assert [event.get("stopped") for event in events] == [None, None, "early-stop"]
    loop_of("darts", guard="early-stop", warmup_epochs=1, epochs=9).run(
        checkpoint=tmp_path / "search", progress=Silent(), log=events.append
    )
    assert len(events) == 3


def test_skips_are_known_by_their_kind() -> None:
    assert skips_of(TOY) == {1: 2, 3: 2}
    for name, option in (("darts", 3), ("nasbench201", 1)):
        space = space_instance(name, width=0.25, depth=3, resolution=8, channels=3, classes=10)
        assert set(skips_of(space).values()) == {option}
        assert skips_of(space).keys() == set(range(len(space.decisions)))
    macro = space_instance("macro", width=0.25, depth=3, resolution=8, channels=3, classes=10)
    assert skips_of(macro) == {}
    with pytest.raises(InputError, match="no decision of macro"):
        guard_of(SearchSettings(guard="early-stop"), macro)
