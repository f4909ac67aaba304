"""Which weights a network keeps: those that its training ended with, unless the validation images prove them worse."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hwnas.data import Images, batches
from hwnas.metric_names import NAMES, class_balanced
from hwnas.metrics import Tally, as_good, image_weights, standard_error
from hwnas.nas.select import SCORED_IMAGES, scored_images
from hwnas.parents.judged_head import head_losses
from hwnas.run.context import RunContext
from hwnas.train import Recipe, recalibrate
from hwnas.train.evaluate import evaluated_at_once

_COMPARED_SHARE, _FEWEST_COMPARED = 0.2, 128  # of the images that a training sees


class Judged(NamedTuple):
    """A network on validation images as they are.

    Attributes:
        score: what the metric makes of it, 0 to 1.
        losses: (N,) cross entropy in nats of each image.
        mistakes: (N,) 1 for each image that it classifies wrongly, else 0. Where the metric counts every class the
            same, both have the weights of the classes.
    """

    score: float
    losses: NDArray[np.float64]
    mistakes: NDArray[np.float64]


def start_of_training(run: RunContext, module: nn.Module, recipe: Recipe, *, settled: bool) -> nn.Module:
    """A copy of a network with its inherited weights, and the statistics of batch norm that fit them.

    Args:
        settled: whether it has these already.
    """
    start = copy.deepcopy(module)
    if not settled:
        most = compared_images(run, recipe)
        recalibrate(start, run.dataset.train, run.dataset, device=run.device, max_images=most)
    start.eval()
    return start


def better(run: RunContext, start: nn.Module, module: nn.Module, recipe: Recipe, label: str) -> nn.Module:
    """The network as trained, or its start where the validation images prove that to be better (`made_worse`)."""
    metric, images = run.plan.config.search.metric, scored_images(run.dataset, compared_images(run, recipe))
    before, after = (_judged(run, one, images) for one in (start, module))
    kept = "start" if made_worse(before, after) else "trained"
    told: dict[str, Any] = {"event": "kept", "stage": label, "weights": kept, "metric": metric}
    told |= {"start": before.score, "trained": after.score}
    told |= {"start_loss": float(before.losses.mean()), "trained_loss": float(after.losses.mean())}
    told["loss_error"] = standard_error(after.losses - before.losses)
    run.progress.record(told)
    if kept == "trained":
        return module
    run.progress.say(
        f"{label}: on {len(images)} validation images the {NAMES[metric]} of trained weights is {after.score:.3f}, and "
        f"that of those that training began with {before.score:.3f}, which is no chance: these are kept"
    )
    return start


def made_worse(before: Judged, after: Judged) -> bool:
    """Whether validation images prove that a training made a network worse.

    They do where the metric is lower, and the mean difference in loss or in mistakes, image by image, is more than its
    standard error (`as_good`). That a training improves a network is known from elsewhere, and a few images that say
    otherwise may be chance; losses alone would also tell of confidence (docs/decisions/0076).
    """
    alike = as_good(after.losses, before.losses) and as_good(after.mistakes, before.mistakes)
    return before.score > after.score and not alike


def compared_images(run: RunContext, recipe: Recipe) -> int:
    """How many images a training is compared with its start on: so few that it takes little beside the training."""
    images = len(run.dataset.train)
    return max(_FEWEST_COMPARED, min(SCORED_IMAGES, int(_COMPARED_SHARE * recipe.passes(images) * images)))


@torch.inference_mode()
def _judged(run: RunContext, module: nn.Module, images: Images) -> Judged:
    metric, at_once = run.plan.config.search.metric, evaluated_at_once(run.dataset.resolution)
    stream = batches(images, run.dataset, batch_size=at_once, device=run.device, generator=None, augment=False)
    module.to(run.device).eval()
    logits = torch.cat([module(x).float().cpu() for x, _ in stream])
    tally = Tally(len(run.dataset.classes))
    tally.add(logits.numpy(), images.labels)
    labels, balanced = torch.from_numpy(images.labels), class_balanced(metric)
    mistakes = (logits.argmax(1) != labels).double().numpy()
    mistakes = mistakes * image_weights(images.labels) if balanced else mistakes
    losses = head_losses(logits, labels, run.dataset, balanced=balanced)
    return Judged(tally.metrics().value(metric), losses, mistakes)
