"""Guards against the collapse of relaxations to options without weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hwnas.arch.space import SearchSpace
from hwnas.errors import InputError
from hwnas.nas.decode import decode, kept_scores
from hwnas.nas.search_settings import SearchSettings
from hwnas.nas.strategies.base import log_probabilities
from hwnas.nas.supernet import Supernet, skip_of


def beta_decay(logits: Tensor) -> Tensor:
    """β-decay (Ye et al., CVPR 2022): the mean over decisions of `logsumexp(α)`, a smooth maximum.

    Its gradient, softmax(α) over the number of decisions, pulls hardest at the option that is ahead, so that one which
    only fits faster, as a skip does, does not run away before the weights of the others are trained. Adam alone moves α
    by the sign of the gradient of the images, however small it is; with β-decay α comes to rest where the two are
    equal, at probabilities that differ as much as the options do (docs/decisions/0034).

    Args:
        logits: (decisions, most options), -inf where there is no option.
    """
    return torch.logsumexp(logits, dim=1).mean()


class Guard:
    """No guard; the others change one of these three."""

    def begin(self, supernet: Supernet, progress: float) -> None:
        """Before a step, where `progress` in 0..1 of the epochs after warm-up are done; below 0 in warm-up."""
        return

    def gradient(self, logits: Tensor, progress: float) -> Tensor:
        """What is added to the gradient of the images, of the shape of `logits`."""
        return torch.zeros_like(logits)

    def stops(self, logits: Tensor) -> bool:
        """Whether the search ends after an epoch with these logits, which only the images have pressed."""
        return False


@dataclass(frozen=True)
class BetaDecay(Guard):
    """`beta_decay` with a weight that rises linearly from 0."""

    weight: float

    def gradient(self, logits: Tensor, progress: float) -> Tensor:
        (gradient,) = torch.autograd.grad(progress * self.weight * beta_decay(logits), logits)
        return gradient


class AuxiliarySkip(Guard):
    """DARTS- (Chu et al., ICLR 2021): `o(x) = β·x + Σ_k p_k·o_k(x)`, where β falls linearly from 1 to 0 (equation 5).

    What a skip does for the training of the weights around it, the auxiliary one does from the start, so that p of the
    skip only says how good it is as an option. Where the skip is a factorised reduction, the auxiliary one is it too.
    """

    def begin(self, supernet: Supernet, progress: float) -> None:
        supernet.auxiliary_skip = 1.0 - min(1.0, max(0.0, progress))


@dataclass(frozen=True)
class EarlyStop(Guard):
    """DARTS+ (Liang et al., 2019), criterion 1: the search ends once the preferred network has too many skips.

    The paper counts two of the eight edges of a normal cell. Here they are a share of all choices that are kept, so
    that the rule holds in any space.

    Attributes:
        share: from which on there are too many.
        skips: see `skips_of`.
    """

    space: SearchSpace
    share: float
    skips: Mapping[int, int]

    def stops(self, logits: Tensor) -> bool:
        return self.share_of(logits) >= self.share

    def share_of(self, logits: Tensor) -> float:
        """The share of skips among the choices that α prefers: of a group, only the kept ones count."""
        scores = kept_scores(log_probabilities(logits), self.space.groups)
        choices = decode(scores, [[0.0] * len(row) for row in scores], 0.0, groups=self.space.groups)
        assert choices is not None
        left_out = {
            decision
            for group in self.space.groups
            for decision, off in zip(group.decisions, group.off, strict=True)
            if choices[decision] == off
        }
        kept = [decision for decision in range(len(choices)) if decision not in left_out]
        return sum(self.skips.get(decision) == choices[decision] for decision in kept) / max(1, len(kept))


def guard_of(settings: SearchSettings, space: SearchSpace) -> Guard:
    """The guard that the settings name.

    Raises:
        InputError: it is about skips, and the space has none.
    """
    if settings.guard == "beta-decay":
        return BetaDecay(settings.beta_decay)
    if settings.guard == "none":
        return Guard()
    skips = skips_of(space)
    if not skips:
        raise InputError(
            f"the guard {settings.guard} is against skips, and no decision of {space.name} has one",
            hint="--guard beta-decay, or --guard none",
        )
    return AuxiliarySkip() if settings.guard == "auxiliary-skip" else EarlyStop(space, settings.skip_share, skips)


def skips_of(space: SearchSpace) -> dict[int, int]:
    """By decision the option that is a skip, where it has one."""
    found = {slot.decision: skip_of(slot) for slot in space.slots if slot.decision is not None and skip_of(slot) >= 0}
    return {decision: option for decision, option in found.items() if decision is not None}
