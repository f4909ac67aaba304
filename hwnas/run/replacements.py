"""What replacements in a parent cost: as α for the exact decode, and as the first candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hwnas.arch.space import SearchSpace
from hwnas.errors import InputError
from hwnas.nas.decode import OptionTable
from hwnas.nas.select import scored_images
from hwnas.nas.sums import Choices, Sums, judged_candidates, preferences
from hwnas.parents.blocks import ParentBlocks
from hwnas.parents.replacement import SCORING, head_loss, network_losses, replacement_scores
from hwnas.progress import Within
from hwnas.run.adaptation import Adaptation
from hwnas.run.context import SearchContext
from hwnas.schema import checked

KEPT_HINT = "delete that file, and --resume adapts the parent again; or start the run anew, with --force"
"""What to do about the damaged file of a start."""


@dataclass(frozen=True)
class _Method:
    """What a kept start says of how it was made.

    Attributes:
        candidates: options of the networks that were scored whole, the best first.
    """

    candidates: tuple[Choices, ...] = ()


def chosen_replacements(
    context: SearchContext, blocks: ParentBlocks, classifier: Mapping[str, Tensor], settings: Adaptation
) -> tuple[Tensor, list[Choices]]:
    """α of what replacements cost, and the networks that were scored whole to correct it, the best first.

    Pairs count in α as they do beside the other options of the best network within the tightest budget.

    Args:
        classifier: weight and bias of the head by whose predictions scores are.
    """
    run, progress = context.first, context.progress
    images, loss = scored_images(run.dataset, settings.score_images), head_loss(classifier)
    at_once = settings.batch_size
    scores = replacement_scores(blocks, images, run.dataset, loss, batch_size=at_once, progress=progress)

    feasible = [one.feasible_set() for one in context.runs]
    seed = run.plan.config.compute.seed
    total = settings.candidates * len(images)
    with progress.track(SCORING, total) as advance:  # one task for all rounds
        within = Within(progress, advance, total, kind=SCORING, beyond="")

        def whole(networks: Sequence[Choices]) -> Sequence[float]:
            return network_losses(blocks, images, run.dataset, loss, networks, batch_size=at_once, progress=within)

        sums, judged = judged_candidates(scores, feasible, whole, count=settings.candidates, seed=seed)
    ranked = sorted(judged, key=judged.__getitem__)
    near = next(filter(feasible[0].keeps, ranked), None)
    table = sums.table if near is None else sums.around(near)
    told = [{"choices": one, "loss": judged[one], "sum": Sums(scores).loss(one)} for one in judged]
    progress.record(
        {"event": "replacements", "images": len(images), "scores": scores, "corrected": table, "candidates": told}
    )
    return logits_of(table), ranked


def kept_candidates(method: Mapping[str, Any], space: SearchSpace, path: Path) -> tuple[Choices, ...]:
    """The networks that `chosen_replacements` ranked, as the file of a start has them.

    Raises:
        InputError: they are none of the space.
    """
    candidates = checked(method, _Method, path, hint=KEPT_HINT).candidates
    for one in candidates:
        if len(one) != len(space.options) or not all(0 <= k < n for k, n in zip(one, space.options, strict=True)):
            raise InputError(f"{path}: candidates must be options of {space.name}, not {one}", hint=KEPT_HINT)
    return candidates


def logits_of(losses: OptionTable) -> Tensor:
    """α (decisions, most options) that prefer what costs little: the exact decode of both is the same."""
    alpha = torch.zeros(len(losses), max(map(len, losses), default=0))
    for row, values in zip(alpha, preferences(losses), strict=True):
        row[: len(values)] = torch.tensor(values)
    return alpha
