"""Stage `search`, from a parent: a head for these images, options that learn from its blocks, and what each costs.

What options cost is added up, and corrected by whole networks, of which the best are the first candidates.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from hwnas.arch.origin import Origin
from hwnas.data import Normalisation
from hwnas.meta.initialisation import Initialisation, load_initialisation
from hwnas.nas.start import Start
from hwnas.nas.supernet import Supernet
from hwnas.parents import ParentWeights
from hwnas.parents.blocks import ParentBlocks
from hwnas.parents.distil import DistilSettings, distil
from hwnas.run.context import SearchContext
from hwnas.run.parent_head import parent_head
from hwnas.run.parent_time import settled_adaptation
from hwnas.run.replacements import KEPT_HINT, chosen_replacements, kept_candidates


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
    found = load_initialisation(kept, hint=KEPT_HINT)
    candidates = kept_candidates(found.method, run.plan.space, kept)
    start = run.plan.start
    assert start is not None
    return replace(start, weights=found.weights, alpha=found.alpha, settled=True, candidates=candidates)


def _adapt(context: SearchContext, parent: ParentWeights, kept: Path) -> None:
    """Write an initialisation of the space with the parent's weights as they fit the images."""
    run, space = context.first, context.first.plan.space
    settings = settled_adaptation(context, parent, lambda: ParentBlocks(_supernet(context), parent, device=run.device))
    classifier = parent_head(replace(run, progress=context.progress), parent, settings.head_images)
    supernet = _supernet(context)
    blocks = ParentBlocks(supernet, parent, device=run.device)
    asked = DistilSettings(steps=settings.steps, batch_size=settings.batch_size)
    seed = run.plan.config.compute.seed
    if asked.steps:
        kept_steps = context.folder.state / "distil.safetensors"
        distil(blocks, run.dataset, seed=seed, settings=asked, checkpoint=kept_steps, progress=context.progress)
    alpha: Tensor | None = None
    candidates: list[tuple[int, ...]] = []
    if run.plan.strategy.replaces:
        alpha, candidates = chosen_replacements(context, blocks, classifier, settings)
    weights = {name: value.cpu() for name, value in supernet.state_dict().items()}
    place = f"{space.slots[-1].name}.0.linear"
    weights |= {f"{place}.{name}": value for name, value in classifier.items()}
    seen = Normalisation.of(run.dataset)
    Initialisation(Origin.of(space), weights, alpha, method={"candidates": candidates}, normalisation=seen).save(kept)


def _supernet(context: SearchContext) -> Supernet:
    """Every option as a slice of the parent."""
    plan = context.first.plan
    torch.manual_seed(plan.config.compute.seed)
    supernet = Supernet(plan.space)
    assert plan.start is not None
    plan.start.apply(supernet, [])
    return supernet
