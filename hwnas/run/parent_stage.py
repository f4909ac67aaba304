"""Stage `search`, from a parent: a head for these images, options that learn from its blocks, and what each costs.

What options cost is added up, and corrected by whole networks, of which the best are the first candidates.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from hwnas.arch.origin import Origin
from hwnas.meta.initialisation import Initialisation, load_initialisation
from hwnas.metric_names import class_balanced
from hwnas.nas.start import Start
from hwnas.nas.supernet import Supernet
from hwnas.parents import ParentWeights, inherit
from hwnas.parents.blocks import ParentBlocks
from hwnas.parents.distil import DistilSettings, distil
from hwnas.parents.frozen import features, head, trunk
from hwnas.progress import Silent
from hwnas.run.adaptation import Adaptation, affordable_adaptation, usual_adaptation
from hwnas.run.context import SearchContext
from hwnas.run.head_accuracy import note_head
from hwnas.run.replacements import chosen_replacements, kept_candidates
from hwnas.run.schedule import kept_adaptation
from hwnas.train import checkpoint as store

_TIMED_STEPS = 2
_HINT = "start the run anew, with --force"


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
    candidates = kept_candidates(found.method, run.plan.space, kept)
    start = run.plan.start
    assert start is not None
    return replace(start, weights=found.weights, alpha=found.alpha, settled=True, candidates=candidates)


def _adapt(context: SearchContext, parent: ParentWeights, kept: Path) -> None:
    """Write an initialisation of the space with the parent's weights as they fit the images."""
    run, space = context.first, context.first.plan.space
    classifier = _head(context, parent, context.folder.state / "head.safetensors")
    settings = kept_adaptation(context.folder.state / "adaptation.json", lambda: _settings(context, parent))
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
    alpha: Tensor | None = None
    candidates: list[tuple[int, ...]] = []
    if run.plan.strategy.replaces:
        alpha, candidates = chosen_replacements(context, blocks, classifier, settings)
    weights = {name: value.cpu() for name, value in supernet.state_dict().items()}
    place = f"{space.slots[-1].name}.0.linear"
    weights |= {f"{place}.{name}": value for name, value in classifier.items()}
    Initialisation(Origin.of(space), weights, alpha, method={"candidates": candidates}).save(kept)


def _supernet(context: SearchContext) -> Supernet:
    """Every option as a slice of the parent."""
    plan = context.first.plan
    torch.manual_seed(plan.config.compute.seed)
    supernet = Supernet(plan.space)
    assert plan.start is not None
    plan.start.apply(supernet, [])
    return supernet


def _head(context: SearchContext, parent: ParentWeights, kept: Path) -> dict[str, Tensor]:
    """Weight and bias of the classifier of the parent, and of all networks inside of it."""
    if kept.exists():
        return store.load(kept, hint=_HINT)[0]
    run = context.first
    size, channels = run.dataset.size, run.dataset.channels
    network = parent.parent.network(width=parent.width, resolution=size, channels=channels, classes=parent.classes)
    body = trunk(network, inherit(parent, network))
    found = features(body, run.dataset.train, run.dataset, device=run.device, progress=context.progress)
    balanced = class_balanced(run.plan.config.search.metric)
    fitted = head(found, torch.from_numpy(run.dataset.train.labels), run.dataset, balanced=balanced)
    note_head(context, body, fitted)
    store.save(kept, fitted, {})
    return fitted


def _settings(context: SearchContext, parent: ParentWeights) -> Adaptation:
    """How many steps and images the minutes leave, or the usual ones."""
    run = context.first
    usual = usual_adaptation(run.dataset)
    if not run.plan.config.train.minutes:
        return usual
    blocks = ParentBlocks(_supernet(context), parent, device=run.device)
    times_s = []
    with context.progress.track("time a few steps of distillation", _TIMED_STEPS) as advance:
        for _ in range(_TIMED_STEPS):
            began = time.monotonic()
            distil(blocks, run.dataset, seed=0, settings=DistilSettings(1, usual.batch_size), progress=Silent())
            times_s.append(time.monotonic() - began)
            advance()
    return affordable_adaptation(usual, context.left_s(unchecked=True), times_s)
