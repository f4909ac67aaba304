"""What a head on the parent's frozen features makes of the validation images, kept for the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import Tensor, nn

from hwnas.files import write_json
from hwnas.metric_names import NAMES
from hwnas.metrics import Tally
from hwnas.parents.frozen import features
from hwnas.run.context import RunContext
from hwnas.run.run_folder import RunFolder
from hwnas.schema import read_json_as


@dataclass(frozen=True)
class HeadAccuracy:
    """Of the whole parent with the head as its classifier, nothing else trained; shares are 0 to 1.

    Attributes:
        images: of the validation.
        score: that of the metric of the search.
    """

    images: int
    accuracy: float
    score: float


def note_head(run: RunContext, body: nn.Module, fitted: Mapping[str, Tensor]) -> None:
    """Measure the head, say it, and keep it.

    Args:
        body: from images to what the head reads the mean of.
        fitted: weight and bias of the head.

    Raises:
        StorageError: it cannot be written.
    """
    metric = run.plan.config.search.metric
    found = features(body, run.dataset.val, run.dataset, device=run.device, progress=run.progress)
    tally = Tally(len(run.dataset.classes))
    tally.add((found @ fitted["weight"].T + fitted["bias"]).numpy(), run.dataset.val.labels)
    metrics = tally.metrics()
    noted = HeadAccuracy(metrics.n, metrics.accuracy, metrics.value(metric))
    write_json(_kept(run.shared or run.folder), asdict(noted))
    run.progress.record({"event": "head", "metric": metric} | asdict(noted))
    run.progress.say(
        f"a head on the frozen features of {run.plan.config.search.init}: validation {NAMES[metric]} {noted.score:.3f}"
    )


def kept_head(folder: RunFolder) -> HeadAccuracy | None:
    """What `note_head` kept in a run; None in runs of earlier versions.

    Raises:
        InputError: it is damaged.
    """
    path = _kept(folder)
    return read_json_as(path, HeadAccuracy, hint="start the run anew, with --force") if path.exists() else None


def _kept(folder: RunFolder) -> Path:
    return folder.state / "head.json"
