from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from hwnas.train.mixing import Mixing

N, CLASSES = 6, 4
X = torch.rand(N, 3, 16, 24, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 1, 2, 3, 0, 1])
LOGITS = torch.randn(N, CLASSES, generator=torch.Generator().manual_seed(1))


def partners(y: Tensor, targets: Tensor) -> list[int]:
    """The class that each image is mixed with: the other one with a share, or its own."""
    return [
        next((k for k in range(CLASSES) if k != label and row[k] > 0), label)
        for label, row in zip(y.tolist(), targets, strict=True)
    ]


def test_nothing_is_mixed_by_default() -> None:
    x, y = Mixing(0.0, 0.0, CLASSES, seed=0)((X, Y))
    assert x is X
    assert y is Y


@pytest.mark.parametrize(("mixup", "cutmix"), [(1.0, 0.0), (0.0, 1.0)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_the_convex_sum_over_both_labels(mixup: float, cutmix: float, smoothing: float) -> None:
    mixing = Mixing(mixup, cutmix, CLASSES, seed=3)
    for _ in range(20):
        _, targets = mixing((X, Y))
        torch.testing.assert_close(targets.sum(1), torch.ones(N))
        others = torch.tensor(partners(Y, targets))
        share = next((t[y] for t, y, other in zip(targets, Y, others, strict=True) if y != other), torch.tensor(1.0))
        both = [cross_entropy(LOGITS, labels, label_smoothing=smoothing) for labels in (Y, others)]
        mixed = cross_entropy(LOGITS, targets, weight=torch.ones(CLASSES), label_smoothing=smoothing)
        torch.testing.assert_close(mixed, share * both[0] + (1 - share) * both[1])


def test_mixup_blends_images_as_labels() -> None:
    """One image a class of one level each, so that its levels tell its shares."""
    levels = torch.eye(CLASSES)[:, :, None, None].expand(-1, -1, 5, 5)
    x, targets = Mixing(0.4, 0.0, CLASSES, seed=0)((levels, torch.arange(CLASSES)))
    torch.testing.assert_close(x[:, :, 2, 2], targets)


def test_cutmix_pastes_a_rectangle_of_the_share_that_labels_have() -> None:
    levels = torch.eye(CLASSES)[:, :, None, None].expand(-1, -1, 20, 30)
    mixing, shares = Mixing(0.0, 1.0, CLASSES, seed=0), []
    for _ in range(200):
        x, targets = mixing((levels, torch.arange(CLASSES)))
        torch.testing.assert_close(x.mean((2, 3)), targets)
        shares.append(targets.diagonal().min().item())
    assert min(shares) < 0.2
    assert max(shares) > 0.95


def test_shares_are_of_the_beta_distribution() -> None:
    mixing = Mixing(0.2, 0.0, CLASSES, seed=0)
    shares = torch.tensor([mixing((X[:, :, :1, :1], Y))[1][0, 0].item() for _ in range(3000)])
    moved = shares[shares < 1]  # those that have a partner of another class
    assert moved.mean() == pytest.approx(0.5, abs=0.03)
    assert moved.var().item() == pytest.approx(1 / (4 * (2 * 0.2 + 1)), rel=0.1)


def test_the_same_seed_mixes_alike() -> None:
    streams = [Mixing(0.2, 1.0, CLASSES, seed=seed) for seed in (5, 5, 6)]
    for _ in range(3):
        one, same, other = (mixing((X, Y)) for mixing in streams)
        assert torch.equal(one[0], same[0])
        assert torch.equal(one[1], same[1])
    assert not torch.equal(one[0], other[0])
