"""What a teacher adds to the loss, against what it is by hand, and trainings with one."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hwnas.data import Dataset, Images
from hwnas.errors import DivergedError, InputError
from hwnas.progress import Advance, Silent
from hwnas.train import Recipe, train
from hwnas.train.micro_batches import image_shares
from hwnas.train.step_memory import training_memory
from hwnas.train.teacher import Teacher

CPU = torch.device("cpu")
TAUGHT = Recipe(epochs=2, batch_size=10, warmup_epochs=0.5, distil_weight=0.4, distil_temperature=3.0)
W, T = TAUGHT.distil_weight, TAUGHT.distil_temperature


class Mean(nn.Module):
    """Logits that anybody can compute: the mean of an image, twice it, and 0."""

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((1, 2, 3))
        return torch.stack([mean, 2 * mean, 0 * mean], 1)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))


def dataset(count: int = 30) -> Dataset:
    rng = np.random.default_rng(0)
    labels = np.minimum(rng.integers(0, 6, count), 2)  # uneven
    images = Images(rng.integers(0, 256, (count, 1, 8, 8)).astype(np.uint8), labels.astype(np.int64))
    return Dataset("noise", ("a", "b", "c"), images, images, images, (0.5,), (0.25,), flip=False)


def softened(logits: list[float], temperature: float = T) -> list[float]:
    powers = [math.exp(one / temperature) for one in logits]
    return [one / sum(powers) for one in powers]


def test_the_loss_and_its_gradient_are_those_of_the_closed_form() -> None:
    levels, labels, weights = [1.0, -0.5], torch.tensor([0, 2]), torch.tensor([0.5, 1.0, 2.0])
    x = torch.tensor(levels).view(2, 1, 1, 1).expand(2, 1, 4, 4)
    logits = torch.tensor([[0.3, -1.0, 2.0], [0.0, 0.5, -0.5]], requires_grad=True)
    labelled = torch.nn.functional.cross_entropy(logits, labels, weight=weights)
    teacher = Teacher(Mean(), TAUGHT, CPU)
    loss = teacher.mixed(labelled, logits, teacher.logits(x), image_shares(labels, weights))
    loss.backward()
    shares, value, gradient = [0.5 / 2.5, 2.0 / 2.5], 0.0, []
    for level, label, share, row in zip(levels, labels.tolist(), shares, logits.tolist(), strict=True):
        p, q, own = softened([level, 2 * level, 0.0]), softened(row), softened(row, 1.0)
        divergence = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
        value += share * ((1 - W) * -math.log(own[label]) + W * T**2 * divergence)
        hard = [one - (place == label) for place, one in enumerate(own)]
        pairs = zip(hard, p, q, strict=True)
        gradient.append([share * ((1 - W) * h + W * T * (b - a)) for h, a, b in pairs])
    assert float(loss.detach()) == pytest.approx(value, rel=1e-5)
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, torch.tensor(gradient), rtol=1e-4, atol=1e-6)


def test_a_student_that_agrees_is_taught_nothing() -> None:
    teacher, x = Teacher(Mean(), replace(TAUGHT, distil_weight=1.0), CPU), torch.randn(3, 1, 4, 4)
    logits = Mean()(x).requires_grad_()
    teacher.mixed(torch.tensor(7.0), logits, teacher.logits(x), torch.full((3,), 1 / 3)).backward()
    assert logits.grad is not None
    assert float(logits.grad.abs().max()) < 1e-6


def test_shares_of_images_are_what_cross_entropy_counts_them() -> None:
    torch.manual_seed(0)
    logits, labels, weights = torch.randn(4, 3), torch.tensor([0, 2, 2, 1]), torch.tensor([0.2, 1.0, 3.0])
    mixed = torch.softmax(torch.randn(4, 3), 1)
    for target in (labels, nn.functional.one_hot(labels, 3).float()):
        each = torch.stack([nn.functional.cross_entropy(logits[k : k + 1], labels[k : k + 1]) for k in range(4)])
        whole = nn.functional.cross_entropy(logits, target, weight=weights)
        assert float(each @ image_shares(target, weights)) == pytest.approx(float(whole), rel=1e-5)
    assert image_shares(mixed, torch.ones(3)).tolist() == pytest.approx([0.25] * 4)


def trained(recipe: Recipe, teacher: nn.Module | None = None, **options: object) -> list[Tensor]:
    model = network()
    train(model, dataset(), recipe, seed=0, device=CPU, teacher=teacher, **options)  # type: ignore[arg-type]
    return [value.clone() for value in model.state_dict().values()]


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_without_weight_a_teacher_changes_nothing_and_with_it_there_must_be_one() -> None:
    plain = replace(TAUGHT, distil_weight=0.0)
    assert same(trained(plain, Mean()), trained(plain))
    assert not same(trained(TAUGHT, Mean()), trained(plain))
    with pytest.raises(InputError, match="needs a teacher"):
        trained(TAUGHT)


@pytest.mark.parametrize("balanced", [False, True])
def test_a_taught_training_in_parts_ends_as_one_of_whole_batches(balanced: bool) -> None:
    whole = replace(TAUGHT, epochs=1, class_balanced=balanced, keep_statistics=True)
    parts = replace(whole, micro_batch=3)
    for one, other in zip(trained(whole, Mean()), trained(parts, Mean()), strict=True):
        torch.testing.assert_close(one.float(), other.float(), rtol=1e-3, atol=1e-4)


def test_a_taught_training_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    class StoppedError(Exception):
        pass

    class AfterOneEpoch(Silent):
        @contextlib.contextmanager
        def track(self, label: str, total: int, *, done: int = 0) -> Iterator[Advance]:
            def advance(steps: int = 1, note: str = "") -> None:
                raise StoppedError

            yield advance

    path = tmp_path / "state"
    with pytest.raises(StoppedError):
        trained(TAUGHT, Mean(), checkpoint=path, progress=AfterOneEpoch())
    assert same(trained(TAUGHT, Mean(), checkpoint=path), trained(TAUGHT, Mean()))
    with pytest.raises(InputError, match="same recipe"):
        trained(replace(TAUGHT, distil_temperature=2.0), Mean(), checkpoint=path)


def test_a_teacher_of_no_number_ends_the_training() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.new_full((len(x), 3), math.nan)

    with pytest.raises(DivergedError, match="must be finite"):
        trained(TAUGHT, Broken())


def test_a_teacher_is_left_as_it_is_and_sees_what_the_student_sees() -> None:
    seen: list[Tensor] = []

    class Watching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(1)

        def forward(self, x: Tensor) -> Tensor:
            seen.append(x)
            return Mean()(self.norm(x))  # type: ignore[no-any-return]

    teacher, model, inputs = Watching(), network(), []
    model.register_forward_pre_hook(lambda _, x: inputs.append(x[0]))
    train(model, dataset(), replace(TAUGHT, epochs=1), seed=0, device=CPU, teacher=teacher)
    assert len(seen) == len(inputs) == 3
    assert all(torch.equal(one, other) for one, other in zip(seen, inputs, strict=True))
    assert teacher.training
    assert teacher.norm.running_mean is not None
    assert float(teacher.norm.running_mean.abs().max()) == 0.0


def test_memory_of_a_teacher_is_counted() -> None:
    class Wide(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return Mean()(x.repeat(1, 1000, 1, 1) + 1.0)  # type: ignore[no-any-return]

    recipe, shape = replace(TAUGHT, distil_weight=0.5), (1, 8, 8)
    alone, taught = (training_memory(network(), recipe, shape, 3, teacher) for teacher in (None, Wide()))
    assert taught.image > 2 * 4 * 1000 * 64 > alone.image
    assert training_memory(network(), replace(recipe, distil_weight=0.0), shape, 3, Wide()) == alone
