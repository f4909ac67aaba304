"""Stage `search`, from a parent: a head for these images, options that learn from its blocks, and what each costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from hwnas.arch.origin import Origin
from hwnas.meta.initialisation import Initialisation, load_initialisation
from hwnas.nas.select import scored_images
from hwnas.nas.start import Start
from hwnas.nas.supernet import Supernet
from hwnas.parents import ParentWeights
from hwnas.parents.blocks import ParentBlocks, Scores
from hwnas.parents.distil import DistilSettings, distil
from hwnas.parents.replacement import head_loss, replacement_scores
from hwnas.run.context import SearchContext
from hwnas.run.parent_head import parent_head
from hwnas.run.parent_time import settled_adaptation

_SPREAD = 8.0  # of the logits of a decision, in the middle: what α travels in a search


def adapted_start(context: SearchContext, parent: ParentWeights) -> Start:
    """The start of a search from a parent; it is kept, and so are the steps on the way.

    Raises:
        InputError: what is kept is damaged.
        StorageError: it cannot be written.
    """
    run, state = context.first, context.folder.state
    kept = state / "parent.safetensors"
    if not kept.exists():
        _adapt(context, parent, kept)
    (state / "distil.safetensors").unlink(missing_ok=True)
    found = load_initialisation(kept)
    start = run.plan.start
    assert start is not None
    return replace(start, weights=found.weights, alpha=found.alpha, settled=True)


def _adapt(context: SearchContext, parent: ParentWeights, kept: Path) -> None:
    """Write an initialisation of the space with the parent's weights as they fit the images."""
    run, space = context.first, context.first.plan.space
    settings = settled_adaptation(context, parent, lambda: ParentBlocks(_supernet(context), parent, device=run.device))
    classifier = parent_head(run, parent, settings.head_images)
    supernet = _supernet(context)
    blocks = ParentBlocks(supernet, parent, device=run.device)
    asked = DistilSettings(steps=settings.steps, batch_size=settings.batch_size)
    seed = run.plan.config.compute.seed
    distil(
        blocks,
        run.dataset,
        seed=seed,
        settings=asked,
        checkpoint=context.folder.state / "distil.safetensors",
        progress=context.progress,
    )
    alpha = None
    if run.plan.strategy.replaces:
        images = scored_images(run.dataset, settings.score_images)
        loss, progress = head_loss(classifier), context.progress
        scores = replacement_scores(
            blocks, images, run.dataset, loss, batch_size=settings.batch_size, progress=progress
        )
        alpha = logits_of(scores)
        context.progress.record({"event": "replacements", "images": len(images), "scores": scores})
    weights = {name: value.cpu() for name, value in supernet.state_dict().items()}
    place = f"{space.slots[-1].name}.0.linear"
    weights |= {f"{place}.{name}": value for name, value in classifier.items()}
    Initialisation(Origin.of(space), weights, alpha).save(kept)


def logits_of(scores: Scores) -> Tensor:
    """α (decisions, most options) that prefer what costs little: the exact decode of both is the same."""
    spreads = sorted(max(row) - min(row) for row in scores)
    unit = _SPREAD / max(spreads[len(spreads) // 2], 1e-9) if spreads else 1.0
    alpha = torch.zeros(len(scores), max(map(len, scores), default=0))
    for row, values in zip(alpha, scores, strict=True):
        row[: len(values)] = -unit * torch.tensor(values)
    return alpha


def _supernet(context: SearchContext) -> Supernet:
    """Every option as a slice of the parent."""
    plan = context.first.plan
    torch.manual_seed(plan.config.compute.seed)
    supernet = Supernet(plan.space)
    assert plan.start is not None
    plan.start.apply(supernet, [])
    return supernet
